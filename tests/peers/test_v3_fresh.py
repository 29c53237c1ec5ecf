"""The runners themselves, on a store that the real 0.2.16 wrote: without it, agreement proves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.peers.environments import Peer

pytestmark = [pytest.mark.peers, pytest.mark.fixtures]


@pytest.fixture
def fresh(real_stores: Path) -> Path:
    return real_stores / "synth" / "v3_fresh.db"


def test_each_release_reads_a_store_of_the_real_program(peer: Peer, fresh: Path, tmp_path: Path) -> None:
    reading = peer.read(fresh, tmp_path)

    session = reading.sessions["v3-0"]
    assert [step["step_id"] for step in session["trace"]["timesteps"]] == ["turn_0", "turn_1", "turn_2"]
    assert session["trace"]["metadata"]["env_name"] == "crafter"
    assert len(session["events"]) == session["trace"]["num_events"] == 9
    assert session["messages"][0]["content"] == "user says café 日本"
    assert reading.usage[0]["usage_count"] == 15


def test_a_message_that_the_real_program_lost_is_not_there_for_its_readers(
    peer: Peer, fresh: Path, tmp_path: Path
) -> None:
    session = peer.read(fresh, tmp_path).sessions["v3-lost"]

    assert session["trace"]["num_messages"] == 1
    assert session["messages"] == []


def test_filter_pairs_the_messages_of_a_store_of_the_real_program(
    synth_0_2_16: Peer, fresh: Path, tmp_path: Path
) -> None:
    examples = synth_0_2_16.filter(fresh, tmp_path)

    assert examples[0]["messages"] == [
        {"role": "user", "content": "user says café 日本"},
        {"role": "assistant", "content": "ok"},
    ]
    assert {example["metadata"]["session_id"] for example in examples} >= {"v3-0", "v3-1"}
