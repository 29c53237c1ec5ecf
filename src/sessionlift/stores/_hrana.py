"""A small reader of sqld servers, for the verifier only.

The verifier must not inherit a fault of the writer. So this shares no line with ``_sqld*.py``: other ways of
asking, decoding and reading JSON, with nothing but the standard library.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from ssl import SSLCertVerificationError
from typing import Any
from urllib.parse import urlsplit

from sessionlift.errors import StoreAuthError, StoreError, StoreUnavailableError

_TIMEOUT_SECONDS = 120.0
_ROLE = "target"
"""of every server: sessions come from files"""


class HranaReader:
    """Reads a server's tables exactly. ``url`` is ``http(s)://host:port`` without credentials.

    Raises StoreUnavailableError, StoreAuthError or StoreError. Never sends anything but SELECT and PRAGMA.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self._place = urlsplit(url)
        self._shown = f"libsql+{url}"
        self._token = token
        self._line: HTTPConnection | None = None

    def __enter__(self) -> HranaReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query. For answers below the server's limit of 10 MB."""
        body = {"requests": [{"type": "execute", "stmt": _asked(sql, params)}, {"type": "close"}]}
        if self._line is None:
            self._line = self._dial()
        try:
            response = self._post(self._line, "/v2/pipeline", body)
            first = json.loads(response.read())["results"][0]
        except (OSError, HTTPException, ValueError) as error:
            self.close()
            raise self._gone(error) from error
        if first["type"] != "ok":
            raise self._refused(first["error"])
        rows = first["response"]["result"]["rows"]
        return [tuple(self._value(cell) for cell in row) for row in rows]

    def read_table(
        self,
        table: str,
        columns: Sequence[str],
        *,
        where: str = "",
        params: Sequence[Any] = (),
        order_by: Sequence[str] = (),
    ) -> Iterator[tuple[Any, ...]]:
        """A table's rows one by one, in an order that must be total if the table holds infinities."""
        rest = f"FROM {_name(table)}"
        rest += f" WHERE {where}" if where else ""
        rest += " ORDER BY " + ", ".join(map(_name, order_by)) if order_by else ""
        asked = _asked("SELECT " + ", ".join(map(_name, columns)) + " " + rest, params)
        line = self._dial()
        finished, baton = False, None
        try:
            response = self._post(line, "/v3/cursor", {"batch": {"steps": [{"stmt": asked}]}})
            number = 0
            while text := response.readline():
                if not text.strip():
                    continue
                entry = json.loads(text)
                if entry.get("type") == "row":
                    yield self._row(entry["row"], columns, rest, params, number)
                    number += 1
                elif entry.get("type") in ("step_error", "error"):
                    raise self._refused(entry["error"])
                elif entry.get("type") == "step_end":
                    finished = True
                elif "baton" in entry:
                    baton = entry["baton"]
        except (OSError, HTTPException, ValueError) as error:
            raise self._gone(error) from error
        finally:
            line.close()
            self._hang_up(baton)
        if not finished:
            raise self._gone(ConnectionError("the rows ended too early"))

    def _hang_up(self, baton: str | None) -> None:
        """End the stream that reading a table opened; a server keeps 128 of them and then refuses."""
        if baton is None:
            return
        if self._line is None:
            self._line = self._dial()
        try:
            self._post(self._line, "/v3/pipeline", {"baton": baton, "requests": [{"type": "close"}]}).read()
        except (OSError, HTTPException, StoreError):
            self.close()  # the stream ends by itself after some seconds

    def _row(
        self,
        cells: list[dict[str, Any]],
        columns: Sequence[str],
        rest: str,
        params: Sequence[Any],
        number: int,
    ) -> tuple[Any, ...]:
        values = [self._value(cell) for cell in cells]
        for index, value in enumerate(values):
            if isinstance(value, float) and math.isnan(value):
                # JSON has no infinity: ask this one cell for its sign
                sql = f"SELECT {_name(columns[index])} < 0 {rest} LIMIT 1 OFFSET {number}"
                values[index] = -math.inf if self.query(sql, params)[0][0] else math.inf
        return tuple(values)

    @staticmethod
    def _value(cell: dict[str, Any]) -> Any:
        match cell["type"]:
            case "null":
                return None
            case "integer":
                return int(cell["value"])
            case "float":
                return float("nan") if cell["value"] is None else float(cell["value"])
            case "text":
                return cell["value"]
            case "blob":
                data = cell["base64"]
                return base64.b64decode(data + "=" * (-len(data) % 4))
        raise ValueError(f"a value of the unknown type {cell['type']!r}")

    # --- the road

    def _dial(self) -> HTTPConnection:
        make = HTTPSConnection if self._place.scheme == "https" else HTTPConnection
        return make(self._place.hostname or "", self._place.port, timeout=_TIMEOUT_SECONDS)

    def _post(self, line: HTTPConnection, path: str, body: dict[str, Any]) -> HTTPResponse:
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = "Bearer " + self._token
        line.request("POST", path, json.dumps(body).encode("ascii"), headers)
        response = line.getresponse()
        if response.status in (401, 403):
            response.read()
            raise StoreAuthError(
                f"the server refused the token (HTTP {response.status})",
                hint="set SESSIONLIFT_TOKEN, or give ?authToken= in the URL",
                store=self._shown,
                role=_ROLE,
            )
        if response.status != 200:
            detail = response.read(300).decode("utf-8", "replace")
            raise StoreError(f"the server answered HTTP {response.status}: {detail}", store=self._shown, role=_ROLE)
        return response

    def _refused(self, error: dict[str, Any]) -> StoreError:
        return StoreError(f"the server refused to read: {error.get('message')}", store=self._shown, role=_ROLE)

    def _gone(self, error: BaseException) -> StoreUnavailableError:
        if isinstance(error, SSLCertVerificationError):
            return StoreUnavailableError(
                f"the server's certificate is not trusted: {error.verify_message}",
                hint="name a file with its certificate authority in SSL_CERT_FILE, or have the server's mended",
                store=self._shown,
                role=_ROLE,
            )
        return StoreUnavailableError(
            f"the server cannot be reached or went away: {error}", store=self._shown, role=_ROLE
        )


def _name(text: str) -> str:
    return '"{}"'.format(text.replace('"', '""'))


def _asked(sql: str, params: Sequence[Any]) -> dict[str, Any]:
    return {"sql": sql, "args": [_sent(value) for value in params]}


def _sent(value: Any) -> dict[str, Any]:
    match value:
        case None:
            return {"type": "null"}
        case bool() | int():
            return {"type": "integer", "value": str(int(value))}
        case float():
            return {"type": "float", "value": value}
        case str():
            return {"type": "text", "value": value}
        case bytes():
            return {"type": "blob", "base64": base64.b64encode(value).decode("ascii")}
    raise TypeError(f"cannot send a {type(value).__name__}")
