"""Make a target ready, or say why it cannot be one, before anything is written."""

from __future__ import annotations

from sqlalchemy import Connection

from sessionlift.errors import GenerationError, WrongGenerationError
from sessionlift.generations import _structure
from sessionlift.generations._connect import over
from sessionlift.generations._detect import (
    LEDGER_REVISION,
    LEDGER_TABLES,
    Detection,
    detect_in,
    has_ledger_stamp,
    read_shape,
    read_stamps,
    require_generation,
)
from sessionlift.generations._late import late_indexes
from sessionlift.generations._place import TARGET_REVISIONS, is_vacant, require_engine
from sessionlift.generations._schema import refuse_newer, run, verify_stamped
from sessionlift.generations._signatures import VERSION_TABLE
from sessionlift.stores import Store, StoreURL, open_store, parse_store_url

# an application that changes over step by step has new sessions in its store before the first old one comes
_ADOPTED = {"langswarm.v2"}


def prepare_target(url: StoreURL | str, generation: str, *, create: bool = True, size: int = 0) -> Detection:
    """Make ``url`` a store of ``generation`` with a ledger, and say what it holds.

    ``size`` is about how many bytes are going to be written to it. It may be without indexes that a run has left out so
    far (see ``make_late_indexes``).

    A missing or empty store is made (unless ``create`` is false: StoreNotFoundError). An empty store of that
    generation that the real program made is taken as it is; one of langswarm.v2 with rows too, if its structure
    is exact: they are the application's own, and stay. A target of ours gets what its ledger lacks. On DuckDB
    there is no ledger.

    Everything is looked at and made in one transaction: two runs cannot prepare one target at the same time,
    and a killed one leaves it as it was.

    Raises WrongGenerationError (another system or generation, an older or newer form, or rows that no run of
    ours has written), TargetNewerError, GenerationError (the structure has been changed) and the store
    errors, all with exit code 4.
    """
    where = parse_store_url(url) if isinstance(url, str) else url
    require_engine(where, generation)
    with (
        open_store(where, mode="create" if create else "rw", role="target") as store,
        over(store) as connection,
    ):
        store.expect(size)
        return _prepare(store, connection, where, generation)


def _prepare(store: Store, connection: Connection, where: StoreURL, generation: str) -> Detection:
    with connection.begin():
        try:
            return _prepared(store, connection, where, generation)
        except GenerationError as error:
            raise error.as_role("target") from None


def check_target(url: StoreURL | str, generation: str) -> Detection | None:
    """What :func:`prepare_target` would meet: raises as it does, but makes and changes nothing.

    None for a store that is not there yet, or empty. Whether it can be written to is not tried.
    """
    where = parse_store_url(url) if isinstance(url, str) else url
    if is_vacant(where, generation):
        return None
    with open_store(where, mode="ro", role="target") as store, over(store) as connection:
        try:
            found, stamps = _looked_at(store, connection, where, generation)
            if found is not None:
                found.evidence.extend(_adopted(found, stamps))
            return found
        except GenerationError as error:
            raise error.as_role("target") from None


def _prepared(store: Store, connection: Connection, where: StoreURL, generation: str) -> Detection:
    found, stamps = _looked_at(store, connection, where, generation)
    wanted = [TARGET_REVISIONS[generation][0]]
    if where.engine != "duckdb":
        wanted.append(LEDGER_REVISION)
    lacking = [revision for revision in wanted if revision not in stamps]
    if found is not None and not lacking:
        return found  # counting the rows of a large target again would only take time
    for revision in lacking:
        run("upgrade", connection, revision, store=where.redacted)
    query = _structure.queries(connection)
    made = detect_in(query, engine=where.engine, store=where.redacted, role="target")
    if found is not None:
        made.evidence.extend(_adopted(found, stamps))
    return made


def _looked_at(
    store: Store, connection: Connection, where: StoreURL, generation: str
) -> tuple[Detection | None, list[str]]:
    """What is in the store (None for nothing) and its stamps; raises where it cannot be a target."""
    query = _structure.queries(connection)
    named, engine = where.redacted, where.engine
    shape = read_shape(query, engine)
    stamps = read_stamps(query, shape)
    refuse_newer(stamps, store=named)
    found: Detection | None = None
    if shape.keys() - {VERSION_TABLE} - LEDGER_TABLES:
        found = detect_in(query, engine=engine, store=named, role="target", new=True)
        require_generation(found, generation, store=named, role="target", new=True)
        if generation not in _ADOPTED:
            _refuse_foreign_rows(found, stamps, named)
        # what the real program made has no stamp yet, and has to be exact all the same
        exact = sorted({*stamps, TARGET_REVISIONS[generation][0]})
        verify_stamped(connection, exact, store=named, late=late_indexes(store))
    return found, stamps


def _adopted(found: Detection, stamps: list[str]) -> list[str]:
    """What to say of rows that the application wrote into a store of its own before it became a target."""
    if _is_ours(found, stamps) or not any(found.rows.values()):
        return []
    counts = ", ".join(f"{table} {count:,}" for table, count in found.rows.items())
    return [f"taken as it is, with what the application wrote there before: {counts}"]


def _is_ours(found: Detection, stamps: list[str]) -> bool:
    return found.ledger and has_ledger_stamp(stamps)


def _refuse_foreign_rows(found: Detection, stamps: list[str], named: str) -> None:
    rows = sum(found.rows.values())
    if found.engine == "duckdb" or not rows or _is_ours(found, stamps):
        return
    full = ", ".join(f"{table} {count:,}" for table, count in found.rows.items() if count)
    raise WrongGenerationError(
        f"{named} is a {found.generation} store that holds {rows:,} rows ({full}) and no ledger: "
        "no run of this tool wrote them",
        hint="name a new target, or an empty one; rows of two origins could not be told apart afterwards",
        store=named,
        role="target",
        generation=found.generation,
        found=found.evidence,
        missing=sorted(LEDGER_TABLES),
    )
