"""V1's rows as they lie in a legacy store in the SQLite dress that is open for writing."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sessionlift.converters._backward import BackwardBatch, Changes
from sessionlift.converters._batch import CATALOG, SESSION, UnitKind
from sessionlift.converters.langswarm._columns import V1_COLUMNS
from sessionlift.converters.langswarm._row import LegacyRow, NotUtf8, digest_of, json_cell, source_digest
from sessionlift.errors import StoreOvertakenError, UsageError
from sessionlift.stores import SqliteStore, Store, quote_identifier

_COLUMNS = ", ".join(quote_identifier(column) for column in V1_COLUMNS)
_MESSAGES = "messages"
"""Under this name the messages inside of a history are counted; V1 has no table of them."""

Cells = tuple[Any, ...]


class LangswarmLegacyRows:
    """V1's sessions in a SQLite file; see ``converters.LegacyRows``. A session is one row, and its id is its key."""

    def holders(self, store: Store, table: str, ids: Sequence[int]) -> dict[int, str]:  # noqa: ARG002
        """V1's rows have no numbers."""
        return {}

    def next_ids(self, store: Store) -> dict[str, int]:  # noqa: ARG002
        """V1's rows have no numbers."""
        return {}

    def compare(self, store: Store, batch: BackwardBatch) -> dict[str, Changes]:
        """By session what ``write`` would add, change and delete; sessions that are as they should be are left out.

        Messages are counted as rows of "messages", those with one id as changed.
        """
        found: dict[str, Changes] = {}
        # what a move or a catch-up left aside is no message that the application has deleted
        aside = {unit.session_id: sum(table == "session_messages" for table, _ in unit.aside) for unit in batch.units}
        with _sqlite(store).mapped():
            for key, cells in _wanted(batch):
                there = _row(_sqlite(store).connection, key)
                if there is None:
                    found[key] = Changes(added={"sessions": 1, **_some(len(_messages(cells)))})
                elif _differ(there, cells):
                    found[key] = _between(there, cells, aside.get(key, 0))
            lacking = _lacking(store, batch)
            if lacking:
                found[""] = Changes(added={"sessions": len(lacking)})
        return found

    def spelled(self, store: Store, batch: BackwardBatch) -> dict[str, list[list[Any]]]:  # noqa: ARG002
        """The batch's sessions as they would come back, ready for JSON."""
        return {"sessions": [list(map(json_cell, cells)) for _, cells in _wanted(batch)]}

    def write(
        self, store: Store, batch: BackwardBatch, seen: Mapping[str, str | None] | None = None
    ) -> dict[str, Changes]:
        """Make the rows of the batch's units what the batch says, in one transaction; returns what changed.

        A row keeps its place in the store; one that is right already is not touched. V1 may write at any time, so
        that ``seen`` is looked at again inside of the transaction.
        """
        db = _sqlite(store)
        with db.mapped(), db.transaction():
            self._refuse_overtaken(db, [key for key, _ in _wanted(batch)], seen)
            changes = self.compare(store, batch)
            for key, cells in _wanted(batch):
                if key not in changes:
                    continue
                if _row(db.connection, key) is None:
                    _insert(db, cells)
                else:
                    places = ", ".join(f"{quote_identifier(name)} = {_mark(cell)}" for name, cell in _named(cells)[1:])
                    db.execute(f"UPDATE sessions SET {places} WHERE session_id = ?", (*map(_bound, cells[1:]), key))
            for cells in _lacking(store, batch):
                _insert(db, cells)
        return changes

    def digests(self, store: Store, kind: UnitKind, ids: Sequence[str]) -> dict[str, str]:
        """The source digests of units (docs/langswarm.md); sessions that the store does not hold are left out."""
        db = _sqlite(store)
        with db.mapped():
            if kind == CATALOG:
                return {"": digest_of("sessions", _others(db.connection))}
            found = {}
            for key in ids:
                cells = _row(db.connection, key)
                if cells is not None:
                    found[key] = source_digest(LegacyRow(key, dict(_named(cells))))
            return found

    def remove(self, store: Store, ids: Sequence[str], seen: Mapping[str, str | None] | None = None) -> None:
        """Delete sessions; done again, it does nothing."""
        db = _sqlite(store)
        with db.mapped(), db.transaction():
            self._refuse_overtaken(db, ids, seen)
            for key in ids:
                db.execute("DELETE FROM sessions WHERE session_id = ?", (key,))

    def _refuse_overtaken(self, db: SqliteStore, ids: Sequence[str], seen: Mapping[str, str | None] | None) -> None:
        if seen is None:
            return
        now = self.digests(db, SESSION, ids)
        for key in ids:
            if now.get(key) != seen.get(key):
                raise StoreOvertakenError(
                    f"the old program wrote to session {key!r} while it was on its way back",
                    hint="nothing was written; run the same command again",
                    store=db.url.redacted,
                    role="source",
                    session_id=key,
                )


