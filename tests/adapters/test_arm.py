"""`ArmGateways` on the wire: what it sends to Azure Resource Manager, and what it makes of every answer."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from emulator.azure import Azure
from emulator.endpoint import Endpoint, Route
from emulator.faults import Fault, Kind
from emulator.server import Emulator
from gateway_tokens.azure.api_management import ISSUE_ACTION, READ_ACTION, ArmGateways
from gateway_tokens.azure.budget import ArmBudget, Cost
from gateway_tokens.azure.clients import AzureAccess
from gateway_tokens.azure.errors import TRIES
from gateway_tokens.errors import (
    AzureError,
    AzureForbidden,
    AzureNotFound,
    AzureRejected,
    AzureThrottled,
    AzureUnavailable,
    GatewayTokensError,
    IdentityUnavailable,
    TokenUnusable,
)
from gateway_tokens.errors import Fault as Detail
from gateway_tokens.estate.app_settings import read_settings
from gateway_tokens.issuing import issue_checked
from gateway_tokens.tokens import GatewayToken, KeyType, ServiceId
from tests import estate
from tests.estate import CONTOSO, FABRIKAM

JSON = {"Content-Type": "application/json"}
IDENTITY = ("IDENTITY_ENDPOINT", "IDENTITY_HEADER")
EXPIRY = (datetime.now(UTC) + timedelta(days=1)).replace(second=0, microsecond=0)
SIGNATURE = "A" * 86 + "=="


class Recorder(Endpoint):
    """A sovereign cloud's ARM that keeps each request with its body and issues a fixed token."""

    host = "sovereign"

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str], dict[str, str], Any]] = []

    def routes(self) -> list[Route]:
        return [Route("POST", "/{path:.*}", self._keep)]

    def audiences(self) -> tuple[str]:
        return ("https://management.core.example",)

    async def _keep(self, _: Azure, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append((request.method, request.path, dict(request.query), headers, await request.json()))
        return web.json_response({"value": f"edge-01&{EXPIRY:%Y%m%d%H%M}&{SIGNATURE}"})


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def emulator(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Emulator]:
    async with Emulator(endpoints=[recorder]) as running:
        estate.populate(running)
        for name in IDENTITY:
            monkeypatch.setenv(name, running.settings()[name])
        yield running


@pytest.fixture
async def azure(emulator: Emulator) -> AsyncIterator[AzureAccess]:
    access = AzureAccess(read_settings(estate.environment(emulator)))
    yield access
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


async def refusal(gateways: ArmGateways) -> GatewayTokensError:
    with pytest.raises(GatewayTokensError) as refused:
        await issue(gateways)
    return refused.value


# What is sent


async def test_the_request_has_the_form_that_the_reference_gives(
    emulator: Emulator, recorder: Recorder
) -> None:
    environ = estate.environment(
        emulator, ARM_ENDPOINT=recorder.url, ARM_SCOPE="https://management.core.example/.default"
    )
    access = AzureAccess(read_settings(environ))
    await ArmGateways(access, access.budget).generate_token(CONTOSO, "edge-01", KeyType.SECONDARY, EXPIRY)
    await access.close()
    [(method, path, query, headers, body)] = recorder.seen
    assert (method, path) == ("POST", f"{CONTOSO}/gateways/edge-01/generateToken")
    assert query["api-version"] >= "2022-08-01"
    assert headers["authorization"].startswith("Bearer ")
    assert headers["content-type"] == "application/json"
    assert body["keyType"] == "secondary"
    assert set(body) == {"keyType", "expiry"}
    # yyyy-MM-ddTHH:mm:ssZ; the reference's own example has a fraction of a second.
    assert body["expiry"] in {f"{EXPIRY:%Y-%m-%dT%H:%M:%S}Z", f"{EXPIRY:%Y-%m-%dT%H:%M:%S}.000Z"}


async def test_a_sovereign_cloud_is_reached_by_its_address_and_its_scope(
    emulator: Emulator, recorder: Recorder
) -> None:
    environ = estate.environment(
        emulator, ARM_ENDPOINT=f"{recorder.url}/", ARM_SCOPE="https://management.core.example/.default"
    )
    access = AzureAccess(read_settings(environ))
    token = await issue(ArmGateways(access, access.budget))
    await access.close()
    assert token.gateway_id == "edge-01"
    assert emulator.azure.called("arm") == []
    assert "https://management.core.example" in emulator.azure.bearers.values()


async def test_the_scope_is_that_of_the_address_unless_set(emulator: Emulator) -> None:
    environ = estate.environment(emulator)
    del environ["ARM_SCOPE"]
    access = AzureAccess(read_settings(environ))
    await issue(ArmGateways(access, access.budget))
    await access.close()
    assert set(emulator.azure.bearers.values()) == {emulator.arm_url}


async def test_without_the_ca_file_an_unknown_authority_is_not_trusted(emulator: Emulator) -> None:
    settings = read_settings(estate.environment(emulator, CA_FILE=""))
    access = AzureAccess(settings)
    with pytest.raises(AzureUnavailable):
        await issue(ArmGateways(access, access.budget))
    await access.close()
    assert emulator.azure.called("arm") == []


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


async def test_every_page_of_a_list_is_read(emulator: Emulator, gateways: ArmGateways) -> None:
    emulator.azure.page_size = 3
    names = [name async for name in gateways.names(CONTOSO)]
    assert names == list(estate.GATEWAYS[CONTOSO])
    assert len(emulator.azure.called("arm", "GET")) == 2


async def test_a_service_without_gateways_has_no_names(emulator: Emulator, gateways: ArmGateways) -> None:
    emulator.azure.add_service(CONTOSO.subscription_id, "rg-apis", "empty-apim")
    empty = ServiceId(CONTOSO.subscription_id, "rg-apis", "empty-apim")
    assert [name async for name in gateways.names(empty)] == []


async def test_a_page_that_fails_for_a_moment_is_read_again(
    emulator: Emulator, gateways: ArmGateways, pauses: list[float]
) -> None:
    emulator.azure.page_size = 3
    emulator.azure.faults.add(Fault(host="arm", skip=1, times=2, status=503))
    assert len([name async for name in gateways.names(CONTOSO)]) == 4
    assert pauses == [1.6]


async def test_a_page_that_is_forbidden_names_the_permission_to_list(
    emulator: Emulator, gateways: ArmGateways
) -> None:
    emulator.azure.granted = {ISSUE_ACTION}
    with pytest.raises(AzureForbidden) as refused:
        [name async for name in gateways.names(CONTOSO)]
    assert (refused.value.action, refused.value.scope) == (READ_ACTION, str(CONTOSO))


@pytest.mark.parametrize("body", ["", "[]", "null", '{"value": 5}', "<html>", '{"value": [{"id": 1}]}'])
async def test_a_list_that_is_none_is_an_error_of_ours(
    emulator: Emulator, gateways: ArmGateways, body: str
) -> None:
    answers(emulator, 200, body)
    with pytest.raises(AzureError):
        [name async for name in gateways.names(CONTOSO)]


# What a bad answer becomes, status by status

VALIDATION = {
    "error": {
        "code": "ValidationError",
        "message": "One or more fields contain incorrect values:",
        "details": [{"code": "ValidationError", "target": "expiry", "message": "Too late."}],
    }
}


async def test_400_carries_azures_code_message_and_details(emulator: Emulator, gateways: ArmGateways) -> None:
    answers(emulator, 400, VALIDATION)
    error = await refusal(gateways)
    assert isinstance(error, AzureRejected)
    assert (error.facts.status, error.facts.code) == (400, "ValidationError")
    assert error.facts.message == "One or more fields contain incorrect values:"
    assert error.facts.details == (Detail("expiry", "ValidationError: Too late."),)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "null",
        {"error": "text"},
        {"error": {"code": 1, "message": ["m"], "details": [1, None]}},
        {"error": {"code": "V", "message": "m", "details": "text"}},
        {"error": {"code": "V", "message": "m", "details": {"code": "x"}}},
    ],
)
async def test_400_in_another_form_is_still_a_rejection(
    emulator: Emulator, gateways: ArmGateways, body: object
) -> None:
    answers(emulator, 400, body)
    error = await refusal(gateways)
    assert isinstance(error, AzureRejected)
    assert error.facts.status == 400


