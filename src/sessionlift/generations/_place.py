"""What can be said of a target without Alembic, which takes longer to load than most stores to be looked at."""

from __future__ import annotations

from collections.abc import Sequence

from sessionlift.errors import StoreNotFoundError, UsageError, WrongGenerationError
from sessionlift.generations._detect import LEDGER_REVISION, read_shape, read_stamps
from sessionlift.stores import Store, StoreURL, parse_store_url, real_file, sniff

# generation -> its revision, and whether it lives on DuckDB
TARGET_REVISIONS = {
    "synth.v2": ("synth_v2", True),
    "synth.v3": ("synth_v3", False),
    "langswarm.v1": ("langswarm_v1", False),
    "langswarm.v2": ("langswarm_v2", False),
}
_OURS = {LEDGER_REVISION, *(revision for revision, _ in TARGET_REVISIONS.values())}
_ENGINES = {"sqlite": "SQLite or libSQL", "duckdb": "DuckDB"}


def is_vacant(url: StoreURL | str, generation: str) -> bool:
    """True where a target of ``generation`` would be made anew: no file is there yet, or an empty one.

    Raises UsageError (no target of that generation can be made), WrongGenerationError (not on that engine), and
    StoreNotFoundError (no directory is there). Makes and changes nothing.
    """
    where = parse_store_url(url) if isinstance(url, str) else url
    require_engine(where, generation)
    if where.path is None:
        return False
    if not (parent := real_file(where.path).parent).is_dir():
        raise StoreNotFoundError(
            f"there is no directory {parent}",
            hint="create it, or check the path",
            store=where.redacted,
            role="target",
        )
    return sniff(where.path) in ("missing", "empty")


def require_engine(where: StoreURL, generation: str) -> None:
    """Raise UsageError or WrongGenerationError where no target of ``generation`` can be made on that engine."""
    # before the store is opened, for opening makes the file
    if generation not in TARGET_REVISIONS:
        raise UsageError(f"no target of {generation} can be made", hint=f"one of {', '.join(TARGET_REVISIONS)}")
    if where.engine == "duckdb" and where.path is not None and where.path.exists():
        return
    on_duckdb = TARGET_REVISIONS[generation][1]
    if where.engine == "json" or (where.engine == "duckdb") != on_duckdb:
        found = where.engine if where.engine in ("duckdb", "json") else "sqlite"
        raise wrong_engine(generation, "duckdb" if on_duckdb else "sqlite", found, store=where.redacted)


def refuse_newer(stamps: Sequence[str], *, store: str) -> None:
    """Raise TargetNewerError for a stamp that this build does not know."""
    if not _OURS.issuperset(stamps):
        from sessionlift.generations import _schema

        _schema.refuse_newer(stamps, store=store)


def refuse_newer_store(store: Store) -> None:
    """The same for an open store, by the stamps in it. Read-only."""
    engine = "duckdb" if store.url.engine == "duckdb" else "sqlite"
    refuse_newer(read_stamps(store.query, read_shape(store.query, engine)), store=store.url.redacted)


def wrong_engine(name: str, dialect: str, found: str, *, store: str | None = None) -> WrongGenerationError:
    """The error for a revision that was asked for on an engine where it does not live."""
    on = _ENGINES.get(found, "a JSON file")
    return WrongGenerationError(
        f"{name} lives on {_ENGINES[dialect]}, and {store or 'this store'} is on {on}",
        hint=f"name a store on {_ENGINES[dialect]}",
        store=store,
        role="target",
        generation=name,
    )
