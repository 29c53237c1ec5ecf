"""One legacy store for all converter tests of a process, emptied before each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.synth_back import V3Target
from tests.support.synth_stores import LegacyStore


@pytest.fixture(scope="session")
def legacy_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LegacyStore]:
    store = LegacyStore(tmp_path_factory.mktemp("legacy") / "v2.duckdb")
    yield store
    store.close()


@pytest.fixture
def legacy(legacy_store: LegacyStore) -> LegacyStore:
    legacy_store.clear()
    return legacy_store


@pytest.fixture(scope="session")
def other_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LegacyStore]:
    """A second legacy store, for what comes back."""
    store = LegacyStore(tmp_path_factory.mktemp("other") / "v2.duckdb")
    yield store
    store.close()


@pytest.fixture(scope="session")
def v3_target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[V3Target]:
    target = V3Target(tmp_path_factory.mktemp("target") / "v3.db")
    yield target
    target.close()
