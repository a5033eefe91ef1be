"""JSON documents: durations, strict types, every fault with its path, no value repeated."""

import sys
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from gateway_tokens.errors import Fault
from gateway_tokens.parsing import (
    Duration,
    StrictModel,
    duration_text,
    faults_of,
    read_json,
    read_model,
    validated,
)


class Leaf(StrictModel):
    some_name: str = "x"
    flag: bool = False
    wait: Duration = timedelta(days=1)


class Tree(StrictModel):
    leaf: Leaf
    leaves: tuple[Leaf, ...] = ()
    named: dict[str, Leaf] = Field(default_factory=dict)


def wait_of(text: object) -> timedelta:
    part, faults = read_model(Leaf, {"wait": text})
    assert part is not None, faults
    return part.wait


def faults_in(document: object) -> list[tuple[str, str]]:
    part, faults = read_model(Tree, document)
    assert (part is None) is bool(faults)
    return [(fault.path, fault.message) for fault in faults]


def test_a_duration_is_weeks_days_hours_minutes_and_seconds() -> None:
    assert wait_of("P1W2DT3H4M5S") == timedelta(weeks=1, days=2, hours=3, minutes=4, seconds=5)
    assert wait_of("P007D") == timedelta(days=7)
    longest = timedelta(weeks=999, days=9999, hours=9999, minutes=99999, seconds=999999)
    assert wait_of("P999W9999DT9999H99999M999999S") == longest


def test_any_other_text_is_no_duration() -> None:
    without_length = ["P1Y", "P1M", "", "P", "PT", "P1DT"]
    misplaced = ["1D", "p1d", "P1H", "PT1D", "P1D1W", "PT1S1M", " P1D", "P1D\n", "30"]
    no_whole_number = ["P-1D", "-P1D", "P1.5D", "PT0.5S", "P１D"]  # noqa: RUF001 - a wide digit is no digit here
    too_long = ["P1000W", "P10000D", "PT10000H", "PT100000M", "PT1000000S"]
    others: list[object] = [30, 1.5, True, ["P1D"]]
    for text in (*without_length, *misplaced, *no_whole_number, *too_long, *others):
        ((path, message),) = faults_in({"leaf": {"wait": text}})
        assert (path, message.partition(" of ")[0]) == ("leaf.wait", "must be an ISO 8601 duration")


@given(st.integers(0, 999_999) | st.integers(0, 11).map(lambda days: days * 86_400))
def test_a_duration_that_was_written_is_read_back_in_days_or_in_seconds(seconds: int) -> None:
    value = timedelta(seconds=seconds)
    assert wait_of(duration_text(value)) == value
    assert duration_text(value) == (f"PT{seconds}S" if seconds % 86_400 else f"P{value.days}D")


def test_json_is_read_as_json_and_null_counts_as_absent_at_every_depth() -> None:
    texts: dict[str | bytes, object] = {
        "null": None,
        b'\xef\xbb\xbf{"a": "\xc3\xa9"}': {"a": "é"},
        '{"leaf": {"flag": null}, "leaves": [{"flag": null}], "other": null}': {"leaf": {}, "leaves": [{}]},
        '[{"a": 1}, {"a": 2}]': [{"a": 1}, {"a": 2}],
    }
    for text, value in texts.items():
        assert read_json(text, "body") == (value, [])


