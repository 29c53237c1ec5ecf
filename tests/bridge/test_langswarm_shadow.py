"""Shadow mode over LangSwarm's stores: V1 answers, and what the new store would say is compared with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.swarm_bridge import Stores, make_stores

from sessionlift.bridge import BridgeCore, Rollout
from sessionlift.bridge.langswarm import LegacyApi, SyncSessionBridge
from sessionlift.bridge.langswarm._compare import ShadowCompare
from sessionlift.bridge.langswarm._legacy_side import LegacySide
from sessionlift.runs import TransferOptions

SHADOW = Rollout(mode="shadow")


@pytest.mark.slow
def test_nothing_moves_and_nothing_differs(tmp_path: Path) -> None:
    stores = make_stores(tmp_path, sessions=60, seed=1, traps="all")
    with SyncSessionBridge(*stores.both, rollout=SHADOW) as new, LegacyApi.beside(new) as old:
        for session_id in stores.ids:
            session = new.get_session(session_id)
            assert session is not None
            assert session.where == "legacy"
            assert old.get_session(session_id) is not None
    assert stores.ask("SELECT count(*) FROM sessions") == [[0]]
    assert stores.ask("SELECT session_id, field, example FROM sessionlift_shadow WHERE field <> ''") == []


def test_each_field_that_differs_is_named_with_an_example(swarm: Stores) -> None:
    first = swarm.ids[0]
    with BridgeCore(*swarm.both) as core:
        legacy = LegacySide.of(str(swarm.source), TransferOptions())
        compare = ShadowCompare(legacy)
        converted = core.convert(first)
        assert converted is not None
        assert compare(converted) == {}
        rows = {table: [dict(row) for row in found] for table, found in converted.rows.items()}
        rows["session_messages"][0]["content"] = "other"
        del rows["session_messages"][-1]
        rows["sessions"][0]["context_data"] = rows["sessions"][0]["context_data"].replace('"active"', '"inactive"')
        found = compare(replace(converted, rows=rows))
        legacy.close()
    count = len(swarm.messages(first))
    assert found["messages"] == {"legacy": count, "new": count - 1}
    wanted = {"legacy": swarm.contents(first)[0], "new": "other"}
    assert found["messages.content"] == found["new_api.content"] == wanted
    if swarm.truth[first]["metadata"]["status"] == "active":
        assert found["metadata.status"] == {"legacy": "active", "new": "inactive"}
