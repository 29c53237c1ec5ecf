"""Fixtures that more than one part of the suite uses: the real stores, and a real sqld server."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from tests.support.kills import COUNTED, table
from tests.support.laws import tries
from tests.support.probes import probe_once
from tests.support.servers import REPOSITORY, running_sqld
from tests.support.workers import forked_workers

settings.register_profile("sessionlift", tries(100))
probe_once()
settings.load_profile("sessionlift")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: tests that wait for a time limit leave theirs to others."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session", autouse=True)
def quick_workers() -> Iterator[None]:
    with forked_workers():
        yield


@pytest.fixture(scope="session")
def real_stores() -> Path:
    """Read-only stores written by the real programs. Copy a store before opening it."""
    named = os.environ.get("SESSIONLIFT_FIXTURES")
    path = Path(named) if named else REPOSITORY.parent / "shared" / "fixtures"
    if not (path / "synth").is_dir():
        pytest.skip("the stores of the real programs are not here (set SESSIONLIFT_FIXTURES to their folder)")
    return path


@pytest.fixture
def sqld(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real, empty sqld server that lives as long as the test."""
    with running_sqld(tmp_path_factory.mktemp("sqld")) as (url, _process):
        yield url


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many write boundaries were counted, and at how many of them a process was killed."""
    counted = {}
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == COUNTED:
                operation, boundaries, killed = json.loads(str(value))
                counted[operation] = (boundaries, killed)
    if counted:
        terminalreporter.section("write boundaries, counted")
        for line in table(counted):
            terminalreporter.line(line)
