"""The same rollback from a real server: the same legacy rows; a server that goes away ends the run in order."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.runs.test_taken_back import contents
from tests.support.cutting_proxy import When, cutting_proxy
from tests.support.laws import TORTURE, strided
from tests.support.moved import query
from tests.support.run_fixtures import Legacy
from tests.support.servers import free_port, running_sqld
from tests.support.taken_back import V2_MESSAGE, v1_rows
from tests.support.warm import Outcome, Warm

from sessionlift._demo import make_langswarm_v1
from sessionlift.reports import check_file
from sessionlift.runs._auto_backup import ON_A_SERVER
from sessionlift.stores import open_store

pytestmark = [pytest.mark.slow, pytest.mark.sqld]


def at(url: str, sql: str) -> list[tuple[Any, ...]]:
    with open_store(url, mode="ro", role="target") as store:
        return list(store.query(sql))


def write_to(url: str) -> None:
    """A message more, a session less: what the application does after the move."""
    with open_store(url, mode="rw", role="target") as store:
        one, two = (key for (key,) in store.query("SELECT session_id FROM sessions ORDER BY rowid LIMIT 2"))
        store.execute(V2_MESSAGE, (one, "new", "said after the move"))
        for table in ("session_messages", "session_metrics", "sessions"):
            store.execute(f"DELETE FROM {table} WHERE session_id = ?", (two,))


def report_of(outcome: Outcome, cwd: Path) -> dict[str, Any]:
    told = json.loads(outcome.out)
    assert outcome.code in (0, 1), outcome.out + outcome.err
    assert check_file(cwd / told["path"]) == []
    report: dict[str, Any] = told["report"]
    return report


CHOICES: dict[str, Any] = {"sessions": 6, "seed": 5, "traps": "usual"}


@pytest.fixture
def v1(tmp_path: Path) -> Path:
    path = tmp_path / "v1.db"
    make_langswarm_v1(path, **CHOICES)
    return path


def test_a_server_gives_back_what_a_file_gives_back(sessionlift: Warm, v1: Path, sqld: str, tmp_path: Path) -> None:
    other = tmp_path / "other" / "v1.db"
    other.parent.mkdir()
    shutil.copy(v1, other)
    target = tmp_path / "v2.db"
    reports = {}
    for source, store in ((v1, sqld), (other, str(target))):
        assert sessionlift("migrate", source, store, "--quiet", "--no-verify", cwd=tmp_path).code in (0, 1)
        write_to(store)
        dry = sessionlift("rollback", store, "--all", "--dry-run", "--json", cwd=tmp_path)
        assert report_of(dry, tmp_path)["migrated_sessions"] == 6, dry.err
        reports[store] = report_of(sessionlift("rollback", store, "--all", "--json", cwd=tmp_path), tmp_path)

    assert v1_rows(v1) == v1_rows(other)
    mine, theirs = reports[sqld], reports[str(target)]
    for part in ("tables", "losses", "source_facts", "total_sessions", "migrated_sessions", "errors", "status"):
        assert mine[part] == theirs[part], part
    assert mine["verification"]["status"] == "passed"
    assert mine["verification"]["checked_values"] == theirs["verification"]["checked_values"]
    states = "SELECT session_id, state, source_digest FROM sessionlift_units ORDER BY session_id"
    assert at(sqld, states) == query(target, states)
    assert at(sqld, "SELECT count(*) FROM sessions") == [(0,)]
    told = {line["store"]: line for line in mine["backups"]}
    assert told[sqld]["state"] == "not_taken"
    assert told[sqld]["reason"] == ON_A_SERVER
    assert told[f"sqlite://{v1}"]["state"] == "taken"
    again = sessionlift("migrate", v1, sqld, "--json", cwd=tmp_path)
    assert report_of(again, tmp_path)["migrated_sessions"] == 5, "and moved again"


@dataclass
class Calm:
    """What a rollback met and left that nothing disturbed, and V1's store as it was before it."""

    saved: bytes
    before: list[tuple[Any, ...]]
    after: list[tuple[Any, ...]]
    asked: list[int]


@pytest.fixture(scope="module")
def calm(sessionlift: Warm, tmp_path_factory: pytest.TempPathFactory) -> Calm:
    folder = tmp_path_factory.mktemp("calm")
    v1 = folder / "v1.db"
    make_langswarm_v1(v1, **CHOICES)
    saved = v1.read_bytes()
    (folder / "sqld").mkdir()
    with running_sqld(folder / "sqld") as (url, _):
        assert sessionlift("migrate", v1, url, "--quiet", "--no-verify", cwd=folder).code in (0, 1)
        write_to(url)
        before = at(url, "SELECT session_id, content FROM session_messages ORDER BY id")
        done = sessionlift("rollback", url, "--all", "--json", cwd=folder)
        assert done.code == 0, done.out + done.err
    asked = [number for number, what in enumerate(done.boundaries, 1) if what == "ask the server"]
    return Calm(saved, before, v1_rows(v1), asked)


