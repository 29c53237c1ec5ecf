"""A one-shot run, bridges in four processes, catch-up, a rollback of a part and the old program, all at once."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.both_programs import ledger_states, legacy_messages, new_messages
from tests.support.crowd import Everything
from tests.support.laws import TORTURE
from tests.support.swarm_bridge import make_stores
from tests.support.warm import warm

from sessionlift.reports import check_file

pytestmark = [
    pytest.mark.torture,
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
]


def test_everything_at_once_loses_doubles_and_reorders_nothing(tmp_path: Path) -> None:
    stores = make_stores(tmp_path, sessions=60 if TORTURE else 12)
    (tmp_path / "logs").mkdir()
    crowd = Everything(stores, tmp_path / "logs", seconds=60 if TORTURE else 4)
    with ExitStack() as stack:
        servers = {name: stack.enter_context(warm()) for name in ("migrate", "catch-up", "rollback")}
        crowd.go(servers)
        print(f"\nruns: {dict(crowd.runs)}; killed: {dict(crowd.killed)}")  # noqa: T201 - the numbers that the docs tell
        assert crowd.wrong == []
        sessionlift = servers["migrate"]
        both = stores.both
        # in calm: what the old program wrote last comes over, and what is on its way comes to its end
        catch_up = ["catch-up", *both]
        for command in (catch_up, ["rollback", both[1], "--all"], ["migrate", *both], catch_up, ["verify", *both]):
            outcome = sessionlift(*command, "--json")
            assert outcome.out, outcome.err
            answer = json.loads(outcome.out)
            found = [*answer["report"]["errors"], *answer["report"]["verification"]["differences"]]
            assert (outcome.code, found) == (0, []), f"{command[0]}: {outcome.code} {found}{outcome.err}"
            if command[0] == "rollback":
                back = {key: [each["content"] for each in listed] for key, (_, listed)
                        in legacy_messages(stores.source).items()}  # fmt: skip
                crowd.check(back)
                assert new_messages(stores.target) == {}
                assert set(ledger_states(stores.target).values()) <= {"rolled_back"}
    assert set(ledger_states(stores.target).values()) == {"moved"}
    again = {key: [content for _, content, _ in rows] for key, (_, rows) in new_messages(stores.target).items()}
    total = crowd.check(again)
    assert again == back
    reports = list(Path(f"{stores.target}.reports").glob("*.json"))
    assert [problem for path in reports for problem in check_file(path)] == []
    print(f"{total} messages in {len(again)} sessions, {len(reports)} reports")  # noqa: T201
    assert crowd.noted()
    assert any(crowd.old.values())
