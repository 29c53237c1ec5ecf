"""A report survives its JSON form, and what is not a report is refused with the keys named."""

from __future__ import annotations

import dataclasses
import json
import types
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from tests.support.laws import tries

from sessionlift.errors import ReportError
from sessionlift.reports import (
    REPORT_VERSION,
    Digests,
    Loss,
    Report,
    SourceFact,
    StoreInfo,
    TableCounts,
    Throughput,
    check,
    load,
    redact_tree,
    schema,
    write,
)

# any text at all, but for halves of surrogate pairs, which have a test of their own
texts = st.text(max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
counts = st.integers(min_value=0, max_value=2**63)
moments = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2262, 1, 1)).map(
    lambda t: t.replace(tzinfo=timezone.utc).isoformat(timespec="microseconds")
)
sha256s = st.text(alphabet="0123456789abcdef", min_size=64, max_size=64)
# fields that the schema holds to more than their Python type
SPECIAL: dict[str, st.SearchStrategy[Any]] = {
    "report_version": st.just(REPORT_VERSION),
    "started_at": moments,
    "finished_at": st.none() | moments,
    "sha256": sha256s,
    "digest": sha256s,
    "taken_at": moments,
    "path": st.from_regex(r"\A[a-z0-9]{1,8}\.jsonl\Z"),
}
AT_LEAST_ONE = {(Loss, "count"), (SourceFact, "count")}
MAY_BE_EMPTY = {"method", "python", "platform"}


def values_for(hint: Any, name: str = "") -> st.SearchStrategy[Any]:
    """A strategy for whatever the annotation ``hint`` allows."""
    if hint is Any:
        return json_values
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        (inner,) = (arm for arm in get_args(hint) if arm is not type(None))
        return st.none() | values_for(inner, name)
    if origin is Literal:
        return st.sampled_from(get_args(hint))
    if origin is list:
        return st.lists(values_for(*get_args(hint)), max_size=2)
    if origin is dict:
        return st.dictionaries(texts, values_for(get_args(hint)[1], "optional"), max_size=2)
    if dataclasses.is_dataclass(hint):
        return instances_of(hint)
    if hint is int:
        return counts
    if hint is float:
        return st.floats(min_value=0, allow_nan=False, allow_infinity=False)
    if hint is bool:
        return st.booleans()
    assert hint is str, hint
    return texts if name in MAY_BE_EMPTY | {"optional"} else st.text(min_size=1, max_size=12)


def instances_of(cls: Any) -> st.SearchStrategy[Any]:
    hints = get_type_hints(cls)
    parts = {}
    for field in dataclasses.fields(cls):
        if field.name in SPECIAL:
            special = SPECIAL[field.name]
            optional = type(None) in get_args(hints[field.name])
            parts[field.name] = st.none() | special if optional else special
        elif (cls, field.name) in AT_LEAST_ONE:
            parts[field.name] = st.integers(min_value=1, max_value=2**63)
        else:
            parts[field.name] = values_for(hints[field.name], field.name)
    return st.builds(cls, **parts)


reports: st.SearchStrategy[Report] = instances_of(Report)
slow_to_make = tries(50)


@slow_to_make
@given(reports)
def test_a_report_survives_its_json_form(report: Report) -> None:
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report


@pytest.mark.slow
@slow_to_make
@given(reports)
def test_any_report_written_fulfils_the_schema_and_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, report: Report
) -> None:
    path = tmp_path_factory.mktemp("reports") / "run.json"
    write(report, path)
    data = json.loads(path.read_text("utf-8"))
    Draft202012Validator(schema()).validate(data)
    assert data == redact_tree(report.to_dict())
    assert load(path).to_dict() == data


def test_a_sound_report_keeps_its_contract(sound: Report) -> None:
    data = json.loads(json.dumps(sound.to_dict()))
    assert check(data) == []
    Draft202012Validator(schema()).validate(data)


