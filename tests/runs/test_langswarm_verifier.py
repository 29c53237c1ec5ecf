"""No change may go unseen: in LangSwarm's target, in what the ledger keeps of it, or in the source."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.support.langswarm_moves import MovedStore, update
from tests.support.laws import TORTURE

from sessionlift._demo import make_langswarm_v1
from sessionlift.runs import TransferOptions, migrate, verify
from sessionlift.runs.verifier.langswarm import CANNOT_SEE
from sessionlift.runs.verifier.langswarm._copy import copy_of
from sessionlift.runs.verifier.langswarm._rules import OURS

pytestmark = pytest.mark.slow

TABLES = ("sessions", "session_messages", "session_metrics")
UNSEEN = {
    ("session_messages", "id"),
    ("sessionlift_units", "moved_at"),
    ("sessionlift_units", "converter"),
    ("sessionlift_quarantine", "id"),
    ("sessionlift_quarantine", "reason"),
}
"""What no check can see; CANNOT_SEE says so."""
HEAVY = ("big", "long_message")


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> MovedStore:
    """Every trap once, salvaged where it can be."""
    folder = tmp_path_factory.mktemp("moved")
    source, target = folder / "legacy.db", folder / "v2.db"
    made = make_langswarm_v1(source, sessions=70, seed=6, traps="all")
    heavy = [made.trapped[name] for name in HEAVY]
    with sqlite3.connect(source) as db:
        db.executemany("DELETE FROM sessions WHERE session_id = ?", [(key,) for key in heavy])
    result = migrate(str(source), str(target), TransferOptions(salvage=True))
    assert result.report.verification.status == "passed", result.report.verification.differences
    return MovedStore(source, target, folder, {"salvage": True})


def nudged(value: Any) -> list[Any]:
    """Values that are as near as can be, of the same kind and of others."""
    if value is None:
        return [0, "", "null"]
    if isinstance(value, (int, float)):
        return [value + 1, None, f"x{value}", b"1"]
    if isinstance(value, bytes):
        return [value + b" ", None]
    return [value + " ", value[:-1] if value else "x", None, value.encode("utf-8"), value.swapcase() + "."]


def rows_with(moved: MovedStore, table: str, column: str) -> Iterator[tuple[int, Any]]:
    """(rowid, value) of a row with a value in ``column``, and of one without."""
    for condition in ("IS NOT NULL", "IS NULL"):
        yield from moved.query(
            f'SELECT rowid, "{column}" FROM {table} WHERE "{column}" {condition} ORDER BY rowid DESC LIMIT 1'
        )


def columns(moved: MovedStore, table: str) -> list[str]:
    return [str(row[1]) for row in moved.query(f"PRAGMA table_info({table})")]


def test_an_untouched_target_has_no_difference(moved: MovedStore) -> None:
    seen = moved.look()
    assert seen.audit.findings == []
    assert seen.result.differences == []
    assert seen.result.rows == sum(moved.query(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES)
    assert seen.result.sessions == moved.query("SELECT count(*) FROM sessionlift_units WHERE unit = 'session'")[0][0]


@pytest.mark.parametrize("table", TABLES)
def test_one_changed_value_is_seen(moved: MovedStore, table: str) -> None:
    unseen = []
    for column in columns(moved, table):
        if (table, column) in UNSEEN:
            continue
        for rowid, value in rows_with(moved, table, column):
            session = moved.query(f"SELECT session_id FROM {table} WHERE rowid = ?", rowid)[0][0]
            for change in nudged(value):
                try:
                    seen = moved.look(update(table, column, change, "rowid = ?", rowid), only=[session])
                except sqlite3.IntegrityError:
                    continue  # SQLite itself keeps such a value out
                told = {each.session_id for each in seen.result.differences}
                if "changed_in_target" not in seen.codes or session not in told:
                    unseen.append((column, value, change))
    assert not unseen, f"changed in {table} and not told: {unseen}"


@pytest.mark.parametrize("table", TABLES)
def test_a_changed_value_is_named_by_its_place(moved: MovedStore, table: str) -> None:
    column = {"sessions": "model", "session_messages": "content", "session_metrics": "message_count"}[table]
    rowid, session, value = moved.query(
        f"SELECT rowid, session_id, {column} FROM {table} WHERE {column} IS NOT NULL ORDER BY rowid LIMIT 1"
    )[0]
    seen = moved.look(update(table, column, nudged(value)[0], "rowid = ?", rowid), only=[session])
    (found,) = seen.result.differences
    row = str(rowid) if table == "session_messages" else session
    assert (found.session_id, found.table, found.row, found.column) == (session, table, row, column)
    assert found.expected == value


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a JSON document."""
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*path, key)
            yield from paths(inner, (*path, key))


