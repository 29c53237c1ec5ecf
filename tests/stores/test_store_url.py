"""Store URLs: what they name, where the token comes from, and that it is never shown."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import duckdb
import pytest

from sessionlift.errors import UsageError
from sessionlift.stores import open_store, parse_store_url


@pytest.mark.parametrize(
    ("text", "engine", "path"),
    [
        ("duckdb:///data/a.duckdb", "duckdb", "/data/a.duckdb"),
        ("libsql:///data/a.db", "libsql", "/data/a.db"),
        ("sqlite:///data/a.db", "sqlite", "/data/a.db"),
        ("sqlite:////data/a.db", "sqlite", "/data/a.db"),
        ("LIBSQL:///data/../data/a.db", "libsql", "/data/a.db"),
        ("libsql:///data/with%20space%3F.db", "libsql", "/data/with space?.db"),
        ("duckdb:///data/a.duckdb?x=1", "duckdb", "/data/a.duckdb"),
    ],
)
def test_a_local_url_names_engine_and_path(text: str, engine: str, path: str) -> None:
    url = parse_store_url(text, env={})
    assert (url.engine, str(url.path), url.url) == (engine, path, None)


@pytest.mark.parametrize("text", ["/data/\udcff.db", "sqlite:///data/%FF.db", "duckdb:///data/\ud800.duckdb"])
def test_a_path_that_is_not_utf8_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"the path /data/(\\ud\w+)+\.d\w+ is not UTF-8") as refused:
        parse_store_url(text, env={})
    assert "rename" in refused.value.hint
    str(refused.value).encode()


def test_a_link_to_a_path_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link.duckdb").symlink_to(tmp_path / "\udcff.duckdb")
    with pytest.raises(UsageError, match=r"/\\udcff\.duckdb is not UTF-8"):
        parse_store_url(str(tmp_path / "link.duckdb"), env={})


def test_a_relative_path_is_relative_to_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_store_url("a.db", env={}).path == tmp_path / "a.db"
    assert parse_store_url("sqlite://a.db", env={}).path == tmp_path / "a.db"


@pytest.mark.parametrize("name", ["~nobody-of-this-name.db", "./~x.db"])
def test_a_name_with_a_tilde_that_is_no_home_is_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert parse_store_url(name, env={}).path == tmp_path / name
    assert parse_store_url("~/a.db", env={}).path == Path("/home/me/a.db")


def test_a_plain_path_gets_its_engine_from_the_files_first_bytes(tmp_path: Path) -> None:
    misnamed_sqlite, misnamed_duckdb = tmp_path / "a.duckdb", tmp_path / "b.db"
    connection = sqlite3.connect(misnamed_sqlite)
    connection.execute("CREATE TABLE t (a)")
    connection.close()
    duckdb.connect(str(misnamed_duckdb)).close()
    assert parse_store_url(str(misnamed_sqlite), env={}).engine == "libsql"
    assert parse_store_url(str(misnamed_duckdb), env={}).engine == "duckdb"


def test_a_missing_file_gets_its_engine_from_its_name(tmp_path: Path) -> None:
    assert parse_store_url(str(tmp_path / "new.duckdb"), env={}).engine == "duckdb"
    assert parse_store_url(str(tmp_path / "new.db"), env={}).engine == "libsql"


def test_an_open_file_is_not_read_again_to_learn_its_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # reading it and closing that handle would drop the driver's locks
    path = tmp_path / "a.db"
    with open_store(f"sqlite://{path}", mode="create", role="target"):
        monkeypatch.setattr("sessionlift.stores._url.sniff", lambda _path: pytest.fail("the open file was read"))
        assert parse_store_url(str(path), env={}).engine == "sqlite"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("libsql+http://localhost:8080", "http://localhost:8080"),
        ("libsql+http://localhost:8080/", "http://localhost:8080"),
        ("libsql+https://db.example.org", "https://db.example.org"),
        ("libsql+http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_a_servers_url(text: str, url: str) -> None:
    parsed = parse_store_url(text, env={})
    assert (parsed.engine, parsed.url, parsed.path, parsed.token) == ("sqld", url, None, None)


@pytest.mark.parametrize(
    ("text", "env", "token"),
    [
        ("libsql+http://h:1?authToken=inurl", {"SESSIONLIFT_TOKEN": "inenv"}, "inurl"),
        ("libsql+http://inuser@h:1", {"SESSIONLIFT_TOKEN": "inenv"}, "inuser"),
        ("libsql+http://name:inpass@h:1", {}, "inpass"),
        ("libsql+http://h:1", {"SESSIONLIFT_TOKEN": "inenv"}, "inenv"),
        ("libsql+http://h:1", {"SESSIONLIFT_TOKEN": ""}, None),
    ],
)
def test_the_url_wins_over_the_environment_for_the_token(text: str, env: dict[str, str], token: str) -> None:
    assert parse_store_url(text, env=env).token == token


@pytest.mark.parametrize(
    "text",
    [
        "libsql+http://h:1?authToken=verysecret",
        "libsql+http://verysecret@h:1",
        "libsql+http://me:verysecret@h:1",
    ],
)
def test_a_token_is_never_shown(text: str) -> None:
    url = parse_store_url(text, env={})
    shown = f"{url} {url!r} {url.redacted} {url.url}"
    assert "verysecret" not in shown
    assert url.token == "verysecret"  # noqa: S105 - made up
    assert "***" in url.redacted


def test_a_redacted_url_can_be_given_again(tmp_path: Path) -> None:
    for text in [f"duckdb://{tmp_path}/a.duckdb", f"libsql://{tmp_path}/a.db", "libsql+http://h:1"]:
        assert parse_store_url(parse_store_url(text, env={}).redacted, env={}) == parse_store_url(text, env={})


def test_one_file_has_one_place_however_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    names = [f"libsql://{tmp_path}/a.db", f"sqlite://{tmp_path}/a.db", f"{tmp_path}/link/a.db"]
    assert {parse_store_url(text, env={}).place for text in names} == {str(tmp_path / "a.db")}
    assert parse_store_url("libsql+http://h:1?authToken=a", env={}).place == "http://h:1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no store was named"),
        ("  ", "no store was named"),
        ("postgres://h/db", "'postgres'"),
        ("http://h:8080", "libsql+http://"),
        ("wss://h", "libsql+http://"),
        ("libsql://db-me.example.org", "looks like a server"),
        ("duckdb://", "names no file"),
        ("libsql+http://", "no usable host"),
        ("libsql+http://h:port", "no usable host"),
        ("libsql+http://h:1/dev", "path"),
        ("libsql+http://h:1?tls=0", "unknown parts"),
        ("libsql+http://h:1?authToken=a%0Ab", "token"),
    ],
)
def test_a_wrong_url_is_refused_with_a_way_on(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_store_url(text, env={})
    assert message in str(caught.value)
    assert caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        "libsql://host:80?authToken=s3cret",
        "libsql://host?authToken=s3cret",
        "libsql://s3cret@host",
        "libsql://user:s3cret@db.example.org/x",
    ],
)
def test_a_server_written_as_a_file_is_refused_without_its_token(text: str) -> None:
    with pytest.raises(UsageError, match="looks like a server") as caught:
        parse_store_url(text, env={})
    assert "s3cret" not in repr(caught.value.to_dict())


def test_urls_compare_by_what_they_name() -> None:
    from_url = parse_store_url("libsql+http://h:1?authToken=a", env={})
    from_environment = parse_store_url("libsql+http://h:1", env={"SESSIONLIFT_TOKEN": "a"})
    assert from_url == from_environment
