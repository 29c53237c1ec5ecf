"""The schema is hand-written and the dataclasses are code: they must be one contract."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from jsonschema import Draft202012Validator

from sessionlift import reports
from sessionlift.reports import Report, schema

MODELS = {
    cls.__name__: cls
    for name in reports.__all__
    if dataclasses.is_dataclass(cls := getattr(reports, name))
    and cls.__module__.endswith("._model")
    and isinstance(cls, type)
}


def object_of(name: str) -> dict[str, Any]:
    document = schema()
    found: dict[str, Any] = document if name == "Report" else document["$defs"][name]
    return found


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema())
    assert schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_schema_is_of_the_version_that_is_written() -> None:
    assert schema()["properties"]["report_version"]["const"] == reports.REPORT_VERSION


@pytest.mark.parametrize("name", sorted(MODELS))
def test_dataclass_and_schema_have_the_same_fields(name: str) -> None:
    described = object_of(name)
    in_code = [field.name for field in dataclasses.fields(MODELS[name])]
    assert list(described["properties"]) == in_code, "other fields, or in another order"
    assert described["required"] == in_code, "every key is always there"
    assert described["additionalProperties"] is False


@pytest.mark.parametrize("name", sorted(MODELS))
def test_what_may_be_null_in_code_may_be_null_in_the_schema(name: str) -> None:
    document = schema()
    hints = get_type_hints(MODELS[name])
    for key, described in object_of(name)["properties"].items():
        if hints[key] is Any:
            continue
        alone = {**described, "$defs": document["$defs"]}
        nullable = Draft202012Validator(alone).is_valid(None)
        assert nullable == (type(None) in get_args(hints[key])), key


def test_every_object_of_the_schema_has_a_dataclass() -> None:
    objects = {n for n, d in schema()["$defs"].items() if d.get("type") == "object"}
    assert objects | {"Report"} == set(MODELS)


@pytest.mark.parametrize(("field", "where"), [("kind", "Report"), ("status", "Report"), ("status", "Verification")])
def test_enumerations_are_the_same(field: str, where: str) -> None:
    in_code = get_args(get_type_hints(MODELS[where])[field])
    assert tuple(object_of(where)["properties"][field]["enum"]) == in_code or set(
        object_of(where)["properties"][field]["enum"]
    ) == set(in_code)


def test_every_field_has_a_description() -> None:
    def nodes(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for group in ("properties", "$defs"):
            for key, item in node.get(group, {}).items():
                yield f"{path}/{key}", item
                yield from nodes(item, f"{path}/{key}")

    bare = [path for path, item in nodes(schema(), "") if len(item.get("description", "")) < 8]
    assert not bare, f"without a description: {bare}"


def test_a_running_report_with_nothing_in_it_fulfils_the_schema() -> None:
    Draft202012Validator(schema()).validate(Report(kind="bridge", run_id="b").to_dict())


def test_the_page_on_reports_names_every_key() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "reports.md").read_text("utf-8")
    page = re.sub(r"^```.*?^```", "", page, flags=re.S | re.M)
    told = {word for span in re.findall(r"`([^`]+)`", page) for word in re.findall(r"\w+", span)}
    keys = {key for name in MODELS for key in object_of(name)["properties"]}
    assert keys <= told, f"not explained in docs/reports.md: {sorted(keys - told)}"
    enums = {v for n in MODELS for d in object_of(n)["properties"].values() for v in d.get("enum", ())}
    assert enums <= told, f"not explained in docs/reports.md: {sorted(enums - told)}"
