"""What a sqld server and the road to it say, as errors of our own tree."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from sessionlift.errors import (
    StoreAuthError,
    StoreConstraintError,
    StoreError,
    StoreFormatError,
    StoreLockedError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from sessionlift.stores._sqlite_errors import map_sqlite_error
from sessionlift.stores._value import Value

_GONE = {"STREAM_EXPIRED", "TRANSACTION_TIMEOUT", "TRANSACTION_BUSY"}


def map_statement_error(
    message: str,
    code: str,
    *,
    store: str,
    role: str | None,
    table: str | None = None,
    params: Sequence[Value] = (),
) -> StoreError:
    """Our error for a statement that the server refused."""
    if code in _GONE:
        return StoreLockedError(
            f"the server gave up the transaction ({message}); others wait at most 5 seconds for it",
            hint="run the same command again, with fewer writers beside it; nothing of it was written",
            store=store,
            role=role,
            server_code=code,
        )
    if "too big" in message:
        return StoreConstraintError(
            "a row is larger than the server takes (5 MB in sqld 0.24)",
            hint="leave its session out, or move it into a local libSQL file",
            store=store,
            role=role,
            table=table,
            constraint="SIZE",
            server_code=code,
        )
    if "BLOCKED" in code:
        return StoreReadOnlyError(
            f"the server blocks this: {message}",
            hint="ask its operator",
            store=store,
            role=role,
            server_code=code,
        )
    error = map_sqlite_error(ValueError(message), store=store, role=role, engine="sqld", table=table, params=params)
    error.fields.setdefault("server_code", code)
    return error


def map_http_error(status: int, body: bytes, *, store: str, role: str | None, has_token: bool) -> StoreError:
    """Our error for an answer that is not 200."""
    text = body[:300].decode("utf-8", "replace").strip()
    if status in {401, 403}:
        return StoreAuthError(
            f"the server refused the token (HTTP {status})"
            if has_token
            else f"the server wants a token (HTTP {status})",
            hint="set SESSIONLIFT_TOKEN, or give ?authToken= in the URL; a token may have expired",
            store=store,
            role=role,
            status=status,
        )
    if "STREAM_EXPIRED" in text or "stream has expired" in text:
        return map_statement_error(text, "STREAM_EXPIRED", store=store, role=role)
    if "invalid utf-8" in text:
        return map_statement_error(text, "UTF8", store=store, role=role)
    if status in {502, 503, 504, 429}:
        return StoreUnavailableError(
            f"the server is not ready (HTTP {status}): {text}",
            hint="run the same command again when it is",
            store=store,
            role=role,
            status=status,
        )
    if status in {404, 405, 301, 302, 307, 308}:
        return StoreFormatError(
            f"this server does not speak the protocol of sqld (HTTP {status})",
            hint="check host and port; sqld 0.24 or newer is needed",
            store=store,
            role=role,
            status=status,
        )
    return StoreError(f"the server answered HTTP {status}: {text}", store=store, role=role, status=status)


def unreachable(error: BaseException, *, store: str, role: str | None, during: str) -> StoreUnavailableError:
    """Our error for a connection that failed or broke."""
    if isinstance(error, ssl.SSLCertVerificationError):
        # it runs: what is to be mended is not the server
        return StoreUnavailableError(
            f"the server's certificate is not trusted: {error.verify_message}",
            hint="set SSL_CERT_FILE to a file with the certificate authority that signed it, if you trust that; "
            "one that is for another host, or has expired, is mended at the server",
            store=store,
            role=role,
        )
    return StoreUnavailableError(
        f"the server cannot be reached or went away while {during}: {error or type(error).__name__}",
        hint="check that it runs; then run the same command again: what was committed stays",
        store=store,
        role=role,
    )