def _sqlite(store: Store) -> SqliteStore:
    if not isinstance(store, SqliteStore):
        raise UsageError(
            f"{store.url.redacted} is not opened by the standard library's sqlite3",
            hint="V1's own driver writes V1's store: name it sqlite://PATH",
        )
    return store


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return NotUtf8(value)


def _row(db: sqlite3.Connection, key: str) -> Cells | None:
    cursor = db.cursor()
    db.text_factory, before = _text, db.text_factory
    try:
        found = cursor.execute(f"SELECT {_COLUMNS} FROM sessions WHERE session_id = ?", (key,)).fetchone()
    finally:
        db.text_factory = before
    return None if found is None else tuple(found)


def _others(db: sqlite3.Connection) -> list[Cells]:
    """The rows that no session can be made of, in their order."""
    db.text_factory, before = _text, db.text_factory
    try:
        rows = db.execute(f"SELECT {_COLUMNS} FROM sessions ORDER BY rowid").fetchall()
    finally:
        db.text_factory = before
    return [tuple(row) for row in rows if not isinstance(row[0], str)]


def _wanted(batch: BackwardBatch) -> list[tuple[str, Cells]]:
    return [(cells[0], cells) for cells in batch.rows.get("sessions", ()) if isinstance(cells[0], str)]


def _lacking(store: Store, batch: BackwardBatch) -> list[Cells]:
    """The batch's rows of no session that the store does not have yet; equal ones are counted."""
    wanted = [cells for cells in batch.rows.get("sessions", ()) if not isinstance(cells[0], str)]
    if not wanted:
        return []
    there = Counter(map(_known_as, _others(_sqlite(store).connection)))
    lacking = []
    for cells in wanted:
        if there[_known_as(cells)]:
            there[_known_as(cells)] -= 1
        else:
            lacking.append(cells)
    return lacking


def _known_as(cells: Cells) -> str:
    return repr([(type(cell).__name__, cell) for cell in cells])


def _differ(one: Cells, other: Cells) -> bool:
    return _known_as(one) != _known_as(other)


def _named(cells: Cells) -> list[tuple[str, Any]]:
    return list(zip(V1_COLUMNS, cells, strict=True))


def _mark(cell: Any) -> str:
    return "CAST(? AS TEXT)" if isinstance(cell, NotUtf8) else "?"


def _bound(cell: Any) -> Any:
    return bytes(cell) if isinstance(cell, bytes) else cell


def _insert(db: SqliteStore, cells: Cells) -> None:
    db.insert_rows("sessions", V1_COLUMNS, [tuple(map(_bound, cells))])
    for name, cell in _named(cells):
        if isinstance(cell, NotUtf8):
            # no driver binds such a text
            db.execute(
                f"UPDATE sessions SET {quote_identifier(name)} = CAST(? AS TEXT) WHERE rowid = last_insert_rowid()",
                (bytes(cell),),
            )


# --- what changes, in words of messages


def _between(old: Cells, new: Cells, aside: int) -> Changes:
    before, after = _messages(old), _messages(new)
    left = Counter(map(json.dumps, before)) - Counter(map(json.dumps, after))
    come = Counter(map(json.dumps, after)) - Counter(map(json.dumps, before))
    same = _ids(left) & _ids(come)
    changed = sum(same.values())
    return Changes(
        added=_some(sum(come.values()) - changed),
        changed={"sessions": 1, **_some(changed)},
        deleted=_some(max(0, sum(left.values()) - changed - aside)),
    )


def _ids(messages: Counter[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for text, count in messages.items():
        message = json.loads(text)
        found[json.dumps(message.get("id") if isinstance(message, dict) else message)] += count
    return found


def _some(messages: int) -> dict[str, int]:
    return {_MESSAGES: messages} if messages else {}


def _messages(cells: Cells) -> list[Any]:
    """A history's messages; none of one that cannot be read."""
    try:
        found = json.loads(cells[V1_COLUMNS.index("history")])["messages"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return []
    return found if isinstance(found, list) else []
