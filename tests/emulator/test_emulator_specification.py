"""The emulator answers as Azure's published specification and examples say."""

import base64
import ssl
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime

import aiohttp
import pytest
from aiohttp import ClientResponse, ClientSession
from yarl import URL

from emulator.server import Emulator
from tests.official.specification import APIM, VAULT, ValidationError, check, example, shape

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
SERVICE = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg1/providers/Microsoft.ApiManagement/service/apimService1"
)
VERSION: Mapping[str, str] = {"api-version": "2024-05-01"}


@pytest.fixture
async def arm(emulator: Emulator) -> AsyncIterator[ClientSession]:
    """A bare HTTP session with ARM, which knows the service and gateways of the official examples."""
    emulator.azure.clock = lambda: datetime(2020, 4, 1, tzinfo=UTC)
    service = emulator.azure.add_service(SUBSCRIPTION, "rg1", "apimService1")
    service.add_gateway("gw1", "my location 1", "my gateway 1")
    service.add_gateway("gw2", "my location 2", "my gateway 2")
    service.add_gateway("gwId")
    service.add_gateway("mygateway")
    async with session(emulator, emulator.arm_url) as opened:
        yield opened


@pytest.fixture
async def vault(emulator: Emulator) -> AsyncIterator[ClientSession]:
    """A bare HTTP session with the vault contoso."""
    async with session(emulator, emulator.vault_url("contoso")) as opened:
        yield opened


def session(emulator: Emulator, url: str) -> ClientSession:
    audience = url.replace("//127.", "//") if url != emulator.arm_url else url
    bearer = emulator.azure.issue_bearer(audience)
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=emulator.ca_file))
    return ClientSession(URL(url), headers={"Authorization": f"Bearer {bearer}"}, connector=connector)


async def ask(
    arm: ClientSession, method: str, name: str, path: str = "", status: int = 200
) -> ClientResponse:
    """Send the request of an official example."""
    parameters, _ = example(APIM, name, status)
    gateway = f"/{parameters['gatewayId']}" if "gatewayId" in parameters else ""
    body = parameters.get("parameters")
    answer = await arm.request(method, f"{SERVICE}/gateways{gateway}{path}", params=VERSION, json=body)
    assert answer.status == status
    return answer


@pytest.mark.parametrize(
    ("method", "name", "path", "definition"),
    [
        ("GET", "ApiManagementListGateways", "", "GatewayCollection"),
        ("POST", "ApiManagementGatewayGenerateToken", "/generateToken", "GatewayTokenContract"),
    ],
)
async def test_a_gateway_operation_answers_in_the_shape_of_its_example(
    arm: ClientSession, method: str, name: str, path: str, definition: str
) -> None:
    body = await (await ask(arm, method, name, path)).json()
    check(APIM, "definitions", definition, body)
    official = example(APIM, name)[1]
    assert shape(body) == shape(official)
    assert (body.get("id"), body.get("type")) == (official.get("id"), official.get("type"))
    if definition == "GatewayCollection":
        assert body["count"] == len(body["value"]) == 4


async def test_generate_token_answers_a_token_of_the_examples_form(arm: ClientSession) -> None:
    body = await (await ask(arm, "POST", "ApiManagementGatewayGenerateToken", "/generateToken")).json()
    gateway, minute, signature = body["value"].split("&")
    assert (gateway, minute) == ("gw1", "202004210044")
    assert len(base64.b64decode(signature, validate=True)) == 64


