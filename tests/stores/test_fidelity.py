"""The probe finds out what a driver does to values, and the run is refused when nothing helps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sessionlift.errors import FidelityError
from sessionlift.stores import (
    Fidelity,
    LibsqlStore,
    SqliteStore,
    StoreURL,
    Value,
    open_store,
    parse_store_url,
    probe_fidelity,
)
from sessionlift.stores._fidelity_values import classes

pytestmark = pytest.mark.slow

COMPLEMENT = "exact by the complement"


def probe(text: str) -> Fidelity:
    return probe_fidelity(parse_store_url(text))


@pytest.mark.parametrize("engine", ["libsql", "sqlite", "duckdb"])
def test_the_installed_drivers_keep_every_class_in_a_known_way(engine: str, tmp_path: Path) -> None:
    found = probe(f"{engine}://{tmp_path}/target.db")
    found.refuse_if_changed()
    assert found.engine == engine
    assert set(found.classes) == set(classes())
    assert found.changed == {}
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()
    assert list(tmp_path.iterdir()) == [], "the target is not touched"


@pytest.mark.sqld
def test_a_server_is_only_asked(sqld: str) -> None:
    found = probe(sqld)
    found.refuse_if_changed()
    assert found.classes["blob"].startswith("exact by binding")
    with open_store(sqld, mode="ro", role="source") as store:
        assert store.query("SELECT count(*) FROM sqlite_master") == [(0,)]


def test_what_no_sqlite_store_holds_is_named(tmp_path: Path) -> None:
    found = probe(f"libsql://{tmp_path}/x.db").classes
    assert found["NaN"] == f"{COMPLEMENT}: the store itself holds NULL in its place"
    assert found["-0.0"] == f"{COMPLEMENT}: the store itself holds 0.0 in its place"
    assert found["lone surrogate"] == f"{COMPLEMENT}: the driver refuses it"


def test_the_drivers_own_faults_are_told_beside_the_way_round_them(tmp_path: Path) -> None:
    found = probe(f"libsql://{tmp_path}/x.db").classes
    for name in ("integer, 64-bit edges", "integer, around 2^31 and 2^53", "text with NUL"):
        assert found[name].startswith("exact"), "a later driver may be exact by itself"


class Rounds(LibsqlStore):
    """A driver that stores doubles in single steps of a decimal, as a faulty release might."""

    def insert_rows(self, table: str, columns: Sequence[str], rows: Any) -> int:
        return super().insert_rows(table, columns, [[self._round(v) for v in row] for row in rows])

    @staticmethod
    def _round(value: Value) -> Value:
        return float(f"{value:.15g}") if isinstance(value, float) else value


class Cuts(SqliteStore):
    """A driver that ends text at a NUL."""

    def _exact_rows(self, rows: list[Any]) -> list[tuple[Any, ...]]:
        return [tuple(v.split("\0")[0] if isinstance(v, str) else v for v in row) for row in rows]


class Replaces(SqliteStore):
    """A driver that puts a question mark in place of a lone surrogate."""

    def insert_rows(self, table: str, columns: Sequence[str], rows: Any) -> int:
        cleaned = [[v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for v in row] for row in rows]
        return super().insert_rows(table, columns, cleaned)


@pytest.mark.parametrize(
    ("faulty", "name", "told"),
    [
        (Rounds, "double", "became"),
        (Cuts, "text with NUL", "became ''"),
        (Replaces, "lone surrogate", "became"),
    ],
)
def test_a_run_is_refused_when_a_driver_changes_values(
    faulty: type[LibsqlStore], name: str, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def opened(url: StoreURL, **kw: Any) -> Any:
        return faulty(url, **kw)

    monkeypatch.setattr("sessionlift.stores._fidelity.open_store", opened)
    found = probe(f"libsql://{tmp_path}/x.db")
    assert found.classes[name].startswith("changed: ")
    assert told in found.classes[name]
    with pytest.raises(FidelityError) as caught:
        found.refuse_if_changed()
    assert name in str(caught.value)
    assert caught.value.fields["classes"] == found.changed
    assert caught.value.hint
