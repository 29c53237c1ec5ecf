"""What a command that is refused leaves behind: no empty directory, and a hint that fits the command."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.made import make_synth_v2
from tests.support.warm import Warm

pytestmark = pytest.mark.slow


def missing(_: Path) -> None:
    return None


def a_text(path: Path) -> None:
    path.write_text("not a store\n")


def an_empty_file(path: Path) -> None:
    path.touch()


def a_directory(path: Path) -> None:
    path.mkdir()


def a_foreign_store(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE notes (x)")
        db.execute("INSERT INTO notes VALUES (1)")


WRONG: tuple[Callable[[Path], None], ...] = (missing, a_text, an_empty_file, a_directory, a_foreign_store)

RUNS: dict[str, tuple[str, ...]] = {
    "migrate from it": ("migrate", "WRONG", "new.db"),
    "migrate into it": ("migrate", "old.duckdb", "WRONG"),
    "verify from it": ("verify", "WRONG", "filled.db"),
    "verify it": ("verify", "old.duckdb", "WRONG"),
    "roll it back": ("rollback", "WRONG", "--all"),
    "lead it up": ("upgrade", "WRONG"),
}
"""Runs: each that is refused leaves its report, which says why."""

OTHERS: dict[str, tuple[str, ...]] = {
    "plan from it": ("plan", "WRONG", "filled.db"),
    "plan into it": ("plan", "old.duckdb", "WRONG"),
    "catch up from it": ("catch-up", "WRONG", "filled.db"),
    "catch up": ("catch-up", "old.duckdb", "WRONG"),
    "back it up": ("backup", "WRONG"),
    "back it up elsewhere": ("backup", "WRONG", "--to", "some/where"),
    "take its schema back": ("schema", "downgrade", "WRONG", "base"),
    "ask for its status": ("status", "WRONG"),
}
"""Commands that leave nothing at all where they are refused."""

NO_REFUSALS = {
    *((command, make) for command in ("migrate into it", "plan into it") for make in (missing, an_empty_file)),
    *((command, a_foreign_store) for command in ("back it up", "back it up elsewhere", "take its schema back")),
}
"""A target is made, whatever database is copied, and one without our stamps has nothing to take back."""


@pytest.fixture(scope="module")
def filled(sessionlift: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    make_synth_v2(folder / "old.duckdb", sessions=3, traps="none")
    assert sessionlift("migrate", folder / "old.duckdb", folder / "filled.db", "--quiet").code == 0
    shutil.rmtree(folder / "filled.db.reports")
    return folder


@pytest.mark.parametrize("make", WRONG, ids=lambda make: str(make.__name__))
@pytest.mark.parametrize("what", [*RUNS, *OTHERS])
def test_a_refused_command_leaves_no_empty_directory(
    sessionlift: Warm, filled: Path, tmp_path: Path, what: str, make: Callable[[Path], None]
) -> None:
    for name in ("old.duckdb", "filled.db"):
        shutil.copy(filled / name, tmp_path / name)
    wrong = tmp_path / "wrong.db"
    make(wrong)
    before = set(tmp_path.rglob("*"))
    words = (RUNS | OTHERS)[what]
    refused = sessionlift(*(wrong if word == "WRONG" else word for word in words), cwd=tmp_path)
    came = set(tmp_path.rglob("*")) - before
    assert not [path for path in came if path.is_dir() and not any(path.iterdir())]
    if (what, make) in NO_REFUSALS:
        assert refused.code == 0, refused.err
        return
    assert refused.code in (2, 3, 4), refused.out + refused.err
    if what in OTHERS:
        assert not came
    if words[0] not in ("migrate", "plan"):
        assert "it will be created" not in refused.err, "nothing is made by this command"


WRONG_USAGE = (
    ("migrate", "old.duckdb", "old.duckdb"),
    ("migrate", "old.duckdb", "new.db", "--only", "nobody"),
    ("migrate", "old.duckdb", "new.db", "--timezone", "Nowhere"),
    ("migrate", "old.duckdb", "filled.db", "--timezone", "Europe/Berlin"),
    ("migrate", "old.duckdb", "new.db", "--mapping", "nowhere.json"),
    ("migrate", "old.duckdb", "nowhere/new.db"),
    ("verify", "old.duckdb"),
    ("verify", "--report", "nowhere.json"),
    ("rollback", "filled.db"),
    ("rollback", "filled.db", "--session", "nobody"),
    ("rollback", "filled.db", "--all", "--to", "nowhere/old.duckdb"),
    ("plan", "old.duckdb", "filled.db", "--only", "nobody", "--report-file", "some/plan.json"),
    ("catch-up", "old.duckdb", "filled.db", "--on-conflict", "append_legacy"),
    ("backup", "libsql+http://127.0.0.1:1", "--to", "some/where"),
    ("schema", "downgrade", "filled.db", "no_such_revision"),
    ("schema", "downgrade", "filled.db", "base"),
    ("restore", "nowhere.backup"),
)


@pytest.mark.parametrize("words", WRONG_USAGE, ids=" ".join)
def test_wrong_usage_leaves_no_empty_directory(
    sessionlift: Warm, filled: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    for name in ("old.duckdb", "filled.db"):
        shutil.copy(filled / name, tmp_path / name)
    before = set(tmp_path.rglob("*"))
    refused = sessionlift(*words, cwd=tmp_path)
    assert refused.code in (2, 3, 4, 5), refused.out + refused.err
    came = set(tmp_path.rglob("*")) - before
    assert not [path for path in came if path.is_dir() and not any(path.iterdir())]
    if words[0] not in ("migrate", "rollback"):
        assert not came


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        (("verify", "old.duckdb", "wrong.db"), "name the target of a migration"),
        (("rollback", "wrong.db", "--all"), "name the target of a migration"),
        (("status", "wrong.db"), "name the target of a migration"),
        (("catch-up", "old.duckdb", "wrong.db"), "name the target of a migration"),
        (("migrate", "old.duckdb", "wrong.db"), "name a new target: it will be created"),
        (("plan", "old.duckdb", "wrong.db"), "name a new target: it will be created"),
    ],
)
def test_the_hint_about_a_foreign_store_fits_the_command(
    sessionlift: Warm, filled: Path, tmp_path: Path, command: tuple[str, ...], hint: str
) -> None:
    shutil.copy(filled / "old.duckdb", tmp_path)
    a_foreign_store(tmp_path / "wrong.db")
    refused = sessionlift(*command, cwd=tmp_path)
    assert refused.code == 4
    assert hint in refused.err
