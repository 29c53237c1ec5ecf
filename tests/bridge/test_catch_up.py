"""LangSwarm sessions that went on after their move: on the legacy side, on the new one, or on both."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.support.moved import query

from sessionlift._demo import make_langswarm_v1
from sessionlift.bridge import BridgeCore
from sessionlift.bridge.langswarm import SyncSessionBridge
from sessionlift.converters import SESSION
from sessionlift.converters.langswarm import backward, read_session
from sessionlift.errors import SessionConflictError, StoreError, StoreNotFoundError, UsageError, WrongGenerationError
from sessionlift.generations import schema_upgrade
from sessionlift.ledger import Attempts, Ledger
from sessionlift.reports import check_file
from sessionlift.runs import (
    CatchUpResult,
    RollbackOptions,
    TransferOptions,
    catch_up,
    migrate,
    rollback,
    status,
    verify,
)
from sessionlift.stores import open_store

pytestmark = pytest.mark.slow

CONTEXT = "SELECT context_data FROM sessions WHERE session_id = ?"


class Life:
    """One V1 store, its target, and the two old programs' ways to write."""

    def __init__(self, folder: Path) -> None:
        self.source, self.target = folder / "v1.db", folder / "v2.db"
        make_langswarm_v1(self.source, sessions=4, seed=5, traps="none")
        self.ids = [str(key) for (key,) in query(self.source, "SELECT session_id FROM sessions ORDER BY rowid")]
        self.one = self.ids[0]
        with self.bridge() as core:
            for each in self.ids:
                assert core.ensure(each).moved_now

    def bridge(self, **given: Any) -> BridgeCore:
        return BridgeCore(str(self.source), str(self.target), **given)

    def catch_up(self, **given: Any) -> CatchUpResult:
        result = catch_up(str(self.source), str(self.target), **given)
        assert result.path is not None
        assert check_file(result.path) == []
        return result

    def old_writes(self, text: str = "late", **metadata: Any) -> None:
        """What V1 does: the whole session again, with one message more (``text`` empty: none)."""

        def change(found: dict[str, Any], history: dict[str, Any]) -> None:
            if text:
                found["updated_at"] = found["last_activity"] = "2026-11-20T12:00:00"
                found["message_count"] += 1
                message = dict(history["messages"][-1]) if history["messages"] else {}
                message.update(id=f"msg_{text}", role="user", content=text, timestamp="2026-11-20T12:00:00")
                history["messages"].append(message)
            found.update(metadata)

        self.old_changes(change)

    def old_changes(self, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
        with closing(sqlite3.connect(self.source)) as db, db:
            row = db.execute("SELECT metadata, history FROM sessions WHERE session_id = ?", (self.one,)).fetchone()
            metadata, history = map(json.loads, row)
            change(metadata, history)
            db.execute(
                "UPDATE sessions SET metadata = ?, history = ?, status = ?, updated_at = ?, last_activity = ? "
                "WHERE session_id = ?",
                (
                    json.dumps(metadata),
                    json.dumps(history),
                    metadata["status"],
                    metadata["updated_at"],
                    metadata["last_activity"],
                    self.one,
                ),
            )

    def new_writes(self, text: str = "fresh") -> None:
        """What V2 does: a message of its own."""
        with closing(sqlite3.connect(self.target)) as db, db:
            db.execute(
                "INSERT INTO session_messages (session_id, message_id, role, content, timestamp, metadata) "
                "VALUES (?, ?, 'user', ?, '2026-11-21 12:00:00.000001', '{}')",
                (self.one, f"msg_{text}", text),
            )
            db.execute("UPDATE session_metrics SET message_count = message_count + 1 WHERE session_id = ?", (self.one,))
            db.execute("UPDATE sessions SET updated_at = '2026-11-21 12:00:00' WHERE session_id = ?", (self.one,))

    def new_sets(self, **values: Any) -> None:
        """What V2's ``update_context`` does."""
        with closing(sqlite3.connect(self.target)) as db, db:
            (text,) = db.execute("SELECT context_data FROM sessions WHERE session_id = ?", (self.one,)).fetchone()
            context = json.loads(text)
            context["provider_context"].update(values)
            db.execute("UPDATE sessions SET context_data = ? WHERE session_id = ?", (json.dumps(context), self.one))

    def contents(self) -> list[str]:
        sql = "SELECT content FROM session_messages WHERE session_id = ? ORDER BY timestamp, id"
        return [content for (content,) in query(self.target, sql, self.one)]

    def context(self) -> dict[str, Any]:
        ((text,),) = query(self.target, "SELECT context_data FROM sessions WHERE session_id = ?", self.one)
        found: dict[str, Any] = json.loads(text)
        return found

    def way_back(self) -> dict[str, Any]:
        with open_store(str(self.target), mode="ro", role="target") as store:
            rows = read_session(store, self.one)
            assert rows is not None
            return backward(rows, Ledger(store).complement(self.one)).cells

    def old_row(self) -> dict[str, Any]:
        with closing(sqlite3.connect(self.source)) as db:
            db.row_factory = sqlite3.Row
            return dict(db.execute("SELECT * FROM sessions WHERE session_id = ?", (self.one,)).fetchone())


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return Life(tmp_path)


def test_where_only_the_old_side_went_on_the_session_follows(life: Life) -> None:
    life.old_writes("late", status="archived")
    result = life.catch_up()
    assert (result.report.kind, result.report.migrated_sessions, result.report.skipped_sessions) == ("catch_up", 1, 3)
    assert life.contents()[-1] == "late"
    assert life.context()["provider_context"]["status"] == "archived"
    assert life.way_back() == life.old_row()
    assert life.catch_up().report.skipped_sessions == 4, "and it is done once"


def test_the_next_use_in_a_running_bridge_sees_a_late_write(life: Life) -> None:
    with life.bridge() as core:
        core.ensure(life.one)
        life.old_writes("late")
        assert core.ensure(life.one).moved_now
        assert not core.ensure(life.one).moved_now
    assert life.contents()[-1] == "late"


def test_a_new_message_and_an_old_change_of_values_go_together(life: Life) -> None:
    life.new_writes("fresh")
    life.old_writes("", status="archived", tags=["late"])
    with life.bridge() as core:
        place = core.ensure(life.one)
        assert (place.where, place.error) == ("new", None)
    assert life.contents()[-1] == "fresh"
    assert (life.context()["provider_context"]["status"], life.context()["provider_context"]["tags"]) == (
        "archived",
        ["late"],
    )
    assert life.catch_up().report.skipped_sessions == 4
    back = json.loads(life.way_back()["metadata"])
    assert back["status"] == "archived"
    assert verify(str(life.source), str(life.target)).report.errors == []


def test_the_tokens_that_the_new_side_counted_stay_counted(life: Life) -> None:
    sql = "SELECT total_tokens FROM session_metrics WHERE session_id = ?"
    ((before,),) = query(life.target, sql, life.one)
    life.new_writes("fresh")
    with closing(sqlite3.connect(life.target)) as db, db:
        db.execute("UPDATE session_messages SET token_count = 50 WHERE message_id = 'msg_fresh'")
        db.execute("UPDATE session_metrics SET total_tokens = total_tokens + 50 WHERE session_id = ?", (life.one,))
    life.old_writes("", status="archived", total_tokens=before + 7)
    assert life.catch_up().conflicts == []
    assert query(life.target, sql, life.one) == [(before + 57,)]


def test_a_changed_context_and_a_late_message_go_together(life: Life) -> None:
    life.new_sets(topic="cats")
    life.old_writes("late")
    result = life.catch_up()
    assert not result.conflicts
    assert life.contents()[-1] == "late"
    assert life.context()["provider_context"]["topic"] == "cats"
    assert life.catch_up().report.skipped_sessions == 4


def test_values_that_both_sides_changed_are_a_conflict(life: Life) -> None:
    life.new_sets(tags=["new"])
    life.old_writes("", tags=["old"])
    (error,) = life.catch_up().conflicts
    assert "tags" in error.what
    assert life.context()["provider_context"]["tags"] == ["new"]


def test_messages_on_both_sides_are_a_conflict_with_both_tails(life: Life) -> None:
    before = life.contents()
    life.new_writes("fresh")
    life.old_writes("late")
    with life.bridge() as core:
        place = core.ensure(life.one)
        assert place.where == "new"
        assert isinstance(place.error, SessionConflictError)
        assert [each["content"] for each in place.error.fields["legacy"]] == ["late"]
        assert [each["content"] for each in place.error.fields["new"]] == ["fresh"]
        assert core.run(lambda store: Attempts(store).counts()) == {"session_conflict": 1}
    assert check_file(core.report) == []
    assert life.contents() == [*before, "fresh"], "nothing was touched"
    result = life.catch_up()
    assert (len(result.conflicts), result.report.failed_sessions) == (1, 1)
    assert status(str(life.target)).waiting.conflicts == 1


def test_append_legacy_puts_the_old_tail_behind_the_new_one(life: Life) -> None:
    before = life.contents()
    life.new_writes("fresh")
    life.old_writes("late")
    result = life.catch_up(on_conflict="append_legacy")
    assert (result.conflicts, result.report.migrated_sessions) == ([], 1)
    assert life.contents() == [*before, "fresh", "late"]
    sql = "SELECT metadata FROM session_messages WHERE session_id = ? AND content = 'late'"
    ((metadata,),) = query(life.target, sql, life.one)
    assert json.loads(metadata)["sessionlift"]["timestamp"] == "2026-11-20T12:00:00", "its own time is kept"
    assert status(str(life.target)).waiting.conflicts == 0
    assert verify(str(life.source), str(life.target)).report.errors == []
    back = json.loads(life.way_back()["history"])["messages"]
    assert [each["content"] for each in back][-2:] == ["fresh", "late"]
    assert back[-1]["timestamp"] == "2026-11-20T12:00:00"
    # and it goes on from there
    life.old_writes("later")
    life.catch_up(on_conflict="append_legacy")
    assert life.contents() == [*before, "fresh", "late", "later"]


def test_keep_new_leaves_the_old_tail_in_quarantine(life: Life) -> None:
    before = life.contents()
    life.new_writes("fresh")
    life.old_writes("late")
    result = life.catch_up(on_conflict="keep_new")
    assert [loss.code for loss in result.report.losses] == ["legacy_tail_kept"]
    assert result.report.tables["session_messages"].quarantined == 1
    assert life.contents() == [*before, "fresh"]
    ((row, code),) = query(life.target, 'SELECT "row", code FROM sessionlift_quarantine')
    assert (json.loads(row)["content"], code) == ("late", "legacy_tail")
    assert life.catch_up().report.skipped_sessions == 4, "it is settled"


@pytest.mark.parametrize("keep_target", [True, False], ids=["kept in the target", "moved again"])
def test_what_was_carried_back_is_not_appended_a_second_time(life: Life, keep_target: bool) -> None:
    before = life.contents()
    life.new_writes("fresh")
    rollback(str(life.target), RollbackOptions(sessions=(life.one,), keep_target=keep_target))
    migrate(str(life.source), str(life.target), TransferOptions())
    assert life.contents() == [*before, "fresh"]
    life.old_writes("late")
    life.new_sets(topic="cats")
    life.catch_up(on_conflict="append_legacy")
    assert life.contents() == [*before, "fresh", "late"]
    assert life.catch_up().report.skipped_sessions == 4


def test_a_list_that_was_cut_after_a_rollback_is_a_conflict(life: Life) -> None:
    life.new_writes("fresh")
    rollback(str(life.target), RollbackOptions(sessions=(life.one,)))
    migrate(str(life.source), str(life.target), TransferOptions())
    before = life.contents()
    life.old_changes(lambda _, history: history["messages"].pop(0))
    life.new_sets(topic="cats")
    (error,) = life.catch_up().conflicts
    assert "does not begin" in error.what
    life.catch_up(on_conflict="append_legacy")
    assert life.contents() == before


def test_an_old_list_that_does_not_go_on_is_a_conflict(life: Life) -> None:
    life.new_writes("fresh")
    life.old_changes(lambda _, history: history["messages"].pop(0))
    (error,) = life.catch_up().conflicts
    assert "does not begin" in error.what


def test_messages_that_the_new_side_cleared_do_not_come_back(life: Life) -> None:
    with closing(sqlite3.connect(life.target)) as db, db:
        db.execute("DELETE FROM session_messages WHERE session_id = ?", (life.one,))
    life.old_writes("late")
    assert len(life.catch_up().conflicts) == 1
    assert life.contents() == []


def test_an_old_row_that_was_spoiled_takes_nothing_from_the_new_side(life: Life) -> None:
    before = life.contents()
    with closing(sqlite3.connect(life.source)) as db, db:
        db.execute("UPDATE sessions SET history = substr(history, 1, 40) WHERE session_id = ?", (life.one,))
    (error,) = life.catch_up().conflicts
    assert "cannot be read any more" in error.what
    for policy in ("append_legacy", "keep_new"):
        assert len(life.catch_up(on_conflict=policy).conflicts) == 1, "nobody knows what the old side said"
    again = migrate(str(life.source), str(life.target), TransferOptions())
    assert [each.code for each in again.report.errors] == ["source_spoiled"]
    with life.bridge() as core:
        assert core.ensure(life.one).where == "new"
    assert (len(before), life.contents()) == (8, before)


def test_a_session_that_v2_cannot_read_is_told_alone_and_the_others_go_on(life: Life) -> None:
    broken, null, no_text, well = life.ids
    null_context = {**json.loads(query(life.target, CONTEXT, null)[0][0]), "provider_context": None}
    spoiled: dict[str, Any] = {broken: "{broken", null: json.dumps(null_context), no_text: b"{\xff"}
    with closing(sqlite3.connect(life.target)) as db, db:
        for key, text in spoiled.items():
            sql = "UPDATE sessions SET context_data = CAST(? AS TEXT) WHERE session_id = ?"
            db.execute(sql, (text, key))
    for key in life.ids:
        life.one = key
        life.old_writes("late")
    result = life.catch_up(on_conflict="append_legacy")
    (error,) = result.conflicts
    assert "the new store's side cannot be read: its context_data is no JSON" in error.what
    assert "mend its row" in error.hint
    assert "legacy" not in error.fields, "nobody has counted its messages"
    assert {each.session_id: each.code for each in result.report.errors} == {
        broken: "session_conflict",
        no_text: "store_text",
        null: "legacy_values",
    }, "V1's values are none that V2 has"
    for key in (null, well):
        life.one = key
        assert life.contents()[-1] == "late", "V2 reads a provider_context of null as one that is not there"
    with SyncSessionBridge(str(life.source), str(life.target)) as bridge:
        session = bridge.get_session(null)
        assert session is not None
        assert session.get_messages()[-1].content == "late"
        for key in (broken, no_text):
            with pytest.raises(StoreError):
                bridge.get_session(key)
    back = rollback(str(life.target), RollbackOptions(sessions=(broken, null))).report
    assert [(each.session_id, each.code) for each in back.errors] == [(broken, "target_unreadable")]


def test_messages_that_cannot_stand_behind_the_last_one_are_a_conflict(life: Life) -> None:
    life.new_writes("fresh")
    with closing(sqlite3.connect(life.target)) as db, db:
        last = "SELECT max(id) FROM session_messages WHERE session_id = ?"
        far = f"UPDATE session_messages SET timestamp = '9999-12-31T23:59:59.999999' WHERE id = ({last})"
        assert db.execute(far, (life.one,)).rowcount == 1
    life.old_writes("late")
    (error,) = life.catch_up(on_conflict="append_legacy").conflicts
    assert "cannot follow what is there: V2 orders messages by time, and no time is left" in error.what
    assert life.contents()[-1] == "fresh"


def test_after_both_sides_were_laid_together_the_old_side_may_change_values(life: Life) -> None:
    life.new_writes("fresh")
    life.old_writes("late")
    assert life.catch_up(on_conflict="append_legacy").conflicts == []
    life.new_writes("fresher")
    life.old_writes("", status="archived", tags=["late"])
    assert life.catch_up().conflicts == []
    assert life.context()["provider_context"]["status"] == "archived"
    assert sorted(life.contents()[-3:]) == ["fresh", "fresher", "late"]
    life.new_sets(status="inactive")
    life.old_writes("", status="active", tags=["later"])
    (error,) = life.catch_up().conflicts
    assert "status" in error.what


def test_a_deleted_session_is_not_caught_up(life: Life) -> None:
    with life.bridge() as core:

        def delete(store: Any) -> None:
            with store.transaction():
                core.delete(store, life.one)

        core.run(delete)
        life.old_writes("late")
        assert core.ensure(life.one).where == "deleted"
    assert life.catch_up().looked_at == 3


@pytest.mark.parametrize("policy", ["raise", "append_legacy", "keep_new"])
def test_a_session_that_v2_deleted_is_no_conflict_whatever_the_policy(life: Life, policy: Any) -> None:
    with closing(sqlite3.connect(life.target)) as db, db:
        for table in ("session_messages", "session_metrics", "sessions"):
            db.execute(f"DELETE FROM {table} WHERE session_id = ?", (life.one,))
    life.old_writes("late")
    result = life.catch_up(on_conflict=policy)
    assert result.conflicts == []
    assert [line.code for line in result.report.errors] == ["deleted_but_changed"]
    assert status(str(life.target)).sessions == {"moved": 3, "deleted": 1}
    assert life.catch_up(on_conflict=policy).report.errors == []


def test_a_one_shot_run_brings_nothing_deleted_back(life: Life) -> None:
    with life.bridge() as core:

        def delete(store: Any) -> None:
            with store.transaction():
                core.delete(store, life.one)
                core.delete(store, "session_never_moved")

        make_langswarm_v1(life.source.with_name("more.db"), sessions=1, seed=9, traps="none")
        with closing(sqlite3.connect(life.source)) as db, db:
            db.execute("ATTACH ? AS more", (str(life.source.with_name("more.db")),))
            db.execute("UPDATE more.sessions SET session_id = 'session_never_moved'")
            db.execute("INSERT INTO sessions SELECT * FROM more.sessions")
        core.run(delete)
        assert core.ensure("session_never_moved").where == "deleted"
    report = migrate(str(life.source), str(life.target), TransferOptions()).report
    assert (report.migrated_sessions, report.skipped_sessions, report.failed_sessions) == (0, 5, 0)
    assert {fact.code: fact.count for fact in report.source_facts}["deleted_in_target"] == 2
    assert status(str(life.target)).sessions == {"moved": 3, "deleted": 2}


def test_the_ledger_has_the_digests_of_what_was_caught_up(life: Life) -> None:
    life.new_writes("fresh")
    life.old_writes("late")
    before = _unit(life)
    life.catch_up(on_conflict="append_legacy")
    after = _unit(life)
    assert after.source_digest != before.source_digest
    assert after.written_counts["session_messages"] == before.written_counts["session_messages"] + 1


def _unit(life: Life) -> Any:
    with open_store(str(life.target), mode="ro", role="target") as store:
        return Ledger(store).units(SESSION, [life.one])[life.one]


def test_a_system_without_a_way_says_so(tmp_path: Path) -> None:
    from sessionlift._demo import make_synth_v2

    make_synth_v2(tmp_path / "old.duckdb", sessions=2, seed=1)
    source, target = str(tmp_path / "old.duckdb"), str(tmp_path / "new.db")
    with pytest.raises(UsageError, match="cannot be laid together"):
        catch_up(source, target, on_conflict="keep_new")


def test_a_target_that_nothing_was_moved_into_is_refused_and_not_made(tmp_path: Path) -> None:
    from sessionlift._demo import make_synth_v2

    make_synth_v2(tmp_path / "old.duckdb", sessions=2, seed=1)
    source, target = str(tmp_path / "old.duckdb"), str(tmp_path / "mistyped.db")
    with pytest.raises(StoreNotFoundError, match="there is no file"):
        catch_up(source, target)
    sqlite3.connect(target).close()
    schema_upgrade(target, "synth_v3")
    with pytest.raises(WrongGenerationError, match="has no ledger"):
        catch_up(source, target)
    assert {path.name for path in tmp_path.iterdir()} == {"old.duckdb", "mistyped.db"}
