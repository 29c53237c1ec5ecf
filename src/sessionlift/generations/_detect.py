"""Which generation a store holds: its structure first, its rows second, its stamps last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sessionlift.errors import (
    MixedGenerationError,
    StoreReadOnlyError,
    UnknownGenerationError,
    WrongGenerationError,
)
from sessionlift.generations import _dumps, _langswarm, _textfiles
from sessionlift.generations._kept import KEPT_TABLE, STEPS_TABLE
from sessionlift.generations._query import Query
from sessionlift.generations._signatures import SIGNATURES, VERSION_TABLE, Shape, Signature
from sessionlift.generations._synth_form import unlike
from sessionlift.stores import (
    Mode,
    PrivateDirectory,
    Role,
    Store,
    StoreURL,
    copy_with_side_files,
    needs_recovery,
    no_room,
    open_store,
    parse_store_url,
    quote_identifier,
    side_file,
)

LEDGER_REVISION = "ledger_2"
LEDGER_TABLES = frozenset(
    f"sessionlift_{name}"
    for name in (
        "runs",
        "units",
        "complement",
        "quarantine",
        "losses",
        "facts",
        "rollout",
        "attempts",
        "shadow",
    )
)
#: What this build moves; everything else is only recognised.
MOVED = {"synth.v2": "synth.v3", "langswarm.v1": "langswarm.v2"}
#: What it leads along a chain, in place or as a copy; each can be taken back.
LED_UP = dict.fromkeys(("session_buddy.v1", "session_buddy.v2", "session_buddy.v3"), "session_buddy.v4")
_EARLY_MESSAGE = "SessionEventMessage"


@dataclass(frozen=True)
class Detection:
    """What a store holds, and what says so.

    ``dress`` is ``final`` or ``early/mid`` for synth.v2, ``sqlite``, ``dump`` or ``enhanced`` for langswarm.v1,
    else None. ``lacks`` names what an older form of the
    generation does not have, ``newer`` what only a later form has; both are empty where the store is exactly
    of the form that this build knows. ``rows`` counts the generation's tables. ``beside`` counts, in a store that can
    be moved, what is none of the generation's and not empty: by ``(table, None)`` rows, by ``(table, column)`` values.
    ``unlike`` says what of a synth.v2 store has not the types, or the keys, that its program gives it.
    """

    system: str
    generation: str
    engine: str
    dress: str | None = None
    evidence: list[str] = field(default_factory=list)
    ledger: bool = False
    rows: dict[str, int] = field(default_factory=dict)
    lacks: list[str] = field(default_factory=list)
    newer: list[str] = field(default_factory=list)
    stamps: list[str] = field(default_factory=list)
    beside: dict[tuple[str, str | None], int] = field(default_factory=dict)
    unlike: list[str] = field(default_factory=list)

    @property
    def moves_to(self) -> str | None:
        """The generation to which this build moves it, or None where it moves it nowhere."""
        return MOVED.get(self.generation) or LED_UP.get(self.generation)

    @property
    def described(self) -> str:
        """The generation with its form, as messages name it."""
        if self.newer:
            return f"{self.generation} (newer form: has {', '.join(self.newer)})"
        if self.lacks:
            return f"{self.generation} (older form: lacks {', '.join(self.lacks)})"
        return self.generation

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON, with the keys in this order."""
        beside = {".".join(filter(None, place)): count for place, count in self.beside.items()}
        return {**asdict(self), "beside": beside, "moves_to": self.moves_to}


_NEW_ONE = "name a new target: it will be created"
_FILLED = "name the target of a migration; `sessionlift detect STORE` tells what a store holds"


def detect(url: StoreURL | str, *, role: Role = "source") -> Detection:
    """Name the generation that a store holds. Read-only: the store is byte-identical afterwards.

    Raises UnknownGenerationError when no known schema fits, MixedGenerationError when parts of several do,
    each with ``fields['found']``, and the store errors of opening it.
    """
    where = parse_store_url(url) if isinstance(url, str) else url
    if where.engine == "json":
        dump = _dumps.read_dump(where, role=role)
        return Detection(
            system="langswarm",
            generation="langswarm.v1",
            engine="json",
            dress="dump",
            evidence=dump.evidence,
            rows={"sessions": dump.members},
        )
    text = _textfiles.recognise(where)
    if text is not None:
        system, generation, evidence = text
        return Detection(system=system, generation=generation, engine="file", evidence=evidence)
    if where.engine not in ("libsql", "sqlite") or where.path is None or not needs_recovery(where.path):
        try:
            return _detected(where, where, role)
        except StoreReadOnlyError:
            # a journal that has to be rolled back, which a reader may not do
            if where.path is None or not side_file(where.path, "-journal").exists():
                raise
    return _detected_in_copy(where, where.path, role)


