"""The real LangSwarm, V1 and V2, each in an environment of its own, and ways to drive them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.peers import environments

Request = dict[str, Any]


@dataclass(frozen=True)
class Swarm:
    """One release of LangSwarm and the script that drives it. ``python`` is its interpreter."""

    python: Path
    script: Path

    @property
    def minor(self) -> int:
        """The minor version of its Python: V1's reader takes more spellings of a time from 3.11 on."""
        done = environments.run(self.python, ["-c", "import sys; print(sys.version_info.minor)"], self.script.parent)
        return int(done.stdout)

    def ask(self, store: Path, *requests: Request, timezone: str = "UTC") -> list[Any]:
        """The answers to ``requests``, in one process that works on the store itself.

        ``timezone`` is the zone of the machine on which the program runs; V1 writes its local times.
        """
        given = "".join(json.dumps(request) + "\n" for request in requests)
        done = environments.run(self.python, [str(self.script), str(store)], store.parent, given=given, TZ=timezone)
        assert done.returncode == 0, f"{self.script.name} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return [json.loads(line) for line in done.stdout.splitlines()]


@dataclass(frozen=True)
class SwarmV1(Swarm):
    """LangSwarm 0.0.54.dev45; the requests are those of ``drive_langswarm_v1.py``."""

    def read(self, store: Path) -> dict[str, Any]:
        """Per key of a row: ``session`` as V1 loads it (None where it cannot) and what it ``said`` about it."""
        found: dict[str, Any] = self.ask(store, {"do": "read"})[0]
        return found


@dataclass(frozen=True)
class SwarmV2(Swarm):
    """LangSwarm 0.1.0; the requests are those of ``drive_langswarm_v2.py``."""

    def read(self, store: Path) -> dict[str, Any]:
        """Per session id: ``messages``, ``context`` and ``metrics``; None where V2 cannot load it.

        Fails where the program logged an error: it answers with nothing instead of raising.
        """
        answer = self.answers(store, {"do": "read"})[0]
        assert isinstance(answer, dict)
        return answer

    def answers(self, store: Path, *requests: Request) -> list[Any]:
        """The answers alone, where the program had nothing to complain about."""
        said = self.ask(store, *requests)
        logged = [line for one in said for line in one["logged"]]
        assert not logged, logged
        return [one["answer"] for one in said]


def build_v1() -> SwarmV1:
    """V1, on Python 3.10 where there is one: the oldest that it runs on, whose reading is our rule."""
    python = environments.environment("langswarm-0.0.54.dev45", _oldest())
    return SwarmV1(python, environments.HERE / "drive_langswarm_v1.py")


def build_v2() -> SwarmV2:
    """V2, on the Python of the tests."""
    python = environments.environment("langswarm-0.1.0", sys.executable)
    return SwarmV2(python, environments.HERE / "drive_langswarm_v2.py")


def _oldest() -> str:
    # a shim of that name may be there without the release behind it
    try:
        subprocess.run(["python3.10", "-c", ""], capture_output=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return sys.executable
    return "python3.10"
