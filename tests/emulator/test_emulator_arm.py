"""Emulated ARM with API Management's gateways, asked by the real client."""

import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.identity.aio import ManagedIdentityCredential
from azure.mgmt.apimanagement.aio import ApiManagementClient

from emulator.gateways import Service
from emulator.server import Emulator
from tests.stand_ins.throttle import Throttle

# The client types its models' read-only fields as None.
Client = Any
SUBSCRIPTION = "11111111-1111-1111-1111-111111111111"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MONTH = timedelta(days=30)
ACTIONS = "Microsoft.ApiManagement/service/gateways"


@pytest.fixture
def service(emulator: Emulator) -> Service:
    emulator.azure.clock = lambda: NOW
    service = emulator.azure.add_service(SUBSCRIPTION, "Shared", "Contoso-APIM")
    service.add_gateway("edge-01", location="Rotterdam")
    return service


@pytest.fixture
async def client(
    emulator: Emulator, credential: ManagedIdentityCredential, service: Service
) -> AsyncIterator[Client]:
    del service
    async with ApiManagementClient(
        credential, SUBSCRIPTION, base_url=emulator.arm_url, connection_verify=emulator.ca_file, retry_total=0
    ) as opened:
        yield opened


async def issue(
    client: Client, expiry: object, key_type: object = "primary", gateway: str = "edge-01"
) -> str:
    """Ask for a token with exactly this body, however wrong."""
    body = {name: value for name, value in (("keyType", key_type), ("expiry", expiry)) if value is not None}
    answer: Any = await client.gateway.generate_token("shared", "contoso-apim", gateway, as_stream(body))
    return str(answer.value)


def as_stream(body: dict[str, object]) -> Any:  # noqa: ANN401 - the client's own union of types
    return io.BytesIO(json.dumps(body).encode())


def at(moment: datetime) -> str:
    return moment.isoformat()


async def test_names_are_found_in_any_case(client: Client) -> None:
    [found] = [found async for found in client.gateway.list_by_service("SHARED", "CONTOSO-apim")]
    assert (found.name, found.location_data.name) == ("edge-01", "Rotterdam")
    assert (await issue(client, at(NOW + MONTH), gateway="EDGE-01")).startswith("edge-01&")


async def test_a_token_is_the_same_for_the_same_gateway_key_and_minute(
    client: Client, service: Service
) -> None:
    expiry = NOW + timedelta(days=7)
    first = await issue(client, at(expiry))
    assert first == await issue(client, at(expiry + timedelta(seconds=59)))
    assert first == service.gateways["edge-01"].token("primary", expiry)
    assert first != await issue(client, at(expiry + timedelta(minutes=1)))
    assert first != await issue(client, at(expiry), "secondary")


async def test_an_expiry_is_accepted_from_now_to_thirty_days(client: Client) -> None:
    assert (await issue(client, at(NOW + MONTH))).startswith("edge-01&202603311200&")
    assert (await issue(client, at(NOW + timedelta(seconds=1)))).startswith("edge-01&202603011200&")


@pytest.mark.parametrize(
    ("expiry", "key_type", "gateway", "targets"),
    [
        (at(NOW + MONTH + timedelta(seconds=1)), "primary", "edge-01", ["expiry"]),
        (at(NOW), "primary", "edge-01", ["expiry"]),
        (None, "primary", "edge-01", ["expiry"]),
        ("2026-03-02", "primary", "edge-01", ["expiry"]),
        ("soonTish", "primary", "edge-01", ["expiry"]),
        (at(NOW + MONTH), "tertiary", "edge-01", ["keyType"]),
        (at(NOW + MONTH), None, "edge-01", ["keyType"]),
        (at(NOW + MONTH), "primary", "managed", ["gatewayId"]),
        (None, None, "edge-01", ["keyType", "expiry"]),
    ],
)
async def test_a_bad_request_names_every_wrong_field(
    client: Client, expiry: object, key_type: object, gateway: str, targets: list[str]
) -> None:
    with pytest.raises(HttpResponseError) as caught:
        await issue(client, expiry, key_type, gateway)
    error: Any = caught.value.error
    assert (caught.value.status_code, error.code) == (400, "ValidationError")
    assert [detail.target for detail in error.details] == targets
    assert {detail.code for detail in error.details} == {"ValidationError"}


async def test_regenerating_a_key_changes_the_tokens_of_that_key_only(
    client: Client, service: Service
) -> None:
    gateway, expiry = service.gateways["edge-01"], NOW + timedelta(days=1)
    before = {kind: gateway.token(kind, expiry) for kind in ("primary", "secondary")}
    body = as_stream({"keyType": "primary"})
    await client.gateway.regenerate_key("shared", "contoso-apim", "edge-01", body)
    assert gateway.token("primary", expiry) != before["primary"]
    assert gateway.token("secondary", expiry) == before["secondary"]
    assert [gateway.accepts(before[kind], NOW) for kind in ("primary", "secondary")] == [False, True]


def test_a_gateway_accepts_a_token_until_its_minute(service: Service) -> None:
    gateway, before = service.gateways["edge-01"], NOW - timedelta(seconds=1)
    token = gateway.token("primary", NOW)
    assert [gateway.accepts(token, at) for at in (before, NOW)] == [True, False]
    assert not gateway.accepts(f"GatewayKey {token}", before)


async def test_no_secret_shows_in_the_states_own_description(emulator: Emulator, service: Service) -> None:
    emulator.azure.vault("contoso").set("a", "secret-value", NOW)
    hidden = {"secret-value", emulator.azure.identity_header, emulator.azure.issue_bearer("x")}
    shown = repr(emulator.azure)
    assert "edge-01" in shown
    assert not [value for value in hidden | {*service.gateways["edge-01"].keys.values()} if value in shown]


async def test_a_refusal_for_want_of_a_role_names_action_and_scope(
    emulator: Emulator, client: Client
) -> None:
    emulator.azure.granted = {f"{ACTIONS}/read"}
    scope = r"over scope '/subscriptions/1.*/service/contoso-apim/gateways/edge-01' or"
    with pytest.raises(HttpResponseError, match=f"action '{ACTIONS}/generateToken/action' {scope}") as caught:
        await issue(client, at(NOW + MONTH))
    assert caught.value.status_code == 403


async def test_too_many_calls_are_throttled_and_told_when_to_come_back(
    emulator: Emulator, client: Client
) -> None:
    emulator.azure.throttle = Throttle(limits={"read": (1, 1), "write": (0, 0.2)}, monotonic=lambda: 0.0)
    assert [found async for found in client.gateway.list_by_service("shared", "contoso-apim")]
    with pytest.raises(HttpResponseError) as caught:
        await issue(client, at(NOW + MONTH))
    response: Any = caught.value.response
    assert (caught.value.status_code, response.headers["Retry-After"]) == (429, "5")
    assert "SubscriptionRequestsThrottled" in str(caught.value)
