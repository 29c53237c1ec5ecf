"""Stores that are named by a symbolic link: their logs lie beside the real file, and are found there."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from tests.support.made import make_synth_v2

from sessionlift.errors import SessionliftError, StoreError
from sessionlift.runs import TransferOptions, migrate, plan
from sessionlift.stores import _sqlfile, open_store


@pytest.fixture
def link(tmp_path: Path) -> Path:
    """A link that leads to the name of a file in another directory."""
    for name in ("real", "links"):
        (tmp_path / name).mkdir()
    link = tmp_path / "links" / "x.db"
    link.symlink_to("../real/y.db")
    return link


@pytest.mark.parametrize("engine", ["libsql", "sqlite"])
def test_a_log_beside_the_real_file_is_read_from_a_directory_that_may_not_be_written(
    engine: str, link: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sqlfile, "writable_directory", lambda path: path != link.parent)
    with open_store(f"{engine}://{link}", mode="create", role="target") as live:
        live.query("PRAGMA journal_mode = WAL")
        live.execute("CREATE TABLE t (a)")
        live.execute("INSERT INTO t VALUES (1)")
        assert link.resolve().with_name("y.db-wal").exists(), "the row waits in the log"
        with open_store(f"{engine}://{link}", mode="ro", role="source") as store:
            assert store.query("SELECT a FROM t") == [(1,)]
    assert [path.name for path in link.parent.iterdir()] == ["x.db"]


def test_a_new_duckdb_store_has_its_log_where_the_link_leads(link: Path) -> None:
    with open_store(f"duckdb://{link}", mode="create", role="target") as store:
        store.execute("CREATE TABLE t (a INTEGER)")
        store.execute("PRAGMA disable_checkpoint_on_shutdown")
        store.execute("INSERT INTO t VALUES (1)")
    assert sorted(path.name for path in link.resolve().parent.iterdir()) == ["y.db", "y.db.wal"]
    assert [path.name for path in link.parent.iterdir()] == ["x.db"]
    with duckdb.connect(str(link), read_only=True) as db:
        assert db.execute("SELECT a FROM t").fetchall() == [(1,)]


def test_a_log_of_an_older_duckdb_beside_the_link_is_told_and_not_passed_over(link: Path) -> None:
    duckdb.connect(str(link.resolve())).close()
    log = link.with_name("x.db.wal")
    log.symlink_to("../real/y.db.wal")
    open_store(f"duckdb://{link}", mode="ro", role="source").close()
    log.unlink()
    log.write_bytes(b"log")
    with pytest.raises(StoreError, match=r"a write-ahead log x\.db\.wal lies beside it") as told:
        open_store(f"duckdb://{link}", mode="ro", role="source")
    assert f"move it to {link.resolve()}.wal" in told.value.hint


def test_a_link_that_goes_round_in_a_circle_is_an_error_of_ours(tmp_path: Path) -> None:
    source, loop = tmp_path / "v2.duckdb", tmp_path / "loop"
    make_synth_v2(source, sessions=1, traps="none")
    loop.symlink_to("loop")
    for asked in (
        lambda: migrate(str(source), str(loop), TransferOptions()),
        lambda: migrate(str(loop), str(tmp_path / "v3.db"), TransferOptions()),
        lambda: plan(str(source), str(loop), TransferOptions()),
    ):
        with pytest.raises(SessionliftError):
            asked()
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".reports") == ["loop", "v2.duckdb"]
