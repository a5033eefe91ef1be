"""What the real compiler evaluated, as the repository keeps it: `make infra` writes the digests that this module reads."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from tools.digest import sections

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
CASES = ROOT / "tests" / "infra" / "cases"
DIGESTS = ROOT / "tests" / "infra" / "digests"
# Digests of templates, not of parameter files.
OF_TEMPLATES = {"interface", "estate-type"}


class Role(NamedTuple):
    """What a custom role allows."""

    actions: frozenset[str]
    data_actions: frozenset[str]


def cases() -> list[str]:
    """The names of all cases: parameter files of the tests, and the examples."""
    files = [*CASES.glob("*.bicepparam"), *(INFRA / "examples").rglob("*.bicepparam")]
    return sorted(file.stem for file in files)


def text_of(case: str) -> str:
    """A digest as it is stored."""
    return (DIGESTS / f"{case}.txt").read_text(encoding="utf-8")


def read(case: str) -> dict[str, list[str]]:
    """The lines of a digest by section."""
    return sections(text_of(case))


def accepted() -> list[str]:
    """The cases that are not refused."""
    return [case for case in cases() if "refused" not in read(case)]


def roles(case: str) -> dict[str, Role]:
    """The custom roles that a deployment defines, by title."""
    values = {}
    for line in read(case).get("roles", []):
        title, allowed, _ = re.split(r": | in ", line)
        words = allowed.split()
        values[title] = Role(
            actions=frozenset(word for word in words if not word.startswith("data:")),
            data_actions=frozenset(word.removeprefix("data:") for word in words if word.startswith("data:")),
        )
    return values


def grants(case: str) -> list[tuple[str, str]]:
    """Each role with the scope that it is granted at."""
    matches = (re.fullmatch(r"(.+?) -> (\S+) .*", line) for line in read(case).get("grants", []))
    return [(match[1], match[2]) for match in matches if match]


def settings(case: str) -> dict[str, str]:
    """The app settings of a deployment. What is known in Azure alone keeps its brackets."""
    lines = [line for line in read(case)["settings"] if not line.startswith("GATEWAY_TOKENS ")]
    pairs = (part.partition("=") for line in lines for part in line.split(" | "))
    return {name: value for name, _, value in pairs} | {"GATEWAY_TOKENS": json.dumps(document(case))}


def document(case: str) -> dict[str, Any]:
    """The settings document of a deployment, put together from its lines."""
    whole: dict[str, Any] = {"services": {}, "access": []}
    for line in read(case)["settings"]:
        name, _, value = line.partition(" ")
        path, _, text = value.partition(" ")
        match path.split(".", 3) if name == "GATEWAY_TOKENS" else ():
            case ["services", service]:
                whole["services"][service] = {"resourceId": json.loads(text), "gateways": {}}
            case ["services", service, "defaults"]:
                whole["services"][service]["defaults"] = json.loads(text)
            case ["services", service, _, pattern]:
                whole["services"][service]["gateways"][pattern] = json.loads(text)
            case ["clusters", cluster]:
                whole.setdefault("clusters", {})[cluster] = json.loads(text)
            case ["access"]:
                whole["access"].append(json.loads(text))
            case [shared]:
                whole[shared] = json.loads(text)
    return whole


def alert_rules(case: str) -> dict[str, str]:
    """The severity of each alert rule of a whole deployment, by name."""
    lines = [line for line in read(case)["resources"] if line.startswith("alertRules | ")]
    return dict(rule.rsplit("=", 1) for line in lines for rule in line.split(" | ")[1:])


def queries(case: str) -> dict[str, str]:
    """The queries of alert rules or of a workbook, by name."""
    values: dict[str, str] = {}
    for line in read(case)["queries"]:
        if line.startswith("  "):
            values[next(reversed(values))] += f"{line.strip()}\n"
        else:
            values[line.partition(": {")[0]] = ""
    return {name: query for name, query in values.items() if query}


def resources(case: str, kind: str) -> dict[str, dict[str, str]]:
    """The resources of a type by name, each with what the digest tells of it."""
    sections = {}
    for line in read(case).get("resources", []):
        first, *values = line.split(" | ")
        if first.startswith(f"{kind} "):
            sections[first.partition(" ")[2]] = dict(part.split("=", 1) for part in values if "=" in part)
    return sections
