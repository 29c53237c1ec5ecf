"""Systems, versions, experiments and their links: one unit, times in UTC already."""

from __future__ import annotations

import json

from tests.support.synth_backward import assert_accounted, assert_taken_back
from tests.support.synth_stores import LegacyStore


def fill(legacy: LegacyStore, moment: str = "2025-03-01 10:00:00.5") -> None:
    legacy.add("systems", {"id": "sys", "name": "agent", "description": 'it\'s "new"\0'}, {"id": "", "name": ""})
    version = {"system_id": "sys", "branch": "main", "commit": "abc", "created_at": moment}
    legacy.add("system_versions", {"id": "v1", "description": "é\n😀", **version}, {"id": "v2", **version})
    legacy.add("system_versions", {"id": "v3", "system_id": "", "created_at": moment})
    legacy.add("experiments", {"id": "e", "name": "x", "created_at": moment, "updated_at": moment})
    legacy.add("experimental_systems", {"experiment_id": "e", "system_id": "sys", "system_version_id": "v2"})


def test_versions_of_one_commit_do_not_collide_and_keep_branch_and_description(legacy: LegacyStore) -> None:
    fill(legacy)
    done = legacy.convert()
    versions = {row["version_id"]: row for row in done.tables["system_versions"]}
    assert [row["version_number"] for row in versions.values()] == ["v1", "v2", "v3"]
    assert versions["v1"]["commit_hash"] == "abc"
    assert json.loads(versions["v1"]["metadata"]) == {"branch": "main", "description": "é\n😀"}
    assert json.loads(versions["v2"]["metadata"]) == {"branch": "main"}
    assert versions["v3"]["metadata"] is None
    assert done.loss_counts == {("column_to_metadata", "system_versions", "branch, description"): 2}
    assert done.losses[0].example == {"row": "v1"}


def test_a_nul_in_the_text_of_a_row_is_told(legacy: LegacyStore) -> None:
    fill(legacy)
    facts = legacy.convert().facts
    assert [(fact.code, fact.table, fact.count, fact.detail) for fact in facts] == [
        ("text_with_nul", "systems", 1, {"row": "sys"})
    ]


def test_columns_that_v2_lacks_are_null_and_links_get_ids_of_their_own(legacy: LegacyStore) -> None:
    fill(legacy)
    done = legacy.convert()
    system = done.tables["systems"][0]
    assert system["description"] == 'it\'s "new"\0'
    assert (system["system_type"], system["created_at"], system["metadata"]) == (None, None, None)
    experiment = done.one("experiments")
    assert (experiment["configuration"], experiment["metadata"]) == (None, None)
    link = done.one("experimental_systems")
    assert link == {"id": 1, "experiment_id": "e", "system_id": "sys", "version_id": "v2"}


def test_their_times_are_utc_whatever_the_zone_of_the_sessions(legacy: LegacyStore) -> None:
    fill(legacy)
    legacy.session("s", created_at="2025-03-01 10:00:00")
    done = legacy.convert("America/New_York")
    assert done.one("experiments")["created_at"] == "2025-03-01T10:00:00.500000+00:00"
    assert done.one("experiments")["updated_at"] == "2025-03-01T10:00:00.500000+00:00"
    assert done.one("session_traces")["created_at"] == "2025-03-01T15:00:00.000000+00:00"
    assert_taken_back(legacy, done, "America/New_York")


def test_a_time_that_no_text_of_four_digit_years_holds_is_kept_in_the_complement(legacy: LegacyStore) -> None:
    fill(legacy, "infinity")
    done = legacy.convert()
    assert done.one("experiments")["created_at"] is None
    assert done.units[""].complement["cells"]["experiments"]["updated_at"] == {"e": "infinity"}
    loss = next(each for each in done.losses if each.table == "system_versions" and each.column == "created_at")
    assert (loss.code, loss.count) == ("time_out_of_range", 3)
    assert loss.example == {"row": "v1", "value": "infinity"}
    assert_taken_back(legacy, done, "UTC")


def test_rows_of_no_session_go_to_quarantine_with_the_catalog(legacy: LegacyStore) -> None:
    legacy.session("s", messages=[{}])
    cells = {"id": 7, "session_id": "gone", "message_type": "user", "content": '"hi"', "message_time": 5}
    legacy.add("messages", cells)
    done = legacy.convert()
    (row,) = done.quarantine
    assert (row.kind, row.session_id, row.table, row.code) == ("catalog", "gone", "messages", "orphan_row")
    assert (row.row["id"], row.row["content"], row.row["message_time"]) == ("7", '"hi"', 5), "integers, but for the id"
    assert done.units[""].state == "partial"
    assert_accounted(legacy, done)


def test_experiments_that_do_not_exist_are_told_of(legacy: LegacyStore) -> None:
    legacy.session("s", experiment_id="gone")
    done = legacy.convert()
    assert done.one("session_traces")["experiment_id"] == "gone"
    assert [(fact.code, fact.count) for fact in done.facts] == [("experiment_missing", 1)]


def test_so_are_those_of_a_session_that_moves_when_the_catalog_has(legacy: LegacyStore) -> None:
    legacy.session("s")
    before = legacy.convert()
    legacy.session("later", experiment_id="gone")
    known = {key: unit.source_digest for key, unit in before.units.items()}
    done = legacy.convert(known=known)
    assert [(fact.code, fact.count) for fact in done.facts] == [("experiment_missing", 1)]


def test_sequences_are_kept_for_the_way_back(legacy: LegacyStore) -> None:
    legacy.session("s", events=[{}, {}])
    done = legacy.convert()
    highest = max(row["id"] for row in done.tables["events"])
    assert done.units[""].complement["sequences"]["event_id_seq"] >= highest