def test_a_report_needs_only_a_kind_and_an_id() -> None:
    report = Report(kind="plan", run_id="p")
    assert report.status == "running"
    assert check(report.to_dict()) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d.pop("losses"), "losses is missing"),
        (lambda d: d["tables"]["events"].pop("read"), "tables.events.read is missing"),
        (lambda d: d.update(extra=1), "extra is not a key of the contract"),
        (lambda d: d["errors"][1].update(why=""), "errors[1].why is not a key of the contract"),
        (lambda d: d.update(kind="copy"), "kind is 'copy', not one of migrate"),
        (lambda d: d.update(total_sessions="20"), "total_sessions is '20', not an integer"),
        (lambda d: d.update(total_sessions=True), "total_sessions is True, not an integer"),
        (lambda d: d.update(dry_run=0), "dry_run is 0, not true or false"),
        (lambda d: d.update(errors={}), "errors is {}, not an array"),
        (lambda d: d.update(tables=[]), "tables is [], not an object"),
        (lambda d: d.update(tool=None), "tool is None, not an object"),
        (lambda d: d["throughput"].update(seconds=None), "throughput.seconds is None, not a number"),
        (lambda d: d["source"].update(url=5), "source.url is 5, not a string"),
    ],
)
def test_what_breaks_the_form_is_named_with_its_path(sound: Report, change: Any, told: str) -> None:
    data = sound.to_dict()
    change(data)
    assert not Draft202012Validator(schema()).is_valid(data)
    with pytest.raises(ReportError) as caught:
        Report.from_dict(data)
    assert [p for p in caught.value.fields["problems"] if told in p], caught.value.fields["problems"]
    assert [p for p in check(data) if told in p]


def test_every_problem_is_named_not_the_first_alone(sound: Report) -> None:
    data = sound.to_dict()
    for key in ("losses", "tables", "errors", "options", "ledger", "digests", "status"):
        del data[key]
    assert len(check(data)) == 7
    with pytest.raises(ReportError, match="and 2 more"):
        Report.from_dict(data)


@pytest.mark.parametrize("data", [None, [], "text", 1, {}])
def test_what_is_no_report_at_all_is_refused(data: Any) -> None:
    assert check(data)
    with pytest.raises(ReportError):
        Report.from_dict(data)


def test_a_later_minor_version_may_hold_keys_we_do_not_know(sound: Report) -> None:
    data = sound.to_dict()
    data["report_version"] = "1.9"
    data["mood"] = "good"
    data["source"]["colour"] = "green"
    assert Report.from_dict(data).run_id == "run-1"
    assert check(data) == []


def test_a_report_of_an_earlier_minor_version_lacks_what_came_since(sound: Report) -> None:
    data = sound.to_dict()
    data["report_version"] = "1.0"
    del data["backups"]
    assert check(data) == []
    read = Report.from_dict(data)
    assert (read.report_version, read.backups, read.run_id) == ("1.0", [], "run-1")
    del data["ledger"]
    assert check(data) == ["ledger is missing"]


def test_a_report_of_this_version_has_every_key(sound: Report) -> None:
    data = sound.to_dict()
    del data["backups"]
    assert check(data) == ["backups is missing"]


def test_values_without_a_json_form_stay_readable() -> None:
    report = Report(kind="plan", run_id="p", options={"at": Path("a/b"), "when": datetime(2026, 1, 2)})
    report.losses.append(
        Loss(
            code="c",
            table="t",
            count=4,
            meaning="m",
            original_kept_in="o",
            examples=[b"\x00\xff", float("nan"), float("-inf"), (1, {2})],
        )
    )
    data = report.to_dict()
    assert data["losses"][0]["examples"] == [
        {"$bytes": "00ff"},
        {"$float": "nan"},
        {"$float": "-inf"},
        [1, [2]],
    ]
    assert data["options"] == {"at": "a/b", "when": "2026-01-02 00:00:00"}


def test_finish_tells_findings_by_itself() -> None:
    clean = Report(kind="migrate", run_id="r", source=StoreInfo(url="a"), target=StoreInfo(url="b"))
    clean.finish()
    assert clean.to_dict()["status"] == "completed"
    clean.tables["t"] = TableCounts(read=1, quarantined=1)
    clean.finish()
    assert clean.to_dict()["status"] == "completed_with_findings"
    clean.finish("interrupted", at="2026-01-01T00:00:00+00:00")
    assert (clean.status, clean.finished_at) == ("interrupted", "2026-01-01T00:00:00+00:00")


def test_a_clock_that_was_set_back_makes_no_report_that_ends_before_it_began() -> None:
    late = Report(
        kind="migrate", run_id="r", source=StoreInfo(url="a"), target=StoreInfo(url="b"),
        started_at="2999-01-01T00:00:00.000000+00:00",
    )  # fmt: skip
    late.finish()
    assert late.finished_at == late.started_at


def test_the_rate_is_worked_out_from_what_was_measured() -> None:
    assert Throughput.measured(sessions=1, rows=10, bytes=0, seconds=0.0).rows_per_second == 0.0
    assert Throughput.measured(sessions=1, rows=10, bytes=0, seconds=4.0).rows_per_second == 2.5


def test_digests_have_no_default_that_would_pass_for_real() -> None:
    with pytest.raises(TypeError):
        Digests()  # type: ignore[call-arg]
