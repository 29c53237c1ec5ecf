"""Fixtures of the bridge's tests over LangSwarm stores."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.swarm_bridge import Stores, make_stores


@pytest.fixture
def swarm(tmp_path: Path) -> Stores:
    return make_stores(tmp_path)
