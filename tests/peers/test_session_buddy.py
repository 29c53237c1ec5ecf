"""The real Session-Buddy on stores that were led up and down here: it knows where they stand, reads and writes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from tests.peers import environments
from tests.support.buddy_stores import V4_TABLES, ask, rows

from sessionlift._demo import make_session_buddy

pytestmark = pytest.mark.peers

# this release offers two more in the same folder; they are made for DuckDB and fail on every SQLite store
UP = {"do": "migrate", "target_version": "V4__phase4_extensions"}
VERSIONS = ["V1__initial_schema", "V2__add_semantic_search", "V3__add_workflow_correlation", "V4__phase4_extensions"]


@dataclass(frozen=True)
class Buddy:
    """The real program in its environment."""

    python: Path

    def ask(self, store: Path, *requests: dict[str, Any]) -> list[Any]:
        script = environments.HERE / "drive_session_buddy.py"
        given = "".join(json.dumps(request) + "\n" for request in requests)
        done = environments.run(self.python, [str(script), str(store)], store.parent, given=given)
        assert done.returncode == 0, f"Session-Buddy failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return [json.loads(line) for line in done.stdout.splitlines()]

    def invoke(self, store: Path, count: int, *, phase: str | None = None) -> None:
        """Invocations by the program itself, of three skills, in the last hours."""
        now = datetime.now(timezone.utc)
        self.ask(
            store,
            *(
                {
                    "do": "store_invocation",
                    "skill_name": ("git-push", "pytest-run", "its-own")[n % 3],
                    "invoked_at": (now - timedelta(minutes=7 * n)).isoformat(),
                    "session_id": f"theirs-{n // 10}",
                    "completed": n % 4 > 0,
                    "duration_seconds": n / 8,
                    "user_query": f"query {n}",
                    **({"workflow_phase": phase} if phase else {}),
                }
                for n in range(count)
            ),
        )


@pytest.fixture(scope="session")
def buddy() -> Buddy:
    return Buddy(environments.environment("session-buddy-0.14.8", a_python("3.13", "3.14")))


def a_python(*versions: str) -> str:
    """A Python of one of these versions that runs: a name on the PATH can be an empty shim.

    Skips where there is none, also where peers are required: no index has an interpreter to install.
    """
    if f"{sys.version_info[0]}.{sys.version_info[1]}" in versions:
        return sys.executable
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in versions:
        others = sorted(kept.glob(f"{version}.*/bin/python"), reverse=True)
        for found in filter(None, (shutil.which(f"python{version}"), *map(str, others))):
            if subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
                return found
    pytest.skip(f"Session-Buddy needs Python {' or '.join(versions)}, and none is here")


def lift(*arguments: object) -> None:
    call = [sys.executable, "-W", "ignore", "-c", "from sessionlift.cli import main; main()", *map(str, arguments)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_program_sees_v4_and_goes_on_with_it(buddy: Buddy, tmp_path: Path) -> None:
    store = make_session_buddy(tmp_path / "s.db", generation="session_buddy.v1").path
    lift("upgrade", store)
    status, done, wrong = buddy.ask(store, {"do": "get_status"}, UP, {"do": "validate_schema"})
    assert status["current_version"] == VERSIONS[3]
    assert [one["version"] for one in status["applied_migrations"]] == VERSIONS
    assert [one["version"][:2] for one in status["pending_migrations"]] == ["V5", "V6"]
    assert (done, wrong) == ([], [])

    before = dict(ask(store, "SELECT skill_name, total_invocations FROM skill_metrics"))
    buddy.invoke(store, 12, phase="execution")
    found = {one["skill_name"]: one for one in buddy.ask(store, {"do": "get_all_metrics"})[0]}
    assert found["git-push"]["total_invocations"] == before.get("git-push", 0) + 4
    assert found["its-own"]["total_invocations"] == 4
    assert ask(store, "SELECT invocation_count_24h FROM skill_metrics_cache WHERE skill_name = 'its-own'") == [(4,)]
    lift("session-buddy", "verify", store)


def test_the_program_reads_what_our_steps_derived(buddy: Buddy, tmp_path: Path) -> None:
    store = make_session_buddy(tmp_path / "s.db").path
    lift("upgrade", store)
    buddy.invoke(store, 30)
    for step in ("taxonomy", "backfill", "dependencies", "baselines"):
        lift("session-buddy", step, store)
    ours = ask(
        store,
        "SELECT skill_name, total_users, total_invocations, global_completion_rate FROM skill_community_baselines "
        "ORDER BY 1",
    )
    theirs = buddy.ask(store, {"do": "get_community_baselines"})[0]
    said = sorted(
        (one["skill_name"], one["total_users"], one["total_invocations"], one["global_completion_rate"])
        for one in theirs
    )
    assert said == ours
    assert all(one["effectiveness_percentile"] is not None for one in theirs)

    # what it works out anew is what we wrote, but for the seeds, which it throws away
    pairs = "SELECT skill_a, skill_b, co_occurrence_count, lift_score FROM skill_dependencies WHERE lift_score < 2"
    mine = ask(store, f"{pairs} ORDER BY 1, 2")
    buddy.ask(store, {"do": "update_skill_dependencies"})
    anew = {row[:2]: row[2:] for row in ask(store, pairs)}
    assert mine
    for first, second, together, score in mine:
        assert anew[first, second] == (together, pytest.approx(score))


def test_the_program_goes_on_with_a_store_that_was_led_down_and_what_it_writes_is_counted(
    buddy: Buddy, tmp_path: Path
) -> None:
    store = make_session_buddy(tmp_path / "s.db", generation="session_buddy.v4", filled=True).path
    cache = dict(ask(store, "SELECT skill_name, invocation_count_24h FROM skill_metrics_cache"))
    whole = {table: len(rows(store)[table]) for table in V4_TABLES}
    lift("downgrade", store, "--to", "session_buddy.v3")

    status = buddy.ask(store, {"do": "get_status"})[0]
    assert status["current_version"] == VERSIONS[2]
    assert [one["version"] for one in status["pending_migrations"]][:1] == VERSIONS[3:]
    buddy.invoke(store, 50)

    lift("upgrade", store)
    after = dict(ask(store, "SELECT skill_name, invocation_count_24h FROM skill_metrics_cache"))
    assert sum(after.values()) == sum(cache.values()) + 50
    assert {table for table in V4_TABLES if len(rows(store)[table]) < whole[table]} == set()
    assert buddy.ask(store, {"do": "get_status"}, UP)[1] == []


def test_what_waits_comes_back_after_the_program_led_the_store_up_itself(buddy: Buddy, tmp_path: Path) -> None:
    store = make_session_buddy(tmp_path / "s.db", generation="session_buddy.v4", filled=True).path
    before = {table: len(rows(store)[table]) for table in V4_TABLES}
    lift("downgrade", store, "--to", "session_buddy.v3")
    assert buddy.ask(store, UP)[0] == VERSIONS[3:]
    assert ask(store, "SELECT count(*) FROM ab_test_assignments") == [(0,)]
    lift("downgrade", store, "--to", "session_buddy.v3")
    lift("upgrade", store)
    assert {table: len(rows(store)[table]) for table in V4_TABLES} == before
