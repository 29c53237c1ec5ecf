"""The rollout in a target's ledger, which every bridge with ``rollout="ledger"`` follows within seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from sessionlift import generations
from sessionlift.bridge._rollout import Mode, Rollout
from sessionlift.bridge._shadow import HELD
from sessionlift.bridge._sources import ROLLOUT, stored_rollout
from sessionlift.errors import UsageError, WrongGenerationError
from sessionlift.ledger import Notes, ShadowCounts
from sessionlift.reports import utc_now
from sessionlift.stores import Store, open_store, parse_store_url


@dataclass(frozen=True)
class Setting:
    """``rollout`` is None where nobody has set one: bridges that follow the ledger move nothing. ``held`` is the
    share beyond which it does not rise, since the budget of mismatches is spent."""

    target: str
    rollout: Rollout | None
    held: float | None

    def to_dict(self) -> dict[str, Any]:
        rollout = None if self.rollout is None else self.rollout.to_dict()
        return {"target": self.target, "rollout": rollout, "held": self.held}


def read_setting(target: str) -> Setting:
    """What the ledger of ``target`` says. Writes nothing. Raises WrongGenerationError where there is no ledger."""
    with open_store(target, mode="ro", role="target") as store:
        _require_ledger(store)
        return setting_in(store)


def setting_in(store: Store) -> Setting:
    notes = Notes(store)
    held = notes.read(HELD)
    return Setting(store.url.redacted, stored_rollout(notes.read(ROLLOUT)), None if held is None else held["share"])


def change_setting(
    target: str,
    *,
    mode: Mode | None = None,
    share: float | None = None,
    allow: tuple[str, ...] = (),
    deny: tuple[str, ...] = (),
    unlist: tuple[str, ...] = (),
    paused: bool | None = None,
    shadow_budget: int | None = None,
    forget_shadow: bool = False,
) -> Setting:
    """Change what is given and leave the rest, in one transaction. ``unlist`` takes ids off both lists.

    Raises UsageError for a value that cannot be and for a session that is to be in two places, WrongGenerationError
    where there is no ledger.
    """
    _refuse_twice({"allow": allow, "deny": deny, "unlist": unlist})
    with open_store(parse_store_url(target), mode="rw", role="target") as store:
        _require_ledger(store)
        with store.transaction():
            notes = Notes(store)
            before = stored_rollout(notes.read(ROLLOUT)) or Rollout(mode="off", share=0.0)
            given = {"mode": mode, "share": share, "paused": paused, "shadow_budget": shadow_budget}
            after = replace(
                before,
                allow=(before.allow | set(allow)) - set(deny) - set(unlist),
                deny=(before.deny | set(deny)) - set(allow) - set(unlist),
                **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
            )
            notes.write(ROLLOUT, after.to_dict(), at=utc_now())
            if forget_shadow:
                notes.remove(HELD)
                ShadowCounts(store).forget()
            return setting_in(store)


def _refuse_twice(lists: Mapping[str, tuple[str, ...]]) -> None:
    """One session has one place: whichever was meant, it would not be what the other says."""
    for (one, ids), (other, others) in combinations(lists.items(), 2):
        if both := sorted(set(ids) & set(others)):
            raise UsageError(
                f"--{one} and --{other} exclude each other, and both name {both[0]!r}",
                hint="leave it out of one of them",
                sessions=both,
            )


def _require_ledger(store: Store) -> None:
    if not store.query("SELECT 1 FROM sqlite_master WHERE name = 'sessionlift_rollout'"):
        where = parse_store_url(store.url.redacted).redacted
        raise WrongGenerationError(
            f"{where} has no ledger that could hold a rollout",
            hint="opening a bridge makes it, or, in a target of synth.v3 or langswarm.v2, `sessionlift schema upgrade "
            "TARGET ledger_2`; name the target, not the source",
            store=where,
            role="target",
        )
    generations.refuse_newer_store(store)