def without(value: Any, path: tuple[Any, ...], *, instead: Any = None) -> Any:
    """The document without the value at ``path``, or with ``instead`` in its place."""
    copy = json.loads(json.dumps(value))
    at = copy
    for key in path[:-1]:
        at = at[key]
    if instead is None:
        del at[path[-1]]
    else:
        at[path[-1]] = instead
    return copy


@pytest.mark.torture
@pytest.mark.parametrize(("table", "column"), [("sessions", "context_data"), ("session_messages", "metadata")])
def test_each_json_field_that_is_changed_or_gone_is_seen(moved: MovedStore, table: str, column: str) -> None:
    rowid, session, text = moved.query(
        f"SELECT rowid, session_id, {column} FROM {table} ORDER BY length({column}) DESC LIMIT 1 OFFSET 1"
    )[0]
    document = json.loads(text)
    every = list(paths(document))
    assert len(every) > 10
    for path in every[: 60 : 1 if TORTURE else 3]:
        for changed in (without(document, path), without(document, path, instead="something else")):
            seen = moved.look(update(table, column, json.dumps(changed), "rowid = ?", rowid), only=[session])
            assert "changed_in_target" in seen.codes, path
            assert any(each.column == column for each in seen.result.differences), path


@pytest.mark.parametrize(("table", "column"), [("sessions", "context_data"), ("session_messages", "metadata")])
def test_another_order_of_keys_and_another_spelling_are_seen(moved: MovedStore, table: str, column: str) -> None:
    rowid, session, text = moved.query(
        f"SELECT rowid, session_id, {column} FROM {table} WHERE json_valid({column}) "
        f"AND (SELECT count(*) FROM json_each({column})) > 1 LIMIT 1"
    )[0]
    document = json.loads(text)
    turned = json.dumps(dict(reversed(document.items())))
    for other in (turned, json.dumps(document, separators=(",", ":")), text.replace("{", "{ ", 1)):
        seen = moved.look(update(table, column, other, "rowid = ?", rowid), only=[session])
        assert "changed_in_target" in seen.codes
        assert any(each.column == column for each in seen.result.differences)


@pytest.mark.parametrize("table", TABLES)
def test_a_deleted_row_is_missed(moved: MovedStore, table: str) -> None:
    for order in ("ASC", "DESC"):
        rowid, session = moved.query(f"SELECT rowid, session_id FROM {table} ORDER BY rowid {order} LIMIT 1")[0]
        seen = moved.look(
            lambda db, rowid=rowid: db.execute(f"DELETE FROM {table} WHERE rowid = ?", (rowid,)),  # type: ignore[misc]
            only=[session],
        )
        assert any(each.table == table and each.found is None for each in seen.result.differences), order


def many_messages(moved: MovedStore) -> tuple[str, list[int]]:
    """A session, and the ids of its messages."""
    session = moved.query("SELECT session_id FROM session_messages GROUP BY 1 HAVING count(*) > 4 LIMIT 1")[0][0]
    rows = moved.query("SELECT id FROM session_messages WHERE session_id = ? ORDER BY id", session)
    return session, [row[0] for row in rows]


def test_messages_that_changed_places_are_seen(moved: MovedStore) -> None:
    session, ids = many_messages(moved)

    def swap(db: sqlite3.Connection) -> None:
        for old, new in ((ids[1], -1), (ids[2], ids[1]), (-1, ids[2])):
            db.execute("UPDATE session_messages SET id = ? WHERE id = ?", (new, old))

    seen = moved.look(swap, only=[session])
    assert "changed_in_target" in seen.codes
    assert {each.row for each in seen.result.differences} == {str(ids[1]), str(ids[2])}


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_doubled_message_is_seen(moved: MovedStore, place: str) -> None:
    session, ids = many_messages(moved)
    names = ", ".join(name for name in columns(moved, "session_messages") if name != "id")
    new = -1 if place == "before" else 10**9
    seen = moved.look(
        lambda db: db.execute(
            f"INSERT INTO session_messages (id, {names}) SELECT ?, {names} FROM session_messages WHERE id = ?",
            (new, ids[0] if place == "before" else ids[-1]),
        ),
        only=[session],
    )
    assert "changed_in_target" in seen.codes
    assert any(each.found == "a row" for each in seen.result.differences)


