"""A store behind a real sqld: transactions over HTTP, tokens, and a server that goes away."""

from __future__ import annotations

import contextlib
import http.server
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.cutting_proxy import cutting_proxy
from tests.support.servers import free_port, running_sqld
from tests.support.tokens import TokenMaker

from sessionlift.errors import (
    StoreAuthError,
    StoreConstraintError,
    StoreError,
    StoreFormatError,
    StoreLockedError,
    StoreReadOnlyError,
    StoreUnavailableError,
    UsageError,
)
from sessionlift.stores import Store, open_store, parse_store_url
from sessionlift.stores._hrana import HranaReader
from sessionlift.stores._sqld_client import Client, statement

pytestmark = [pytest.mark.slow, pytest.mark.sqld]


@pytest.fixture
def store(sqld: str) -> Iterator[Store]:
    with open_store(sqld, mode="create", role="target") as opened:
        opened.execute("CREATE TABLE t (session_id TEXT, n INTEGER NOT NULL CHECK (n > 0), UNIQUE (session_id, n))")
        yield opened


def count(store: Store) -> int:
    (found,) = store.query("SELECT count(*) FROM t")[0]
    assert isinstance(found, int)
    return found


def test_a_transaction_is_all_or_nothing(store: Store) -> None:
    with store.transaction():
        assert store.insert_rows("t", ["session_id", "n"], [("a", n) for n in range(1, 3001)]) == 3000
        assert count(store) == 3000, "its own rows are seen inside"
    with pytest.raises(ZeroDivisionError):
        delete_and_divide(store)
    assert count(store) == 3000


def delete_and_divide(store: Store) -> None:
    with store.transaction():
        assert store.execute("DELETE FROM t WHERE n > ?", (10,)) == 2990
        _ = 1 / 0


def test_a_broken_rule_names_table_and_column(store: Store) -> None:
    store.insert_rows("t", ["session_id", "n"], [("a", 1)])
    for row, constraint in [(("a", 1), "UNIQUE"), (("b", None), "NOT NULL"), (("b", -1), "CHECK")]:
        with pytest.raises(StoreConstraintError) as caught, store.transaction():
            store.insert_rows("t", ["session_id", "n"], [("ok", 5), row])
        assert (caught.value.fields["table"], caught.value.fields["constraint"]) == ("t", constraint)
    assert count(store) == 1


def test_foreign_keys_are_not_enforced(store: Store) -> None:
    store.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
    store.execute("CREATE TABLE child (p INTEGER REFERENCES parent (id))")
    store.insert_rows("child", ["p"], [(1,)])
    with store.transaction():
        store.insert_rows("child", ["p"], [(2,)])
        store.execute("INSERT INTO child VALUES (3)")
    assert store.query("SELECT count(*) FROM child") == [(3,)]


def test_staged_rows_come_in_order_without_the_excluded(store: Store, make_stage: Callable[..., Path]) -> None:
    rows = [("z", 3), ("a\0b", 1), (None, 7), ("m", 2), ("a\0c", 1)]
    stage = make_stage("t", ["session_id", "n"], rows)
    with store.staged(stage) as staged, store.transaction():
        assert staged.copy("t", ["session_id", "n"], exclude=["a\0b", "m"]) == 3
    assert store.query("SELECT session_id, n FROM t ORDER BY rowid") == [("z", 3), (None, 7), ("a\0c", 1)]


def test_bulk_copying_is_fast_enough(store: Store, make_stage: Callable[..., Path]) -> None:
    columns = [f"c{n}" for n in range(10)]
    store.execute(f"CREATE TABLE wide ({', '.join(columns)})")
    rows = [(n, f"s{n // 40}", "x" * 30, n / 7, '{"a": 1}', n * 7, None, "y" * 80, n / 3, "z") for n in range(20_000)]
    stage = make_stage("wide", columns, rows)
    begun = time.monotonic()
    with store.staged(stage) as staged, store.transaction():
        assert staged.copy("wide", columns) == len(rows)
    rate = len(rows) / (time.monotonic() - begun)
    # 80,000 to 90,000 on two idle cores; executemany of the driver does 2,600
    assert rate > 15_000, f"{rate:.0f} rows/s"
    assert list(store.read_table("wide", columns)) == rows


