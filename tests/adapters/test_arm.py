"""`ArmGateways` on the wire: what it sends to Azure Resource Manager, and what it makes of every answer."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from emulator.azure import Azure
from emulator.endpoint import Endpoint, Route
from emulator.faults import Fault, Kind
from emulator.server import Emulator
from gateway_tokens.azure.api_management import ISSUE_ACTION, READ_ACTION, REGENERATE_ACTION, ArmGateways
from gateway_tokens.azure.clients import ArmBudget, AzureAccess, Cost
from gateway_tokens.azure.errors import TRIES
from gateway_tokens.errors import (
    AzureBlocked,
    AzureError,
    AzureForbidden,
    AzureNotFound,
    AzureRejected,
    AzureThrottled,
    AzureUnavailable,
    TokenUnusable,
)
from gateway_tokens.errors import Fault as Detail
from gateway_tokens.estate.app_settings import read_settings
from gateway_tokens.issuing import issue_checked
from gateway_tokens.tokens import GatewayToken, KeyType, ServiceId
from tests import estate
from tests.estate import CONTOSO, FABRIKAM

JSON = {"Content-Type": "application/json"}
SOVEREIGN = "https://management.core.example"
EXPIRY = (datetime.now(UTC) + timedelta(days=1)).replace(second=0, microsecond=0)
SIGNATURE = "A" * 86 + "=="
BUSY = ("PessimisticConcurrencyConflict", "ManagementApiRequestFailed")


class Recorder(Endpoint):
    """A sovereign cloud's ARM that keeps each request with its body and issues a fixed token."""

    host = "sovereign"

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str], dict[str, str], Any]] = []

    def routes(self) -> list[Route]:
        return [Route("POST", "/{path:.*}", self._keep)]

    def audiences(self) -> tuple[str]:
        return (SOVEREIGN,)

    async def _keep(self, _: Azure, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append((request.method, request.path, dict(request.query), headers, await request.json()))
        return web.json_response({"value": f"edge-01&{EXPIRY:%Y%m%d%H%M}&{SIGNATURE}"})


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def emulator(recorder: Recorder) -> AsyncIterator[Emulator]:
    async with Emulator(endpoints=[recorder]) as running:
        yield running


@asynccontextmanager
async def opened(environ: dict[str, str]) -> AsyncIterator[ArmGateways]:
    access = AzureAccess(read_settings(environ))
    yield ArmGateways(access, access.budget)
    await access.close()


@pytest.fixture
def gateways(azure: AzureAccess) -> ArmGateways:
    return ArmGateways(azure, azure.budget)


async def issue(
    gateways: ArmGateways, gateway: str = "edge-01", service: ServiceId = CONTOSO
) -> GatewayToken:
    return await gateways.generate_token(service, gateway, KeyType.PRIMARY, EXPIRY)


def answers(emulator: Emulator, status: int, body: object = "", headers: Mapping[str, str] = JSON) -> Fault:
    """ARM answers so from now on."""
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return emulator.azure.faults.add(Fault(host="arm", times=None, status=status, body=text, headers=headers))


async def refusal(gateways: ArmGateways) -> AzureError:
    with pytest.raises(AzureError) as refused:
        await issue(gateways)
    return refused.value


async def listed(gateways: ArmGateways, service: ServiceId = CONTOSO) -> list[str]:
    return [name async for name in gateways.names(service)]


# What is sent


@pytest.mark.usefixtures("sign_in")
async def test_the_request_has_the_form_that_the_reference_gives(
    emulator: Emulator, recorder: Recorder
) -> None:
    environ = estate.environment(emulator, ARM_ENDPOINT=f"{recorder.url}/", ARM_SCOPE=f"{SOVEREIGN}/.default")
    async with opened(environ) as gateways:
        await gateways.generate_token(CONTOSO, "edge-01", KeyType.SECONDARY, EXPIRY)
    [(method, path, query, headers, body)] = recorder.seen
    assert (method, path) == ("POST", f"{CONTOSO}/gateways/edge-01/generateToken")
    assert query["api-version"] >= "2022-08-01"
    assert headers["authorization"].startswith("Bearer ")
    assert headers["content-type"] == "application/json"
    assert body["keyType"] == "secondary"
    assert set(body) == {"keyType", "expiry"}
    # yyyy-MM-ddTHH:mm:ssZ; the reference's own example has a fraction of a second.
    assert body["expiry"] in {f"{EXPIRY:%Y-%m-%dT%H:%M:%S}Z", f"{EXPIRY:%Y-%m-%dT%H:%M:%S}.000Z"}
    # A sovereign cloud is reached by its own address and scope.
    assert emulator.azure.called("arm") == []
    assert SOVEREIGN in emulator.azure.bearers.values()


@pytest.mark.usefixtures("sign_in")
async def test_the_scope_is_that_of_the_address_unless_set(emulator: Emulator) -> None:
    environ = estate.environment(emulator)
    del environ["ARM_SCOPE"]
    async with opened(environ) as gateways:
        await issue(gateways)
    assert set(emulator.azure.bearers.values()) == {emulator.arm_url}


async def test_one_client_serves_a_subscription_and_one_credential_serves_all(
    emulator: Emulator, azure: AzureAccess, gateways: ArmGateways
) -> None:
    for service, gateway in ((CONTOSO, "edge-01"), (CONTOSO, "edge-02"), (FABRIKAM, "plant-a")):
        await issue(gateways, gateway, service)
    contoso, fabrikam = (azure.api_management(service.subscription_id) for service in (CONTOSO, FABRIKAM))
    assert contoso is azure.api_management(CONTOSO.subscription_id)
    assert contoso is not fabrikam
    assert azure.credential is azure.credential
    # The credential keeps its access token: two subscriptions, one visit to the identity.
    assert len(emulator.azure.called("identity")) == 1


# What a good answer becomes


async def test_an_issued_token_is_one_that_the_gateway_can_sign_in_with(
    emulator: Emulator, gateways: ArmGateways
) -> None:
    token = await issue(gateways)
    service = emulator.azure.services[CONTOSO.subscription_id, CONTOSO.resource_group, CONTOSO.name]
    edge = service.gateway("edge-01")
    assert edge is not None
    assert edge.accepts(token.value.reveal(), datetime.now(UTC))
    assert (token.gateway_id, token.expiry) == ("edge-01", EXPIRY)


async def test_every_page_of_a_list_is_read(
    emulator: Emulator, gateways: ArmGateways, pauses: list[float]
) -> None:
    emulator.azure.page_size = 3
    assert await listed(gateways) == list(estate.GATEWAYS[CONTOSO])
    assert len(emulator.azure.called("arm", "GET")) == 2
    # A page that fails for a moment is read again.
    emulator.azure.faults.add(Fault(host="arm", skip=1, times=2, status=503))
    assert await listed(gateways) == list(estate.GATEWAYS[CONTOSO])
    assert pauses == [1.6]


async def test_a_service_without_gateways_has_no_names(emulator: Emulator, gateways: ArmGateways) -> None:
    emulator.azure.add_service(CONTOSO.subscription_id, "rg-apis", "empty-apim")
    assert await listed(gateways, ServiceId(CONTOSO.subscription_id, "rg-apis", "empty-apim")) == []


async def test_a_page_that_is_forbidden_names_the_permission_to_list(
    emulator: Emulator, gateways: ArmGateways
) -> None:
    emulator.azure.granted = {ISSUE_ACTION}
    with pytest.raises(AzureForbidden) as refused:
        await listed(gateways)
    assert (refused.value.action, refused.value.scope) == (READ_ACTION, str(CONTOSO))


async def test_a_list_of_another_form_is_an_azure_error(emulator: Emulator, gateways: ArmGateways) -> None:
    for body in ("", "[]", "null", '{"value": 5}', "<html>", '{"value": [{"id": 1}]}'):
        emulator.azure.faults.clear()
        answers(emulator, 200, body)
        with pytest.raises(AzureError):
            await listed(gateways)


@pytest.mark.parametrize("kind", ["drop", "truncate"])
async def test_a_list_whose_connection_breaks_is_azure_unavailable(
    emulator: Emulator, gateways: ArmGateways, kind: Kind
) -> None:
    emulator.azure.faults.add(Fault(host="arm", times=None, kind=kind))
    with pytest.raises(AzureUnavailable):
        await listed(gateways)


# What a refusal becomes


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, AzureError),
        (401, AzureBlocked),
        (402, AzureError),
        (403, AzureError),
        (404, AzureNotFound),
        (405, AzureError),
        (409, AzureError),
        (412, AzureError),
        (418, AzureError),
        (429, AzureThrottled),
        (451, AzureError),
        (500, AzureUnavailable),
    ],
)
async def test_a_refusal_has_its_kind_and_names_azures_status_code_and_request_id(
    emulator: Emulator, gateways: ArmGateways, status: int, kind: type[AzureError]
) -> None:
    headers = {**JSON, "x-ms-correlation-request-id": "7e57-id"}
    answers(emulator, status, {"error": {"code": "Odd"}}, headers)
    error = await refusal(gateways)
    assert type(error) is kind
    assert (error.facts.status, error.facts.code, error.facts.request_id) == (status, "Odd", "7e57-id")
    assert "7e57-id" in str(error)


