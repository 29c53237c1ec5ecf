"""Everything at once on one pair of stores: bridges in many processes, runs of the command line, and the old program.

The old program writes to every third session, the bridges' users to the others: so nothing that happens is a conflict,
and whatever is told as one is none. Each message that was said to be stored is noted before the next is written.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.support.both_programs import OldProgram
from tests.support.probes import probe_once
from tests.support.swarm_bridge import Stores
from tests.support.warm import Outcome, Warm

from sessionlift.bridge.langswarm import LegacyApi, SyncSessionBridge
from sessionlift.errors import SessionInLegacyError, SessionliftError

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.support.crowd"])
BUSY = {"store_locked", "store_overtaken"}
"""what a run may end with that others were in the way of for too long; the same command goes on"""


def work(stores: Stores, name: str, folder: Path, until: float) -> None:
    """Use sessions through a bridge: read any, write to those that are not the old program's."""
    chance = random.Random(name)  # noqa: S311 - no secret
    mine: dict[str, list[str]] = defaultdict(list)
    number, uses = 0, 0
    probe_once()
    with (
        SyncSessionBridge(*stores.both, wait=60.0, retry_after=0.01) as new,
        LegacyApi.beside(new) as old,
        (folder / f"{name}.log").open("a", encoding="utf-8") as notes,
    ):
        while uses < 20 or time.time() < until:
            uses += 1
            place = chance.randrange(len(stores.ids))
            key = stores.ids[place]
            session = new.get_session(key)
            assert session is not None, f"{key} seems to be nowhere"
            found = [message.content for message in session.messages]
            moved = stores.contents(key)
            assert found[: len(moved)] == moved, f"{key} has lost what was moved"
            assert [each for each in found if each in mine[key]] == mine[key], f"{key} has lost what {name} wrote"
            if place % 3 == 0 or chance.random() < 0.3:
                continue
            number += 1
            said = f"{name} {number}"
            try:
                if chance.random() < 0.5:
                    session.append_message(said)
                else:
                    assert old.add_message_to_session(key, said, "user") is not None
            except SessionInLegacyError:
                continue  # it was taken back, and lives where the bridge does not write
            notes.write(f"{key}\t{said}\n")
            notes.flush()
            mine[key].append(said)


def user(stores: Stores, name: str, folder: Path, until: float) -> None:
    """``work``; what goes wrong is left in a file for the test to tell."""
    try:
        work(stores, name, folder, until)
    except (SessionliftError, AssertionError) as error:
        (folder / f"{name}.wrong").write_text(f"{name}: {type(error).__name__}: {error}", "utf-8")
        raise