def test_a_message_in_another_session_is_seen_in_both(moved: MovedStore) -> None:
    session, ids = many_messages(moved)
    other = moved.query("SELECT session_id FROM sessions WHERE session_id <> ? LIMIT 1", session)[0][0]
    seen = moved.look(update("session_messages", "session_id", other, "id = ?", ids[1]), only=[session, other])
    assert {each.session_id for each in seen.result.differences} == {session, other}


# --- the ledger --------------------------------------------------------------------------------------------------


@pytest.mark.torture
def test_each_character_of_a_complement_counts(moved: MovedStore) -> None:
    session, data = moved.query(
        "SELECT session_id, data FROM sessionlift_complement WHERE data LIKE '%cells%' AND length(data) < 4000 "
        "ORDER BY length(data) LIMIT 1"
    )[0]
    for at in range(0, len(data), max(1, len(data) // (120 if TORTURE else 30))):
        other = "0" if data[at] != "0" else "1"
        for changed in (data[:at] + other + data[at + 1 :], data[:at] + data[at + 1 :]):
            seen = moved.look(
                update("sessionlift_complement", "data", changed, "session_id = ?", session), only=[session]
            )
            assert [each.table for each in seen.result.differences] == ["sessionlift_complement"], changed


def test_a_complement_that_is_gone_or_of_no_session_is_seen(moved: MovedStore) -> None:
    session = moved.query("SELECT session_id FROM sessionlift_complement LIMIT 1")[0][0]
    seen = moved.look(lambda db: db.execute("DELETE FROM sessionlift_complement WHERE session_id = ?", (session,)))
    assert [(each.session_id, each.table) for each in seen.result.differences] == [(session, "sessionlift_complement")]
    seen = moved.look(lambda db: db.execute("INSERT INTO sessionlift_complement VALUES ('session', 'nobody', '{}')"))
    assert seen.codes == {"complement_unknown"}


@pytest.mark.parametrize("table", ["sessionlift_units", "sessionlift_quarantine"])
def test_what_the_ledger_says_of_a_session_is_held_against_the_stores(moved: MovedStore, table: str) -> None:
    unseen = []
    for state in ("moved", "partial", "quarantined"):
        chosen = "session_id = (SELECT session_id FROM sessionlift_units WHERE state = ? AND unit = 'session' LIMIT 1)"
        rows = moved.query(f"SELECT * FROM {table} WHERE {chosen} LIMIT 1", state)
        for row in rows:
            for column, value in zip(columns(moved, table), row, strict=True):
                if (table, column) in UNSEEN:
                    continue
                key = "id" if table == "sessionlift_quarantine" else "session_id"
                where, known = f"{key} = ?", row[columns(moved, table).index(key)]
                changes = ["moved", "quarantined"] if column == "state" else ["catalog"] if column == "unit" else None
                for change in changes or [f"{value}x"]:
                    if change != value and not moved.look(update(table, column, change, where, known)).anything:
                        unseen.append((state, column, value, change))
    assert not unseen


def test_a_session_that_the_ledger_has_forgotten_is_seen(moved: MovedStore) -> None:
    session, _ = many_messages(moved)
    seen = moved.look(lambda db: db.execute("DELETE FROM sessionlift_units WHERE session_id = ?", (session,)))
    assert seen.codes == {"not_in_ledger", "complement_unknown"}


def test_a_session_without_our_key_that_the_ledger_has_forgotten_is_seen_once(moved: MovedStore) -> None:
    key = f'%"{OURS}": {{"timestamp"%'
    ((session,),) = moved.query(
        "SELECT session_id FROM sessionlift_units WHERE state = 'moved' AND session_id NOT IN "
        "(SELECT session_id FROM session_messages WHERE metadata LIKE ?) AND unit = 'session' LIMIT 1",
        key,
    )
    seen = moved.look(lambda db: db.execute("DELETE FROM sessionlift_units WHERE session_id = ?", (session,)))
    assert [each.session_id for each in seen.audit.findings if each.code == "not_in_ledger"] == [session]
    assert not {code for code, _ in seen.notes} & {"native_session", "native_rows", "not_moved"}


def test_a_session_of_the_application_under_an_id_of_the_source_is_told_as_its_own(tmp_path: Path) -> None:
    """Before the source's is moved it cannot be told from a lost one; then the target has refused the source's."""
    source, target = tmp_path / "legacy.db", tmp_path / "v2.db"
    make_langswarm_v1(source, sessions=4, seed=3)
    with closing(sqlite3.connect(source)) as db:
        first, second, *_ = [str(row[0]) for row in db.execute("SELECT session_id FROM sessions ORDER BY rowid")]
    migrate(str(source), str(target), TransferOptions(only=(first,)))
    with closing(sqlite3.connect(target)) as db:
        copied = (
            "INSERT INTO sessions SELECT ?, user_id, provider, model, backend, context_data, created_at, updated_at"
        )
        db.execute(f"{copied} FROM sessions", (second,))
        db.commit()
    (line,) = verify(str(source), str(target)).report.errors
    assert (line.code, line.session_id) == ("not_in_ledger", second)
    rest = migrate(str(source), str(target), TransferOptions())
    assert {(line.code, line.session_id) for line in rest.report.errors} == {("target_refused", second)}
    report = verify(str(source), str(target)).report
    assert (report.errors, report.verification.differences) == ([], [])
    told = {fact.code: fact.count for fact in report.source_facts if fact.table == "sessions"}
    assert (told["own_session"], told["native_session"], told["in_quarantine"]) == (1, 1, 1)


def test_a_row_that_left_the_quarantine_is_missed(moved: MovedStore) -> None:
    rows = moved.query("SELECT min(id), table_name FROM sessionlift_quarantine GROUP BY table_name")
    assert {table for _, table in rows} == {"sessions", "history", "session_messages"}
    for row, _ in rows:
        seen = moved.look(lambda db, row=row: db.execute("DELETE FROM sessionlift_quarantine WHERE id = ?", (row,)))  # type: ignore[misc]
        assert seen.result.differences


def test_a_row_that_came_into_the_quarantine_is_told(moved: MovedStore) -> None:
    session, _ = many_messages(moved)
    for owner in (session, "nobody"):
        seen = moved.look(
            lambda db, owner=owner: db.execute(  # type: ignore[misc]
                "INSERT INTO sessionlift_quarantine (run_id, unit, session_id, table_name, row_id, code, reason, row) "
                "SELECT run_id, unit, ?, table_name, row_id, code, reason, row FROM sessionlift_quarantine LIMIT 1",
                (owner,),
            )
        )
        assert seen.anything


# --- the source --------------------------------------------------------------------------------------------------


def test_each_column_of_a_session_that_changed_in_the_source_is_seen(moved: MovedStore) -> None:
    session, _ = many_messages(moved)
    for column in ("user_id", "provider", "model", "status", "session_control", "created_at", "updated_at",
                   "last_activity", "metadata", "history"):  # fmt: skip
        seen = moved.look(in_source=update("sessions", column, "other", "session_id = ?", session), only=[session])
        assert "changed_in_source" in seen.codes, column


def test_each_field_of_a_message_that_changed_in_the_source_is_seen(moved: MovedStore) -> None:
    session, _ = many_messages(moved)
    with sqlite3.connect(moved.source) as db:
        (text,) = db.execute("SELECT history FROM sessions WHERE session_id = ?", (session,)).fetchone()
    history = json.loads(text)
    for field in ("id", "content", "timestamp", "metadata", "tool_calls", "tool_call_id", "provider_message_id"):
        message = {**history["messages"][1], field: "2025-01-01T00:00:00" if field == "timestamp" else "other"}
        changed = json.dumps({**history, "messages": [history["messages"][0], message, *history["messages"][2:]]})
        seen = moved.look(in_source=update("sessions", "history", changed, "session_id = ?", session), only=[session])
        assert seen.codes == {"changed_in_source", "differs_from_source"}, field


def test_a_session_that_the_source_no_longer_has_is_told(moved: MovedStore) -> None:
    session, _ = many_messages(moved)
    seen = moved.look(in_source=lambda db: db.execute("DELETE FROM sessions WHERE session_id = ?", (session,)))
    assert [(each.code, each.session_id) for each in seen.audit.findings] == [("gone_from_source", session)]


# --- sessions that live on ---------------------------------------------------------------------------------------


def say_more(db: sqlite3.Connection, session: str, *texts: str, time: str = "2030-01-01 00:00:00") -> None:
    """What the new program does when it stores further messages."""
    for text in texts:
        db.execute(
            "INSERT INTO session_messages (session_id, message_id, role, content, timestamp, metadata) "
            "VALUES (?, 'new', 'user', ?, ?, '{}')",
            (session, text, time),
        )
    db.execute("UPDATE sessions SET updated_at = ?, created_at = ? WHERE session_id = ?", (time, time, session))
    db.execute("UPDATE session_metrics SET message_count = message_count + 1 WHERE session_id = ?", (session,))


def test_a_ledger_that_has_lost_its_catalog_is_told(moved: MovedStore) -> None:
    def lose(db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM sessionlift_units WHERE unit = 'catalog'")

    def stray(db: sqlite3.Connection) -> None:
        names = [str(row[1]) for row in db.execute("PRAGMA table_info(sessions)")][1:]
        db.execute(f"INSERT INTO sessions SELECT NULL, {', '.join(names)} FROM sessions LIMIT 1")

    assert moved.look(lose).codes == set()
    assert moved.look(lose, in_source=stray).codes == {"catalog_not_in_ledger"}


@pytest.mark.parametrize("key", ["x'41'", "CAST(x'ff41' AS TEXT)", "NULL"])
def test_a_session_under_no_text_is_the_application_s_own(moved: MovedStore, key: str) -> None:
    names = ", ".join(name for name in columns(moved, "sessions") if name != "session_id")
    statement = f"INSERT INTO sessions (session_id, {names}) SELECT {key}, {names} FROM sessions LIMIT 1"
    seen = moved.look(lambda db: db.execute(statement))
    assert not seen.anything
    assert seen.notes["native_session", "sessions"] == 1
    json.dumps(seen.audit.to_message())


def test_a_session_that_was_continued_is_told_of_and_is_no_finding(moved: MovedStore) -> None:
    session, _ = many_messages(moved)
    seen = moved.look(lambda db: say_more(db, session, "one", "two"))
    assert not seen.anything
    (note,) = [note for note in seen.audit.notes if note.code == "continued_in_target"]
    assert (note.count, note.examples) == (1, [{"session_id": session, "messages": 2}])
    assert seen.notes["native_rows", "session_messages"] == 2


def test_messages_of_two_clocks_may_cross_behind_what_was_moved(moved: MovedStore) -> None:
    session, _ = many_messages(moved)

    def both(db: sqlite3.Connection) -> None:
        say_more(db, session, "one", time="2030-01-02 00:00:00")
        say_more(db, session, "two", time="2030-01-01 00:00:00")

    seen = moved.look(both)
    assert not seen.anything
    assert seen.notes["continued_in_target", "sessions"] == 1


def test_what_the_old_program_added_may_stand_after_what_the_new_one_has_written(moved: MovedStore) -> None:
    """As a catch-up lays both sides together that were told to be."""
    session, ids = many_messages(moved)
    rows = moved.query("SELECT * FROM session_messages WHERE id = ?", ids[-1])
    names = columns(moved, "session_messages")

    def lay(db: sqlite3.Connection, kind: str = "catch_up", **changes: Any) -> None:
        db.execute("UPDATE sessionlift_runs SET kind = ?", (kind,))
        db.execute("DELETE FROM session_messages WHERE id = ?", (ids[-1],))
        say_more(db, session, "one")
        last = dict(zip(names, rows[0], strict=True))
        metadata = json.loads(last["metadata"])
        metadata["sessionlift"]["moved_to"] = "2030-01-01 00:00:00.000001"
        last.update(id=None, timestamp="2030-01-01 00:00:00.000001", metadata=json.dumps(metadata), **changes)
        db.execute(f"INSERT INTO session_messages VALUES ({', '.join('?' * len(names))})", tuple(last.values()))

    seen = moved.look(lay)
    assert not seen.anything
    assert seen.notes["continued_in_target", "sessions"] == 1
    assert moved.look(lambda db: lay(db, content="another")).codes == {"changed_in_target"}
    assert moved.look(lambda db: lay(db, kind="migrate")).codes == {"changed_in_target"}


@pytest.mark.parametrize("times", ["as they were", "others"])
def test_a_message_before_those_that_moved_hides_nothing(moved: MovedStore, times: str) -> None:
    session, _ = many_messages(moved)

    def write(db: sqlite3.Connection) -> None:
        db.execute(
            "INSERT INTO session_messages (id, session_id, message_id, role, content, timestamp, metadata) "
            "VALUES (-5, ?, 'x', 'user', 'first of all', '1999-01-01 00:00:00', '{}')",
            (session,),
        )
        if times == "others":
            db.execute(
                "UPDATE session_messages SET timestamp = '2001-01-01 00:00:00' WHERE session_id = ? AND id > 0",
                (session,),
            )

    assert moved.look(write).codes == {"changed_in_target"}


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE session_messages SET content = content || '.' WHERE id = {1}",
        "DELETE FROM session_messages WHERE id = {1}",
        "UPDATE session_messages SET metadata = '{{}}' WHERE id = {1}",
        "UPDATE session_messages SET timestamp = '1990-01-01 00:00:00' WHERE message_id = 'new' AND {0}",
        "UPDATE sessions SET context_data = json_set(context_data, '$.provider_context.status', 'lost') WHERE {0}",
        "UPDATE sessions SET context_data = json_set(context_data, '$.max_messages', 1) WHERE {0}",
        "UPDATE sessions SET user_id = 'other' WHERE {0}",
        "DELETE FROM session_metrics WHERE {0}",
    ],
)
def test_a_change_to_what_was_moved_is_a_finding_though_the_session_was_continued(
    moved: MovedStore, change: str
) -> None:
    session, ids = many_messages(moved)

    def tamper(db: sqlite3.Connection) -> None:
        say_more(db, session, "one")
        db.execute(change.format("session_id = :session", ids[0]), {"session": session})

    seen = moved.look(tamper)
    assert {finding.session_id for finding in seen.audit.findings} == {session}
    assert seen.codes == {"changed_in_target"}
    assert seen.result.differences


@pytest.mark.parametrize(("state", "code"), [("deleted", "deleted_in_target"), ("rolled_back", "rolled_back")])
def test_a_session_that_left_the_target_is_counted_and_must_have_no_rows(
    moved: MovedStore, state: str, code: str
) -> None:
    session, _ = many_messages(moved)

    def leave(db: sqlite3.Connection) -> None:
        for table in ("session_messages", "session_metrics", "sessions"):
            db.execute(f"DELETE FROM {table} WHERE session_id = ?", (session,))
        db.execute("UPDATE sessionlift_units SET state = ? WHERE session_id = ?", (state, session))

    def come_back(db: sqlite3.Connection) -> None:
        leave(db)
        say_more(db, session, "here again")

    seen = moved.look(leave)
    assert not seen.anything
    assert seen.notes[code, "sessions"] == 1
    seen = moved.look(come_back)
    assert [(each.code, each.session_id) for each in seen.audit.findings] == [("came_back", session)]


def test_the_verifier_reads_the_log_beside_the_file_that_a_link_leads_to(tmp_path: Path) -> None:
    for place in ("real", "left", "folder"):
        (tmp_path / place).mkdir()
    with closing(sqlite3.connect(tmp_path / "real" / "v1.db", isolation_level=None)) as live:
        live.execute("PRAGMA journal_mode = WAL")
        live.execute("CREATE TABLE t (a)")
        for end in ("", "-wal"):
            shutil.copy(tmp_path / "real" / f"v1.db{end}", tmp_path / "left" / f"v1.db{end}")
    (tmp_path / "link.db").symlink_to("left/v1.db")
    with closing(sqlite3.connect(copy_of(tmp_path / "link.db", tmp_path / "folder"))) as copy:
        assert copy.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_what_cannot_be_seen_is_said() -> None:
    told = " ".join(CANNOT_SEE)
    for word in ("ids of session_messages", "reason", "when and by which converter", "continued"):
        assert word in told