def _detected(opened: StoreURL, named: StoreURL, role: Role, *, mode: Mode = "ro") -> Detection:
    with open_store(opened, mode=mode, role=role) as store:
        return detect_in(store.query, engine=named.engine, store=named.redacted, role=role)


def _detected_in_copy(where: StoreURL, path: Path, role: Role) -> Detection:
    """The same for a store that a killed program left in need of recovery, which happens in a private copy."""
    with PrivateDirectory("detect") as directory:
        copy = directory / "copy.db"
        try:
            copy_with_side_files(path, copy)
        except OSError as error:
            raise no_room(error) from error
        found = _detected(replace(where, path=copy), where, role, mode="rw")
    found.evidence.append("read in a private copy, for a program that was killed left it in need of recovery")
    return found


def detect_in(query: Query, *, engine: str, store: str, role: Role, new: bool = False) -> Detection:
    """The same over an open store. Reads the catalog, the stamps and one count per table.

    ``new``: errors say that another store would be made, for those who make it.
    """
    shape = read_shape(query, engine)
    signature = _choose(query, shape, engine, store, role, new)
    rows = {
        table: int(query(f"SELECT count(*) FROM {quote_identifier(table)}")[0][0])
        for table in (*signature.needs, *sorted(signature.whole.keys() - signature.needs.keys()))
        if table in shape
    }
    tables = ", ".join(sorted(signature.tables & shape.keys()))
    evidence = [f"the tables of {signature.generation} with their columns, on {engine}: {tables}"]
    dress = None
    if signature.generation == "synth.v2":
        dress, said = _dress(query, rows)
        evidence += said
    elif signature.generation == "langswarm.v1":
        dress, said = _langswarm.dress(query, rows, shape, store=store, role=role)
        evidence += said
    stamps = read_stamps(query, shape)
    ledger = shape.keys() >= LEDGER_TABLES
    if ledger:
        evidence.append("the ledger's tables")
    if stamps:
        evidence.append(f"stamped {', '.join(stamps)} in {VERSION_TABLE}")
    others = sorted(shape.keys() - signature.tables - LEDGER_TABLES - {VERSION_TABLE, KEPT_TABLE, STEPS_TABLE})
    if others:
        evidence.append(f"other tables beside them: {', '.join(others)}")
    elsewhere = _elsewhere(query) if engine == "duckdb" else []
    if elsewhere:
        evidence.append(f"tables in other schemas of the file: {', '.join('.'.join(place) for place in elsewhere)}")
    beside = _beside(query, shape, signature, others, elsewhere) if signature.generation in MOVED else {}
    columns = [f"{table}.{column}" for table, column in beside if column is not None]
    if columns:
        evidence.append(f"columns that no move knows of: {', '.join(columns)}")
    odd = unlike(query) if signature.generation == "synth.v2" else []
    if odd:
        evidence.append(f"not as its program makes it: {'; '.join(odd)}")
    return Detection(
        system=signature.system,
        generation=signature.generation,
        engine=engine,
        dress=dress,
        evidence=evidence,
        ledger=ledger,
        rows=rows,
        lacks=signature.lacking(shape),
        newer=signature.newer(shape),
        stamps=stamps,
        beside=beside,
        unlike=odd,
    )


def _beside(
    query: Query, shape: Shape, signature: Signature, others: Sequence[str], elsewhere: Sequence[tuple[str, str]]
) -> dict[tuple[str, str | None], int]:
    """What no move knows of: it is told, so that nobody takes it for moved."""
    found: dict[tuple[str, str | None], int] = {}
    for table in others:
        found[table, None] = int(query(f"SELECT count(*) FROM {quote_identifier(table)}")[0][0])
    for schema, table in elsewhere:
        place = f"{quote_identifier(schema)}.{quote_identifier(table)}"
        found[f"{schema}.{table}", None] = int(query(f"SELECT count(*) FROM {place}")[0][0])
    for table in sorted(signature.tables & shape.keys()):
        for column in sorted(shape[table] - signature.columns(table)):
            values = query(f"SELECT count({quote_identifier(column)}) FROM {quote_identifier(table)}")
            found[table, column] = int(values[0][0])
    return {place: count for place, count in found.items() if count}