@pytest.mark.torture
@pytest.mark.parametrize("share", [0.25, 0.6, 0.95] if TORTURE else [0.25, 0.6])
def test_a_server_that_goes_away_ends_the_rollback_and_the_next_one_goes_on(
    sessionlift: Warm, calm: Calm, v1: Path, tmp_path: Path, share: float
) -> None:
    here, port, before, after = tmp_path / "here", free_port(), calm.before, calm.after
    here.mkdir()
    assert v1.read_bytes() == calm.saved

    with running_sqld(here, port=port) as (url, process):
        assert sessionlift("migrate", v1, url, "--quiet", "--no-verify", cwd=tmp_path).code in (0, 1)
        write_to(url)
        ended = sessionlift(
            "rollback",
            url,
            "--all",
            "--json",
            cwd=tmp_path,
            at=calm.asked[int(len(calm.asked) * share)],
            do=f"SIGKILL {process.pid}",
        )

    assert ended.code == 4, ended.out + ended.err
    said = json.loads(ended.out)
    assert said["code"] == "store_unavailable"
    assert "run the same command again" in said["hint"]
    assert "Traceback" not in ended.err
    assert json.loads((tmp_path / said["report"]).read_text())["status"] == "failed"
    with running_sqld(here, port=port) as (url, _):
        # each session is whole in the one place that the ledger names
        gone = {key for (key,) in at(url, "SELECT session_id FROM sessionlift_units WHERE state = 'rolled_back'")}
        there = at(url, "SELECT session_id, content FROM session_messages ORDER BY id")
        assert there == [row for row in before if row[0] not in gone]
        lying = {row[0].decode(): row for row in v1_rows(v1)}
        assert {key: lying[key] for key in gone} == {row[0].decode(): row for row in after if row[0].decode() in gone}
        again = sessionlift("rollback", url, "--all", "--json", cwd=tmp_path)
        assert again.code == 0, again.out + again.err
        assert at(url, "SELECT count(*) FROM sessions") == [(0,)]
        assert at(url, "SELECT count(*) FROM sessionlift_rollout WHERE name LIKE 'rollback/%'") == [(0,)]
    assert v1_rows(v1) == after


@pytest.mark.torture
@pytest.mark.parametrize("when", ["before", "after"] if TORTURE else ["after"])
def test_a_connection_that_is_cut_ends_the_rollback_and_the_next_one_goes_on(
    sessionlift: Warm, v1: Path, tmp_path: Path, when: When
) -> None:
    saved, backups = v1.read_bytes(), v1.with_name(f"{v1.name}.backups")

    def begin(url: str) -> None:
        v1.write_bytes(saved)
        shutil.rmtree(backups, ignore_errors=True)
        assert sessionlift("migrate", v1, url, "--quiet", "--no-verify", cwd=tmp_path).code in (0, 1)
        write_to(url)

    (tmp_path / "calm").mkdir()
    with running_sqld(tmp_path / "calm") as (url, _), cutting_proxy(url) as (through, proxy):
        begin(url)
        proxy.orders(0, when)
        calm = sessionlift("rollback", through, "--all", "--json", cwd=tmp_path)
        assert calm.code == 0, calm.out + calm.err
        count, after = proxy.seen, v1_rows(v1)
    print(f"\n{count} requests")  # noqa: T201 - the number that the docs tell
    for number in strided(count, 16) if TORTURE else (count * 3 // 4,):
        (tmp_path / str(number)).mkdir()
        with running_sqld(tmp_path / str(number)) as (url, _), cutting_proxy(url) as (through, proxy):
            begin(url)
            proxy.orders(number, when)
            ended = sessionlift("rollback", through, "--all", "--json", cwd=tmp_path)
            assert "Traceback" not in ended.err
            # what is cut at the very end may be told in the report alone
            if ended.code != 0:
                said = json.loads(ended.out)
                assert (ended.code, said["code"]) == (4, "store_unavailable"), f"{when} {number}: {ended.out}"
                assert "run the same command again" in said["hint"]
            gone = {key for (key,) in at(url, "SELECT session_id FROM sessionlift_units WHERE state = 'rolled_back'")}
            there = {key for (key,) in at(url, "SELECT session_id FROM sessions")}
            assert not gone & there, f"{when} {number}: in two places"
            lying = {row[0].decode(): row for row in v1_rows(v1)}
            final = {row[0].decode(): row for row in after}
            assert {key: lying.get(key) for key in gone} == {key: final[key] for key in gone}, f"{when} {number}"
            proxy.orders(0, when)
            again = sessionlift("rollback", through, "--all", "--json", cwd=tmp_path)
            assert again.code == 0, f"{when} {number}: {again.out}{again.err}"
            assert v1_rows(v1) == after, f"{when} {number}"
            assert at(url, "SELECT count(*) FROM sessions") == [(0,)]
            assert at(url, "SELECT count(*) FROM sessionlift_rollout WHERE name LIKE 'rollback/%'") == [(0,)]


def test_synth_sessions_come_back_from_a_server_too(
    sessionlift: Warm, legacy: Legacy, sqld: str, tmp_path: Path
) -> None:
    source = legacy(sessions=3)
    assert sessionlift("migrate", source, sqld, "--quiet", "--no-verify", cwd=tmp_path).code in (0, 1)
    before = contents(source)
    report = report_of(sessionlift("rollback", sqld, "--all", "--json", cwd=tmp_path), tmp_path)
    assert report["errors"] == []
    assert report["verification"]["status"] == "passed"
    assert contents(source) == before
    assert at(sqld, "SELECT count(*) FROM session_traces") == [(0,)]
