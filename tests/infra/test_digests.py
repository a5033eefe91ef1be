"""The digests: one for each case, short, so made that a change of a right cannot hide; and the tool that writes them.

CI runs `make infra` with the real compiler.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.infra.digests import DIGESTS, INFRA, OF_TEMPLATES, ROOT, accepted, cases, read, text_of
from tools.bicep import Bicep, CompilerFailed, Evaluated
from tools.digest import digest, sections

GROUP = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/contoso"
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-app"
ROLE_ID = f"{GROUP}/providers/Microsoft.Authorization/roleDefinitions/0f0f0f0f-0000-4000-8000-000000000000"
OFFICER = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7"
LATER = "[guid(reference('/x/y', '1').principalId)]"
NAME = "ab12cd34-0000-5000-8000-000000000000"
ROLE = {
    "id": ROLE_ID,
    "type": "Microsoft.Authorization/roleDefinitions",
    "name": ROLE_ID[-36:],
    "properties": {
        "roleName": "Writer (abc)",
        "permissions": [{"actions": ["x/read"], "dataActions": ["x/write"]}],
    },
}
GRANT: dict[str, Any] = {
    "id": f"{VAULT}/providers/Microsoft.Authorization/roleAssignments/{NAME}",
    "type": "Microsoft.Authorization/roleAssignments",
    "name": NAME,
    "properties": {"roleDefinitionId": ROLE_ID, "principalId": f"[reference('{IDENTITY}', '1').principalId]"},
}


def digested(*resources: dict[str, Any]) -> dict[str, list[str]]:
    return sections(digest("a case", Evaluated(list(resources), {}, "")))


def test_every_case_has_a_digest_and_every_digest_a_case() -> None:
    assert {file.stem for file in DIGESTS.glob("*.txt")} == set(cases()) | OF_TEMPLATES


def test_every_digest_is_short_enough_to_be_read() -> None:
    lengths = {case: len(text_of(case).splitlines()) - len(read(case).get("queries", [])) for case in cases()}
    assert {case: length for case, length in lengths.items() if length > 62} == {}


def test_the_name_of_every_assignment_is_known_before_a_deployment() -> None:
    assert [case for case in accepted() if "NAME NOT KNOWN BEFOREHAND" in text_of(case)] == []


def changed(**properties: str) -> dict[str, Any]:
    return GRANT | {"properties": GRANT["properties"] | properties}


@pytest.mark.parametrize(
    ("grant", "role", "line"),
    [
        (GRANT, "Writer", "[ab12cd34]"),
        (GRANT | {"name": LATER}, "Writer", "NAME NOT KNOWN BEFOREHAND"),
        (changed(roleDefinitionId=f"/x/{OFFICER}"), OFFICER, "[ab12cd34]"),
        (changed(principalId="22222222"), "Writer", "[ab12cd34] to 22222222"),
    ],
    ids=["by role and scope", "a name that only Azure knows", "another role", "to somebody else"],
)
def test_a_grant_is_told(grant: dict[str, Any], role: str, line: str) -> None:
    assert digested(ROLE, grant)["grants"] == [f"{role} -> 11111111/rg/vaults/contoso {line}"]


def test_a_resource_of_an_unknown_type_is_listed_by_name_and_a_custom_role_with_what_it_allows() -> None:
    thing = {"id": "/x", "type": "Microsoft.New/things", "name": "one"}
    assert digested(thing, ROLE) == {
        "roles": ["Writer: x/read data:x/write in 11111111/rg"],
        "resources": ["things one"],
    }


def test_the_settings_document_is_told_in_the_public_cloud() -> None:
    text = '{"services":{"a":{"resourceId":"/x","gateways":{"*":{"renew":false,"note":"it\'\'s .v"}}}},"access":[]}'
    value = f"[replace('{text}', '.v', environment().suffixes.keyvaultDns)]"
    settings = {
        "id": "/x",
        "type": "Microsoft.Web/sites/config",
        "name": "app/appsettings",
        "properties": {"GATEWAY_TOKENS": value, "A_ONE": "1", "A_TWO": "2"},
    }
    assert digested(settings)["settings"] == [
        'GATEWAY_TOKENS services.a "/x"',
        'GATEWAY_TOKENS services.a.gateways.* {"renew": false, "note": "it\'s .vault.azure.net"}',
        "A_ONE=1 | A_TWO=2",
    ]


def test_a_refusal_is_told_in_its_own_words() -> None:
    text = digest("a case", Evaluated([], {}, "The estate is refused:\none\ntwo"))
    assert sections(text) == {"refused": ["The estate is refused:", "one", "two"]}
    assert text.startswith("# a case\n")


REFUSAL = (
    "Template snapshotting could not be completed for the following reason: 'The template variable 'sound' is not "
    'valid: name is "x".\nIt must be longer. Please see https://aka.ms/arm-functions for usage details.\'.'
)


@pytest.fixture
def case(tmp_path: Path) -> Path:
    (tmp_path / "main.bicep").write_text("targetScope = 'subscription'\n")
    (tmp_path / "case.bicepparam").write_text("// what it is\nusing 'main.bicep'\n")
    return tmp_path / "case.bicepparam"


def failing(folder: Path, message: str) -> Bicep:
    """A compiler that ends with this."""
    program = folder / "bicep"
    program.write_text(f"#!{sys.executable}\nimport sys\nsys.exit({message!r})\n")
    program.chmod(0o755)
    return Bicep(program)


def test_a_refusal_is_told_without_the_compilers_own_words(case: Path, tmp_path: Path) -> None:
    assert failing(tmp_path, REFUSAL).evaluate(case).refusal == 'name is "x".\nIt must be longer'


def test_any_other_failure_of_the_compiler_is_an_error_with_its_text(case: Path, tmp_path: Path) -> None:
    with pytest.raises(CompilerFailed, match=r"case\.bicepparam: Error BCP036"):
        failing(tmp_path, "Error BCP036: of type 30").evaluate(case)


def test_without_a_compiler_it_says_how_to_name_one() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "BICEP"}
    command = [sys.executable, "-m", "tools.infra"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Set BICEP to the path of the Bicep compiler")


def test_the_linter_treats_what_hides_rights_as_an_error() -> None:
    rules = json.loads((INFRA / "bicepconfig.json").read_text())["analyzers"]["core"]["rules"]
    assert rules["what-if-short-circuiting"] == {"level": "error"}
