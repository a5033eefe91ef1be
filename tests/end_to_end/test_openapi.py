"""docs/openapi.yaml: valid, complete, and true of every answer of the running app."""

import copy
import json
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from emulator.faults import Fault
from gateway_tokens import parsing as documents
from gateway_tokens import tokens as model
from gateway_tokens.formats import TokenFormat
from gateway_tokens.http.requests import FORMS
from gateway_tokens.renewal import keys
from gateway_tokens.renewal.rows import Action, Outcome
from gateway_tokens.tokens import KeyType
from tests.http_calls import ROUTES
from tests.served_app import DOCUMENT, KEY, OPERATIONS, ROOT, Served, served_app

PROBLEM = "application/problem+json"
# Left out, since they are not meaningful here:
# - positive_data_acceptance: a date that fits the schema may still be in the past, and a name belong to nobody;
# - ignored_auth, unsupported_method, missing_required_header: the host's own business, before the app is called.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
]
KNOWN = {"service": "contoso", "gatewayId": "edge-01", "run": "one"}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with served_app() as app:
        # Here every row is well: a server error would be a defect.
        app.emulator.azure.faults.clear()
        yield app


def parts(part: object) -> Iterator[dict[str, Any]]:
    """Every object within a part of the document, the part included."""
    if isinstance(part, dict):
        yield part
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from parts(each)


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    """The part, or the component that it refers to."""
    if "$ref" not in part:
        return part
    _, _, kind, name = part["$ref"].split("/")
    component: dict[str, Any] = DOCUMENT["components"][kind][name]
    return component


