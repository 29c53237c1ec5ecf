"""Take credentials out of text. Every string of a report passes here as the last step of being written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "***"

_NAMES = r"auth[_-]?token|access[_-]?token|api[_-]?key|token|jwt|password|passwd|pwd|secret"
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # scheme://user:password@host: an authority ends at the first slash, so a path with @ is left alone
    (re.compile(r"(?P<keep>\b[a-z][a-z0-9+.\-]*://)[^/\s?#\"'<>]*@", re.I), rf"\g<keep>{MASK}@"),
    (re.compile(rf"(?P<keep>[?&](?:{_NAMES})=)[^&\s\"'#<>]+", re.I), rf"\g<keep>{MASK}"),
    # the same names outside of a URL are ordinary words, all but this one
    (
        re.compile(r"(?P<keep>\bauth[_-]?token[\"']?\s*[=:]\s*[\"']?)[^&\s\"'#<>,;)}]+", re.I),
        rf"\g<keep>{MASK}",
    ),
    (re.compile(r"(?P<keep>\bbearer\s+)[\w.~+/=\-]+", re.I), rf"\g<keep>{MASK}"),
    (
        re.compile(r"(?P<keep>\bauthorization[\"']?\s*[=:]\s*[\"']?basic\s+)[\w.~+/=\-]+", re.I),
        rf"\g<keep>{MASK}",
    ),
    # a JSON Web Token gives itself away wherever it stands
    (re.compile(r"\beyJ[\w\-]{8,}\.[\w\-]+\.[\w\-]*"), MASK),
)
_SECRET_KEY = re.compile(rf"(?:{_NAMES}|authorization)\Z", re.I)
# a shorter secret stands inside ordinary words by chance, so it is masked only where it stands alone
_SHORT = 6


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` without credentials: the given ``secrets``, and whatever has the form of one.

    Forms: user and password of a URL, ``authToken=`` and its relatives in a query, ``Bearer …``, a JWT.
    Doing it twice changes nothing more.
    """
    for pattern in _secret_patterns(secrets):
        text = pattern.sub(MASK, text)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def redact_tree(value: Any, secrets: Iterable[str] = ()) -> Any:
    """JSON-ready ``value`` with all strings and keys redacted, and texts under keys named like a secret."""
    known = tuple(secrets)
    if isinstance(value, str):
        return redact(value, known)
    if isinstance(value, list):
        return [redact_tree(item, known) for item in value]
    if isinstance(value, dict):
        return {
            redact(key, known): MASK
            if isinstance(item, str) and item and _SECRET_KEY.match(key)
            else redact_tree(item, known)
            for key, item in value.items()
        }
    return value


def _secret_patterns(secrets: Iterable[str]) -> list[re.Pattern[str]]:
    forms = {form for secret in secrets if secret for form in (secret, quote(secret, safe=""), quote_plus(secret))}
    patterns = []
    # the longest first, so that a secret that holds another goes whole
    for form in sorted(forms, key=lambda f: (-len(f), f)):
        body = re.escape(form)
        patterns.append(re.compile(rf"(?<!\w){body}(?!\w)" if len(form) < _SHORT else body))
    return patterns
