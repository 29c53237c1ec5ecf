"""The report of a catch-up is held against what it was about: sessions that had moved, and what it added to some."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.support.made import make_synth_v2
from tests.support.moved import change, change_source, query, session_ids

from sessionlift._demo import make_langswarm_v1
from sessionlift.bridge import backfill
from sessionlift.reports import render_text
from sessionlift.runs import TransferOptions, catch_up, migrate, verify

pytestmark = pytest.mark.slow


class Store:
    """A V1 store of which some sessions have moved."""

    def __init__(self, folder: Path) -> None:
        self.source, self.target = folder / "v1.db", folder / "v2.db"
        make_langswarm_v1(self.source, sessions=6, seed=5, traps="none")
        self.ids = [str(key) for (key,) in query(self.source, "SELECT session_id FROM sessions ORDER BY rowid")]

    def moves(self, *ids: str) -> None:
        migrate(str(self.source), str(self.target), TransferOptions(only=ids or None), verify=False)

    def old_writes(self, session_id: str, text: str = "late") -> None:
        with closing(sqlite3.connect(self.source)) as db, db:
            (text_of,) = db.execute("SELECT history FROM sessions WHERE session_id = ?", (session_id,)).fetchone()
            history = json.loads(text_of)
            history["messages"].append(dict(history["messages"][-1], id=f"msg_{text}", role="user", content=text))
            db.execute("UPDATE sessions SET history = ? WHERE session_id = ?", (json.dumps(history), session_id))

    def new_writes(self, session_id: str) -> None:
        with closing(sqlite3.connect(self.target)) as db, db:
            db.execute(
                "INSERT INTO session_messages (session_id, message_id, role, content, timestamp, metadata) "
                "VALUES (?, 'msg_fresh', 'user', 'fresh', '2026-11-21 12:00:00.000001', '{}')",
                (session_id,),
            )

    def caught_up(self, **given: Any) -> Path:
        path = catch_up(str(self.source), str(self.target), **given).path
        assert path is not None
        return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def codes(report: Path) -> set[str]:
    return {line.code for line in verify(None, None, report_file=report).report.errors}


def forged(report: Path, work: Callable[[dict[str, Any]], None]) -> set[str]:
    told = json.loads(report.read_text("utf-8"))
    work(told)
    report.write_text(json.dumps(told), "utf-8")
    return codes(report)


def test_its_total_is_that_of_the_sessions_that_had_moved(store: Store) -> None:
    store.moves(*store.ids[:3])
    store.old_writes(store.ids[0])
    report = store.caught_up()
    assert codes(report) == set()
    store.moves()
    assert codes(report) == set(), "whatever moved later"


@pytest.mark.parametrize(("total", "skipped"), [(99, 98), (2, 1)])
def test_a_forged_total_is_found(store: Store, total: int, skipped: int) -> None:
    store.moves(*store.ids[:3])
    store.old_writes(store.ids[0])
    assert "claim_total" in forged(
        store.caught_up(), lambda told: told.update(total_sessions=total, skipped_sessions=skipped)
    )


def test_a_session_that_the_old_program_deleted_is_no_false_total(store: Store) -> None:
    store.moves()
    with closing(sqlite3.connect(store.source)) as db, db:
        db.execute("DELETE FROM sessions WHERE session_id = ?", (store.ids[1],))
    assert codes(store.caught_up()) == set()


def test_what_was_added_to_a_session_that_both_went_on_with_is_no_false_claim(store: Store) -> None:
    store.moves()
    store.old_writes(store.ids[0])
    store.new_writes(store.ids[0])
    store.old_writes(store.ids[1])
    report = store.caught_up(on_conflict="append_legacy")
    assert codes(report) == set()
    for name in ("read", "written"):
        claimed = {"read": 500, "written": 500} if name == "read" else {"written": 500}
        found = forged(report, lambda told, given=claimed: told["tables"]["session_messages"].update(given))  # type: ignore[misc]
        assert f"claim_{name}" in found


def test_messages_that_were_kept_in_quarantine_are_no_false_claim(store: Store) -> None:
    store.moves()
    store.old_writes(store.ids[0])
    store.new_writes(store.ids[0])
    report = store.caught_up(on_conflict="keep_new")
    assert codes(report) == set()
    assert {"claim_losses"} <= forged(report, lambda told: told["losses"][0].update(count=9))


def test_a_session_of_which_the_new_side_was_kept_is_as_it_must_be_until_somebody_writes(store: Store) -> None:
    store.moves()
    one = store.ids[0]
    store.old_writes(one)
    store.new_writes(one)
    store.caught_up(on_conflict="keep_new")

    def found() -> set[str | None]:
        report = verify(str(store.source), str(store.target)).report
        return {line.code for line in report.errors} | {each.table for each in report.verification.differences}

    assert found() == set()
    for sql in (
        "UPDATE session_messages SET content = 'other' WHERE id = (SELECT min(id) FROM session_messages "
        "WHERE session_id = ?)",
        """UPDATE sessionlift_quarantine SET "row" = json_set("row", '$.content', 'other') WHERE session_id = ?""",
    ):
        kept = store.target.read_bytes()
        change(store.target, sql, one)
        assert "session_messages" in found()
        store.target.write_bytes(kept)
    store.old_writes(one, "later")
    assert "changed_in_source" in found()


def test_a_migration_that_calls_itself_a_catch_up_is_found(store: Store) -> None:
    path = migrate(str(store.source), str(store.target), TransferOptions()).path
    assert path is not None
    assert "claim_run" in forged(path, lambda told: told.update(kind="catch_up"))


def test_of_traces_every_row_is_counted_exactly(tmp_path: Path) -> None:
    source, target = tmp_path / "old.duckdb", tmp_path / "new.db"
    make_synth_v2(source, sessions=4, traps="none", seed=1)
    one = session_ids(source)[0]
    migrate(str(source), str(target), TransferOptions())
    change_source(source, f"UPDATE session_traces SET num_messages = 77 WHERE session_id = '{one}'")
    path = catch_up(str(source), str(target)).path
    assert path is not None
    assert codes(path) == set()
    assert "claim_written" in forged(path, lambda told: told["tables"]["session_traces"].update(written=0))


def test_the_next_step_after_a_backfill_is_one_that_is_not_refused(store: Store) -> None:
    report = backfill(str(store.source), str(store.target)).report
    assert "`sessionlift verify SOURCE TARGET` does it" in " ".join(render_text(report).split())
    assert verify(str(store.source), str(store.target)).report.errors == []
