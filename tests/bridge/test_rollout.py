"""Which sessions are taken: stable, monotone in the share, and changeable while the bridge runs."""

from __future__ import annotations

import itertools
import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.support.made import make_synth_v2
from tests.support.moved import change_source, session_ids

from sessionlift.bridge import BridgeCore, Rollout, backfill, change_setting, read_setting
from sessionlift.errors import UsageError, WrongGenerationError
from sessionlift.reports import check_file
from sessionlift.runs import Converted, status

pytestmark = pytest.mark.slow

IDS = [f"session-{number}" for number in range(5_000)]


@pytest.fixture
def stores(tmp_path: Path) -> tuple[str, str]:
    make_synth_v2(tmp_path / "old.duckdb", sessions=6, seed=3, traps="none")
    return str(tmp_path / "old.duckdb"), str(tmp_path / "new.db")


@pytest.fixture
def ids(stores: tuple[str, str]) -> list[str]:
    return session_ids(Path(stores[0]))


def test_what_a_small_share_takes_every_larger_one_takes() -> None:
    taken = [{each for each in IDS if Rollout(share=share).takes(each)} for share in (0, 0.01, 0.1, 0.5, 1)]
    assert all(smaller < larger for smaller, larger in itertools.pairwise(taken))
    assert (len(taken[0]), len(taken[-1])) == (0, len(IDS))
    assert 400 < len(taken[2]) < 600, "a tenth of the ids, give or take"


def test_the_choice_is_the_same_in_every_process_and_release() -> None:
    # a hash that changed would take sessions back and forth: these were true when it was first released
    assert [each for each in IDS[:300] if Rollout(share=0.01).takes(each)] == KNOWN


KNOWN = [f"session-{number}" for number in (29, 58, 126, 142, 228, 270)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "eager"},
        {"share": 1.5},
        {"share": "0.5"},
        {"share": True},
        {"allow": "one"},
        {"deny": [1]},
        {"paused": 1},
        {"shadow_budget": -1},
        {"speed": 3},
        ["lazy"],
    ],
)
def test_a_rollout_that_makes_no_sense_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError):
        Rollout.from_dict(wrong)


def test_a_rollout_comes_back_from_its_json() -> None:
    one = Rollout("shadow", 0.25, frozenset({"a"}), frozenset({"b"}), True, 3)
    assert Rollout.from_dict(json.loads(json.dumps(one.to_dict()))) == one


def test_a_file_is_followed_while_the_bridge_runs(stores: tuple[str, str], ids: list[str], tmp_path: Path) -> None:
    file = tmp_path / "rollout.json"

    def say(text: str) -> None:
        other = tmp_path / "next"
        other.write_text(text)
        other.replace(file)

    say('{"mode": "lazy", "share": 0}')
    with BridgeCore(*stores, rollout=file) as core:
        assert core.ensure(ids[0]).where == "legacy"
        say(json.dumps({"mode": "lazy", "share": 0, "allow": [ids[0]]}))
        assert core.ensure(ids[0]).where == "new"
        say("{ broken")
        assert core.ensure(ids[1]).where == "legacy", "the last good one stays in force"
        file.unlink()
        assert core.ensure(ids[1]).where == "legacy"
        say('{"mode": "lazy"}')
        assert core.ensure(ids[1]).where == "new"
    codes = [line["code"] for line in json.loads(core.report.read_text())["errors"]]
    assert codes == ["usage"]
    with pytest.raises(UsageError):
        BridgeCore(*stores, rollout=tmp_path / "none.json")


def test_a_function_is_asked_at_each_use_and_may_fail(stores: tuple[str, str], ids: list[str]) -> None:
    answers = [Rollout(share=0.0), Rollout(share=0.0), Rollout()]

    def ask() -> Rollout:
        return answers.pop(0) if answers else 1 / 0  # type: ignore[return-value]

    with BridgeCore(*stores, rollout=ask) as core:
        assert [core.ensure(each).where for each in ids[:3]] == ["legacy", "new", "new"]


