"""V2 sessions as they lie in the target: read, digested, removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sessionlift.converters._batch import CATALOG, UnitKind
from sessionlift.converters._digest import TargetDigests
from sessionlift.converters._forward import Owned
from sessionlift.converters.langswarm._columns import SESSION_TABLES, V2_COLUMNS
from sessionlift.converters.langswarm._message import MessageCells
from sessionlift.converters.langswarm._session import SessionRows
from sessionlift.stores import Store, listed, quote_identifier

_ORDER = {"sessions": ("session_id",), "session_messages": ("session_id", "id"), "session_metrics": ("session_id",)}
_LEFT_NULL = ("token_count", "finish_reason")


class LangswarmRows:
    """What a run does with the V2 rows of units; see ``converters.TargetRows``. The catalog has none."""

    def digests(
        self,
        store: Store,
        kind: UnitKind,
        ids: Sequence[str],
        owned: Owned | None = None,  # noqa: ARG002
    ) -> dict[str, str]:
        """The digests of units as they lie in ``store`` now; a session without rows has that of no rows."""
        if kind == CATALOG:
            return dict(TargetDigests([""]).hexdigests())
        digests = TargetDigests(ids)
        some, params = listed(ids)
        for table in SESSION_TABLES:
            digests.table(table)
            rows = store.read_table(
                table, V2_COLUMNS[table], where=f"session_id IN ({some})", params=params, order_by=_ORDER[table]
            )
            for row in rows:
                digests.rows([row], 0)
        return dict(digests.hexdigests())

    def catalog_rows(self, store: Store) -> dict[str, dict[Any, str]]:  # noqa: ARG002
        """V2 has no table whose rows are no session's."""
        return {}

    def keep_free(self, store: Store, next_ids: Mapping[str, int]) -> dict[str, int]:  # noqa: ARG002
        """V2 rows get the ids that the target draws, whoever writes them."""
        return {}

    def touched(self, store: Store, ids: Sequence[str]) -> set[str]:
        """Those of ``ids`` whose rows hold values in columns that a move leaves NULL: the application wrote them."""
        some, params = listed(ids)
        filled = " OR ".join(f"{quote_identifier(column)} IS NOT NULL" for column in _LEFT_NULL)
        found = store.read_table(
            "session_messages", ("session_id",), where=f"session_id IN ({some}) AND ({filled})", params=params
        )
        return {str(session_id) for (session_id,) in found}

    def remove(
        self,
        store: Store,
        kind: UnitKind,
        ids: Sequence[str],
        owned: Owned | None = None,  # noqa: ARG002
    ) -> None:
        """Delete the rows of units. Belongs into a transaction."""
        if kind == CATALOG:
            return
        some, params = listed(ids)
        for table in reversed(SESSION_TABLES):
            store.execute(f"DELETE FROM {quote_identifier(table)} WHERE session_id IN ({some})", params)


def read_session(store: Store, session_id: str) -> SessionRows | None:
    """A V2 session with its messages in V2's order (``timestamp``, then ``id``); None if there is none.

    Call it in a transaction where the store is written to meanwhile: it takes three statements.
    """
    found = {}
    for table, order in (("sessions", ()), ("session_messages", ("timestamp", "id")), ("session_metrics", ())):
        found[table] = list(
            store.read_table(table, V2_COLUMNS[table], where="session_id = ?", params=(session_id,), order_by=order)
        )
        if not found["sessions"]:
            return None
    metrics = found["session_metrics"]
    return SessionRows(
        tuple(found["sessions"][0]),
        [MessageCells(*row) for row in found["session_messages"]],
        tuple(metrics[0]) if metrics else None,
    )
