"""The writer's road to a sqld server: SQL over HTTP, with exact values.

The driver's own remote mode is not used: it sends one row per request and rounds integers. The verifier has
a reader of its own in ``_hrana.py``, on purpose without a line in common with this one.
"""

from __future__ import annotations

import base64
import http.client
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import orjson

from sessionlift.errors import StoreFormatError, UsageError
from sessionlift.stores._sqld_errors import map_http_error, map_statement_error, unreachable
from sessionlift.stores._url import StoreURL
from sessionlift.stores._value import Value

_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 300.0
Statement = dict[str, Any]


def argument(value: Value) -> dict[str, Any]:
    """One bound value as the protocol writes it. An infinity has no form here: it must be in the SQL."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return {"type": "null"}
    if isinstance(value, str):
        return {"type": "text", "value": value}
    if isinstance(value, int):
        return {"type": "integer", "value": str(int(value))}
    if isinstance(value, float):
        return {"type": "float", "value": value}
    return {"type": "blob", "base64": base64.b64encode(value).decode("ascii")}


def statement(sql: str, params: Sequence[Value] = (), *, want_rows: bool = True) -> Statement:
    """A statement as the protocol writes it."""
    made: Statement = {"sql": sql, "want_rows": want_rows}
    if params:
        made["args"] = [argument(value) for value in params]
    return made


def decode_row(cells: list[dict[str, Any]]) -> list[Any]:
    """A row of the answer as values; an infinity of either sign comes as NaN, which SQLite never holds."""
    row: list[Any] = []
    for cell in cells:
        kind = cell["type"]
        if kind == "text":
            row.append(cell["value"])
        elif kind == "integer":
            row.append(int(cell["value"]))
        elif kind == "null":
            row.append(None)
        elif kind == "float":
            value = cell["value"]
            row.append(math.nan if value is None else float(value))
        else:
            text = cell["base64"]
            row.append(base64.b64decode(text + "=" * (-len(text) % 4)))
    return row


class Client:
    """One connection to a server, and on it at most one open stream (a transaction)."""

    def __init__(self, url: StoreURL, *, role: str | None) -> None:
        if url.url is None:
            raise UsageError(f"{url.redacted} names no server")
        self._url, self._role = url, role
        self._http: http.client.HTTPConnection | None = None
        self._baton: str | None = None

    @property
    def in_stream(self) -> bool:
        return self._baton is not None

    def close(self) -> None:
        """Close the connection; the server rolls an open transaction back when its stream expires."""
        self._baton = None
        if self._http is not None:
            self._http.close()
            self._http = None

    def forget_stream(self) -> None:
        """Give the open stream up without a word; the server rolls it back by itself."""
        self._baton = None

    def version(self) -> str:
        """The server's own words about its release, or an empty text if it says none."""
        status, body = self._request("GET", "/version", b"", during="asking its version")
        return body.decode("utf-8", "replace").strip()[:80] if status == 200 else ""

    def run(
        self, statements: Sequence[Statement], *, open_stream: bool = False, table: str | None = None
    ) -> list[dict[str, Any]]:
        """The results of the statements in order. Stops at the first that fails, with its error.

        Outside a stream each call has a stream of its own, closed with it, unless ``open_stream``.
        """
        keep = open_stream or self._baton is not None
        requests: list[dict[str, Any]] = [{"type": "execute", "stmt": one} for one in statements]
        if not keep:
            requests.append({"type": "close"})
        answer = self._pipeline(requests)
        self._baton = answer.get("baton") if keep else None
        results: list[dict[str, Any]] = []
        for result in answer["results"][: len(statements)]:
            if result["type"] != "ok":
                raise self._refused(result["error"], table)
            results.append(result["response"]["result"])
        return results

    def close_stream(self) -> None:
        """End the open stream. What its transaction did not commit is rolled back."""
        if self._baton is not None:
            self._pipeline([{"type": "close"}])
            self._baton = None

    def _pipeline(self, requests: list[dict[str, Any]]) -> dict[str, Any]:
        body = orjson.dumps({"baton": self._baton, "requests": requests})
        status, data = self._request("POST", "/v3/pipeline", body, during="running a statement")
        if status != 200:
            self._baton = None
            raise self._http_error(status, data)
        answer = self._json(data)
        if not isinstance(answer, dict) or not isinstance(answer.get("results"), list):
            raise self._not_sqld("an answer of another shape")
        return answer

    def stream_rows(self, one: Statement, *, table: str | None = None) -> Iterator[list[Any]]:
        """Rows of any number, on a connection of their own as the server sends them.

        Inside a stream they come through it, and are all held first: the stream does one thing at a time.
        """
        if self._baton is not None:
            if self._http is None:
                self._http = self._connect()
            yield from list(self._cursor(self._http, one, table, self._step))
            return
        with closing(self._connect()) as connection:
            opened: list[str | None] = []
            try:
                yield from self._cursor(connection, one, table, opened.append)
            except BaseException:
                # rows that were not read stand in the way on this connection: it is dialled again
                connection.close()
                raise
            finally:
                self._end_cursor(connection, opened)

    def _step(self, baton: str | None) -> None:
        self._baton = baton

    def _cursor(
        self,
        connection: http.client.HTTPConnection,
        one: Statement,
        table: str | None,
        on_baton: Callable[[str | None], None],
    ) -> Iterator[list[Any]]:
        body = orjson.dumps({"baton": self._baton, "batch": {"steps": [{"stmt": one}]}})
        during, ended = "reading rows", False
        try:
            connection.request("POST", "/v3/cursor", body, self._headers())
            response = connection.getresponse()
            if response.status != 200:
                raise self._http_error(response.status, response.read())
            for line in response:
                entry = self._json(line) if line.strip() else {}
                kind = entry.get("type")
                if kind == "row":
                    yield decode_row(entry["row"])
                elif kind in {"step_error", "error"}:
                    response.read()
                    raise self._refused(entry["error"], table)
                elif kind == "step_end":
                    ended = True
                elif "baton" in entry:
                    on_baton(entry["baton"])
            # an answer of a known length (a proxy gives it one) does not end by itself
            response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error, during) from error
        if not ended:
            # a server that dies in the middle can look like an early, orderly end
            raise self._unreachable(ConnectionError("the rows stopped in the middle"), during)

    def _end_cursor(self, connection: http.client.HTTPConnection, opened: list[str | None]) -> None:
        """Close the stream that a cursor leaves open; a server keeps 128 of them, for 10 seconds each."""
        if not opened or opened[-1] is None:
            return
        body = orjson.dumps({"baton": opened[-1], "requests": [{"type": "close"}]})
        try:
            connection.request("POST", "/v3/pipeline", body, self._headers())
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            pass  # it expires by itself

    # --- HTTP

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if self._url.token:
            headers["Authorization"] = f"Bearer {self._url.token}"
        return headers

    def _connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self._url.url or "")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=_CONNECT_SECONDS)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise self._unreachable(error, "connecting") from error
        connection.sock.settimeout(_ANSWER_SECONDS)
        return connection

    def _request(self, method: str, path: str, body: bytes, *, during: str) -> tuple[int, bytes]:
        if self._http is None:
            self._http = self._connect()
        try:
            self._http.request(method, path, body or None, self._headers())
            response = self._http.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            # never sent again: the server may have done it already, and only the ledger knows
            self.close()
            raise self._unreachable(error, during) from error

    def _json(self, data: bytes) -> Any:
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise self._not_sqld("an answer that is not JSON") from error

    # --- errors

    def _refused(self, error: dict[str, Any], table: str | None) -> Exception:
        return map_statement_error(
            str(error.get("message", "")),
            str(error.get("code", "")),
            store=self._url.redacted,
            role=self._role,
            table=table,
        )

    def _http_error(self, status: int, body: bytes) -> Exception:
        return map_http_error(
            status, body, store=self._url.redacted, role=self._role, has_token=self._url.token is not None
        )

    def _unreachable(self, error: BaseException, during: str) -> Exception:
        return unreachable(error, store=self._url.redacted, role=self._role, during=during)

    def _not_sqld(self, what: str) -> Exception:
        return StoreFormatError(
            f"this server does not speak the protocol of sqld: {what}",
            hint="check host and port",
            store=self._url.redacted,
            role=self._role,
        )
