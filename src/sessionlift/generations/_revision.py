"""One generation as Alembic makes it, takes it away, and checks it: what every revision file shares."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from alembic import context, op
from sqlalchemy import Connection

from sessionlift.errors import GenerationError, UsageError
from sessionlift.generations import _sqltext, _structure
from sessionlift.generations._place import wrong_engine
from sessionlift.generations._signatures import VERSION_TABLE
from sessionlift.stores import quote_identifier

_LISTED = 20  # of the differences in a message; all of them are in the error's fields


def drop_empty_version_table(connection: Connection) -> None:
    """Drop the version table where nothing is stamped in it, so that a full downgrade leaves no trace."""
    query = _structure.queries(connection)
    if table_exists(connection, VERSION_TABLE) and not query(f"SELECT 1 FROM {VERSION_TABLE} LIMIT 1"):
        connection.exec_driver_sql(f"DROP TABLE {VERSION_TABLE}")


def table_exists(connection: Connection, name: str) -> bool:
    """Whether a table of this name is there. Read-only."""
    return name in _tables(connection)


def _tables(connection: Connection) -> set[str]:
    sql = (
        "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database() AND NOT internal"
        if connection.dialect.name == "duckdb"
        else "SELECT name FROM sqlite_master WHERE type = 'table'"
    )
    return {name for (name,) in _structure.queries(connection)(sql)}


def option(name: str, allowed: set[str], *, default: str) -> str:
    """The value of ``-x NAME=VALUE``. Raises UsageError for one that is not allowed."""
    value = context.get_x_argument(as_dictionary=True).get(name, default)
    if value not in allowed:
        raise UsageError(f"-x {name}={value} is not known", hint=f"use one of {', '.join(sorted(allowed))}")
    return str(value)


def refuse_offline_downgrade() -> None:
    """Raise UsageError where Alembic was asked for a downgrade's SQL."""
    if context.is_offline_mode():
        raise UsageError(
            "a downgrade looks at the store before it drops anything, so it has no --sql form",
            hint="run it against the store itself",
        )


def differs(found: list[str], name: str, *, store: str | None = None) -> GenerationError:
    """The error for a store whose structure is not the one of ``name``, with every difference in it."""
    listed = "\n  - ".join(found[:_LISTED])
    if len(found) > _LISTED:
        listed += f"\n  - and {len(found) - _LISTED} more"
    count = f"{len(found)} difference{'s' if len(found) > 1 else ''}"
    return GenerationError(
        f"{store or 'the store'} is not {name} as it should be; {count}:\n  - {listed}",
        hint="something changed its schema, or made it otherwise: compare it with an empty store of that "
        "kind, or name another store",
        store=store,
        generation=name,
        found=found,
    )


@dataclass(frozen=True)
class Settled:
    """What a downgrade was told of rows that are still there, by the name of the part that they belong to.

    Those of ``parts`` may go with their tables: they lie elsewhere too, or nobody needs them. ``refusals`` has what to
    say of others.
    """

    parts: Set[str] = frozenset()
    refusals: Mapping[str, GenerationError] = field(default_factory=dict)


@dataclass(frozen=True)
class Revision:
    """The statements of one generation, by the name of what each makes, in the order they must run."""

    name: str
    dialect: str
    tables: Mapping[str, str]
    indexes: Mapping[str, str] = field(default_factory=dict)
    views: Mapping[str, str] = field(default_factory=dict)
    sequences: Mapping[str, str] = field(default_factory=dict)

    @property
    def statements(self) -> tuple[str, ...]:
        """All of them, in order."""
        parts = (self.sequences, self.tables, self.indexes, self.views)
        return tuple(statement.strip() for part in parts for statement in part.values())

    @property
    def names(self) -> set[str]:
        """The tables, views and sequences that belong to this generation."""
        return {*self.tables, *self.views, *self.sequences}

    def differences(self, connection: Connection) -> list[str]:
        """Every difference between the store and this generation. Read-only; runs in a few queries."""
        expected = _structure.built(self.dialect, self.statements, self.names)
        found = _structure.facts(self.dialect, _structure.queries(connection), self.names)
        return _structure.differences(expected, found)

    def verify(self, connection: Connection) -> None:
        """Raise GenerationError listing every difference between the store and this generation."""
        self._require_engine(connection.dialect.name)
        found = self.differences(connection)
        if found:
            raise differs(found, self.name)

    def upgrade(self) -> None:
        """Make everything and verify it. A store that has exactly all of it already is taken as it is.

        Runs in the caller's transaction, together with the stamp. Raises GenerationError where some of it is
        there and differs.
        """
        if context.is_offline_mode():
            self._require_engine(op.get_context().dialect.name)
            for statement in self.statements:
                op.execute(statement)
            return
        connection = op.get_bind()
        self._require_engine(connection.dialect.name)
        if not _tables(connection) & self.tables.keys():
            for statement in self.statements:
                connection.exec_driver_sql(statement)
        self.verify(connection)

    def downgrade(self) -> None:
        """Drop everything. Raises GenerationError while a table holds rows, and says how many.

        Rows that are settled (``config.attributes``) go with their tables.
        """
        refuse_offline_downgrade()
        connection = op.get_bind()
        self._require_engine(connection.dialect.name)
        self._refuse_rows(connection)
        dropped = [("VIEW", name) for name in self.views]
        dropped += [("TABLE", name) for name in _children_first(self.tables)]
        dropped += [("SEQUENCE", name) for name in self.sequences]
        for kind, name in dropped:
            connection.exec_driver_sql(f"DROP {kind} IF EXISTS {quote_identifier(name)}")

    def _refuse_rows(self, connection: Connection) -> None:
        settled: Settled = context.config.attributes.get("settled", Settled())
        if self.name in settled.parts:
            return
        query = _structure.queries(connection)
        there = _tables(connection)
        counted = {
            name: int(query(f"SELECT count(*) FROM {quote_identifier(name)}")[0][0])
            for name in self.tables
            if name in there
        }
        full = {name: count for name, count in counted.items() if count}
        if full and self.name in settled.refusals:
            raise settled.refusals[self.name]
        if full:
            listed = ", ".join(f"{name} {count:,}" for name, count in full.items())
            raise GenerationError(
                f"{self.name} cannot be taken away: it holds {sum(full.values()):,} rows ({listed})",
                hint="take the sessions back with `sessionlift rollback`, and then say `sessionlift schema downgrade`; "
                "or remove the store itself if nothing in it is needed",
                generation=self.name,
                rows=full,
            )

    def _require_engine(self, dialect: str) -> None:
        if dialect != self.dialect:
            raise wrong_engine(self.name, self.dialect, dialect)


def _children_first(tables: Mapping[str, str]) -> list[str]:
    """Table names so that none is dropped before those that refer to it."""
    left = dict(tables)
    ordered: list[str] = []
    while left:
        parents = {name: _sqltext.references(sql) - {name} for name, sql in left.items()}
        free = [name for name in left if not any(name in parents[other] for other in left)]
        ordered += free or list(left)
        left = {name: sql for name, sql in left.items() if name not in ordered}
    return ordered
