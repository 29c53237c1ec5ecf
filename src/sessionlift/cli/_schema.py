"""``sessionlift schema``: the Alembic revisions of a store."""

from __future__ import annotations

from typing import Any

import click

from sessionlift import generations
from sessionlift.cli._common import Group, emit_json, json_option
from sessionlift.runs import downgrade_schema
from sessionlift.stores import parse_store_url


@click.group(cls=Group)
def schema() -> None:
    """Make, take back and check the schema of a store.

    Each command runs in one transaction together with the stamps it writes: killed or failed, the store is as
    it was. The same revisions work with plain Alembic: `alembic -c $(sessionlift schema config) -x url=STORE
    ...`.
    """


def _stamps(store: str, stamps: list[str], *, as_json: bool, **more: Any) -> None:
    if as_json:
        emit_json({"ok": True, "store": parse_store_url(store).redacted, "revisions": stamps, **more})
    else:
        click.echo("\n".join(stamps) if stamps else "no revision is stamped in this store")


@schema.command()
@click.argument("store")
@click.argument("revision")
@click.option(
    "--dress",
    type=click.Choice(["final", "mid"]),
    help="The form of synth_v2: final (the default), or mid, with the foreign keys of the earlier releases.",
)
@json_option
def upgrade(store: str, revision: str, dress: str | None, as_json: bool) -> None:
    """Bring STORE to REVISION; a store that is not there is made.

    REVISION is one of those that `schema history` lists. An empty store that the real program made is taken
    as it is, if it has exactly the structure of the revision.
    """
    _stamps(store, generations.schema_upgrade(store, revision, dress=dress), as_json=as_json)


@schema.command()
@click.argument("store")
@click.argument("revision")
@click.option(
    "--drop-kept",
    is_flag=True,
    help="Let go what the ledger keeps for the next move since the legacy store cannot hold it.",
)
@json_option
def downgrade(store: str, revision: str, drop_kept: bool, as_json: bool) -> None:
    """Bring STORE back to REVISION.

    `base` is before everything; `ledger@base` takes only the ledger away, `synth.v3@base` all but the ledger. Refuses
    while the tables that would go hold rows, or, of a target, while a session has not been taken back.
    """
    _stamps(store, downgrade_schema(store, revision, drop_kept=drop_kept), as_json=as_json)


@schema.command()
@click.argument("store")
@json_option
def current(store: str, as_json: bool) -> None:
    """Print the revisions stamped in STORE. Changes nothing."""
    _stamps(store, generations.schema_current(store), as_json=as_json)


@schema.command()
@click.argument("store")
@json_option
def verify(store: str, as_json: bool) -> None:
    """Compare STORE with every revision stamped in it, and list each difference. Changes nothing."""
    stamps = generations.schema_verify(store)
    if as_json:
        _stamps(store, stamps, as_json=True, differences=[])
    else:
        click.echo(f"exactly {' and '.join(stamps)}")


@schema.command()
@json_option
def history(as_json: bool) -> None:
    """List every revision that this build knows."""
    infos = generations.schema_history()
    if as_json:
        emit_json({"ok": True, "revisions": [info.to_dict() for info in infos]})
        return
    width = max(len(info.revision) for info in infos)
    for info in infos:
        after = info.down_revision or "base"
        click.echo(f"{info.revision:<{width}}  {info.generation} (after {after}): {info.summary}")


@schema.command()
@json_option
def config(as_json: bool) -> None:
    """Print the path of the alembic.ini that plain Alembic can be given with -c."""
    if as_json:
        emit_json({"ok": True, "config": str(generations.schema_config())})
    else:
        click.echo(str(generations.schema_config()))
