"""What a plan against a target that was used before foresees is what the run then reports."""

from __future__ import annotations

import json
import shutil
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.support.laws import TORTURE
from tests.support.made import make_moved, make_synth_v2
from tests.support.moved import add_session, change, change_source, query, session_ids, snapshot

from sessionlift._demo import make_langswarm_enhanced, make_langswarm_v1
from sessionlift.bridge.langswarm import SyncSessionBridge
from sessionlift.bridge.synth import SyncTraceBridge
from sessionlift.converters import TypeMapping
from sessionlift.converters.langswarm import LangswarmRows
from sessionlift.converters.synth import SynthRows
from sessionlift.errors import OtherSourceError, SessionliftError, UsageError
from sessionlift.reports import Report, check, render_text
from sessionlift.runs import BackupOptions, RollbackOptions, TransferOptions, migrate, plan, rollback

pytestmark = pytest.mark.slow

NO_COPY = BackupOptions(wanted=False)


@dataclass
class Stores(ABC):
    """A source that a target was filled from, and what both programs may do to their stores."""

    source: Path
    target: Path
    options: TransferOptions = field(default_factory=TransferOptions)

    def ids(self) -> list[str]:
        """The sessions that live in the target."""
        return [
            str(key)
            for (key,) in query(
                self.target,
                "SELECT session_id FROM sessionlift_units WHERE unit = 'session' AND state = 'moved' ORDER BY 1",
            )
        ]

    def move(self, source: Path | None = None) -> Report:
        return migrate(str(source or self.source), str(self.target), self.options, verify=False, backup=NO_COPY).report

    def take_back(self, *ids: str, to: Path | None = None) -> None:
        rollback(str(self.target), RollbackOptions(sessions=ids, to=None if to is None else str(to)), backup=NO_COPY)

    @abstractmethod
    def add(self, name: str, like: str) -> None: ...

    @abstractmethod
    def old_program_writes(self, *ids: str) -> None: ...

    @abstractmethod
    def old_program_deletes(self, *ids: str) -> None: ...

    @abstractmethod
    def old_store_is_spoiled(self, *ids: str) -> None: ...

    @abstractmethod
    def new_program_writes(self, *ids: str) -> None: ...

    @abstractmethod
    def new_program_fills_a_column(self, session_id: str) -> None: ...

    @abstractmethod
    def delete(self, session_id: str) -> None: ...


class Traces(Stores):
    def add(self, name: str, like: str) -> None:
        add_session(self.source, name, like)

    def old_program_writes(self, *ids: str) -> None:
        change_source(
            self.source, *(f"UPDATE session_traces SET num_events = 77 WHERE session_id = '{key}'" for key in ids)
        )

    def old_program_deletes(self, *ids: str) -> None:
        tables = ("events", "messages", "session_timesteps", "session_traces")
        change_source(
            self.source, *(f"DELETE FROM {table} WHERE session_id = '{key}'" for key in ids for table in tables)
        )

    def old_store_is_spoiled(self, *ids: str) -> None:
        update = "UPDATE session_traces SET created_at = 'infinity' WHERE session_id = '{}'"
        change_source(self.source, *(update.format(key) for key in ids))

    def new_program_writes(self, *ids: str) -> None:
        for key in ids:
            change(self.target, "UPDATE session_traces SET num_messages = 99 WHERE session_id = ?", key)

    def new_program_fills_a_column(self, session_id: str) -> None:
        change(self.target, "UPDATE session_traces SET embedding = '[0, 1]' WHERE session_id = ?", session_id)

    def delete(self, session_id: str) -> None:
        with SyncTraceBridge(str(self.source), str(self.target)) as bridge:
            assert bridge.delete_session(session_id)


class Sessions(Stores):
    def add(self, name: str, like: str) -> None:
        columns = "user_id, provider, model, status, session_control, created_at, updated_at, last_activity, metadata"
        insert = f"INSERT INTO sessions SELECT ?, {columns}, history FROM sessions WHERE session_id = ?"
        change(self.source, insert, name, like)

    def old_program_writes(self, *ids: str) -> None:
        for key in ids:
            change(self.source, "UPDATE sessions SET user_id = 'another' WHERE session_id = ?", key)

    def old_program_deletes(self, *ids: str) -> None:
        for key in ids:
            change(self.source, "DELETE FROM sessions WHERE session_id = ?", key)

    def old_store_is_spoiled(self, *ids: str) -> None:
        for key in ids:
            change(self.source, "UPDATE sessions SET history = 'no JSON', metadata = '[' WHERE session_id = ?", key)

    def new_program_writes(self, *ids: str) -> None:
        for key in ids:
            change(self.target, "UPDATE session_messages SET content = content || '!' WHERE session_id = ?", key)

    def new_program_fills_a_column(self, session_id: str) -> None:
        change(self.target, "UPDATE session_messages SET token_count = 7 WHERE session_id = ?", session_id)

    def delete(self, session_id: str) -> None:
        with SyncSessionBridge(str(self.source), str(self.target)) as bridge:
            assert bridge.delete_session(session_id)


