"""A trace's life at random: old and new tracer, bridge, runs, catch-up, rollback, kills and restarts, in any order.

The laws are those of `test_session_life.py`, over Synth-AI's stores: no timestep, event or message lost, doubled or
reordered in either store, the ledger of one mind with the rows, every report balanced. Besides, each row that a program
wrote is to the cell what it wrote, wherever the row has been since.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test
from tests.support import life_model as model
from tests.support.both_programs import Lying
from tests.support.both_tracers import (
    NO_EXPERIMENT,
    NewTracer,
    OldTracer,
    Said,
    differing,
    filled,
    legacy_traces,
    look,
    new_traces,
)
from tests.support.life_model import BackOptions, Contents, Policy, State, Way, arranged
from tests.support.lives import AWKWARD, KEYS, Lives, bridge_kills, kills, lives, numbers, rarely
from tests.support.warm import warm

pytestmark = [
    pytest.mark.torture,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
]

rows = st.sampled_from(["m", "m", "e", "ee", "tm", "mme"])
"""what is written at once: messages, events, a timestep of its own for what is written with it; the old tracer also
writes events of a type that v3 does not know"""


class Life(Lives):
    """``old_status`` and ``new_status`` are the experiment that a trace is linked to."""

    names = ("v2.duckdb", "v3.db")
    side = "serve_traces"
    policies = ("none",)

    def __init__(self) -> None:
        super().__init__()
        self.said = Said()
        self.taken: frozenset[str] = frozenset()
        """by what was looked at last, the sessions that have the id of another one's row in the new store"""
        self.taken_before = self.taken
        self.old, self.new = OldTracer(self.source, self.said), NewTracer(self.target, self.said)

    def look(self) -> dict[str, Lying]:
        looked = look(self.source, self.target)
        self.taken, self.taken_before = looked.taken, self.taken
        return looked.lying

    def moves(self, key: str, state: State, ways: list[Way], told: bool | None = True) -> list[Way]:
        """Rows keep their ids, and v3's tracer draws its own: what it has taken is refused."""
        taken = {key in self.taken, key in self.taken_before}
        return [*(ways if False in taken else []), *(model.refused(state, ways, told) if True in taken else [])]

    def shown(self, contents: Contents) -> list[str]:
        return [token for token in contents if token[0] == "t"]

    def before_deleting(self, state: State, policy: Policy) -> list[Way]:  # noqa: ARG002 - it is not moved for that
        return [model.stays(state)]

    def take_back(self, state: State, options: BackOptions) -> list[Way]:
        """What the ledger is told of a session that the new tracer began is its rows as they are; so they are no
        change of the new tracer's any more, and what v2 cannot hold of them is kept."""
        ways = model.take_back(state, options)
        if options.keep_target and state.word is None:
            return [
                way if not way.done else replace(way, state=replace(way.state, used=False, back=True)) for way in ways
            ]
        return ways

    def quiet(self) -> None:
        """DuckDB lets nobody write to a store that a bridge reads."""
        self.bridge_ends()

    def in_the_way(self, code: str) -> bool:
        return self.bridge is not None and code == "store_locked"

    def tokens(self, kinds: str) -> list[str]:
        found = []
        for kind in kinds:
            self.number += 1
            found.append(f"{kind}{self.number}{AWKWARD[self.number % len(AWKWARD)] if kind == 'm' else ''}")
        return found

    @invariant()
    def each_row_is_what_its_program_wrote(self) -> None:
        for key, trace in legacy_traces(self.source).items():
            for token, row in trace.rows.items():
                wrong = differing(self.said.v2[token], row, as_text=True)
                assert not wrong, f"{key}, {token!r} in v2: {wrong}"
            metadata = self.said.metadata.get(key)
            assert metadata in (None, trace.head["metadata"]), f"{key}: {trace.head}, and it was {metadata}"
        for key, trace in new_traces(self.target).items() if filled(self.target) else ():
            for token, row in trace.rows.items():
                wrong = differing(self.said.v3[token], row, as_text=False)
                assert not wrong, f"{key}, {token!r} in v3: {wrong}"

    # --- the old tracer ---------------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self.old.make()
        for kinds in ("temm", "tteemm"):
            self.old_creates(kinds)

    @rule(kinds=st.sampled_from(["", "m", "temm", "ttem", "tee", "tqem"]))
    def old_creates(self, kinds: str) -> None:
        key = self.pick(0, lambda state: state == State(), KEYS[:3])
        if key is None:
            return
        self.quiet()
        tokens = self.tokens(kinds)
        status = self.old.create(key, tokens)
        self.write("old creates", key, lambda _: State(legacy=arranged(tokens), old_status=status))

    @rule(n=numbers, kinds=rows | st.just("qe"))
    def old_appends(self, n: int, kinds: str) -> None:
        key = self.pick(n, lambda state: state.legacy is not None)
        if key is None:
            return
        self.quiet()
        tokens = self.tokens(kinds)
        self.old.add(key, tokens)
        self.write("old appends", key, lambda s: model.old(s, legacy=arranged((*(s.legacy or ()), *tokens))))

    @rule(n=numbers)
    def old_links(self, n: int) -> None:
        key = self.pick(n, lambda state: state.legacy is not None)
        if key is None:
            return
        self.quiet()
        self.number += 1
        experiment = f"x{self.number}"
        self.old.link(key, experiment)
        self.write("old links", key, lambda s: model.old(s, old_status=experiment))

    # --- the new tracer, without a bridge ---------------------------------------------------------------------

    @rule(kinds=st.sampled_from(["", "tem", "mmee"]))
    def new_creates(self, kinds: str) -> None:
        key = KEYS[3]
        if self.beliefs[key] != {State()} or not filled(self.target):
            return
        tokens = self.tokens(kinds)
        self.new.create(key, tokens)
        self.write("new creates", key, lambda _: State(new=arranged(tokens), new_status=NO_EXPERIMENT, used=True))

    @rule(n=numbers, kinds=rows)
    def new_appends(self, n: int, kinds: str) -> None:
        key = self.pick(n, lambda state: state.lives)
        if key is None:
            return
        tokens = self.tokens(kinds)
        self.new.add(key, tokens)
        self.write("new appends", key, lambda s: model.new(s, new=arranged((*(s.new or ()), *tokens))))

    @rule(n=numbers)
    def new_links(self, n: int) -> None:
        key = self.pick(n, lambda state: state.lives)
        if key is None:
            return
        self.number += 1
        experiment = f"x{self.number}"
        self.new.link(key, experiment)
        self.write("new links", key, lambda s: model.new(s, new_status=experiment))

    @rule(n=numbers, which=numbers)
    def new_changes(self, n: int, which: int) -> None:
        """One message gets another text."""
        key = self.pick(n, lambda state: state.lives and bool(messages(state)))
        if key is None:
            return
        listed = messages(self.known(key))
        token, (now,) = listed[which % len(listed)], self.tokens("m")
        self.new.change(key, token, now)
        self.write(
            "new changes", key,
            lambda s: model.new(s, new=tuple(now if each == token else each for each in s.new or ())),
        )  # fmt: skip

    @rule(n=numbers, which=numbers, now=rarely)
    def new_drops(self, n: int, which: int, now: bool) -> None:
        key = self.pick(n, lambda state: state.lives and bool(messages(state)))
        if key is None or not now:
            return
        listed = messages(self.known(key))
        token = listed[which % len(listed)]
        self.new.drop(key, token)
        self.write("new drops", key, lambda s: model.new(s, new=tuple(each for each in s.new or () if each != token)))

    # --- the bridge and the runs that are otherwise here ------------------------------------------------------

    @rule(at=bridge_kills)
    def bridge_opens(self, at: int | None) -> None:
        self.open_bridge("none", at)

    @rule(at=kills)
    def catches_up(self, at: int | None) -> None:
        self.run(
            "catch-up",
            self.source,
            self.target,
            at=at,
            ways=lambda key, state: self.moves(key, state, model.catch_up(state, "none")),
        )