def added_columns(store: Store, generation: str) -> dict[str, list[str]]:
    """By table of ``generation`` the columns in ``store`` that its program makes in no form of it. Read-only.

    A generated column has no value of its own, and is none of them.
    """
    found: dict[str, list[str]] = {}
    for signature in SIGNATURES:
        for table in sorted(signature.tables) if signature.generation == generation else ():
            names = [str(row[1]) for row in store.query(f"PRAGMA table_info({quote_identifier(table)})")]
            if added := [name for name in names if name not in signature.columns(table)]:
                found[table] = added
    return found


def _elsewhere(query: Query) -> list[tuple[str, str]]:
    """Schema and name of the tables of a DuckDB file that are not where a program without a schema of its own looks."""
    rows = query(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal AND NOT temporary "
        "AND database_name = current_database() AND schema_name <> 'main' ORDER BY 1, 2"
    )
    return [(str(schema), str(table)) for schema, table in rows]


def require_generation(found: Detection, *wanted: str, store: str, role: Role, new: bool = False) -> Detection:
    """The detection itself when its generation is one of ``wanted``, in the form this build knows.

    Raises WrongGenerationError that says what the store is and what to do; with ``new``, that another would be made.
    """
    if found.generation in wanted and not found.lacks and not found.newer:
        return found
    asked = " or ".join(wanted)
    if found.generation in wanted:
        hint = "let the release of the program that the form belongs to write into a new store"
        hint += f", or {_NEW_ONE}" if new else ""
    elif role == "source" and found.generation in MOVED.values():
        hint = f"this looks like a target; the source comes first, and has to be {asked}"
    elif new and found.generation == "langswarm.v1" and "langswarm.v2" in wanted:
        hint = _langswarm.NO_TARGET
    elif role == "target" and found.generation in MOVED:
        hint = f"this looks like a source; the target comes second; {_NEW_ONE if new else _FILLED}"
    elif found.generation in MOVED:
        hint = f"name a store of {asked}"
    elif role == "source" and found.generation in {*LED_UP, *LED_UP.values()}:
        hint = (
            "it is led along its chain: sessionlift upgrade STORE --dry-run says what would change, "
            "sessionlift session-buddy verify STORE checks it"
        )
    elif found.generation in {*LED_UP, *LED_UP.values()}:
        hint = (
            "it is changed in place: sessionlift downgrade STORE --to GENERATION leads it back; "
            "as the target of a move name another file"
        )
    else:
        moves = ", ".join(f"{old} to {new}" for old, new in MOVED.items())
        hint = f"this build moves {moves}; name such a store"
    raise WrongGenerationError(
        f"{store} is a {found.described} store; a {asked} store is needed as the {role}",
        hint=hint,
        store=store,
        role=role,
        generation=found.generation,
        wanted=list(wanted),
        found=found.evidence,
    )


def require_source(found: Detection, *wanted: str, store: str) -> Detection:
    """The same for a store that is to be moved. What its program cannot have made, no move carries exactly: it would
    pass over rows, or write what no reader takes. Raises WrongGenerationError that names each such thing.
    """
    require_generation(found, *wanted, store=store, role="source")
    if found.unlike:
        listed = "\n  - ".join(found.unlike)
        raise WrongGenerationError(
            f"{store} has the tables of {found.generation}, but not as its program makes them:\n  - {listed}",
            hint="nothing was moved; mend a copy of it with DuckDB (ALTER TABLE ... ALTER ... TYPE ...; complete or "
            "delete the rows that are named), and name that",
            store=store,
            role="source",
            generation=found.generation,
            wanted=list(wanted),
            found=found.unlike,
        )
    return found


def read_shape(query: Query, engine: str) -> Shape:
    """Every table with its column names; views, indexes and SQLite's own tables left out."""
    if engine == "duckdb":
        rows = query(
            "SELECT c.table_name, c.column_name FROM duckdb_columns() AS c "
            "JOIN duckdb_tables() AS t USING (table_oid, database_name) "
            "WHERE NOT t.internal AND database_name = current_database() AND t.schema_name = 'main'"
        )
    else:
        rows = query(
            "SELECT m.name, c.name FROM sqlite_master AS m JOIN pragma_table_xinfo(m.name) AS c "
            "WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite^_%' ESCAPE '^'"
        )
    shape: dict[str, set[str]] = {}
    for table, column in rows:
        shape.setdefault(table, set()).add(column)
    return {table: frozenset(columns) for table, columns in sorted(shape.items())}


def has_ledger_stamp(stamps: Sequence[str]) -> bool:
    """Whether a store with these stamps has our ledger, of whichever form."""
    return any(stamp.startswith("ledger_") for stamp in stamps)


def has_earlier_ledger(store: Store) -> bool:
    """Whether ``prepare_target`` would lead the store's ledger up to the form of today. Read-only.

    By its form: a stamp may have been lost.
    """
    made = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'sessionlift_units' AND sql LIKE ?"
    return bool(store.query(made, ("%WITHOUT ROWID%",)))


