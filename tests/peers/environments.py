"""The real programs, each in an environment of its own under ``.cache/peers/``, and ways to ask them."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".cache" / "peers"

# What a peer may see of our environment: nothing that configures it, no proxy settings lost.
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@dataclass(frozen=True)
class Reading:
    """What a real reader says of a v3 store."""

    usage: list[dict[str, Any]]
    sessions: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Peer:
    """One release of synth-ai. ``decodes``: its rows arrive with JSON columns parsed, not as text."""

    version: str
    python: Path
    decodes: bool

    def read(self, store: Path, workplace: Path) -> Reading:
        """Every session of the store through the release's public manager, which works on a copy."""
        copy = workplace / f"for-{self.version}.db"
        shutil.copyfile(store, copy)
        script = HERE / f"read_with_{self.version.replace('.', '_')}.py"
        done = self._run([str(script), str(copy)], workplace)
        assert done.returncode == 0, f"synth-ai {self.version} cannot read the store:\n{done.stderr[-4000:]}"
        first, *others = [json.loads(line) for line in done.stdout.splitlines()]
        return Reading(first["usage"], {line["session_id"]: line for line in others})

    def filter(self, store: Path, workplace: Path, **conditions: Any) -> list[dict[str, Any]]:
        """What ``synth-ai filter --config`` of this release writes for a copy of the store."""
        copy, config, output = (workplace / f"filter{end}" for end in (".db", ".toml", ".jsonl"))
        shutil.copyfile(store, copy)
        settings = {"db": str(copy), "output": str(output), **conditions}
        # JSON's strings, numbers and lists of strings are TOML's too
        config.write_text("[filter]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in settings.items()))
        start = "import sys; from synth_ai.cli import cli; sys.argv[0] = 'synth-ai'; cli()"
        done = self._run(["-c", start, "filter", "--config", str(config)], workplace)
        assert done.returncode == 0, f"`synth-ai filter` failed:\n{done.stdout}\n{done.stderr[-4000:]}"
        return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]

    def _run(self, arguments: list[str], workplace: Path) -> subprocess.CompletedProcess[str]:
        return run(self.python, arguments, workplace)


def run(
    python: Path, arguments: list[str], workplace: Path, *, given: str | None = None, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run a script in an environment. ``given`` is its standard input, ``settings`` are variables for it."""
    return subprocess.run(
        [str(python), "-X", "utf8", *arguments],
        cwd=workplace,  # the programs look for a .env file upwards of where they stand
        env={**{name: os.environ[name] for name in _PASSED_ON if name in os.environ}, **settings},
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def build(version: str, *, decodes: bool) -> Peer:
    """The release in its own environment, made at first use; skips where that cannot be done."""
    return Peer(version, environment(f"synth-ai-{version}", interpreter()), decodes)


def environment(name: str, interpreter: str) -> Path:
    """The Python of an environment with what ``NAME.txt`` pins, made at first use; skips where that cannot be done.

    With ``SESSIONLIFT_REQUIRE_PEERS=1`` it fails instead of skipping, so that a gate cannot pass by silence.
    """
    pins = HERE / f"{name}.txt"
    folder = CACHE / name
    python = folder / "bin" / "python"
    stamp = folder / "made-from"
    recipe = hashlib.sha256(pins.read_bytes()).hexdigest() + f" {interpreter}"
    with _alone(name):
        if not stamp.is_file() or stamp.read_text() != recipe:
            shutil.rmtree(folder, ignore_errors=True)
            for command in (
                [interpreter, "-m", "venv", str(folder)],
                [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(pins)],
            ):
                done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
                if done.returncode != 0:
                    give_up(f"cannot make an environment with {name}: {done.stderr.strip()[-800:]}")
            stamp.write_text(recipe)
    return python


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Within this no other process of the suite makes the environment ``name``."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def interpreter() -> str:
    """A Python that synth-ai runs on: 3.11 or newer."""
    if sys.version_info >= (3, 11):
        return sys.executable
    found = next(filter(None, map(shutil.which, ("python3.11", "python3.12", "python3.13"))), None)
    if found is None:
        give_up("synth-ai needs Python 3.11 or newer, and none is on the PATH")
    return found


def give_up(reason: str) -> NoReturn:
    """Skip, or fail where the peers are required."""
    if os.environ.get("SESSIONLIFT_REQUIRE_PEERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
