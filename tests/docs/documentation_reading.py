"""Reads the project's Markdown: sections, tables, snippets, links."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^```(?P<language>[a-z]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(?P<level>##+) (?P<title>.+)$", re.MULTILINE)


def read_documents() -> dict[str, str]:
    """Every document by its path from the root."""
    paths = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "infra").glob("*.md")]
    return {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in paths}


def snippets(text: str, language: str) -> list[str]:
    """The texts of the fenced blocks in a language."""
    return [match["text"] for match in _FENCE.finditer(text) if match["language"] == language]


def prose(text: str) -> str:
    """The text less its fenced blocks."""
    return _FENCE.sub("", text)


def sections(text: str) -> dict[str, str]:
    """Each section's text under its title, without the sections below it."""
    fences = [match.span() for match in _FENCE.finditer(text)]
    headings = [
        match
        for match in _HEADING.finditer(text)
        if not any(start < match.start() < end for start, end in fences)
    ]
    ends = [*(match.start() for match in headings[1:]), len(text)]
    return {match["title"]: text[match.end() : end] for match, end in zip(headings, ends, strict=True)}


def rows(text: str, first_column: str) -> list[dict[str, str]]:
    """The rows of all tables whose first column has that name, each by the names of its columns."""
    table_rows = []
    for table in re.findall(r"(?:^\|.*\|\n)+", prose(text), re.MULTILINE):
        head, _, *body = [_cells(line) for line in table.splitlines()]
        if head[0] == first_column:
            table_rows += [dict(zip(head, row, strict=True)) for row in body]
    return table_rows


def names(text: str, first_column: str) -> list[str]:
    """What stands as code in the first column of those tables, in order."""
    return [name for row in rows(text, first_column) for name in codes(row[first_column])]


def codes(cell: str) -> list[str]:
    """What stands as code in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def links(text: str) -> list[str]:
    """The targets of the links."""
    return re.findall(r"\]\(([^)\s]+)\)", prose(text))


def anchors(text: str) -> set[str]:
    """The names under which a document's headings can be linked to."""
    titles = [match["title"] for match in _HEADING.finditer(prose(text))]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split(" | ")]
