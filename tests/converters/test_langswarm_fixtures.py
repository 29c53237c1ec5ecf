"""The stores of the real V1: what its own reader returns is what comes back from V2's rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.support.langswarm_rows import Keep, moved, source, units

from sessionlift.converters import Batch
from sessionlift.converters.langswarm import (
    LangswarmForward,
    LangswarmOptions,
    MessageCells,
    SessionRows,
    backward,
)


@pytest.fixture
def stores(real_stores: Path, tmp_path: Path) -> Path:
    for store in (real_stores / "langswarm").iterdir():
        shutil.copy(store, tmp_path / store.name)
    return tmp_path


def truth(path: Path) -> dict[str, Any]:
    with Path(f"{path}.truth.jsonl").open(encoding="utf-8") as lines:
        return {told["sid"]: told for told in map(json.loads, lines)}


def brought_back(keep: Keep, batches: list[Batch]) -> dict[str, dict[str, Any]]:
    """V1's cells of each session, from its target rows and complement alone."""
    found = {}
    for unit in units(batches):
        own = {table: [row for row in rows if row[0] == unit.session_id] for table, rows in keep.tables.items()}
        if not own["sessions"]:
            continue
        # V2 gives messages by the text of their times
        messages = sorted((MessageCells(*row) for row in own["session_messages"]), key=lambda row: row.timestamp)
        rows = SessionRows(own["sessions"][0], messages, own["session_metrics"][0])
        found[unit.session_id] = backward(rows, unit.complement).cells
    return found


@pytest.mark.parametrize("name", ["v1_small.db", "v1_corrupt.db"])
@pytest.mark.parametrize("timezone", ["UTC", "America/New_York"])
def test_what_v1_reads_is_what_comes_back_row_for_row(stores: Path, name: str, timezone: str) -> None:
    path = stores / name
    before = path.read_bytes()
    back = brought_back(*moved(path, timezone=timezone))
    told = truth(path)
    assert set(back) == {sid for sid, each in told.items() if each["v1_loadable"]}
    with source(path) as opened:
        legacy = {row.key: dict(row.cells) for _, row in opened.walk()}
    for sid, cells in back.items():
        assert cells == legacy[sid], sid
        read = {"metadata": json.loads(cells["metadata"]), "history": json.loads(cells["history"])}
        for part, value in told[sid]["session"].items():
            # by text: NaN is not equal to itself. V1's reader drops keys that it does not know
            if sid != "extra_keys":
                assert json.dumps(read[part]) == json.dumps(value), sid
    assert path.read_bytes() == before
    assert sorted(each.name for each in stores.iterdir() if each.name.startswith(name)) == [name, f"{name}.truth.jsonl"]


def test_a_row_that_v1_cannot_read_lies_in_quarantine_whole(stores: Path) -> None:
    path = stores / "v1_corrupt.db"
    keep, batches = moved(path)
    bad = {sid for sid, told in truth(path).items() if not told["v1_loadable"]}
    put_aside = {row.session_id: row for batch in batches for row in batch.quarantine}
    assert set(put_aside) == bad
    with source(path) as opened:
        for _, row in opened.walk():
            if row.key in bad:
                assert put_aside[row.key].row == dict(row.cells)
    assert {unit.session_id for unit in units(batches) if unit.state == "quarantined"} == bad
    for unit in units(batches):
        aside = sum(1 for batch in batches for row in batch.quarantine if row.session_id == unit.session_id)
        written = unit.written_counts
        assert sum(unit.read_counts.values()) == written.get("sessions", 0) + written.get("session_messages", 0) + aside
    assert len(keep.tables["sessions"]) == len(truth(path)) - len(bad)


def test_salvage_moves_every_readable_message_of_a_broken_history(stores: Path) -> None:
    keep, batches = moved(stores / "v1_corrupt.db", salvage=True)
    counts = {row[0]: 0 for row in keep.tables["sessions"]}
    for row in keep.tables["session_messages"]:
        counts[row[0]] += 1
    states = {unit.session_id: unit.state for unit in units(batches)}
    partial = {sid: counts[sid] for sid, state in states.items() if state == "partial"}
    assert partial == {
        "bad_json_history": 4,
        "bad_role": 3,
        "missing_keys": 2,
        "bad_ts": 2,
        "empty_hist": 0,
        "null_msgs": 0,
        "utf8_raw": 4,
    }
    assert {sid for sid, state in states.items() if state == "quarantined"} == {
        "bad_json_meta",
        "bad_status",
        "bad_control",
    }
    kept = [(row.session_id, row.table, row.row_id) for batch in batches for row in batch.quarantine]
    assert ("bad_role", "session_messages", "1") in kept
    assert all((sid, "history", "history") in kept for sid in partial)


def test_a_dump_and_an_enhanced_store_give_the_same_target_rows(stores: Path) -> None:
    dump, enhanced = moved(stores / "v1_mem.json"), moved(stores / "v1_mem.db.enhanced")
    assert dump[0].tables == enhanced[0].tables
    assert len(dump[0].tables["session_messages"]) == 1000
    assert enhanced[1][0].excluded == {"memory": 350}
    document = json.loads((stores / "v1_mem.json").read_text("utf-8"))
    for session_id, cells in brought_back(*dump).items():
        assert json.loads(cells["metadata"]) == document[session_id]["metadata"]
        assert json.loads(cells["history"]) == document[session_id]["history"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["v1_small.db", "v1_corrupt.db", "v1_mem.json", "v1_mem.db.enhanced"])
@pytest.mark.parametrize("salvage", [False, True])
def test_the_forecast_is_what_then_happens(stores: Path, name: str, salvage: bool) -> None:
    with source(stores / name) as opened:
        converter = LangswarmForward(opened, LangswarmOptions(salvage=salvage))
        inventory = converter.inventory()
        forecast = converter.forecast(inventory)
    keep, batches = moved(stores / name, salvage=salvage)
    read: dict[str, int] = {}
    aside: dict[str, int] = {}
    for batch in batches[1:]:
        for unit in batch.units:
            for table, count in unit.read_counts.items():
                read[table] = read.get(table, 0) + count
        for row in batch.quarantine:
            aside[row.table] = aside.get(row.table, 0) + 1
    assert {table: count for table, count in inventory.rows.items() if count} == read
    assert forecast.quarantined == aside
    assert forecast.derived == {"session_metrics": len(keep.tables["session_metrics"])}
    losses = {(loss.code, loss.table, loss.column): loss.count for loss in forecast.losses}
    assert losses == {
        (loss.code, loss.table, loss.column): sum(
            each.count for batch in batches[1:] for each in batch.losses if each.code == loss.code
        )
        for batch in batches[1:]
        for loss in batch.losses
    }