async def test_400_carries_azures_code_message_and_details_each_cut_at_500_characters(
    emulator: Emulator, gateways: ArmGateways
) -> None:
    detail = {"code": "ValidationError", "target": "expiry", "message": "Too late."}
    long = {"code": "V", "target": "t", "message": "d" * 5000}
    body = {"code": "ValidationError", "message": "m" * 5000, "details": [detail, long]}
    answers(emulator, 400, {"error": body})
    facts = (await refusal(gateways)).facts
    assert (facts.status, facts.code, facts.message[:499]) == (400, "ValidationError", "m" * 499)
    assert facts.details[0] == Detail("expiry", "ValidationError: Too late.")
    assert (len(facts.message), len(facts.details[1].message)) == (500, 500)


async def test_400_in_another_form_is_an_error_without_advice(
    emulator: Emulator, gateways: ArmGateways
) -> None:
    odd: list[object] = [
        *("", "{", "[]", "null", {"error": "text"}),
        {"error": {"code": 1, "message": ["m"], "details": [1, None]}},
        {"error": {"code": "V", "message": "m", "details": "text"}},
        {"error": {"code": "V", "message": "m", "details": {"code": "x"}}},
    ]
    for body in odd:
        emulator.azure.faults.clear()
        answers(emulator, 400, body)
        error = await refusal(gateways)
        assert type(error) is AzureError, body
        assert error.facts.status == 400


