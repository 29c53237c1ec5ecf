"""A sound report that uses every part of the contract, for tests that then break one thing in it."""

from __future__ import annotations

import pytest

from sessionlift.reports import (
    Backup,
    Digests,
    Environment,
    ErrorLine,
    LedgerUse,
    Loss,
    Report,
    SourceFact,
    StoreInfo,
    TableCounts,
    Throughput,
    Verification,
)


@pytest.fixture
def sound() -> Report:
    report = Report(
        kind="migrate",
        run_id="run-1",
        started_at="2026-01-02T03:04:05.000000+00:00",
        source=StoreInfo(
            url="duckdb:///data/old.duckdb",
            system="synth",
            generation="synth.v2",
            engine="duckdb",
            dress="final",
            size_bytes=3_420_160,
            sha256="a" * 64,
        ),
        target=StoreInfo(url="libsql:///data/new.db", system="synth", generation="synth.v3", engine="libsql"),
        options={"timezone": "UTC", "on_error": "quarantine", "only": []},
        assumptions=["times are in UTC: the source's carry no zone"],
        total_sessions=20,
        migrated_sessions=16,
        skipped_sessions=3,
        failed_sessions=1,
        errors=[
            ErrorLine(session_id="s-7", error="no such time", code="bad_time", table="session_traces", row="s-7"),
            ErrorLine(session_id="s-8", error="not JSON", code="bad_json", table="events", row="12"),
        ],
        tables={
            "session_traces": TableCounts(read=17, written=16, quarantined=1),
            "events": TableCounts(read=12_126, written=12_124, quarantined=1, excluded=1),
            "event_rewards": TableCounts(derived=300),
        },
        losses=[
            Loss(
                code="cost_fraction",
                table="events",
                column="cost",
                count=2,
                meaning="The cost is not a whole number of cents.",
                original_kept_in="events.metadata",
                examples=[{"session_id": "s-1", "value": 0.0123}, {"session_id": "s-2", "value": None}],
            ),
            Loss(code="cost_fraction", table="events", count=1, meaning="m", original_kept_in="complement"),
        ],
        source_facts=[
            SourceFact(code="counter_differs", table="session_traces", count=4, meaning="A save broke off."),
            SourceFact(code="no_marker", count=1, meaning="The store does not name its version.", examples=[1]),
        ],
        verification=Verification(
            status="passed",
            checked_sessions=16,
            checked_rows=12_440,
            checked_values=221_000,
            method="every value is computed again",
            cannot_see=["what was wrong in the source already"],
        ),
        throughput=Throughput.measured(
            sessions=16,
            rows=12_440,
            bytes=5_000_000,
            seconds=1.2345,
            peak_memory_mb={"main": 120.25, "reader": 80},
        ),
        environment=Environment(
            python="3.11.7 (CPython)",
            platform="Linux",
            packages={"duckdb": "1.5.0"},
            fidelity={"classes": {"int64": "exact", "nan": "changed: NULL"}},
        ),
        digests=Digests(path="run-1.digests.jsonl", sha256="b" * 64, algorithm="blake2b-256", sessions=16),
        ledger=LedgerUse(tables=["sessionlift_runs", "sessionlift_units"], rows=22),
        backups=[
            Backup(
                store="libsql:///data/new.db",
                state="earlier",
                path="/data/new.db.backups/new.db-20260101T000000Z-0a.backup",
                taken_at="2026-01-01T00:00:00.000000+00:00",
                bytes=4_096,
                digest="d" * 64,
                reason="taken by run-0, which did not come to its end",
            ),
            Backup(store="libsql+http://h:1", state="not_taken", reason="its files are the server's own"),
        ],
    )
    report.finish(at="2026-01-02T03:04:06.500000+00:00")
    return report
