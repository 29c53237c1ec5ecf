"""A bridge at work while sessions are taken back: they are served from the legacy store at once, and stay there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.swarm_bridge import make_stores
from tests.support.taken_back import V2_MESSAGE

from sessionlift.bridge import BridgeCore
from sessionlift.bridge.langswarm import SyncSessionBridge
from sessionlift.errors import SessionElsewhereError
from sessionlift.runs import CatchUp, RollbackOptions, SessionMover, TransferOptions, catch_up, migrate, rollback

pytestmark = pytest.mark.slow


def test_a_session_that_was_taken_back_is_served_from_the_legacy_store_at_once(tmp_path: Path) -> None:
    stores = make_stores(tmp_path, sessions=4)
    one, two = stores.ids[:2]
    with BridgeCore(*stores.both) as bridge:
        assert [bridge.ensure(key).where for key in (one, two)] == ["new", "new"]
        stores.change(V2_MESSAGE, one, "new", "said through the new store")
        assert rollback(str(stores.target), RollbackOptions(sessions=(one,))).report.status == "completed"
        assert bridge.ensure(one).where == "legacy"
        assert bridge.ensure(two).where == "new"
        assert bridge.ensure(one).where == "legacy", "nobody has said that it is to move again"
    ((history,),) = stores.ask("SELECT history FROM sessions WHERE session_id = ?", one, store=stores.source)
    assert "said through the new store" in history
    migrate(*stores.both, TransferOptions())
    with BridgeCore(*stores.both) as bridge:
        assert bridge.ensure(one).where == "new"
    rows = stores.ask("SELECT count(*) FROM session_messages WHERE message_id = 'new'")
    assert rows == [[1]]


def test_a_session_that_lives_in_another_store_is_neither_read_from_the_old_one_nor_in_conflict_with_it(
    tmp_path: Path,
) -> None:
    stores = make_stores(tmp_path, sessions=2)
    one, two = stores.ids
    other = tmp_path / "other.db"
    with SyncSessionBridge(*stores.both) as bridge:
        for key in stores.ids:
            bridge.send_message(key, "said through the new store", role="system")
        rollback(str(stores.target), RollbackOptions(sessions=(one,), to=str(other)))
        for use in (
            lambda: bridge.get_session(one),
            lambda: bridge.send_message(one, "stale", role="system"),
            lambda: bridge.delete_session(one),
        ):
            with pytest.raises(SessionElsewhereError, match=r"other\.db, and lives there"):
                use()
        listed = bridge.list_user_sessions(stores.user_of(one)) + bridge.list_user_sessions(stores.user_of(two))
        assert {session.session_id for session in listed} == {two}, "what the old store has is not told as its"
    migrate(str(other), str(stores.target), TransferOptions())
    with SyncSessionBridge(*stores.both) as bridge:
        bridge.send_message(one, "and went on", role="system")
        said = [message.content for message in bridge.get_messages(one)]
    assert said[-2:] == ["said through the new store", "and went on"]
    assert catch_up(*stores.both, on_conflict="append_legacy").conflicts == []
    with SyncSessionBridge(*stores.both) as bridge:
        assert [message.content for message in bridge.get_messages(one)] == said


def test_what_a_rollback_has_written_so_far_is_no_write_of_the_old_program(tmp_path: Path) -> None:
    stores = make_stores(tmp_path, sessions=3)
    one = stores.ids[0]
    migrate(*stores.both, TransferOptions())
    stores.change(V2_MESSAGE, one, "new", "said through the new store")
    # a rollback that is killed between its two halves
    rollback(str(stores.target), RollbackOptions(sessions=(one,), keep_target=True))
    ((digest,),) = stores.ask("SELECT source_digest FROM sessionlift_units WHERE session_id = ?", one)
    other = stores.ask("SELECT source_digest FROM sessionlift_units WHERE session_id = ?", stores.ids[1])[0][0]
    stores.change("UPDATE sessionlift_units SET source_digest = ? WHERE session_id = ?", other, one)
    note = json.dumps({"store": "x", "sessions": {one: digest}})
    stores.change("INSERT INTO sessionlift_rollout VALUES ('rollback/run/1', ?, '2025-01-01')", note)
    before = stores.ask("SELECT * FROM session_messages")
    with SessionMover(*stores.both, TransferOptions(), kind="catch_up") as mover:
        assert CatchUp(mover, "append_legacy").take(one, other).outcome == "same"
    assert stores.ask("SELECT * FROM session_messages") == before
    assert migrate(*stores.both, TransferOptions()).report.status == "completed", "nor is it one for a whole run"
    assert stores.ask("SELECT * FROM session_messages") == before
    stores.change("DELETE FROM sessionlift_rollout")
    with SessionMover(*stores.both, TransferOptions(), kind="catch_up") as mover:
        assert CatchUp(mover, "append_legacy").take(one, other).outcome != "same", "without the note it is one"
