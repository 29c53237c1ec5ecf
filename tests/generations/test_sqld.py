"""The same revisions on a real sqld server."""

from __future__ import annotations

import pytest

from sessionlift.errors import GenerationError, UnknownGenerationError, WrongGenerationError
from sessionlift.generations import (
    detect,
    prepare_target,
    schema_current,
    schema_downgrade,
    schema_upgrade,
    schema_verify,
)
from sessionlift.stores import open_store

pytestmark = pytest.mark.sqld


@pytest.mark.parametrize(("generation", "revision"), [("synth.v3", "synth_v3"), ("langswarm.v2", "langswarm_v2")])
def test_a_target_is_made_verified_and_taken_away(sqld: str, generation: str, revision: str) -> None:
    both = sorted(["ledger_2", revision])
    found = prepare_target(sqld, generation)
    assert (found.engine, found.generation, found.ledger) == ("sqld", generation, True)
    assert schema_verify(sqld) == both
    assert prepare_target(sqld, generation).stamps == both

    assert schema_downgrade(sqld, "ledger@base") == [revision]
    assert schema_downgrade(sqld, "base") == []
    with pytest.raises(UnknownGenerationError, match="no tables at all"):
        detect(sqld)
    assert schema_upgrade(sqld, revision) == [revision]


def test_a_server_with_sessions_of_the_application_is_taken_with_them(sqld: str) -> None:
    schema_upgrade(sqld, "langswarm_v2")
    with open_store(sqld, mode="rw", role="target") as store:
        store.execute(
            "INSERT INTO sessions (session_id, user_id, provider, model, backend, context_data) "
            "VALUES ('new', 'u', 'openai', 'gpt-4o', 'hybrid', '{}')"
        )
    found = prepare_target(sqld, "langswarm.v2")
    assert (found.ledger, found.rows["sessions"]) == (True, 1)
    assert any("taken as it is" in said for said in found.evidence)


def test_a_failed_upgrade_leaves_the_server_as_it_was(sqld: str) -> None:
    with open_store(sqld, mode="rw", role="target") as store:
        store.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, something TEXT)")
    with pytest.raises(GenerationError):
        schema_upgrade(sqld, "synth_v3")
    assert schema_current(sqld) == []
    with open_store(sqld, mode="rw", role="target") as store:
        assert store.query("SELECT name FROM sqlite_master WHERE type = 'table'") == [("events",)]


def test_the_server_refuses_rows_of_others_and_the_wrong_engine(sqld: str) -> None:
    schema_upgrade(sqld, "synth_v3")
    with pytest.raises(WrongGenerationError, match="lives on DuckDB"):
        schema_upgrade(sqld, "synth_v2")
    with open_store(sqld, mode="rw", role="target") as store:
        store.execute("INSERT INTO systems (system_id, name) VALUES ('s', 'n')")
    with pytest.raises(WrongGenerationError, match="no ledger"):
        prepare_target(sqld, "synth.v3")
    with pytest.raises(GenerationError, match="systems 1"):
        schema_downgrade(sqld, "base")