def read_stamps(query: Query, shape: Shape) -> list[str]:
    """The revisions that the store says it has."""
    if VERSION_TABLE not in shape:
        return []
    return sorted(str(stamp) for (stamp,) in query(f"SELECT version_num FROM {VERSION_TABLE}"))


def _choose(query: Query, shape: Shape, engine: str, store: str, role: Role, new: bool) -> Signature:
    kind = "duckdb" if engine == "duckdb" else "sqlite"
    same_engine = [signature for signature in SIGNATURES if signature.engine == kind]
    fits = [signature for signature in same_engine if not signature.against(shape)]
    fits = [signature for signature in fits if not signature.weak] or fits
    # a later generation that has all of an earlier one and more is the one it is
    fits = [one for one in fits if not any(one.tables < other.tables for other in fits if other.system == one.system)]
    claims = {
        signature.generation: sorted(signature.own & shape.keys())
        for signature in same_engine
        if signature.own & shape.keys() and signature not in fits
    }
    found = [f"{table} ({', '.join(sorted(columns))})" for table, columns in shape.items()]
    if len(fits) == 1:
        claims = _without_guests(query, claims, fits[0])
        if not claims:
            return fits[0]
    if fits or len(claims) > 1:
        parts = [f"{one.generation} (all its tables)" for one in fits]
        parts += [f"{generation} ({', '.join(tables)})" for generation, tables in claims.items()]
        raise MixedGenerationError(
            f"{store} holds parts of more than one schema: {'; '.join(parts)}",
            hint="a program of one generation opened the file of another; separate them first, from a backup "
            "or by copying the tables that belong together",
            store=store,
            role=role,
            found=found,
        )
    systems = ", ".join(sorted({signature.system for signature in SIGNATURES} | {"semloop"}))
    raise UnknownGenerationError(
        f"{store} holds {_said(shape)}; no known schema fits{_nearest(shape, kind)}",
        hint=_NEW_ONE if new else _FILLED if role == "target" else f"name a store that a known system wrote: {systems}",
        store=store,
        role=role,
        found=found,
    )


def _without_guests(query: Query, claims: dict[str, list[str]], host: Signature) -> dict[str, list[str]]:
    """The claims that stay when the empty tables of a program that opened the file by mistake do not count."""
    return {
        generation: tables
        for generation, tables in claims.items()
        if not host.guests.issuperset(tables)
        or any(query(f"SELECT 1 FROM {quote_identifier(table)} LIMIT 1") for table in tables)
    }


def _said(shape: Shape) -> str:
    if not shape:
        return "no tables at all"
    names = list(shape)
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"{len(names)} table{'s' if len(names) > 1 else ''} ({', '.join(names[:8])}{more})"


def _nearest(shape: Shape, kind: str) -> str:
    scored = [(len(one.tables & shape.keys()) / len(one.tables), one) for one in SIGNATURES]
    share, nearest = max(scored, key=lambda pair: (pair[0], pair[1].engine == kind, -len(pair[1].against(shape))))
    if share < 0.5:
        return ""
    against = nearest.against(shape)
    if nearest.engine != kind:
        against = [f"it lives on {'DuckDB' if nearest.engine == 'duckdb' else 'SQLite'}", *against]
    return f". The nearest is {nearest.generation}, but for: {'; '.join(against[:6])}"


def _dress(query: Query, rows: dict[str, int]) -> tuple[str, list[str]]:
    keys = query(
        "SELECT DISTINCT table_name FROM duckdb_constraints() WHERE constraint_type = 'FOREIGN KEY' "
        "AND database_name = current_database() "
        "AND table_name IN ('session_timesteps', 'events', 'messages') ORDER BY 1"
    )
    early = int(query(f"SELECT count(*) FROM messages WHERE message_type = '{_EARLY_MESSAGE}'")[0][0])
    views = {name for (name,) in query("SELECT view_name FROM duckdb_views() WHERE NOT internal")}
    if keys:
        said = [f"foreign keys on {', '.join(name for (name,) in keys)}: the early/mid dress"]
    else:
        said = ["no foreign keys on timesteps, events and messages: the final dress"]
    if "experiment_overview" not in views:
        said.append("no view experiment_overview")
    total = rows["messages"]
    if early:
        which = "all" if early == total else f"{early:,} of"
        said.append(f"{which} {total:,} messages are rows of the early/mid dress ({_EARLY_MESSAGE})")
    elif total:
        said.append(f"all {total:,} messages are rows of the final dress")
    return ("early/mid" if keys else "final"), said
