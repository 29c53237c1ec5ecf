"""The output that README and docs/rollback.md show is what the commands print, on stores made as they say."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

import pytest
from tests.support.run_fixtures import sessionlift
from tests.support.warm import Outcome, Warm
from tests.test_docs import REPOSITORY, blocks_of

__all__ = ["sessionlift"]

pytestmark = pytest.mark.slow


def shown(page: str) -> dict[str, list[str]]:
    """The lines that a page shows below each of our commands; where a command is shown twice, those of the last."""
    found: dict[str, list[str]] = {}
    for block in blocks_of(REPOSITORY / page):
        if block.language == "console":
            for part in re.split(r"^\$ ", block.body, flags=re.MULTILINE)[1:]:
                command, *lines = part.rstrip("\n").splitlines()
                if command.startswith("sessionlift "):
                    found[without_what_differs(command)] = [without_what_differs(line) for line in lines]
    return found


def without_what_differs(line: str, *places: Path) -> str:
    """Without directories, run ids, times and durations."""
    for place in [*map(str, places), "/home/me", "/srv"]:
        line = line.replace(f"{place}/", "")
    line = re.sub(r"\b\d{8}T\d{6}Z-[0-9a-f]{8}\b", "RUN", line)
    line = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00", "TIME", line)
    return re.sub(r"\bin \d+\.\d s\b", "in SECONDS", line).rstrip()


def hold(page: str, command: str, lines: list[str], outcome: Outcome, place: Path) -> None:
    """Every shown line is printed, in this order; ``...`` stands for lines left out, and nothing else is left out."""
    printed = [without_what_differs(line, place) for line in outcome.out.splitlines()]
    at = 0
    for number, part in enumerate("\n".join(lines).split("\n...")):
        wanted = part.strip("\n").splitlines()
        if not wanted:
            continue
        starts = range(at, len(printed) - len(wanted) + 1) if number else [0]
        found = next((start for start in starts if printed[start : start + len(wanted)] == wanted), None)
        assert found is not None, (
            f"{page} shows below `{command}`:\n" + "\n".join(wanted) + "\nprinted was:\n" + "\n".join(printed[at:])
        )
        at = found + len(wanted)


def test_the_worked_example_of_the_readme(sessionlift: Warm, tmp_path: Path) -> None:
    examples = shown("README.md")
    assert len(examples) >= 4, "the example is gone, or no longer in a console block"
    report = ""
    for command, lines in examples.items():
        words = command.split()[1:]
        if "--report" in words:
            words[-1] = report
        outcome = sessionlift(*words, cwd=tmp_path)
        assert outcome.code == 0, outcome.err
        hold("README.md", command, lines, outcome, tmp_path)
        if words[0] == "migrate":
            (path,) = (tmp_path / "v3.db.reports").glob("*.json")
            report = f"v3.db.reports/{path.name}"


def test_the_worst_day_of_the_rollback_page(sessionlift: Warm, tmp_path: Path) -> None:
    old, new = tmp_path / "langswarm_v1.db", tmp_path / "langswarm_v2.db"
    assert sessionlift("demo-store", old, "--system", "langswarm", "--sessions", 20).code == 0
    assert sessionlift("migrate", old, new, "--quiet").code == 0
    go_on_with(old, new)
    examples = {command: lines for command, lines in shown("docs/rollback.md").items() if lines}
    assert [command.split()[1] for command in examples] == ["rollback", "rollback", "status"]
    for command, lines in examples.items():
        outcome = sessionlift(*command.split()[1:], cwd=tmp_path)
        assert outcome.code == (1 if "rollback" in command else 0), "one session was changed on both sides"
        hold("docs/rollback.md", command, lines, outcome, tmp_path)


def go_on_with(old: Path, new: Path) -> None:
    """What the applications did between the move and the night of the page."""
    with sqlite3.connect(new) as db:
        message = (
            "INSERT INTO session_messages (session_id, message_id, role, content, timestamp, token_count) "
            "VALUES ('session_d28c60dd', ?, 'user', 'are you there?', '2026-11-21T03:00:00', ?)"
        )
        db.executemany(message, [("one", 7), ("two", None), ("three", None)])
        db.execute(
            "UPDATE sessions SET updated_at = '2026-11-21 03:00:00' "
            "WHERE session_id IN ('session_d28c60dd', 'session_c0b34d0d')"
        )
        db.execute(
            "DELETE FROM session_messages WHERE id = "
            "(SELECT max(id) FROM session_messages WHERE session_id = 'session_c0b34d0d')"
        )
    with sqlite3.connect(old) as db:
        db.execute("UPDATE sessions SET updated_at = '2026-11-21T04:00:00' WHERE session_id = 'session_de3a1cbf'")
    db.close()


def test_a_rollback_is_told_as_one_by_its_dry_run_and_by_the_status(sessionlift: Warm, tmp_path: Path) -> None:
    assert sessionlift("demo-store", "old.db", "--system", "langswarm", "--sessions", 2, cwd=tmp_path).code == 0
    assert sessionlift("migrate", "old.db", "new.db", "-q", cwd=tmp_path).code == 0
    rehearsed = sessionlift("rollback", "new.db", "--all", "--dry-run", cwd=tmp_path)
    assert "2 of 2 sessions would be taken back" in rehearsed.out
    assert sessionlift("rollback", "new.db", "--all", "-q", cwd=tmp_path).code == 0
    told = sessionlift("status", "new.db", cwd=tmp_path)
    assert re.search(r"^  rollback-\S+  completed .*, 2 sessions taken back, 0 skipped$", told.out, re.MULTILINE)
    for command in ("status", "rollout"):
        assert next(iter(json.loads(sessionlift(command, "new.db", "--json", cwd=tmp_path).out).items())) == (
            "ok",
            True,
        )
