"""The ids that v2 draws from its sequences, and those that v3 draws beside it."""

from __future__ import annotations

import duckdb

from sessionlift.stores import Store, literal, quote_identifier

SEQUENCES = {"session_timesteps": "timestep_id_seq", "events": "event_id_seq", "messages": "message_id_seq"}
"""The sequence from which the old program draws the ids of a table."""
GIVEN_BY_HAND = 2**30
"""Ids above are none that any program has counted up to: after the last of v2's 32 bits nothing could follow."""
MAX_GAP = 20_000_000
"""How far a sequence is ever advanced, which takes a second then. An id beyond that was given by hand, and the old
program is far from it."""
ROOM = 1_000_000
"""Ids left free above v2's, for the rows that the old program writes while the new one does so already."""


def drawn(db: duckdb.DuckDBPyConnection) -> dict[str, tuple[int, bool]]:
    """By sequence a number that it has come to, and whether that was drawn for sure.

    In a store that was opened anew, DuckDB gives the next number as both the first and the last; only after other
    draws are they two. What waits in a write-ahead log may be further on.
    """
    rows = db.execute("SELECT sequence_name, start_value, last_value FROM duckdb_sequences()").fetchall()
    return {name: (last or 0, last not in (None, start)) for name, start, last in rows}


def next_ids(db: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """By table the first id that neither v2's rows nor its sequence have come to; ids given by hand aside."""
    come_to = drawn(db)
    found = {}
    for table, sequence in SEQUENCES.items():
        least, sure = come_to.get(sequence, (0, True))
        # without its sequence a table has only its rows to tell by
        most = min(least + MAX_GAP, GIVEN_BY_HAND) if sequence in come_to else GIVEN_BY_HAND
        row = db.execute(f"SELECT coalesce(max(id), 0) FROM {quote_identifier(table)} WHERE id <= ?", [most]).fetchone()
        found[table] = max(least + 1 if sure else least, (row[0] if row is not None else 0) + 1)
    return found


def advance(db: duckdb.DuckDBPyConnection, table: str, want: int, *, least_sure: tuple[int, bool]) -> None:
    """Draw from a table's sequence until it has come to ``want``."""
    least, sure = least_sure
    if want < least or (want == least and (sure or not least)):
        return
    sequence = literal(SEQUENCES[table])
    # where it really stands only a draw tells
    row = db.execute(f"SELECT nextval({sequence})").fetchone()
    if row is not None and row[0] < want:
        db.execute(f"SELECT max(nextval({sequence})) FROM range(?)", [want - row[0]])


def v3_counters(store: Store) -> dict[str, int]:
    """By table the last id that v3 has drawn. What else an application has left there, SQLite takes for a number."""
    found = store.query("SELECT name, max(coalesce(CAST(seq AS INTEGER), 0)) FROM sqlite_sequence GROUP BY name")
    return {str(name): int(str(seq)) for name, seq in found}


def counted_up_to(store: Store) -> dict[str, int]:
    """By table the last id that v3 has counted up to. After one that was given by hand its counter goes on from there,
    where v2 never comes to; what it had drawn before, its rows tell."""
    found = v3_counters(store)
    for table in SEQUENCES:
        if found.get(table, 0) > GIVEN_BY_HAND:
            ((last,),) = store.query(
                f"SELECT coalesce(max(id), 0) FROM {quote_identifier(table)} WHERE id <= ?", (GIVEN_BY_HAND,)
            )
            found[table] = int(str(last))
    return found


def set_v3_counters(store: Store, counters: dict[str, int]) -> None:
    """Let v3 go on after these ids. Belongs into a transaction."""
    for table, last in counters.items():
        store.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
        store.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, last))
