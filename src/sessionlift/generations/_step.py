"""One generation of a chain, in place: what it adds to the one before, how it goes up, and how it comes back."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

from alembic import context, op
from sqlalchemy import Connection

from sessionlift._version import __version__
from sessionlift.errors import DependentObjectsError, GenerationError, StoreConstraintError, StoreError
from sessionlift.generations import _leftovers, _sqltext, _structure
from sessionlift.generations._dependents import Dependent, dependents
from sessionlift.generations._kept import KEPT_TABLE, STEPS_TABLE, Kept, drop_if_empty, kept_rows, note_step
from sessionlift.generations._kept_digests import NOTE, complement_of, refuse_altered
from sessionlift.generations._revision import Revision, _children_first, refuse_offline_downgrade, table_exists
from sessionlift.stores import quote_identifier

Replay = Callable[[Connection, int], dict[str, int]]
_VERSION = re.compile(r"V([1-9]\d*)__")
# a table that is not there any more, rows that break a rule; anything else is no word against one object alone
_REFUSES = (StoreError.code, StoreConstraintError.code)
_SECOND = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True)
class Record:
    """The program's own record of its generations: a table, and the row that it writes for this one."""

    table: str
    version: str
    description: str

    @property
    def pattern(self) -> str:
        """The versions of this generation, whatever the program called it, as a GLOB."""
        return f"V{number(self.version)}__*"


