"""Rollbacks in tests: what lies in a legacy store, and the command's answer."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.warm import Outcome, Warm

from sessionlift.reports import check_file

V2_MESSAGE = (
    "INSERT INTO session_messages (session_id, message_id, role, content, timestamp, metadata) "
    "VALUES (?, ?, 'user', ?, '2031-05-06 07:08:09.123456', '{}')"
)


@dataclass
class Answer:
    """What ``rollback --json`` said."""

    code: int
    report: dict[str, Any]
    sessions: dict[str, dict[str, Any]]

    @property
    def counts(self) -> tuple[int, int, int]:
        return (
            self.report["migrated_sessions"],
            self.report["skipped_sessions"],
            self.report["failed_sessions"],
        )

    @property
    def errors(self) -> dict[str | None, str]:
        return {line["session_id"]: line["code"] for line in self.report["errors"]}

    @property
    def losses(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for line in self.report["losses"]:
            found[line["code"]] = found.get(line["code"], 0) + line["count"]
        return found

    @property
    def facts(self) -> dict[tuple[str, str], int]:
        return {(line["code"], line["table"]): line["count"] for line in self.report["source_facts"]}


def take_back(sessionlift: Warm, target: Path, *options: object) -> Answer:
    """Run the command; its report must be one that the contract allows, whatever came of it."""
    outcome: Outcome = sessionlift("rollback", target, "--json", *options)
    assert outcome.code in (0, 1), outcome.err + outcome.out
    assert outcome.out, outcome.err
    told = json.loads(outcome.out)
    assert check_file(told["path"]) == []
    return Answer(outcome.code, told["report"], {line["session_id"]: line for line in told["sessions"]})


def checked_again(sessionlift: Warm, report: str | Path) -> list[str]:
    """The codes of everything that ``verify --report`` holds against a report."""
    outcome = sessionlift("verify", "--report", report, "--json")
    assert outcome.out, outcome.err
    return [line["code"] for line in json.loads(outcome.out)["report"]["errors"]]


def smaller_loss(report: Path, code: str) -> None:
    """Let a report tell of fewer values of one kind of loss."""
    told = json.loads(report.read_text("utf-8"))
    next(line for line in told["losses"] if line["code"] == code).update(count=1, examples=[])
    report.write_text(json.dumps(told), "utf-8")


def v1_rows(path: Path) -> list[tuple[Any, ...]]:
    """V1's rows with all their bytes and types, in their order."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        db.text_factory = bytes
        columns = [row[1].decode() for row in db.execute("PRAGMA table_info(sessions)")]
        listed = ", ".join(f'"{name}", typeof("{name}")' for name in columns)
        return db.execute(f"SELECT {listed} FROM sessions ORDER BY rowid").fetchall()


def v1_messages(path: Path, session_id: str) -> list[str]:
    """The contents of a session's messages as V1 has them."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        ((text,),) = db.execute("SELECT history FROM sessions WHERE session_id = ?", (session_id,))
    return [message["content"] for message in json.loads(text)["messages"]]


def v2_rows(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """V2's sessions without the numbers that the target gives by itself; messages in their order."""
    found = {}
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        for table, order in (
            ("sessions", "session_id"),
            ("session_messages", "session_id, timestamp, id"),
            ("session_metrics", "session_id"),
        ):
            names = [row[1] for row in db.execute(f"PRAGMA table_info({table})") if row[1] != "id"]
            listed = ", ".join(names)
            found[table] = db.execute(f"SELECT {listed} FROM {table} ORDER BY {order}").fetchall()
    return found


def ledger(path: Path) -> dict[str, str]:
    """By session its state in the ledger."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return dict(db.execute("SELECT session_id, state FROM sessionlift_units WHERE unit = 'session'"))


def notes(path: Path) -> list[str]:
    """The intents of rollbacks that are not at their end."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return [name for (name,) in db.execute("SELECT name FROM sessionlift_rollout WHERE name LIKE 'rollback/%'")]
