"""The JSON Schema that editors use says what the code reads."""

import copy
import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from tests.unit.samples import DESIGN_EXAMPLE, document, faults_of
from tools.schema import PATH, schema, text


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(PATH.read_text()))


def test_the_schema_in_the_repository_is_current() -> None:
    assert PATH.read_text() == text(), "run `make schema`"


def test_the_schema_is_a_schema() -> None:
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


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"services": {"a": {}}},
        document(any_gateway={"lifetime": "P1M"}),
        document(any_gateway={"lifetime": 30}),
        document(any_gateway={"keyType": "tertiary"}),
        document(any_gateway={"destinations": [{"kind": "keyVault"}]}),
        document(any_gateway={"destinations": [{"kind": "keyVault", "vault": "http://a"}]}),
        document(any_gateway={"destinations": [{"kind": "ftp"}]}),
        document(**{"a b": {}}),
        {**document(), "access": [{"caller": {"appRole": "r"}, "gateways": ["contoso/*"], "allow": ["all"]}]},
        {**document(), "access": [{"caller": {"appRole": "r"}, "gateways": [], "allow": ["issue"]}]},
    ],
)
def test_the_schema_refuses_faults_that_editors_can_see(
    validator: Draft202012Validator, broken: object
) -> None:
    assert not validator.is_valid(broken)
    assert faults_of(broken)


def patterns(part: object) -> list[str]:
    if isinstance(part, list):
        return [pattern for each in part for pattern in patterns(each)]
    if not isinstance(part, dict):
        return []
    own = [part["pattern"]] if isinstance(part.get("pattern"), str) else []
    return own + list(part.get("patternProperties", {})) + patterns(list(part.values()))


def test_no_pattern_uses_syntax_that_only_python_knows() -> None:
    # Editors compile them as ECMA-262: no inline flags, named groups in this form, \A, \Z or atomic groups.
    found = patterns(schema())
    assert found
    assert [pattern for pattern in found if re.search(r"\(\?([aiLmsux]|P|>)|\\[AZ]", pattern)] == []


def test_the_schema_refuses_a_name_that_breaks_its_pattern(validator: Draft202012Validator) -> None:
    vault, kubernetes = (
        {"kind": "keyVault", "vault": "https://v"},
        {"kind": "kubernetes", "server": "https://k"},
    )
    for sound, faulty in (
        (vault, {**vault, "secret": "{gateway}_token"}),
        (kubernetes, {**kubernetes, "secret": "{gateway}_token"}),
        (kubernetes, {**kubernetes, "restart": {"name": "Edge_01"}}),
        ({**kubernetes, "restart": [{"name": "edge-{gateway}"}]}, {**kubernetes, "restart": []}),
        (kubernetes, {"kind": "kubernetes", "cluster": "/subscriptions/1"}),
    ):
        assert validator.is_valid(document(any_gateway={"destinations": [sound]}))
        assert not validator.is_valid(document(any_gateway={"destinations": [faulty]}))