async def test_403_names_the_action_and_the_scope_that_the_identity_lacks(
    emulator: Emulator, gateways: ArmGateways
) -> None:
    emulator.azure.granted = {READ_ACTION}
    error = await refusal(gateways)
    assert isinstance(error, AzureForbidden)
    assert (error.action, error.scope) == (ISSUE_ACTION, str(CONTOSO))
    assert ISSUE_ACTION in str(error)
    assert str(CONTOSO) in str(error)
    assert error.facts.code == "AuthorizationFailed"


async def test_404_names_what_azure_does_not_know(gateways: ArmGateways) -> None:
    strange = "33333333-3333-3333-3333-333333333333"
    for service, gateway, code in (
        (CONTOSO, "edge-99", "ResourceNotFound"),
        (ServiceId(CONTOSO.subscription_id, "rg-apis", "gone"), "edge-01", "ResourceNotFound"),
        (ServiceId(CONTOSO.subscription_id, "rg-gone", "contoso-apim"), "edge-01", "ResourceGroupNotFound"),
        (ServiceId(strange, "rg-apis", "contoso-apim"), "edge-01", "SubscriptionNotFound"),
    ):
        with pytest.raises(AzureNotFound) as refused:
            await issue(gateways, gateway, service)
        assert (refused.value.facts.status, refused.value.facts.code) == (404, code)


async def test_429_with_retry_after_is_waited_out(
    emulator: Emulator, gateways: ArmGateways, pauses: list[float]
) -> None:
    emulator.azure.faults.add(Fault(host="arm", status=429, headers={"Retry-After": "17"}))
    await issue(gateways)
    assert pauses == [17]


async def test_429_without_retry_after_is_tried_again(
    emulator: Emulator, gateways: ArmGateways, pauses: list[float]
) -> None:
    emulator.azure.faults.add(Fault(host="arm", status=429, times=TRIES - 1))
    await issue(gateways)
    assert pauses == [1.6, 3.2]  # and none before the first repeat


