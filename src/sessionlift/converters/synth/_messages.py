"""Messages in the early and middle dress: the content is an envelope, and is taken apart without a change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sessionlift.converters._jsontext import object_items, quote
from sessionlift.converters.synth._sql import ENVELOPE_TYPE, MESSAGE_TYPE_DEFAULTS, MESSAGE_TYPES, OUR_KEY


@dataclass(frozen=True)
class Opened:
    """v3's type, content and metadata of one envelope; ``exact`` is False where its text cannot be put together
    again from them alone."""

    message_type: str
    content: str
    metadata: str
    exact: bool


def open_envelope(text: str, overrides: Mapping[str, str]) -> Opened:
    """Take the envelope ``text`` apart. Raises ValueError or RecursionError where it is no JSON object."""
    raw: dict[str, str] = {}
    values: dict[str, Any] = {}
    for key, member, value in object_items(text):
        raw.setdefault(key, member)
        values.setdefault(key, value)
    real = values.get("message_type")
    if real is None:
        real = "unknown"
    elif not isinstance(real, str):
        real = raw["message_type"]
    content, is_text = content_of(raw["content"], values["content"])
    kept = [f'"dress": "{ENVELOPE_TYPE}"', f'"message_type": {quote(real)}']
    kept.append(f'"content": "{"string" if is_text else "json"}"')
    rest = {key: member for key, member in raw.items() if key not in ("content", "message_type")}
    if rest:
        kept.append('"envelope": {' + ", ".join(f"{quote(key)}: {member}" for key, member in rest.items()) + "}")
    spelled = quote(values["content"]) if is_text else raw["content"]
    return Opened(
        mapped_type(real, overrides),
        content,
        f'{{"{OUR_KEY}": {{{", ".join(kept)}}}}}',
        seal_envelope(spelled, real, rest) == text,
    )


def seal_envelope(content: str, message_type: str, rest: Mapping[str, str]) -> str:
    """The envelope as the early and middle writers spelled it, from the texts of its members."""
    parts = [f'"content": {content}']
    if "timestamp" in rest:
        parts.append(f'"timestamp": {rest["timestamp"]}')
    parts.append(f'"message_type": {quote(message_type)}')
    parts.extend(f"{quote(key)}: {member}" for key, member in rest.items() if key != "timestamp")
    return "{" + ", ".join(parts) + "}"


def content_of(text: str, value: Any) -> tuple[str, bool]:
    """v3's content for the JSON ``text`` of ``value``: a string bare, everything else as its own JSON text."""
    if isinstance(value, str) and not _has_surrogate(value):
        return value, True
    return text, False


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text) if not text.isascii() else False


def mapped_type(real: str, overrides: Mapping[str, str]) -> str:
    """v3's message type, by the same table as the SQL of the final dress uses."""
    if real in overrides:
        return overrides[real]
    if real in MESSAGE_TYPES:
        return real
    return MESSAGE_TYPE_DEFAULTS.get(real, "system")