Situation = Callable[[Stores], TransferOptions | None]
SITUATIONS: dict[str, Situation] = {}
TRACES: dict[str, Situation] = {}
SESSIONS: dict[str, Situation] = {}


def situation(where: dict[str, Situation]) -> Callable[[Situation], Situation]:
    def add(make: Situation) -> Situation:
        where[make.__name__] = make
        return make

    return add


both = situation(SITUATIONS)


@both
def nothing_has_happened_since(_: Stores) -> None:
    return None


@both
def sessions_came_since(stores: Stores) -> None:
    stores.add("new-1", stores.ids()[0])
    stores.add("new-2", stores.ids()[1])


@both
def sessions_changed_in_the_source(stores: Stores) -> None:
    stores.old_program_writes(*stores.ids()[:3])


@both
def sessions_changed_in_the_target(stores: Stores) -> None:
    stores.new_program_writes(*stores.ids()[:3])


@both
def sessions_changed_on_both_sides(stores: Stores) -> None:
    ids = stores.ids()
    stores.new_program_writes(*ids[:3])
    stores.old_program_writes(*ids[1:5])


@both
def a_session_that_the_new_program_only_added_to_changed_in_the_source(stores: Stores) -> None:
    stores.new_program_fills_a_column(stores.ids()[0])
    stores.old_program_writes(stores.ids()[0])


@both
def moved_sessions_can_no_longer_be_converted(stores: Stores) -> None:
    stores.old_store_is_spoiled(*stores.ids()[:2])


@both
def what_waits_in_quarantine_is_as_it_was(stores: Stores) -> None:
    stores.add("bad", stores.ids()[0])
    stores.old_store_is_spoiled("bad")
    assert stores.move().failed_sessions


@both
def what_waits_in_quarantine_was_mended(stores: Stores) -> None:
    kept = stores.source.with_name("kept")
    shutil.copy(stores.source, kept)
    one = stores.ids()[0]
    stores.target.unlink()
    stores.old_store_is_spoiled(one)
    stores.move()
    shutil.copy(kept, stores.source)


@both
def what_waits_in_quarantine_has_changed_and_is_no_better(stores: Stores) -> None:
    what_waits_in_quarantine_is_as_it_was(stores)
    stores.old_program_writes("bad")


@both
def what_waits_in_quarantine_is_tried_under_another_clock(stores: Stores) -> TransferOptions:
    stores.target.unlink()
    one, *others = [str(key) for key in all_ids(stores)]
    stores.old_store_is_spoiled(one, *others)
    stores.move()
    return TransferOptions(timezone="Europe/Berlin", timezone_given=True)


@both
def a_session_was_deleted(stores: Stores) -> None:
    stores.delete(stores.ids()[0])


@both
def a_deleted_session_has_changed_in_the_source(stores: Stores) -> None:
    one = stores.ids()[0]
    stores.delete(one)
    stores.old_program_writes(one)


@both
def sessions_were_taken_back_and_come_again(stores: Stores) -> None:
    one, two, *_ = stores.ids()
    stores.new_program_writes(one)
    stores.take_back(one, two)


@both
def sessions_live_in_another_store(stores: Stores) -> None:
    stores.take_back(*stores.ids()[:2], to=stores.source.with_name("rebuilt" + stores.source.suffix))


@both
def sessions_that_live_in_another_store_have_changed_in_this_one(stores: Stores) -> None:
    ids = stores.ids()
    sessions_live_in_another_store(stores)
    stores.old_program_writes(*ids[:1])


@both
def another_store_has_brought_its_own_again_and_this_one_has_them_otherwise(stores: Stores) -> None:
    one = stores.ids()[0]
    rebuilt = stores.source.with_name("rebuilt" + stores.source.suffix)
    stores.new_program_writes(one)
    stores.take_back(one, to=rebuilt)
    assert stores.move(rebuilt).migrated_sessions == 1


@both
def the_source_has_lost_sessions(stores: Stores) -> None:
    stores.old_program_deletes(*stores.ids()[:4])


@both
def chosen_sessions_of_all_kinds(stores: Stores) -> TransferOptions:
    ids = stores.ids()
    everything_at_once(stores)
    return TransferOptions(only=("new-1", *ids[1:4]))


@both
def everything_at_once(stores: Stores) -> None:
    ids = stores.ids()
    stores.take_back(ids[6], to=stores.source.with_name("rebuilt" + stores.source.suffix))
    stores.delete(ids[5])
    stores.new_program_writes(ids[1])
    stores.add("new-1", ids[0])
    stores.add("new-2", ids[0])
    stores.old_store_is_spoiled(ids[3], "new-2")
    stores.old_program_writes(ids[1], ids[2])


