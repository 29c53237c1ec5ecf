"""A target takes one source: another one is refused, and the same one at another place has to be said."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import duckdb
import pytest
from tests.support.made import make_moved, make_synth_v2
from tests.support.moved import change, change_source, query, session_ids
from tests.support.run_fixtures import Legacy
from tests.support.taken_back import ledger
from tests.support.warm import Warm

from sessionlift import runs
from sessionlift._demo import make_langswarm_v1
from sessionlift.bridge.synth import SyncTraceBridge
from sessionlift.errors import OtherSourceError, SessionElsewhereError, UsageError
from sessionlift.runs import BackupOptions, RollbackOptions, TransferOptions, catch_up, plan, status, verify

pytestmark = pytest.mark.slow

# nothing here asks for the copies that are made before a change
migrate = partial(runs.migrate, backup=BackupOptions(wanted=False))
rollback = partial(runs.rollback, backup=BackupOptions(wanted=False))


@pytest.fixture
def moved(tmp_path: Path) -> tuple[Path, Path]:
    source, target = tmp_path / "old.duckdb", tmp_path / "new.db"
    make_moved(source, target, sessions=4, seed=3)
    return source, target


def make_other(path: Path) -> None:
    """A store that has none of the sessions that others have."""
    make_synth_v2(path, sessions=4, seed=99)
    with duckdb.connect(str(path)) as store:
        for table in ("session_traces", "session_timesteps", "events", "messages"):
            store.execute(f"UPDATE {table} SET session_id = 'other-' || session_id")


def test_a_store_with_other_sessions_is_refused_even_if_said_to_be_the_same(moved: tuple[Path, Path]) -> None:
    other = moved[0].with_name("other.duckdb")
    make_other(other)
    before = moved[1].read_bytes()
    for options in (TransferOptions(), TransferOptions(same_source=True)):
        with pytest.raises(OtherSourceError, match="was filled from") as refused:
            migrate(str(other), str(moved[1]), options)
        assert "--same-source" in refused.value.hint
    assert moved[1].read_bytes() == before


def test_the_same_store_at_another_place_has_to_be_said(moved: tuple[Path, Path]) -> None:
    there = moved[0].with_name("moved.duckdb")
    shutil.move(moved[0], there)
    with pytest.raises(OtherSourceError):
        migrate(str(there), str(moved[1]), TransferOptions())
    report = migrate(str(there), str(moved[1]), TransferOptions(same_source=True)).report
    assert (report.skipped_sessions, report.migrated_sessions) == (4, 0)
    # from now on the new place is known, through whatever link
    link = there.with_name("link.duckdb")
    link.symlink_to(there)
    assert migrate(str(link), str(moved[1]), TransferOptions()).report.skipped_sessions == 4
    assert migrate(str(there), str(moved[1]), TransferOptions()).report.skipped_sessions == 4


def test_another_place_has_to_be_said_after_every_session_was_taken_back_too(moved: tuple[Path, Path]) -> None:
    source, target = moved
    yesterday = source.with_name("yesterday.duckdb")
    shutil.copy(source, yesterday)
    rollback(str(target), RollbackOptions(everything=True))
    before = target.read_bytes()
    # else what the old program has written since would be passed over without a word
    with pytest.raises(OtherSourceError, match=r"was filled from .*taken back"):
        migrate(str(yesterday), str(target), TransferOptions())
    assert target.read_bytes() == before
    assert migrate(str(source), str(target), TransferOptions()).report.migrated_sessions == 4
    rollback(str(target), RollbackOptions(everything=True))
    same = TransferOptions(same_source=True)
    assert migrate(str(yesterday), str(target), same).report.migrated_sessions == 0, "the store itself is still there"
    source.unlink()
    assert migrate(str(yesterday), str(target), same).report.migrated_sessions == 4


def test_a_store_that_sessions_were_taken_back_to_is_known(moved: tuple[Path, Path]) -> None:
    source, target = moved
    new = source.with_name("rebuilt.duckdb")
    rollback(str(target), RollbackOptions(everything=True, to=str(new)))
    assert migrate(str(new), str(target), TransferOptions()).report.migrated_sessions == 4


def test_what_lives_in_another_store_by_now_does_not_come_from_the_old_one(moved: tuple[Path, Path]) -> None:
    source, target = moved
    new = source.with_name("rebuilt.duckdb")
    (session,) = query(target, "SELECT session_id FROM messages LIMIT 1")[0]
    say = "INSERT INTO messages (session_id, message_type, content) VALUES (?, 'user', 'said after the move')"
    change(target, say, session)
    rollback(str(target), RollbackOptions(everything=True, to=str(new)))
    # the old store is as it was before the move
    assert plan(str(source), str(target), TransferOptions()).migrated_sessions == 0
    stale = migrate(str(source), str(target), TransferOptions()).report
    assert (stale.migrated_sessions, stale.skipped_sessions) == (0, 4)
    (line,) = [line for line in stale.assumptions if "taken back into" in line]
    assert line.startswith(f"4 sessions were taken back into duckdb://{new} and live there")
    assert query(target, "SELECT count(*) FROM session_traces") == [(0,)]

    assert plan(str(new), str(target), TransferOptions()).migrated_sessions == 4
    assert migrate(str(new), str(target), TransferOptions()).report.migrated_sessions == 4
    assert query(target, "SELECT count(*) FROM messages WHERE content = 'said after the move'") == [(1,)]


def test_what_came_from_another_store_is_not_replaced_by_what_the_old_one_has(moved: tuple[Path, Path]) -> None:
    source, target = moved
    new = source.with_name("rebuilt.duckdb")
    (session,) = query(target, "SELECT session_id FROM messages LIMIT 1")[0]
    say = "INSERT INTO messages (session_id, message_type, content) VALUES (?, 'user', 'said after the move')"
    change(target, say, session)
    rollback(str(target), RollbackOptions(sessions=(session,), to=str(new)))
    with SyncTraceBridge(str(source), str(target)) as bridge:
        for use in (bridge.get_session_trace, bridge.delete_session):
            with pytest.raises(SessionElsewhereError, match=f"{new}, and lives there"):
                use(session)
    assert migrate(str(new), str(target), TransferOptions()).report.migrated_sessions == 1
    for again in range(2):
        stale = migrate(str(source), str(target), TransferOptions()).report
        assert [(line.session_id, line.code) for line in stale.errors] == [(session, "lives_elsewhere")], again
        assert query(target, "SELECT count(*) FROM messages WHERE content = 'said after the move'") == [(1,)]
    assert migrate(str(new), str(target), TransferOptions()).report.failed_sessions == 0
    with SyncTraceBridge(str(source), str(target)) as bridge:
        assert bridge.get_session_trace(session)
        core = bridge.core
    assert core is not None
    told = catch_up(str(source), str(target))
    assert (told.conflicts, told.report.migrated_sessions, told.report.failed_sessions) == ([], 0, 0)
    for report in (core.outcome[0], told.report):
        assert [(line.session_id, line.code) for line in report.errors] == [(session, "lives_elsewhere")]
    assert query(target, "SELECT count(*) FROM messages WHERE content = 'said after the move'") == [(1,)]


def test_a_renamed_store_that_sessions_were_taken_back_to_can_be_said_to_be_the_same(moved: tuple[Path, Path]) -> None:
    source, target = moved
    new, renamed = source.with_name("rebuilt.duckdb"), source.with_name("renamed.duckdb")
    (session,) = query(target, "SELECT session_id FROM session_traces LIMIT 1")[0]
    rollback(str(target), RollbackOptions(sessions=(session,), to=str(new)))
    shutil.move(new, renamed)
    same = TransferOptions(same_source=True)
    assert migrate(str(renamed), str(target), same).report.migrated_sessions == 1


def test_a_store_with_other_sessions_is_refused_after_everything_was_taken_back_too(moved: tuple[Path, Path]) -> None:
    source, target = moved
    rollback(str(target), RollbackOptions(everything=True))
    other = source.with_name("other.duckdb")
    make_other(other)
    source.unlink()
    with pytest.raises(OtherSourceError, match="4 of the 4 sessions"):
        migrate(str(other), str(target), TransferOptions(same_source=True))


def test_a_bridge_and_a_catch_up_refuse_a_store_at_another_place(moved: tuple[Path, Path]) -> None:
    source, target = moved
    yesterday = source.with_name("yesterday.duckdb")
    shutil.copy(source, yesterday)
    with pytest.raises(OtherSourceError, match="was filled from"):
        SyncTraceBridge(str(yesterday), str(target)).close()
    with pytest.raises(OtherSourceError, match="was filled from"):
        catch_up(str(yesterday), str(target))


def test_what_a_bridge_moved_is_compared_with_its_own_store_only(moved: tuple[Path, Path]) -> None:
    source = moved[0]
    target, new = source.with_name("bridged.db"), source.with_name("rebuilt.duckdb")
    ids = [session for (session,) in query(moved[1], "SELECT session_id FROM session_traces ORDER BY rowid")]
    with SyncTraceBridge(str(source), str(target)) as bridge:
        for session in ids[:3]:
            assert bridge.get_session_trace(session)
    rollback(str(target), RollbackOptions(sessions=(ids[0],), to=str(new)))
    there = migrate(str(new), str(target), TransferOptions()).report
    assert (there.status, there.migrated_sessions, there.verification.checked_sessions) == ("completed", 1, 1)
    here = migrate(str(source), str(target), TransferOptions()).report
    assert (here.status, here.migrated_sessions) == ("completed", 1)
    assert here.verification.checked_sessions == 3, "the new one, and the two of the bridge that are still its own"


@pytest.mark.parametrize("copied", [False, True])
def test_a_verification_that_failed_is_not_forgotten_when_the_store_is_moved(tmp_path: Path, copied: bool) -> None:
    source, target, there = tmp_path / "old.duckdb", tmp_path / "new.db", tmp_path / "moved.duckdb"
    make_synth_v2(source, sessions=4, seed=3)
    migrate(str(source), str(target), TransferOptions(), verify=False)
    # no digest covers a column that a move does not fill: it counts as written so, and not as changed since
    change(target, "UPDATE messages SET embedding = 1 WHERE rowid = 1")
    assert migrate(str(source), str(target), TransferOptions()).report.verification.status == "failed"
    (shutil.copy if copied else shutil.move)(source, there)
    assert migrate(str(there), str(target), TransferOptions(same_source=True)).report.verification.status == "failed"
    assert migrate(str(there), str(target), TransferOptions()).report.verification.status == "failed"


def test_what_another_store_brought_and_nobody_has_verified_is_told(moved: tuple[Path, Path]) -> None:
    source = moved[0]
    target, new = source.with_name("unverified.db"), source.with_name("rebuilt.duckdb")
    migrate(str(source), str(target), TransferOptions(), verify=False)
    one = query(target, "SELECT session_id FROM session_traces ORDER BY rowid LIMIT 1")[0][0]
    rollback(str(target), RollbackOptions(sessions=(one,), to=str(new)))
    there = migrate(str(new), str(target), TransferOptions()).report
    assert there.verification.status == "passed"
    assert any("was not verified: it lives in another store" in line for line in there.assumptions)
    assert migrate(str(source), str(target), TransferOptions()).report.verification.checked_sessions == 3


def test_a_session_in_quarantine_does_not_keep_the_others_from_being_taken_back(tmp_path: Path) -> None:
    source, target, new = tmp_path / "old.duckdb", tmp_path / "new.db", tmp_path / "rebuilt.duckdb"
    make_synth_v2(source, sessions=4, seed=3, traps="none")
    with duckdb.connect(str(source)) as store:
        store.execute("UPDATE session_traces SET created_at = 'infinity' WHERE rowid = 0")
    migrate(str(source), str(target), TransferOptions())
    rollback(str(target), RollbackOptions(everything=True, to=str(new)))
    migrate(str(new), str(target), TransferOptions())
    assert query(target, "SELECT count(*) FROM session_traces") == [(3,)]
    rollback(str(target), RollbackOptions(everything=True))
    assert query(target, "SELECT count(*) FROM session_traces") == [(0,)]


def test_a_session_in_quarantine_that_was_rebuilt_elsewhere_lives_there(tmp_path: Path) -> None:
    """By another clock it could be moved: from the store that it lives in, and not from the one that it came from."""
    source, target, new = tmp_path / "legacy.duckdb", tmp_path / "v3.db", tmp_path / "rebuilt.duckdb"
    make_synth_v2(source, sessions=3, traps="none")
    one = session_ids(source)[0]
    # a moment that the target can still hold west of Greenwich, and not east of it
    change_source(source, f"UPDATE session_traces SET created_at = '0001-01-01 00:30:00' WHERE session_id = '{one}'")
    first = migrate(str(source), str(target), TransferOptions(timezone="Europe/Berlin"))
    assert first.report.failed_sessions == 1
    back = rollback(str(target), RollbackOptions(everything=True, to=str(new))).report
    assert (back.migrated_sessions, back.has_findings) == (3, False)
    assert ledger(target)[one] == "rolled_back"
    assert status(str(target)).taken_back == {f"duckdb://{new}": 3}

    west = TransferOptions(timezone="America/New_York")
    stale = migrate(str(source), str(target), west).report
    assert (stale.migrated_sessions, stale.skipped_sessions) == (0, 3)
    assert [line.split(" and ")[0] for line in stale.assumptions if "taken back into" in line] == [
        f"3 sessions were taken back into duckdb://{new}"
    ]
    assert verify(str(source), str(target)).report.errors == []
    assert verify(None, None, report_file=first.path).report.errors == []
    assert catch_up(str(source), str(target), west).report.migrated_sessions == 0
    assert query(target, "SELECT count(*) FROM session_traces") == [(0,)]
    assert migrate(str(new), str(target), west).report.migrated_sessions == 3
    assert ledger(target)[one] == "moved"
    assert status(str(target)).taken_back == {}


def test_a_session_in_quarantine_stays_in_the_store_that_it_came_from(tmp_path: Path) -> None:
    source, target, new = tmp_path / "v1.db", tmp_path / "v2.db", tmp_path / "rebuilt.db"
    make_langswarm_v1(source, sessions=3, traps="none")
    (one,) = query(source, "SELECT session_id FROM sessions ORDER BY rowid LIMIT 1")[0]
    change(source, "UPDATE sessions SET history = 'broken' WHERE session_id = ?", one)
    assert migrate(str(source), str(target), TransferOptions()).report.failed_sessions == 1
    assert rollback(str(target), RollbackOptions(everything=True)).report.skipped_sessions == 1
    assert ledger(target)[one] == "quarantined"
    kept = rollback(str(target), RollbackOptions(everything=True, to=str(new), keep_target=True)).report
    assert (kept.migrated_sessions, ledger(target)[one]) == (1, "quarantined"), "a copy, since the target keeps its own"
    assert rollback(str(target), RollbackOptions(everything=True, to=str(new))).report.migrated_sessions == 1
    assert ledger(target)[one] == "rolled_back"
    assert status(str(target)).taken_back == {f"libsql://{source}": 2, f"sqlite://{new}": 1}
    with closing(sqlite3.connect(new)) as db:
        assert db.execute("SELECT history FROM sessions").fetchall() == [("broken",)]


def test_a_copy_that_stayed_where_the_store_was_is_refused_once_another_place_was_said(
    sessionlift: Warm, legacy: Legacy, target: Path, tmp_path: Path
) -> None:
    stayed = legacy(sessions=4, traps="none")
    assert sessionlift("migrate", stayed, target, "--json").code == 0
    moved_on = tmp_path / "moved" / "on.duckdb"
    moved_on.parent.mkdir()
    shutil.copy(stayed, moved_on)
    change_source(moved_on, "UPDATE systems SET description = 'at the new place'")
    assert sessionlift("migrate", moved_on, target, "--same-source", "--json").code == 0

    refused = sessionlift("migrate", stayed, target, "--json")

    assert (refused.code, json.loads(refused.out)["code"]) == (4, "other_source"), refused.out
    assert query(target, "SELECT DISTINCT description FROM systems") == [("at the new place",)]
    assert sessionlift("migrate", moved_on, target, "--json").code == 0


def test_sessions_that_live_in_another_store_are_not_called_there_in_a_third(
    sessionlift: Warm, legacy: Legacy, target: Path, tmp_path: Path
) -> None:
    source = legacy(sessions=4, traps="none")
    assert sessionlift("migrate", source, target, "--json").code == 0
    one = session_ids(source)[0]
    assert sessionlift("rollback", target, "--session", one, "--to", tmp_path / "one.duckdb", "--json").code == 0

    third = tmp_path / "third.duckdb"
    refused = sessionlift("rollback", target, "--session", one, "--to", third, "--json")
    assert (refused.code, json.loads(refused.out)["code"]) == (2, "usage"), refused.out
    assert "one.duckdb" in json.loads(refused.out)["error"]
    assert not third.exists()

    two = ("--session", one, "--session", session_ids(source)[1])
    some = json.loads(sessionlift("rollback", target, *two, "--to", third, "--dry-run", "--json").out)["report"]
    assert [(line["code"], line["session_id"]) for line in some["errors"]] == [("lives_elsewhere", one)]

    rest = sessionlift("rollback", target, "--all", "--to", third, "--json")
    report = json.loads(rest.out)["report"]
    assert (rest.code, report["migrated_sessions"], report["skipped_sessions"]) == (0, 3, 1)
    (told,) = [fact for fact in report["source_facts"] if fact["code"] == "rolled_back"]
    assert (told["count"], told["examples"]) == (1, [{"session_id": one}])
    assert sessionlift("rollback", target, "--session", one, "--to", tmp_path / "one.duckdb", "--json").code == 0


@pytest.mark.parametrize("stayed", [True, False], ids=["a copy stayed", "it was moved"])
def test_a_rollback_goes_to_the_place_that_was_said_last(moved: tuple[Path, Path], *, stayed: bool) -> None:
    source, target = moved
    there = source.with_name("there.duckdb")
    (shutil.copy if stayed else shutil.move)(source, there)
    migrate(str(there), str(target), TransferOptions(same_source=True))
    change(target, "UPDATE systems SET description = 'by the application'")
    one = query(target, "SELECT session_id FROM session_traces ORDER BY rowid")[0][0]
    say = "INSERT INTO messages (session_id, message_type, content) VALUES (?, 'user', 'said after the move')"
    change(target, say, one)
    before = source.read_bytes() if stayed else None

    report = rollback(str(target), RollbackOptions(everything=True)).report

    assert (report.migrated_sessions, report.failed_sessions, report.errors) == (4, 0, [])
    assert status(str(target)).taken_back == {f"duckdb://{there}": 4}
    with duckdb.connect(str(there), read_only=True) as db:
        said = db.execute("SELECT session_id FROM messages WHERE content::VARCHAR LIKE '%said after%'").fetchall()
        described = db.execute("SELECT DISTINCT description FROM systems").fetchall()
    assert (said, described) == ([(one,)], [("by the application",)])
    assert source.exists() == stayed
    if stayed:
        assert source.read_bytes() == before
    assert migrate(str(there), str(target), TransferOptions()).report.migrated_sessions == 4


def test_sessions_moved_before_and_after_their_store_was_copied_go_back_to_one_place(tmp_path: Path) -> None:
    source, target, there = tmp_path / "old.duckdb", tmp_path / "new.db", tmp_path / "there.duckdb"
    make_synth_v2(source, sessions=4, seed=3)
    one = session_ids(source)[0]
    migrate(str(source), str(target), TransferOptions(only=(one,)))
    shutil.copy(source, there)
    migrate(str(there), str(target), TransferOptions(same_source=True))
    assert rollback(str(target), RollbackOptions(sessions=(one,))).report.migrated_sessions == 1
    assert rollback(str(target), RollbackOptions(everything=True)).report.migrated_sessions == 3
    assert status(str(target)).taken_back == {f"duckdb://{there}": 4}


def test_a_store_that_came_back_to_its_first_place_is_known_by_that(moved: tuple[Path, Path]) -> None:
    source, target = moved
    there = source.with_name("there.duckdb")
    same = TransferOptions(same_source=True)
    shutil.move(source, there)
    migrate(str(there), str(target), same)
    shutil.move(there, source)
    migrate(str(source), str(target), same)
    assert rollback(str(target), RollbackOptions(everything=True)).report.migrated_sessions == 4
    assert status(str(target)).taken_back == {f"duckdb://{source}": 4}


def test_a_rollback_that_goes_on_after_another_goes_to_the_same_place(moved: tuple[Path, Path]) -> None:
    source, target = moved
    there = source.with_name("there.duckdb")
    shutil.copy(source, there)
    migrate(str(there), str(target), TransferOptions(same_source=True))
    one, other = session_ids(source)[:2]
    for chosen in (RollbackOptions(sessions=(one,)), RollbackOptions(sessions=(other,), to=str(there))):
        assert rollback(str(target), chosen).report.migrated_sessions == 1
    new = source.with_name("rebuilt.duckdb")
    assert rollback(str(target), RollbackOptions(sessions=(session_ids(source)[2],), to=str(new))).report.errors == []
    assert rollback(str(target), RollbackOptions(everything=True)).report.migrated_sessions == 1
    assert status(str(target)).taken_back == {f"duckdb://{there}": 3, f"duckdb://{new}": 1}


@pytest.mark.parametrize("first", [True, False], ids=["before it was copied", "after"])
def test_where_sessions_go_has_to_be_said_where_a_rollback_has_gone_to_the_former_place(
    moved: tuple[Path, Path], *, first: bool
) -> None:
    source, target = moved
    there = source.with_name("there.duckdb")
    one, other = session_ids(source)[:2]
    if first:
        rollback(str(target), RollbackOptions(sessions=(one,)))
    shutil.copy(source, there)
    migrate(str(there), str(target), TransferOptions(same_source=True))
    if not first:
        rollback(str(target), RollbackOptions(sessions=(one,), to=str(source)))
    before = [path.read_bytes() for path in (source, there, target)]
    with pytest.raises(UsageError, match="was said to be the same store since") as refused:
        rollback(str(target), RollbackOptions(everything=True))
    assert refused.value.hint == f"say --to duckdb://{source}, or --to duckdb://{there}"
    assert [path.read_bytes() for path in (source, there, target)] == before
    assert rollback(str(target), RollbackOptions(sessions=(other,), to=str(there))).report.migrated_sessions == 1


def test_a_renamed_store_that_a_rollback_made_is_said_to_be_that_one_only(moved: tuple[Path, Path]) -> None:
    source, target = moved
    new, renamed = source.with_name("rebuilt.duckdb"), source.with_name("renamed.duckdb")
    one, other = session_ids(source)[:2]
    rollback(str(target), RollbackOptions(sessions=(one,), to=str(new)))
    shutil.move(new, renamed)
    migrate(str(renamed), str(target), TransferOptions(same_source=True))
    assert rollback(str(target), RollbackOptions(sessions=(other,))).report.migrated_sessions == 1
    assert rollback(str(target), RollbackOptions(sessions=(one,))).report.migrated_sessions == 1
    assert status(str(target)).taken_back == {f"duckdb://{source}": 1, f"duckdb://{renamed}": 1}


def test_a_store_of_which_nothing_was_taken_is_no_place_to_go_back_to(tmp_path: Path) -> None:
    source, target, wrong = tmp_path / "old.duckdb", tmp_path / "new.db", tmp_path / "wrong.duckdb"
    make_synth_v2(source, sessions=4, seed=3, traps="none")
    migrate(str(source), str(target), TransferOptions())
    make_synth_v2(wrong, sessions=1, seed=98, traps="none")
    with duckdb.connect(str(wrong)) as store:
        for table in ("session_traces", "session_timesteps", "events", "messages"):
            store.execute(f"UPDATE {table} SET session_id = '{session_ids(source)[0]}'")
    change(target, "UPDATE messages SET content = 'since the move'")
    report = migrate(str(wrong), str(target), TransferOptions(same_source=True)).report
    assert (report.migrated_sessions, report.skipped_sessions, report.failed_sessions) == (0, 0, 1), report.errors
    assert rollback(str(target), RollbackOptions(everything=True)).report.migrated_sessions == 4
    assert status(str(target)).taken_back == {f"duckdb://{source}": 4}
