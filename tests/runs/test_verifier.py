"""No change in the target may go unseen: one value at a time, in every column of every table that a move fills."""

from __future__ import annotations

import math
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.laws import TORTURE
from tests.support.made import make_synth_v2

from sessionlift.runs import TransferOptions, migrate
from sessionlift.runs.verifier import CANNOT_SEE, Comparison, SynthVerifier, open_reader
from sessionlift.stores import DuckdbStore, parse_store_url

pytestmark = pytest.mark.slow

SESSION_TABLES = ("session_traces", "session_timesteps", "events", "messages", "event_rewards", "outcome_rewards")
CATALOG_TABLES = ("systems", "system_versions", "experiments", "experimental_systems")
TABLES = (*SESSION_TABLES, *CATALOG_TABLES)
KEYS = {
    "session_traces": "session_id",
    "systems": "system_id",
    "system_versions": "version_id",
    "experiments": "experiment_id",
}
# numbered by the target itself, and in CANNOT_SEE
UNSEEN = {("outcome_rewards", "id"), ("experimental_systems", "id")}
Tamper = Callable[[sqlite3.Connection], object]


@dataclass
class Moved:
    """A small store with traps, moved once. ``check`` looks at a copy of the target after ``tamper`` changed it."""

    source: DuckdbStore
    target: Path
    ids: list[str]
    folder: Path
    zone: str
    copies: int = 0

    def check(self, tamper: Tamper, only: list[str] | None = None) -> Comparison:
        """Compare everything, or ``only`` these sessions: without any, the catalog."""
        self.copies += 1
        copy = self.folder / f"tampered-{self.copies}.db"
        shutil.copy(self.target, copy)
        with closing(sqlite3.connect(copy)) as connection:
            # what a hand with a grudge would do
            connection.execute("PRAGMA ignore_check_constraints = ON")
            connection.execute("PRAGMA foreign_keys = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            tamper(connection)
            connection.commit()
        reader = open_reader(parse_store_url(str(copy)))
        try:
            verifier = SynthVerifier(self.source.connection, reader, zone=self.zone, message_types={}, event_types={})
            if not only:
                verifier.check_catalog()
            verifier.check(self.ids if only is None else only)
            return verifier.result
        finally:
            reader.close()
            copy.unlink()

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.target}?mode=ro", uri=True)) as connection:
            return connection.execute(sql).fetchall()

    def columns(self, table: str) -> list[tuple[str, str, bool]]:
        """(name, declared type, may be NULL) of each column."""
        return [(row[1], row[2].upper(), not row[3]) for row in self.query(f"PRAGMA table_info({table})")]


@pytest.fixture(
    scope="module",
    params=[
        ("mixed", "America/New_York"),
        *([pytest.param(("final", "UTC"), marks=pytest.mark.torture)] if TORTURE else []),
    ],
    ids="-".join,
)
def moved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moved]:
    dress, zone = request.param
    folder = tmp_path_factory.mktemp("moved")
    legacy, target = folder / "legacy.duckdb", folder / "v3.db"
    make_synth_v2(legacy, sessions=12, seed=5, dress=dress, traps="all")
    result = migrate(str(legacy), str(target), TransferOptions(timezone=zone, timezone_given=True))
    assert result.report.verification.status == "passed"
    with DuckdbStore(parse_store_url(str(legacy)), threads=1) as source:
        ids = [str(row[0]) for row in source.query("SELECT session_id FROM session_traces ORDER BY rowid")]
        yield Moved(source, target, ids, folder, zone)


def untouched(connection: sqlite3.Connection) -> None:
    """Change nothing."""


def key_of(table: str) -> str:
    return KEYS.get(table, "id")


def nudged(value: Any, kind: str) -> Any:
    """The value that is as near to ``value`` as its column can hold, and another one."""
    if value is None:
        return 0 if kind in ("INTEGER", "FLOAT", "BOOLEAN") else "null"
    if isinstance(value, float):
        return math.nextafter(value, math.inf)
    if isinstance(value, int):
        return value + 1
    if len(value) == 32 and value.endswith("+00:00"):
        micros = int(value[20:26])
        return f"{value[:20]}{micros ^ 1:06d}{value[26:]}"
    return value + " "