def test_an_answer_above_the_servers_limit_comes_in_pieces(store: Store) -> None:
    store.execute("CREATE TABLE big (a)")
    store.insert_rows("big", ["a"], [("x" * 1_000_000,)] * 12)
    assert sum(len(row[0]) for row in store.query("SELECT a FROM big")) == 12_000_000
    with store.transaction():
        assert len(list(store.read_table("big", ["a"]))) == 12
        assert count(store) == 0, "the transaction goes on"


def test_a_proxy_may_give_an_answer_its_length(sqld: str, store: Store) -> None:
    store.insert_rows("t", ["session_id", "n"], [("s", number) for number in range(1, 4)])
    with cutting_proxy(sqld) as (url, _), open_store(url, mode="rw", role="target") as through:
        with through.transaction():
            assert list(through.read_table("t", ["n"], order_by=["n"])) == [(1,), (2,), (3,)]
            through.execute("DELETE FROM t WHERE n = 3")
        assert through.query("SELECT count(*) FROM t") == [(2,)]


def test_tables_can_be_read_more_often_than_the_server_keeps_streams(store: Store) -> None:
    store.insert_rows("t", ["session_id", "n"], [("a", n) for n in range(1, 20)])
    for _ in range(150):
        assert len(list(store.read_table("t", ["n"]))) == 19
        assert next(store.read_table("t", ["n"])) == (1,), "also when the rest is not read"


def test_a_second_writer_waits_and_the_slow_one_is_told(sqld: str, store: Store) -> None:
    with open_store(sqld, mode="rw", role="target") as other:
        with pytest.raises(StoreLockedError, match="gave up the transaction"):
            outlast(store, other)
        assert store.query("SELECT session_id FROM t") == [("other",)]


def outlast(slow: Store, other: Store) -> None:
    with slow.transaction():
        slow.insert_rows("t", ["session_id", "n"], [("slow", 1)])
        with other.transaction():  # the server lets it in after 5 seconds
            other.insert_rows("t", ["session_id", "n"], [("other", 1)])
        slow.insert_rows("t", ["session_id", "n"], [("slow", 2)])


def test_a_store_opened_read_only_is_not_written(sqld: str, store: Store) -> None:
    with open_store(sqld, mode="ro", role="source") as reader:
        assert count(reader) == 0
        with pytest.raises(StoreReadOnlyError):
            reader.execute("INSERT INTO t VALUES ('a', 1)")
        with pytest.raises(StoreReadOnlyError):
            reader.query("INSERT INTO t VALUES ('a', 1) RETURNING n")
        with pytest.raises(StoreReadOnlyError), reader.transaction():
            pytest.fail("it began")
        with pytest.raises(StoreReadOnlyError):
            reader.insert_rows("t", ["session_id", "n"], [("a", 1)])
    with pytest.raises(UsageError, match="closed"):
        reader.query("SELECT 1")


def test_bulk_mode_changes_nothing_on_a_server(store: Store) -> None:
    store.begin_bulk()
    store.end_bulk()
    assert store.query("PRAGMA journal_mode") == [("wal",)]


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(StoreUnavailableError, match="cannot be reached") as caught:
        open_store(f"libsql+http://127.0.0.1:{free_port()}", mode="rw", role="target")
    assert caught.value.transient
    assert caught.value.exit_code == 4


