"""Name patterns: `*` fits any run of characters, case does not count, and two patterns meet or do not."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_tokens.estate.schema import matches, overlap, specificity

ALPHABET = "ab"
# Names long enough that two patterns of at most four characters that meet at all meet in one of them.
NAMES = ["".join(letters) for size in range(9) for letters in product(ALPHABET, repeat=size)]
PATTERNS = st.text(alphabet="ab*", max_size=4)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("edge-01", "edge-01"),
        ("edge-01", "EDGE-01"),
        ("EDGE-*", "edge-01"),
        ("edge-*", "edge-"),
        ("*", ""),
        ("*", "anything"),
        ("*-eu-*", "edge-eu-1"),
        ("a*b*c", "abc"),
        ("a**c", "abc"),
        ("a*a", "aa"),
        ("a.b", "a.b"),
        ("*/*", "contoso/edge-01"),
        ("a*", "a\nb"),
    ],
)
def test_a_pattern_fits_the_whole_name(pattern: str, name: str) -> None:
    assert matches(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("edge-01", "edge-011"),
        ("edge-01", "edge-0"),
        ("edge-01", "edge-01\n"),
        ("edge-*", "edge"),
        ("edge-*", "xedge-1"),
        ("*-eu", "edge-eu-1"),
        ("a*a", "a"),
        ("a*b*c", "acb"),
        ("a.b", "axb"),
        ("a+", "aa"),
        ("[ab]", "a"),
        ("a?", "ab"),
        ("", "a"),
    ],
)
def test_a_pattern_does_not_fit_part_of_a_name_nor_speak_another_pattern_language(
    pattern: str, name: str
) -> None:
    assert not matches(pattern, name)


def test_many_stars_stay_quick() -> None:
    # Backtracking would need longer than the age of the universe here.
    assert not matches("*a" * 30 + "*b", "a" * 80)


@given(PATTERNS, st.sampled_from(NAMES))
def test_matching_agrees_with_a_walk_through_the_pattern(pattern: str, name: str) -> None:
    assert matches(pattern, name) is fits(pattern, name)


def fits(pattern: str, name: str) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "*":
        return fits(pattern[1:], name) or (name != "" and fits(pattern, name[1:]))
    return name[:1] == pattern[0] and fits(pattern[1:], name[1:])


def test_an_exact_name_comes_before_any_wildcard_and_more_letters_before_fewer() -> None:
    ordered = sorted(["*", "edge-01", "edge-*", "a", "e*1", "a-very-long-pattern-*", "**"], key=specificity)
    assert ordered == ["*", "**", "e*1", "edge-*", "a-very-long-pattern-*", "a", "edge-01"]


@given(PATTERNS, PATTERNS)
def test_two_patterns_overlap_when_and_only_when_some_name_fits_both(one: str, other: str) -> None:
    assert overlap(one, other) is any(matches(one, name) and matches(other, name) for name in NAMES)


@pytest.mark.parametrize(
    ("one", "other"),
    [("edge-*", "*-01"), ("EDGE-01", "edge-*"), ("*", ""), ("a*", "*b"), ("contoso/*", "*/*")],
)
def test_patterns_that_meet(one: str, other: str) -> None:
    assert overlap(one, other)
    assert overlap(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [("edge-*", "lab-*"), ("a", "b"), ("a*b", "a*c"), ("", "a"), ("a", "a*a"), ("contoso/*", "fabrikam/*")],
)
def test_patterns_that_do_not_meet(one: str, other: str) -> None:
    assert not overlap(one, other)
    assert not overlap(other, one)


def test_long_patterns_are_compared_quickly() -> None:
    assert not overlap("*a" * 40, "*a" * 39 + "b")