async def test_429_that_asks_for_more_than_an_operation_may_take_says_when_to_come_back(
    emulator: Emulator, gateways: ArmGateways, pauses: list[float]
) -> None:
    answers(emulator, 429, headers={"Retry-After": "3600"})
    error = await refusal(gateways)
    assert isinstance(error, AzureThrottled)
    assert error.facts.retry_after == 3600
    assert pauses == []


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500, "headers": JSON, "body": '{"error": {"code": "InternalServerError"}}'},
        {"status": 502, "headers": {"Content-Type": "text/html"}, "body": "<html>Bad Gateway</html>"},
        {"status": 503},
        {"status": 504},
        {"kind": "drop"},
        {"kind": "drop_after"},
        {"kind": "truncate"},
    ],
    ids=lambda fault: str(fault.get("status", fault.get("kind"))),
)
async def test_a_failure_is_repeated_and_is_azure_unavailable_when_it_lasts(
    emulator: Emulator, gateways: ArmGateways, fault: dict[str, Any]
) -> None:
    emulator.azure.faults.add(Fault(host="arm", times=TRIES - 1, **fault))
    assert (await issue(gateways)).expiry == EXPIRY
    assert len(emulator.azure.called("arm")) == TRIES
    emulator.azure.faults.add(Fault(host="arm", times=None, **fault))
    error = await refusal(gateways)
    assert isinstance(error, AzureUnavailable)
    assert error.facts.status == fault.get("status", 0)
    assert len(emulator.azure.called("arm")) == 2 * TRIES


@pytest.mark.parametrize(
    "fault",
    [
        *({"status": status} for status in (429, 500, 502, 503, 504)),
        *({"status": status, "headers": {"Retry-After": "1"}} for status in (408, 413, 429, 503)),
        *({"status": 409, "headers": JSON, "body": f'{{"error": {{"code": "{code}"}}}}'} for code in BUSY),
        {"kind": "drop"},
        {"kind": "drop_after"},
        {"kind": "truncate"},
    ],
    ids=lambda fault: "-".join(map(str, (fault.get("status", fault.get("kind")), *fault.get("headers", ())))),
)
async def test_a_regeneration_is_sent_once_whatever_becomes_of_it(
    emulator: Emulator, gateways: ArmGateways, pauses: list[float], fault: dict[str, Any]
) -> None:
    emulator.azure.faults.add(Fault(host="arm", path="*/regenerateKey", times=None, **fault))
    if fault.get("kind") == "truncate":  # its answer has no body that could be cut off
        await gateways.regenerate_key(CONTOSO, "edge-01", KeyType.PRIMARY)
    else:
        with pytest.raises(AzureError):
            await gateways.regenerate_key(CONTOSO, "edge-01", KeyType.PRIMARY)
    assert [call.path.rpartition("/")[2] for call in emulator.azure.called("arm")] == ["regenerateKey"]
    assert pauses == []


async def test_a_regeneration_ends_the_tokens_of_that_key_and_no_others(
    emulator: Emulator, gateways: ArmGateways
) -> None:
    edge = emulator.azure.services[CONTOSO.subscription_id, CONTOSO.resource_group, CONTOSO.name].gateway(
        "edge-01"
    )
    assert edge is not None
    tokens = [await gateways.generate_token(CONTOSO, "edge-01", key, EXPIRY) for key in KeyType]
    await gateways.regenerate_key(CONTOSO, "edge-01", KeyType.PRIMARY)
    assert [edge.accepts(t.value.reveal(), datetime.now(UTC)) for t in tokens] == [False, True]


async def test_a_regeneration_that_is_forbidden_names_the_role_that_allows_it(
    emulator: Emulator, gateways: ArmGateways
) -> None:
    emulator.azure.granted = {READ_ACTION, ISSUE_ACTION}
    with pytest.raises(AzureForbidden, match="'Gateway key regenerator'") as refused:
        await gateways.regenerate_key(CONTOSO, "edge-01", KeyType.PRIMARY)
    assert refused.value.action == REGENERATE_ACTION


# 200, but not with a token