async def test_a_very_long_message_is_cut(emulator: Emulator, gateways: ArmGateways) -> None:
    detail = {"code": "V", "target": "t", "message": "d" * 5000}
    answers(emulator, 400, {"error": {"code": "V", "message": "m" * 5000, "details": [detail]}})
    error = await refusal(gateways)
    assert isinstance(error, AzureRejected)
    assert (len(error.facts.message), len(error.facts.details[0].message)) == (500, 500)


async def test_401_means_that_the_identity_is_not_accepted(emulator: Emulator, gateways: ArmGateways) -> None:
    emulator.azure.faults.add(Fault(host="arm", times=None, kind="call", action=emulator.azure.bearers.clear))
    error = await refusal(gateways)
    assert isinstance(error, IdentityUnavailable)
    assert error.facts.status == 401


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


@pytest.mark.parametrize(
    ("service", "gateway", "code"),
    [
        (CONTOSO, "edge-99", "ResourceNotFound"),
        (ServiceId(CONTOSO.subscription_id, "rg-apis", "gone"), "edge-01", "ResourceNotFound"),
        (ServiceId(CONTOSO.subscription_id, "rg-gone", "contoso-apim"), "edge-01", "ResourceGroupNotFound"),
        (
            ServiceId("33333333-3333-3333-3333-333333333333", "rg-apis", "contoso-apim"),
            "edge-01",
            "SubscriptionNotFound",
        ),
    ],
    ids=["gateway", "service", "group", "subscription"],
)
async def test_404_says_what_azure_does_not_know(
    gateways: ArmGateways, service: ServiceId, gateway: str, code: str
) -> None:
    with pytest.raises(AzureNotFound) as refused:
        await issue(gateways, gateway, service)
    assert (refused.value.facts.status, refused.value.facts.code) == (404, code)


