"""Many processes that read and send on one target, some of them killed: nothing doubled, lost or reordered."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import defaultdict
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from tests.support.laws import TORTURE
from tests.support.swarm_bridge import Stores, make_stores

from sessionlift.bridge.langswarm import LegacyApi, SyncSessionBridge

SPAWN = multiprocessing.get_context("spawn")


def work(stores: Stores, name: str, log: Path, seed: int, uses: int) -> None:
    """Read and send at random; each message that the bridge said was stored is noted before the next."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    ids = stores.ids
    with (
        SyncSessionBridge(*stores.both, wait=60.0) as new,
        LegacyApi.beside(new) as old,
        log.open("a", encoding="utf-8") as notes,
    ):
        for n in range(uses):
            session_id = chance.choice(ids)
            kind = chance.random()
            if kind < 0.5:
                session = new.get_session(session_id)
                assert session is not None
                found = [message.content for message in session.get_messages()]
                moved = stores.contents(session_id)
                assert found[: len(moved)] == moved, f"{session_id} has lost what was moved"
                continue
            said = f"{name} {n}"
            if kind < 0.8:
                session = new.get_session(session_id)
                assert session is not None
                session.append_message(said)
            else:
                assert old.add_message_to_session(session_id, said, "user") is not None
            notes.write(f"{session_id}\t{said}\n")
            notes.flush()


@dataclass
class Crowd:
    """Workers, each with a log of its own."""

    stores: Stores
    folder: Path
    uses: int
    logs: list[Path] = field(default_factory=list)
    killed: int = 0

    def start(self) -> BaseProcess:
        name = f"w{len(self.logs)}"
        log = self.folder / f"{name}.log"
        self.logs.append(log)
        worker = SPAWN.Process(target=work, args=(self.stores, name, log, len(self.logs), self.uses))
        worker.start()
        return worker

    def run(self, workers: int, *, kills: int = 0) -> None:
        """``workers`` at once; ``kills`` of them are killed at some moment, and another takes the place."""
        chance = random.Random(5)  # noqa: S311 - no secret
        running = [self.start() for _ in range(workers)]
        while running:
            time.sleep(0.2)
            if self.killed < kills and chance.random() < 0.15:
                victim = chance.choice(running)
                if victim.is_alive() and self.logs[-1].exists():
                    victim.kill()
                    victim.join()
                    running.remove(victim)
                    self.killed += 1
                    running.append(self.start())
            for each in [worker for worker in running if not worker.is_alive()]:
                each.join()
                assert each.exitcode == 0
                running.remove(each)


def check(crowd: Crowd) -> int:
    """Compare the store with the logs; returns how many messages were sent."""
    stores = crowd.stores
    noted = [line.split("\t") for log in crowd.logs if log.exists() for line in log.read_text("utf-8").splitlines()]
    sent: dict[str, set[str]] = defaultdict(set)
    for session_id, said in noted:
        sent[session_id].add(said)
    found: dict[str, list[str]] = defaultdict(list)
    rows = stores.ask("SELECT session_id, content FROM session_messages ORDER BY session_id, timestamp, id")
    for session_id, content in rows:
        found[session_id].append(content)
    unnoted = 0
    for session_id, contents in found.items():
        moved = stores.contents(session_id)
        assert contents[: len(moved)] == moved, f"{session_id}: what was moved is not as it was"
        added = contents[len(moved) :]
        assert len(added) == len(set(added)), f"{session_id}: a message is there twice"
        assert sent[session_id] <= set(added), f"{session_id}: lost {sent[session_id] - set(added)}"
        unnoted += len(set(added) - sent[session_id])
        by_worker: dict[str, list[int]] = defaultdict(list)
        for content in added:
            name, number = content.split()
            by_worker[name].append(int(number))
        for name, numbers in by_worker.items():
            assert numbers == sorted(numbers), f"{session_id}: {name}'s messages are not in their order"
    assert sent.keys() <= found.keys()
    assert unnoted <= crowd.killed, "only a killed worker may have stored what it had no time to note"
    counted = stores.ask("SELECT session_id, count(*) FROM sessions GROUP BY session_id HAVING count(*) > 1")
    assert counted == []
    metrics = stores.ask(
        "SELECT m.session_id FROM session_metrics m WHERE m.message_count <> "
        "(SELECT count(*) FROM session_messages q WHERE q.session_id = m.session_id)"
    )
    assert metrics == []
    return len(noted)


@pytest.mark.slow
def test_a_few_processes_read_and_send(tmp_path: Path) -> None:
    crowd = Crowd(make_stores(tmp_path, sessions=12), tmp_path, uses=25)
    crowd.run(4, kills=1)
    assert check(crowd) > 20


@pytest.mark.slow
@pytest.mark.torture
@pytest.mark.skipif(not TORTURE, reason="takes some minutes: `make torture`")
def test_eight_processes_read_and_send_on_five_hundred_sessions(tmp_path: Path) -> None:
    crowd = Crowd(make_stores(tmp_path, sessions=500), tmp_path, uses=600)
    crowd.run(8, kills=12)
    assert crowd.killed >= 3, "a quick machine is done before all twelve come"
    assert check(crowd) > 1_500
