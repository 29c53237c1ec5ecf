"""While a target lacks its indexes over session ids, rows are compared by their ids, and the rest waits for the end."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
from tests.support.made import make_synth_v2

from sessionlift.runs import TransferOptions, migrate
from sessionlift.runs.verifier import Comparison, SynthVerifier, open_reader
from sessionlift.stores import DuckdbStore, parse_store_url

pytestmark = pytest.mark.slow

# by what each does to the target; the first and the last session in the source's order are A and Z
TAMPERED = {
    "nothing": "SELECT 1",
    "a message of A under another id": "UPDATE messages SET id = id + 900000 WHERE id = (SELECT min(id) FROM messages "
    "WHERE session_id = :a)",
    "a message of A in Z": "UPDATE messages SET session_id = :z WHERE id = (SELECT min(id) FROM messages "
    "WHERE session_id = :a)",
    "a message more behind all others": "INSERT INTO messages (session_id, message_type, content) VALUES "
    "(:a, 'user', 'one more')",
    "a message more before all others": "INSERT INTO messages (id, session_id, message_type, content) VALUES "
    "(-5, :a, 'user', 'one more')",
    "a message more of a session that is not ours": "INSERT INTO messages (session_id, message_type, content) VALUES "
    "('native', 'user', 'its own')",
    "a message less": "DELETE FROM messages WHERE id = (SELECT max(id) FROM messages WHERE session_id = :z)",
    "one less, and one more elsewhere": "UPDATE messages SET id = 800000, content = 'x' WHERE id = "
    "(SELECT max(id) FROM messages WHERE session_id = :z)",
    "a timestep less, and its double elsewhere": "UPDATE session_timesteps SET id = 700000 WHERE id = "
    "(SELECT min(id) FROM session_timesteps)",
    "an event more": "INSERT INTO events (id, session_id, event_type, system_instance_id) VALUES "
    "(600000, :z, 'runtime', 's')",
    "a reward more": "INSERT INTO event_rewards (id, event_id, session_id, reward_value, created_at) VALUES "
    "(600000, 1, :a, 0.5, '2026')",
    "a reward in another session": "UPDATE event_rewards SET session_id = :z WHERE id = (SELECT min(id) FROM "
    "event_rewards WHERE session_id = :a)",
    "an outcome more": "INSERT INTO outcome_rewards (session_id, total_reward, achievements_count, total_steps, "
    "created_at) VALUES (:a, 1, 0, 0, '2026')",
}


class Stores:
    """A store that was moved, and what each of two ways finds in a copy that somebody has changed."""

    def __init__(self, folder: Path, scatter: bool) -> None:
        self.source, self.target = folder / "v2.duckdb", folder / "v3.db"
        make_synth_v2(self.source, sessions=9, traps="all")
        if scatter:
            _scatter(self.source)
        migrate(str(self.source), str(self.target), TransferOptions(), verify=False)
        with closing(sqlite3.connect(self.target)) as db:
            known = "SELECT session_id FROM sessionlift_units WHERE unit = 'session' AND state IN ('moved', 'partial')"
            self.moved = [str(key) for (key,) in db.execute(known)]
            order = "SELECT session_id, min(id) FROM event_rewards GROUP BY 1 ORDER BY 2"
            rewarded = [str(key) for key, _ in db.execute(order) if key in self.moved]
        self.first, self.last = rewarded[0], rewarded[-1]

    def found(self, tamper: str, parts: Sequence[Sequence[str]], *, late: bool) -> Comparison:
        copy = self.target.with_name("tampered.db")
        shutil.copy(self.target, copy)
        with closing(sqlite3.connect(copy)) as db, db:
            db.execute(tamper, {"a": self.first, "z": self.last})
            if late:
                for table in ("session_timesteps", "events", "messages", "event_rewards"):
                    for _, name, *_ in db.execute(f"PRAGMA index_list({table})").fetchall():
                        if name.endswith("_session_step") or name == "idx_event_rewards_session":
                            db.execute(f"DROP INDEX {name}")
        reader = open_reader(parse_store_url(str(copy)))
        try:
            with DuckdbStore(parse_store_url(str(self.source)), threads=1) as source:
                verifier = SynthVerifier(source.connection, reader, zone="UTC", message_types={}, event_types={})
                verifier.late = late
                for ids in parts:
                    verifier.check(ids)
                verifier.finish()
                return verifier.result
        finally:
            reader.close()


def _scatter(source: Path) -> None:
    """Give one session a message so far behind that its rows lie nowhere near each other."""
    with closing(duckdb.connect(str(source))) as db:
        db.execute(
            "UPDATE messages SET id = id + 100000 WHERE id IN (SELECT max(id) FROM messages GROUP BY session_id)"
        )


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], Stores]:
    made: dict[bool, Stores] = {}

    def get(scatter: bool) -> Stores:
        if scatter not in made:
            made[scatter] = Stores(tmp_path_factory.mktemp("ranges"), scatter)
        return made[scatter]

    return get


@pytest.mark.parametrize("scatter", [False, True], ids=["together", "scattered"])
@pytest.mark.parametrize("what", TAMPERED)
def test_both_ways_find_the_same(stores: Callable[[bool], Stores], what: str, scatter: bool) -> None:
    moved = stores(scatter)
    parts = [moved.moved[:4], moved.moved[4:5], moved.moved[5:]]
    one = moved.found(TAMPERED[what], parts, late=False)
    other = moved.found(TAMPERED[what], parts, late=True)
    assert sorted(map(repr, other.differences)) == sorted(map(repr, one.differences))
    assert (other.sessions, other.rows, other.values) == (one.sessions, one.rows, one.values)
    assert (other.differing, other.by_table) == (one.differing, one.by_table)
    harmless = what in ("nothing", "a message more of a session that is not ours")
    assert bool(one.differences) != harmless