@situation(TRACES)
def rows_in_quarantine_are_as_they_were(stores: Stores) -> None:
    one, two, *_ = stores.ids()
    change_source(stores.source, f"UPDATE events SET event_type = 'odd' WHERE session_id IN ('{one}', '{two}')")
    stores.move()


@situation(TRACES)
def rows_in_quarantine_find_a_place_by_another_mapping(stores: Stores) -> TransferOptions:
    rows_in_quarantine_are_as_they_were(stores)
    return TransferOptions(mapping=TypeMapping(event_types={"odd": "cais"}))


@situation(TRACES)
def rows_of_sessions_that_are_there_can_no_longer_be_converted(stores: Stores) -> None:
    one = stores.ids()[0]
    change_source(stores.source, f"UPDATE events SET event_type = 'odd' WHERE session_id = '{one}'")


@situation(TRACES)
def rows_of_no_session_wait_in_quarantine(stores: Stores) -> None:
    change_source(
        stores.source, "INSERT INTO messages SELECT * REPLACE (9999 AS id, 'x' AS session_id) FROM messages LIMIT 1"
    )
    assert stores.move().errors


@situation(TRACES)
def rows_of_no_session_came_since(stores: Stores) -> None:
    rows_of_no_session_wait_in_quarantine(stores)
    change_source(stores.source, "UPDATE messages SET id = 9998 WHERE id = 9999")


@situation(TRACES)
def the_catalog_changed_in_the_source(stores: Stores) -> None:
    change_source(stores.source, "UPDATE experiments SET description = 'by the old one'")


@situation(TRACES)
def the_catalog_changed_in_the_target(stores: Stores) -> None:
    change(stores.target, "UPDATE experiments SET description = 'by the new one'")


@situation(TRACES)
def the_catalog_changed_on_both_sides_in_other_rows(stores: Stores) -> None:
    first, *others = sorted(str(key) for (key,) in query(stores.target, "SELECT experiment_id FROM experiments"))
    change(stores.target, "UPDATE experiments SET description = 'by the new one' WHERE experiment_id = ?", first)
    change_source(
        stores.source, *(f"UPDATE experiments SET description = 'by the old one' WHERE id = '{key}'" for key in others)
    )


@situation(TRACES)
def the_catalog_changed_on_both_sides_in_the_same_rows(stores: Stores) -> None:
    the_catalog_changed_in_the_source(stores)
    the_catalog_changed_in_the_target(stores)
    change_source(stores.source, "UPDATE systems SET description = 'by the old one'")


@situation(TRACES)
def a_conflict_over_the_catalog_was_told_before(stores: Stores) -> None:
    the_catalog_changed_on_both_sides_in_the_same_rows(stores)
    assert stores.move().errors


@situation(SESSIONS)
def a_broken_history_is_salvaged_at_last(stores: Stores) -> TransferOptions:
    stores.target.unlink()
    for key in all_ids(stores)[:3]:
        change(stores.source, "UPDATE sessions SET history = substr(history, 1, 400) WHERE session_id = ?", key)
    assert stores.move().failed_sessions == 3
    return TransferOptions(salvage=True)


def all_ids(stores: Stores) -> list[str]:
    if stores.source.suffix == ".duckdb":
        return session_ids(stores.source)
    return [str(key) for (key,) in query(stores.source, "SELECT session_id FROM sessions ORDER BY session_id")]


# what the ledger alone decides, which LangSwarm's stores show quickly: of traces in torture, and all at once
OF_THE_LEDGER = {
    "what_waits_in_quarantine_has_changed_and_is_no_better",
    "a_deleted_session_has_changed_in_the_source",
    "sessions_live_in_another_store",
    "sessions_that_live_in_another_store_have_changed_in_this_one",
    "another_store_has_brought_its_own_again_and_this_one_has_them_otherwise",
}
CASES = [
    *(
        pytest.param("synth", make, id=f"synth-{name}", marks=pytest.mark.torture if name in OF_THE_LEDGER else [])
        for name, make in {**SITUATIONS, **TRACES}.items()
        if TORTURE or name not in OF_THE_LEDGER
    ),
    pytest.param("enhanced", nothing_has_happened_since, id="enhanced-nothing_has_happened_since"),
    *(pytest.param("langswarm", make, id=f"langswarm-{name}") for name, make in {**SITUATIONS, **SESSIONS}.items()),
]