def closed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with every object closed, so that what an answer has beyond its description is found."""
    whole = copy.deepcopy(document)
    for part in parts(whole):
        if part.get("type") == "object" and "properties" in part:
            part["additionalProperties"] = False
    return whole


def test_the_description_is_valid_openapi_of_this_version() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    assert DOCUMENT["openapi"].startswith("3.1")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert DOCUMENT["info"]["version"] == project["version"]


def test_every_route_is_described_and_everything_described_is_a_route() -> None:
    routes = {
        (f"/{path}".replace("{format}", form), method.lower())
        for method, path in map(str.split, ROUTES.values())
        for form in TokenFormat
    }
    assert {(path, method) for path, method, _ in OPERATIONS} == routes


def test_every_component_is_used_and_every_reference_leads_somewhere() -> None:
    references = {part["$ref"] for part in parts(DOCUMENT) if "$ref" in part}
    components = {
        f"#/components/{kind}/{name}"
        for kind, named in DOCUMENT["components"].items()
        if kind != "securitySchemes"
        for name in named
    }
    assert references == components


def test_every_operation_has_a_name_texts_one_kind_of_success_and_problem_documents_for_the_rest() -> None:
    names = [operation["operationId"] for *_, operation in OPERATIONS]
    assert len(set(names)) == len(names)
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    for name, (*_, operation) in zip(names, OPERATIONS, strict=True):
        assert name.isidentifier()
        assert operation["summary"]
        assert operation["description"]
        assert set(operation["tags"]) <= tags
        for status, response in operation["responses"].items():
            content = list(resolved(response).get("content", {}))
            if status == "401":  # the host's own refusals have no body, and generated clients would read one
                assert content == []
            elif status.startswith("2") or (name, status) == ("getHealth", "503"):
                assert len(content) == 1
                assert content != [PROBLEM]
            else:
                assert content == [PROBLEM]


def test_no_schema_has_a_default_and_every_body_has_a_named_schema_and_an_example_that_fits() -> None:
    components = DOCUMENT["components"]
    assert [part for part in parts(components["schemas"]) if "default" in part] == []
    bodies = [
        media
        for kind in ("responses", "requestBodies")
        for named in components[kind].values()
        for media in named.get("content", {}).values()
    ]
    assert all(set(body) == {"schema", "example"} and set(body["schema"]) == {"$ref"} for body in bodies)
    examples = [(part["schema"], part["example"]) for part in parts(components) if "example" in part]
    examples += [(part, value) for part in parts(components) for value in part.get("examples", ())]
    assert len(examples) > 20
    for schema, value in examples:
        Draft202012Validator(closed({**schema, "components": components})).validate(value)


def test_answers_have_all_their_members_but_for_these() -> None:
    optional = {
        name: set(schema["properties"]) - set(schema.get("required", ()))
        for name, schema in DOCUMENT["components"]["schemas"].items()
        if "properties" in schema
    }
    assert {name: members for name, members in optional.items() if members} == {
        "TokenRequest": {"keyType", "expiry", "lifetime", "stable"},
        "RunWish": {"gateways", "force", "expiresBefore"},
        "RevocationWish": {"immediately", "dryRun"},
        "SecretMetadata": {"namespace"},
        "Problem": {"faults", "azure", "report"},
        "AzureAnswer": {"message", "details"},
        "Health": {"services"},
        "HealthProblem": {"detail"},
    }


def test_names_and_patterns_are_those_of_the_code() -> None:
    schemas, parameters = DOCUMENT["components"]["schemas"], DOCUMENT["components"]["parameters"]
    for kinds in (KeyType, Action, Outcome, keys.Phase):
        assert schemas[kinds.__name__]["enum"] == list(kinds)
    patterns = {name[0].upper() + name[1:]: pattern for name, (pattern, _) in FORMS.items()}
    patterns["Service"] = model.SERVICE_NAME  # without its length, which stands beside it
    assert {name: parameters[name]["schema"]["pattern"] for name in patterns} == patterns
    assert schemas["TokenRequest"]["properties"]["lifetime"]["pattern"] == documents.DURATION


DETAILS = [{"target": "expiry", "message": "No."}]
REFUSED = json.dumps({"error": {"code": "ValidationError", "message": "No.", "details": DETAILS}})
INVALID = {"host": "arm", "status": 400, "headers": {"Content-Type": "application/json"}, "body": REFUSED}
THROTTLED = {"host": "arm", "status": 429, "headers": {"Retry-After": "3600"}}
UNWRITABLE = {"host": "vault", "method": "PUT", "status": 403}
LEAK = {"keyType": "primary", "reason": "a leak"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "action", "gateway", "body", "fault"),
    [
        (400, "generateToken", "edge-01", {}, INVALID),
        (401, "generateToken", "edge-01", {}, {}),
        (404, "generateToken", "edge-99", {}, {}),
        (409, "renew", "lab-01", {}, {}),
        (502, "generateToken", "edge-01", {}, {"host": "arm", "status": 418}),
        (502, "renew", "edge-01", {}, {"host": "vault", "status": 403}),
        (503, "generateToken", "edge-01", {}, THROTTLED),
        (503, "revoke", "edge-01", LEAK, UNWRITABLE),
        (400, "revoke", "edge-01", {"keyType": "third", "reason": ""}, {}),
    ],
)
def test_every_refusal_is_as_described(
    served: Served, *, status: int, action: str, gateway: str, body: dict[str, Any], fault: dict[str, Any]
) -> None:
    path = f"/services/{{service}}/gateways/{{gatewayId}}/{action}"
    operation = schemathesis.openapi.from_dict(closed(DOCUMENT))[path]["POST"]
    sent: dict[str, Any] = {"body": body, "media_type": "application/json"} if body else {}
    case = operation.Case(path_parameters={"service": "contoso", "gatewayId": gateway}, **sent)
    if fault:
        served.emulator.azure.faults.add(Fault(times=None, **fault))
    key = "another-key" if status == 401 else KEY
    answer = case.call(base_url=served.url, headers={"x-functions-key": key})
    served.emulator.azure.faults.clear()
    assert answer.status_code == status
    case.validate_response(answer, checks=[check for check in CHECKS if check is not not_a_server_error])


# The app runs in this process and draws its jitter from `random` while Hypothesis makes a case.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.slow
@pytest.mark.parametrize("examples", [5, pytest.param(25, marks=pytest.mark.prove)])
@pytest.mark.parametrize("names", [{}, KNOWN], ids=["any names", "known names"])
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: str(mode.value))
def test_every_answer_is_as_described_and_none_is_a_server_error(
    served: Served, mode: schemathesis.GenerationMode, names: dict[str, str], examples: int
) -> None:
    described = closed(DOCUMENT)
    # Every call is to be let in: Schemathesis would make up keys.
    del described["security"]
    positive = mode is schemathesis.GenerationMode.POSITIVE
    operations = []
    for described_operation in schemathesis.openapi.from_dict(described).get_all_operations():
        assert isinstance(described_operation, Ok)
        operation = described_operation.ok()
        # Some operations have nothing that can be asked wrongly.
        if positive or list(operation.body) or (list(operation.path_parameters) and not names):
            known = {name: value for name, value in names.items() if f"{{{name}}}" in operation.path} or None
            operations.append(operation.as_strategy(generation_mode=mode, path_parameters=known))

    # No shrinking: a failure names its request as it is, and the run stays short.
    @given(data=st.data())
    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def try_out(data: st.DataObject) -> None:
        for operation in operations:
            case = data.draw(operation)
            answer = case.call(base_url=served.url, session=session, headers={"x-functions-key": KEY})
            # A 401 or 404 that is no problem document is the host's: a made-up key, a path that is no route.
            if answer.status_code not in {401, 404} or PROBLEM in answer.headers.get("content-type", ""):
                case.validate_response(answer, checks=CHECKS)

    with requests.Session() as session:
        try_out()
