"""LangSwarm sessions on their way back: with what was written since, checked, undone, refused."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.support.made import make_moved
from tests.support.moved import change, query, snapshot
from tests.support.taken_back import (
    V2_MESSAGE,
    checked_again,
    ledger,
    notes,
    smaller_loss,
    take_back,
    v1_messages,
    v1_rows,
    v2_rows,
)
from tests.support.warm import Warm

from sessionlift._demo import make_langswarm, make_langswarm_v1

pytestmark = pytest.mark.slow


@pytest.fixture
def v1(tmp_path: Path) -> Path:
    return tmp_path / "source" / "v1.db"


@pytest.fixture
def v2(v1: Path, tmp_path: Path) -> Path:
    target = tmp_path / "new" / "v2.db"
    make_moved(v1, target, make=make_langswarm_v1, sessions=12, seed=5, traps="all")
    return target


def moved(sessionlift: Warm, source: Path, target: Path, *options: str) -> Path:
    """Without a verification: a test that is about one asks for it, and hears what it says."""
    done = sessionlift("migrate", source, target, "--quiet", "--no-verify", *options)
    assert done.code in (0, 1), done.err
    return target


def living(target: Path) -> list[str]:
    return [key for (key,) in query(target, "SELECT session_id FROM sessions ORDER BY rowid")]


def well(sessionlift: Warm, source: Path, target: Path) -> None:
    done = sessionlift("verify", source, target)
    assert done.code == 0, done.out


def test_what_nobody_wrote_to_leaves_the_legacy_store_as_it_is(sessionlift: Warm, v1: Path, v2: Path) -> None:
    before, count = snapshot(v1.parent), len(living(v2))
    answer = take_back(sessionlift, v2, "--all")
    assert answer.code == 0
    assert answer.counts[0] == count
    assert answer.report["verification"]["status"] == "passed"
    assert snapshot(v1.parent) == before
    assert v2_rows(v2) == {"sessions": [], "session_messages": [], "session_metrics": []}
    assert set(ledger(v2).values()) <= {"rolled_back", "quarantined"}
    assert answer.report["verification"]["checked_values"] > 0
    assert answer.report["throughput"]["bytes"] == 0, "nothing was written"
    again = take_back(sessionlift, v2, "--all")
    assert again.code == 0
    assert again.counts == (0, len(ledger(v2)), 0)
    assert snapshot(v1.parent) == before
    well(sessionlift, v1, v2)


def test_new_writes_are_carried_back_and_the_way_forward_gives_everything_again(
    sessionlift: Warm, v1: Path, v2: Path
) -> None:
    one, two, three = living(v2)[:3]
    for n in range(3):
        change(v2, V2_MESSAGE, one, f"new-{n}", f"said after the move {n}")
    change(v2, "UPDATE session_messages SET token_count = 7, finish_reason = 'stop' WHERE message_id = 'new-2'")
    change(
        v2, "DELETE FROM session_messages WHERE id = (SELECT min(id) FROM session_messages WHERE session_id = ?)", two
    )
    ((text,),) = query(v2, "SELECT context_data FROM sessions WHERE session_id = ?", three)
    context = json.loads(text)
    context["provider_context"]["mood"] = "bright"
    change(v2, "UPDATE sessions SET context_data = ? WHERE session_id = ?", json.dumps(context), three)
    change(
        v2,
        "INSERT INTO sessions SELECT 'native', user_id, provider, model, backend, replace(context_data, ?, 'native'), "
        "created_at, updated_at FROM sessions WHERE session_id = ?",
        one,
        one,
    )
    change(v2, V2_MESSAGE, "native", "n1", "begun in the new store")
    before, told = v2_rows(v2), v1_messages(v1, two)
    answer = take_back(sessionlift, v2, "--all")
    assert answer.code == 0, answer.report["errors"]
    assert v1_messages(v1, one)[-3:] == [f"said after the move {n}" for n in range(3)]
    assert v1_messages(v1, two) == told[1:]
    assert v1_messages(v1, "native") == ["begun in the new store"]
    carried = query(v1, "SELECT * FROM sessions WHERE session_id IN (?, ?, ?, 'native')", one, two, three)
    size = sum(len(str(cell).encode()) for row in carried for cell in row if cell is not None)
    assert answer.report["throughput"]["bytes"] == size
    assert answer.facts["carried_added", "messages"] == 4
    assert answer.facts["carried_deleted", "messages"] == 1
    assert answer.losses == {"no_place_in_v1": 3}, "a token count, a reason, and a key of the context"
    assert notes(v2) == []
    assert moved(sessionlift, v1, v2)
    assert v2_rows(v2) == before
    assert ledger(v2)["native"] == "moved"
    well(sessionlift, v1, v2)
    second = take_back(sessionlift, v2, "--all")
    assert second.code == 0
    assert v1_messages(v1, one)[-1] == "said after the move 2"
    moved(sessionlift, v1, v2)
    assert v2_rows(v2) == before


def test_what_only_the_new_store_has_a_place_for_is_told_and_comes_again(sessionlift: Warm, v1: Path, v2: Path) -> None:
    one = living(v2)[0]
    ((text,),) = query(v2, "SELECT context_data FROM sessions WHERE session_id = ?", one)
    context = json.dumps({**json.loads(str(text)), "colour": "red"})
    change(v2, "UPDATE sessions SET context_data = ? WHERE session_id = ?", context, one)
    change(v2, "UPDATE session_metrics SET session_duration = 1.5 WHERE session_id = ?", one)
    before = v2_rows(v2)
    told = {(line["table"], line["column"]) for line in take_back(sessionlift, v2, "--all").report["losses"]}
    assert told == {("sessions", "context_data"), ("session_metrics", "session_duration")}
    moved(sessionlift, v1, v2)
    assert v2_rows(v2) == before


def test_the_report_of_a_move_that_gave_something_back_holds_when_it_is_checked_again(
    sessionlift: Warm, v1: Path, v2: Path
) -> None:
    for session in living(v2)[::2]:
        change(v2, V2_MESSAGE, session, "new", "said after the move")
    change(v2, "UPDATE session_messages SET token_count = 7 WHERE message_id = 'new'")
    assert take_back(sessionlift, v2, "--all").losses == {"no_place_in_v1": 6}
    done = sessionlift("migrate", v1, v2, "--json")
    report = Path(json.loads(done.out)["path"])
    assert checked_again(sessionlift, report) == []
    smaller_loss(report, "provider_mapped")
    assert checked_again(sessionlift, report) == ["claim_losses"]


def test_what_v1_changed_while_it_had_the_session_again_stands(sessionlift: Warm, v1: Path, v2: Path) -> None:
    one, two = living(v2)[:2]
    for session in (one, two):
        change(v2, V2_MESSAGE, session, "new", "from v2")
    change(v2, "UPDATE session_messages SET token_count = 7 WHERE session_id = ? AND message_id = 'new'", one)
    ((text,),) = query(v2, "SELECT context_data FROM sessions WHERE session_id = ?", one)
    context = {**(was := json.loads(text)), "topic": "shoes"}
    context["provider_context"] = {**was["provider_context"], "status": "error"}
    change(v2, "UPDATE sessions SET context_data = ? WHERE session_id = ?", json.dumps(context), one)
    take_back(sessionlift, v2, "--session", one, "--session", two)
    for session in (one, two):
        ((meta, text),) = query(v1, "SELECT metadata, history FROM sessions WHERE session_id = ?", session)
        history = json.loads(text)
        late = {**history["messages"][-1], "id": "late", "content": "from v1"}
        history["messages"] = [*history["messages"], late] if session == one else history["messages"][:-1]
        cells = (json.dumps({**json.loads(meta), "status": "expired"}), "expired", json.dumps(history), session)
        change(v1, "UPDATE sessions SET metadata = ?, status = ?, history = ? WHERE session_id = ?", *cells)
    done = sessionlift("migrate", v1, v2, "--json")
    report = json.loads(done.out)
    facts = {(each["code"], each["table"]): each["count"] for each in report["report"]["source_facts"]}
    assert facts["put_back", "sessions"] == 1, "of the other one V2 had nothing of its own"
    assert facts["not_put_back", "sessions"] == 1, "the status that V1 does not know"
    rows = query(
        v2, "SELECT content, token_count FROM session_messages WHERE session_id = ? ORDER BY timestamp, id", one
    )
    assert rows[-2:] == [("from v2", 7), ("from v1", None)]
    ((text,),) = query(v2, "SELECT context_data FROM sessions WHERE session_id = ?", one)
    assert (json.loads(text)["topic"], json.loads(text)["provider_context"]["status"]) == ("shoes", "expired")
    well(sessionlift, v1, v2)
    assert checked_again(sessionlift, report["path"]) == []
    take_back(sessionlift, v2, "--all")
    ((text,),) = query(v2, "SELECT data FROM sessionlift_complement WHERE session_id = ?", one)
    assert [value for _, _, value, _ in json.loads(text)["kept"]["waiting"]["values"]] == ['"error"']


@pytest.mark.parametrize("dress", ["sqlite", "dump", "enhanced"])
def test_a_new_file_holds_every_row_of_the_old_one(sessionlift: Warm, tmp_path: Path, dress: Any) -> None:
    source = tmp_path / ("v1.json" if dress == "dump" else "v1.db")
    plain = tmp_path / "plain.db"
    make_langswarm(source, sessions=15, seed=11, traps="all", dress=dress)
    make_langswarm_v1(plain, sessions=15, seed=11, traps="all")
    target = moved(sessionlift, source, tmp_path / "v2.db")
    source.rename(tmp_path / "away")
    new = tmp_path / "rebuilt.db"
    answer = take_back(sessionlift, target, "--all", "--to", new)
    assert answer.counts[2] == 0, answer.report["errors"]
    if dress == "sqlite":
        assert sorted(map(repr, v1_rows(new))) == sorted(map(repr, v1_rows(plain)))
    else:
        with closing(sqlite3.connect(new)) as db:
            rows = {key: json.loads(text) for key, text in db.execute("SELECT session_id, history FROM sessions")}
        with closing(sqlite3.connect(plain)) as db:
            for key, text in db.execute("SELECT session_id, history FROM sessions WHERE json_valid(history)"):
                if key in rows:
                    assert rows[key] == json.loads(text), key
    assert v2_rows(target)["sessions"] == []


@pytest.mark.parametrize("dress", ["dump", "enhanced"])
def test_sessions_that_move_again_from_another_dress_are_as_they_should_be(
    sessionlift: Warm, tmp_path: Path, dress: Any
) -> None:
    source = tmp_path / "v1.old"
    make_langswarm(source, sessions=6, seed=11, traps="usual", dress=dress)
    target, new = moved(sessionlift, source, tmp_path / "v2.db"), tmp_path / "rebuilt.db"
    assert take_back(sessionlift, target, "--all", "--to", new).code == 0
    moved(sessionlift, new, target)
    well(sessionlift, new, target)


def test_salvaged_sessions_come_back_as_they_were(sessionlift: Warm, tmp_path: Path) -> None:
    source = tmp_path / "v1.db"
    make_langswarm_v1(source, sessions=15, seed=11, traps="all")
    target = moved(sessionlift, source, tmp_path / "v2.db", "--salvage")
    answer = take_back(sessionlift, target, "--all", "--to", tmp_path / "new.db")
    assert answer.counts[2] == 0, answer.report["errors"]
    assert sorted(map(repr, v1_rows(tmp_path / "new.db"))) == sorted(map(repr, v1_rows(source)))


def test_a_legacy_store_that_went_on_is_a_conflict_and_neither_side_is_touched(
    sessionlift: Warm, v1: Path, v2: Path
) -> None:
    one, two = living(v2)[:2]
    change(v2, V2_MESSAGE, one, "new", "from v2")
    change(v1, "UPDATE sessions SET updated_at = '2031-01-01T00:00:00' WHERE session_id = ?", one)
    change(v1, "DELETE FROM sessions WHERE session_id = ?", two)
    before, rows = snapshot(v1.parent), query(v2, "SELECT * FROM session_messages WHERE session_id = ?", one)
    answer = take_back(sessionlift, v2, "--session", one, "--session", two)
    assert answer.code == 1
    assert answer.counts == (0, 0, 2)
    assert answer.errors == {one: "legacy_changed", two: "legacy_lacks_session"}
    assert snapshot(v1.parent) == before
    assert query(v2, "SELECT * FROM session_messages WHERE session_id = ?", one) == rows
    assert ledger(v2)[one] == ledger(v2)[two] == "moved"
    kept = take_back(sessionlift, v2, "--session", one, "--on-conflict", "keep-legacy")
    assert kept.code == 0
    assert kept.losses == {"new_writes_discarded": 1}
    assert ledger(v2)[one] == "rolled_back"
    assert snapshot(v1.parent) == before
    ((data,),) = query(v2, "SELECT data FROM sessionlift_complement WHERE session_id = ?", one)
    assert "from v2" in data, "what was not carried back is kept"


def test_a_dry_run_tells_every_session_and_writes_to_no_store(sessionlift: Warm, v1: Path, v2: Path) -> None:
    one = living(v2)[0]
    change(v2, V2_MESSAGE, one, "new", "from v2")
    before = snapshot(v1.parent), query(v2, "SELECT * FROM sessionlift_runs"), v2_rows(v2)
    answer = take_back(sessionlift, v2, "--all", "--dry-run")
    assert answer.report["dry_run"]
    assert answer.sessions[one]["added"] == {"messages": 1}
    assert answer.sessions.keys() == ledger(v2).keys()
    assert before == (snapshot(v1.parent), query(v2, "SELECT * FROM sessionlift_runs"), v2_rows(v2))
    text = sessionlift("rollback", v2, "--all", "--dry-run", "--to", v1.parent / "new.db")
    assert f"{one!r}: goes back" in text.out
    assert not (v1.parent / "new.db").exists()


def test_new_writes_are_discarded_only_when_asked_and_counted(sessionlift: Warm, v1: Path, v2: Path) -> None:
    one, two = living(v2)[:2]
    change(v2, V2_MESSAGE, one, "new", "from v2")
    before = snapshot(v1.parent)
    answer = take_back(sessionlift, v2, "--session", one, "--session", two, "--discard-new")
    assert answer.code == 0
    assert answer.losses == {"new_writes_discarded": 1}
    assert answer.counts == (2, 0, 0)
    assert snapshot(v1.parent) == before
    assert one not in living(v2)
    assert two not in living(v2)


def test_values_that_no_json_has_come_back_with_the_next_move(sessionlift: Warm, v1: Path, v2: Path) -> None:
    one, two = living(v2)[:2]
    change(v2, V2_MESSAGE, one, "new", "from v2")
    change(v2, "UPDATE session_messages SET finish_reason = ? WHERE message_id = 'new'", b"\xff\x00")
    change(v2, "UPDATE session_metrics SET total_tokens = ? WHERE session_id = ?", b"\x01\xfe", two)
    before = v2_rows(v2)
    assert take_back(sessionlift, v2, "--session", one, "--session", two).counts == (2, 0, 0)
    moved(sessionlift, v1, v2)
    assert v2_rows(v2) == before


def test_what_was_discarded_stays_in_the_ledger_over_moves_and_ways_back(sessionlift: Warm, v1: Path, v2: Path) -> None:
    one = living(v2)[0]

    def discarded() -> set[str]:
        data = query(v2, "SELECT data FROM sessionlift_complement WHERE session_id = ?", one)
        rows = json.loads(data[0][0])["discarded"]["session_messages"]
        return {row["content"] for row in rows if "from v2" in row["content"]}

    for said in ("from v2", "from v2, again"):
        change(v2, V2_MESSAGE, one, said, said)
        assert take_back(sessionlift, v2, "--session", one, "--discard-new").losses == {"new_writes_discarded": 1}
        moved(sessionlift, v1, v2)
        assert one in living(v2)
        assert "from v2" in discarded()
        assert sessionlift("verify", v1, v2).code == 0, "what was left behind is no difference"
    answer = take_back(sessionlift, v2, "--session", one)
    assert (answer.counts, answer.errors, answer.losses) == ((1, 0, 0), {}, {})
    assert answer.report["verification"]["status"] == "passed"
    assert discarded() == {"from v2", "from v2, again"}
    assert sessionlift("schema", "downgrade", v2, "base").code == 4


def test_what_was_discarded_and_what_waits_stays_in_the_ledger_when_both_sides_are_laid_together(
    sessionlift: Warm, tmp_path: Path
) -> None:
    v1 = tmp_path / "v1.db"
    make_langswarm_v1(v1, sessions=2, traps="none")
    v2 = moved(sessionlift, v1, tmp_path / "v2.db")
    one = living(v2)[0]
    change(v2, V2_MESSAGE, one, "counted", "of seven tokens")
    change(v2, "UPDATE session_messages SET token_count = 7 WHERE message_id = 'counted'")
    take_back(sessionlift, v2, "--session", one)
    history = json.loads(query(v1, "SELECT history FROM sessions WHERE session_id = ?", one)[0][0])
    history["messages"].pop()
    change(v1, "UPDATE sessions SET history = ? WHERE session_id = ?", json.dumps(history), one)
    moved(sessionlift, v1, v2)
    change(v2, V2_MESSAGE, one, "left", "left behind")
    take_back(sessionlift, v2, "--session", one, "--discard-new")
    moved(sessionlift, v1, v2)
    change(v2, V2_MESSAGE, one, "new", "from v2")
    history = json.loads(query(v1, "SELECT history FROM sessions WHERE session_id = ?", one)[0][0])
    history["messages"].append({**history["messages"][-1], "content": "from v1", "timestamp": "2032-01-01T00:00:00"})
    change(v1, "UPDATE sessions SET history = ? WHERE session_id = ?", json.dumps(history), one)
    done = sessionlift("catch-up", v1, v2, "--on-conflict", "append_legacy", "--quiet")
    assert done.code == 0, done.err
    assert query(v2, "SELECT 1 FROM session_messages WHERE content = 'from v1'") == [(1,)]
    data = query(v2, "SELECT data FROM sessionlift_complement WHERE session_id = ?", one)
    complement = json.loads(data[0][0])
    assert "left behind" in {row["content"] for row in complement["discarded"]["session_messages"]}
    assert "of seven tokens" in complement["kept"]["waiting"]["messages"][0]


def test_the_target_keeps_its_sessions_when_asked(sessionlift: Warm, v1: Path, v2: Path) -> None:
    one = living(v2)[0]
    change(v2, V2_MESSAGE, one, "new", "from v2")
    before = v2_rows(v2)
    answer = take_back(sessionlift, v2, "--all", "--keep-target")
    assert answer.code == 0, answer.report["errors"]
    assert v2_rows(v2) == before
    assert ledger(v2)[one] == "moved"
    assert v1_messages(v1, one)[-1] == "from v2"
    moved(sessionlift, v1, v2)
    assert v2_rows(v2) == before, "a later move finds nothing new"
    assert take_back(sessionlift, v2, "--all").code == 0


def test_a_session_that_was_deleted_in_the_new_store_is_deleted_in_the_old_one(
    sessionlift: Warm, v1: Path, v2: Path
) -> None:
    one = living(v2)[0]
    for table in ("session_messages", "session_metrics", "sessions"):
        change(v2, f"DELETE FROM {table} WHERE session_id = ?", one)
    answer = take_back(sessionlift, v2, "--session", one)
    assert answer.code == 0
    assert answer.facts["carried_deleted", "sessions"] == 1
    assert query(v1, "SELECT count(*) FROM sessions WHERE session_id = ?", one) == [(0,)]
    assert ledger(v2)[one] == "deleted"
    assert take_back(sessionlift, v2, "--session", one).counts == (0, 1, 0)


def test_a_choice_is_needed_and_has_to_be_known(sessionlift: Warm, v1: Path, v2: Path) -> None:
    for options, said in (
        ([], "in one way"),
        (["--all", "--run", "x"], "in one way"),
        (["--run", "x"], "knows no run 'x'"),
        (["--session", "nobody"], "no session 'nobody'"),
        (["--since", "yesterday"], "is no time"),
        (["--all", "--to", str(v2)], "same file"),
        (["--all", "--discard-new", "--keep-target"], "at odds"),
    ):
        done = sessionlift("rollback", v2, *options)
        assert (done.code, said in done.err) == (2, True), (options, done.err)
    v1.unlink()
    lost = sessionlift("rollback", v2, "--all")
    assert lost.code == 3
    assert "say --to STORE" in lost.err


def test_a_run_or_a_time_chooses_what_was_moved_then(sessionlift: Warm, v1: Path, v2: Path) -> None:
    ((run,),) = query(v2, "SELECT run_id FROM sessionlift_runs")
    assert take_back(sessionlift, v2, "--since", "2100-01-01").counts == (0, 0, 0)
    count = len(living(v2))
    assert take_back(sessionlift, v2, "--run", run, "--dry-run").counts[0] == count
    assert take_back(sessionlift, v2, "--since", "2020-01-01T00:00:00+02:00").counts[0] == count


def test_a_dump_is_only_read(sessionlift: Warm, tmp_path: Path) -> None:
    source = tmp_path / "v1.json"
    make_langswarm(source, sessions=3, seed=1, dress="dump", traps="none")
    target = moved(sessionlift, source, tmp_path / "v2.db")
    done = sessionlift("rollback", target, "--all")
    assert done.code == 2
    assert "--to NEW.db" in done.err


def test_a_null_for_which_the_table_has_no_place_stays_in_the_json(sessionlift: Warm, tmp_path: Path) -> None:
    source, new = tmp_path / "v1.json", tmp_path / "new.db"
    ((key, session),) = make_langswarm(source, sessions=1, seed=1, dress="dump", traps="none").truth.items()
    session["metadata"]["model"] = None
    source.write_text(json.dumps({key: session}))
    target = moved(sessionlift, source, tmp_path / "v2.db")
    before = v2_rows(target)
    answer = take_back(sessionlift, target, "--all", "--to", new)
    assert answer.counts == (1, 0, 0), answer.report["errors"]
    ((model, metadata),) = query(new, "SELECT model, metadata FROM sessions")
    assert (model, json.loads(metadata)) == ("", session["metadata"])
    moved(sessionlift, new, target)
    assert v2_rows(target) == before
    well(sessionlift, new, target)