def rows_with(moved: Moved, table: str, column: str) -> Iterator[tuple[Any, Any]]:
    """(rowid, value) of one row with a value in ``column``, and of one without."""
    for condition in ("IS NOT NULL", "IS NULL"):
        yield from moved.query(
            f'SELECT rowid, "{column}" FROM {table} WHERE "{column}" {condition} ORDER BY rowid DESC LIMIT 1'
        )


def named(result: Comparison, table: str, row: str, column: str, session: str | None) -> bool:
    """True where a difference names the very place."""
    return any(
        each.table == table and each.row == row and each.column == column and each.session_id == session
        for each in result.differences
    )


def test_an_untouched_target_has_no_difference(moved: Moved) -> None:
    result = moved.check(untouched)
    assert result.differences == []
    assert result.sessions == len(moved.ids)
    counted = sum(moved.query(f"SELECT count(*) FROM {table}")[0][0] for table in SESSION_TABLES)
    catalog = sum(moved.query(f"SELECT count(*) FROM {table}")[0][0] for table in CATALOG_TABLES)
    assert result.rows == counted + catalog


@pytest.mark.parametrize("table", TABLES)
def test_one_changed_value_is_named_by_its_place(moved: Moved, table: str) -> None:
    unseen = []
    for column, kind, may_be_null in moved.columns(table):
        if (table, column) in UNSEEN:
            continue
        for rowid, value in rows_with(moved, table, column):
            other = nudged(value, kind)
            changes = [other] if value is None or not may_be_null else [other, None]
            if isinstance(value, str):
                changes.append(value.encode("utf-8", "surrogatepass"))
            for change in changes:
                if not seen(moved, table, column, rowid, change):
                    unseen.append((column, rowid, value, change))
    assert not unseen, f"changed in {table} and not named: {unseen}"


def seen(moved: Moved, table: str, column: str, rowid: int, change: Any) -> bool:
    """Change one value; is its row (and, but for keys, its column) named?"""
    key = key_of(table)
    old = moved.query(f"SELECT * FROM {table} WHERE rowid = {int(rowid)}")[0]
    names = [name for name, _, _ in moved.columns(table)]
    was = dict(zip(names, old, strict=True))
    try:
        # each of very many: no more is compared than what it is in
        result = moved.check(
            lambda db: db.execute(f'UPDATE {table} SET "{column}" = ? WHERE rowid = ?', (change, rowid)),
            [str(was["session_id"])] if was.get("session_id") else [],
        )
    except sqlite3.IntegrityError:
        return True  # SQLite itself keeps such a value out
    row, session = str(was[key]), was.get("session_id")
    if table in CATALOG_TABLES:
        session = None
    if table == "experimental_systems":
        row = f"{was['experiment_id']}/{was['system_id']}"
    if table == "outcome_rewards":
        row = str(session)
    if column in (key, "session_id") or (table == "experimental_systems" and column != "version_id"):
        # a row that has another key is missing under its own
        return any(each.table == table and each.row == row for each in result.differences)
    return named(result, table, row, column, session)


@pytest.mark.parametrize("table", TABLES)
def test_a_deleted_row_is_missed(moved: Moved, table: str) -> None:
    for order in ("ASC", "DESC"):
        rowid = moved.query(f"SELECT rowid FROM {table} ORDER BY rowid {order} LIMIT 1")[0][0]
        result = moved.check(lambda db, rowid=rowid: db.execute(f"DELETE FROM {table} WHERE rowid = ?", (rowid,)))  # type: ignore[misc]
        assert any(each.table == table and each.found is None for each in result.differences), order


@pytest.mark.parametrize("table", ["session_timesteps", "events", "messages", "event_rewards", "outcome_rewards"])
@pytest.mark.parametrize("place", ["after all", "in between"])
def test_an_added_row_is_told(moved: Moved, table: str, place: str) -> None:
    """Also far beyond the ids that the source has, and in a session of its own that was moved."""
    names = [name for name, _, _ in moved.columns(table) if name not in ("id", "step_id")]
    step = ", step_id" if table == "session_timesteps" else ""
    columns = ", ".join(f'"{name}"' for name in names)

    def add(db: sqlite3.Connection) -> None:
        new = 10**12
        if place == "in between":
            new = -1
        db.execute(
            f"INSERT INTO {table} (id, {columns}{step}) SELECT ?, {columns}{', step_id || 1' if step else ''} "
            f"FROM {table} ORDER BY id LIMIT 1",
            (new,),
        )

    result = moved.check(add)
    assert [each.table for each in result.differences] == [table]
    assert result.differences[0].found is not None


