"""Which sessions are to move now: a mode, a share by a stable hash, and lists that stand above it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from sessionlift.errors import UsageError

Mode = Literal["off", "shadow", "lazy"]
_HINT = 'such as {"mode": "lazy", "share": 0.1, "allow": [], "deny": [], "paused": false, "shadow_budget": 10}'


@dataclass(frozen=True)
class Rollout:
    """What the bridge does with a session that has not moved yet. One that has moved is served from the new store.

    ``mode``: "off" leaves it in the legacy store, "shadow" compares what the new store would say, "lazy" moves it.
    ``share`` of all sessions is taken, by a stable hash of the id: raising the share only adds sessions. Those in
    ``allow`` are taken whatever the share is; those in ``deny`` never. ``paused`` takes none for the time being.
    Once ``shadow_budget`` sessions have mismatched, the share no longer rises, whatever is asked for.
    """

    mode: Mode = "lazy"
    share: float = 1.0
    allow: frozenset[str] = frozenset()
    deny: frozenset[str] = frozenset()
    paused: bool = False
    shadow_budget: int = 10

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise UsageError(f"a rollout's mode is {', '.join(get_args(Mode))}, not {self.mode!r}", hint=_HINT)
        if isinstance(self.share, bool) or not isinstance(self.share, (int, float)) or not 0 <= self.share <= 1:
            raise UsageError(f"a rollout's share lies between 0 and 1; it is {self.share!r}", hint=_HINT)
        for name in ("allow", "deny"):
            ids = getattr(self, name)
            if isinstance(ids, str) or not all(isinstance(each, str) for each in ids):
                raise UsageError(f"a rollout's {name} is a list of session ids", hint=_HINT)
            object.__setattr__(self, name, frozenset(ids))
        if not isinstance(self.paused, bool):
            raise UsageError(f"a rollout is paused (true) or not (false); it is {self.paused!r}", hint=_HINT)
        if isinstance(self.shadow_budget, bool) or not isinstance(self.shadow_budget, int) or self.shadow_budget < 0:
            raise UsageError(
                f"a rollout's shadow_budget is a number of sessions, not {self.shadow_budget!r}", hint=_HINT
            )

    def takes(self, session_id: str) -> bool:
        """Whether the session is chosen, by the lists and the share; mode and pause are another matter."""
        if session_id in self.deny:
            return False
        return session_id in self.allow or place_in_share(session_id) < self.share

    def moves(self, session_id: str) -> bool:
        return self.mode == "lazy" and not self.paused and self.takes(session_id)

    def shadows(self, session_id: str) -> bool:
        return self.mode == "shadow" and not self.paused and self.takes(session_id)

    def held_to(self, share: float) -> Rollout:
        """The same with a share of at most ``share``."""
        return self if self.share <= share else replace(self, share=share)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; ``from_dict`` reads it."""
        return {
            "mode": self.mode,
            "share": self.share,
            "allow": sorted(self.allow),
            "deny": sorted(self.deny),
            "paused": self.paused,
            "shadow_budget": self.shadow_budget,
        }

    @classmethod
    def from_dict(cls, value: Any) -> Rollout:
        """The rollout that decoded JSON describes; keys that are left out have their defaults. Raises UsageError."""
        if not isinstance(value, Mapping):
            raise UsageError("a rollout is a JSON object", hint=_HINT)
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(map(str, value)) - known):
            raise UsageError(f"a rollout has no {unknown[0]!r}", hint=f"its keys are {', '.join(sorted(known))}")
        for name in ("allow", "deny"):
            if name in value and not isinstance(value[name], (list, tuple)):
                raise UsageError(f"a rollout's {name} is a list of session ids", hint=_HINT)
        return cls(**value)


def place_in_share(session_id: str) -> float:
    """Where the session stands between 0 and 1: the first 53 bits of the SHA-256 of its id, always the same."""
    digest = hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / (1 << 53)