def filled(system: str, folder: Path) -> Stores:
    """A source and the target that it has filled."""
    make: Callable[..., object] = make_synth_v2
    if system != "synth":
        make = make_langswarm_v1 if system == "langswarm" else make_langswarm_enhanced
    name, kind = ("old.duckdb", Traces) if system == "synth" else ("old.db", Sessions)
    stores: Stores = kind(folder / name, folder / "new.db")
    make_moved(stores.source, stores.target, make=make, sessions=8, seed=4, traps="usual")
    return stores


def counts(report: Report) -> dict[str, Any]:
    """All that a plan says in numbers of what a run then does. Rewards of outcomes are not foreseen."""
    return {
        "sessions": (
            report.total_sessions,
            report.migrated_sessions,
            report.skipped_sessions,
            report.failed_sessions,
        ),
        "codes": {line.code for line in report.errors},
        "all errors": len(report.errors) + report.errors_truncated,
        "tables": {
            name: table for name, table in report.tables.items() if table != type(table)() and name != "outcome_rewards"
        },
        "losses": {(loss.code, loss.table, loss.column): loss.count for loss in report.losses},
        "gone": {
            fact.code: fact.count for fact in report.source_facts if fact.code in ("rolled_back", "deleted_in_target")
        },
    }


def lines(report: Report) -> Counter[tuple[str | None, ...]]:
    return Counter((line.session_id, line.table, line.row, line.code, line.error) for line in report.errors)


@pytest.mark.parametrize(("system", "happens"), CASES)
def test_a_plan_counts_what_the_run_then_reports(system: str, happens: Situation, tmp_path: Path) -> None:
    stores = filled(system, tmp_path)
    options = happens(stores) or stores.options
    before = snapshot(tmp_path)
    foreseen = plan(str(stores.source), str(stores.target), options)
    assert snapshot(tmp_path) == before, "the plan changed something"
    assert check(json.loads(json.dumps(foreseen.to_dict()))) == []
    done = migrate(str(stores.source), str(stores.target), options, verify=False, backup=NO_COPY).report
    assert counts(foreseen) == counts(done)
    if not done.errors_truncated:
        assert lines(foreseen) == lines(done)
    again = plan(str(stores.source), str(stores.target), options)
    assert again.migrated_sessions == 0
    assert (again.skipped_sessions, again.failed_sessions) == (
        done.skipped_sessions + done.migrated_sessions,
        done.failed_sessions,
    )


@pytest.mark.parametrize("system", ["synth", "langswarm"])
def test_a_plan_reads_only_those_rows_of_the_target_that_may_be_replaced(
    system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = filled(system, tmp_path)
    some = stores.ids()[2:4]
    stores.old_program_writes(*some)
    rows = SynthRows if system == "synth" else LangswarmRows
    asked: list[str] = []
    digests = rows.digests

    def noted(self: Any, store: Any, kind: Any, ids: Sequence[str], owned: Any = None) -> dict[str, str]:
        asked.extend(ids)
        return digests(self, store, kind, ids, owned)

    monkeypatch.setattr(rows, "digests", noted)
    assert plan(str(stores.source), str(stores.target), TransferOptions()).migrated_sessions == 2
    assert sorted(asked) == sorted(some)


@pytest.mark.parametrize("system", ["synth", "langswarm"])
def test_a_plan_and_a_run_say_which_sessions_live_elsewhere_and_which_were_deleted(system: str, tmp_path: Path) -> None:
    stores = filled(system, tmp_path)
    ids = stores.ids()
    stores.delete(ids[5])
    sessions_live_in_another_store(stores)
    foreseen = plan(str(stores.source), str(stores.target), TransferOptions())
    assert any("2 sessions were taken back into" in line for line in foreseen.assumptions)
    for report in (foreseen, stores.move()):
        first = render_text(report).splitlines()[0]
        assert ", 5 already there, 2 in another store, 1 deleted in the target" in first, first


def other_zone(stores: Stores) -> TransferOptions:
    return TransferOptions(timezone="Europe/Berlin", timezone_given=True)


def another_place(stores: Stores) -> TransferOptions:
    there = stores.source.with_name("there" + stores.source.suffix)
    shutil.move(stores.source, there)
    stores.source = there
    return TransferOptions()


def an_id_that_is_not_there(stores: Stores) -> TransferOptions:
    return TransferOptions(only=("nobody",))


@pytest.mark.parametrize("system", ["synth", "langswarm"])
@pytest.mark.parametrize(
    ("happens", "error"),
    [(other_zone, UsageError), (another_place, OtherSourceError), (an_id_that_is_not_there, UsageError)],
)
def test_a_plan_refuses_what_the_run_refuses(
    system: str,
    happens: Callable[[Stores], TransferOptions],
    error: type[SessionliftError],
    tmp_path: Path,
) -> None:
    stores = filled(system, tmp_path)
    options = happens(stores)
    for command in (plan, migrate):
        with pytest.raises(error) as refused:
            command(str(stores.source), str(stores.target), options)
        assert refused.type is error
