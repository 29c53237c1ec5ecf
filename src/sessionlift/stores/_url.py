"""Where a store is: one URL or plain path, parsed once, and never printed with its token."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, unquote, unquote_to_bytes, urlsplit

from sessionlift.errors import UsageError
from sessionlift.stores._files import not_utf8, real_file
from sessionlift.stores._registry import open_engine
from sessionlift.stores._sniff import sniff

Engine = Literal["duckdb", "libsql", "sqlite", "sqld", "json"]

_FILE_SCHEMES: dict[str, Engine] = {"duckdb": "duckdb", "libsql": "libsql", "sqlite": "sqlite", "json": "json"}
_SERVER_SCHEMES = {"libsql+http": "http", "libsql+https": "https"}
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_DUCKDB_SUFFIXES = {".duckdb", ".ddb"}
TOKEN_VARIABLE = "SESSIONLIFT_TOKEN"  # noqa: S105 - the name of the variable, not a token


@dataclass(frozen=True)
class StoreURL:
    """One store. ``path`` is set for the local engines, ``url`` (without credentials) for sqld.

    The token never appears in ``repr``, ``str`` or ``redacted``.
    """

    engine: Engine
    path: Path | None = None
    url: str | None = None
    token: str | None = field(default=None, repr=False)
    token_in_url: bool = field(default=False, repr=False, compare=False)

    @property
    def redacted(self) -> str:
        """The URL as it may stand in messages and reports. For a file, it names the same store when parsed."""
        if self.engine == "sqld":
            return f"libsql+{self.url}" + ("?authToken=***" if self.token_in_url else "")
        # what a URL would read as something else; the rest of a path stays readable
        path = str(self.path).replace("%", "%25").replace("?", "%3F")
        return f"{self.engine}://{path}"

    @property
    def place(self) -> str:
        """Where the store lies: the same text for all ways to name it, by any engine and through any link."""
        return str(self.url) if self.path is None else str(real_file(self.path))

    def __str__(self) -> str:
        return self.redacted


def parse_store_url(text: str, *, env: Mapping[str, str] = os.environ) -> StoreURL:
    """The store that ``text`` names: a URL of one of the engines, or a plain path.

    A plain path gets its engine from the file's first bytes, never from its name, but for a file that is
    not there yet: ``*.duckdb`` is DuckDB, anything else libSQL. A JSON text (a dump) is the engine ``json``,
    which is read whole and never opened as a database. Reads at most those first bytes.

    The token of a server comes from ``?authToken=``, from the URL's user part, or from the environment
    variable ``SESSIONLIFT_TOKEN``, in this order.

    Raises UsageError for an empty text, an unknown scheme, a URL without what its engine needs, or a path that is not
    UTF-8.
    """
    if not text.strip() or "\0" in text:
        raise UsageError("no store was named", hint="give a path or a URL such as libsql:///data/traces.db")
    match = _SCHEME.match(text)
    if match is None:
        return _from_path(text)
    scheme = match.group(1).lower()
    if scheme in _SERVER_SCHEMES:
        return _from_server(text, _SERVER_SCHEMES[scheme], env)
    if scheme in _FILE_SCHEMES:
        return _from_file_url(text[match.end() :], _FILE_SCHEMES[scheme], scheme)
    known = ", ".join(f"{name}://" for name in [*_FILE_SCHEMES, *_SERVER_SCHEMES])
    hint = f"use one of {known} or a plain path"
    if scheme in {"http", "https"}:
        hint = f"write libsql+{scheme}:// for a sqld server"
    elif scheme == "libsql+ws" or scheme == "libsql+wss" or scheme in {"ws", "wss"}:
        hint = "sqld is spoken to over HTTP: write libsql+http:// or libsql+https://"
    raise UsageError(f"stores of the scheme {scheme!r} are not known", hint=hint, scheme=scheme)


def _from_path(text: str) -> StoreURL:
    path = Path(text)
    if text.startswith("~"):
        # as shells do: what names no user's home is a name like any other
        with suppress(RuntimeError):
            path = path.expanduser()
    path = _absolute(path)
    # A file that this process has open is not read again: closing our handle would drop the driver's locks.
    held = open_engine(path)
    if held is not None:
        return StoreURL(engine=held, path=path)
    found = sniff(path)
    if found == "duckdb" or found == "json":
        return StoreURL(engine=found, path=path)
    if found != "sqlite" and path.suffix.lower() in _DUCKDB_SUFFIXES:
        return StoreURL(engine="duckdb", path=path)
    return StoreURL(engine="libsql", path=path)


def _from_file_url(rest: str, engine: Engine, scheme: str) -> StoreURL:
    if engine == "libsql" and _looks_like_server(rest):
        # libsql://host is how a hosted server is usually written; what follows its name may hold a token
        host = urlsplit(f"//{rest}").netloc.rpartition("@")[2]
        raise UsageError(
            f"libsql:// names a local file here, and {host!r} looks like a server",
            hint="write libsql+https://host for a server, libsql:///absolute/path for a file",
        )
    # not unquote(), which puts another character in the place of a byte that is no UTF-8
    location = os.fsdecode(unquote_to_bytes(rest.split("?", 1)[0].encode("utf-8", "surrogatepass")))
    if not location.strip("/") or "\0" in location:
        raise UsageError(f"{scheme}:// names no file", hint=f"write {scheme}:///absolute/path")
    # three slashes are an absolute path, as in SQLAlchemy's four or ours; two are relative to here
    path = Path("/" + location.lstrip("/")) if location.startswith("/") else Path(location)
    return StoreURL(engine=engine, path=_absolute(path))


def _looks_like_server(rest: str) -> bool:
    if not rest or rest.startswith("/"):
        return False
    return any(sign in re.split(r"[/?#]", rest)[0] for sign in ".:@") or "authtoken=" in rest.lower()


def _from_server(text: str, scheme: str, env: Mapping[str, str]) -> StoreURL:
    parts = urlsplit(text)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise UsageError("the server's URL has no usable host", hint="write libsql+http://host:8080")
    query = dict(parse_qsl(parts.query))
    unknown = sorted(set(query) - {"authToken"})
    if unknown:
        raise UsageError(f"unknown parts in the server's URL: {', '.join(unknown)}", hint="only authToken is known")
    if parts.path.strip("/"):
        raise UsageError("a path in a server's URL is not understood", hint="write libsql+http://host:8080")
    in_url = query.get("authToken") or unquote(parts.password or parts.username or "")
    token = in_url or env.get(TOKEN_VARIABLE) or None
    if token is not None and not token.isprintable():
        raise UsageError("the token holds characters that no header can carry", hint="give it without line ends")
    where = f"[{host}]" if ":" in host else host
    netloc = where if port is None else f"{where}:{port}"
    return StoreURL(engine="sqld", url=f"{scheme}://{netloc}", token=token, token_in_url=bool(in_url))


def _absolute(path: Path) -> Path:
    # not resolve(): a link stays a link, and the messages say what the user wrote
    path = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute() leaves `..` in
    name = not_utf8(path) or not_utf8(real_file(path))
    if name is not None:
        raise UsageError(f"the path {name} is not UTF-8", hint="rename what is not, or copy the store elsewhere")
    return path
