"""The docs name every code that a run can tell, and docs/synth.md every column."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sessionlift.converters.synth._columns import V2_COLUMNS
from sessionlift.runs._codes import FACTS, LOSSES

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "synth.md").read_text("utf-8")
PAGES = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md")))
SOURCES = [path.read_text("utf-8") for path in sorted((ROOT / "src" / "sessionlift").rglob("*.py"))]


ASIDE = ("orphan_row", "metadata_unreadable", "event_type_unknown", "target_refused")
ENDS = ("run_stopped", "fidelity", "verification", "worker_lost", "memory_short", "interrupted")


@pytest.mark.parametrize("code", [*LOSSES, *FACTS, *ASIDE, *ENDS])
def test_every_code_stands_in_a_table_of_a_page(code: str) -> None:
    assert re.search(rf"^\| (`\w+`, )*`{code}`(, `\w+`)* \|", PAGES, re.M), f"{code} is not explained"
    assert any(f'"{code}"' in text for text in SOURCES), f"{code} is explained, and no part of the program tells it"


@pytest.mark.parametrize(("table", "column"), [(t, c) for t, columns in V2_COLUMNS.items() for c in columns])
def test_every_column_is_named(table: str, column: str) -> None:
    assert f"`{column}`" in PAGE, f"{table}.{column} is not on the page"