NO_MARK = "begins with a byte order mark, which JSON does not allow. Save it as UTF-8 without one"
# Python 3.13 names the comma, earlier ones what follows it.
COMMA = "line 1 column 8" if sys.version_info >= (3, 13) else "line 2 column 1"
NO_NUMBER = "is not JSON: it holds a number that JSON does not know"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: a JSON object is expected"),
        ("\ufeff{}", NO_MARK),
        ("{\n  // why", "is not JSON: a comment at line 2 column 3. JSON has no comments: remove it"),
        ('{"a": 1}\n/* why */', "is not JSON: a comment at line 2 column 1. JSON has no comments: remove it"),
        ('{"a": 1,\n}', f"is not JSON: a comma with nothing after it at {COMMA}. Remove it"),
        ("x", "is not JSON: Expecting value at line 1 column 1"),
        ('{"a": 1}\n{', "is not JSON: Extra data at line 2 column 1"),
        ('{"a": NaN}', NO_NUMBER),
        ('{"a": ' + "9" * 5000 + "}", NO_NUMBER),
        (b'{"a": "\xff"}', "is not UTF-8 text"),
        ("[" * 100_000, "is nested too deeply"),
    ],
    ids=range(11),
)
def test_text_that_is_no_json_is_a_fault_at_the_documents_path(text: str | bytes, message: str) -> None:
    assert read_json(text, "body") == (None, [Fault("body", message)])


def test_a_name_given_twice_in_one_object_is_a_fault() -> None:
    _, faults = read_json('{"a": {"b": 1, "b": 2}, "c": 1, "c": 2, "c": 3, "b": 1}', "body")
    assert sorted(map(str, faults)) == ["body: 'b' is given twice", "body: 'c' is given twice"]


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"leaf":', "}")])
def test_any_depth_of_nesting_is_a_fault(opening: str, closing: str) -> None:
    for depth in (190, 210, 800, 900, 940, *range(960, 1010, 5)):
        document, faults = read_json(opening * depth + "1" + closing * depth, "body")
        assert faults or faults_in(document)


@pytest.mark.parametrize(
    ("document", "path", "message"),
    [
        ({}, "leaf", "required"),
        ({"leaf": {"more": 1}}, "leaf.more", "unknown field"),
        ({"leaf": {"some_name": "x"}}, "leaf.some_name", "unknown field. Did you mean 'someName'?"),
        ({"leaf": {}, "leaves": [{}, {"flag": "true"}]}, "leaves[1].flag", "must be true or false"),
        ({"leaf": {}, "leaves": {}}, "leaves", "must be an array"),
        ({"leaf": {}, "named": []}, "named", "must be an object"),
        ({"leaf": {}, "named": {"one": {"someName": 5}}}, "named.one.someName", "must be a string"),
        ({"leaf": 7}, "leaf", "must be an object"),
        ("{}", "(document)", "must be an object"),
    ],
)
def test_a_fault_has_the_path_that_leads_to_it(document: object, path: str, message: str) -> None:
    assert faults_in(document) == [(path, message)]


def test_all_faults_are_told_together_and_nothing_but_true_and_false_is_a_flag() -> None:
    leaves = [{"wait": "x"}, *({"flag": flag} for flag in ("true", 1, 0))]
    broken = {"leaf": {"flag": 1, "more": 1}, "leaves": leaves, "other": 2}
    of_leaves = ["leaves[0].wait", *(f"leaves[{n}].flag" for n in (1, 2, 3))]
    assert [path for path, _ in faults_in(broken)] == ["leaf.flag", "leaf.more", *of_leaves, "other"]


def test_a_part_is_not_changed_once_read_and_its_own_errors_do_not_print_a_value() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Leaf().some_name = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError) as refused:
        Leaf.model_validate_json('{"flag": "tok-3n"}')
    assert "tok-3n" not in str(refused.value)


def test_a_value_that_only_python_reads_as_json_is_a_fault() -> None:
    for odd in ("\ud800", float("inf"), 10**400):
        assert len(faults_in({"leaf": {"someName": odd}})) == 1


def test_a_union_tag_is_no_part_of_a_path_but_a_field_of_that_name_is() -> None:
    broken = {"leaf": {}, "leaves": [{"flag": 1}], "named": {"flag": {"flag": 1}}}
    _, errors = validated(Tree, broken)
    assert [fault.path for fault in faults_of(errors, Tree, tags=("flag",))] == [
        "leaves[0]",
        "named.flag.flag",
    ]