@dataclass
class Everything:
    """``runs`` counts what each command ended with, ``killed`` the processes that were."""

    stores: Stores
    folder: Path
    seconds: float
    kills: bool = True
    runs: Counter[str] = field(default_factory=Counter)
    killed: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    old: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def go(self, servers: dict[str, Warm]) -> None:
        made = servers["migrate"]("migrate", *self.stores.both, "--only", self.stores.ids[0], "--json")
        assert made.code == 0, made.err + made.out
        until = time.time() + self.seconds
        tasks: list[Callable[[float], None]] = [self._old_program]
        tasks += [lambda until, name=name, server=server: self._runs(name, server, until)  # type: ignore[misc]
                  for name, server in servers.items()]  # fmt: skip
        threads = [threading.Thread(target=task, args=(until,)) for task in tasks]
        for thread in threads:
            thread.start()
        self._users(until)
        for thread in threads:
            thread.join()
        self.wrong += [path.read_text("utf-8") for path in self.folder.glob("*.wrong")]

    def _users(self, until: float) -> None:
        chance = random.Random(5)  # noqa: S311 - no secret
        started = 0

        def start() -> BaseProcess:
            nonlocal started
            started += 1
            process = PROCESSES.Process(target=user, args=(self.stores, f"w{started}", self.folder, until))
            process.start()
            return process

        running = [start() for _ in range(4)]
        due = time.time() + self.seconds / 3
        while running:
            time.sleep(0.05)
            if self.kills and due < time.time() < until:
                due = time.time() + chance.uniform(1.0, 4.0)
                victim = chance.choice(running)
                if victim.is_alive():
                    victim.kill()
                    victim.join()
                    running.remove(victim)
                    self.killed["bridge"] += 1
                    running.append(start())
            for each in [process for process in running if not process.is_alive()]:
                each.join()
                running.remove(each)

    def _runs(self, name: str, server: Warm, until: float) -> None:
        chance = random.Random(name)  # noqa: S311 - no secret
        source, target = self.stores.both
        count = 0
        while count < 2 or time.time() < until:
            count += 1
            some = [word for key in chance.sample(self.stores.ids, 4) for word in ("--session", key)]
            arguments = ["rollback", target, *some] if name == "rollback" else [name, source, target]
            at = chance.randrange(1, 80) if self.kills and chance.random() < 0.4 else 0
            self._take(name, server(*arguments, "--json", at=at))

    def _take(self, name: str, outcome: Outcome) -> None:
        if outcome.code == -signal.SIGKILL:
            self.killed[name] += 1
            return
        answer: dict[str, Any] = json.loads(outcome.out) if outcome.out else {"code": outcome.err}
        how = "done" if outcome.code in (0, 1) and outcome.out else str(answer.get("code"))
        self.runs[f"{name}: {how}"] += 1
        # a session that nobody has moved yet cannot be taken back
        too_early = name == "rollback" and "has no session" in str(answer.get("error"))
        if how not in {"done", *BUSY} and not too_early:
            self.wrong.append(f"{name}: {outcome.code} {answer}{outcome.err}")
        report = answer.get("report")
        errors = report["errors"] if isinstance(report, dict) else []
        if {"session_conflict", "changed_on_both_sides"} & {line["code"] for line in errors}:
            self.wrong.append(f"{name}: a conflict where none is: {errors[:2]}")

    def _old_program(self, until: float) -> None:
        program = OldProgram(self.stores.source)
        chance = random.Random(7)  # noqa: S311 - no secret
        while time.time() < until:
            key = chance.choice(self.stores.ids[::3])
            said = f"old {len(program.said)}"
            program.append(key, said)
            self.old[key].append(said)
            time.sleep(0.05)

    def noted(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for log in sorted(self.folder.glob("*.log")):
            for line in log.read_text("utf-8").splitlines():
                key, said = line.split("\t")
                found[key].append(said)
        return found

    def check(self, lists: dict[str, list[str]]) -> int:
        """Compare the sessions' messages with what was written; returns how many messages there are."""
        noted, unnoted = self.noted(), 0
        assert lists.keys() == set(self.stores.ids)
        for key, contents in lists.items():
            moved = self.stores.contents(key)
            assert contents[: len(moved)] == moved, f"{key}: what was moved is not as it was"
            added = contents[len(moved) :]
            assert len(added) == len(set(added)), f"{key}: a message is there twice"
            old = [each for each in added if each.startswith("old ")]
            assert old == self.old[key], f"{key}: the old program wrote {self.old[key]}, and there is {old}"
            new = [each for each in added if not each.startswith("old ")]
            assert set(noted[key]) <= set(new), f"{key}: lost {set(noted[key]) - set(new)}"
            unnoted += len(set(new) - set(noted[key]))
            by_worker: dict[str, list[int]] = defaultdict(list)
            for each in new:
                name, number = each.split()
                by_worker[name].append(int(number))
            for name, numbers in by_worker.items():
                assert numbers == sorted(numbers), f"{key}: {name}'s messages are not in their order"
        assert unnoted <= self.killed["bridge"], "only a killed bridge may have stored what it had no time to note"
        return sum(map(len, lists.values()))
