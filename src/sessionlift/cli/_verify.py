"""``sessionlift verify``."""

from __future__ import annotations

from pathlib import Path

import click

from sessionlift.cli._common import Command, json_option, quiet_option, tell
from sessionlift.cli._options import only_option
from sessionlift.errors import UsageError
from sessionlift.runs import Progress
from sessionlift.runs import verify as run_verify


@click.command(cls=Command)
@click.argument("stores", nargs=-1, metavar="[SOURCE TARGET]")
@click.option(
    "--report",
    "report_file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Check every claim of this run's report again, from the stores that it names.",
)
@click.option("--source", default=None, help="With --report: the source, where it is not where it was.")
@click.option("--target", default=None, help="With --report: the target, where it is not where it was.")
@only_option
@click.option(
    "--report-file",
    "out",
    type=click.Path(path_type=Path),
    default=None,
    help="File or directory for this run's own report.  [default: TARGET.reports/ beside the target]",
)
@json_option
@quiet_option
def verify(
    stores: tuple[str, ...],
    report_file: Path | None,
    source: str | None,
    target: str | None,
    only: tuple[str, ...],
    out: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compare every value that was moved from SOURCE into TARGET, and write a report.

    Both stores are only read: by other code than the one that moved them, in a process of its own, the target
    through another driver. Exit code 0: nothing was found; 1: there are findings, all in the report.
    """
    if len(stores) not in (0, 2) or (stores and (report_file is not None or source or target)):
        raise UsageError(
            "verify takes SOURCE and TARGET, or --report FILE",
            hint="sessionlift verify SOURCE TARGET; or sessionlift verify --report FILE",
        )
    if report_file is not None and only:
        raise UsageError("--only goes with SOURCE and TARGET; a report is checked as a whole", hint="leave out --only")
    if report_file is None and not stores:
        raise UsageError(
            "nothing to verify was named",
            hint="sessionlift verify SOURCE TARGET; or sessionlift verify --report FILE",
        )
    result = run_verify(
        stores[0] if stores else source,
        stores[1] if stores else target,
        report_file=report_file,
        only=only or None,
        progress=Progress(quiet=quiet or as_json),
        out=out,
    )
    tell(result.report, result.path, as_json=as_json, quiet=quiet)
