"""``sessionlift backup`` and ``sessionlift restore``."""

from __future__ import annotations

from pathlib import Path

import click

from sessionlift.cli._common import Command, emit_json, json_option
from sessionlift.runs import restore_backup, take_backup


@click.command(cls=Command)
@click.argument("store")
@click.option(
    "--to",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Directory for the backup.  [default: STORE.backups beside the store]",
)
@json_option
def backup(store: str, directory: Path | None, as_json: bool) -> None:
    """Copy STORE as it is now, with a manifest of digests.

    STORE is a DuckDB, SQLite or libSQL file; other programs may read it meanwhile, and SQLite's may write. Nothing of
    it is changed. Without --to the backup lies in STORE.backups.
    """
    info = take_backup(store, directory)
    if as_json:
        emit_json({"ok": True, **info.to_dict()})
        return
    click.echo(f"Backup: {info.path}")
    tables = len(info.content["rows"])
    click.echo(f"  {info.generation or 'no known schema'}, {info.rows:,} rows in {tables} tables, {info.bytes:,} bytes")


@click.command(cls=Command)
@click.argument("backup", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--to", "store", default=None, help="Where to put the store.  [default: where it came from]")
@click.option("--replace", is_flag=True, help="Keep a store that is there already aside, under a name that is told.")
@json_option
def restore(backup: Path, store: str | None, replace: bool, as_json: bool) -> None:
    """Put the store of BACKUP back, after its files and its content proved to be those of the manifest.

    BACKUP is the directory that `sessionlift backup` told. A store that is there already is never overwritten.
    """
    done = restore_backup(backup, store, replace=replace)
    if as_json:
        emit_json({"ok": True, **done.to_dict()})
        return
    click.echo(f"Restored: {done.store}")
    if done.aside is not None:
        click.echo(f"The store that was there: {done.aside}")
