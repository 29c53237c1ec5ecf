"""What may be true of one session, whatever happened to it: the rules of the docs, without any of the code.

A ``State`` is what lies in both stores, and what the next operation depends on besides. Each operation is a function
that gives every state that it may leave behind (``Way``), and whether it has to tell of a conflict. Where the rules
leave something open there is more than one; what lies in the stores afterwards says which of them it was. A killed
operation leaves the state before, one of those after, or what it may have come to in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from tests.support.both_programs import Lying

Policy = Literal["raise", "append_legacy", "keep_new", "none"]
"""What becomes of a session that both sides changed; "none": the system has no way to lay them together."""
Contents = tuple[str, ...]
UNFIT = "q"
"""What begins so is a row that no rule can convert."""


@dataclass(frozen=True)
class State:
    """``legacy`` and ``new`` are the contents of the messages in each store; None: it has no such session.

    ``word`` is the ledger's. ``synced``: the legacy list as it was when both sides were the same last, ``ours``: what a
    move has brought of ``new``. ``late``: the old program has written since; ``used``: the new one has.
    ``carried``: a rollback has written the legacy rows and did not come to its end.
    ``back``: it was taken back and put back, with what V1 has no place for.
    ``apart``: what of the legacy contents lies in quarantine while the session lives in the new store.
    """

    legacy: Contents | None = None
    old_status: str | None = None
    new: Contents | None = None
    new_status: str | None = None
    word: str | None = None
    synced: Contents = ()
    ours: frozenset[str] = frozenset()
    late: bool = False
    used: bool = False
    carried: bool = False
    back: bool = False
    apart: Contents = ()

    def lies(self, lying: Lying) -> bool:
        """Whether this is what lies in the stores."""
        word = "moved" if lying.state == "partial" else lying.state
        return (self.legacy, self.old_status, self.new, self.new_status, self.word) == (
            lying.legacy, lying.old_status, lying.new, lying.new_status, word,
        )  # fmt: skip

    @property
    def lives(self) -> bool:
        return self.new is not None and self.word in (None, "moved")

    @property
    def clean(self) -> bool:
        """Nobody has written since the last move: both sides have the same, and nothing is on its way."""
        return not (self.late or self.used or self.carried or self.back or self.apart or self.word == "quarantined")


@dataclass(frozen=True)
class Way:
    """One state that an operation may leave. ``told``: whether it says that the session could not be done (None:
    either). ``done``: whether the caller got what it asked for."""

    state: State
    told: bool | None = False
    done: bool = True


def stays(state: State, told: bool | None = False) -> Way:
    return Way(state, told, done=False)


def moved(state: State, *, back: bool = False) -> State:
    assert state.legacy is not None
    fit = tuple(each for each in state.legacy if each[:1] != UNFIT)
    return State(
        legacy=state.legacy, old_status=state.old_status, new=fit, new_status=state.old_status, word="moved",
        synced=state.legacy, ours=frozenset(state.legacy), back=back,
        apart=tuple(each for each in state.legacy if each[:1] == UNFIT),
    )  # fmt: skip


def arranged(contents: Iterable[str]) -> Contents:
    """Contents kind by kind, by their first letter; those of a kind stay in their order."""
    return tuple(sorted(contents, key=lambda each: each[:1]))


# --- forward --------------------------------------------------------------------------------------------------


def first_use(state: State, policy: Policy) -> list[Way]:
    """A session is used through the bridge, or `backfill` comes to it."""
    if state.word is None:
        if state.new is not None or state.legacy is None:
            return [stays(state)]
        return [Way(moved(state))]
    if state.word == "quarantined" and state.late and state.legacy is not None:
        return [Way(moved(state, back=state.back))]
    if state.word != "moved":
        return [stays(state)]
    return catch_up(state, policy)


def refused(state: State, ways: list[Way], told: bool | None) -> list[Way]:
    """What becomes of a move where the new store does not take the rows: what is there stays, and one that was not
    there goes into quarantine, until a run finds room for it or the old program has changed it."""
    found = []
    for way in ways:
        if not way.done:
            found.append(way)
        elif state.word == "moved":
            found.append(stays(state, told))
        else:
            found.append(Way(replace(_out(state, "quarantined"), back=way.state.back), told, done=False))
    return found


def migrate(state: State) -> list[Way]:
    if state.legacy is None or (state.word is None and state.new is not None):
        return [stays(state, None if state.word == "moved" else False)]
    if state.word in (None, "rolled_back", "quarantined"):
        return [Way(moved(state, back=state.back or state.word == "rolled_back"))]
    if state.word == "deleted" or state.new is None or (state.carried and state.late):
        return [stays(state, None)]
    if not state.late:
        return [stays(state)]
    conflict = stays(state, told=True)
    if state.used:
        return [conflict]
    return [Way(moved(state)), conflict, Way(moved(state, back=True))] if state.back else [Way(moved(state))]


def catch_up(state: State, policy: Policy) -> list[Way]:
    """What becomes of a session that lives in the new store, when it is looked at with the legacy one."""
    if state.word != "moved" or state.legacy is None or not state.late:
        return [stays(state)]
    if state.new is None:
        return [stays(state, None)]
    if not (state.used or state.carried):
        again = [Way(moved(state))]
        return [*again, Way(moved(state, back=True)), *_together(state, policy)] if state.back else again
    return _together(state, policy)


def _together(state: State, policy: Policy) -> list[Way]:
    """Both sides have gone on."""
    assert state.legacy is not None
    assert state.new is not None
    if policy == "none":
        # where a rollback had only found in the legacy store what it would have written, nobody knows of it
        return [stays(state, told=True), *([] if state.used else [Way(moved(state))])]
    here = tuple(each for each in state.new if each in state.ours)
    own = [each for each in state.new if each not in state.ours]
    goes_on = here == state.synced == state.legacy[: len(state.synced)]
    # what a rollback has carried there is the new store's own, and comes back to no second place
    tail = tuple(each for each in state.legacy if each not in state.new)
    if goes_on:
        tail = tuple(each for each in tail if each not in state.synced)
    conflict = not goes_on or bool(own and len(state.legacy) > len(state.synced))
    merged = _merged(state, tail)
    if not goes_on:
        # what the new program has deleted may stay deleted
        merged += _merged(state, tuple(each for each in tail if each not in state.synced))
    if policy == "raise":
        told = [stays(state, told=True)]
        return told if conflict and not state.carried and tail else [*told, *merged]
    if policy == "append_legacy":
        return merged
    return [stays(replace(state, late=False, carried=False), None), *([] if conflict else merged)]


def _merged(state: State, tail: Contents) -> list[Way]:
    assert state.legacy is not None
    assert state.new is not None
    after = replace(
        state, new=state.new + tail, synced=state.legacy, ours=state.ours | set(tail), late=False, used=True,
        carried=False,
    )  # fmt: skip
    return [Way(replace(after, new_status=status), None) for status in {state.old_status, state.new_status}]


# --- back -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BackOptions:
    keep_target: bool = False
    discard_new: bool = False
    keep_legacy: bool = False

    @property
    def arguments(self) -> list[str]:
        found = ["--keep-target"] * self.keep_target + ["--discard-new"] * self.discard_new
        return found + ["--on-conflict", "keep-legacy"] * self.keep_legacy


def take_back(state: State, options: BackOptions) -> list[Way]:
    if state.word == "rolled_back" or (state.word is None and state.new is None):
        return [stays(state)]
    if state.word == "quarantined":
        # it was never in the new store
        return [stays(state, None)]
    changed = state.late
    if changed and options.keep_legacy and state.legacy is not None:
        return [Way(_out(state, "rolled_back") if not options.keep_target else state, None)]
    if state.new is None:
        return _gone(state, options)
    if options.discard_new and (state.used or state.word is None or state.back or state.carried):
        return _discarded(state)
    if state.legacy is None:
        ways = [Way(_carried(state, options))]
        if state.word is not None:
            # of a session that the new program began, the ledger does not say that it came from there
            ways = [stays(state, told=True), *(ways if not state.synced else [])]
        return ways
    if changed:
        return [stays(state, told=True)]
    return [Way(_carried(state, options))]


def _carried(state: State, options: BackOptions) -> State:
    there = _written(state, carried=False)
    if options.keep_target:
        return replace(there, word="moved", used=state.used or state.word is None)
    return _out(there, "rolled_back")


def _written(state: State, *, carried: bool) -> State:
    """A rollback has written the legacy rows: those of the new store, and those in quarantine."""
    assert state.new is not None
    legacy = arranged((*state.new, *state.apart)) if state.apart else state.new
    return replace(state, legacy=legacy, old_status=state.new_status, late=False, carried=carried)


def _out(state: State, word: str) -> State:
    """It has left the new store."""
    return State(legacy=state.legacy, old_status=state.old_status, word=word)


def _discarded(state: State) -> list[Way]:
    if state.word is None and state.legacy is None:
        return [Way(State(word="deleted"))]
    ways = [Way(_out(state, "rolled_back"))]
    return [stays(state, told=True)] if state.legacy is None or state.late else [*ways, stays(state, told=True)]


def _gone(state: State, options: BackOptions) -> list[Way]:
    """The new store has deleted it."""
    if state.legacy is None:
        return [stays(state), Way(State(word="deleted"))]
    if state.late:
        return [stays(state, told=True)]
    if options.discard_new:
        return [Way(_out(state, "rolled_back"))]
    return [Way(State(word="deleted"))]


# --- the new program ------------------------------------------------------------------------------------------


def old(state: State, **changes: Any) -> State:
    """The old program has written."""
    return replace(state, **changes, late=True)


def new(state: State, **changes: Any) -> State:
    """The new program has written."""
    return replace(state, **changes, used=True)


def appended(state: State, content: str) -> State:
    assert state.new is not None
    return new(state, new=(*state.new, content))


def through_the_bridge(state: State, policy: Policy, change: Callable[[State], State]) -> list[Way]:
    """A write: the session is looked for as at any use, and written to where it lives in the new store."""
    ways = []
    for way in first_use(state, policy):
        if way.state.lives and way.told is not True:
            ways.append(replace(way, state=change(way.state), told=None, done=True))
        else:
            ways.append(replace(way, told=None, done=False))
    return ways


def deleted(before: list[Way]) -> list[Way]:
    """Deleted through the bridge, which has done with it what ``before`` says; a conflict keeps nobody from it."""
    found = []
    for way in before:
        now = way.state
        if now.word == "deleted" or (now.word is None and now.legacy is None and now.new is None) or (
            now.word == "moved" and now.new is None
        ):  # fmt: skip
            found.append(replace(way, told=None, done=False))
            continue
        word = "deleted" if now.word is not None or now.legacy is not None else None
        gone = State(legacy=now.legacy, old_status=now.old_status, word=word, late=now.late)
        found.append(Way(gone, None))
    return found


# --- all of it ------------------------------------------------------------------------------------------------


def halfway(state: State, options: BackOptions, ends: list[Way]) -> list[Way]:
    """What a rollback may leave that was killed between the two stores; ``ends`` are those of one that was not."""
    ways = []
    for way in ends:
        if way.done and state.new is not None and not options.discard_new:
            carried = _written(state, carried=True)
            if way.state.legacy == carried.legacy:
                ways.append(Way(carried, None))
        if way.done and state.new is None and way.state.legacy is None:
            ways.append(Way(replace(state, legacy=None, old_status=None), None))
    return ways


def after(
    beliefs: Iterable[State],
    ways: Callable[[State], list[Way]],
    lying: Lying,
    *,
    told: bool | None = None,
    done: bool | None = None,
    killed: Callable[[State], list[Way]] | None = None,
) -> set[State]:
    """The states that agree with what lies there. ``killed`` gives what lies between; without it, it was not killed."""
    found = set()
    for state in beliefs:
        possible = ways(state)
        if killed is not None:
            possible = [Way(each, None) for each in {state, *(way.state for way in (*possible, *killed(state)))}]
        for way in possible:
            if not way.state.lies(lying):
                continue
            # what lies in quarantine is told by every run
            again = told and lying.state == "partial"
            if told is not None and way.told is not None and way.told != told and not again:
                continue
            if done is not None and way.done != done:
                continue
            found.add(way.state)
    return found


def shown(value: Any) -> str:
    """For a failure: a state on a few lines."""
    return str(value).replace("State(", "\n      State(")
