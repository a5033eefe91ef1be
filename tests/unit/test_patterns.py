"""Name patterns: `*` fits any run of characters, case does not count, and two patterns meet or do not."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from gateway_tokens.access import matches, overlap, specificity

ALPHABET = "ab"
# Names long enough that two patterns of at most four characters that meet at all meet in one of them.
NAMES = ["".join(letters) for size in range(9) for letters in product(ALPHABET, repeat=size)]
PATTERNS = st.text(alphabet="ab*", max_size=4)


def test_a_pattern_fits_the_whole_name_in_any_case() -> None:
    for pattern, name in (("edge-01", "EDGE-01"), ("EDGE-*", "edge-"), ("*", ""), ("a*", "a\nb")):
        assert matches(pattern, name)
    for pattern, name in (("edge-01", "edge-011"), ("edge-01", "edge-01\n"), ("edge-*", "xedge-1")):
        assert not matches(pattern, name)


def test_no_character_but_the_star_is_special() -> None:
    names = {"a.b": "axb", "a+": "aa", "[ab]": "a", "[ab]*": "ab", "?*": "ab"}
    for pattern, name in names.items():
        assert not matches(pattern, name)
        assert matches(pattern, pattern.replace("*", "x"))


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
    in_order = ["*", "**", "e*1", "edge-*", "a-very-long-pattern-*", "a", "edge-01"]
    assert sorted(sorted(in_order), key=specificity) == in_order


@given(PATTERNS, PATTERNS)
def test_two_patterns_overlap_when_and_only_when_some_name_fits_both_in_any_case(
    pattern: str, other: str
) -> None:
    meet = any(matches(pattern, name) and matches(other, name) for name in NAMES)
    assert (
        overlap(pattern, other) is overlap(pattern.upper(), other) is overlap(pattern, other.upper()) is meet
    )


def test_patterns_of_many_stars_are_compared_quickly() -> None:
    # Backtracking would need longer than the age of the universe here.
    assert not matches("*a" * 30 + "*b", "a" * 80)
    assert not overlap("*a" * 40, "*a" * 39 + "b")