def test_the_ledger_is_followed_while_the_bridge_runs(
    stores: tuple[str, str], ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessionlift.bridge._sources.LOOK_SECONDS", 0.0)
    with BridgeCore(*stores, rollout="ledger") as core:
        assert core.ensure(ids[0]).where == "legacy", "nobody has set one"
        change_setting(stores[1], mode="lazy", share=1.0)
        assert core.ensure(ids[0]).where == "new"
        change_setting(stores[1], paused=True)
        assert core.ensure(ids[1]).where == "legacy"
        change_setting(stores[1], paused=False, deny=(ids[1],))
        assert [core.ensure(each).where for each in ids[1:3]] == ["legacy", "new"]
        change_setting(stores[1], mode="off")
        assert [core.ensure(each).where for each in ids[2:4]] == ["new", "legacy"]


def test_a_setting_changes_only_what_is_given(stores: tuple[str, str]) -> None:
    with pytest.raises(WrongGenerationError):
        change_setting(stores[0].replace("old.duckdb", "empty.db"), mode="lazy") if _touch(stores) else None
    with BridgeCore(*stores):
        pass
    assert read_setting(stores[1]).rollout is None
    change_setting(stores[1], mode="shadow", share=0.5, allow=("a", "b"))
    found = change_setting(stores[1], deny=("b",), paused=True).rollout
    assert found == Rollout("shadow", 0.5, frozenset({"a"}), frozenset({"b"}), True)
    found = change_setting(stores[1], unlist=("a", "b"), paused=False).rollout
    assert found == Rollout("shadow", 0.5)


def _touch(stores: tuple[str, str]) -> bool:
    import sqlite3

    with sqlite3.connect(stores[0].replace("old.duckdb", "empty.db")) as db:
        db.execute("CREATE TABLE t (x)")
    db.close()
    return True


# --- shadow ----------------------------------------------------------------------------------------------------


def test_shadow_serves_legacy_compares_and_counts_by_field(stores: tuple[str, str], ids: list[str]) -> None:
    seen = []

    def compare(converted: Converted) -> dict[str, Any]:
        seen.append(converted.session_id)
        assert converted.rows["session_traces"][0]["session_id"] == converted.session_id
        return {"title": "two"} if converted.session_id in ids[:2] else {}

    with BridgeCore(*stores, rollout=Rollout(mode="shadow"), compare=compare) as core:
        assert {core.ensure(each).where for each in ids} == {"legacy"}
        core.ensure(ids[0])
    waiting = status(stores[1], stores[0]).waiting
    assert seen == ids, "each is compared once while the legacy store does not change"
    assert (waiting.shadow, waiting.mismatching, waiting.mismatches) == (6, 2, {"title": 2})
    assert (waiting.left, status(stores[1]).sessions) == (6, {})
    assert check_file(core.report) == []


def test_the_share_stops_rising_when_the_budget_is_spent(
    stores: tuple[str, str], ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessionlift.bridge._shadow._LOOK_SECONDS", 0.0)
    now = [Rollout("shadow", 0.5, allow=frozenset(ids), shadow_budget=3)]
    with BridgeCore(*stores, rollout=lambda: now[0], compare=lambda _: {"content": "other"}) as core:
        for each in ids[:2]:
            core.ensure(each)
        assert core.rollout.share == 0.5
        core.ensure(ids[2])
        now[0] = Rollout("lazy", 1.0)
        assert core.rollout.share == 0.5, "it is asked for more, and does not rise"
        now[0] = Rollout("lazy", 0.1)
        assert core.rollout.share == 0.1, "it may fall"
        assert read_setting(stores[1]).held == 0.5
        change_setting(stores[1], forget_shadow=True)
        now[0] = Rollout("lazy", 1.0)
        assert core.rollout.share == 1.0


def test_a_comparison_that_breaks_is_a_mismatch_and_no_outage(stores: tuple[str, str], ids: list[str]) -> None:
    with BridgeCore(*stores, rollout=Rollout("shadow"), compare=lambda found: {"rows": found.rows["no such"]}) as core:
        assert core.ensure(ids[0]).where == "legacy"
    assert status(stores[1]).waiting.mismatches == {"(not compared)": 1}


# --- backfill --------------------------------------------------------------------------------------------------


def test_a_backfill_moves_the_rest_and_says_so(stores: tuple[str, str], ids: list[str]) -> None:
    with BridgeCore(*stores) as core:
        core.ensure(ids[3])
    change_setting(stores[1], deny=(ids[5],))
    result = backfill(*stores)
    assert (result.report.kind, result.report.migrated_sessions) == ("bridge", 4)
    assert (result.left, result.denied) == (1, 1)
    assert result.path is not None
    assert check_file(result.path) == []
    assert backfill(*stores).report.migrated_sessions == 0
    change_setting(stores[1], unlist=(ids[5],))
    assert backfill(*stores).report.migrated_sessions == 1
    assert status(stores[1], stores[0]).waiting.left == 0


def test_each_backfill_tells_of_what_lies_in_quarantine(stores: tuple[str, str], ids: list[str]) -> None:
    change_source(Path(stores[0]), f"UPDATE session_traces SET created_at = 'infinity' WHERE session_id = '{ids[2]}'")
    first, second = backfill(*stores), backfill(*stores)

    assert (first.report.migrated_sessions, first.left) == (5, 1)
    assert {(each.session_id, each.code) for each in first.report.errors} == {(ids[2], "time_out_of_range")}
    assert (second.report.migrated_sessions, second.left, second.report.has_findings) == (0, 1, True)
    assert [(each.session_id, each.code) for each in second.report.errors] == [(ids[2], "still_in_quarantine")]
    assert second.path is not None
    assert check_file(second.path) == []


def test_a_backfill_tells_of_a_session_whose_id_the_new_program_has_used(
    stores: tuple[str, str], ids: list[str]
) -> None:
    with BridgeCore(*stores) as core:
        core.ensure(ids[3])
    with closing(sqlite3.connect(stores[1])) as db, db:
        db.execute(
            "INSERT INTO session_traces (session_id, created_at, num_timesteps, num_events, num_messages) "
            "VALUES (?, '2026-01-01', 0, 0, 0)",
            (ids[5],),
        )
    with BridgeCore(*stores, reports=Path(stores[1]).with_name("use.json")) as core:
        assert core.ensure(ids[5]).where == "new"
    used = json.loads(core.report.read_text())
    assert [(each["session_id"], each["code"]) for each in used["errors"]] == [(ids[5], "id_in_use")]
    result = backfill(*stores)
    assert (result.report.migrated_sessions, result.report.failed_sessions, result.left) == (4, 1, 1)
    assert {(each.session_id, each.code) for each in result.report.errors} == {(ids[5], "target_refused")}
    assert result.path is not None
    assert check_file(result.path) == []
    assert status(stores[1]).sessions == {"moved": 5, "quarantined": 1}
    with BridgeCore(*stores) as core:
        assert core.ensure(ids[5]).where == "new", "what the new program made is served"
    again = backfill(*stores)
    assert (again.report.migrated_sessions, again.report.failed_sessions) == (0, 0), "and it is done once"


def test_a_backfill_keeps_to_its_rate(stores: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("sessionlift.bridge._backfill.time.sleep", waits.append)
    backfill(*stores, rate=0.01)
    assert len(waits) == 6
    assert 500 < waits[-1] <= 600, "six sessions at one in a hundred seconds, had it really slept"
    for wrong in (0, math.nan, math.inf):
        with pytest.raises(UsageError, match="the rate is a number"):
            backfill(*stores, rate=wrong)


def test_a_backfill_waits_while_it_is_paused(stores: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with BridgeCore(*stores):
        pass
    change_setting(stores[1], paused=True)
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            change_setting(stores[1], paused=False)

    monkeypatch.setattr("sessionlift.bridge._backfill.time.sleep", sleep)
    monkeypatch.setattr("sessionlift.bridge._backfill.LOOK_SECONDS", 0.0)
    assert backfill(*stores).report.migrated_sessions == 6
    assert len(waited) == 3


def test_a_backfill_that_is_interrupted_goes_on(stores: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[float] = []

    def interrupt(seconds: float) -> None:
        calls.append(seconds)
        if len(calls) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr("sessionlift.bridge._backfill.time.sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        backfill(*stores, rate=1)
    (run,) = status(stores[1]).runs
    assert (run.status, run.summary["migrated_sessions"]) == ("interrupted", 4)
    monkeypatch.undo()
    assert backfill(*stores).report.migrated_sessions == 2