@pytest.mark.parametrize("status", [409, 412])
async def test_a_conflict_is_not_blamed_on_the_request(
    emulator: Emulator, gateways: ArmGateways, status: int
) -> None:
    answers(emulator, status, {"error": {"code": "Conflict", "message": "The service is being updated."}})
    error = await refusal(gateways)
    assert type(error) is AzureError
    assert (error.facts.status, error.facts.code) == (status, "Conflict")


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


async def test_429_for_ever_is_throttled_after_the_last_try(
    emulator: Emulator, gateways: ArmGateways
) -> None:
    answers(emulator, 429)
    assert isinstance(await refusal(gateways), AzureThrottled)
    assert len(emulator.azure.called("arm")) == TRIES


HTML = {"status": 502, "headers": {"Content-Type": "text/html"}, "body": "<html>Bad Gateway</html>"}
FAILING: dict[str, dict[str, Any]] = {
    "500": {"status": 500, "headers": JSON, "body": '{"error": {"code": "InternalServerError"}}'},
    "502 in HTML": HTML,
    "503": {"status": 503},
    "504": {"status": 504},
    "dropped before the work": {"kind": "drop"},
    "dropped after the work": {"kind": "drop_after"},
    "truncated": {"kind": "truncate"},
}


@pytest.mark.parametrize("fault", FAILING.values(), ids=FAILING)
async def test_a_failure_that_passes_is_not_seen(
    emulator: Emulator, gateways: ArmGateways, fault: dict[str, Any]
) -> None:
    emulator.azure.faults.add(Fault(host="arm", times=TRIES - 1, **fault))
    assert (await issue(gateways)).expiry == EXPIRY
    assert len(emulator.azure.called("arm")) == TRIES


@pytest.mark.parametrize("fault", FAILING.values(), ids=FAILING)
async def test_a_failure_that_lasts_is_azure_unavailable(
    emulator: Emulator, gateways: ArmGateways, fault: dict[str, Any]
) -> None:
    emulator.azure.faults.add(Fault(host="arm", times=None, **fault))
    error = await refusal(gateways)
    assert isinstance(error, AzureUnavailable)
    assert error.facts.status == fault.get("status", 0)
    assert len(emulator.azure.called("arm")) == TRIES


@pytest.mark.parametrize("status", [402, 405, 418, 451])
async def test_any_other_refusal_is_an_azure_error_with_its_status(
    emulator: Emulator, gateways: ArmGateways, status: int
) -> None:
    answers(emulator, status, {"error": {"code": "Odd"}})
    error = await refusal(gateways)
    assert type(error) is AzureError
    assert (error.facts.status, error.facts.code) == (status, "Odd")


@pytest.mark.parametrize("status", [400, 403, 404, 409, 418, 500])
async def test_a_refusal_names_azures_request_id(
    emulator: Emulator, gateways: ArmGateways, status: int
) -> None:
    answers(emulator, status, headers={**JSON, "x-ms-correlation-request-id": "7e57-id"})
    error = await refusal(gateways)
    assert isinstance(error, AzureError)
    assert error.facts.request_id == "7e57-id"
    assert "7e57-id" in str(error)


