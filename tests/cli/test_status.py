"""``sessionlift status``: what the ledger says, without a change to the target."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.support.made import make_moved
from tests.support.moved import change, query, snapshot
from tests.support.run_fixtures import Legacy
from tests.support.warm import Warm

from sessionlift._demo import make_langswarm_v1


@pytest.mark.slow
def test_sessions_runs_and_quarantine(sessionlift: Warm, legacy: Legacy, target: Path) -> None:
    source = legacy(sessions=8, traps="all")
    assert sessionlift("migrate", source, target, "--json").code == 1
    before = snapshot(target.parent)
    found = json.loads(sessionlift("status", target, "--json").out)
    assert found["sessions"] == {"moved": 8}
    assert found["quarantined_rows"] > 0
    assert [run["status"] for run in found["runs"]] == ["completed_with_findings"]
    text = sessionlift("status", target)
    assert text.code == 0
    assert "8 sessions moved" in text.out
    assert snapshot(target.parent) == before


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_run_that_was_killed_is_told(sessionlift: Warm, legacy: Legacy, target: Path) -> None:
    source = legacy(sessions=8, traps="usual")
    calm = sessionlift("migrate", source, target.with_name("calm.db"), limits={"max_rows": 80})
    last = max(i for i, what in enumerate(calm.boundaries, 1) if what.startswith("DETACH"))
    assert sessionlift("migrate", source, target, at=last, limits={"max_rows": 80}).code == -9
    told = sessionlift("status", target)
    assert told.code == 0
    assert "never came to its end; run the same command again" in told.out
    assert sessionlift("migrate", source, target, "--quiet").code == 0
    assert "never came to its end; a later run has gone on from there" in sessionlift("status", target).out


def test_a_store_without_a_ledger(sessionlift: Warm, legacy: Legacy, target: Path, tmp_path: Path) -> None:
    outcome = sessionlift("status", legacy(sessions=4))
    assert outcome.code == 4
    assert "no ledger: nothing was moved into it" in outcome.err
    for missing in (target, tmp_path / "nowhere" / "v3.db"):
        outcome = sessionlift("status", missing)
        assert (outcome.code, "Error [store_not_found]" in outcome.err) == (4, True)
    assert list(target.parent.iterdir()) == []


@pytest.mark.slow
def test_sessions_of_the_applications_own_and_those_taken_back_are_told(sessionlift: Warm, tmp_path: Path) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    make_moved(old, new, make=make_langswarm_v1, sessions=3)
    assert sessionlift("rollback", new, "--all", "--quiet").code == 0
    change(new, "INSERT INTO sessions (session_id, user_id, provider, model, backend, context_data) "
                "VALUES ('own', 'u', 'p', 'm', 'b', '{}')")  # fmt: skip
    told = sessionlift("status", new)
    assert "3 sessions rolled back: they live in the legacy store" in told.out
    assert "1 sessions that the application began in here" in told.out
    assert json.loads(sessionlift("status", new, "--json").out)["native"] == 1
    # and it cannot be read by the application either, which the way back says in words
    refused = sessionlift("rollback", new, "--all")
    assert refused.code == 1
    assert "its context_data lacks 'user_id'" in " ".join(refused.out.split())


def test_a_rollback_of_the_legacy_store_is_told_what_to_name(sessionlift: Warm, tmp_path: Path) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    make_moved(old, new, make=make_langswarm_v1, sessions=3)
    refused = sessionlift("rollback", old, "--all")
    assert refused.code == 4
    assert "taken back into it, not out of it" in refused.err
    assert "name the new store" in refused.err
    # a place that is not there is refused before anything is copied
    refused = sessionlift("rollback", new, "--all", "--to", tmp_path / "nowhere" / "back.db")
    assert refused.code == 3
    assert "there is no directory" in refused.err
    assert not (tmp_path / "new.db.backups").exists()
    assert len(json.loads(sessionlift("status", new, "--json").out)["runs"]) == 1


@pytest.mark.slow
def test_a_ledger_that_was_left_alone_is_told_of(sessionlift: Warm, tmp_path: Path) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    make_moved(old, new, make=make_langswarm_v1, sessions=3)
    assert sessionlift("rollback", new, "--all", "--quiet").code == 0
    assert sessionlift("schema", "downgrade", new, "langswarm.v2@base").code == 0
    told = sessionlift("status", new, old)
    assert told.code == 0, told.err
    assert "the ledger alone" in told.out
    assert "3 sessions rolled back" in told.out


def test_a_dry_run_shows_first_what_needs_a_look(sessionlift: Warm, tmp_path: Path) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    make_moved(old, new, make=make_langswarm_v1, sessions=60)
    ids = [key for (key,) in query(new, "SELECT session_id FROM sessions ORDER BY rowid")]
    change(old, "UPDATE sessions SET metadata = replace(metadata, 'active', 'archived') WHERE session_id = ?", ids[-1])
    change(new, "UPDATE sessions SET model = 'm' WHERE session_id = ?", ids[-2])
    change(new, "DELETE FROM sessions WHERE session_id = ?", ids[-3])
    lines = sessionlift("rollback", new, "--all", "--dry-run").out.splitlines()
    assert lines[0].startswith(f"{ids[-1]!r}: CONFLICT")
    assert {line.split(":")[0] for line in lines[1:3]} == {repr(ids[-2]), repr(ids[-3])}
    assert lines[50] == "... and 10 more; --json has them"


@pytest.mark.slow
def test_both_stores_of_a_rollback_are_put_back_from_the_copies_that_its_report_names(
    sessionlift: Warm, tmp_path: Path
) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    make_moved(old, new, make=make_langswarm_v1, sessions=3)
    change(new, "DELETE FROM session_messages WHERE id = (SELECT max(id) FROM session_messages)")
    before = sessionlift("status", new, old).out
    rolled = json.loads(sessionlift("rollback", new, "--all", "--json").out)
    after = query(old, "SELECT * FROM sessions ORDER BY session_id")
    copies = {Path(copy["store"]).name: copy["path"] for copy in rolled["report"]["backups"]}
    assert copies.keys() == {"old.db", "new.db"}
    # the new store alone: the sessions lie in both, and the same rollback goes on
    assert sessionlift("restore", copies["new.db"], "--replace").code == 0
    assert sessionlift("rollback", new, "--all", "--quiet").code == 0
    assert query(old, "SELECT * FROM sessions ORDER BY session_id") == after
    for copy in copies.values():
        assert sessionlift("restore", copy, "--replace").code == 0
    assert sessionlift("status", new, old).out == before
    assert sessionlift("verify", old, new, "--quiet").code == 1, "what the application deleted is deleted again"
    assert sessionlift("rollback", new, "--all", "--quiet").code == 0
    assert query(old, "SELECT * FROM sessions ORDER BY session_id") == after


@pytest.mark.slow
def test_the_stores_that_sessions_were_taken_back_into_are_named(
    sessionlift: Warm, target: Path, tmp_path: Path
) -> None:
    source, other = tmp_path / "source" / "legacy.duckdb", tmp_path / "other.duckdb"
    make_moved(source, target, sessions=3, traps="none")
    (one,) = query(target, "SELECT session_id FROM session_traces ORDER BY rowid LIMIT 1")[0]
    assert sessionlift("rollback", target, "--session", one, "--to", other).code == 0
    assert sessionlift("rollback", target, "--all").code == 0
    found = json.loads(sessionlift("status", target, "--json").out)
    assert found["taken_back"] == {f"duckdb://{other}": 1, f"duckdb://{source}": 2}
    lines = [line.split() for line in sessionlift("status", target).out.splitlines()]
    assert ["1", "in", f"duckdb://{other}"] in lines
    assert sessionlift("migrate", other, target).code == 0
    assert json.loads(sessionlift("status", target, "--json").out)["taken_back"] == {f"duckdb://{source}": 2}
