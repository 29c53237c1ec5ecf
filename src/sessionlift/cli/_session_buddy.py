"""``sessionlift session-buddy``: the migration guide's optional steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sessionlift.cli._common import Group, emit_json, json_option, quiet_option, tell
from sessionlift.cli._in_place import report_option, wait_option
from sessionlift.runs import Interrupts, verify_in_place
from sessionlift.runs import history as read_history
from sessionlift.runs.session_buddy import StepName, derive


@click.group("session-buddy", cls=Group)
def session_buddy() -> None:
    """Fill in what Session-Buddy's generation 4 has room for, and check a store.

    Each step is one transaction and writes a report; run again, it writes only what is new.
    """


def _shared(command: Any) -> Any:
    for option in (quiet_option, json_option, report_option, wait_option):
        command = option(command)
    return click.argument("store")(command)


def _do(
    store: str,
    step: StepName,
    options: dict[str, Any],
    *,
    wait: float,
    report_file: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    with Interrupts().listening() as interrupts:
        report, path = derive(store, step, options, wait=wait, report_file=report_file, interrupts=interrupts)
    tell(report, path, as_json=as_json, quiet=quiet)


@session_buddy.command()
@_shared
@click.option("--known-only", is_flag=True, help="Leave out what refers to skills that were never used.")
def taxonomy(store: str, known_only: bool, **shared: Any) -> None:
    """Enter the 6 categories, 4 modalities and 4 dependencies of the program's own script, where they are missing.

    A skill that was never used gets a row of zeros in skill_metrics, so that nothing refers to nowhere.
    """
    _do(store, "taxonomy", {"known_only": known_only}, **shared)


@session_buddy.command()
@_shared
@click.option("--days", type=click.IntRange(1), default=None, help="Only the last so many days.  [default: all]")
@click.option("--replace", is_flag=True, help="First remove rows that do not begin with an hour.")
def backfill(store: str, days: int | None, replace: bool, **shared: Any) -> None:
    """Fill the time series from the invocations, by whole hours of UTC, in one pass.

    Invocations whose time cannot be read, or whose skill has no metrics, are counted in the report.
    """
    _do(store, "backfill", {"days": days, "replace": replace}, **shared)


@session_buddy.command()
@_shared
@click.option("--min-count", type=click.IntRange(1), default=5, show_default=True, help="Used together this often.")
def dependencies(store: str, min_count: int, **shared: Any) -> None:
    """Enter which skills are used together, by the program's own formula; seeded pairs stay as they are.

    The report has the textbook's lift of the strongest pairs beside it.
    """
    _do(store, "dependencies", {"min_count": min_count}, **shared)


@session_buddy.command()
@_shared
def baselines(store: str, **shared: Any) -> None:
    """Enter the baseline of every skill over all sessions, with its percentile."""
    _do(store, "baselines", {}, **shared)


@session_buddy.command()
@click.argument("store")
@click.option("--against", metavar="COPY", default=None, help="The old file, or the directory of a backup.")
@report_option
@json_option
@quiet_option
def verify(store: str, against: str | None, report_file: Path | None, as_json: bool, quiet: bool) -> None:
    """Check STORE as a whole: the guide's checks and ours, on a private copy; STORE is only read.

    Structure, pages and indexes, references, views, and whether the program can work with it. With --against every
    row that both have is compared. Exit code 1 if anything is found.
    """
    done = verify_in_place(store, against, report_file=report_file)
    tell(done.report, done.path, as_json=as_json, quiet=quiet)


@session_buddy.command()
@click.argument("store")
@json_option
def history(store: str, as_json: bool) -> None:
    """Say what was done to STORE in place, by which runs, and what it keeps for the way up. Changes nothing."""
    found = read_history(store)
    if as_json:
        emit_json({"ok": True, **found.to_dict()})
        return
    click.echo(f"{found.store}: {found.generation}")
    for step in found.steps:
        click.echo(f"  {step.at[:19]}  {step.direction:<7}  {step.revision}  {step.run_id}")
    if not found.steps:
        click.echo("  no step of sessionlift's; the structure says what it is")
    for table, rows in found.kept.items():
        click.echo(f"  kept: {rows:,} rows of {table}")