@dataclass(frozen=True)
class Step(Revision):
    """One generation as what it adds to ``after``, the one before it in the chain.

    ``columns`` are added to tables of earlier generations; ``record`` is the row that the real program writes;
    ``history`` is the table whose row ids tell what was written while the store was on the older generation, and
    ``replay`` counts that in: it gets the last row id that had been counted, and says how much it did.
    ``identity`` names, for a table with added columns, the column that is written once with a row and never after;
    ``alike`` the columns by which two rows of a table say the same, though no key of it says so.
    """

    revision: str = ""
    after: Step | None = None
    columns: Mapping[tuple[str, str], str] = field(default_factory=dict)
    triggers: Mapping[str, str] = field(default_factory=dict)
    record: Record | None = None
    history: str = ""
    identity: Mapping[str, str] = field(default_factory=dict)
    alike: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    replay: Replay | None = None

    # --- what it is

    @property
    def own(self) -> tuple[str, ...]:
        """The statements that lead here from the generation before, in order."""
        added = [
            f"ALTER TABLE {quote_identifier(table)} ADD COLUMN {quote_identifier(column)} {declared}"
            for (table, column), declared in self.columns.items()
        ]
        parts = (self.tables, self.indexes, self.views, self.triggers)
        return (*added, *(statement.strip() for part in parts for statement in part.values()))

    @property
    def statements(self) -> tuple[str, ...]:
        return (*(self.after.statements if self.after else ()), *self.own)

    @property
    def names(self) -> set[str]:
        before = self.after.names if self.after else set()
        return {*before, *self.tables, *self.views}

    @property
    def all_names(self) -> set[str]:
        """Those of its indexes and triggers too."""
        before = self.after.all_names if self.after else set()
        return {*before, *self.tables, *self.views, *self.indexes, *self.triggers}

    @property
    def drops(self) -> tuple[str, ...]:
        """The statements that lead back to the generation before."""
        kinds = (("TRIGGER", list(self.triggers)), ("VIEW", list(self.views)[::-1]), ("INDEX", self._loose_indexes()))
        dropped = [f"DROP {kind} {quote_identifier(name)}" for kind, names in kinds for name in names]
        dropped += [f"DROP TABLE {quote_identifier(name)}" for name in _children_first(self.tables)]
        return (
            *dropped,
            *(
                f"ALTER TABLE {quote_identifier(table)} DROP COLUMN {quote_identifier(column)}"
                for table, column in reversed(list(self.columns))
            ),
        )

    def _loose_indexes(self) -> list[str]:
        """Its indexes on tables that stay."""
        on = {name: _sqltext.index_table(sql) for name, sql in self.indexes.items()}
        return [name for name, table in on.items() if table not in self.tables]

    def differences(self, connection: Connection) -> list[str]:
        """Every difference but what the user has added beside: triggers and indexes."""
        return [said for said in super().differences(connection) if not self._is_the_users(said)]

    def _is_the_users(self, difference: str) -> bool:
        """An index of the user's, unique or not, changes no answer; a trigger has a name that is not ours."""
        subject, unexpected, _ = difference.partition(": unexpected (")
        if not unexpected:
            return False
        trigger = subject.partition(", trigger ")[2]
        return ", index " in subject or bool(trigger and trigger not in self.all_names)

    def in_the_way(self, connection: Connection, down_to: Step | None = None) -> list[Dependent]:
        """The user's objects that need what goes on the way down to ``down_to`` (one step if it is not given)."""
        drops: list[str] = []
        stop = (down_to or self.after or self).revision
        at: Step | None = self
        while at is not None and at.revision != stop:
            drops += at.drops
            at = at.after
        return dependents(_structure.queries(connection), self.all_names, drops)

    # --- up and down

    def upgrade(self) -> None:
        """Make what it adds, bring back what was kept, and verify the whole.

        A store that has exactly the chain's first generation already is taken as it is.
        """
        if context.is_offline_mode():
            self._require_engine(op.get_context().dialect.name)
            for statement in self.own:
                op.execute(statement)
            if self.record is not None:
                op.execute(self._plain_record(self.record))
            return
        connection = op.get_bind()
        self._require_engine(connection.dialect.name)
        taken = self.after is None and any(table_exists(connection, name) for name in self.tables)
        told: dict[str, Any] = {}
        if not taken:
            self._refuse_altered(connection)
            kept = Kept.latest(connection, self.revision)
            made = kept.statements() if kept is not None else {}
            for statement in self._statements(made):
                connection.exec_driver_sql(statement)
            with self._set_aside(connection, self._written_on_the_way_up()):
                told = self._bring_back(connection, kept)
        try:
            self.verify(connection)
        except GenerationError as error:
            if taken:
                error.hint = "if it is of a later generation, `sessionlift upgrade STORE` takes it over as what it is"
            raise
        self._note(connection, "adopted" if taken else "up", told)

    def downgrade(self) -> None:
        """Keep what only this generation holds, take its parts away, and verify the generation before.

        The chain's first one goes only while it holds no rows. Raises DependentObjectsError where objects of the
        user's need what would go, and names each.
        """
        if self.after is None:
            self._downgrade_first()
            return
        connection = op.get_bind()
        self._require_engine(connection.dialect.name)
        self.verify(connection)
        self._refuse_altered(connection)  # what is noted of it at the end must not vouch for what somebody else did
        hindering = self.in_the_way(connection)
        if hindering and not context.config.attributes.get("let_dangle"):
            raise hindered(hindering, self.after.name)
        going = [one for one in hindering if one.goes]
        # SQLite drops no column while a view or a trigger dangles
        written = None if self.columns else self._written_on_the_way_up()
        with self._set_aside(connection, written, but=[one.name for one in going]):
            told = self._keep(connection, going)
            if dangling := [str(one) for one in hindering if not one.goes]:
                told["dangling"] = dangling
            for statement in self.drops:
                connection.exec_driver_sql(statement)
        self.after.verify(connection)
        self._note(connection, "down", told)

    def _refuse_altered(self, connection: Connection) -> None:
        if not context.config.attributes.get("kept_looked_at"):
            refuse_altered(connection, [self.revision])

    def _statements(self, made: Mapping[str, str]) -> tuple[str, ...]:
        """``own``, with the words by which the objects were made that have been there already."""
        known = {
            sql.strip(): name
            for part in (self.tables, self.indexes, self.views, self.triggers)
            for name, sql in part.items()
        }
        return tuple(made.get(known.get(statement, ""), statement) for statement in self.own)

    def _written_on_the_way_up(self) -> set[str]:
        """The older tables into which a step writes; a trigger of the user's must not take that for the program's."""
        return {table for table, _ in self.columns} | ({self.record.table} if self.record is not None else set())

    @contextmanager
    def _set_aside(self, connection: Connection, tables: set[str] | None, *, but: Sequence[str] = ()) -> Iterator[None]:
        """Take the user's triggers on ``tables`` out of the way, and put them back; with None all of the user's views
        and triggers. ``but``: those that do not come back."""
        rows = connection.exec_driver_sql(
            "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE type IN ('view', 'trigger') "
            "ORDER BY type DESC, rowid"
        ).fetchall()
        mine = [
            (str(kind), str(name), str(sql))
            for kind, name, table, sql in rows
            if name not in self.all_names and (tables is None or (kind == "trigger" and str(table).lower() in tables))
        ]
        for kind, name, _ in reversed(mine):
            what = "TRIGGER" if kind == "trigger" else "VIEW"
            connection.exec_driver_sql(f"DROP {what} IF EXISTS {quote_identifier(name)}")
        yield
        for _, name, sql in mine:
            if name not in but:
                connection.exec_driver_sql(sql)

    def _keep(self, connection: Connection, going: list[Dependent]) -> dict[str, Any]:
        kept = Kept.new(connection, self.revision, run_id())
        position = 0
        if self.history:
            rows = connection.exec_driver_sql(f"SELECT max(rowid) FROM {quote_identifier(self.history)}").fetchall()
            position = int(rows[0][0] or 0)
        kept.mark(_now().isoformat(timespec="microseconds"), position)
        counted = {table: kept.keep_rows(table) for table in self.tables}
        for table, column in self.columns:
            there = f"{quote_identifier(column)} IS NOT NULL"
            counted[f"{table}.{column}"] = kept.keep_values(table, column, where=there)
        for table, identity in self.identity.items():
            kept.keep_which_row(table, identity, [column for name, column in self.columns if name == table])
        kept.keep_statements([*self.tables, *self.indexes, *self.views, *self.triggers])
        kept.keep_sequences(list(self.tables))
        for number, one in enumerate(going):
            kept.keep_object(number, one.kind, one.name, one.sql)
            if one.table not in self.tables:
                kind = "TRIGGER" if one.kind == "trigger" else "INDEX"
                connection.exec_driver_sql(f"DROP {kind} IF EXISTS {quote_identifier(one.name)}")
        if self.record is not None:
            kept.keep_rows(self.record.table, where="version GLOB ?", params=(self.record.pattern,))
            self._forget_record(connection, self.record)
        told: dict[str, Any] = {"kept": {name: count for name, count in counted.items() if count}}
        if going:
            told["taken_out"] = [str(one) for one in going]
        return told

    def _bring_back(self, connection: Connection, kept: Kept | None) -> dict[str, Any]:
        others = Kept.others(connection, self.revision, kept)
        if kept is None and not others:
            self._write_record(connection)
            return {}
        # no trigger of this generation may count what is only brought back
        triggers = [_statement(connection, name) for name in self.triggers]
        for name in self.triggers:
            connection.exec_driver_sql(f"DROP TRIGGER {quote_identifier(name)}")
        restored, withheld, replayed = Counter[str](), Counter[str](), dict[str, int]()
        if kept is not None:
            restored.update({table: kept.restore_rows(table) for table in self.tables})
            withheld.update(kept.withhold(list(self.tables)))
            for table in self.tables:
                kept.forget_rows(table)
            for table, column in self.columns:
                restored[f"{table}.{column}"] = kept.restore_values(table, column, self.identity.get(table))
                withheld[f"{table}.{column}"] = kept.values_left(table, column)
            kept.restore_sequences()
        if kept is None or self.record is None or not self._restore_record(connection, kept, self.record):
            self._write_record(connection)
        for other in others:
            restored.update(_leftovers.bring_back(other, _children_first(self.tables)[::-1], self.alike))
            for table, column in self.columns:
                restored[f"{table}.{column}"] += other.restore_values(table, column, self.identity.get(table))
            other.raise_sequences()
        if kept is not None and self.replay is not None:
            replayed = self.replay(connection, kept.position())
        for sql in triggers:
            connection.exec_driver_sql(sql)
        # the latest first: what an earlier way down took out may have its name by now
        every = (*([kept] if kept is not None else []), *others)
        waiting = [_objects_back(connection, one) for one in every]
        columned = sorted({table for table, _ in self.columns})
        left = sum(one.forget(columned, objects=list(still)) for one, still in zip(every, waiting, strict=True))
        told: dict[str, Mapping[str, int]] = {"restored": restored, "replayed": replayed, "withheld": withheld}
        objects = [said for still in waiting for said in still.values()]
        return (
            {name: {k: v for k, v in part.items() if v} for name, part in told.items()}
            | {"left": left}
            | ({"left_out": objects} if objects else {})
        )

    def taken_names(self, connection: Connection, at: Step) -> list[str]:
        """The user's objects that have the name of something which a way up from ``at`` makes or brings back."""
        wanted = {name.lower() for name in self.all_names - at.all_names}
        step: Step | None = self
        while step is not None and step.revision != at.revision:
            kept = Kept.latest(connection, step.revision)
            wanted |= {name.lower() for name in kept.objects()} if kept is not None else set()
            step = step.after
        return [f"{kind} {name}" for name, kind in sorted(names_in(connection).items()) if name in wanted]

    def _downgrade_first(self) -> None:
        refuse_offline_downgrade()
        connection = op.get_bind()
        waiting = kept_rows(_structure.queries(connection))
        data = {name: count for name, count in waiting.items() if self.record is None or name != self.record.table}
        if data:
            listed = ", ".join(f"{name} {count:,}" for name, count in data.items())
            raise GenerationError(
                f"{self.name} cannot be taken away: its complement keeps {sum(data.values()):,} rows ({listed})",
                hint="go up again first, or remove the store itself if nothing in it is needed",
                generation=self.name,
                rows=data,
            )
        if self.record is not None:
            self._forget_record(connection, self.record)
        super().downgrade()
        for table in (KEPT_TABLE, STEPS_TABLE):
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {quote_identifier(table)}")

    # --- the program's own record

    def _forget_record(self, connection: Connection, record: Record) -> None:
        connection.exec_driver_sql(
            f"DELETE FROM {quote_identifier(record.table)} WHERE version GLOB ?", (record.pattern,)
        )

    def _restore_record(self, connection: Connection, kept: Kept, record: Record) -> bool:
        there = connection.exec_driver_sql(
            f"SELECT 1 FROM {quote_identifier(record.table)} WHERE version GLOB ?", (record.pattern,)
        ).fetchall()
        restored = bool(there) or kept.restore_rows(record.table, new_ids=True) > 0
        kept.drop(record.table)
        return restored

    def _write_record(self, connection: Connection) -> None:
        """As the real program writes it; only later than every row that is there, for it sorts by the time."""
        record = self.record
        if record is None:
            return
        rows = connection.exec_driver_sql(f"SELECT max(applied_at) FROM {quote_identifier(record.table)}").fetchall()
        connection.exec_driver_sql(
            f"INSERT INTO {quote_identifier(record.table)} (version, applied_at, description) VALUES (?, ?, ?)",
            (record.version, _after(rows[0][0]), record.description),
        )

    @staticmethod
    def _plain_record(record: Record) -> Any:
        from sqlalchemy import column, insert, table

        into = table(record.table, column("version"), column("applied_at"), column("description"))
        return insert(into).values(
            version=record.version, applied_at=_now().strftime(_SECOND), description=record.description
        )

    def _note(self, connection: Connection, direction: str, told: Mapping[str, Any]) -> None:
        if direction != "adopted":
            told = {**told, NOTE: complement_of(_structure.queries(connection), self.revision)}
        note_step(
            connection,
            run_id=run_id(),
            at=_now().isoformat(timespec="microseconds"),
            direction=direction,
            revision=self.revision,
            tool=f"sessionlift {__version__}",
            detail=json.dumps(told),
        )
        drop_if_empty(connection)


