"""Options that several commands share, and how they become a run's options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from sessionlift.converters import TypeMapping, load_mapping
from sessionlift.runs import TransferOptions

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

timezone_option = click.option(
    "--timezone",
    metavar="ZONE",
    default=None,
    help="Zone of the legacy store's naive times, such as Europe/Berlin.  [default: UTC, and the report says so]",
)
mapping_option = click.option(
    "--mapping",
    "mapping_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=None,
    help="JSON file that maps message and event types of the source to types of the target.",
)
only_option = click.option(
    "--only", metavar="ID", multiple=True, help="Take this session only; may be given many times."
)
salvage_option = click.option(
    "--salvage",
    is_flag=True,
    help="Move what can be read of a session whose history is broken; what cannot goes to quarantine.",
)
same_source_option = click.option(
    "--same-source",
    is_flag=True,
    help="SOURCE is the store that TARGET was filled from, at another place now.",
)
report_file_option = click.option(
    "--report-file",
    type=click.Path(path_type=Path),
    default=None,
    help="File or directory for the report.  [default: TARGET.reports/ beside the target]",
)
no_backup_option = click.option(
    "--no-backup", is_flag=True, help="Write into stores that hold data without a copy of them; the report says so."
)
backup_dir_option = click.option(
    "--backup-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Directory for the copies of stores that hold data, made before the first change.  "
    "[default: STORE.backups beside each]",
)


def transfer_options(
    timezone: str | None,
    mapping_file: Path | None,
    only: tuple[str, ...],
    on_error: Literal["quarantine", "stop"] = "quarantine",
    same_source: bool = False,
    salvage: bool = False,
) -> TransferOptions:
    """The options of a move from what the command line gave."""
    return TransferOptions(
        timezone="UTC" if timezone is None else timezone,
        timezone_given=timezone is not None,
        only=only or None,
        on_error=on_error,
        same_source=same_source,
        salvage=salvage,
        mapping=load_mapping(mapping_file) if mapping_file is not None else TypeMapping(),
    )
