"""Every store is named with its evidence, or refused with what was found and what to do next."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from sessionlift.errors import (
    MixedGenerationError,
    SessionliftError,
    StoreCorruptError,
    StoreFormatError,
    StoreNotFoundError,
    StoreTooNewError,
    UnknownGenerationError,
    WrongGenerationError,
)
from sessionlift.generations import (
    detect,
    prepare_target,
    require_generation,
    schema_upgrade,
    schema_verify,
)

RealCopy = Callable[[str], Path]
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

REAL = {
    "synth/small.duckdb": ("synth.v2", "duckdb", "final"),
    "synth/small_mid.duckdb": ("synth.v2", "duckdb", "early/mid"),
    "synth/partial.duckdb": ("synth.v2", "duckdb", "final"),
    "synth/w_1.0.0.duckdb": ("synth.v2", "duckdb", "final"),
    "synth/crash_1.1.3.duckdb": ("synth.v2", "duckdb", "final"),
    "synth/crash_1.5.6.duckdb": ("synth.v2", "duckdb", "final"),
    "synth/v3_empty_0.2.10.db": ("synth.v3", "libsql", None),
    "synth/v3_fresh.db": ("synth.v3", "libsql", None),
    "langswarm/v1_small.db": ("langswarm.v1", "libsql", "sqlite"),
    "langswarm/v1_corrupt.db": ("langswarm.v1", "libsql", "sqlite"),
    "langswarm/v1_mem.db.enhanced": ("langswarm.v1", "libsql", "enhanced"),
    "langswarm/v1_mem.json": ("langswarm.v1", "json", "dump"),
    "langswarm/v2_real.db": ("langswarm.v2", "libsql", None),
    "session_buddy/small_V1.db": ("session_buddy.v1", "libsql", None),
    "session_buddy/small_V2.db": ("session_buddy.v2", "libsql", None),
    "session_buddy/small_V3.db": ("session_buddy.v3", "libsql", None),
    "session_buddy/small_V3_mess.db": ("session_buddy.v3", "libsql", None),
    "session_buddy/small_V3_onesecond.db": ("session_buddy.v3", "libsql", None),
    "session_buddy/small_V4.db": ("session_buddy.v4", "libsql", None),
    "semloop/metrics_v2.csv": ("semloop.v2", "file", None),
    "semloop/session_summary.yaml": ("semloop.v2", "file", None),
}


def made(path: Path, *statements: str) -> str:
    """A SQLite file, or a DuckDB one by its name, with these statements run."""
    if path.suffix == ".duckdb":
        with duckdb.connect(str(path)) as store:
            for statement in statements:
                store.execute(statement)
    else:
        with closing(sqlite3.connect(path)) as connection, connection:
            for statement in statements:
                connection.execute(statement)
    return str(path)


def bytes_of(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


# --- the real stores


@pytest.mark.slow
@pytest.mark.fixtures
@pytest.mark.parametrize("name", REAL)
def test_each_real_store_is_named_and_left_as_it_was(real_copy: RealCopy, name: str) -> None:
    path = real_copy(name)
    before = bytes_of(path.parent)

    found = detect(str(path))

    assert (found.generation, found.engine, found.dress) == REAL[name]
    assert found.system == found.generation.split(".")[0]
    assert found.evidence
    assert not found.lacks
    assert not found.newer
    assert not found.ledger
    assert not found.stamps
    assert json.loads(json.dumps(found.to_dict()))["generation"] == found.generation
    assert bytes_of(path.parent) == before


@pytest.mark.fixtures
@pytest.mark.parametrize("name", REAL)
def test_each_real_store_that_is_no_source_is_refused_by_its_name(real_copy: RealCopy, name: str) -> None:
    path = real_copy(name)
    found = detect(str(path))
    if found.generation == "synth.v2":
        assert require_generation(found, "synth.v2", store=str(path), role="source") is found
        return
    with pytest.raises(WrongGenerationError) as refused:
        require_generation(found, "synth.v2", store=str(path), role="source")
    assert f"is a {found.generation} store; a synth.v2 store is needed as the source" in str(refused.value)
    led_in_place = found.system == "session_buddy"
    assert ("sessionlift upgrade" if led_in_place else "synth.v2") in refused.value.hint
    assert refused.value.exit_code == 3


@pytest.mark.fixtures
def test_every_fixture_is_in_the_table_or_is_no_store(real_stores: Path) -> None:
    stores = {
        str(path.relative_to(real_stores))
        for path in real_stores.glob("*/*")
        if not path.name.endswith((".wal", ".truth.json", ".truth.jsonl"))
    }
    assert stores - {"synth/w_2.0.0.duckdb"} == REAL.keys()


@pytest.mark.fixtures
@pytest.mark.skipif(int(duckdb.__version__.split(".")[0]) >= 2, reason="the installed DuckDB reads it")
def test_a_store_of_a_newer_duckdb_says_which_release_is_needed(real_copy: RealCopy) -> None:
    with pytest.raises(StoreTooNewError, match=r"2\.0\.0"):
        detect(str(real_copy("synth/w_2.0.0.duckdb")))


@pytest.mark.slow
@pytest.mark.fixtures
@pytest.mark.parametrize("name", [name for name, what in REAL.items() if what[0] == "synth.v2"])
def test_each_real_source_has_exactly_the_structure_of_our_revision(real_copy: RealCopy, name: str) -> None:
    path = real_copy(name)
    assert schema_upgrade(str(path), "synth_v2") == ["synth_v2"]
    assert schema_verify(str(path)) == ["synth_v2"]


@pytest.mark.fixtures
def test_the_rows_are_counted_and_their_dress_is_told(real_copy: RealCopy) -> None:
    found = detect(str(real_copy("synth/small_mid.duckdb")))
    assert found.rows == {
        "session_traces": 20,
        "session_timesteps": 126,
        "events": 378,
        "messages": 252,
        "systems": 3,
        "system_versions": 6,
        "experiments": 4,
        "experimental_systems": 6,
    }
    said = "\n".join(found.evidence)
    assert "foreign keys on events, messages, session_timesteps" in said
    assert "all 252 messages are rows of the early/mid dress" in said


# --- our own stores


def test_a_file_with_rows_of_both_dresses_says_so(v2: Path) -> None:
    row = "INSERT INTO messages (session_id, message_type, content) VALUES ('s', '{}', '1')"
    made(v2, row.format("SessionEventMessage"), row.format("user"), row.format("observation"))
    found = detect(str(v2))
    assert found.dress == "final"
    assert "1 of 3 messages are rows of the early/mid dress (SessionEventMessage)" in found.evidence


def test_a_target_of_ours_shows_its_ledger_and_its_stamps(tmp_path: Path) -> None:
    url = f"libsql://{tmp_path / 't.db'}"
    prepare_target(url, "synth.v3")
    found = detect(url)
    assert found.ledger
    assert found.stamps == ["ledger_2", "synth_v3"]
    assert "the ledger's tables" in found.evidence


def test_tables_of_the_user_beside_it_do_not_hide_it(v3: Path) -> None:
    made(v3, "CREATE TABLE notes (a)", "CREATE TABLE memory (key, value, metadata)")
    found = detect(str(v3))
    assert found.generation == "synth.v3"
    assert "other tables beside them: memory, notes" in found.evidence


@pytest.mark.parametrize(
    ("change", "lacks"),
    [
        (["DROP TABLE event_rewards"], "table event_rewards"),
        (
            ["DROP VIEW model_usage_stats", "ALTER TABLE events DROP COLUMN call_records"],
            "events.call_records",
        ),
        (["ALTER TABLE outcome_rewards DROP COLUMN reward_metadata"], "outcome_rewards.reward_metadata"),
    ],
)
def test_an_older_form_of_v3_says_what_it_lacks(v3: Path, change: list[str], lacks: str) -> None:
    made(v3, *change)
    found = detect(str(v3))
    assert found.generation == "synth.v3"
    assert found.lacks == [lacks]
    assert found.described == f"synth.v3 (older form: lacks {lacks})"
    with pytest.raises(WrongGenerationError, match="older form: lacks"):
        require_generation(found, "synth.v3", store=str(v3), role="target")


def test_a_newer_form_of_v3_says_what_it_has(v3: Path) -> None:
    made(v3, "ALTER TABLE outcome_rewards ADD COLUMN annotation TEXT")
    found = detect(str(v3))
    assert found.described == "synth.v3 (newer form: has outcome_rewards.annotation)"
    with pytest.raises(WrongGenerationError, match=r"newer form: has outcome_rewards\.annotation"):
        require_generation(found, "synth.v3", store=str(v3), role="target")


@pytest.mark.parametrize(("role", "hint"), [("source", "source comes first"), ("target", "target comes second")])
def test_swapped_arguments_are_told_so(v2: Path, v3: Path, role: str, hint: str) -> None:
    path, wanted = (v3, "synth.v2") if role == "source" else (v2, "synth.v3")
    with pytest.raises(WrongGenerationError) as refused:
        require_generation(detect(str(path)), wanted, store="x", role="source" if role == "source" else "target")
    assert hint in refused.value.hint


# --- junk and mixtures


def refusal(url: str, kind: type[SessionliftError]) -> SessionliftError:
    """The refusal, which always says what to do next and ends with the exit code of a source."""
    with pytest.raises(kind) as refused:
        detect(url)
    assert refused.value.hint, "a refusal says what to do"
    assert refused.value.exit_code == 3
    assert type(refused.value) is kind
    return refused.value


@pytest.mark.parametrize(
    ("name", "content", "kind", "said"),
    [
        ("missing.db", None, StoreNotFoundError, "no file"),
        ("missing.duckdb", None, StoreNotFoundError, "no file"),
        ("empty.db", b"", StoreFormatError, "empty"),
        ("notes.txt", b"just some words\n", StoreFormatError, "text"),
        ("other.csv", b"a,b,c\n1,2,3\n", StoreFormatError, "text"),
        ("some.json", b'{"a": 1}', StoreFormatError, "text"),
        ("noise.db", bytes(range(256)) * 40, StoreFormatError, "unknown kind"),
        ("cut.db", b"SQLite format 3\0" + b"\xff" * 200, StoreCorruptError, ""),
    ],
)
def test_what_is_no_store_is_refused_by_its_kind(
    tmp_path: Path, name: str, content: bytes | None, kind: type[SessionliftError], said: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert said in refusal(str(path), kind).what
    assert [one.name for one in tmp_path.iterdir()] == ([] if content is None else [name])


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert "directory" in refusal(str(tmp_path), StoreFormatError).what


def test_a_store_without_tables_is_refused(tmp_path: Path) -> None:
    url = made(tmp_path / "bare.db", "CREATE TABLE t (a)", "DROP TABLE t")
    assert "holds no tables at all" in refusal(url, UnknownGenerationError).what


def test_an_unknown_store_says_its_tables(tmp_path: Path) -> None:
    url = made(tmp_path / "shop.db", "CREATE TABLE customers (id, name)", "CREATE TABLE orders (id, customer)")
    error = refusal(url, UnknownGenerationError)
    assert "2 tables (customers, orders)" in error.what
    assert error.fields["found"] == ["customers (id, name)", "orders (customer, id)"]
    assert "synth" in error.hint


def test_an_unknown_duckdb_store_says_its_tables(tmp_path: Path) -> None:
    url = made(tmp_path / "shop.duckdb", "CREATE TABLE customers (id INTEGER)")
    assert "1 table (customers)" in refusal(url, UnknownGenerationError).what


def test_a_store_that_is_almost_one_says_what_is_missing(v2: Path) -> None:
    made(v2, "DROP VIEW experiment_overview", "DROP TABLE experimental_systems")
    error = refusal(str(v2), UnknownGenerationError)
    assert "The nearest is synth.v2, but for: no table experimental_systems" in error.what


def test_v3_tables_on_duckdb_are_told_apart(tmp_path: Path, v3: Path) -> None:
    with closing(sqlite3.connect(v3)) as connection:
        names = "session_traces session_timesteps events messages systems system_versions experiments"
        copies = [
            f"CREATE TABLE {table} ({', '.join(f'{chr(34)}{row[1]}{chr(34)} VARCHAR' for row in rows)})"
            for table in [*names.split(), "experimental_systems"]
            if (rows := connection.execute(f"PRAGMA table_info({table})").fetchall())
        ]
    error = refusal(made(tmp_path / "copied.duckdb", *copies), UnknownGenerationError)
    assert "no known schema fits" in error.what
    assert "no column" in error.what


_V1 = (
    "CREATE TABLE sessions (session_id, user_id, provider, model, status, session_control, created_at, "
    "updated_at, last_activity, metadata, history)"
)
_V2_OWN = (
    "CREATE TABLE session_messages (id, session_id, message_id, role, content, timestamp)",
    "CREATE TABLE session_metrics (session_id)",
)


def test_a_file_with_rows_of_two_generations_is_a_mixture(tmp_path: Path) -> None:
    row = "INSERT INTO session_messages VALUES (1, 's', 'm', 'user', 'hello', '2025-01-01 00:00:00')"
    error = refusal(made(tmp_path / "both.db", _V1, *_V2_OWN, row), MixedGenerationError)
    assert "langswarm.v1 (all its tables); langswarm.v2 (session_messages, session_metrics)" in error.what


def test_two_systems_in_one_file_are_a_mixture(v3: Path) -> None:
    error = refusal(made(v3, _V1), MixedGenerationError)
    assert "synth.v3" in error.what
    assert "langswarm.v1" in error.what


def test_a_later_schema_run_over_an_early_one_is_a_mixture(tmp_path: Path) -> None:
    url = made(
        tmp_path / "hybrid.db",
        "CREATE TABLE skill_invocation (id, skill_name, invoked_at, session_id)",
        "CREATE TABLE skill_metrics (skill_name)",
        "CREATE TABLE session_skills (session_id, skill_name)",
        "CREATE TABLE skill_time_series (a)",
        "CREATE TABLE skill_anomalies (a)",
    )
    error = refusal(url, MixedGenerationError)
    assert "session_buddy.v1 (all its tables)" in error.what
    assert "session_buddy.v4 (skill_anomalies, skill_time_series)" in error.what


def test_table_names_with_quotes_and_spaces_are_only_names(tmp_path: Path) -> None:
    url = made(tmp_path / "odd.db", 'CREATE TABLE "a""; DROP TABLE x; --" ("b c")')
    assert '(a"; DROP TABLE x; --)' in refusal(url, UnknownGenerationError).what


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(v3: Path) -> None:
    v3.chmod(0)
    with pytest.raises(SessionliftError) as refused:
        detect(str(v3))
    assert refused.value.exit_code == 3
