"""A session's life at random: old and new program, bridge, runs, catch-up, rollback, kills and restarts, in any order.

After each step what lies in both stores, read past all of ours, must be one of the states that the rules allow: no
message lost, doubled or reordered, and the ledger of one mind with the rows. Every report must balance.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from tests.support import life_model as model
from tests.support.both_programs import Lying, NewProgram, OldProgram, legacy_messages, look, new_messages, opened
from tests.support.bridge_process import Answer, BridgeProcess
from tests.support.laws import TORTURE, tries
from tests.support.life_model import BackOptions, Policy, State, Way
from tests.support.warm import Outcome, Warm, warm

from sessionlift.reports import check_file

pytestmark = [
    pytest.mark.torture,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
]

KEYS = ("one", "two", "three", "four")
AWKWARD = ("", " said", " naïve 東京 👍🏽", ' "dq" \\ \n null', " {json}")
STATUSES = ("active", "inactive", "archived")
POLICIES: tuple[Policy, ...] = ("raise", "append_legacy", "keep_new")

numbers = st.integers(0, 11)
"""which of the sessions that are fit for an operation it is about"""
rarely = st.sampled_from([True, False, False])
kills = st.none() | st.none() | st.integers(1, 60)
"""at which write an operation is killed; at one that it does not come to, it is not"""


LIVES = settings(
    tries(6),
    stateful_step_count=60 if TORTURE else 30,
    # a failure tells the whole life; a kill does not come twice at the very same place, so that it cannot be shrunk
    phases=(Phase.explicit, Phase.generate),
)


class Life(RuleBasedStateMachine):
    """``beliefs``: by session the states that agree with all that was seen."""

    sessionlift: ClassVar[Warm]
    bridges: ClassVar[Warm]
    steps: ClassVar[dict[str, int]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="life-"))
        self.source, self.target = self.folder / "v1.db", self.folder / "v2.db"
        self.old, self.new = OldProgram(self.source), NewProgram(self.target)
        self.beliefs: dict[str, set[State]] = {key: {State()} for key in KEYS}
        self.bridge: BridgeProcess | None = None
        self.number = 0
        self.log: list[str] = []

    def content(self) -> str:
        self.number += 1
        return f"m{self.number}{AWKWARD[self.number % len(AWKWARD)]}"

    # --- what is seen -----------------------------------------------------------------------------------------

    def settle(
        self,
        what: str,
        ways: Callable[[str, State], list[Way]],
        *,
        told: set[str] | None = None,
        lines: Sequence[dict[str, Any]] = (),
        done: dict[str, bool] | None = None,
        killed: Callable[[str, State], list[Way]] | None = None,
    ) -> None:
        """Lay what the rules allow beside what lies there. ``told``: the sessions that a report names."""
        self.steps[what.split()[0]] = self.steps.get(what.split()[0], 0) + 1
        self.log.append(what)
        lying = look(self.source, self.target)
        assert set(lying) <= set(KEYS)
        for key in KEYS:
            found = model.after(
                self.beliefs[key],
                lambda state, key=key: ways(key, state),  # type: ignore[misc]
                lying.get(key, Lying()),
                told=None if told is None else key in told,
                done=None if done is None else done.get(key),
                killed=None if killed is None else (lambda state, key=key: killed(key, state)),  # type: ignore[misc]
            )
            assert found, (
                f"{', '.join(self.log)}\n"
                f"{what}: session {key!r} (told: {told}, done: {done}) lies like no state that the rules allow\n"
                f"  errors: {list(lines)}\n"
                f"   before: {model.shown(self.beliefs[key])}\n   now:\n      {lying.get(key, Lying())}"
            )
            self.beliefs[key] = found

    def only(self, key: str, ways: Callable[[State], list[Way]]) -> Callable[[str, State], list[Way]]:
        """An operation on one session: the others stay as they are."""
        return lambda each, state: ways(state) if each == key else [model.stays(state)]

    def pick(self, n: int, fit: Callable[[State], bool], among: tuple[str, ...] = KEYS) -> str | None:
        """The ``n``-th of the sessions that are fit; what is drawn does not depend on how a kill went."""
        found = [key for key in among if all(fit(state) for state in self.beliefs[key])]
        return found[n % len(found)] if found else None

    def known(self, key: str) -> State:
        """Some state that is believed; all of them lie alike."""
        return next(iter(self.beliefs[key]))

    def write(self, what: str, key: str, change: Callable[[State], State]) -> None:
        self.settle(f"{what} {key}", self.only(key, lambda state: [Way(change(state))]))

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

    @rule(n=numbers, now=rarely)
    def old_deletes(self, n: int, now: bool) -> None:
        key = self.pick(n, lambda state: state.legacy is not None)
        if key is None or not now:
            return
        self.old.delete(key)
        self.write("old deletes", key, lambda s: model.old(s, legacy=None, old_status=None))

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

    @rule(n=numbers, now=rarely)
    def new_deletes(self, n: int, now: bool) -> None:
        key = self.pick(n, lambda state: state.lives)
        if key is None or not now:
            return
        self.new.delete(key)
        self.write("new deletes", key, lambda s: model.new(s, new=None, new_status=None))

    # --- the bridge -------------------------------------------------------------------------------------------

    def asked(self, do: str, *arguments: Any) -> tuple[Answer | None, Policy]:
        """Ask the bridge, which is opened for it if it is not; None if it was killed meanwhile."""
        if self.bridge is None:
            self.bridge_opens("raise", None)
        assert self.bridge is not None
        policy: Policy = self.bridge.policy  # type: ignore[assignment]
        answer = self.bridge.ask(do, *arguments)
        if answer is None:
            self.bridge_ends()
        return answer, policy

    @rule(policy=st.sampled_from(POLICIES), at=st.none() | st.integers(1, 90))
    def bridge_opens(self, policy: Policy, at: int | None) -> None:
        if self.bridge is None:
            self.bridge = BridgeProcess(self.bridges, self.source, self.target, policy=policy, at=at or 0)
            self.settle(f"bridge opens ({policy}, killed at {at})", lambda _, state: [model.stays(state)])

    @rule()
    def bridge_ends(self) -> None:
        bridge, self.bridge = self.bridge, None
        if bridge is not None:
            outcome = bridge.end()
            assert outcome.code in (0, -signal.SIGKILL), outcome.err
            if bridge.report is not None and Path(bridge.report).exists():
                assert check_file(bridge.report) == []

    @rule(n=numbers)
    def bridge_uses(self, n: int) -> None:
        key = self.pick(n, lambda state: state != State())
        if key is None:
            return
        answer, policy = self.asked("use", key)
        ways = self.only(key, lambda state: model.first_use(state, policy))
        if answer is None:
            self.settle(f"bridge uses {key} (killed)", ways, killed=lambda *_: [])
            return
        told = {key} if answer["error"] == "session_conflict" else set()
        self.settle(f"bridge uses {key}", ways, told=told)
        state = self.known(key)
        where = "new" if state.lives else "deleted" if state.word in ("moved", "deleted") else "legacy"
        where = "absent" if where == "legacy" and state.legacy is None else where
        assert answer["where"] == where, f"{key}: {answer}, and it lies {state}"
        shown = state.new if where == "new" else state.legacy if where == "legacy" else None
        assert answer["shown"] == (None if shown is None else list(shown)), f"{key}: {answer}, and it lies {state}"

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

    @rule(n=numbers, now=rarely)
    def bridge_deletes(self, n: int, now: bool) -> None:
        key = self.pick(n, lambda state: state != State())
        if key is None or not now:
            return
        answer, policy = self.asked("delete", key)
        ways = self.only(key, lambda state: model.deleted(state, policy))
        if answer is None:
            self.settle(
                f"delete {key} (killed)", ways, killed=self.only(key, lambda state: model.first_use(state, policy))
            )
        else:
            self.settle(f"delete {key}", ways, done={key: answer["done"]})

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

    def run(
        self,
        *arguments: object,
        at: int | None,
        ways: Callable[[str, State], list[Way]],
        killed: Callable[[str, State], list[Way]] = lambda *_: [],
    ) -> None:
        outcome: Outcome = self.sessionlift(*arguments, "--json", at=at or 0)
        what = " ".join(map(str, arguments)).replace(str(self.folder), "").strip()
        if outcome.code == -signal.SIGKILL:
            self.settle(f"{what} (killed at {at})", ways, killed=killed)
            return
        answer = json.loads(outcome.out) if outcome.out else {}
        if answer.get("code") == "other_source":
            known = [state for key in KEYS for state in self.beliefs[key] if state.word is not None]
            assert all(state.legacy is None for state in known), f"{what}: {outcome.out}"
            return
        assert outcome.code in (0, 1), f"{what}: {outcome.code} {outcome.err}{outcome.out}"
        assert check_file(answer["path"]) == [], what
        told = {line["session_id"] for line in answer["report"]["errors"]}
        assert None not in told, f"{what}: {answer['report']['errors']}"
        self.settle(what, ways, told=told, lines=answer["report"]["errors"])

    @rule(at=kills)
    def migrates(self, at: int | None) -> None:
        self.run("migrate", self.source, self.target, at=at, ways=lambda _, state: model.migrate(state))

    @rule(at=kills, policy=st.sampled_from(POLICIES))
    def catches_up(self, at: int | None, policy: Policy) -> None:
        arguments = ("catch-up", self.source, self.target, "--on-conflict", policy)
        self.run(*arguments, at=at, ways=lambda _, state: model.catch_up(state, policy))

    @rule(
        at=kills,
        some=st.none() | st.sets(st.sampled_from(KEYS), min_size=1),
        options=st.builds(BackOptions, st.booleans(), st.just(False), st.booleans())
        | st.builds(BackOptions, st.just(False), st.booleans(), st.booleans()),
    )
    def takes_back(self, at: int | None, some: set[str] | None, options: BackOptions) -> None:
        if not self.target.exists():
            return
        chosen = {key for key in some or KEYS if self.known(key).word is not None or self.known(key).lives}
        if not chosen:
            return
        named = ["--all"] if some is None else [word for key in sorted(chosen) for word in ("--session", key)]
        self.run(
            "rollback", self.target, *named, *options.arguments, at=at,
            ways=lambda key, state: model.take_back(state, options) if key in chosen else [model.stays(state)],
            killed=lambda key, state: model.halfway(state, options) if key in chosen else [],
        )  # fmt: skip

    @rule()
    def verifies(self) -> None:
        """Verify names no session that nobody has written to since its move."""
        if all(self.known(key).word is None for key in KEYS):
            return
        outcome: Outcome = self.sessionlift("verify", self.source, self.target, "--json")
        assert outcome.code in (0, 1), outcome.err + outcome.out
        report = json.loads(outcome.out)["report"]
        found = [*report["errors"], *report["verification"]["differences"]]
        clean = {key for key in KEYS if all(state.clean for state in self.beliefs[key])}
        wrong = [line for line in found if line["session_id"] in clean or line["session_id"] is None]
        assert wrong == [], f"verify: {wrong}"

    def teardown(self) -> None:
        self.bridge_ends()
        shutil.rmtree(self.folder, ignore_errors=True)


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
    run_state_machine_as_test(Life, settings=LIVES)
    print(f"\n{sum(Life.steps.values())} steps: {Life.steps}")  # noqa: T201 - the numbers that the docs tell
