"""The emulator answers as Azure's published specification and examples say."""

import base64
import ssl
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientSession
from yarl import URL

from emulator.gateways import Gateway
from emulator.server import Emulator
from tests.official.specification import APIM, VAULT, check, example, shape

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
SERVICE = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg1/providers/Microsoft.ApiManagement/service/apimService1"
)
VERSION: Mapping[str, str] = {"api-version": "2024-05-01"}
NOW, MONTH = datetime(2020, 4, 1, tzinfo=UTC), timedelta(days=30)


@pytest.fixture
async def arm(emulator: Emulator) -> AsyncIterator[ClientSession]:
    """A bare HTTP session with ARM, which knows the service and gateways of the official examples."""
    emulator.azure.clock = lambda: NOW
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


async def call(opened: ClientSession, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """The status, and the JSON if there is a body."""
    version = VERSION if path.startswith("/subscriptions") else {"api-version": "7.4"}
    answer = await opened.request(method, path, params=version, json=body)
    return answer.status, await answer.json() if await answer.read() else None


async def ask(arm: ClientSession, method: str, name: str, path: str = "") -> tuple[int, Any]:
    """What comes of the request of an official example."""
    parameters, _ = example(APIM, name, 204 if "Regenerate" in name else 200)
    gateway = f"/{parameters['gatewayId']}" if "gatewayId" in parameters else ""
    return await call(arm, method, f"{SERVICE}/gateways{gateway}{path}", parameters.get("parameters"))


async def issue(
    arm: ClientSession, expiry: datetime | str | None, key_type: str | None = "primary", gateway: str = "gw1"
) -> tuple[int, Any]:
    text = expiry.isoformat() if isinstance(expiry, datetime) else expiry
    body = {name: value for name, value in (("keyType", key_type), ("expiry", text)) if value is not None}
    return await call(arm, "POST", f"{SERVICE}/gateways/{gateway}/generateToken", body)


# API Management's gateways


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
    status, body = await ask(arm, method, name, path)
    assert status == 200
    check(APIM, "definitions", definition, body)
    official = example(APIM, name)[1]
    assert shape(body) == shape(official)
    assert (body.get("id"), body.get("type")) == (official.get("id"), official.get("type"))
    if definition == "GatewayCollection":
        assert body["count"] == len(body["value"]) == 4
    else:
        gateway, minute, signature = body["value"].split("&")
        assert (gateway, minute) == ("gw1", "202004210044")
        assert len(base64.b64decode(signature, validate=True)) == 64


async def test_regenerate_key_answers_204_and_no_body(arm: ClientSession) -> None:
    assert await ask(arm, "POST", "ApiManagementGatewayRegenerateKey", "/regenerateKey") == (204, None)


async def test_a_token_is_the_same_for_the_same_gateway_key_and_minute(arm: ClientSession) -> None:
    first = await issue(arm, NOW + MONTH)
    assert first[1]["value"].startswith("gw1&202005010000&")
    assert first == await issue(arm, NOW + MONTH, gateway="GW1")
    assert first != await issue(arm, NOW + MONTH, "secondary")
    in_a_second = await issue(arm, NOW + timedelta(seconds=1))
    assert in_a_second == await issue(arm, NOW + timedelta(seconds=59))
    assert in_a_second != await issue(arm, NOW + timedelta(minutes=1))


def test_a_gateway_accepts_a_token_until_its_minute() -> None:
    gateway = Gateway("gw1")
    token = gateway.token("primary", NOW)
    assert [gateway.accepts(token, NOW - timedelta(seconds=second)) for second in (1, 0)] == [True, False]


@pytest.mark.parametrize(
    ("expiry", "key_type", "gateway", "targets"),
    [
        (NOW + MONTH + timedelta(seconds=1), "primary", "gw1", ["expiry"]),
        (NOW, "primary", "gw1", ["expiry"]),
        ("2020-04-02", "primary", "gw1", ["expiry"]),
        ("soonTish", "primary", "gw1", ["expiry"]),
        (NOW + MONTH, "tertiary", "gw1", ["keyType"]),
        (NOW + MONTH, "primary", "managed", ["gatewayId"]),
        (None, None, "gw1", ["keyType", "expiry"]),
    ],
)
async def test_a_bad_request_names_every_wrong_field(
    arm: ClientSession, expiry: datetime | str | None, key_type: str | None, gateway: str, targets: list[str]
) -> None:
    status, answer = await issue(arm, expiry, key_type, gateway)
    assert (status, answer["error"]["code"]) == (400, "ValidationError")
    assert [detail["target"] for detail in answer["error"]["details"]] == targets
    assert {detail["code"] for detail in answer["error"]["details"]} == {"ValidationError"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", f"{SERVICE}/gateways/nobody/regenerateKey", {"keyType": "primary"}, 404, "ResourceNotFound"),
        ("GET", f"{SERVICE}x/gateways", None, 404, "ResourceNotFound"),
        ("GET", SERVICE.replace("rg1", "rg2") + "/gateways", None, 404, "ResourceGroupNotFound"),
        ("GET", SERVICE.replace("/0", "/1") + "/gateways", None, 404, "SubscriptionNotFound"),
        ("POST", f"{SERVICE}/gateways/gw1/generateToken", {}, 400, "ValidationError"),
        ("GET", "/subscriptions", None, 404, "NotFound"),
        ("GET", f"{SERVICE}/gateways?api-version=2020-01-01", None, 400, "InvalidApiVersionParameter"),
        ("GET", f"{SERVICE}/gateways?a=b", None, 400, "MissingApiVersionParameter"),
    ],
)
async def test_every_refusal_of_arm_is_an_error_response(
    arm: ClientSession, *, method: str, path: str, body: dict[str, str] | None, status: int, code: str
) -> None:
    answer = await arm.request(method, path, params=None if "?" in path else VERSION, json=body)
    refusal = await answer.json()
    check(APIM, "definitions", "ErrorResponse", refusal)
    assert (answer.status, refusal["error"]["code"]) == (status, code)
    assert {"x-ms-request-id", "x-ms-correlation-request-id"} <= {name.lower() for name in answer.headers}


# Key Vault


async def test_secret_operations_answer_with_everything_in_the_examples(vault: ClientSession) -> None:
    for name, method, path in (
        ("SetSecret", "PUT", "/secrets/crpsecret"),
        ("GetSecret", "GET", "/secrets/crpsecret"),
        ("UpdateSecret", "PATCH", "/secrets/crpsecret/"),
    ):
        parameters, official = example(VAULT, f"{name}-example")
        _, body = await call(vault, method, path, parameters.get("parameters"))
        check(VAULT, "secrets", "SecretBundle", body)
        assert set(body) >= set(official), name


@pytest.mark.parametrize(
    ("method", "name", "size", "status"),
    [
        ("GET", "nobody", 0, 404),
        *(("PUT", name, 1, 400) for name in ("a_b", "a.b", "x" * 128)),
        ("PUT", "a", 25 * 1024, 200),
        ("PUT", "a", 25 * 1024 + 1, 400),
    ],
)
async def test_a_vault_refuses_odd_names_and_more_than_25_kilobytes_with_a_key_vault_error(
    vault: ClientSession, method: str, name: str, size: int, status: int
) -> None:
    answered, answer = await call(vault, method, f"/secrets/{name}", {"value": "x" * size})
    assert answered == status
    if status != 200:
        check(VAULT, "common", "KeyVaultError", answer)
