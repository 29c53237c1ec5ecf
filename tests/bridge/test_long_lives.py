"""What only shows in a process that lives long: waiting without standing in the way, memory, stores that go away."""

from __future__ import annotations

import gc
import os
import resource
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.moved import query

from sessionlift._demo import make_langswarm_v1
from sessionlift.bridge import BridgeCore
from sessionlift.errors import StoreFullError, StoreLockedError
from sessionlift.reports import check_file
from sessionlift.runs import verify
from sessionlift.stores import open_store

pytestmark = pytest.mark.slow

USES = int(os.environ.get("SESSIONLIFT_USES", "20000"))
"""How many uses of moved sessions the memory of a process must survive; a million takes minutes."""


@pytest.fixture
def stores(tmp_path: Path) -> tuple[str, str]:
    make_langswarm_v1(tmp_path / "v1.db", sessions=20, seed=1, traps="none")
    return str(tmp_path / "v1.db"), str(tmp_path / "v2.db")


@pytest.fixture
def core(stores: tuple[str, str]) -> Iterator[BridgeCore]:
    with BridgeCore(*stores, wait=0.6) as core:
        yield core


def ids_of(stores: tuple[str, str]) -> list[str]:
    return [key for (key,) in query(Path(stores[0]), "SELECT session_id FROM sessions ORDER BY rowid")]


@pytest.mark.parametrize("driver", ["libsql", "sqlite"])
def test_waiting_for_another_writer_lets_other_threads_run(tmp_path: Path, driver: str) -> None:
    url = f"{driver}://{tmp_path / 'x.db'}"
    with open_store(url, mode="create", role="target") as made:
        made.execute("CREATE TABLE t (x)")
    with open_store(url, mode="rw", role="target") as one, open_store(url, mode="rw", role="target") as other:
        other.be_patient(1.0)
        longest, stop = 0.0, threading.Event()

        def tick() -> None:
            nonlocal longest
            last = time.monotonic()
            while not stop.wait(0.001):
                now = time.monotonic()
                longest, last = max(longest, now - last), now

        ticking = threading.Thread(target=tick)
        with one.transaction():
            ticking.start()
            begun = time.monotonic()
            with pytest.raises(StoreLockedError), other.transaction():
                pass
            waited = time.monotonic() - begun
            stop.set()
            ticking.join()
        assert waited >= 0.9
        assert longest < 0.5, "inside the driver the wait would hold the interpreter for a second"


def test_a_writer_that_waits_gets_its_turn(tmp_path: Path) -> None:
    url = f"libsql://{tmp_path / 'x.db'}"
    with open_store(url, mode="create", role="target") as made:
        made.execute("CREATE TABLE t (x)")
    with open_store(url, mode="rw", role="target") as one, open_store(url, mode="rw", role="target") as other:
        other.be_patient(5.0)
        held = threading.Event()

        def hold() -> None:
            with one.transaction():
                held.set()
                time.sleep(0.3)

        holder = threading.Thread(target=hold)
        holder.start()
        held.wait()
        with other.transaction():
            other.execute("INSERT INTO t VALUES (1)")
        holder.join()
        assert one.query("SELECT x FROM t") == [(1,)]


def test_a_move_that_waits_keeps_nobody_from_what_has_moved(stores: tuple[str, str], core: BridgeCore) -> None:
    first, second, *_ = ids_of(stores)
    core.ensure(first)
    took: list[float] = []
    with open_store(stores[1], mode="rw", role="target") as other, other.transaction():
        waiting = threading.Thread(target=lambda: core.ensure(second))
        waiting.start()
        time.sleep(0.1)
        while waiting.is_alive():
            begun = time.monotonic()
            assert core.known(first) is not None or core.fresh(first) is False
            took.append(time.monotonic() - begun)
            time.sleep(0.01)
        waiting.join()
    assert len(took) > 5
    assert sorted(took)[len(took) // 2] < 0.1


def test_a_full_disk_leaves_what_has_no_room_in_the_legacy_store(stores: tuple[str, str]) -> None:
    ids = ids_of(stores)
    with BridgeCore(*stores, retry_after=0.001) as core:
        pages = core.run(lambda store: store.query("PRAGMA page_count"))[0][0]
        core._stores.moving(lambda mover: mover.store.query(f"PRAGMA max_page_count = {int(str(pages)) + 4}"))
        places = [core.ensure(each) for each in ids]
        left = [place for place in places if place.where == "legacy"]
        assert left
        assert all(isinstance(place.error, StoreFullError) for place in left)
        assert all(place.where == "new" for place in places if place not in left)
        core._stores.moving(lambda mover: mover.store.query("PRAGMA max_page_count = 1000000"))
        time.sleep(0.05)
        assert {core.ensure(each).where for each in ids} == {"new"}
    assert check_file(core.report) == []
    assert not verify(*stores).report.has_findings


def test_what_has_moved_is_served_though_the_legacy_store_is_gone(stores: tuple[str, str], core: BridgeCore) -> None:
    first = ids_of(stores)[0]
    core.ensure(first)
    Path(stores[0]).rename(f"{stores[0]}.away")
    place = core.ensure(first)
    assert place.where == "new"
    assert place.error is not None


def test_a_long_life_leaves_nothing_behind(stores: tuple[str, str]) -> None:
    ids = ids_of(stores)
    with BridgeCore(*stores) as core:
        for each in ids:
            core.ensure(each)
        time.sleep(0.2)  # the legacy files are old enough for their times to be trusted

        def use(times: int) -> None:
            for turn in range(times):
                assert core.ensure(ids[turn % len(ids)]).where == "new"

        use(1_000)
        gc.collect()
        tracemalloc.start()
        use(3_000)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        use(6_000)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert grown < 30_000, "bytes of Python objects over 6,000 uses"
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        use(USES - 10_000)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 2_000, "KB of the whole process"
