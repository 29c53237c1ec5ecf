"""The made-up legacy stores: known, repeatable, and full of what careless converters spoil."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from sessionlift._demo import Dress, Traps, make_synth_v2
from sessionlift.cli._demo import demo_store
from sessionlift.errors import UsageError

pytestmark = pytest.mark.slow

TABLES = (
    "session_traces",
    "session_timesteps",
    "events",
    "messages",
    "systems",
    "system_versions",
    "experiments",
    "experimental_systems",
)


def ask(path: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(query).fetchall()


def one(path: Path, query: str) -> Any:
    return ask(path, query)[0][0]


@pytest.mark.parametrize("dress", ["final", "mid", "mixed"])
def test_the_same_seed_gives_the_same_rows(tmp_path: Path, dress: Dress) -> None:
    first, second = (
        make_synth_v2(tmp_path / f"{n}.duckdb", sessions=12, seed=7, dress=dress, traps="all").path for n in (1, 2)
    )

    for table in TABLES:
        query = f"SELECT CAST(t AS VARCHAR) FROM {table} t ORDER BY ALL"
        assert ask(first, query) == ask(second, query), table


def test_another_seed_gives_other_rows(tmp_path: Path) -> None:
    first, second = (make_synth_v2(tmp_path / f"{n}.duckdb", sessions=20, seed=n).path for n in (1, 2))

    assert ask(first, "SELECT content FROM messages") != ask(second, "SELECT content FROM messages")


def test_a_longer_store_begins_like_a_shorter_one(tmp_path: Path) -> None:
    short, long = (make_synth_v2(tmp_path / f"{n}.duckdb", sessions=n).path for n in (12, 20))

    query = "SELECT CAST(t AS VARCHAR) FROM events t ORDER BY id LIMIT 200"
    assert ask(short, query) == ask(long, query)


def test_about_46_rows_a_session(tmp_path: Path) -> None:
    made = make_synth_v2(tmp_path / "v2.duckdb", sessions=200)

    assert 45 < made.total_rows / made.sessions < 47


def test_the_sequences_stand_where_the_old_program_would_have_left_them(tmp_path: Path) -> None:
    path = make_synth_v2(tmp_path / "v2.duckdb", sessions=20).path

    with duckdb.connect(str(path)) as connection:
        for name, table in (("timestep", "session_timesteps"), ("event", "events"), ("message", "messages")):
            query = f"SELECT nextval('{name}_id_seq'), (SELECT max(id) FROM {table})"
            found = connection.execute(query).fetchone()
            assert found is not None
            assert found[0] == found[1] + 1, name


# Each finds the rows of one trap in a final store of 2,000 sessions.
TRAPS = {
    "a string that looks like JSON": r"""FROM messages WHERE content::VARCHAR LIKE '"{\"looks%'""",
    "the string null": """FROM messages WHERE content::VARCHAR = '"null"'""",
    "JSON null": "FROM messages WHERE content::VARCHAR = 'null'",
    "a list": "FROM messages WHERE json_type(content) = 'ARRAY'",
    "a NUL": r"FROM messages WHERE content::VARCHAR LIKE '%\u0000%'",
    "astral text": "FROM messages WHERE content::VARCHAR LIKE '%🧪%'",
    "an integer beyond 2^53": "FROM messages WHERE content::VARCHAR LIKE '%9007199254740993%'",
    "1e400": "FROM messages WHERE content::VARCHAR = '1e400'",
    "NaN in JSON": "FROM messages WHERE content::VARCHAR LIKE '%NaN%'",
    "a repeated metadata_type": """FROM session_traces
        WHERE length(list_filter(metadata->>'$[*].metadata_type', t -> t = 'crafter_info')) = 2""",
    "episode results": "FROM session_traces WHERE metadata::VARCHAR LIKE '%episode_results%'",
    "a fraction of a cent": "FROM events WHERE cost = 0.000123",
    "SQL NULL where others hold JSON null": """FROM events
        WHERE event_type = 'cais' AND system_state_before IS NULL""",
    "JSON null where others hold SQL NULL": "FROM events WHERE system_state_before::VARCHAR = 'null'",
    "counters that disagree": """FROM session_traces t
        WHERE num_messages <> (SELECT count(*) FROM messages m WHERE m.session_id = t.session_id)""",
    "a dangling experiment": "FROM session_traces WHERE experiment_id NOT IN (SELECT id FROM experiments)",
    "two experiments with one name": "FROM experiments GROUP BY name HAVING count(*) > 1",
    "a type that the new store refuses": "FROM messages WHERE message_type = 'observation'",
    "two sessions of one microsecond": "FROM session_traces GROUP BY created_at HAVING count(*) > 1",
    "an id with a quote": "FROM session_traces WHERE session_id LIKE '%''%'",
}


@pytest.fixture(scope="module")
def trapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_synth_v2(tmp_path_factory.mktemp("demo") / "v2.duckdb", sessions=2000).path


@pytest.mark.parametrize("trap", TRAPS, ids=lambda name: name.replace(" ", "-"))
def test_a_usual_store_has_rows_with(trapped: Path, trap: str) -> None:
    assert ask(trapped, f"SELECT 1 {TRAPS[trap]}") != []


def test_no_row_without_its_session_unless_asked_for(trapped: Path, tmp_path: Path) -> None:
    orphans = "SELECT count(*) FROM events WHERE session_id NOT IN (SELECT session_id FROM session_traces)"
    asked = make_synth_v2(tmp_path / "all.duckdb", sessions=10, traps="all").path

    assert one(trapped, orphans) == 0
    assert one(asked, orphans) == 3


def test_without_traps_every_message_type_is_one_of_the_new_store(tmp_path: Path) -> None:
    path = make_synth_v2(tmp_path / "plain.duckdb", sessions=50, traps="none").path

    kinds = {kind for (kind,) in ask(path, "SELECT DISTINCT message_type FROM messages")}
    assert kinds == {"user", "assistant", "tool_result"}


@pytest.mark.parametrize(("dress", "early"), [("final", 0), ("mid", 1), ("mixed", 0.5)])
def test_the_dress_decides_the_form_of_the_rows(tmp_path: Path, dress: Dress, early: float) -> None:
    path = make_synth_v2(tmp_path / "v2.duckdb", sessions=80, dress=dress).path

    envelopes = one(path, "SELECT avg((message_type = 'SessionEventMessage')::INTEGER) FROM messages")
    assert envelopes == pytest.approx(early, abs=0.1)


@pytest.mark.parametrize("traps", ["usual", "all"])
def test_an_envelope_tells_the_time_of_its_columns(tmp_path: Path, traps: Traps) -> None:
    path = make_synth_v2(tmp_path / "v2.duckdb", sessions=40, dress="mid", traps=traps).path

    for content, event_time in ask(path, "SELECT content, epoch(event_time) FROM messages"):
        recorded = json.loads(content).get("time_record", {}).get("event_time")
        if isinstance(recorded, float):
            assert recorded == event_time
        else:
            assert (recorded is None) == (event_time is None)


def test_a_store_that_is_there_is_never_touched(tmp_path: Path) -> None:
    path = tmp_path / "v2.duckdb"
    path.write_bytes(b"something of the user's")

    with pytest.raises(UsageError, match="is there already"):
        make_synth_v2(path, sessions=1)
    assert path.read_bytes() == b"something of the user's"


def test_a_store_that_could_not_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessionlift._demo._rows.MESSAGES", "INSERT INTO messages SELECT nonsense")

    with pytest.raises(duckdb.Error):
        make_synth_v2(tmp_path / "v2.duckdb", sessions=1)
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_it_made(tmp_path: Path) -> None:
    path = tmp_path / "v2.duckdb"

    done = CliRunner().invoke(demo_store, [str(path), "--sessions", "10", "--json"])

    assert done.exit_code == 0, done.output
    said = json.loads(done.output)
    assert said["sessions"] == 10
    assert said["rows"]["session_traces"] == 10
    assert said["total_rows"] == sum(said["rows"].values())


def test_the_command_refuses_a_path_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "v2.duckdb"
    path.touch()

    done = CliRunner().invoke(demo_store, [str(path)])

    assert done.exit_code == 2
    assert "is there already" in done.output
