"""Make a synth.v2 store of a given size through our own revision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Literal

import duckdb

from sessionlift._demo import _rows
from sessionlift.errors import UsageError
from sessionlift.generations import schema_upgrade
from sessionlift.stores import StoreURL

Dress = Literal["final", "mid", "mixed"]
Traps = Literal["none", "usual", "all"]

# Sessions built at a time: bounds the memory of a store of any size.
_CHUNK = 20_000


@dataclass(frozen=True)
class DemoStore:
    """What was made: the path, the choices, and the number of rows of every table that holds sessions."""

    path: Path
    sessions: int
    seed: int
    dress: Dress
    traps: Traps
    rows: dict[str, int]

    @property
    def total_rows(self) -> int:
        return sum(self.rows.values())


def make_synth_v2(
    path: Path,
    *,
    sessions: int,
    seed: int = 1,
    dress: Dress = "final",
    traps: Traps = "usual",
    schema: Callable[[Path, Dress], None] | None = None,
) -> DemoStore:
    """Make the store at ``path``, which must not exist yet. The same arguments give the same rows.

    ``dress``: ``final`` as the last releases of tracing v2 wrote it; ``mid`` as the early and middle ones did
    (foreign keys, messages in envelopes); ``mixed``: a middle store that the final release went on with.
    ``traps``: ``usual`` puts the values that spoil careless converters into a share of the rows; ``all`` adds
    rows without a session and doubles that SQLite cannot hold; ``none`` leaves plain rows only.
    ``schema`` makes the empty store; by default the Alembic revision ``synth_v2`` does.
    """
    if sessions < 1:
        raise UsageError("A store needs at least one session.", hint="Give --sessions a number from 1 up.")
    if path.exists() or path.with_name(path.name + ".wal").exists():
        raise UsageError(f"{path} is there already.", hint="Name a file that does not exist, or remove it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        (schema or _revision_schema)(path, dress)
        with duckdb.connect(str(path), config=_CONFIG) as connection:
            # DuckDB draws a bar on standard output over any statement of more than two seconds, in pipes too
            connection.execute("SET enable_progress_bar = false")
            _Filler(connection, sessions=sessions, seed=seed, dress=dress, traps=traps).fill()
            rows = {table: _count(connection, table) for table in _rows.CHUNK_TABLES}
            connection.execute("CHECKPOINT")
    except BaseException:
        # half a store must not look like one
        for left in (path, path.with_name(path.name + ".wal")):
            left.unlink(missing_ok=True)
        raise
    return DemoStore(path, sessions, seed, dress, traps, rows)


# No download of an extension, whatever a statement may ask for.
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}


def _revision_schema(path: Path, dress: Dress) -> None:
    url = StoreURL(engine="duckdb", path=path.absolute(), url=None)
    schema_upgrade(url, "synth_v2", dress="final" if dress == "final" else "mid")


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    return int(connection.table(table).count("*").fetchall()[0][0])


class _Filler:
    """Fills one empty store, chunk by chunk; ids go on from chunk to chunk."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, *, sessions: int, seed: int, dress: Dress, traps: Traps
    ) -> None:
        self.connection = connection
        self.sessions = sessions
        self.dress = dress
        self.traps = traps
        self.values: dict[str, object] = {
            **_rows.FRAGMENTS,
            "seed": seed % 2**31,
            "usual": "true" if traps != "none" else "false",
            "all": "true" if traps == "all" else "false",
            # without traps only the kinds that the new store allows as they are
            "kinds": 5 if traps != "none" else 1,
            "systems": 3,
            "experiments": min(50, max(4, sessions // 200)),
            "timesteps": 0,
            "events": 0,
            "messages": 0,
        }

    def fill(self) -> None:
        for template in (_rows.MIX, _rows.TRAP, _rows.RARE, _rows.CATALOG):
            self._execute(template)
        early = {"final": 0, "mid": self.sessions, "mixed": self.sessions // 2}[self.dress]
        self.values["early"] = f"i < {early}"
        for first in range(0, self.sessions, _CHUNK):
            self._chunk(first, min(first + _CHUNK, self.sessions))
        if self.traps == "all" and self.dress == "final":
            self._execute(_rows.ORPHANS)
            self._update_offsets()
        for table in ("timestep", "event", "message"):
            # the real program draws its ids from the sequences: leave them where it would have left them
            self._execute(f"SELECT max(nextval('{table}_id_seq')) FROM range(${table}s)")

    def _chunk(self, first: int, stop: int) -> None:
        self.values.update(first=first, stop=stop)
        self._execute(_rows.CHUNK)
        self._execute(_rows.STEP)
        for statement in (_rows.SESSION_TRACES, _rows.SESSION_TIMESTEPS, _rows.EVENTS, _rows.MESSAGES):
            self._execute(statement)
        self._update_offsets()

    def _update_offsets(self) -> None:
        for name, table in (
            ("timesteps", "session_timesteps"),
            ("events", "events"),
            ("messages", "messages"),
        ):
            self.values[name] = _count(self.connection, table)

    def _execute(self, template: str) -> None:
        self.connection.execute(Template(template).substitute(self.values))
