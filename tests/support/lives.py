"""The machine behind the lives of sessions: what is the same whichever two programs write.

After each step what lies in both stores, read past all of ours, must be one of the states that the rules allow. A
system's machine says how its programs write (its own rules), how what lies there is read (``look``), and where its
rules are others.
"""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from tests.support import life_model as model
from tests.support.both_programs import Lying
from tests.support.bridge_process import Answer, BridgeProcess
from tests.support.laws import TORTURE, tries
from tests.support.life_model import BackOptions, Policy, State, Way
from tests.support.warm import Outcome, Warm

from sessionlift.reports import check_file

KEYS = ("one", "two", "three", "four")
"""The old program begins the first three, the new one the last."""
AWKWARD = ("", " said", " naïve 東京 👍🏽", ' "dq" \\ \n null', " {json}")

numbers = st.integers(0, 11)
"""which of the sessions that are fit for an operation it is about"""
rarely = st.sampled_from([True, False, False])
kills = st.none() | st.none() | st.integers(1, 60)
"""at which write an operation is killed; at one that it does not come to, it is not"""
bridge_kills = st.none() | st.integers(1, 90)


def lives(count: int) -> settings:
    return settings(
        tries(count),
        stateful_step_count=60 if TORTURE else 30,
        # a failure tells the whole life; a kill does not come twice at the very same place, so that it cannot be shrunk
        phases=(Phase.explicit, Phase.generate),
    )


class Lives(RuleBasedStateMachine):
    """``beliefs``: by session the states that agree with all that was seen."""

    sessionlift: ClassVar[Warm]
    bridges: ClassVar[Warm]
    steps: ClassVar[dict[str, int]]
    names: ClassVar[tuple[str, str]]
    """of the legacy store's file and the new one's"""
    side: ClassVar[str]
    """the function of ``bridge_process`` that serves"""
    policies: ClassVar[tuple[Policy, ...]]
    """what may become of a session that both sides changed; the first is what a run does unasked"""

    old: Any
    """the old program; what is asked of it here is to delete"""
    new: Any

    def __init_subclass__(cls) -> None:
        cls.steps = {}

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="life-"))
        self.source, self.target = (self.folder / name for name in self.names)
        self.beliefs: dict[str, set[State]] = {key: {State()} for key in KEYS}
        self.bridge: BridgeProcess | None = None
        self.number = 0
        self.log: list[str] = []

    # --- what a system says for itself ------------------------------------------------------------------------

    def look(self) -> dict[str, Lying]:
        """Every session that one of the stores, or the ledger, knows."""
        raise NotImplementedError

    def shown(self, contents: model.Contents) -> list[str]:
        """What the bridge shows of a session's contents."""
        return list(contents)

    def moves(self, key: str, state: State, ways: list[Way], told: bool | None = True) -> list[Way]:  # noqa: ARG002
        """The ways of an operation that moves, as far as the new store takes the session's rows; ``told`` is what
        such an operation says of one that it does not take."""
        return ways

    def before_deleting(self, state: State, policy: Policy) -> list[Way]:
        """What a bridge does with a session before it deletes it."""
        return model.first_use(state, policy)

    def take_back(self, state: State, options: BackOptions) -> list[Way]:
        return model.take_back(state, options)

    def quiet(self) -> None:
        """Called before the old program writes."""

    def in_the_way(self, code: str) -> bool:  # noqa: ARG002 - as those need it whose stores let nobody else in
        """Whether a run may be refused so; then it has changed nothing."""
        return False

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
        lying = self.look()
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

    # --- what any two programs do ----------------------------------------------------------------------------

    @rule(n=numbers, now=rarely)
    def old_deletes(self, n: int, now: bool) -> None:
        key = self.pick(n, lambda state: state.legacy is not None)
        if key is None or not now:
            return
        self.quiet()
        self.old.delete(key)
        self.write("old deletes", key, lambda s: model.old(s, legacy=None, old_status=None))

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
            self.open_bridge(self.policies[0], None)
        assert self.bridge is not None
        policy: Policy = self.bridge.policy  # type: ignore[assignment]
        answer = self.bridge.ask(do, *arguments)
        if answer is None:
            self.bridge_ends()
        return answer, policy

    def open_bridge(self, policy: Policy, at: int | None) -> None:
        if self.bridge is None:
            self.bridge = BridgeProcess(
                self.bridges, self.source, self.target, policy=policy, at=at or 0, side=self.side
            )
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
        ways = self.only(key, lambda state: self.moves(key, state, model.first_use(state, policy), None))
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
        assert answer["shown"] == (None if shown is None else self.shown(shown)), (
            f"{key}: {answer}, and it lies {state}"
        )

    @rule(n=numbers, now=rarely)
    def bridge_deletes(self, n: int, now: bool) -> None:
        key = self.pick(n, lambda state: state != State())
        if key is None or not now:
            return
        answer, policy = self.asked("delete", key)
        ways = self.only(key, lambda state: model.deleted(self.before_deleting(state, policy)))
        if answer is None:
            self.settle(
                f"delete {key} (killed)", ways, killed=self.only(key, lambda state: self.before_deleting(state, policy))
            )
        else:
            self.settle(f"delete {key}", ways, done={key: answer["done"]})

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
        if outcome.code not in (0, 1) and self.in_the_way(str(answer.get("code"))):
            self.settle(f"{what} (refused)", lambda _, state: [model.stays(state)])
            return
        assert outcome.code in (0, 1), f"{what}: {outcome.code} {outcome.err}{outcome.out}"
        assert check_file(answer["path"]) == [], what
        told = {line["session_id"] for line in answer["report"]["errors"]}
        assert None not in told, f"{what}: {answer['report']['errors']}"
        self.settle(what, ways, told=told, lines=answer["report"]["errors"])

    @rule(at=kills)
    def migrates(self, at: int | None) -> None:
        self.run(
            "migrate",
            self.source,
            self.target,
            at=at,
            ways=lambda key, state: self.moves(key, state, model.migrate(state)),
        )

    def halfway(self, state: State, options: BackOptions) -> list[Way]:
        return model.halfway(state, options, self.take_back(state, options))

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
            ways=lambda key, state: self.take_back(state, options) if key in chosen else [model.stays(state)],
            killed=lambda key, state: self.halfway(state, options) if key in chosen else [],
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
