"""The ledger of earlier builds has its large tables by session, that of today as sessions came: both hold the same."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.made import make_moved
from tests.support.moved import change, query

from sessionlift._demo import make_langswarm_v1
from sessionlift.errors import GenerationError, SessionliftError
from sessionlift.generations import schema_current, schema_downgrade, schema_upgrade, schema_verify
from sessionlift.runs import (
    RollbackOptions,
    SessionMover,
    TransferOptions,
    catch_up,
    downgrade_schema,
    migrate,
    rollback,
    status,
    verify,
)

pytestmark = pytest.mark.slow
TABLES = ("sessionlift_units", "sessionlift_complement")
# no lone surrogates, which the driver refuses
texts = st.text(st.characters(codec="utf-8"), max_size=12)
values = st.one_of(
    st.none(), texts, st.binary(max_size=8), st.floats(allow_nan=False), st.integers(-(2**63), 2**63 - 1)
)
states = st.sampled_from(["moved", "partial", "quarantined", "deleted", "rolled_back"])


def held(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Both tables' rows with the type of each value, by their keys."""
    found = {}
    for table in TABLES:
        columns = [name for (name,) in query(path, f"SELECT name FROM pragma_table_info('{table}')")]
        spelled = ", ".join(f"typeof({name}), quote({name})" for name in columns)
        found[table] = query(path, f"SELECT {spelled} FROM {table} ORDER BY unit, session_id")
    return found


def by_session(path: Path) -> list[bool]:
    return [
        "WITHOUT ROWID" in str(sql)
        for (sql,) in query(path, "SELECT sql FROM sqlite_master WHERE name IN (?, ?)", *TABLES)
    ]


@given(rows=st.dictionaries(texts, st.tuples(states, st.lists(values, min_size=7, max_size=7)), max_size=6))
@settings(max_examples=25, deadline=None)
def test_what_an_earlier_ledger_holds_goes_up_down_and_up_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, rows: dict[str, tuple[str, list[object]]]
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "t.db"
    schema_upgrade(str(path), "ledger_1")
    with closing(sqlite3.connect(path)) as db, db:
        for session, (state, (first, *rest)) in rows.items():
            db.execute(
                "INSERT INTO sessionlift_units VALUES ('session', ?, 'run', ?, ?, ?, ?, ?, ?, ?)",
                (session, *rest, state),
            )
            if first is not None:
                db.execute("INSERT INTO sessionlift_complement VALUES ('session', ?, ?)", (session, first))
    before = held(path)
    assert (len(before["sessionlift_units"]), by_session(path)) == (len(rows), [True, True])

    for revision, lead, form in (
        ("ledger_2", schema_upgrade, False),
        ("ledger_1", schema_downgrade, True),
        ("ledger_2", schema_upgrade, False),
    ):
        assert lead(str(path), revision) == [revision]
        assert schema_verify(str(path)) == [revision]
        assert (held(path), by_session(path)) == (before, [form, form])
        assert query(path, "SELECT count(*) FROM sqlite_master WHERE name LIKE '%aside%'") == [(0,)]


@pytest.mark.parametrize(("there", "asked"), [("ledger_1", "ledger_2"), ("ledger_2", "ledger_1")])
def test_a_ledger_that_somebody_has_changed_is_left_as_it_is(tmp_path: Path, there: str, asked: str) -> None:
    path = tmp_path / "t.db"
    schema_upgrade(str(path), there)
    change(path, "ALTER TABLE sessionlift_units ADD COLUMN more TEXT")
    change(path, "INSERT INTO sessionlift_units (unit, session_id, run_id, state, more) VALUES (?, ?, ?, ?, ?)",
           "session", "a", "r", "moved", "kept")  # fmt: skip
    content = path.read_bytes()
    lead: Callable[[str, str], object] = schema_upgrade if asked == "ledger_2" else schema_downgrade

    with pytest.raises(GenerationError, match="column more: unexpected"):
        lead(str(path), asked)

    assert (schema_current(str(path)), query(path, "SELECT more FROM sessionlift_units")) == ([there], [("kept",)])
    assert path.read_bytes() == content