def test_a_server_that_goes_away_in_the_middle_and_comes_back(tmp_path: Path) -> None:
    port = free_port()
    with running_sqld(tmp_path, port=port) as (url, process):
        store = open_store(url, mode="create", role="target")
        store.execute("CREATE TABLE t (n)")
        with store.transaction():
            store.insert_rows("t", ["n"], [(1,)])
        with pytest.raises(StoreUnavailableError, match="went away"):
            lose_the_server(store, process)
        with pytest.raises(StoreUnavailableError):
            store.query("SELECT 1")
    with running_sqld(tmp_path, port=port):
        assert store.query("SELECT n FROM t") == [(1,)], "what was committed stays, the rest never was"
        with store.transaction():
            store.insert_rows("t", ["n"], [(3,)])
        assert store.query("SELECT n FROM t") == [(1,), (3,)]
        store.close()


def lose_the_server(store: Store, process: subprocess.Popen[bytes]) -> None:
    with store.transaction():
        store.insert_rows("t", ["n"], [(2,)])
        process.kill()
        process.wait(timeout=10)
        store.insert_rows("t", ["n"], [(3,)])


def test_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = TokenMaker(tmp_path)
    monkeypatch.delenv("SESSIONLIFT_TOKEN", raising=False)
    with running_sqld(tmp_path, "--auth-jwt-key-file", str(maker.public_key)) as (url, _process):
        with pytest.raises(StoreAuthError, match="wants a token") as caught:
            open_store(url, mode="rw", role="target")
        assert "SESSIONLIFT_TOKEN" in caught.value.hint
        for wrong in ["nonsense", maker.token(exp=1), maker.token()[:-8] + "AAAAAAAA"]:
            with pytest.raises(StoreAuthError, match="refused the token") as caught:
                open_store(f"{url}?authToken={wrong}", mode="rw", role="target")
            assert wrong not in str(caught.value) + json.dumps(caught.value.to_dict())
        with open_store(f"{url}?authToken={maker.token()}", mode="rw", role="target") as store:
            store.execute("CREATE TABLE t (a)")
        monkeypatch.setenv("SESSIONLIFT_TOKEN", maker.token())
        with open_store(url, mode="ro", role="source") as store:
            assert list(store.read_table("t", ["a"])) == []
        monkeypatch.setenv("SESSIONLIFT_TOKEN", maker.token(a="ro"))
        with open_store(url, mode="rw", role="target") as store, pytest.raises(StoreError) as refused:
            store.execute("INSERT INTO t VALUES (1)")
        assert isinstance(refused.value, (StoreAuthError, StoreReadOnlyError))


class _NotSqld(http.server.BaseHTTPRequestHandler):
    status, body = 200, b"<html>hello</html>"

    def do_POST(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, b"<html>hello</html>", StoreFormatError),
        (200, b"[1]", StoreFormatError),
        (200, b"{}", StoreFormatError),
        (404, b"not here", StoreFormatError),
        (302, b"", StoreFormatError),
        (500, b"oops", StoreError),
        (503, b"later", StoreUnavailableError),
        (403, b"no", StoreAuthError),
    ],
)
def test_something_else_that_answers_http(status: int, body: bytes, error: type[StoreError]) -> None:
    with answering(status, body) as where:
        with pytest.raises(error) as caught:
            open_store(f"libsql+{where}", mode="rw", role="target")
        assert type(caught.value) is error


@contextlib.contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A server that gives the same answer to everything."""
    handler = type("Handler", (_NotSqld,), {"status": status, "body": body})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(timeout=10)


def test_rows_that_stop_in_the_middle_are_not_taken_for_all_of_them() -> None:
    lines = [
        {"baton": None, "base_url": None},
        {"type": "step_begin", "step": 0, "cols": [{"name": "a"}]},
        {"type": "row", "row": [{"type": "integer", "value": "1"}, {"type": "integer", "value": "0"}]},
    ]
    body = "".join(json.dumps(line) + "\n" for line in lines).encode()
    with answering(200, body) as where:
        client = Client(parse_store_url(f"libsql+{where}"), role="source")
        with pytest.raises(StoreUnavailableError, match="stopped in the middle"):
            list(client.stream_rows(statement("SELECT a FROM t")))
        with HranaReader(where) as reader, pytest.raises(StoreUnavailableError, match="too early"):
            list(reader.read_table("t", ["a"]))
