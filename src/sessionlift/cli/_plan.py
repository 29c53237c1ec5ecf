"""``sessionlift plan``."""

from __future__ import annotations

from pathlib import Path

import click

from sessionlift.cli._common import Command, emit_json, json_option
from sessionlift.cli._options import (
    mapping_option,
    only_option,
    salvage_option,
    same_source_option,
    timezone_option,
    transfer_options,
)
from sessionlift.reports import render_text
from sessionlift.runs import plan as run_plan


@click.command(cls=Command)
@click.argument("source")
@click.argument("target", required=False)
@timezone_option
@mapping_option
@only_option
@salvage_option
@same_source_option
@click.option(
    "--report-file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Write the plan as a report to this file.  [default: write nothing]",
)
@json_option
def plan(
    source: str,
    target: str | None,
    timezone: str | None,
    mapping_file: Path | None,
    only: tuple[str, ...],
    salvage: bool,
    same_source: bool,
    report_file: Path | None,
    as_json: bool,
) -> None:
    """Say what moving SOURCE (into TARGET) would read, write, lose and put aside; changes nothing."""
    options = transfer_options(timezone, mapping_file, only, same_source=same_source, salvage=salvage)
    report = run_plan(source, target, options, report_file=report_file)
    if as_json:
        path = None if report_file is None else str(report_file)
        emit_json({"ok": True, "report": report.to_dict(), "path": path})
    else:
        click.echo(render_text(report))
