"""Which values the installed driver keeps, found out by sending them through it before each run.

Nothing is taken from a table of known faults: the driver on its own is tried first, then the very ways that
a run uses. Nothing is written into the user's store: a local driver gets a file of its own, a server is
only asked.
"""

from __future__ import annotations

import errno
import json
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from sessionlift.errors import (
    FidelityError,
    StoreAuthError,
    StoreConstraintError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from sessionlift.stores._base import Store
from sessionlift.stores._fidelity_values import LONE_SURROGATE, MINUS_ZERO, NAN, classes
from sessionlift.stores._libsql import LibsqlStore
from sessionlift.stores._open import open_store
from sessionlift.stores._private import PrivateDirectory, no_room
from sessionlift.stores._sqld import SqldStore
from sessionlift.stores._stage import open_stage
from sessionlift.stores._url import StoreURL
from sessionlift.stores._value import Value

_COMPLEMENT = "exact by the complement"
# what stands against the faults of the simple way, whose fault is told after it
_WAY_ROUND = {
    "libsql": "casting integers from text, reading text as blobs and copying inside SQLite; the driver:",
    "sqld": "binding such columns apart from the JSON rows; as JSON:",
}
Way = Callable[[Sequence[Value]], list[Value]]


@dataclass(frozen=True)
class Fidelity:
    """What became of each class of values: ``exact``, ``exact by <way>`` or ``changed: <how>``."""

    engine: str
    driver: str
    classes: dict[str, str]

    @property
    def changed(self) -> dict[str, str]:
        """The classes that no known way keeps."""
        return {name: how for name, how in self.classes.items() if how.startswith("changed")}

    def to_dict(self) -> dict[str, Any]:
        return {"engine": self.engine, "driver": self.driver, "classes": dict(self.classes)}

    def refuse_if_changed(self) -> None:
        """Raise FidelityError if any class of values would be changed."""
        if self.changed:
            told = "; ".join(f"{name}: {how}" for name, how in self.changed.items())
            raise FidelityError(
                f"{self.driver} would change values: {told}",
                hint="install a release of the driver that this tool knows, or use another engine",
                engine=self.engine,
                driver=self.driver,
                classes=self.changed,
            )


def probe_fidelity(url: StoreURL) -> Fidelity:
    """Send every class of values through the store's driver, and say what came back.

    Raises what ``open_store`` raises for a server; a local store itself is not opened.
    """
    if url.engine == "sqld":
        with open_store(url, mode="ro", role="target") as store:
            assert isinstance(store, SqldStore)  # noqa: S101 - by its engine
            ways = {"bound parameters": _bound(store), "rows in bulk": store.echo}
            return _judge(store, _as_json(store), ways)
    with PrivateDirectory("probe") as folder:
        try:
            return _probe_in(folder, url)
        except (StoreFullError, apsw.FullError, apsw.IOError) as error:
            # the place is full, not the driver at fault; SQLite says an I/O error of it at times
            raise no_room(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder.parent))) from error


def _probe_in(folder: Path, url: StoreURL) -> Fidelity:
    place = StoreURL(engine=url.engine, path=folder / "probe.db")
    with open_store(place, mode="create", role="target") as store:
        if url.engine == "duckdb":
            return _judge(store, None, {"typed columns": _typed(store)})
        store.execute("PRAGMA synchronous = OFF")  # nobody needs this file after a power cut
        alone = store.round_trip_of_the_driver_alone if isinstance(store, LibsqlStore) else None
        ways = {
            "bound parameters": _bound(store),
            "inserted rows": _inserted(store),
            "the attached stage": _staged(store, folder),
        }
        return _judge(store, alone, ways)


def _judge(store: Store, simple: Way | None, ways: dict[str, Way]) -> Fidelity:
    found: dict[str, str] = {}
    for name, values in classes().items():
        if name == LONE_SURROGATE:
            found[name] = _surrogates(ways, values)
            continue
        alone = _try(simple, values) if simple is not None else None
        faults = {way: fault for way, go in ways.items() if (fault := _try(go, values)) is not None}
        if not faults:
            found[name] = "exact" if alone is None else f"exact by {_WAY_ROUND[store.engine]} {alone}"
        elif name == NAN and all(fault == "nan became None" for fault in faults.values()):
            found[name] = f"{_COMPLEMENT}: the store itself holds NULL in its place"
        elif name == MINUS_ZERO and all(fault == "-0.0 became 0.0" for fault in faults.values()):
            found[name] = f"{_COMPLEMENT}: the store itself holds 0.0 in its place"
        else:
            way, fault = next(iter(faults.items()))
            found[name] = f"changed: {fault} ({way})"
    return Fidelity(engine=store.engine, driver=store.driver, classes=found)


