"""A session's life at random: old and new program, bridge, runs, catch-up, rollback, kills and restarts, in any order.

After each step what lies in both stores, read past all of ours, must be one of the states that the rules allow: no
message lost, doubled or reordered, and the ledger of one mind with the rows. Every report must balance.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test
from tests.support import life_model as model
from tests.support.both_programs import Lying, NewProgram, OldProgram, legacy_messages, look, new_messages, opened
from tests.support.life_model import BackOptions, Policy, State, Way
from tests.support.lives import AWKWARD, KEYS, Lives, bridge_kills, kills, lives, numbers, rarely
from tests.support.warm import warm

pytestmark = [
    pytest.mark.torture,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
]

STATUSES = ("active", "inactive", "archived")
POLICIES: tuple[Policy, ...] = ("raise", "append_legacy", "keep_new")


class Life(Lives):
    """LangSwarm's sessions. ``old_status`` and ``new_status`` are theirs, what they hold the contents of messages."""

    names = ("v1.db", "v2.db")
    side = "serve"
    policies = POLICIES

    def __init__(self) -> None:
        super().__init__()
        self.old, self.new = OldProgram(self.source), NewProgram(self.target)

    def look(self) -> dict[str, Lying]:
        return look(self.source, self.target)

    def content(self) -> str:
        self.number += 1
        return f"m{self.number}{AWKWARD[self.number % len(AWKWARD)]}"

    @invariant()
    def what_each_program_wrote_is_what_it_reads(self) -> None:
        for key, (_, messages) in legacy_messages(self.source).items():
            for message in messages:
                said = self.old.said.get(message["content"])
                assert said in (None, message), f"{key}: V1 wrote {said}, and now it is {message}"
        if not self.target.exists() or all(self.known(key).word is None and not self.known(key).lives for key in KEYS):
            return
        for key, (_, rows) in new_messages(self.target).items():
            for role, content, _ in rows:
                said = self.old.said.get(content)
                assert said is None or said["role"] == role, f"{key}: {content!r} was {said}, and is of {role}"
        with opened(self.target) as db:
            wrong = db.execute(
                "SELECT s.session_id FROM sessions s LEFT JOIN session_metrics m ON m.session_id = s.session_id WHERE "
                "m.message_count IS NOT (SELECT count(*) FROM session_messages q WHERE q.session_id = s.session_id)"
            ).fetchall()
        assert wrong == [], "V2's metrics count other messages than there are"

    # --- the old program --------------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self.old.make()
        for _ in KEYS[:2]:
            self.old_creates(2)

    @rule(count=st.integers(0, 2))
    def old_creates(self, count: int) -> None:
        key = self.pick(0, lambda state: state == State(), KEYS[:3])
        if key is None:
            return
        contents = [self.content() for _ in range(count)]
        self.old.create(key, contents)
        self.write("old creates", key, lambda _: State(legacy=tuple(contents), old_status="active"))

    @rule(n=numbers, late=st.sampled_from([0, 7, 14, 3600]))
    def old_appends(self, n: int, late: int) -> None:
        key = self.pick(n, lambda state: state.legacy is not None)
        if key is None:
            return
        content = self.content()
        self.old.append(key, content, late=late)
        self.write("old appends", key, lambda s: model.old(s, legacy=(*(s.legacy or ()), content)))

    @rule(n=numbers, status=st.sampled_from(STATUSES))
    def old_sets(self, n: int, status: str) -> None:
        key = self.pick(n, lambda state: state.legacy is not None)
        if key is None:
            return
        self.old.set(key, status=status)
        self.write("old sets", key, lambda s: model.old(s, old_status=status))

    @rule(n=numbers, now=rarely)
    def old_trims(self, n: int, now: bool) -> None:
        key = self.pick(n, lambda state: bool(state.legacy))
        if key is None or not now:
            return
        self.old.trim(key)
        self.write("old trims", key, lambda s: model.old(s, legacy=(s.legacy or ())[1:]))

    # --- the new program, without a bridge --------------------------------------------------------------------

    @rule(n=numbers, tokens=st.sampled_from([None, None, 5]))
    def new_appends(self, n: int, tokens: int | None) -> None:
        key = self.pick(n, lambda state: state.lives)
        if key is None:
            return
        content = self.content()
        self.new.append(key, f"msg_new{self.number}", content, tokens=tokens)
        self.write("new appends", key, lambda s: model.appended(s, content))

    @rule(n=numbers, status=st.sampled_from(STATUSES))
    def new_sets(self, n: int, status: str) -> None:
        key = self.pick(n, lambda state: state.lives)
        if key is None:
            return
        self.new.set(key, status=status)
        self.write("new sets", key, lambda s: model.new(s, new_status=status))

    @rule(n=numbers, now=rarely)
    def new_drops(self, n: int, now: bool) -> None:
        key = self.pick(n, lambda state: state.lives and bool(state.new))
        if key is None or not now:
            return
        self.new.drop_first(key)
        self.write("new drops", key, lambda s: model.new(s, new=(s.new or ())[1:]))

    # --- the bridge -------------------------------------------------------------------------------------------

    @rule(policy=st.sampled_from(POLICIES), at=bridge_kills)
    def bridge_opens(self, policy: Policy, at: int | None) -> None:
        self.open_bridge(policy, at)

    @rule(n=numbers, api=st.sampled_from(["append", "say"]))
    def bridge_appends(self, n: int, api: str) -> None:
        key = self.pick(n, lambda state: state != State())
        if key is None:
            return
        content = self.content()
        self.through_the_bridge(api, key, content, change=lambda state: model.appended(state, content))

    @rule(n=numbers, status=st.sampled_from(STATUSES))
    def bridge_sets(self, n: int, status: str) -> None:
        key = self.pick(n, lambda state: state != State())
        if key is None:
            return
        self.through_the_bridge("set", key, status, change=lambda state: model.new(state, new_status=status))

    def through_the_bridge(self, do: str, key: str, value: str, *, change: Callable[[State], State]) -> None:
        answer, policy = self.asked(do, key, value)
        ways = self.only(key, lambda state: model.through_the_bridge(state, policy, change))
        if answer is None:
            self.settle(
                f"{do} {key} (killed)", ways, killed=self.only(key, lambda state: model.first_use(state, policy))
            )
        else:
            self.settle(f"{do} {key}", ways, done={key: answer["done"]})

    @rule()
    def bridge_creates(self) -> None:
        key = KEYS[3]
        if self.beliefs[key] != {State()}:
            return
        answer, _ = self.asked("create", key)
        made = State(new=(), new_status="active", used=True)
        ways = self.only(key, lambda _: [Way(made)])
        if answer is None:
            self.settle("create (killed)", ways, killed=lambda *_: [])
        else:
            self.settle("create", ways)

    # --- runs -------------------------------------------------------------------------------------------------

    @rule(at=kills, policy=st.sampled_from(POLICIES))
    def catches_up(self, at: int | None, policy: Policy) -> None:
        arguments = ("catch-up", self.source, self.target, "--on-conflict", policy)
        self.run(*arguments, at=at, ways=lambda _, state: model.catch_up(state, policy))


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
        life.bridge_opens("raise", 30)
        life.bridge_appends(0, "append")
        life.old_appends(1, 3600)
        life.bridge_uses(1)
        life.bridge_sets(1, "archived")
        life.bridge_ends()
        life.old_appends(0, 0)
        life.catches_up(None, "raise")
        life.verifies()
        life.catches_up(9, "append_legacy")
        life.catches_up(None, "append_legacy")
        life.new_appends(0, 5)
        life.takes_back(20, None, BackOptions())
        life.old_appends(1, 0)
        life.takes_back(None, None, BackOptions(keep_target=True))
        life.takes_back(None, None, BackOptions(keep_legacy=True))
        life.migrates(None)
        life.new_drops(0, True)
        life.old_trims(0, True)
        life.catches_up(None, "keep_new")
        life.bridge_creates()
        life.bridge_appends(2, "say")
        life.bridge_deletes(1, True)
        life.takes_back(None, {"one", "four"}, BackOptions(discard_new=True))
        life.takes_back(None, None, BackOptions())
        life.what_each_program_wrote_is_what_it_reads()
    finally:
        life.teardown()


@pytest.mark.slow
def test_a_session_is_whole_and_in_its_order_whatever_happens_to_it(servers: None) -> None:
    run_state_machine_as_test(Life, settings=lives(6))
    print(f"\n{sum(Life.steps.values())} steps: {Life.steps}")  # noqa: T201 - the numbers that the docs tell
