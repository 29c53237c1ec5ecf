"""The verifier's own reader of sqld servers."""

from __future__ import annotations

import ast
import inspect
import math
import random
import struct
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.support.servers import free_port, running_sqld
from tests.support.tokens import TokenMaker

from sessionlift.errors import StoreAuthError, StoreError, StoreUnavailableError
from sessionlift.stores import _hrana, open_store
from sessionlift.stores._hrana import HranaReader

pytestmark = pytest.mark.sqld

ROWS = [
    (1, 2**63 - 1, 0.1 + 0.2, "a\0b", b"\0\xff"),
    (2, -(2**63), math.inf, "", b""),
    (3, 0, -math.inf, "é😀", None),
    (4, None, 5e-324, None, b"text"),
    (5, 2**53 + 1, -1.7976931348623157e308, "null", b"\x01"),
]


def http(url: str) -> str:
    return "http://" + urlsplit(url).netloc


def test_it_shares_no_line_with_the_writer() -> None:
    tree = ast.parse(inspect.getsource(_hrana))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    ours = {module for module in imported | names if module and module.startswith("sessionlift")}
    assert ours == {"sessionlift.errors"}
    assert "orjson" not in names | imported


def test_values_are_read_exactly(sqld: str) -> None:
    columns = ["id", "i", "d", "t", "b"]
    with open_store(sqld, mode="create", role="target") as store:
        store.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, i INTEGER, d REAL, t TEXT, b BLOB)")
        store.insert_rows("t", columns, ROWS)
    with HranaReader(http(sqld)) as reader:
        assert list(reader.read_table("t", columns, order_by=["id"])) == ROWS
        chosen = reader.read_table("t", ["d", "id"], where="id < ? OR t = ?", params=(2, "null"), order_by=["id"])
        assert list(chosen) == [(0.1 + 0.2, 1), (-1.7976931348623157e308, 5)]
        assert list(reader.read_table("t", ["d"], where="d < ?", params=(0.0,), order_by=["id"])) == [
            (-math.inf,),
            (-1.7976931348623157e308,),
        ]
        assert reader.query("SELECT ?, ?, ?, ?, ?", (None, 2**63 - 1, 0.1, "a\0", b"\xff")) == [
            (None, 2**63 - 1, 0.1, "a\0", b"\xff")
        ]


@pytest.mark.slow
def test_random_doubles_are_read_to_the_last_bit(sqld: str) -> None:
    source = random.Random(7)  # noqa: S311 - a sample, not a secret
    numbers: list[float] = []
    while len(numbers) < 20_000:
        (number,) = struct.unpack("<d", struct.pack("<Q", source.getrandbits(64)))
        if math.isfinite(number) and number != 0:
            numbers.append(number)
    with open_store(sqld, mode="create", role="target") as store:
        store.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, d REAL)")
        store.insert_rows("t", ["id", "d"], list(enumerate(numbers)))
    with HranaReader(http(sqld)) as reader:
        assert [number for (number,) in reader.read_table("t", ["d"], order_by=["id"])] == numbers


def test_tables_can_be_read_more_often_than_the_server_keeps_streams(sqld: str) -> None:
    with HranaReader(http(sqld)) as reader:
        for _ in range(150):
            assert len(list(reader.read_table("sqlite_master", ["name"]))) == 0


def test_errors_are_ours(sqld: str, tmp_path: Path) -> None:
    with HranaReader(http(sqld)) as reader:
        with pytest.raises(StoreError, match="no such table"):
            reader.query("SELECT * FROM none")
        with pytest.raises(StoreError, match="no such table"):
            list(reader.read_table("none", ["a"]))
        assert reader.query("SELECT 1") == [(1,)]
    with HranaReader(f"http://127.0.0.1:{free_port()}") as reader, pytest.raises(StoreUnavailableError):
        reader.query("SELECT 1")
    maker = TokenMaker(tmp_path)
    with running_sqld(tmp_path, "--auth-jwt-key-file", str(maker.public_key)) as (url, _process):
        with HranaReader(http(url), "wrong") as reader, pytest.raises(StoreAuthError):
            reader.query("SELECT 1")
        with HranaReader(http(url), maker.token()) as reader:
            assert reader.query("SELECT 1") == [(1,)]
