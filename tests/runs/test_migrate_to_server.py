"""The same run into a real server: the same rows; a server that goes away ends the run in order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.laws import TORTURE
from tests.support.moved import REAL_TABLES, rows
from tests.support.run_fixtures import Legacy
from tests.support.servers import free_port, running_sqld
from tests.support.tokens import TokenMaker
from tests.support.warm import Warm

from sessionlift.stores import open_store

pytestmark = [pytest.mark.slow, pytest.mark.sqld]

AGAIN = "check that it runs; then run the same command again: what was committed stays"
TOKEN = "set SESSIONLIFT_TOKEN, or give ?authToken= in the URL; a token may have expired"  # noqa: S105 - not one


def rows_at(url: str) -> dict[str, list[tuple[Any, ...]]]:
    with open_store(url, mode="ro", role="target") as store:
        return {table: store.query(f'SELECT rowid, * FROM "{table}" ORDER BY rowid') for table in REAL_TABLES}


def test_a_server_gets_the_rows_that_a_file_gets(
    sessionlift: Warm, legacy_store: Legacy, sqld: str, tmp_path: Path, target: Path
) -> None:
    source = legacy_store(sessions=8, dress="mixed", traps="all")
    to_file = sessionlift("migrate", source, target, "--json")
    to_server = sessionlift("migrate", source, sqld, "--json", cwd=tmp_path)
    assert to_server.code == to_file.code, to_server.err
    mine, theirs = json.loads(to_server.out)["report"], json.loads(to_file.out)["report"]
    for part in ("tables", "losses", "source_facts", "total_sessions", "migrated_sessions", "errors"):
        assert mine[part] == theirs[part], part
    assert mine["verification"]["status"] == "passed"
    assert mine["verification"]["checked_values"] == theirs["verification"]["checked_values"]
    assert rows_at(sqld) == rows(target)
    again = json.loads(sessionlift("migrate", source, sqld, "--json", cwd=tmp_path).out)["report"]
    assert (again["migrated_sessions"], again["skipped_sessions"]) == (0, 8)


@pytest.mark.torture
@pytest.mark.parametrize("share", [0.35, 0.6, 0.8] if TORTURE else [0.6])
def test_a_server_that_goes_away_ends_the_run_and_the_next_one_goes_on(
    sessionlift: Warm, legacy_store: Legacy, tmp_path: Path, target: Path, share: float
) -> None:
    source = legacy_store(sessions=8, traps="usual")
    assert sessionlift("migrate", source, target, "--json").code == 0
    limits = {"max_rows": 80}
    with running_sqld(_made(tmp_path / "calm")) as (url, _):
        calm = sessionlift("migrate", source, url, "--json", cwd=tmp_path, limits=limits)
        assert calm.code == 0, calm.err
    asked = [i for i, what in enumerate(calm.boundaries, 1) if what == "ask the server"]
    folder, port = _made(tmp_path / "server"), free_port()
    with running_sqld(folder, port=port) as (url, process):
        ended = sessionlift(
            "migrate",
            source,
            url,
            "--json",
            cwd=tmp_path,
            limits=limits,
            at=asked[int(len(asked) * share)],
            do=f"SIGKILL {process.pid}",
        )
    assert ended.code == 4, ended.out + ended.err
    said = json.loads(ended.out)
    assert said["code"] == "store_unavailable"
    assert said["error"].startswith("the server cannot be reached or went away while ")
    assert said["hint"] == AGAIN
    assert "Traceback" not in ended.err
    assert json.loads(Path(tmp_path / said["report"]).read_text())["status"] == "failed"
    with running_sqld(folder, port=port) as (url, _):
        again = sessionlift("migrate", source, url, "--json", cwd=tmp_path, limits=limits)
        assert again.code == 0, again.out + again.err
        assert rows_at(url) == rows(target)


def test_a_wrong_token_is_refused_and_no_token_is_told(sessionlift: Warm, legacy_store: Legacy, tmp_path: Path) -> None:
    source = legacy_store(sessions=4)
    maker = TokenMaker(_made(tmp_path / "tokens"))
    right, wrong = maker.token(), TokenMaker(_made(tmp_path / "others")).token()
    options = ("--auth-jwt-key-file", str(maker.public_key))
    with running_sqld(_made(tmp_path / "server"), *options) as (url, _):
        refused = sessionlift("migrate", source, f"{url}?authToken={wrong}", "--json", cwd=tmp_path)
        assert refused.code == 4
        said = json.loads(refused.out)
        assert (said["code"], said["error"]) == ("store_auth", "the server refused the token (HTTP 401)")
        assert said["hint"] == TOKEN
        untold = sessionlift("migrate", source, url, cwd=tmp_path)
        assert untold.code == 4
        said_so = f"Error [store_auth]: the server wants a token (HTTP 401)\n  next: {TOKEN}\nReport: "
        assert untold.err.startswith(said_so)
        assert (tmp_path / untold.err.removeprefix(said_so).removesuffix("\n")).is_file()
        done = sessionlift("migrate", source, url, "--json", cwd=tmp_path, env={"SESSIONLIFT_TOKEN": right})
        assert done.code == 1, done.out + done.err
    for outcome in (refused, done):
        assert "Traceback" not in outcome.err
        for token in (right, wrong):
            assert token not in outcome.out + outcome.err
    for path in (tmp_path / "sessionlift-reports").iterdir():
        assert right not in path.read_text()
        assert wrong not in path.read_text()


def test_a_server_that_is_not_there(sessionlift: Warm, legacy_store: Legacy, tmp_path: Path) -> None:
    url = f"libsql+http://127.0.0.1:{free_port()}"
    refused = sessionlift("migrate", legacy_store(sessions=4), url, cwd=tmp_path)
    assert refused.code == 4
    assert "Error [store_unavailable]: the server cannot be reached or went away while connecting: " in refused.err
    assert f"\n  next: {AGAIN}\n" in refused.err


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
