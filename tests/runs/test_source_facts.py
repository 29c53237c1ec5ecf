"""What is wrong in a source itself, and moves as it is, stands in the report among the facts of the source."""

from __future__ import annotations

from pathlib import Path

import duckdb
from tests.support.made import make_synth_v2
from tests.support.moved import query

from sessionlift.runs import TransferOptions, migrate

COUNTERS = """
SELECT session_id, num_events, (SELECT count(*) FROM events e WHERE e.session_id = s.session_id),
    num_messages, (SELECT count(*) FROM messages m WHERE m.session_id = s.session_id)
FROM session_traces s ORDER BY 1
"""


def test_counters_that_disagree_with_their_rows_are_told_with_the_session(tmp_path: Path) -> None:
    source, target = tmp_path / "v2.duckdb", tmp_path / "v3.db"
    make_synth_v2(source, sessions=6, traps="all")
    with duckdb.connect(str(source), read_only=True) as store:
        before = store.execute(COUNTERS).fetchall()
    ((lossy, *counted),) = [row for row in before if row[1] != row[2] or row[3] != row[4]]
    report = migrate(str(source), str(target), TransferOptions(), verify=False).report
    (fact,) = [fact for fact in report.source_facts if fact.code == "recorded_counts_differ"]
    assert (fact.table, fact.count, len(fact.examples)) == ("session_traces", 1, 1)
    (example,) = fact.examples
    assert example["session_id"] == lossy
    told = [example["detail"][table][which] for table in ("events", "messages") for which in ("recorded", "rows")]
    assert told == counted
    assert query(target, COUNTERS) == before, "nothing was repaired"