def test_a_broken_view_of_the_users_is_in_nobodys_way(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    schema_upgrade(str(path), "ledger_1")
    change(path, "CREATE VIEW odd AS SELECT * FROM nowhere")
    assert schema_upgrade(str(path), "ledger_2") == ["ledger_2"]


@pytest.mark.parametrize("asked", ["ledger_1", "ledger_2", "ledger"])
def test_a_ledger_of_today_that_has_lost_its_stamp_is_taken_as_it_is(tmp_path: Path, asked: str) -> None:
    path = tmp_path / "t.db"
    assert schema_upgrade(str(path), "ledger") == ["ledger_2"]
    change(
        path, "INSERT INTO sessionlift_units (unit, session_id, run_id, state) VALUES ('session', 'a', 'r', 'moved')"
    )
    change(path, "INSERT INTO sessionlift_complement VALUES ('session', 'a', '{}')")
    before = held(path)
    change(path, "DROP TABLE sessionlift_version")
    (stamp,) = schema_upgrade(str(path), asked)
    assert stamp == ("ledger_1" if asked == "ledger_1" else "ledger_2")
    assert schema_verify(str(path)) == [stamp]
    assert held(path) == before


def test_an_index_of_the_users_stays(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    schema_upgrade(str(path), "ledger_1")
    change(path, "CREATE INDEX mine ON sessionlift_units (moved_at) WHERE moved_at IS NOT NULL")
    change(path, "CREATE INDEX yours ON sessionlift_complement (length(data))")
    made = "SELECT name, sql FROM sqlite_master WHERE name IN ('mine', 'yours') ORDER BY name"
    before = query(path, made)
    schema_upgrade(str(path), "ledger_2")
    assert (query(path, made), schema_verify(str(path))) == (before, ["ledger_2"])
    schema_downgrade(str(path), "ledger_1")
    assert (query(path, made), schema_verify(str(path))) == (before, ["ledger_1"])


def test_a_changed_ledger_that_nobody_needs_goes_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    schema_upgrade(str(path), "ledger_2")
    change(path, "ALTER TABLE sessionlift_units ADD COLUMN more TEXT")
    assert schema_downgrade(str(path), "base") == []


@pytest.fixture
def earlier(tmp_path: Path) -> tuple[Path, Path]:
    """A store and its target as an earlier build has left it."""
    source, target = tmp_path / "old.duckdb", tmp_path / "new.db"
    make_moved(source, target, sessions=5, seed=3)
    schema_downgrade(str(target), "ledger_1")
    assert schema_verify(str(target)) == ["ledger_1", "synth_v3"]
    return source, target


def test_the_next_run_leads_the_ledger_of_an_earlier_build_up_and_finds_nothing_new(
    earlier: tuple[Path, Path],
) -> None:
    source, target = earlier
    before = held(target)
    report = migrate(str(source), str(target), TransferOptions()).report
    assert (report.migrated_sessions, report.skipped_sessions, report.errors) == (0, 5, [])
    (copy,) = report.backups
    assert copy.state == "taken", "it was changed"
    assert schema_current(f"{copy.path}/store.db") == ["ledger_1", "synth_v3"]
    assert schema_verify(str(target)) == ["ledger_2", "synth_v3"]
    assert held(target) == before


@pytest.mark.parametrize("lost", ["DROP TABLE sessionlift_version", "DELETE FROM sessionlift_version"])
def test_an_earlier_ledger_without_a_stamp_is_copied_before_it_is_led_up(tmp_path: Path, lost: str) -> None:
    source, target = tmp_path / "old.db", tmp_path / "new.db"
    make_moved(source, target, make=make_langswarm_v1, sessions=3)
    schema_downgrade(str(target), "ledger_1")
    change(target, lost)
    (copy,) = migrate(str(source), str(target), TransferOptions()).report.backups
    assert schema_verify(str(target)) == ["langswarm_v2", "ledger_2"]
    assert by_session(Path(f"{copy.path}/store.db")) == [True, True]


def test_who_is_refused_leaves_an_earlier_ledger_as_it_is(earlier: tuple[Path, Path]) -> None:
    source, target = earlier
    content = target.read_bytes()
    zone = TransferOptions(timezone="Europe/Berlin", timezone_given=True)
    with pytest.raises(SessionliftError, match="Europe/Berlin"):
        catch_up(str(source), str(target), zone)
    with pytest.raises(SessionliftError, match="Europe/Berlin"), SessionMover(str(source), str(target), zone):
        pass
    assert target.read_bytes() == content


def test_an_earlier_ledger_is_read_and_written_as_it_is_by_all_that_makes_no_target(
    earlier: tuple[Path, Path], tmp_path: Path
) -> None:
    source, target = earlier
    assert verify(str(source), str(target)).report.verification.differences == []
    assert status(str(target)).sessions["moved"] == 5
    taken = rollback(str(target), RollbackOptions(everything=True))
    assert taken.report.errors == []
    assert schema_verify(str(target)) == ["ledger_1", "synth_v3"]
    assert downgrade_schema(str(target), "base") == []
