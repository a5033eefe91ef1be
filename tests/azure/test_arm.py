"""`ArmGateways` on the wire: what it sends to Azure Resource Manager, and what it makes of every answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from emulator.azure import Azure
from emulator.endpoint import Endpoint, Route
from emulator.faults import Fault
from emulator.gateways import Gateway
from emulator.server import Emulator
from gateway_tokens.azure.api_management import (
    ISSUE_ACTION,
    READ_ACTION,
    REGENERATE_ACTION,
    ArmGateways,
    issue_checked,
)
from gateway_tokens.azure.clients import ArmBudget, AzureAccess, Cost
from gateway_tokens.azure.errors import OPERATION_SECONDS, TRIES
from gateway_tokens.azure.identity import IDENTITY_SECONDS
from gateway_tokens.errors import (
    AzureBlocked,
    AzureError,
    AzureForbidden,
    AzureNotFound,
    AzureRejected,
    AzureThrottled,
    AzureUnavailable,
    IdentityUnavailable,
    TokenUnusable,
)
from gateway_tokens.errors import Fault as Detail
from gateway_tokens.estate.app_settings import read_settings
from gateway_tokens.http.answers import LONGEST_ANSWER
from gateway_tokens.tokens import GatewayToken, KeyType, ServiceId
from tests import served_estate
from tests.served_estate import CONTOSO, FABRIKAM

JSON = {"Content-Type": "application/json"}
SOVEREIGN = "https://management.core.example"
EXPIRY = (datetime.now(UTC) + timedelta(days=1)).replace(second=0, microsecond=0)
SIGNATURE = "A" * 86 + "=="
# Azure's answers that a repeat may change, and other ways in which a request fails for a moment.
PASSING: list[dict[str, Any]] = [
    *({"status": status} for status in (408, 429, 502, 503, 504)),
    {"status": 500, "headers": JSON, "body": '{"error": {"code": "InternalServerError"}}'},
    {"status": 502, "headers": {"Content-Type": "text/html"}, "body": "<html>Bad Gateway</html>"},
    {"status": 409, "headers": JSON, "body": '{"error": {"code": "PessimisticConcurrencyConflict"}}'},
    {"status": 422, "headers": JSON, "body": '{"error": {"code": "ManagementApiRequestFailed"}}'},
    *({"kind": kind} for kind in ("drop", "drop_after", "truncate")),
]


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


@pytest.fixture
def gateways(azure: AzureAccess) -> ArmGateways:
    return ArmGateways(azure, azure.budget)


async def issue(
    gateways: ArmGateways, gateway: str = "edge-01", service: ServiceId = CONTOSO
) -> GatewayToken:
    return await gateways.generate_token(service, gateway, KeyType.PRIMARY, EXPIRY)


async def issue_with(emulator: Emulator, **settings: str) -> None:
    """Issue one token by an app with these settings."""
    access = AzureAccess(read_settings(served_estate.environment(emulator) | settings))
    try:
        await issue(ArmGateways(access, access.budget))
    finally:
        await access.close()


def answers(emulator: Emulator, status: int, body: object = "", headers: Mapping[str, str] = JSON) -> None:
    """ARM answers so from now on."""
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    emulator.azure.faults.clear()
    emulator.azure.faults.add(Fault(host="arm", times=None, status=status, body=text, headers=headers))


async def refusal(gateways: ArmGateways) -> AzureError:
    with pytest.raises(AzureError) as refused:
        await asyncio.wait_for(issue(gateways), timeout=10)
    return refused.value


async def listed(gateways: ArmGateways, service: ServiceId = CONTOSO) -> list[str]:
    return [name async for name in gateways.names(service)]


def sent(emulator: Emulator) -> int:
    return len(emulator.azure.called("arm"))


def edge_01(emulator: Emulator) -> Gateway:
    service = emulator.azure.services[CONTOSO.subscription_id, CONTOSO.resource_group, CONTOSO.name]
    edge = service.gateway("edge-01")
    assert edge is not None
    return edge


# What is sent


@pytest.mark.usefixtures("sign_in")
async def test_the_request_has_the_form_that_the_reference_gives(
    emulator: Emulator, recorder: Recorder
) -> None:
    # A sovereign cloud is reached by its own address and scope.
    await issue_with(emulator, ARM_ENDPOINT=f"{recorder.url}/", ARM_SCOPE=f"{SOVEREIGN}/.default")
    [(method, path, query, headers, body)] = recorder.seen
    assert (method, path) == ("POST", f"{CONTOSO}/gateways/edge-01/generateToken")
    assert query["api-version"] >= "2022-08-01"
    assert headers["authorization"].startswith("Bearer ")
    assert headers["content-type"] == "application/json"
    assert set(body) == {"keyType", "expiry"}
    assert body["keyType"] == "primary"
    # yyyy-MM-ddTHH:mm:ssZ; the reference's own example has a fraction of a second.
    assert body["expiry"] in {f"{EXPIRY:%Y-%m-%dT%H:%M:%S}Z", f"{EXPIRY:%Y-%m-%dT%H:%M:%S}.000Z"}
    assert sent(emulator) == 0
    assert SOVEREIGN in emulator.azure.bearers.values()


@pytest.mark.usefixtures("sign_in")
async def test_the_scope_is_that_of_the_address_unless_set(emulator: Emulator) -> None:
    await issue_with(emulator, ARM_SCOPE="")
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
    await gateways.regenerate_key(CONTOSO, "edge-01", KeyType.PRIMARY)
    costs = [Cost.WRITE, Cost.READ, Cost.READ, Cost.WRITE]
    assert budget.spent == [(CONTOSO.subscription_id, cost) for cost in costs]


# What a good answer becomes


async def test_an_issued_token_is_one_that_the_gateway_can_sign_in_with(
    emulator: Emulator, gateways: ArmGateways
) -> None:
    for key in KeyType:
        token = await gateways.generate_token(CONTOSO, "edge-01", key, EXPIRY)
        assert edge_01(emulator).accepts(token.value.reveal(), datetime.now(UTC))
        assert (token.gateway_id, token.expiry) == ("edge-01", EXPIRY)


async def test_every_page_of_a_list_is_read_and_read_again_when_it_fails_for_a_moment(
    emulator: Emulator, gateways: ArmGateways, pauses: list[float]
) -> None:
    emulator.azure.page_size = 3
    assert await listed(gateways) == list(served_estate.GATEWAYS[CONTOSO])
    assert len(emulator.azure.called("arm", "GET")) == 2
    emulator.azure.faults.add(Fault(host="arm", skip=1, times=2, status=503))
    assert await listed(gateways) == list(served_estate.GATEWAYS[CONTOSO])
    assert pauses == [1.6]


async def test_a_service_without_gateways_has_no_names(emulator: Emulator, gateways: ArmGateways) -> None:
    emulator.azure.add_service(CONTOSO.subscription_id, "rg-apis", "empty-apim")
    assert await listed(gateways, ServiceId(CONTOSO.subscription_id, "rg-apis", "empty-apim")) == []


async def test_a_regeneration_ends_the_tokens_of_that_key_and_no_others(
    emulator: Emulator, gateways: ArmGateways
) -> None:
    tokens = [await gateways.generate_token(CONTOSO, "edge-01", key, EXPIRY) for key in KeyType]
    await gateways.regenerate_key(CONTOSO, "edge-01", KeyType.PRIMARY)
    alive = [edge_01(emulator).accepts(token.value.reveal(), datetime.now(UTC)) for token in tokens]
    assert alive == [False, True]


# What is repeated


@pytest.mark.parametrize("fault", PASSING, ids=str)
async def test_a_failure_that_may_pass_is_repeated_and_told_when_it_lasts(
    emulator: Emulator, gateways: ArmGateways, fault: dict[str, Any]
) -> None:
    emulator.azure.faults.add(Fault(host="arm", times=TRIES - 1, **fault))
    assert (await issue(gateways)).expiry == EXPIRY
    assert sent(emulator) == TRIES == 4
    emulator.azure.faults.add(Fault(host="arm", times=None, **fault))
    error = await refusal(gateways)
    assert type(error) is (AzureThrottled if fault.get("status") == 429 else AzureUnavailable)
    assert error.facts.status == fault.get("status", 0)
    assert sent(emulator) == 2 * TRIES


@pytest.mark.parametrize(
    "fault",
    [*PASSING, *({"status": status, "headers": {"Retry-After": "1"}} for status in (408, 413, 429, 503))],
    ids=str,
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


@pytest.mark.parametrize(
    ("asked", "waited"),
    [
        ("24", [24, 24, 24]),
        (str(int(OPERATION_SECONDS)), []),
        ("3600", []),
        ("soon", [1.6, 3.2]),
        (None, [1.6, 3.2]),  # and not before the first repeat
    ],
)
async def test_a_retry_after_is_waited_out_unless_no_operation_can_wait_so_long(
    emulator: Emulator, gateways: ArmGateways, pauses: list[float], asked: str | None, waited: list[float]
) -> None:
    answers(emulator, 429, headers={"Retry-After": asked} if asked else {})
    error = await refusal(gateways)
    assert isinstance(error, AzureThrottled)
    assert error.facts.retry_after == (int(asked) if asked and asked.isdecimal() else None)
    assert pauses == waited
    assert sent(emulator) == (TRIES if waited else 1)


# What a refusal becomes


@pytest.mark.parametrize(
    ("status", "code", "kind", "text"),
    [
        *((status, "Odd", AzureError, "Look up Azure's code") for status in (400, 402, 403, 405, 409, 412, 418, 422, 451)),
        (400, "ValidationError", AzureRejected, "a name or value in the request invalid"),
        (400, "MethodNotAllowedInPricingTier", AzureBlocked, "has no self-hosted gateways"),
        (401, "Odd", AzureBlocked, "does not accept the app's sign-in"),
        (401, "InvalidAuthenticationTokenTenant", AzureBlocked, "The resource trusts another tenant"),
        (403, "AuthorizationFailed", AzureForbidden, "needs a role with the action"),
        (403, "RequestDisallowedByPolicy", AzureBlocked, "An Azure policy forbids it."),
        (404, "ResourceNotFound", AzureNotFound, "Check that the resource exists"),
        (409, "ScopeLocked", AzureBlocked, "A lock makes the resource read-only."),
        (409, "ReadOnlyDisabledSubscription", AzureBlocked, "The subscription is disabled"),
        (409, "SubscriptionNotRegistered", AzureBlocked, "has not registered the resource provider"),
    ],
)  # fmt: skip
async def test_a_refusal_has_its_kind_advice_azures_code_and_request_id(  # noqa: PLR0917 - a table's columns
    emulator: Emulator, gateways: ArmGateways, status: int, code: str, kind: type[AzureError], text: str
) -> None:
    headers = {**JSON, "x-ms-correlation-request-id": "7e57-id"}
    answers(emulator, status, {"error": {"code": code, "message": "A secret."}}, headers)
    error = await refusal(gateways)
    assert type(error) is kind
    assert (error.facts.status, error.facts.code, error.facts.request_id) == (status, code, "7e57-id")
    assert text in str(error)
    assert "7e57-id" in str(error)
    assert "A secret." not in f"{error} {error!r}"
    busy_perhaps = code == "Odd" and status in {409, 412, 422}
    assert sent(emulator) == (TRIES if busy_perhaps else 1)


async def test_the_innermost_code_decides(emulator: Emulator, gateways: ArmGateways) -> None:
    for inner, kind, text in (
        (
            {"code": "Odd", "innererror": {"code": "ForbiddenByGovernancePolicy"}},
            AzureBlocked,
            "Azure policy",
        ),
        ({"code": "Newer"}, AzureError, "403 Newer. Look up Azure's code"),
    ):
        answers(emulator, 403, {"error": {"code": "Forbidden", "innererror": inner}})
        error = await refusal(gateways)
        assert type(error) is kind
        assert text in str(error)


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
        answers(emulator, 400, body)
        error = await refusal(gateways)
        assert (type(error), error.facts.status) == (AzureError, 400), body


async def test_403_names_the_action_and_the_scope_that_the_identity_lacks(
    emulator: Emulator, gateways: ArmGateways
) -> None:
    for granted, call, action, role in (
        ({READ_ACTION}, issue(gateways), ISSUE_ACTION, "Gateway token issuer"),
        ({ISSUE_ACTION}, listed(gateways), READ_ACTION, "Gateway token issuer"),
        (
            {READ_ACTION, ISSUE_ACTION},
            gateways.regenerate_key(CONTOSO, "edge-01", KeyType.PRIMARY),
            REGENERATE_ACTION,
            "Gateway key regenerator",
        ),
    ):
        emulator.azure.granted = granted
        with pytest.raises(AzureForbidden, match=f"'{action}' at '{CONTOSO}', such as '{role}'") as refused:
            await call
        assert (refused.value.action, refused.value.scope) == (action, str(CONTOSO))


async def test_404_has_the_code_of_what_azure_does_not_know(gateways: ArmGateways) -> None:
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


@pytest.mark.usefixtures("sign_in")
async def test_a_certificate_that_is_not_trusted_is_told_as_such_at_the_first_try(
    emulator: Emulator, pauses: list[float]
) -> None:
    with pytest.raises(AzureUnavailable, match="certificate is not trusted"):
        await issue_with(emulator, CA_FILE="")
    assert (pauses, sent(emulator)) == ([], 0)


# When the time of an operation is over


@pytest.mark.usefixtures("short_operations")
@pytest.mark.parametrize(
    ("first", "kind", "code", "retry_after"),
    [
        (None, AzureUnavailable, "", None),
        (Fault("identity", times=None, kind="delay", seconds=60), IdentityUnavailable, "", None),
        (Fault("arm", status=429, headers={"Retry-After": "30"}), AzureThrottled, "", 30),
        (
            Fault("arm", status=503, headers=JSON, body='{"error": {"code": "Overloaded"}}'),
            AzureUnavailable,
            "Overloaded",
            None,
        ),
    ],
    ids=["no answer", "no answer of the identity", "throttled", "failed"],
)
async def test_an_operation_that_is_cut_off_is_told_as_what_azure_answered_last(  # noqa: PLR0917 - a table's columns
    emulator: Emulator,
    gateways: ArmGateways,
    monkeypatch: pytest.MonkeyPatch,
    first: Fault | None,
    kind: type[AzureError],
    code: str,
    retry_after: float | None,
) -> None:
    monkeypatch.setattr("gateway_tokens.azure.errors.Retry.get_retry_after", lambda *_: 0.01)
    if first:
        emulator.azure.faults.add(first)
    emulator.azure.faults.add(Fault("arm", times=None, kind="delay", seconds=60))
    error = await refusal(gateways)
    assert type(error) is kind
    assert (error.facts.code, error.facts.retry_after) == (code, retry_after)
    assert error.facts.timed_out is (first is None)


async def test_one_operation_does_not_tell_what_another_was_answered(
    emulator: Emulator, gateways: ArmGateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(emulator, 403, {"error": {"code": "AuthorizationFailed"}})
    assert isinstance(await refusal(gateways), AzureForbidden)
    emulator.azure.faults.clear()
    emulator.azure.faults.add(Fault("arm", times=None, kind="delay", seconds=60))
    monkeypatch.setattr("gateway_tokens.azure.errors.OPERATION_SECONDS", 0.1)
    assert isinstance(await refusal(gateways), AzureUnavailable)


def test_the_limits_nest_so_that_the_innermost_cause_is_told() -> None:
    longest_wait_for_a_turn = 5
    assert IDENTITY_SECONDS < OPERATION_SECONDS
    # A caller who renews a gateway waits for a turn and a listing, then for a turn and a token.
    assert longest_wait_for_a_turn + OPERATION_SECONDS < LONGEST_ANSWER < 60


# 200, but not with a token or a list


async def test_200_without_a_token_is_token_unusable_and_not_quoted(
    emulator: Emulator, gateways: ArmGateways
) -> None:
    values = (
        *("null", '""', "5", '["edge-01"]', '"edge-01&202601010000"', '"edge-01&202601010000&not base64"'),
        *(f'"edge-01&202613010000&{SIGNATURE}"', '"edge-01&202601010000&QUJD"'),
    )
    unusable: list[tuple[str | bytes, str]] = [
        *((f'{{"value": {value}}}', "application/json") for value in values),
        *(
            (body, "application/json")
            for body in ("", "{}", "null", "[]", '"edge-01"', '{"value": "edge-01&')
        ),
        *((body, "application/json") for body in ("edge-01&202601010000&x", b"\xff\xfe\xff")),
        ("<html>Sign in to the proxy</html>", "text/html"),
        ("<token>edge-01</token>", "application/xml"),
        (f'{{"value": "edge-01&202601010000&{SIGNATURE}"}}', "text/plain"),
        ("edge-01", ""),
    ]
    for body, kind in unusable:
        answers(emulator, 200, body, {"Content-Type": kind} if kind else {})
        with pytest.raises(TokenUnusable) as refused:
            await issue(gateways)
        assert "edge-01" not in str(refused.value), body
        assert refused.value.__suppress_context__ or refused.value.__context__ is None, body


async def test_200_with_a_token_that_ends_a_minute_off_is_token_unusable(
    emulator: Emulator, gateways: ArmGateways
) -> None:
    for minutes in (-1, 1):
        wrong = EXPIRY + timedelta(minutes=minutes)
        answers(emulator, 200, {"value": f"edge-01&{wrong:%Y%m%d%H%M}&{SIGNATURE}"})
        with pytest.raises(TokenUnusable, match="it expires at"):
            await issue_checked(gateways, CONTOSO, "edge-01", KeyType.PRIMARY, EXPIRY)


async def test_a_list_of_another_form_is_an_azure_error(emulator: Emulator, gateways: ArmGateways) -> None:
    for body in (
        "",
        "[]",
        "null",
        '{"value": 5}',
        "<html>",
        '{"value": [{"id": 1}]}',
        '{"value": [{"name": ""}]}',
    ):
        answers(emulator, 200, body)
        with pytest.raises(AzureError):
            await listed(gateways)


async def test_a_list_whose_connection_breaks_is_azure_unavailable(
    emulator: Emulator, gateways: ArmGateways
) -> None:
    for fault in (Fault("arm", times=None, kind="drop"), Fault("arm", times=None, kind="truncate")):
        emulator.azure.faults.clear()
        emulator.azure.faults.add(fault)
        with pytest.raises(AzureUnavailable):
            await listed(gateways)