async def test_regenerate_key_answers_204_and_no_body(arm: ClientSession) -> None:
    answer = await ask(arm, "POST", "ApiManagementGatewayRegenerateKey", "/regenerateKey", 204)
    assert await answer.read() == b""


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", f"{SERVICE}/gateways/nobody/regenerateKey", {"keyType": "primary"}, 404, "ResourceNotFound"),
        ("GET", f"{SERVICE}x/gateways", None, 404, "ResourceNotFound"),
        ("GET", SERVICE.replace("rg1", "rg2") + "/gateways", None, 404, "ResourceGroupNotFound"),
        ("GET", SERVICE.replace("/0", "/1") + "/gateways", None, 404, "SubscriptionNotFound"),
        ("POST", f"{SERVICE}/gateways/gw1/generateToken", {}, 400, "ValidationError"),
        ("GET", "/subscriptions", None, 404, "NotFound"),
    ],
)
async def test_every_refusal_of_arm_is_an_error_response(
    arm: ClientSession, *, method: str, path: str, body: dict[str, str] | None, status: int, code: str
) -> None:
    answer = await arm.request(method, path, params=VERSION, json=body)
    refusal = await answer.json()
    check(APIM, "definitions", "ErrorResponse", refusal)
    assert (answer.status, refusal["error"]["code"]) == (status, code)
    assert {"x-ms-request-id", "x-ms-correlation-request-id"} <= {name.lower() for name in answer.headers}


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"api-version": "2022-08-01"}, 200, ""),
        ({"api-version": "2024-05-01"}, 200, ""),
        ({"api-version": "2020-01-01"}, 400, "InvalidApiVersionParameter"),
        ({}, 400, "MissingApiVersionParameter"),
    ],
)
async def test_arm_accepts_two_api_versions_and_refuses_another_or_none(
    arm: ClientSession, query: dict[str, str], status: int, code: str
) -> None:
    answer = await arm.get(f"{SERVICE}/gateways", params=query)
    assert (answer.status, (await answer.json()).get("error", {}).get("code", "")) == (status, code)


async def secret(vault: ClientSession, method: str, path: str, **sent: object) -> dict[str, object]:
    answer = await vault.request(method, path, params={"api-version": "7.4"}, json=sent.get("parameters"))
    found: dict[str, object] = await answer.json()
    return found


async def test_secret_operations_answer_with_everything_in_the_examples(vault: ClientSession) -> None:
    for name, method, path, definition in (
        ("SetSecret", "PUT", "/secrets/crpsecret", "SecretBundle"),
        ("GetSecret", "GET", "/secrets/crpsecret", "SecretBundle"),
        ("UpdateSecret", "PATCH", "/secrets/crpsecret/", "SecretBundle"),
    ):
        parameters, official = example(VAULT, f"{name}-example")
        body = await secret(vault, method, path, **parameters)
        check(VAULT, "secrets", definition, body)
        assert set(body) >= set(official), name


async def test_every_refusal_of_a_vault_is_a_key_vault_error(vault: ClientSession) -> None:
    for method, path in (("GET", "/secrets/nobody"), ("PUT", "/secrets/a_b")):
        refusal = await secret(vault, method, path, parameters={"value": "v"})
        check(VAULT, "common", "KeyVaultError", refusal)


async def test_an_access_token_opens_the_address_of_its_audience_and_no_other(
    emulator: Emulator, vault: ClientSession, arm: ClientSession
) -> None:
    contoso, fabrikam = (f"{emulator.vault_url(name)}/secrets/nobody" for name in ("contoso", "fabrikam"))
    gateways = f"{emulator.arm_url}{SERVICE}/gateways"
    for session_, url, status in (
        *((vault, contoso, 404), (vault, fabrikam, 401), (vault, gateways, 401)),
        *((arm, contoso, 401), (arm, gateways, 200)),
    ):
        version = VERSION if url == gateways else {"api-version": "7.4"}
        assert (await session_.get(URL(url), params=version)).status == status, url


@pytest.mark.parametrize("answer", [{"value": 1}, {"values": "gw&1&x"}])
def test_an_answer_that_breaks_the_specification_is_noticed(answer: dict[str, object]) -> None:
    with pytest.raises((AssertionError, ValidationError)):
        check(APIM, "definitions", "GatewayTokenContract", answer)
