"""Name patterns: literal text with `*` for any run of characters; case is ignored, as in Azure's names."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache

# fnmatch knows two more wildcards, which mean themselves here.
_LITERAL = str.maketrans({"[": "[[]", "?": "[?]"})


def matches(pattern: str, name: str) -> bool:
    """Whether the whole name fits the pattern."""
    return fnmatchcase(name.casefold(), pattern.casefold().translate(_LITERAL))


def specificity(pattern: str) -> tuple[bool, int]:
    """Orders patterns: an exact name before any wildcard, then by the number of literal characters."""
    return "*" not in pattern, len(pattern) - pattern.count("*")


def overlap(one: str, other: str) -> bool:
    """Whether some name fits both patterns."""
    return _overlap(one.casefold(), other.casefold())


@lru_cache(maxsize=4096)
def _overlap(one: str, other: str) -> bool:
    if not one or not other:
        return not (one or other).strip("*")
    if one[0] == "*":
        return _overlap(one[1:], other) or _overlap(one, other[1:])
    if other[0] == "*":
        return _overlap(one, other[1:]) or _overlap(one[1:], other)
    return one[0] == other[0] and _overlap(one[1:], other[1:])
