"""The JSON Schema that editors use says what the code reads."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from tests.docs.documentation_reading import read_documents, snippets
from tests.docs.documentation_recipes import whole_document
from tests.samples import DESIGN_EXAMPLE, SERVICE, document, faults_of
from tools.schema import PATH, schema, text


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(PATH.read_text()))


def test_the_schema_in_the_repository_is_current() -> None:
    assert PATH.read_text() == text(), "run `make schema`"
    Draft202012Validator.check_schema(schema())


def test_the_schema_accepts_the_designs_example_with_its_address(validator: Draft202012Validator) -> None:
    validator.validate({"$schema": "./gateway-tokens.schema.json", **DESIGN_EXAMPLE})


def test_the_schema_refuses_an_unknown_key_wherever_the_code_does(validator: Draft202012Validator) -> None:
    rule = ("services", "contoso", "gateways", "*")
    destination = (*rule, "destinations", 0)
    for path in ((), rule[:2], rule, destination, ("access", 0), ("access", 0, "caller")):
        broken = copy.deepcopy(DESIGN_EXAMPLE)
        part: Any = broken
        for name in path:
            part = part[name]
        part["unknwon"] = 1
        assert not validator.is_valid(broken)
        assert faults_of(broken)


def test_the_schema_refuses_faults_that_editors_can_see(validator: Draft202012Validator) -> None:
    rules: list[dict[str, Any]] = [
        {"lifetime": "P1M"},
        {"lifetime": 30},
        {"keyType": "tertiary"},
        *({"destinations": [d]} for d in ({"kind": "keyVault"}, {"kind": "keyVault", "vault": "http://a"})),
        {"destinations": [{"kind": "ftp"}]},
    ]
    access = {"caller": {"appRole": "r"}, "gateways": ["contoso/*"], "allow": ["issue"]}
    for broken in (
        {},
        {"services": {"a": {}}},
        document(**{"a b": {}}),
        *(document(any_gateway=rule) for rule in rules),
        *(
            {**document(), "access": [{**access, name: v}]}
            for name, v in (("allow", ["all"]), ("gateways", []))
        ),
    ):
        assert not validator.is_valid(broken)
        assert faults_of(broken)


def test_the_schema_refuses_a_name_that_breaks_its_pattern(validator: Draft202012Validator) -> None:
    vault, kubernetes = (
        {"kind": "keyVault", "vault": "https://v"},
        {"kind": "kubernetes", "server": "https://k"},
    )
    for sound, faulty in (
        (vault, {**vault, "secret": "{gateway}_token"}),
        (kubernetes, {**kubernetes, "secret": "{gateway}_token"}),
        (kubernetes, {**kubernetes, "restart": {"name": "Edge_01"}}),
        (kubernetes, {**kubernetes, "namespace": "-{gateway}"}),
        (kubernetes, {**kubernetes, "secret": "{gateway}..a"}),
        ({**kubernetes, "restart": [{"name": "edge-{gateway}"}]}, {**kubernetes, "restart": []}),
        ({"kind": "kubernetes", "cluster": "plant"}, {"kind": "kubernetes", "cluster": "/subscriptions/1"}),
    ):
        assert validator.is_valid(document(any_gateway={"destinations": [sound]}))
        assert not validator.is_valid(document(any_gateway={"destinations": [faulty]}))


def test_the_schema_refuses_the_resource_id_of_something_else(validator: Draft202012Validator) -> None:
    for resource_id in (
        "contoso-apim",
        f"{SERVICE}/",
        SERVICE.replace("service", "gateway"),
        SERVICE + " ",
        SERVICE.replace("apim-rg", "{service}"),
    ):
        assert not validator.is_valid({"services": {"contoso": {"resourceId": resource_id}}})


def ecma_262(documents: list[object], folder: Path) -> str:
    """What a validator says of the documents that compiles patterns as editors do, and Python does not."""
    for number, value in enumerate(documents):
        (folder / f"{number}.json").write_text(json.dumps(value))
    command = [sys.executable, "-m", "check_jsonschema", "--schemafile", str(PATH)]
    return subprocess.run(
        [*command, *map(str, folder.glob("*.json"))], capture_output=True, text=True, check=False
    ).stdout


def test_every_example_of_the_documentation_passes_under_the_patterns_of_editors(tmp_path: Path) -> None:
    texts = [snippet for text in read_documents().values() for snippet in snippets(text, "json")]
    examples: list[object] = [whole_document(json.loads(text)) for text in texts]
    assert len(examples) >= 10
    assert ecma_262([*examples, DESIGN_EXAMPLE], tmp_path) == "ok -- validation done\n"
    broken = {"services": {}, "clusters": {"plant": {"server": "https://plant/{gatway}"}}}
    assert "does not match" in ecma_262([broken], tmp_path)


def test_no_pattern_means_another_thing_to_editors_than_to_the_app() -> None:
    # `\\w` and `\\d` are ASCII in ECMA-262 and Unicode in pydantic.
    text = json.dumps(schema())
    assert '"pattern": ' in text
    assert [word for word in (r"\\w", r"\\d", r"\\b", "(?i", "(?P") if word in text] == []
