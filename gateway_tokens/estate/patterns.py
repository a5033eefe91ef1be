"""Patterns of names: what fits, which is more literal, and whether two meet."""

from __future__ import annotations

from fnmatch import fnmatchcase

# fnmatch knows two more wildcards, which mean themselves here.
_LITERAL = str.maketrans({"[": "[[]", "?": "[?]"})


def matches(pattern: str, name: str) -> bool:
    """Whether the whole name fits the pattern."""
    if "*" not in pattern:
        return pattern.casefold() == name.casefold()
    return fnmatchcase(name.casefold(), pattern.casefold().translate(_LITERAL))


def specificity(pattern: str) -> tuple[bool, int]:
    """Orders patterns: an exact name before any wildcard, then by the number of literal characters."""
    return "*" not in pattern, len(pattern) - pattern.count("*")


def overlap(one: str, other: str) -> bool:
    """Whether some name fits both patterns: two with wildcards meet unless their first or last letters differ."""
    one, other = one.casefold(), other.casefold()
    if "*" not in one:
        return matches(other, one)
    if "*" not in other:
        return matches(one, other)
    (first, *_, last), (begin, *_, end) = one.split("*"), other.split("*")
    begins = first.startswith(begin) or begin.startswith(first)
    return begins and (last.endswith(end) or end.endswith(last))