@pytest.mark.parametrize("table", ["session_timesteps", "events", "messages", "event_rewards"])
def test_rows_of_two_sessions_that_changed_places_are_told(moved: Moved, table: str) -> None:
    same_step = "AND step_id = 'turn_0'" if table == "session_timesteps" else ""
    first, last = moved.query(
        f"SELECT min(id), max(id) FROM {table} WHERE session_id IN "
        f"(SELECT min(session_id) FROM {table} UNION SELECT max(session_id) FROM {table}) {same_step}"
    )[0]
    owners = dict(moved.query(f"SELECT id, session_id FROM {table} WHERE id IN ({first}, {last})"))

    def swap(db: sqlite3.Connection) -> None:
        for row, owner in ((first, "nobody"), (last, owners[first]), (first, owners[last])):
            db.execute(f"UPDATE {table} SET session_id = ? WHERE id = ?", (owner, row))

    result = moved.check(swap)
    assert named(result, table, str(first), "session_id", owners[first])
    assert named(result, table, str(last), "session_id", owners[last])


@pytest.mark.parametrize("table", ["session_timesteps", "events", "messages"])
def test_rows_of_one_session_whose_ids_changed_places_are_told(moved: Moved, table: str) -> None:
    session = moved.query(f"SELECT session_id FROM {table} GROUP BY 1 HAVING count(*) > 3 LIMIT 1")[0][0]
    first, second = [
        row[0] for row in moved.query(f"SELECT id FROM {table} WHERE session_id = '{session}' ORDER BY id LIMIT 2")
    ]

    def swap(db: sqlite3.Connection) -> None:
        for old, new in ((first, -1), (second, first), (-1, second)):
            db.execute(f"UPDATE {table} SET id = ? WHERE id = ?", (new, old))

    result = moved.check(swap)
    assert {each.row for each in result.differences if each.table == table} >= {str(first), str(second)}


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("session_traces", "metadata"),
        ("session_timesteps", "step_metadata"),
        ("events", "metadata"),
        ("events", "system_state_after"),
        ("messages", "metadata"),
        ("messages", "content"),
        ("outcome_rewards", "reward_metadata"),
        ("system_versions", "metadata"),
    ],
)
@pytest.mark.parametrize("change", [('": ', '":'), ("0", "0.0"), ("{", "{ ")])
def test_another_spelling_of_the_same_json_is_told(
    moved: Moved, table: str, column: str, change: tuple[str, str]
) -> None:
    old, new = change
    found = moved.query(f"SELECT rowid FROM {table} WHERE instr({column}, '{old}') > 0 ORDER BY rowid LIMIT 1")
    if not found:
        pytest.skip(f"no {column} of {table} has {old!r}")
    rowid = found[0][0]
    result = moved.check(
        lambda db: db.execute(
            f"UPDATE {table} SET {column} = replace({column}, ?, ?) WHERE rowid = ?", (old, new, rowid)
        )
    )
    assert [(each.table, each.column) for each in result.differences] == [(table, column)]


def test_a_key_added_to_what_we_tell_of_a_message_is_told(moved: Moved) -> None:
    row = moved.query("SELECT id FROM messages WHERE metadata IS NOT NULL LIMIT 1")[0][0]
    result = moved.check(
        lambda db: db.execute(
            "UPDATE messages SET metadata = replace(metadata, '{\"sessionlift\": {', "
            '\'{"sessionlift": {"more": 1, \') WHERE id = ?',
            (row,),
        )
    )
    assert [(each.row, each.column) for each in result.differences] == [(str(row), "metadata")]


