"""Stores of other systems that are text files: recognised, so that the refusal can name them."""

from __future__ import annotations

from sessionlift.stores import StoreURL, sniff

_HEAD = 4096
_METRICS = "team_id,timestamp,agent,tokens,credits,wall_time_ms,model"
_SUMMARY = ("session_id:", "tooling_version:")


def recognise(url: StoreURL) -> tuple[str, str, list[str]] | None:
    """System, generation and evidence of a text file that a known system wrote; None for anything else."""
    if url.path is None or sniff(url.path) != "text":
        return None
    with url.path.open(encoding="utf-8", errors="replace") as file:
        head = file.read(_HEAD)
    if head.startswith(_METRICS):
        return "semloop", "semloop.v2", ["a CSV file with the columns of its metrics"]
    if all(f"\n{key}" in f"\n{head}" for key in _SUMMARY):
        return (
            "semloop",
            "semloop.v2",
            [f"a YAML file with the keys {' and '.join(key[:-1] for key in _SUMMARY)}"],
        )
    return None