def create_indexes(on: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """The statements of indexes: name -> table, columns."""
    return {
        name: f"CREATE INDEX {quote_identifier(name)} ON {quote_identifier(table)} ({columns})"
        for name, (table, columns) in on.items()
    }


def number(version: str) -> int:
    """The number in the program's own name of a version (``V4__phase4_extensions``), 0 where there is none."""
    match = _VERSION.match(version)
    return int(match.group(1)) if match else 0


def names_in(connection: Connection) -> dict[str, str]:
    """Every named object of the store and its kind, the names in lower case, as SQLite takes them."""
    rows = connection.exec_driver_sql("SELECT name, type FROM sqlite_master").fetchall()
    return {str(name).lower(): str(kind) for name, kind in rows}


def _objects_back(connection: Connection, kept: Kept) -> dict[str, str]:
    """Make the user's indexes and triggers again; returns those that the store refuses by now, and what it says."""
    refused = {}
    for name, (kind, sql) in kept.objects().items():
        same = connection.exec_driver_sql(
            "SELECT sql FROM sqlite_master WHERE lower(name) = lower(?)", (name,)
        ).fetchall()
        if same:
            if str(same[0][0]) != sql:
                refused[name] = f"{kind} {name}: another object has its name"
            continue
        try:
            connection.exec_driver_sql(sql)
        except StoreError as error:
            if error.code not in _REFUSES:
                raise
            refused[name] = f"{kind} {name}: {error.what}"
    return refused


def _statement(connection: Connection, name: str) -> str:
    return str(connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchall()[0][0])


def hindered(found: list[Dependent], target: str) -> DependentObjectsError:
    """The error for a way down that would break objects of the user's."""
    listed = "\n  - ".join(str(one) for one in found)
    return DependentObjectsError(
        f"{len(found)} of your own objects need what {target} does not have:\n  - {listed}",
        hint="drop them first, or say --let-dangle: views and tables stay as they are and lead nowhere, triggers and "
        "indexes are kept in the complement and come back with the next upgrade",
        found=[str(one) for one in found],
    )


def run_id() -> str:
    """The id of the run that an Alembic command belongs to; one of its own for a command by hand."""
    attributes = context.config.attributes
    given = attributes.get("run_id")
    if given is None:
        given = attributes["run_id"] = f"schema-{_now().strftime('%Y%m%dT%H%M%SZ')}-{uuid4().hex[:8]}"
    return str(given)


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _after(latest: Any) -> str:
    """The present second, or the one after ``latest`` if that is not past: two rows must never tie."""
    now = _now().strftime(_SECOND)
    if latest is None or str(latest) < now:
        return now
    try:
        return (datetime.strptime(str(latest), _SECOND) + timedelta(seconds=1)).strftime(_SECOND)
    except ValueError:
        return now  # not a time as the program writes it; the check before the run tells of it