def _try(way: Way, values: Sequence[Value]) -> str | None:
    """The first value that comes back as another one, or None."""
    try:
        back = way(values)
    except (StoreFullError, StoreUnavailableError, StoreAuthError):
        raise  # says nothing of the values
    except StoreError as error:
        return f"refused: {error.what}"
    if len(back) != len(values):
        return f"{len(values)} values became {len(back)}"
    for sent, got in zip(values, back, strict=True):
        if not _same(sent, got):
            return f"{_shown(sent)} became {_shown(got)}"
    return None


def _same(one: Value, other: Value) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, float) and isinstance(other, float):
        return struct.pack("<d", one) == struct.pack("<d", other)
    return one == other


def _shown(value: Value) -> str:
    return repr(value)[:60]


def _surrogates(ways: dict[str, Way], values: Sequence[Value]) -> str:
    for way, go in ways.items():
        for value in values:
            try:
                back = go([value])
            except StoreConstraintError:
                continue
            if not (len(back) == 1 and _same(value, back[0])):
                return f"changed: {_shown(value)} became {_shown(back[0] if back else None)} ({way})"
    return f"{_COMPLEMENT}: the driver refuses it"


# --- the ways that runs use


def _as_json(store: Store) -> Way:
    def go(values: Sequence[Value]) -> list[Value]:
        if any(isinstance(value, bytes) for value in values):
            raise StoreConstraintError("JSON has no blobs")
        return [row[0] for row in store.query("SELECT value FROM json_each(?)", (json.dumps(values),))]

    return go


def _bound(store: Store) -> Way:
    def go(values: Sequence[Value]) -> list[Value]:
        found: list[Value] = []
        for start in range(0, len(values), 500):
            part = values[start : start + 500]
            found += store.query("SELECT " + ", ".join("?" * len(part)), part)[0]
        return found

    return go


@contextmanager
def _table(store: Store) -> Iterator[None]:
    store.execute("CREATE TABLE probe (id INTEGER PRIMARY KEY, loose, number REAL)")
    try:
        yield
    finally:
        store.execute("DROP TABLE probe")


def _rows(values: Sequence[Value]) -> list[tuple[Value, ...]]:
    return [(n, value, value if isinstance(value, float) else None) for n, value in enumerate(values)]


def _read(store: Store, values: Sequence[Value]) -> list[Value]:
    """The loose column where it differs, else the typed one, so that either fault shows."""
    found: list[Value] = []
    for number, loose, typed in store.read_table("probe", ["id", "loose", "number"], order_by=["id"]):
        sent = values[number]
        found.append(typed if isinstance(sent, float) and _same(sent, loose) else loose)
    return found


def _inserted(store: Store) -> Way:
    def go(values: Sequence[Value]) -> list[Value]:
        with _table(store):
            with store.transaction():
                store.insert_rows("probe", ["id", "loose", "number"], _rows(values))
            return _read(store, values)

    return go


def _staged(store: Store, folder: Path) -> Way:
    def go(values: Sequence[Value]) -> list[Value]:
        stage = folder / "stage.db"
        stage.unlink(missing_ok=True)
        try:
            with closing(open_stage(stage, make=True)) as connection:
                connection.execute("PRAGMA synchronous = OFF")
                connection.execute("PRAGMA journal_mode = OFF")
                connection.execute("BEGIN")
                connection.execute("CREATE TABLE probe (id, loose, number)")
                connection.executemany("INSERT INTO probe VALUES (?, ?, ?)", _rows(values))
                connection.execute("COMMIT")
        except UnicodeEncodeError as error:
            raise StoreConstraintError(f"the stage refuses it: {error}") from error
        with _table(store):
            with store.staged(stage) as staged, store.transaction():
                staged.copy("probe", ["id", "loose", "number"])
            return _read(store, values)

    return go


def _typed(store: Store) -> Way:
    def go(values: Sequence[Value]) -> list[Value]:
        kinds = {int: "BIGINT", float: "DOUBLE", str: "VARCHAR", bytes: "BLOB"}
        kind = next((kinds[type(value)] for value in values if value is not None), "VARCHAR")
        store.execute(f"CREATE TABLE probe (id INTEGER, loose {kind})")
        try:
            store.insert_rows("probe", ["id", "loose"], list(enumerate(values)))
            return [row[0] for row in store.read_table("probe", ["loose"], order_by=["id"])]
        finally:
            store.execute("DROP TABLE probe")

    return go