async def test_200_without_a_token_is_token_unusable_and_not_quoted(
    emulator: Emulator, gateways: ArmGateways
) -> None:
    unusable: list[tuple[str | bytes, str]] = [
        *(
            ("", "json"),
            ("{}", "json"),
            ("null", "json"),
            ('{"value": null}', "json"),
            ('{"value": ""}', "json"),
        ),
        *(
            ('{"value": 5}', "json"),
            ('{"value": ["edge-01"]}', "json"),
            ("[]", "json"),
            ('"edge-01"', "json"),
        ),
        *(('{"value": "edge-01&', "json"), ("edge-01&202601010000&x", "json"), (b"\xff\xfe\xff", "json")),
        *(("<html>Sign in to the proxy</html>", "html"), ("<token>edge-01</token>", "xml"), ("edge-01", "")),
        (f'{{"value": "edge-01&202601010000&{SIGNATURE}"}}', "plain"),
        ('{"value": "edge-01&202601010000"}', "json"),
        (f'{{"value": "edge-01&202613010000&{SIGNATURE}"}}', "json"),
        ('{"value": "edge-01&202601010000&not base64"}', "json"),
        ('{"value": "edge-01&202601010000&QUJD"}', "json"),
    ]
    types = {"json": "application/json", "html": "text/html", "xml": "application/xml", "plain": "text/plain"}
    for body, kind in unusable:
        emulator.azure.faults.clear()
        answers(emulator, 200, body, {"Content-Type": types[kind]} if kind else {})
        with pytest.raises(TokenUnusable) as refused:
            await issue(gateways)
        assert "edge-01" not in str(refused.value), body
        assert refused.value.__suppress_context__ or refused.value.__context__ is None, body


@pytest.mark.parametrize("minutes", [-1, 1])
async def test_200_with_an_expiry_a_minute_off_is_token_unusable(
    emulator: Emulator, gateways: ArmGateways, minutes: int
) -> None:
    wrong = EXPIRY + timedelta(minutes=minutes)
    answers(emulator, 200, {"value": f"edge-01&{wrong:%Y%m%d%H%M}&{SIGNATURE}"})
    with pytest.raises(TokenUnusable, match="it expires at"):
        await issue_checked(gateways, CONTOSO, "edge-01", KeyType.PRIMARY, EXPIRY)


class Counting(ArmBudget):
    """A budget that keeps what was spent."""

    def __init__(self) -> None:
        super().__init__()
        self.spent: list[tuple[str, Cost]] = []

    async def spend(self, subscription_id: str, cost: Cost, units: int = 1) -> None:
        self.spent += [(subscription_id, cost)] * units


async def test_every_request_takes_a_turn_in_the_budget(emulator: Emulator, azure: AzureAccess) -> None:
    emulator.azure.page_size = 3
    budget = Counting()
    gateways = ArmGateways(azure, budget)
    await issue(gateways)
    assert len(await listed(gateways)) == 4
    subscription = CONTOSO.subscription_id
    assert budget.spent == [(subscription, Cost.WRITE), (subscription, Cost.READ), (subscription, Cost.READ)]


@pytest.mark.parametrize(
    ("status", "error", "kind", "text"),
    [
        (409, {"code": "ScopeLocked"}, AzureBlocked, "A lock makes the resource read-only."),
        (409, {"code": "ReadOnlyDisabledSubscription"}, AzureBlocked, "The subscription is disabled"),
        (403, {"code": "RequestDisallowedByPolicy"}, AzureBlocked, "An Azure policy forbids it."),
        (400, {"code": "MethodNotAllowedInPricingTier"}, AzureBlocked, "has no self-hosted gateways"),
        (
            401,
            {"code": "InvalidAuthenticationTokenTenant"},
            AzureBlocked,
            "The resource trusts another tenant",
        ),
        (401, {"code": "AuthenticationFailed"}, AzureBlocked, "does not accept the app's sign-in"),
        (403, {"code": "AuthorizationFailed"}, AzureForbidden, "needs a role with the action"),
        (
            403,
            {
                "code": "Forbidden",
                "innererror": {"code": "Odd", "innererror": {"code": "ForbiddenByGovernancePolicy"}},
            },
            AzureBlocked,
            "An Azure policy forbids it.",
        ),
        (
            403,
            {"code": "Forbidden", "innererror": {"code": "Newer"}},
            AzureError,
            "403 Newer. Look up Azure's code",
        ),
        (400, {"code": "ValidationError"}, AzureRejected, "a name or value in the request invalid"),
    ],
)
async def test_a_refusal_is_told_as_what_its_innermost_code_says(  # noqa: PLR0917 - a table's columns
    emulator: Emulator,
    gateways: ArmGateways,
    status: int,
    error: dict[str, Any],
    kind: type[AzureError],
    text: str,
) -> None:
    answers(emulator, status, {"error": {"message": "A secret.", **error}}, JSON)
    refused = await refusal(gateways)
    assert type(refused) is kind
    assert text in str(refused)
    assert "A secret." not in str(refused)
