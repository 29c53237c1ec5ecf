"""The ledger tells runs in the order in which they began, and of none that it ended before it began."""

from __future__ import annotations

from pathlib import Path

from sessionlift.generations import prepare_target
from sessionlift.ledger import Ledger
from sessionlift.stores import open_store, parse_store_url


def test_a_clock_that_was_set_back_does_not_change_the_order_of_runs(tmp_path: Path) -> None:
    where = parse_store_url(f"libsql://{tmp_path}/v2.db")
    prepare_target(where, "langswarm.v2")
    with open_store(where, mode="rw", role="target") as store:
        ledger = Ledger(store)
        for run_id, year in (("b-first", 2030), ("a-second", 2020)):
            ledger.start_run(
                run_id, kind="migrate", tool="t", source="s", generations=("langswarm.v1", "langswarm.v2"), options={},
                started_at=f"{year}-01-01T00:00:00.000000+00:00",
            )  # fmt: skip
        ledger.finish_run("b-first", status="completed", finished_at="2020-01-01T00:00:01.000000+00:00", summary={})
        runs = ledger.runs()
    assert [run.run_id for run in runs] == ["b-first", "a-second"]
    assert runs[0].finished_at == "2030-01-01T00:00:00.000000+00:00"
