"""A trace that both programs went on with: what the commands say of it leads to the end that they name."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.made import make_moved
from tests.support.moved import change, change_source, query, session_ids
from tests.support.warm import Warm

pytestmark = pytest.mark.slow
WAY = "`sessionlift rollback TARGET --session ID --on-conflict keep-legacy`, and then `sessionlift migrate`"


@pytest.fixture
def both(target: Path) -> tuple[Path, Path, str]:
    source = target.parent.with_name("source") / "legacy.duckdb"
    make_moved(source, target, sessions=3, traps="none")
    one = session_ids(source)[0]
    change_source(source, f"UPDATE session_traces SET num_messages = 77 WHERE session_id = '{one}'")
    change(target, "INSERT INTO messages (session_id, message_type, content) VALUES (?, 'user', 'of the new one')", one)
    return source, target, one


@pytest.mark.parametrize("command", ["catch-up", "migrate"])
def test_the_next_step_settles_it(sessionlift: Warm, both: tuple[Path, Path, str], command: str) -> None:
    source, target, one = both
    told = sessionlift(command, source, target)
    assert told.code == 1
    assert WAY in " ".join(told.out.split()), told.out[-700:]
    back = sessionlift("rollback", target, "--session", one, "--on-conflict", "keep-legacy")
    assert back.code == 0, back.out
    assert sessionlift("migrate", source, target, "--no-verify").code == 0
    assert query(target, "SELECT num_messages FROM session_traces WHERE session_id = ?", one) == [(77,)]


def test_a_way_that_traces_do_not_have_is_refused_before_there_is_a_run(
    sessionlift: Warm, both: tuple[Path, Path, str]
) -> None:
    source, target, _ = both
    refused = sessionlift("catch-up", source, target, "--on-conflict", "append_legacy")
    assert refused.code == 2
    assert "cannot be laid together" in refused.err
    assert "--on-conflict keep-legacy" in refused.err
    assert query(target, "SELECT count(*) FROM sessionlift_runs") == [(1,)]
