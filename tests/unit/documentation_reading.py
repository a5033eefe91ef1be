"""Reads the project's Markdown: sections, tables, snippets, links."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^```(?P<language>[a-z]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(?P<level>##+) (?P<title>.+)$", re.MULTILINE)
_CODE = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")


def read_documents() -> dict[str, str]:
    """Every document by its path from the root."""
    paths = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in paths}


def snippets(text: str, language: str) -> list[str]:
    """The texts of the fenced blocks in a language."""
    return [found["text"] for found in _FENCE.finditer(text) if found["language"] == language]


def prose(text: str) -> str:
    """The text less its fenced blocks."""
    return _FENCE.sub("", text)


def sections(text: str) -> dict[str, str]:
    """Each section's text under its title, without the sections below it."""
    headings = [found for found in _HEADING.finditer(text) if not _in_fence(text, found.start())]
    ends = [*(found.start() for found in headings[1:]), len(text)]
    return {found["title"]: text[found.end() : end] for found, end in zip(headings, ends, strict=True)}


def section(text: str, title: str) -> str:
    """The text of the section with that title; empty when there is none."""
    return sections(text).get(title, "")


def _in_fence(text: str, position: int) -> bool:
    return any(found.start() < position < found.end() for found in _FENCE.finditer(text))


def tables(text: str) -> Iterator[list[dict[str, str]]]:
    """Each table as rows, each row by the names of its columns."""
    for block in re.findall(r"(?:^\|.*\|\n)+", prose(text), re.MULTILINE):
        head, _, *body = [_cells(line) for line in block.splitlines()]
        yield [dict(zip(head, row, strict=True)) for row in body]


def rows(text: str, first_column: str) -> list[dict[str, str]]:
    """The rows of all tables whose first column has that name."""
    return [row for table in tables(text) for row in table if next(iter(row)) == first_column]


def names(text: str, first_column: str) -> list[str]:
    """What stands as code in the first column of those tables, in order."""
    return [name for row in rows(text, first_column) for name in codes(row[first_column])]


def codes(cell: str) -> list[str]:
    """What stands as code in a cell."""
    return _CODE.findall(cell)


def links(text: str) -> list[str]:
    """The targets of the links."""
    return [found["target"] for found in _LINK.finditer(prose(text))]


def anchors(text: str) -> set[str]:
    """The names under which a document's headings can be linked to."""
    titles = [found["title"] for found in _HEADING.finditer(prose(text))]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def difference(what: str, said: set[str], true: set[str]) -> list[str]:
    """What a document says too much and what it leaves out."""
    return [
        *(f"{what}: {name} is not in the code" for name in sorted(said - true)),
        *(f"{what}: {name} is not documented" for name in sorted(true - said)),
    ]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split(" | ")]
