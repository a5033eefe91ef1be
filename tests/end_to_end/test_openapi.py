"""The served description: valid, complete, and true of every answer."""

import asyncio
import json
import threading
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from emulator.host import Host
from emulator.server import Emulator
from gateway_tokens import wiring
from tests import estate

ROOT = Path(__file__).resolve().parents[2]
KEY = "sample-key"
PROBLEM = "application/problem+json"
# Left out, since they are not meaningful here:
# - positive_data_acceptance: a date that fits the schema may still be in the past, and a name belong to nobody;
# - negative_data_rejection: unknown query parameters are let pass, as ARM's own api-version must be;
# - ignored_auth, unsupported_method, missing_required_header: the host's own business, before the app is called.

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
KNOWN = {"service": "contoso", "gatewayId": "edge-01"}
OPEN = [{"caller": {"functionKey": True}, "gateways": ["contoso/*"], "allow": ["issue", "read", "renew"]}]


class Served(NamedTuple):
    """The app over loopback: its address under the prefix, its triggers, and the description it serves."""

    url: str
    triggers: list[dict[str, Any]]
    description: dict[str, Any]


@asynccontextmanager
async def serving(patch: pytest.MonkeyPatch) -> AsyncIterator[tuple[str, Host]]:
    """The app in the stand-in host, against the emulator."""
    async with Emulator() as emulator:
        estate.populate(emulator)
        patch.delenv("SIGN_IN", raising=False)
        for name, value in estate.environment(emulator, OPEN).items():
            patch.setenv(name, value)
        await wiring.forget()
        host = await Host.load(ROOT, key=KEY)
        try:
            yield await host.start(), host
        finally:
            await host.stop()
            await wiring.forget()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """The app in a thread of its own: the client that tries it out blocks."""
    started, done = threading.Event(), asyncio.Event()
    found: list[tuple[str, Host]] = []
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        with pytest.MonkeyPatch.context() as patch:
            async with serving(patch) as running:
                found.append(running)
                started.set()
                await done.wait()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        finally:
            started.set()
            loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    started.wait(30)
    url, host = found[0]
    asked = urllib.request.Request(f"{url}/api/openapi.json", headers={"x-functions-key": KEY})  # noqa: S310
    with urllib.request.urlopen(asked) as answer:  # noqa: S310 - our own address on loopback
        description = json.load(answer)
    yield Served(f"{url}/api", [dict(f.trigger) for f in host.functions.values()], description)
    loop.call_soon_threadsafe(done.set)
    thread.join(30)


def test_the_served_description_is_valid_openapi(served: Served) -> None:
    OpenAPIV31SpecValidator(served.description).validate()


def test_every_route_is_described_and_everything_described_is_a_route(served: Served) -> None:
    routes = {
        (f"/{trigger['route']}", str(getattr(method, "value", method)).upper())
        for trigger in served.triggers
        if trigger["type"] == "httpTrigger"
        for method in trigger["methods"]
    }
    verbs = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
    described = {
        (path, verb.upper())
        for path, item in served.description["paths"].items()
        for verb in verbs & set(item)
    }
    assert described == routes


def test_every_reference_within_the_description_leads_somewhere(served: Served) -> None:
    def references(part: object) -> Iterator[str]:
        if isinstance(part, dict):
            yield from (value for name, value in part.items() if name == "$ref")
            part = list(part.values())
        if isinstance(part, list):
            for each in part:
                yield from references(each)

    schemas = served.description["components"]["schemas"]
    assert {name.rpartition("/")[2] for name in references(served.description)} <= set(schemas)


def operations_of(schema: schemathesis.BaseSchema) -> list[schemathesis.APIOperation[Any, Any, Any, Any]]:
    return [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]


def can_be_asked_wrongly(
    operation: schemathesis.APIOperation[Any, Any, Any, Any], names: dict[str, str]
) -> bool:
    return bool(list(operation.body)) or (bool(list(operation.path_parameters)) and not names)


@pytest.mark.parametrize("names", [{}, KNOWN], ids=["any names", "known names"])
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: str(mode.value))
def test_every_answer_is_as_described_and_none_is_a_server_error(
    served: Served, mode: schemathesis.GenerationMode, names: dict[str, str]
) -> None:
    schema = schemathesis.openapi.from_dict(served.description)
    operations = [
        operation.as_strategy(
            generation_mode=mode,
            path_parameters={name: value for name, value in names.items() if f"{{{name}}}" in operation.path}
            or None,
        )
        for operation in operations_of(schema)
        if mode is schemathesis.GenerationMode.POSITIVE or can_be_asked_wrongly(operation, names)
    ]
    session = requests.Session()

    # No shrinking: a failure names its request as it is, and the run stays short.
    @given(data=st.data())
    @settings(
        max_examples=5,
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

    with session:
        try_out()


@pytest.mark.parametrize("form", ["json", "headerValue", "envFile", "kubernetesSecret"])
def test_every_form_of_a_token_is_as_described(served: Served, form: str) -> None:
    schema = schemathesis.openapi.from_dict(served.description)
    operation = schema["/services/{service}/gateways/{gatewayId}/generateToken"]["POST"]
    case = operation.Case(
        path_parameters=KNOWN, query={"format": form}, body={"lifetime": "P1D"}, media_type="application/json"
    )
    answer = case.call(base_url=served.url, headers={"x-functions-key": KEY})
    assert answer.status_code == 200
    case.validate_response(answer, checks=CHECKS)
