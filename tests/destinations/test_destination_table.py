"""The table of destinations: complete, and free until used."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway_tokens.destinations import DESTINATIONS
from gateway_tokens.errors import ROLES
from gateway_tokens.estate.destination import DestinationSettings
from tests.destinations.destination_places import KINDS

ROOT = Path(__file__).resolve().parents[2]


def read(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


@pytest.mark.parametrize("kind", DestinationSettings.kinds)
def test_a_kind_of_destination_is_complete(kind: str) -> None:
    settings = DestinationSettings.kinds[kind]
    role, schema = getattr(settings, "role", "(none)"), f'"{settings.__name__}": {{'
    there = {
        "a line in the table": settings in DESTINATIONS,
        "an entry in the contract suite": kind in KINDS,
        "its part of the JSON Schema": schema in read("docs/gateway-tokens.schema.json"),
        "its name in README.md": f"`{kind}`" in read("README.md"),
        "a section in docs/settings.md": f"### `{kind}`" in read("docs/settings.md"),
        "a recipe": f'"kind": "{kind}"' in read("docs/recipes.md"),
        "its type in infra/": f"kind: '{kind}'" in read("infra/estate.bicep"),
        "its role in infra/": f"'{role}'" in read("infra/rights.bicep"),
        "its case in infra/": f"kind: '{kind}'" in read("tests/infra/cases/every-destination.bicepparam"),
        "the actions of its role": role in ROLES,
    }
    assert [name for name, is_there in there.items() if not is_there] == []


def test_no_sdk_of_a_kind_is_loaded_before_a_destination_is_opened() -> None:
    sdks = ("azure.keyvault", "azure.mgmt", "azure.identity", "azure.storage", "yaml")
    program = (
        f"import sys, gateway_tokens.destinations; print([m for m in sys.modules if m.startswith({sdks})])"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_a_document_cannot_be_read_before_the_kinds_are_known() -> None:
    program = "from gateway_tokens.estate.faults import read_estate; read_estate('{\"services\": {}}')"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "import gateway_tokens.destinations first" in shown.stderr