def messages(state: State) -> Contents:
    """Those of the new store."""
    return tuple(token for token in state.new or () if token[0] == "m")


@pytest.fixture(scope="module")
def servers() -> Iterator[None]:
    with warm() as one, warm() as other:
        Life.sessionlift, Life.bridges = one, other
        yield


@pytest.mark.slow
def test_a_life_in_which_everything_happens_once(servers: None) -> None:
    """The same each time: whatever the search comes to, each of its operations is tried, undisturbed and killed."""
    life = Life()
    try:
        life.begin()
        life.migrates(7)
        life.migrates(None)
        life.bridge_opens(30)
        life.bridge_uses(1)
        life.bridge_ends()
        life.old_appends(0, "tm")
        life.bridge_uses(0)
        life.new_appends(1, "mme")
        life.bridge_uses(1)
        life.old_links(1)
        life.catches_up(9)
        life.catches_up(None)
        life.verifies()
        life.new_creates("tem")
        life.new_changes(0, 1)
        life.bridge_opens(None)
        life.takes_back(None, None, BackOptions())
        life.bridge_ends()
        life.takes_back(20, None, BackOptions())
        life.takes_back(None, None, BackOptions(keep_target=True))
        life.takes_back(None, None, BackOptions(keep_legacy=True))
        life.old_appends(0, "qm")
        life.old_creates("tqemm")
        life.migrates(None)
        life.new_drops(0, 0, True)
        life.new_links(2)
        life.takes_back(None, {"one", "four"}, BackOptions(discard_new=True))
        life.bridge_deletes(1, True)
        life.new_deletes(0, True)
        life.takes_back(None, None, BackOptions())
        life.old_deletes(0, True)
        life.migrates(None)
        life.each_row_is_what_its_program_wrote()
    finally:
        life.teardown()


@pytest.mark.slow
def test_a_trace_is_whole_and_in_its_order_whatever_happens_to_it(servers: None) -> None:
    run_state_machine_as_test(Life, settings=lives(4))
    print(f"\n{sum(Life.steps.values())} steps: {Life.steps}")  # noqa: T201 - the numbers that the docs tell
