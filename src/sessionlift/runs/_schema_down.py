"""The schema taken away from a target, once nothing lives in it that lies nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sessionlift.converters import CATALOG, KEPT
from sessionlift.errors import NotTakenBackError
from sessionlift.generations import Settled, added_columns, has_ledger_stamp, schema_downgrade
from sessionlift.ledger import Ledger, LedgerRun
from sessionlift.runs._roads import road_to
from sessionlift.runs._rollback_leave import DISCARDED
from sessionlift.runs._ways_back import TARGETS, way_back_from
from sessionlift.stores import Store, StoreURL, parse_store_url, quote_identifier

_LEDGER = "the ledger"
_TAKE_BACK = (
    "`sessionlift rollback STORE --all` takes it back to the legacy store, or says what it leaves and why; with --to "
    "NEW all of it goes into a new one; the same command then goes through"
)


def downgrade_schema(store: StoreURL | str, revision: str, *, drop_kept: bool = False) -> list[str]:
    """Bring ``store`` back to ``revision``; returns its stamps afterwards. One transaction.

    A target of ours goes with the rows that are left when every session has been taken back: what no session owns, as
    the legacy store has it too, and the ledger. What the ledger keeps for the next move forward, and values of rows
    of no session that the legacy store has no place for, go only with ``drop_kept``.

    Raises NotTakenBackError, and as ``generations.schema_downgrade`` does.
    """
    where = parse_store_url(store) if isinstance(store, str) else store
    return schema_downgrade(
        where, revision, settled=lambda opened, stamps: _settled(opened, stamps, drop_kept), after=_forget_catalog
    )


def _forget_catalog(store: Store, stamps: Sequence[str]) -> None:
    """A ledger that is left alone must not say that the rows of no session are there: they went with their tables, and
    a move forward brings them again."""
    if has_ledger_stamp(stamps) and not any(each.replace(".", "_") in stamps for each in TARGETS):
        Ledger(store).forget(CATALOG, [""])


@dataclass
class _Left:
    """What has not been taken back: sessions, rows of no session, and what the ledger alone keeps, by session.

    ``strays`` are ids under which there are rows, and no session. ``unheld`` counts what the legacy store cannot hold
    of the rows of no session, by table and column.
    """

    sessions: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    catalog: dict[str, int] = field(default_factory=dict)
    unheld: dict[str, int] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)


def _settled(store: Store, stamps: Sequence[str], drop_kept: bool) -> Settled:
    """Which parts may go with the rows that they still have, and why the others may not. Reads only."""
    if not has_ledger_stamp(stamps):
        return Settled()
    # the ledger may have been left alone, by an earlier downgrade
    generation = next((each for each in TARGETS if each.replace(".", "_") in stamps), "")
    left = _left(store, generation)
    named = store.url.redacted
    if left.sessions:
        refusal = NotTakenBackError(
            f"{len(left.sessions):,} sessions of {named} have not been taken back (such as {left.sessions[0]!r})",
            hint=_TAKE_BACK,
            store=named,
            sessions=len(left.sessions),
        )
        return Settled(refusals={generation: refusal, _LEDGER: refusal})
    if left.strays:
        refusal = NotTakenBackError(
            f"{named} has rows of {len(left.strays):,} sessions that are not there (such as {left.strays[0]!r}): they "
            "were written after those had left, or never had one",
            hint="nothing else has them: save what is wanted, and delete them",
            store=named,
            sessions=len(left.strays),
        )
        return Settled(refusals={generation: refusal, _LEDGER: refusal})
    if left.catalog:
        counts = ", ".join(f"{table} {count:,}" for table, count in left.catalog.items())
        refusal = NotTakenBackError(
            f"what no session of {named} owns has not been taken back since it was changed ({counts})",
            hint=_TAKE_BACK,
            store=named,
            rows=left.catalog,
        )
        return Settled(refusals={generation: refusal, _LEDGER: refusal})
    return Settled({generation, _LEDGER}) if drop_kept else _kept_apart(left, generation, named)


def _kept_apart(left: _Left, generation: str, named: str) -> Settled:
    """Of what only the target has, the values of rows of no session go with their tables, the sessions' with the
    ledger; whoever is asked about the one is told of the other, since --drop-kept lets both go."""
    told = []
    if left.unheld:
        counts = ", ".join(f"{place} {count:,}" for place, count in left.unheld.items())
        told.append(f"the legacy store cannot hold some of what no session of {named} owns ({counts})")
    if left.kept:
        told.append(
            f"the ledger of {named} keeps what the legacy store cannot hold of {len(left.kept):,} sessions (such as "
            f"{left.kept[0]!r})"
        )
    if not told:
        return Settled({generation, _LEDGER})
    leave = (
        f"`sessionlift schema downgrade STORE {generation}@base` leaves the ledger, which gives it back with the "
        "next move"
    )
    refusal = NotTakenBackError(
        f"{'; '.join(told)}; nothing else has it",
        hint=f"{'save what is wanted of it' if left.unheld else leave}; --drop-kept lets it go",
        store=named,
        values=left.unheld,
        sessions=len(left.kept),
    )
    parts = {part for part, kept in ((generation, left.unheld), (_LEDGER, left.kept)) if not kept}
    return Settled(parts, {part: refusal for part in (generation, _LEDGER) if part not in parts})


def _left(store: Store, generation: str) -> _Left:
    ledger, road = Ledger(store), road_to(generation)
    runs = ledger.runs()
    back = {run.run_id for run in runs if run.kind == "rollback"}
    found = _Left()
    if road is not None:
        found.sessions = [str(key) for (key,) in store.query(f"SELECT session_id FROM {quote_identifier(road.home)}")]
        found.strays = _strays(store, road.home, way_back_from(generation).tables)
        found.catalog, found.unheld = _catalog_of_its_own(store, ledger, runs, generation)
        found.unheld.update(_in_added_columns(store, generation))
    lying = set(found.sessions)
    for unit in ledger.sessions():
        # one that was deleted here is to be deleted there, too
        gone = unit.state == "rolled_back" or (unit.state == "deleted" and unit.run_id in back)
        if not gone and unit.state != "quarantined" and unit.session_id not in lying:
            found.sessions.append(unit.session_id)
        elif gone and ledger.complement(unit.session_id).keys() & {KEPT, DISCARDED}:
            found.kept.append(unit.session_id)
    return found


def _in_added_columns(store: Store, generation: str) -> dict[str, int]:
    """By table and column the values in columns that the application has added: they go with their tables."""
    found = {}
    for table, names in added_columns(store, generation).items():
        for name in names:
            counted = store.query(f"SELECT count({quote_identifier(name)}) FROM {quote_identifier(table)}")
            found[f"{table}.{name}"] = int(str(counted[0][0]))
    return {place: count for place, count in found.items() if count}


def _strays(store: Store, home: str, tables: Sequence[str]) -> list[str]:
    where = f"session_id IS NULL OR session_id NOT IN (SELECT session_id FROM {quote_identifier(home)})"
    found = {
        str(key)
        for table in tables
        if table != home
        for (key,) in store.query(f"SELECT DISTINCT session_id FROM {quote_identifier(table)} WHERE {where}")
    }
    return sorted(found)


def _catalog_of_its_own(
    store: Store, ledger: Ledger, runs: Sequence[LedgerRun], generation: str
) -> tuple[dict[str, int], dict[str, int]]:
    """The rows of no session, by table, unless they make the very rows that the legacy store has of them; and what it
    has no place for, by table and column."""
    zones = [str(run.options["timezone"]) for run in runs if "timezone" in run.options]
    with way_back_from(generation).backward(zones[-1] if zones else "UTC", ledger.quarantined_ids()) as backward:
        memory = ledger.remembered(CATALOG, [""]).get("")
        batch = backward.catalog(store, memory)
    made = {unit.source_digest for unit in batch.units}
    unheld = {f"{loss.table}.{loss.column}": loss.count for loss in batch.losses if loss.code != "id_renumbered"}
    if (not made and not any(batch.gone.values())) or (memory is not None and made == {memory.source_digest}):
        return {}, unheld
    return {table: len(rows) for table, rows in batch.rows.items() if rows}, unheld
