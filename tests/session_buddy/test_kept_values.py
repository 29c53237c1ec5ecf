"""What a way down kept is checked before it comes back: nobody can take of it, or put something else in its place."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.support.buddy_stores import ask, invoke, tell

from sessionlift import reports
from sessionlift._demo import make_session_buddy
from sessionlift.errors import StoreCorruptError, VerificationError, WrongGenerationError
from sessionlift.generations import _kept
from sessionlift.runs import (
    InPlaceOptions,
    InPlaceResult,
    TransferOptions,
    change_in_place,
    migrate,
    verify,
    verify_in_place,
)

PHASE = "column_name = 'workflow_phase' AND table_name = 'skill_invocation'"


def change(path: Path, verb: Any, to: str | None = None, **options: Any) -> InPlaceResult:
    return change_in_place(str(path), verb, InPlaceOptions(to=to, **options))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return make_session_buddy(
        tmp_path / "s.db", generation="session_buddy.v4", sessions=2, invocations=6, traps="none", filled=True
    ).path


def differing(found: reports.Report) -> set[str | None]:
    return {one.table for one in found.verification.differences}


SPOILT = {
    "DELETE FROM sessionlift_kept WHERE table_name = 'skill_clusters'": "skill_clusters",
    f"UPDATE sessionlift_kept SET value = 'another' WHERE {PHASE}": "skill_invocation",
    "DROP TABLE sessionlift_kept": "skill_clusters",
}


def test_kept_values_that_are_missing_or_altered_are_found_and_do_not_come_back(store: Path) -> None:
    down = change(store, "downgrade", "v2")
    assert verify_in_place(str(store), str(down.backup)).report.status == "completed"
    whole = store.read_bytes()
    for spoil, table in SPOILT.items():
        store.write_bytes(whole)
        tell(store, spoil)
        assert table in differing(verify_in_place(str(store)).report)
        raw = store.read_bytes()
        with pytest.raises(StoreCorruptError, match=f"no longer what was left there: .*{table}") as told:
            change(store, "upgrade")
        assert "restore" in told.value.hint
        assert store.read_bytes() == raw


def test_the_report_of_a_way_down_vouches_for_what_it_kept(store: Path) -> None:
    down = change(store, "downgrade", "v3")
    assert down.path is not None
    tell(store, "DELETE FROM sessionlift_kept WHERE table_name = 'skill_clusters'", "DROP TABLE sessionlift_steps")
    found = verify(None, None, report_file=down.path).report
    assert differing(found) == {"skill_clusters", "sessionlift_kept"}


def forget_digests(path: Path) -> None:
    """Leave the steps as builds left them that noted no digest."""
    for step, detail in ask(path, "SELECT id, detail FROM sessionlift_steps"):
        told = json.loads(detail)
        told.pop("complement", None)
        tell(path, f"UPDATE sessionlift_steps SET detail = '{json.dumps(told)}' WHERE id = {step}")


def test_what_an_older_build_kept_comes_up_with_a_line_that_it_could_not_be_checked(store: Path) -> None:
    before = ask(store, "SELECT * FROM skill_metrics_cache ORDER BY skill_name")
    change(store, "downgrade", "v3")
    forget_digests(store)
    line = "keeps of .*skill_metrics_cache.* could not be checked"
    checked = verify_in_place(str(store)).report
    assert checked.status == "completed"
    assert any(re.search(line, said) for said in checked.verification.cannot_see)
    came = change(store, "upgrade").report
    assert any(re.search(line, said) for said in came.assumptions)
    assert ask(store, "SELECT * FROM skill_metrics_cache ORDER BY skill_name") == before


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("DELETE FROM sessionlift_kept WHERE table_name = 'skill_clusters'", "skill_clusters: 1 rows were kept, 0"),
        ("UPDATE sessionlift_kept SET value = 'x' WHERE column_name = 'position'", "up to which row"),
    ],
)
def test_what_an_older_build_kept_is_refused_where_it_cannot_be_right(store: Path, spoil: str, said: str) -> None:
    change(store, "downgrade", "v3")
    forget_digests(store)
    tell(store, spoil)
    with pytest.raises(StoreCorruptError, match=said):
        change(store, "upgrade")


def test_a_way_down_that_keeps_less_than_goes_is_taken_back(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = _kept.Kept.keep_values

    def lossy(self: _kept.Kept, table: str, column: str, *, where: str, params: Any = ()) -> int:
        return plain(self, table, column, where=f"({where}) AND rowid <> 2", params=params)

    monkeypatch.setattr(_kept.Kept, "keep_values", lossy)
    raw = store.read_bytes()
    with pytest.raises(VerificationError, match="what sessionlift_kept keeps is not what the rows held that went"):
        change(store, "downgrade", "v3")
    assert store.read_bytes() == raw


def test_a_copy_that_has_lost_what_its_source_keeps_is_no_copy_of_it(store: Path, tmp_path: Path) -> None:
    change(store, "downgrade", "v2")
    invoke(store, 1)  # what is counted in since may differ in its times
    new = tmp_path / "new.db"
    migrate(str(store), str(new), TransferOptions())
    tell(new, "UPDATE skill_metrics_cache SET updated_at = 'now' WHERE skill_name = 'git-push'")
    assert migrate(str(store), str(new), TransferOptions()).report.skipped_sessions
    tell(new, "UPDATE skill_invocation SET workflow_phase = 'another' WHERE workflow_phase IS NOT NULL")
    with pytest.raises(WrongGenerationError, match="skill_invocation"):
        migrate(str(store), str(new), TransferOptions())


def test_what_is_yours_and_cannot_come_back_waits_and_is_named(store: Path) -> None:
    tell(
        store,
        "CREATE TABLE alerts (a)",
        "CREATE TRIGGER on_alert AFTER INSERT ON alerts BEGIN INSERT INTO skill_anomalies (skill_name, detected_at, "
        "anomaly_type) VALUES (new.a, 'now', 'x'); END",
        "CREATE UNIQUE INDEX one_each ON skill_metrics_cache (last_invocation_at)",
    )
    own = "SELECT name, sql FROM sqlite_master WHERE name IN ('on_alert', 'one_each') ORDER BY 1"
    before = ask(store, own)
    change(store, "downgrade", "v3", let_dangle=True)
    again = (
        "INSERT INTO skill_invocation (skill_name, invoked_at, session_id) VALUES ('{}', '2026-11-21T00:00:00', 's')"
    )
    tell(store, "ALTER TABLE alerts RENAME TO alerts_2026", again.format("one"), again.format("other"))
    came = change(store, "upgrade").report
    held = [loss for loss in came.losses if (loss.code, loss.table) == ("withheld", "sqlite_master")]
    assert [loss.count for loss in held] == [2]
    assert re.search("trigger on_alert: .*no such table: main.alerts", held[0].meaning)
    assert "index one_each: a row breaks the UNIQUE rule of skill_metrics_cache" in held[0].meaning
    assert verify_in_place(str(store)).report.status == "completed"
    # once nothing stands against it any more, a way down and up again brings it back
    tell(store, "DELETE FROM skill_metrics_cache WHERE skill_name = 'other'")
    change(store, "downgrade", "v3", let_dangle=True)
    tell(store, "ALTER TABLE alerts_2026 RENAME TO alerts")
    assert not change(store, "upgrade").report.losses
    assert ask(store, own) == before
