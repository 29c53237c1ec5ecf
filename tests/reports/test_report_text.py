"""The text of a report: what happened comes first, everything is said, and nothing breaks a terminal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.laws import tries

from sessionlift.reports import (
    Difference,
    ErrorLine,
    Report,
    ReportFile,
    SourceFact,
    StoreInfo,
    TableCounts,
    Verification,
    printable,
    render_list,
    render_text,
)
from sessionlift.reports._layout import columns, duration, plural, size


def head(report: Report) -> list[str]:
    return render_text(report).splitlines()[:3]


def section(report: Report, title: str, **kw: Any) -> str:
    for part in render_text(report, **kw).split("\n\n"):
        if part.splitlines()[0].startswith(title):
            return part
    return ""


def passed(report: Report) -> Report:
    report.verification = Verification(
        status="passed", checked_sessions=1, checked_rows=2, checked_values=3, method="m", cannot_see=["c"]
    )
    return report


def test_the_first_three_lines_say_what_happened(sound: Report) -> None:
    assert head(sound) == [
        "Migration completed with findings: 16 of 20 sessions moved, 3 already there, 1 FAILED in 1.5 s.",
        "From synth.v2 duckdb:///data/old.duckdb to synth.v3 libsql:///data/new.db.",
        "Verified: 221,000 values compared, no difference; 2 rows in quarantine; "
        "2 kinds of loss told below (3 values); 2 source facts.",
    ]


def test_a_clean_run_says_so_in_full() -> None:
    report = passed(
        Report(
            kind="migrate",
            run_id="r",
            started_at="2026-01-01T00:00:00+00:00",
            source=StoreInfo(url="duckdb:///a"),
            target=StoreInfo(url="libsql:///b"),
            total_sessions=1,
            migrated_sessions=1,
        )
    )
    report.finish(at="2026-01-01T01:02:30+00:00")
    assert head(report) == [
        "Migration completed: 1 of 1 session moved in 1 h 02 min.",
        "From duckdb:///a to libsql:///b.",
        "Verified: 3 values compared, no difference; nothing in quarantine; no losses.",
    ]
    assert "Nothing to do." in section(report, "Next")


@pytest.mark.parametrize(
    ("status", "first", "next_step"),
    [
        ("running", "Migration has not ended, or was killed: 0 of 5 sessions moved.", "same command again"),
        ("interrupted", "Migration was interrupted: 0 of 5 sessions moved in 0.5 s.", "same command again"),
        (
            "failed",
            "Migration FAILED: 0 of 5 sessions moved in 0.5 s.",
            "Put right what the last error names",
        ),
    ],
)
def test_a_run_cut_short_says_how_to_go_on(status: Any, first: str, next_step: str) -> None:
    report = Report(
        kind="migrate",
        run_id="r",
        started_at="2026-01-01T00:00:00+00:00",
        finished_at=None if status == "running" else "2026-01-01T00:00:00.500000+00:00",
        status=status,
        total_sessions=5,
    )
    assert head(report)[0] == first
    assert "Not verified" in head(report)[2]
    assert next_step in section(report, "Next")


def test_a_plan_says_that_nothing_was_changed(sound: Report) -> None:
    sound.kind = "plan"
    sound.target = None
    sound.verification = Verification()
    first, second, third = head(sound)
    assert first.startswith("Plan completed with findings: 16 of 20 sessions would be moved")
    assert second == "From synth.v2 duckdb:///data/old.duckdb."
    assert third.startswith("Nothing was changed; ")
    assert "`sessionlift migrate SOURCE TARGET`" in section(sound, "Next")


@pytest.mark.parametrize(
    ("code", "step"),
    [
        ("session_conflict", "--on-conflict append_legacy"),
        ("changed_on_both_sides", "sessionlift catch-up SOURCE TARGET"),
        ("history_unreadable", "--salvage"),
        ("still_in_quarantine", "kept whole in the ledger"),
    ],
)
def test_an_error_that_a_command_settles_names_the_command(sound: Report, code: str, step: str) -> None:
    assert sound.source is not None
    sound.source.generation = "langswarm.v1"
    sound.tables = {}
    sound.errors = []
    assert "quarantine" not in section(sound, "Next"), "nothing is there"
    sound.errors = [ErrorLine(session_id="s", error="e", code=code)]
    assert step in " ".join(section(sound, "Next").split())


def test_a_verification_does_not_claim_that_nothing_was_lost(sound: Report) -> None:
    sound.losses = []
    assert "no losses" in head(sound)[2]
    sound.kind = "verify"
    assert "no losses" not in head(sound)[2]


def test_a_dry_run_says_so(sound: Report) -> None:
    sound.dry_run = True
    assert head(sound)[0].startswith("Migration (dry run) completed")
    assert "without --dry-run" in section(sound, "Next")


def test_rows_stand_in_aligned_columns_with_a_total(sound: Report) -> None:
    assert section(sound, "Rows").splitlines()[1:6] == [
        "  table             read  written  quarantined  excluded  derived",
        "  session_traces      17       16            1         0        0",
        "  events          12,126   12,124            1         1        0",
        "  event_rewards        0        0            0         0      300",
        "  total           12,143   12,140            2         1      300",
    ]


def test_errors_name_session_table_row_and_code(sound: Report) -> None:
    assert section(sound, "Errors").splitlines() == [
        "Errors (2)",
        "  session s-7, session_traces row s-7: [bad_time] no such time",
        "  session s-8, events row 12: [bad_json] not JSON",
    ]


def test_many_errors_are_cut_and_counted() -> None:
    errors = [ErrorLine(session_id=f"s{i}", error="e", code="c") for i in range(30)]
    text = section(Report(kind="migrate", run_id="r", errors=errors, errors_truncated=70), "Errors")
    assert text.startswith("Errors (100)")
    assert "session s19:" in text
    assert "session s20:" not in text
    assert "and 80 more" in text


def test_losses_say_what_they_mean_and_where_the_originals_are(sound: Report) -> None:
    text = section(sound, "Losses")
    for part in (
        "  events.cost  2 x cost_fraction",
        "      The cost is not a whole number of cents.",
        "      originals: events.metadata",
        '      example: {"session_id": "s-1", "value": 0.0123}',
        "  events  1 x cost_fraction",
    ):
        assert part in text.splitlines()


def test_source_facts_are_apart_from_losses(sound: Report) -> None:
    lines = section(sound, "Source facts").splitlines()
    assert "  session_traces  4 x counter_differs" in lines
    assert "      A save broke off." in lines
    assert "  store  1 x no_marker" in lines


def test_verification_says_how_and_what_it_cannot_see(sound: Report) -> None:
    text = section(sound, "Verification")
    assert "  passed: 16 sessions, 12,440 rows, 221,000 values" in text
    assert "how: every value is computed again" in text
    assert "    - what was wrong in the source already" in text


def test_differences_show_both_values_and_warn(sound: Report) -> None:
    sound.verification.status = "failed"
    sound.verification.differences = [
        Difference(
            session_id="s-1",
            table="events",
            row="5",
            column="cost_usd",
            expected=29,
            found=28,
            message="not equal",
        )
    ]
    sound.verification.differences_truncated = 4
    assert "Verification FAILED: 5 differences" in head(sound)[2]
    lines = section(sound, "Verification\n").splitlines() or section(sound, "Verification").splitlines()
    assert "  session s-1, events.cost_usd row 5: not equal" in lines
    assert "      expected: 29" in lines
    assert "      found:    28" in lines
    assert "Do not put the target to use" in section(sound, "Next")


def test_the_driver_classes_that_are_not_exact_are_shown(sound: Report) -> None:
    text = section(sound, "Environment")
    assert "driver fidelity: 1 of 2 classes of values exact" in text
    assert "nan: changed: NULL" in text


def test_what_was_left_in_the_target_is_told(sound: Report) -> None:
    text = section(sound, "Left behind")
    assert "22 rows in sessionlift_runs, sessionlift_units" in text
    assert "run-1.digests.jsonl (blake2b-256)" in text
    assert "b" * 64 in text
    assert "earlier backup of libsql:///data/new.db\n      /data/new.db.backups/new.db-2026" in text
    assert "as it was at 2026-01-01T00:00:00.000000+00:00, 4.1 kB" in text
    assert "NO backup of libsql+http://h:1\n      its files are the server's own" in text


def test_a_run_that_was_not_verified_is_sent_to_the_verifier(sound: Report) -> None:
    sound.verification = Verification()
    assert "`sessionlift verify --report FILE`" in section(sound, "Next")


def test_a_verify_counts_what_it_compared(sound: Report) -> None:
    sound.kind = "verify"
    sound.migrated_sessions = 0
    assert head(sound)[0].startswith("Verification completed with findings: 16 of 20 sessions compared")


def test_a_verify_says_what_lies_in_quarantine() -> None:
    report = passed(Report(kind="verify", run_id="v"))
    report.source_facts = [SourceFact(code="in_quarantine", table="events", count=7, meaning="m")]
    assert "; 7 rows in quarantine;" in head(report)[2]


@pytest.mark.parametrize(
    ("code", "step"),
    [
        ("changed_in_source", "`sessionlift migrate SOURCE TARGET` moves it again"),
        ("changed_in_target", "`sessionlift rollback TARGET` takes it back whole"),
        ("gone_from_source", "Look at the errors above."),
    ],
)
@pytest.mark.parametrize("session", [None, "s1"])
def test_a_verify_with_findings_says_what_to_do_about_them(code: str, step: str, session: str | None) -> None:
    report = passed(Report(kind="verify", run_id="v"))
    report.errors = [ErrorLine(session_id=session, error="e", code=code)]
    report.failed_sessions = int(session is not None)
    report.finish()
    told = " ".join(section(report, "Next").split())
    assert step in told
    assert "Nothing to do" not in told


def test_control_characters_of_stored_text_are_escaped(sound: Report) -> None:
    evil = "\x1b]0;title\x07\r\n\x9b2J\u202e\ud800"
    sound.run_id = sound.errors[0].error = sound.errors[0].code = evil
    sound.errors[0].session_id = sound.losses[0].meaning = sound.losses[0].code = evil
    sound.tables[evil] = TableCounts()
    sound.losses[0].examples = [evil, {evil: [evil]}]
    sound.source_facts[0].meaning = sound.verification.method = sound.assumptions[0] = evil
    sound.verification.cannot_see = [evil]
    sound.environment.packages = {evil: evil}
    sound.environment.fidelity = {"classes": {evil: evil}}
    sound.throughput.peak_memory_mb = {evil: 1.0}
    text = render_text(sound)
    assert all(c.isprintable() or c == "\n" for c in text)
    text.encode("utf-8")
    assert "\\x1b]0;title" in text


def test_lines_keep_to_the_width_where_words_allow(sound: Report) -> None:
    sound.losses[0].meaning = sound.assumptions[0] = sound.verification.method = "word " * 100
    sound.losses[0].examples = ["x" * 500]
    sound.errors[0].error = "word " * 100
    body = render_text(sound, width=80).split("\n\n", 1)[1].splitlines()
    long = [line for line in body if len(line) > 80 and "sha256" not in line]
    assert not long


@pytest.mark.parametrize("ended", ["00011001000000000", "2026-01-02", "2026-01-02T03:04:05+01:00", "soon", ""])
def test_an_end_that_is_no_time_of_a_report_gives_no_duration(ended: str) -> None:
    report = Report(kind="migrate", run_id="r", status="completed", finished_at=ended)
    assert head(report)[0] == "Migration completed: 0 of 0 sessions moved."


@tries(50)
@given(
    kind=st.sampled_from(["migrate", "plan", "verify", "rollback", "catch_up", "bridge"]),
    status=st.sampled_from(["running", "completed", "completed_with_findings", "failed", "interrupted"]),
    text=st.text(),
    width=st.integers(40, 200),
)
def test_any_report_can_be_shown(kind: Any, status: Any, text: str, width: int) -> None:
    report = Report(kind=kind, run_id=text, status=status, assumptions=[text], finished_at=text)
    report.errors = [ErrorLine(session_id=text, error=text, code=text, table=text, row=text)]
    shown = render_text(report, width=width)
    assert all(c.isprintable() or c == "\n" for c in shown)
    assert "\nNext\n" in shown


def test_a_list_has_one_line_per_report(sound: Report, tmp_path: Any) -> None:
    sound.dry_run = True
    text = render_list(
        [ReportFile(tmp_path / "a.json", sound), ReportFile(tmp_path / "b.json", None, "kind is missing")]
    )
    lines = text.splitlines()
    assert lines[0].split() == ["started", "(UTC)", "kind", "status", "sessions", "verification", "file"]
    assert lines[1].split() == [
        "2026-01-02T03:04:05",
        "migrate",
        "(dry",
        "run)",
        "completed_with_findings",
        "16/20",
        "passed",
        "a.json",
    ]
    assert lines[2] == "  b.json: kind is missing"
    assert len(lines) == 3


def test_small_words() -> None:
    assert [plural(n, "row") for n in (0, 1, 1200)] == ["0 rows", "1 row", "1,200 rows"]
    assert plural(2, "loss") == "2 losses"
    assert [size(n) for n in (0, 999, 1500, 43_528_192)] == ["0 B", "999 B", "1.5 kB", "43.5 MB"]
    assert [duration(s) for s in (0.04, 59.9, 125, 3725)] == ["0.0 s", "59.9 s", "2 min 05 s", "1 h 02 min"]
    assert printable("a\tb\x7fé𝄞") == "a\\tb\\x7fé𝄞"
    assert columns(("a", "n"), [("long", 5)]) == ["  a     n", "  long  5"]
