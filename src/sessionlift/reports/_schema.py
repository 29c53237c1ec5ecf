"""The published JSON Schema of the report."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) that every report of this version fulfils."""
    text = files("sessionlift.reports").joinpath("report-v1.schema.json").read_text("utf-8")
    document: dict[str, Any] = json.loads(text)
    return document
