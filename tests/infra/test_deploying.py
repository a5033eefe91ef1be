"""The deployment chapter: its example works, and the names it uses are those of the files."""

from __future__ import annotations

import json
import re

import pytest

from gateway_tokens.settings_faults import read_estate
from tests.infra.bicep_references import that_the_parameter_file_fits
from tests.infra.bicep_tree import INFRA, ROOT, declarations, read_sources
from tests.infra.bicep_values import call, functions_of, parameters_of

SOURCES = read_sources()
CHAPTER = (ROOT / "docs" / "deploying.md").read_text()
RIGHTS = (INFRA / "README.md").read_text()


def smallest_example() -> str:
    found = re.search(r"```bicep\n(.*?)```", CHAPTER, re.DOTALL)
    assert found
    return found.group(1).replace("<id>", "11111111-1111-1111-1111-111111111111")


def test_the_smallest_example_is_a_parameter_file_that_the_app_accepts() -> None:
    estate = parameters_of(smallest_example())["estate"]

    document = call(functions_of(SOURCES, "estate.bicep"), "settingsDocument", estate, ".vault.azure.net")

    assert that_the_parameter_file_fits(SOURCES, smallest_example()) == []
    assert read_estate(json.dumps(document)).services.keys() == {"contoso"}


@pytest.mark.parametrize("text", [CHAPTER, RIGHTS], ids=["docs/deploying.md", "infra/README.md"])
def test_every_parameter_and_output_named_exists(text: str) -> None:
    known = {d.name for d in declarations(SOURCES, "param", "output", "module")}
    known |= set(re.findall(r"^  (\w+):", SOURCES["types.bicep"] + SOURCES["estate.bicep"], re.MULTILINE))
    known |= {
        "getSecret",
        "setSecret",
        "requestedAccessTokenVersion",
        "accessTokenAcceptedVersion",
    }

    named = set(re.findall(r"`([a-z]+[A-Z]\w*)`", text))

    assert named
    assert named <= known


@pytest.mark.parametrize("name", ["deploying.md", "README.md"])
def test_every_file_linked_to_exists(name: str) -> None:
    folder, text = (ROOT / "docs", CHAPTER) if name == "deploying.md" else (INFRA, RIGHTS)

    linked = [target.split("#")[0] for target in re.findall(r"\]\(([^):]+)\)", text)]

    assert linked
    assert [target for target in linked if not (folder / target).exists()] == []
