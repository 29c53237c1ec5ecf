"""Whole legacy stores, moved by the command and rebuilt into new files, with the old ones taken away."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.support.made import make_moved
from tests.support.moved import snapshot
from tests.support.run_fixtures import Legacy
from tests.support.warm import Warm

from sessionlift.converters import CATALOG, SESSION
from sessionlift.converters.synth import SynthBackward, SynthLegacyRows, SynthPutBack
from sessionlift.generations import detect, schema_upgrade
from sessionlift.ledger import Ledger
from sessionlift.stores import open_store

pytestmark = pytest.mark.slow

TABLES = {
    "session_traces": "rowid",
    "session_timesteps": "id",
    "events": "id",
    "messages": "id",
    "systems": "rowid",
    "system_versions": "rowid",
    "experiments": "rowid",
    "experimental_systems": "rowid",
}
BATCH = 10


def take_all_back(v3: Path, v2: Path) -> None:
    """Rebuild everything that the target holds into an empty legacy store, and compare the digests."""
    rows = SynthLegacyRows()
    with open_store(str(v3), mode="ro", role="source") as target, open_store(str(v2), mode="rw", role="target") as new:
        ledger = Ledger(target)
        with SynthBackward(reserved=ledger.quarantined_ids()) as back:
            catalog = back.catalog(target, ledger.remembered(CATALOG, [""]).get(""))
            rows.write(new, catalog)
            assert rows.digests(new, CATALOG, []) == {"": catalog.units[0].source_digest}
            ids = back.session_ids(target)
            ids += [key for kind, key, state in ledger.unwell() if kind == SESSION and state == "quarantined"]
            for at in range(0, len(ids), BATCH):
                part = ids[at : at + BATCH]
                batch = back.backward(target, part, ledger.remembered(SESSION, part), (new, rows))
                assert not batch.losses
                rows.write(new, batch)
                told = {unit.session_id: unit.source_digest for unit in batch.units}
                assert rows.digests(new, SESSION, part) == told


def columns(store: Path) -> dict[str, list[tuple[Any, ...]]]:
    with duckdb.connect(str(store), read_only=True) as db:
        found = db.execute(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal ORDER BY ALL"
        ).fetchall()
    return {"columns": found}


def contents(store: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row in its order as DuckDB's own text, which tells one value from any other."""
    with duckdb.connect(str(store), read_only=True) as db:
        found = {}
        for table, order in TABLES.items():
            found[table] = db.execute(f"SELECT columns(*)::VARCHAR FROM {table} ORDER BY {order}").fetchall()
    return found


def next_ids(store: Path) -> list[int]:
    """The ids that the old program would draw next."""
    with duckdb.connect(str(store)) as db:
        names = ("timestep_id_seq", "event_id_seq", "message_id_seq")
        return [db.execute(f"SELECT nextval('{name}')").fetchall()[0][0] for name in names]


def there_and_back(sessionlift: Warm, source: Path, folder: Path, *options: str) -> None:
    target, rebuilt = folder / "v3.db", folder / "rebuilt.duckdb"
    made = sessionlift("migrate", source, target, "--no-verify", *options)
    assert made.code in (0, 1), made.err
    expected, shape, dress = contents(source), columns(source), detect(str(source)).dress
    away = folder / "away.duckdb"
    shutil.copy(source, away)
    before = snapshot(target.parent)[target.name]
    schema_upgrade(f"duckdb://{rebuilt}", "synth_v2", dress="final" if dress == "final" else "mid")
    take_all_back(target, rebuilt)
    assert snapshot(target.parent)[target.name] == before, "the target was only to be read"
    found = contents(rebuilt)
    for table, rows in expected.items():
        assert found[table] == rows, table
    ours = [row for row in columns(rebuilt)["columns"] if not row[0].startswith("sessionlift")]
    assert [row for row in shape["columns"] if row[0] in TABLES] == [row for row in ours if row[0] in TABLES]
    assert detect(str(rebuilt)).dress == dress
    for given, old in zip(next_ids(rebuilt), next_ids(away), strict=True):
        assert old <= given <= old + 1, "the sequences stand elsewhere"


def test_what_v2_cannot_hold_lies_in_the_ledger_until_the_next_move(tmp_path: Path) -> None:
    target = tmp_path / "v3.db"
    make_moved(tmp_path / "v2.duckdb", target, sessions=6, traps="all", seed=1)
    with open_store(str(target), mode="rw", role="target") as store, SynthBackward() as back:
        ledger = Ledger(store)
        key = back.session_ids(store)[0]
        store.execute("UPDATE events SET truncated = 1 WHERE session_id = ?", (key,))
        before = ledger.remembered(SESSION, [key])[key].complement
        (unit,) = back.backward(store, [key], ledger.remembered(SESSION, [key])).units
        assert unit.kept["cells"]
        with store.transaction():
            ledger.keep(SESSION, {key: unit.kept})
        assert ledger.remembered(SESSION, [key])[key].complement == {**before, "kept": unit.kept}
        store.execute("UPDATE events SET truncated = NULL WHERE session_id = ?", (key,))
        kept = ledger.remembered(SESSION, [key])[key].complement["kept"]
        with store.transaction():
            assert SynthPutBack().put_back(store, key, kept).done == len(kept["cells"])
            ledger.keep(SESSION, {key: {}})
        assert store.query("SELECT min(truncated) FROM events WHERE session_id = ?", (key,)) == [(1,)]
        assert ledger.remembered(SESSION, [key])[key].complement == before


@pytest.mark.parametrize("dress", ["final", "mid", "mixed"])
def test_a_made_up_store_is_rebuilt_row_for_row(sessionlift: Warm, legacy: Legacy, tmp_path: Path, dress: str) -> None:
    there_and_back(sessionlift, legacy(sessions=24, dress=dress), tmp_path, "--timezone", "America/New_York")
