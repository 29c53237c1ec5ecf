"""``sessionlift report``: show, list and check the reports of runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click

from sessionlift import reports
from sessionlift.cli._common import Group, emit_json, json_option
from sessionlift.errors import EXIT_FINDINGS, EXIT_OK
from sessionlift.stores import real_file

_FILE = click.argument("file", type=click.Path(path_type=Path))


@click.group(cls=Group)
def report() -> None:
    """Show, list and check the reports of runs."""


@report.command()
@_FILE
@json_option
def show(file: Path, as_json: bool) -> None:
    """Show the report FILE as text.

    Its first three lines say what happened; the last say what to do next. With --json it prints the report as
    it is in the file.
    """
    loaded = reports.load(file)
    if as_json:
        click.echo(file.read_text("utf-8"), nl=False)
        return
    width = max(60, min(shutil.get_terminal_size((100, 24)).columns, 120))
    click.echo(reports.render_text(loaded, width=width), nl=False)


@report.command(name="list")
@click.argument("directory", type=click.Path(path_type=Path), default=Path(), required=False)
@json_option
def list_(directory: Path, as_json: bool) -> None:
    """List the reports in DIRECTORY (the current one if not given), oldest first.

    Files that say they are reports but break the contract stand at the end with what is wrong.
    """
    found = reports.find_reports(directory)
    if as_json:
        emit_json({"ok": True, "reports": [_entry(item) for item in found]})
    elif found:
        click.echo(reports.render_list(found), nl=False)
    else:
        click.echo(f"No reports in {real_file(directory)}.")


def _entry(item: reports.ReportFile) -> dict[str, Any]:
    if item.report is None:
        return {"file": str(item.path), "problem": item.problem}
    r = item.report
    return {
        "file": str(item.path),
        "run_id": r.run_id,
        "kind": r.kind,
        "status": r.status,
        "dry_run": r.dry_run,
        "started_at": r.started_at,
        "finished_at": r.finished_at,
        "total_sessions": r.total_sessions,
        "migrated_sessions": r.migrated_sessions,
        "skipped_sessions": r.skipped_sessions,
        "failed_sessions": r.failed_sessions,
        "verification": r.verification.status,
    }


@report.command()
def schema() -> None:
    """Print the JSON Schema that every report fulfils."""
    emit_json(reports.schema())


@report.command()
@_FILE
@json_option
@click.pass_context
def check(ctx: click.Context, file: Path, as_json: bool) -> None:
    """Check that the report FILE keeps its contract: keys, types, and sums that must agree.

    It looks at the report and the digests file beside it; both stores are computed again by `sessionlift
    verify --report FILE`. Exit code 1 if anything is wrong.
    """
    problems = reports.check_file(file)
    if as_json:
        emit_json({"ok": not problems, "file": str(file), "problems": problems})
    elif problems:
        click.echo(f"{file} breaks its contract:")
        for problem in problems:
            click.echo(f"  - {reports.printable(problem)}")
    else:
        click.echo(f"{file} keeps its contract.")
    ctx.exit(EXIT_FINDINGS if problems else EXIT_OK)