def test_text_that_only_looks_like_json_null_is_not_taken_for_it(moved: Moved) -> None:
    """NULL and 'null', '{}' and NULL, in either direction."""
    for table, column, here, there in (
        ("events", "system_state_before", None, "null"),
        ("session_timesteps", "step_metadata", "{}", "null"),
        ("session_timesteps", "step_metadata", "{}", None),
    ):
        condition = "IS NULL" if here is None else f"= '{here}'"
        row = moved.query(f"SELECT id FROM {table} WHERE {column} {condition} LIMIT 1")[0][0]
        result = moved.check(
            lambda db, table=table, column=column, there=there, row=row: db.execute(  # type: ignore[misc]
                f"UPDATE {table} SET {column} = ? WHERE id = ?", (there, row)
            )
        )
        assert [(each.table, each.row, each.column) for each in result.differences] == [(table, str(row), column)]


def test_what_follows_a_nul_is_compared_too(moved: Moved) -> None:
    row, content = moved.query("SELECT id, content FROM messages WHERE instr(content, char(0)) > 0 LIMIT 1")[0]
    for changed in (content + "x", content[: content.index("\0") + 1], content[: content.index("\0")]):
        if changed == content:
            continue
        result = moved.check(
            lambda db, changed=changed: db.execute(  # type: ignore[misc]
                "UPDATE messages SET content = ? WHERE id = ?", (changed, row)
            )
        )
        assert [(each.row, each.column) for each in result.differences] == [(str(row), "content")]


def test_a_quarantined_row_that_is_there_after_all_is_told(moved: Moved) -> None:
    """Nothing is left out of the comparison because the quarantine names something like it."""
    row, session = moved.query("SELECT id, session_id FROM events LIMIT 1")[0]

    def hide(db: sqlite3.Connection) -> None:
        run = db.execute("SELECT run_id FROM sessionlift_runs").fetchone()[0]
        db.execute(
            "INSERT INTO sessionlift_quarantine (run_id, unit, session_id, table_name, row_id, code, reason, row) "
            "VALUES (?, 'session', ?, 'events', ?, 'made_up', 'made up', '{}')",
            (run, session, str(row)),
        )

    result = moved.check(hide)
    assert any(each.table == "events" and each.row == str(row) for each in result.differences)


def test_many_differences_are_counted_beyond_those_that_are_kept(moved: Moved) -> None:
    result = moved.check(lambda db: db.execute("UPDATE messages SET content = content || 'x'"))
    assert len(result.differences) == 100
    assert len(result.differences) + result.more == moved.query("SELECT count(*) FROM messages")[0][0]


def test_what_cannot_be_seen_is_said() -> None:
    told = " ".join(CANNOT_SEE)
    for table, _ in UNSEEN:
        assert table in told


def test_sessions_are_compared_alike_in_any_order_and_number(moved: Moved) -> None:
    """Ids of a batch need not lie together: sessions in other batches stand between them."""
    whole = moved.check(untouched)
    reader = open_reader(parse_store_url(str(moved.target)))
    verifier = SynthVerifier(moved.source.connection, reader, zone=moved.zone, message_types={}, event_types={})
    verifier.check_catalog()
    verifier.check(moved.ids[::2])
    verifier.check(moved.ids[1::2][::-1])
    reader.close()
    assert verifier.result.differences == []
    assert (verifier.result.rows, verifier.result.values) == (whole.rows, whole.values)


@pytest.mark.fixtures
@pytest.mark.parametrize("name", ["small", "small_mid", "partial", "w_1.0.0", "w_2.0.0", "crash_1.1.3", "crash_1.5.6"])
def test_a_moved_real_store_has_no_difference(real_stores: Path, tmp_path: Path, name: str) -> None:
    from sessionlift.errors import StoreTooNewError
    from sessionlift.runs import verify

    source = tmp_path / f"{name}.duckdb"
    for suffix in ("", ".wal"):
        original = real_stores / "synth" / f"{name}.duckdb{suffix}"
        if original.exists():
            shutil.copy(original, f"{source}{suffix}")
    try:
        moved = migrate(str(source), str(tmp_path / "v3.db"), TransferOptions(), verify=False)
    except StoreTooNewError as error:
        pytest.skip(f"the installed DuckDB cannot read it: {error.what}")
    for result in (
        verify(str(source), str(tmp_path / "v3.db")),
        verify(None, None, report_file=moved.path),
    ):
        assert result.report.errors == []
        assert result.report.verification.status == "passed"
