"""The user's mapping file: which type of the target a type of the source becomes, where ours does not fit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sessionlift.errors import MappingFileError


@dataclass(frozen=True)
class TypeMapping:
    """Overrides by source type. Both sides are plain strings; the target's side is checked against its CHECKs."""

    message_types: Mapping[str, str] = field(default_factory=dict)
    event_types: Mapping[str, str] = field(default_factory=dict)


_ALLOWED = {
    "message_types": ("user", "assistant", "system", "tool_use", "tool_result"),
    "event_types": ("cais", "environment", "runtime"),
}


def load_mapping(path: str | Path) -> TypeMapping:
    """Read a JSON file ``{"message_types": {"from": "to"}, "event_types": {...}}``.

    Raises MappingFileError that names the key and what is allowed there.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=_without_doubles)
    except (OSError, ValueError, RecursionError) as error:
        raise MappingFileError(
            f"the mapping file {path} cannot be read: {error}", hint="it must be a JSON object", path=str(path)
        ) from error
    if not isinstance(document, dict) or not set(document) <= set(_ALLOWED):
        raise MappingFileError(
            f"the mapping file {path} must be an object with the keys {', '.join(_ALLOWED)}", path=str(path)
        )
    for name, table in document.items():
        allowed = _ALLOWED[name]
        if not isinstance(table, dict):
            raise MappingFileError(f"{name} in {path} must be an object", path=str(path), key=name)
        for old, new in table.items():
            if new not in allowed:
                raise MappingFileError(
                    f"{name} in {path} maps {old!r} to {new!r}, which the target does not allow",
                    hint=f"allowed: {', '.join(allowed)}",
                    path=str(path),
                    key=old,
                )
    return TypeMapping(**document)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        # which of the two was meant, nobody can tell
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is there more than once")
    return found