# 200, but not with a token

UNUSABLE: dict[str, tuple[str | bytes, dict[str, str]]] = {
    "empty": ("", JSON),
    "no value": ("{}", JSON),
    "null": ("null", JSON),
    "value is null": ('{"value": null}', JSON),
    "value is empty": ('{"value": ""}', JSON),
    "value is a number": ('{"value": 5}', JSON),
    "value is a list": ('{"value": ["edge-01"]}', JSON),
    "a list": ("[]", JSON),
    "a text": ('"edge-01"', JSON),
    "cut-off JSON": ('{"value": "edge-01&', JSON),
    "not JSON": ("edge-01&202601010000&x", JSON),
    "not text": (b"\xff\xfe\xff", JSON),
    "HTML": ("<html>Sign in to the proxy</html>", {"Content-Type": "text/html"}),
    "plain text": (f'{{"value": "edge-01&202601010000&{SIGNATURE}"}}', {"Content-Type": "text/plain"}),
    "XML": ("<token>edge-01</token>", {"Content-Type": "application/xml"}),
    "no type": ("edge-01", {}),
    "two parts": ('{"value": "edge-01&202601010000"}', JSON),
    "an expiry that is no date": (f'{{"value": "edge-01&202613010000&{SIGNATURE}"}}', JSON),
    "a signature that is none": ('{"value": "edge-01&202601010000&not base64"}', JSON),
    "a signature too short": ('{"value": "edge-01&202601010000&QUJD"}', JSON),
}


@pytest.mark.parametrize(("body", "headers"), UNUSABLE.values(), ids=UNUSABLE)
async def test_200_without_a_token_is_token_unusable_and_not_quoted(
    emulator: Emulator, gateways: ArmGateways, body: str | bytes, headers: dict[str, str]
) -> None:
    answers(emulator, 200, body, headers=headers)
    error = await refusal(gateways)
    assert isinstance(error, TokenUnusable)
    assert "edge-01" not in str(error)
    assert error.__suppress_context__ or error.__context__ is None


async def test_200_for_another_gateway_is_token_unusable(emulator: Emulator, gateways: ArmGateways) -> None:
    answers(emulator, 200, {"value": f"edge-02&{EXPIRY:%Y%m%d%H%M}&{SIGNATURE}"})
    with pytest.raises(TokenUnusable, match="another gateway"):
        await issue_checked(gateways, CONTOSO, "edge-01", KeyType.PRIMARY, EXPIRY)


@pytest.mark.parametrize("minutes", [-1, 1])
async def test_200_with_an_expiry_a_minute_off_is_token_unusable(
    emulator: Emulator, gateways: ArmGateways, minutes: int
) -> None:
    wrong = EXPIRY + timedelta(minutes=minutes)
    answers(emulator, 200, {"value": f"edge-01&{wrong:%Y%m%d%H%M}&{SIGNATURE}"})
    with pytest.raises(TokenUnusable, match="it expires at"):
        await issue_checked(gateways, CONTOSO, "edge-01", KeyType.PRIMARY, EXPIRY)


@pytest.mark.parametrize("value", ["edge-01", "EDGE-01"])
async def test_200_with_the_token_asked_for_is_taken_in_any_case_of_the_name(
    emulator: Emulator, gateways: ArmGateways, value: str
) -> None:
    answers(emulator, 200, {"value": f"{value}&{EXPIRY:%Y%m%d%H%M}&{SIGNATURE}"})
    token = await issue_checked(gateways, CONTOSO, "edge-01", KeyType.PRIMARY, EXPIRY)
    assert token.gateway_id == value


KINDS: tuple[Kind, ...] = ("drop", "truncate")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_list_whose_connection_breaks_is_azure_unavailable(
    emulator: Emulator, gateways: ArmGateways, kind: Kind
) -> None:
    emulator.azure.faults.add(Fault(host="arm", times=None, kind=kind))
    with pytest.raises(AzureUnavailable):
        [name async for name in gateways.names(CONTOSO)]


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
    assert len([name async for name in gateways.names(CONTOSO)]) == 4
    subscription = CONTOSO.subscription_id
    assert budget.spent == [(subscription, Cost.WRITE), (subscription, Cost.READ), (subscription, Cost.READ)]
