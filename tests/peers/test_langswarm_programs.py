"""The real LangSwarm programs on stores of ours and on each other's: what the mapping and the bridge rely on.

Without these, agreement with our own readers would prove nothing.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.peers.swarm import SwarmV1, SwarmV2

from sessionlift._demo import make_langswarm_dump, make_langswarm_enhanced, make_langswarm_v1
from sessionlift._demo._swarm_traps import READ_BY_NEWER
from sessionlift.errors import WrongGenerationError
from sessionlift.generations import check_target, detect, prepare_target, schema_upgrade, schema_verify

pytestmark = pytest.mark.peers


def same(left: Any, right: Any) -> bool:
    # through text: NaN is not equal to itself, and the order of keys counts
    return json.dumps(left) == json.dumps(right)


def count(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0])


def memory(path: Path) -> dict[str, tuple[str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        return {key: (value, metadata) for key, value, metadata in connection.execute("SELECT * FROM memory")}


# --- V1


@pytest.mark.fixtures
@pytest.mark.parametrize("name", ["v1_small.db", "v1_corrupt.db"])
def test_v1_answers_for_the_real_stores_as_their_truth_says(
    swarm_v1: SwarmV1, real_stores: Path, tmp_path: Path, name: str
) -> None:
    shutil.copyfile(real_stores / "langswarm" / name, tmp_path / name)
    lines = (real_stores / "langswarm" / f"{name}.truth.jsonl").read_text().splitlines()
    truth = {one["sid"]: one.get("session") for one in map(json.loads, lines)}
    found = swarm_v1.read(tmp_path / name)
    assert found.keys() == truth.keys()
    for key, one in found.items():
        assert same(one["session"], truth[key]), (key, one["said"])


def test_v1_answers_for_a_made_up_store_as_its_truth_says(swarm_v1: SwarmV1, tmp_path: Path) -> None:
    made = make_langswarm_v1(tmp_path / "v1.db", sessions=120, seed=11, traps="all")
    before = made.path.read_bytes()
    found = swarm_v1.read(made.path)
    assert len(found) == 120
    newer = {made.trapped[f"unreadable_{trap}"] for trap in READ_BY_NEWER} if swarm_v1.minor >= 11 else set()
    for key, one in found.items():
        if key not in newer:
            assert same(one["session"], made.truth.get(key)), (key, made.unreadable.get(key), one["said"])
            assert bool(one["said"]) == (key in made.unreadable), (key, one["said"])
    assert made.path.read_bytes() == before


def test_v1_goes_on_in_a_store_of_our_revision(swarm_v1: SwarmV1, tmp_path: Path) -> None:
    path = tmp_path / "ours.db"
    schema_upgrade(str(path), "langswarm_v1")
    session = {"session_id": "s", "user_id": "u", "provider": "claude", "model": "claude-3"}
    swarm_v1.ask(
        path,
        {"do": "create", **session},
        {"do": "add", "session_id": "s", "role": "user", "content": "hello"},
        {"do": "send", "session_id": "s", "content": "and now?"},
        {"do": "archive", "session_id": "s"},
    )
    assert schema_verify(str(path)) == ["langswarm_v1"]
    read = swarm_v1.read(path)["s"]["session"]
    assert [one["role"] for one in read["history"]["messages"]] == ["user", "user", "assistant"]
    assert read["metadata"]["status"] == "archived"
    (listed,) = swarm_v1.ask(path, {"do": "list", "status": "archived"})
    assert [one["session_id"] for one in listed["sessions"]] == ["s"]


def test_v1_writes_the_time_of_its_own_machine_without_saying_whose(swarm_v1: SwarmV1, tmp_path: Path) -> None:
    asked = {"do": "create", "user_id": "u", "provider": "openai", "model": "m"}
    times = [
        swarm_v1.ask(tmp_path / "v1.db", asked, timezone=zone)[0]["metadata"]["created_at"]
        for zone in ("Pacific/Kiritimati", "Pacific/Niue")  # 25 hours apart
    ]
    assert not any("+" in time or "Z" in time for time in times)
    assert times[0][:10] > times[1][:10]


def test_what_we_make_as_a_dump_and_as_an_enhanced_store_is_what_v1_makes(swarm_v1: SwarmV1, tmp_path: Path) -> None:
    choices: dict[str, Any] = {"sessions": 30, "seed": 5, "traps": "usual"}
    made = make_langswarm_v1(tmp_path / "v1.db", **choices)
    dump, enhanced = tmp_path / "real.json", tmp_path / "real.enhanced"
    swarm_v1.ask(made.path, {"do": "dump", "into": str(dump)}, {"do": "enhanced", "into": str(enhanced)})

    ours = make_langswarm_dump(tmp_path / "ours.json", **choices).path
    assert same(json.loads(ours.read_text()), json.loads(dump.read_text()))

    mine, real = (
        memory(path) for path in (make_langswarm_enhanced(tmp_path / "ours.enhanced", **choices).path, enhanced)
    )
    # the only one that the program itself cannot save there: a text for its index has half a character
    unsaved = made.trapped["surrogates"]
    assert mine.pop(f"session:{unsaved}")
    assert {key: row for key, row in mine.items() if f"'session_id': {unsaved!r}" not in row[1]} == real
    assert detect(str(enhanced)).dress == "enhanced"
    assert detect(str(dump)).dress == "dump"


# --- V2


def test_v2_goes_on_in_a_target_of_ours(swarm_v2: SwarmV2, tmp_path: Path) -> None:
    path = tmp_path / "v2.db"
    prepare_target(str(path), "langswarm.v2")
    session = {"session_id": "s", "user_id": "u", "provider": "anthropic", "model": "claude-3", "backend": "hybrid"}
    using = {"manager": "one", "providers": ["anthropic"]}
    created, sent, listed = swarm_v2.answers(
        path,
        {"do": "create", **session, **using},
        {"do": "send", "session_id": "s", "content": "hello", **using},
        {"do": "list", "user_id": "u", **using},
    )
    assert created["provider_session_id"].startswith("conv_u_")
    assert sent["answer"]["content"] == "echo of hello after 0"
    assert listed == ["s"]
    assert schema_verify(str(path)) == ["langswarm_v2", "ledger_2"]
    assert [one["role"] for one in swarm_v2.read(path)["s"]["messages"]] == ["user", "assistant"]
    swarm_v2.answers(path, {"do": "delete", "session_id": "s"})
    assert (count(path, "sessions"), count(path, "session_messages")) == (0, 2), "it leaves the messages behind"


def test_a_store_that_v2_wrote_is_adopted_with_its_sessions(swarm_v2: SwarmV2, tmp_path: Path) -> None:
    path = tmp_path / "v2.db"
    asked = {"session_id": "new", "user_id": "u", "provider": "x", "model": "m", "manager": "one"}
    swarm_v2.answers(path, {"do": "create", **asked}, {"do": "send", "content": "hello", **asked})
    before = swarm_v2.read(path)
    found = prepare_target(str(path), "langswarm.v2")
    assert (found.stamps, found.rows["sessions"]) == (["langswarm_v2", "ledger_2"], 1)
    assert swarm_v2.read(path) == before


def test_v2_spoils_a_v1_file_without_a_word_and_it_is_still_a_source(
    swarm_v1: SwarmV1, swarm_v2: SwarmV2, tmp_path: Path
) -> None:
    made = make_langswarm_v1(tmp_path / "langswarm_sessions.db", sessions=5, traps="none")
    asked = {"session_id": "new", "user_id": "u", "provider": "x", "model": "m", "manager": "one"}
    said = swarm_v2.ask(made.path, {"do": "create", **asked}, {"do": "send", "content": "hello", **asked})
    assert said[1]["answer"]["answer"]["content"] == "hello", "the send 'succeeds'"
    assert said[1]["logged"]
    assert count(made.path, "session_messages") == 0

    found = detect(str(made.path))
    assert (found.generation, found.rows) == ("langswarm.v1", {"sessions": 5})
    assert any("opened this file" in line for line in found.evidence)
    with pytest.raises(WrongGenerationError, match=r"is a langswarm\.v1 store") as refused:
        check_target(str(made.path), "langswarm.v2")
    assert "another file" in refused.value.hint
    assert {key: one["session"] for key, one in swarm_v1.read(made.path).items()} == made.truth


# --- which backend a moved session needs


def store_with(path: Path, backend: str, provider_session_id: str | None, max_messages: int = 10_005) -> Path:
    """A V2 store of ours with one session of five messages, as SQL and not as V2 writes it."""
    schema_upgrade(str(path), "langswarm_v2")
    context = {
        "session_id": "s", "user_id": "u", "provider": "anthropic", "model": "m", "backend": backend,
        "max_messages": max_messages, "auto_archive": True, "persist_messages": True,
        "provider_session_id": provider_session_id, "provider_context": {"status": "archived", "x": float("nan")},
    }  # fmt: skip
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO sessions (session_id, user_id, provider, model, backend, context_data) "
            "VALUES ('s', 'u', 'anthropic', 'm', ?, ?)",
            (backend, json.dumps(context)),
        )
        connection.executemany(
            "INSERT INTO session_messages (session_id, message_id, role, content, timestamp, metadata) "
            "VALUES ('s', ?, ?, ?, ?, ?)",
            [
                (f"m{at}", role, f"text {at}", f"2025-01-01 00:00:0{at}", '{"sessionlift": {"timestamp": "t"}}')
                for at, role in enumerate(("system", "user", "assistant", "tool", "function"))
            ],
        )
    return path


def ask_and_send(peer: SwarmV2, path: Path, **using: Any) -> tuple[int, str, int]:
    """How many messages it gives, the role of what a send answers (or the error), and the rows afterwards."""
    sent = peer.ask(path, {"do": "send", "session_id": "s", "content": "hello", **using})[0]["answer"]
    return (
        sent["before"],
        sent["answer"]["role"] if "answer" in sent else sent["error"],
        count(path, "session_messages"),
    )


NO_PROVIDER = "Failed to send message: Provider session not available"


@pytest.mark.parametrize(
    ("backend", "provider_session_id", "using", "wanted"),
    [
        ("hybrid", "t", {}, (5, "user", 6)),
        ("hybrid", "t", {"providers": ["anthropic"]}, (5, "assistant", 7)),
        ("hybrid", "t", {"providers": ["anthropic"], "stateful": True}, (5, "assistant", 7)),
        ("local_sqlite", None, {}, (5, "user", 6)),
        ("local_sqlite", None, {"providers": ["anthropic"]}, (5, "user", 6)),
    ],
)
def test_hybrid_with_a_providers_id_and_local_without_one_keep_the_history(
    swarm_v2: SwarmV2, tmp_path: Path, backend: str, provider_session_id: str | None, using: Any, wanted: Any
) -> None:
    path = store_with(tmp_path / "v2.db", backend, provider_session_id)
    assert ask_and_send(swarm_v2, path, **using) == wanted
    read = swarm_v2.read(path)["s"]
    assert [one["id"] for one in read["messages"][:5]] == ["m0", "m1", "m2", "m3", "m4"]
    assert read["messages"][0]["metadata"] == {"sessionlift": {"timestamp": "t"}}
    assert read["context"]["provider_context"]["status"] == "archived"


@pytest.mark.parametrize(
    ("backend", "provider_session_id", "using", "wanted"),
    [
        ("hybrid", None, {"providers": ["anthropic"]}, (5, NO_PROVIDER, 5)),
        ("provider_native", None, {"providers": ["anthropic"]}, (0, NO_PROVIDER, 5)),
        ("provider_native", "t", {"providers": ["anthropic"], "stateful": True}, (0, "assistant", 2)),
    ],
)
def test_any_other_choice_refuses_a_send_or_loses_the_history(
    swarm_v2: SwarmV2, tmp_path: Path, backend: str, provider_session_id: str | None, using: Any, wanted: Any
) -> None:
    path = store_with(tmp_path / "v2.db", backend, provider_session_id)
    assert ask_and_send(swarm_v2, path, **using) == wanted


def test_a_loaded_session_cannot_be_saved_until_its_backend_is_mended(swarm_v2: SwarmV2, tmp_path: Path) -> None:
    path = store_with(tmp_path / "v2.db", "hybrid", "t")
    said = swarm_v2.ask(path, {"do": "send", "session_id": "s", "content": "hello", "mend": False})[0]
    assert said["answer"]["answer"]["content"] == "hello", "the send 'succeeds'"
    assert any("has no attribute 'value'" in line for line in said["logged"])
    assert count(path, "session_messages") == 5


def test_a_send_through_a_provider_deletes_what_is_above_the_limit(swarm_v2: SwarmV2, tmp_path: Path) -> None:
    path = store_with(tmp_path / "v2.db", "hybrid", "t", max_messages=4)
    assert ask_and_send(swarm_v2, path, providers=["anthropic"]) == (5, "assistant", 4)


def test_a_stateless_provider_is_given_the_moved_history(swarm_v2: SwarmV2, tmp_path: Path) -> None:
    path = store_with(tmp_path / "v2.db", "hybrid", "t")
    asked = {"do": "send", "session_id": "s", "content": "hello", "providers": ["anthropic"]}
    assert swarm_v2.answers(path, asked)[0]["answer"]["content"] == "echo of hello after 5"
