"""The mapping file, JSON as text, and the digest of target rows."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from tests.support.synth_strategies import BARE

from sessionlift.converters import TargetDigests, TypeMapping, encode_rows, load_mapping
from sessionlift.converters._digest import as_double
from sessionlift.converters._jsontext import array_items, object_items, quote
from sessionlift.errors import MappingFileError
from sessionlift.runs.verifier._row_text import row_text


def written(folder: Path, text: str) -> Path:
    path = folder / "mapping.json"
    path.write_text(text, "utf-8")
    return path


def test_a_mapping_file_gives_overrides(tmp_path: Path) -> None:
    path = written(tmp_path, '{"message_types": {"note": "user"}, "event_types": {"tool": "runtime"}}')
    assert load_mapping(path) == TypeMapping({"note": "user"}, {"tool": "runtime"})
    assert load_mapping(written(tmp_path, "{}")) == TypeMapping()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[]", "must be an object with the keys message_types, event_types"),
        ('{"messages": {}}', "must be an object with the keys"),
        ('{"message_types": []}', "message_types in .* must be an object"),
        ('{"message_types": {"note": "User"}}', "maps 'note' to 'User', which the target does not allow"),
        ('{"message_types": {"note": null}}', "does not allow"),
        ('{"message_types": {"note": ["user"]}}', "does not allow"),
        ('{"event_types": {"tool": "user"}}', "does not allow"),
    ],
)
def test_a_mapping_file_that_is_wrong_is_refused_by_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(MappingFileError, match=message):
        load_mapping(written(tmp_path, text))


def test_a_mapping_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MappingFileError, match="cannot be read"):
        load_mapping(tmp_path / "none.json")
    (tmp_path / "mapping.json").write_bytes(b"\xff\xfe")
    with pytest.raises(MappingFileError, match="cannot be read"):
        load_mapping(tmp_path / "mapping.json")


@given(text=BARE)
def test_parts_of_a_document_are_cut_out_without_a_change(text: str) -> None:
    items = list(array_items("[ " + text + " , " + text + " ]"))
    assert [part for part, _ in items] == [text, text]
    members = list(object_items('{ "a" : ' + text + ',"b":' + text + "}"))
    assert [(key, part) for key, part, _ in members] == [("a", text), ("b", text)]


@pytest.mark.parametrize(
    "text", ["", "{", "[", "[1", "[1 2]", "[,]", "{1: 2}", '{"a" 1}', '{"a": 1 "b": 2}', '{"a": }', "1"]
)
def test_what_is_no_document_is_no_document(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a JSON|no JSON value|no key|no ':'|neither|Expecting|property"):
        list(array_items(text))
    with pytest.raises(ValueError, match=r"not a JSON|no JSON value|no key|no ':'|neither|Expecting|property"):
        list(object_items(text))


def test_a_quoted_text_is_ascii_as_both_real_writers_have_it() -> None:
    text = 'é😀"\\\n\0/\x7f'
    assert quote(text) == json.dumps(text)


def test_the_digest_is_what_its_description_says() -> None:
    digests = TargetDigests(["a", "b"])
    rows: list[tuple[Any, ...]] = [
        ("a", 1, None, 0.1, "é"),
        ("a", 2, True, -0.25, ""),
        ("b", 2**63 - 1, None, 5e-324, "\0"),
    ]
    digests.table("t")
    assert digests.rows(rows, 0) == {"a": 2, "b": 1}
    digests.table("u")
    parts = 't\n,["a",1,null,0.1,"é"],["a",2,true,-0.25,""]u\n'
    assert digests.hexdigests()["a"] == hashlib.sha256(parts.encode()).hexdigest()


def test_the_digest_does_not_hang_on_how_rows_are_cut() -> None:
    rows = [("a", number, str(number)) for number in range(10)]
    whole, cut = TargetDigests(["a"]), TargetDigests(["a"])
    whole.table("t")
    cut.table("t")
    whole.rows(rows, 0)
    for row in rows:
        cut.rows([row], 0)
    assert whole.hexdigests() == cut.hexdigests()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1,), (1.0,)),
        ((None,), ("null",)),
        (("1",), (1,)),
        (("a", "b"), ("a,b", "")),
        ((0.1,), (0.1 + 2**-56,)),
        ((2**53,), (2**53 + 1,)),
        (("a\0b",), ("a",)),
        ((b"a",), ("a",)),
        ((math.inf,), (None,)),
        ((-math.inf,), (None,)),
        ((math.inf,), (-math.inf,)),
        ((math.inf,), ('{"double":"inf"}',)),
        ((math.inf,), ("inf",)),
    ],
)
def test_rows_that_differ_have_other_digests(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    assert encode_rows([one]) != encode_rows([other])


def test_a_session_without_rows_has_the_digest_of_table_names() -> None:
    digests = TargetDigests(["a"])
    digests.table("t")
    assert digests.hexdigests()["a"] == hashlib.sha256(b"t\n").hexdigest()


def test_the_spelling_of_doubles_that_digests_stand_on() -> None:
    # a release that spells one of them otherwise would make every digest in every ledger look changed
    doubles = (0.1 + 0.2, 1e16, 1e22, 1.5e300, 1e-05, 5e-324, 29.0, -0.0, 1.7976931348623157e308)
    assert encode_rows([doubles]) == (
        b",[0.30000000000000004,1e+16,1e+22,1.5e+300,0.00001,5e-324,29.0,-0.0,1.7976931348623157e+308]"
    )


def test_the_spelling_of_infinities_which_json_has_no_word_for() -> None:
    rows: list[tuple[Any, ...]] = [("a", 1.5, None), ("é", math.inf, -math.inf), ("\0", 2**53 + 1, 29.0)]
    text = ',["a",1.5,null],["é",{"double":"inf"},{"double":"-inf"}],["\\u0000",9007199254740993,29.0]'
    assert encode_rows(rows).decode() == text
    assert b"".join(map(row_text, rows)).decode() == text, "the verifier's own"


def test_rows_that_hold_no_infinity_have_the_same_digest_whether_one_is_looked_for_or_not() -> None:
    rows: list[tuple[Any, ...]] = [("a", 1, None, 0.1, "é"), ("a", b"\0\xff", True, -0.25, "\ud800"), ("a", 2**63 - 1)]
    found, known = TargetDigests(["a"]), TargetDigests(["a"], finite=True)
    for digests in (found, known):
        digests.rows(rows, 0)
    assert found.hexdigests() == known.hexdigests()


@pytest.mark.parametrize("value", [29, 2**53, 2**53 + 2, -(2**63), 2**62])
def test_an_integer_that_a_double_equals_is_that_double(value: int) -> None:
    assert repr(as_double(value)) == repr(float(value))


@pytest.mark.parametrize("value", [2**53 + 1, 2**63 - 1, 1 - 2**63, 2.5, math.inf, None, "29", b"29"])
def test_what_no_double_equals_stays_what_it_is(value: object) -> None:
    assert as_double(value) is value
