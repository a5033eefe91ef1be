"""`ArmGateways` on the wire: what it sends to Azure Resource Manager, and what it makes of every answer."""

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emulator.faults import Fault
from emulator.server import Emulator
from gateway_tokens import errors
from gateway_tokens.azure.api_management import ISSUE_ACTION, ArmGateways, gateway_missing, issue_checked
from gateway_tokens.azure.clients import ArmBudget, AzureAccess, Cost
from gateway_tokens.azure.errors import OPERATION_SECONDS, TRIES
from gateway_tokens.azure.identity import IDENTITY_SECONDS
from gateway_tokens.http.answers import LONGEST_ANSWER
from gateway_tokens.tokens import GatewayRef, GatewayToken, KeyType, ServiceId
from tests.renewal_estate import CONTOSO
from tests.served_estate import GATEWAYS

JSON = {"Content-Type": "application/json"}
EXPIRY = (datetime.now(UTC) + timedelta(days=1)).replace(second=0, microsecond=0)
SIGNATURE = "A" * 86 + "=="
HANGS: dict[str, Any] = {"kind": "delay", "seconds": 60}
# Azure's answers that a repeat may change, and other ways in which a request fails for a moment.
PASSING: list[dict[str, Any]] = [
    *({"status": status} for status in (408, 429, 502, 503, 504)),
    {"status": 500, "headers": JSON, "body": '{"error": {"code": "InternalServerError"}}'},
    {"status": 502, "headers": {"Content-Type": "text/html"}, "body": "<html>Bad Gateway</html>"},
    {"status": 409, "headers": JSON, "body": '{"error": {"code": "PessimisticConcurrencyConflict"}}'},
    {"status": 422, "headers": JSON, "body": '{"error": {"code": "ManagementApiRequestFailed"}}'},
    *({"kind": kind} for kind in ("drop", "drop_after", "truncate")),
]


class Arm:
    """The app's way to the estate's gateways, and Azure as it finds it."""

    def __init__(self, emulator: Emulator, azure: AzureAccess) -> None:
        self.azure, self.gateways = emulator.azure, ArmGateways(azure, azure.budget)

    def fails(self, times: int | None = None, **fault: Any) -> None:  # noqa: ANN401 - a fault's own fields
        """ARM fails so often in this way, and in no other."""
        self.azure.faults.clear()
        self.azure.faults.add(Fault("arm", times=times, **fault))

    def answers(self, status: int, body: object = "", headers: Mapping[str, str] = JSON) -> None:
        """ARM answers so from now on."""
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        self.fails(status=status, body=text, headers=headers)

    async def issue(self, key: KeyType = KeyType.PRIMARY) -> GatewayToken:
        return await self.gateways.generate_token(CONTOSO, "edge-01", key, EXPIRY)

    async def listed(self, service: ServiceId = CONTOSO) -> list[str]:
        return [name async for name in self.gateways.names(service)]

    async def regenerate(self) -> None:
        await self.gateways.regenerate_key(CONTOSO, "edge-01", KeyType.PRIMARY)

    async def refusal(self) -> errors.AzureError:
        with pytest.raises(errors.AzureError) as refused:
            await asyncio.wait_for(self.issue(), timeout=10)
        return refused.value

    @property
    def sent(self) -> int:
        return len(self.azure.called("arm"))


@pytest.fixture
def arm(emulator: Emulator, azure: AzureAccess) -> Arm:
    return Arm(emulator, azure)


# What is sent, and what a good answer becomes


async def test_the_scope_is_that_of_the_address_unless_set(
    emulator: Emulator, opens: Callable[..., AzureAccess]
) -> None:
    sovereign = "https://management.core.example"
    await Arm(emulator, opens(ARM_SCOPE="")).issue()
    refused = await Arm(emulator, opens(ARM_SCOPE=f"{sovereign}/.default")).refusal()
    assert isinstance(refused, errors.AzureBlocked)
    assert list(emulator.azure.bearers.values()) == [emulator.arm_url, sovereign]


async def test_every_request_takes_a_turn_in_the_budget(
    arm: Arm, azure: AzureAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent: list[tuple[str, Cost]] = []

    async def spend(_: ArmBudget, subscription_id: str, cost: Cost) -> None:
        spent.append((subscription_id, cost))

    monkeypatch.setattr(ArmBudget, "spend", spend)
    arm.azure.page_size = 2
    await arm.issue()
    await arm.listed()
    await arm.regenerate()
    await azure.arm_request("GET", f"{CONTOSO}/gateways", api_version="2024-05-01", action="", scope="")
    with pytest.raises(errors.AzureNotFound):
        await azure.arm_request("POST", f"{CONTOSO}/gone", api_version="1", action="", scope="")
    costs = [Cost.WRITE, Cost.READ, Cost.READ, Cost.WRITE, Cost.READ, Cost.WRITE]
    assert spent == [(CONTOSO.subscription_id, cost) for cost in costs]


async def test_the_gateway_accepts_the_tokens_of_a_key_until_that_key_is_regenerated(arm: Arm) -> None:
    edge_01 = arm.azure.services[CONTOSO.subscription_id, "rg-apis", "contoso-apim"].gateways["edge-01"]
    tokens = [await arm.issue(key) for key in KeyType]
    assert [(token.gateway_id, token.expiry) for token in tokens] == [("edge-01", EXPIRY)] * 2
    accepted = []
    for _ in range(2):
        accepted.append([edge_01.accepts(token.value.reveal(), datetime.now(UTC)) for token in tokens])
        await arm.regenerate()
    assert accepted == [[True, True], [False, True]]


async def test_every_page_of_a_list_is_read_and_repeated_if_it_fails(arm: Arm, pauses: list[float]) -> None:
    arm.azure.page_size = 2
    assert await arm.listed() == list(GATEWAYS[CONTOSO])
    assert len(arm.azure.called("arm", "GET")) == 2
    arm.fails(skip=1, times=2, status=503)
    assert await arm.listed() == list(GATEWAYS[CONTOSO])
    assert pauses == [1.6]
    arm.azure.add_service(CONTOSO.subscription_id, "rg-apis", "empty-apim")
    assert await arm.listed(ServiceId(CONTOSO.subscription_id, "rg-apis", "empty-apim")) == []


# What is repeated


@pytest.mark.parametrize("fault", PASSING, ids=str)
async def test_what_may_pass_is_repeated_and_told_when_it_lasts(arm: Arm, fault: dict[str, Any]) -> None:
    arm.fails(TRIES - 1, **fault)
    assert (await arm.issue()).expiry == EXPIRY
    assert arm.sent == TRIES == 4
    arm.fails(**fault)
    error = await arm.refusal()
    throttled = fault.get("status") == 429
    assert type(error) is (errors.AzureThrottled if throttled else errors.AzureUnavailable)
    assert error.facts.status == fault.get("status", 0)
    assert arm.sent == 2 * TRIES


@pytest.mark.parametrize("fault", [*PASSING, {"status": 413, "headers": {"Retry-After": "1"}}], ids=str)
async def test_a_regeneration_is_sent_once_whatever_becomes_of_it(
    arm: Arm, pauses: list[float], fault: dict[str, Any]
) -> None:
    arm.fails(path="*/regenerateKey", **fault)
    if fault.get("kind") == "truncate":  # its answer has no body that could be cut off
        await arm.regenerate()
    else:
        with pytest.raises(errors.AzureError):
            await arm.regenerate()
    assert (arm.sent, pauses) == (1, [])


@pytest.mark.parametrize(
    ("retry_after", "waited"),
    [
        ("24", [24, 24, 24]),
        (str(int(OPERATION_SECONDS)), []),
        ("soon", [1.6, 3.2]),
        (None, [1.6, 3.2]),  # and not before the first repeat
    ],
)
async def test_a_retry_after_is_waited_out_unless_no_operation_can_wait_so_long(
    arm: Arm, pauses: list[float], retry_after: str | None, waited: list[float]
) -> None:
    arm.answers(429, headers={"Retry-After": retry_after} if retry_after else {})
    facts = (await arm.refusal()).facts
    assert facts.retry_after == (int(retry_after) if retry_after and retry_after.isdecimal() else None)
    assert (pauses, arm.sent) == (waited, TRIES if waited else 1)


# What a refusal becomes


@pytest.mark.parametrize(
    ("status", "codes", "kind", "text"),
    [
        *((status, "Odd", "AzureError", "Look up Azure's code") for status in (400, 402, 403, 405, 409, 412, 418, 422, 451)),
        (400, "ValidationError", "AzureRejected", "a name or value in the request invalid"),
        (400, "MethodNotAllowedInPricingTier", "AzureBlocked", "has no self-hosted gateways"),
        (401, "Odd", "AzureBlocked", "does not accept the app's sign-in"),
        (401, "InvalidAuthenticationTokenTenant", "AzureBlocked", "The resource trusts another tenant"),
        (403, "AuthorizationFailed", "AzureForbidden", f"'{ISSUE_ACTION}' at '{CONTOSO}', such as 'Gateway token issuer'"),
        (403, "RequestDisallowedByPolicy", "AzureBlocked", "An Azure policy forbids it."),
        (403, "Forbidden/Odd/ForbiddenByGovernancePolicy", "AzureBlocked", "An Azure policy forbids it."),
        (403, "Forbidden/Newer", "AzureError", "403 Newer. Look up Azure's code"),
        (404, "ResourceNotFound", "AzureNotFound", "Check that the resource exists"),
        (409, "ScopeLocked", "AzureBlocked", "A lock makes the resource read-only."),
        (409, "ReadOnlyDisabledSubscription", "AzureBlocked", "The subscription is disabled"),
        (409, "SubscriptionNotRegistered", "AzureBlocked", "has not registered the resource provider"),
    ],
)  # fmt: skip
async def test_a_refusal_has_its_kind_advice_azures_innermost_code_and_request_id(
    arm: Arm, status: int, codes: str, kind: str, text: str
) -> None:
    inner: dict[str, object] = {}
    for code in reversed(codes.split("/")):
        inner = {"code": code, "message": "A secret.", "innererror": inner}
    arm.answers(status, {"error": inner}, {**JSON, "x-ms-correlation-request-id": "7e57-id"})
    error, innermost = await arm.refusal(), codes.rpartition("/")[2]
    assert type(error).__name__ == kind
    assert (error.facts.status, error.facts.code, error.facts.request_id) == (status, innermost, "7e57-id")
    assert text in str(error)
    assert "7e57-id" in str(error)
    assert "A secret." not in f"{error} {error!r}"
    busy_perhaps = codes == "Odd" and status in {409, 412, 422}
    assert arm.sent == (TRIES if busy_perhaps else 1)


def test_404_is_a_missing_gateway_unless_the_settings_name_no_subscription_or_group() -> None:
    missing, wrong = errors.NotFound, errors.AzureNotFound
    codes = {"": missing, "Odd": missing, "SubscriptionNotFound": wrong, "ResourceGroupNotFound": wrong}
    for code, kind in codes.items():
        error = errors.AzureNotFound("Issuing", errors.AzureFacts(404, code))
        assert type(gateway_missing(error, GatewayRef("contoso", "edge-01"))) is kind


async def test_400_carries_azures_code_message_and_details_each_cut_at_500_characters(arm: Arm) -> None:
    detail = {"code": "ValidationError", "target": "expiry", "message": "Too late."}
    long = {"code": "V", "target": "t", "message": "d" * 5000}
    body = {"code": "ValidationError", "message": "m" * 5000, "details": [detail, long]}
    arm.answers(400, {"error": body})
    facts = (await arm.refusal()).facts
    assert (facts.status, facts.code, facts.message[:499]) == (400, "ValidationError", "m" * 499)
    assert facts.details[0] == errors.Fault("expiry", "ValidationError: Too late.")
    assert (len(facts.message), len(facts.details[1].message)) == (500, 500)


async def test_400_in_another_form_is_an_error_without_advice(arm: Arm) -> None:
    odd: list[object] = [
        *("", "{", "[]", "null", {"error": "text"}),
        {"error": {"code": 1, "message": ["m"], "details": [1, None]}},
        {"error": {"code": "V", "message": "m", "details": "text"}},
        {"error": {"code": "V", "message": "m", "details": {"code": "x"}}},
    ]
    for body in odd:
        arm.answers(400, body)
        error = await arm.refusal()
        assert (type(error), error.facts.status) == (errors.AzureError, 400), body


async def test_a_certificate_that_is_not_trusted_is_told_as_such_at_the_first_try(
    emulator: Emulator, opens: Callable[..., AzureAccess], pauses: list[float]
) -> None:
    arm = Arm(emulator, opens(CA_FILE=""))
    with pytest.raises(errors.AzureUnavailable, match="certificate is not trusted"):
        await arm.issue()
    assert (pauses, arm.sent) == ([], 0)


# When the time of an operation is over


CUT_OFF: Mapping[str, tuple[dict[str, Any], type[errors.AzureError], str, float | None]] = {
    "no answer": (HANGS, errors.AzureUnavailable, "", None),
    "throttled": ({"status": 429, "headers": {"Retry-After": "30"}}, errors.AzureThrottled, "", 30),
    "failed": ({"status": 503, "headers": JSON, "body": '{"error": {"code": "O"}}'}, errors.AzureUnavailable, "O", None),
}  # fmt: skip


@pytest.mark.usefixtures("short_operations")
@pytest.mark.parametrize("case", CUT_OFF)
async def test_an_operation_that_is_cut_off_is_told_as_what_azure_answered_last(
    arm: Arm, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    first, kind, code, retry_after = CUT_OFF[case]
    monkeypatch.setattr("gateway_tokens.azure.errors.Retry.get_retry_after", lambda *_: 0.01)
    arm.fails(1, **first)
    arm.azure.faults.add(Fault("arm", times=None, **HANGS))
    error = await arm.refusal()
    assert type(error) is kind
    assert (error.facts.code, error.facts.retry_after) == (code, retry_after)
    assert error.facts.timed_out is (case == "no answer")


def test_the_limits_nest_so_that_the_innermost_cause_is_told() -> None:
    longest_wait_for_a_turn = 5
    assert IDENTITY_SECONDS < OPERATION_SECONDS
    # A caller who renews a gateway waits for a turn and a listing, then for a turn and a token.
    assert longest_wait_for_a_turn + OPERATION_SECONDS < LONGEST_ANSWER < 60


# 200, but not with a token or a list


NO_TOKENS: Mapping[str, tuple[str | bytes, ...]] = {
    "application/json": (
        *("", "{}", "null", "[]", '"edge-01"', '{"value": "edge-01&', "edge-01&202601010000&x", b"\xff\xfe\xff"),
        *('{"value": null}', '{"value": ""}', '{"value": 5}', '{"value": ["edge-01"]}', '{"value": "edge-01&2026"}'),
    ),
    "text/html": ("<html>Sign in to the proxy of edge-01</html>",),
    "application/xml": ("<token>edge-01</token>",),
    "text/plain": (f'{{"value": "edge-01&202601010000&{SIGNATURE}"}}',),
    "": ("edge-01",),
}  # fmt: skip


async def test_200_without_a_token_is_token_unusable_and_not_quoted(arm: Arm) -> None:
    for kind, body in ((kind, body) for kind, bodies in NO_TOKENS.items() for body in bodies):
        arm.answers(200, body, {"Content-Type": kind} if kind else {})
        with pytest.raises(errors.TokenUnusable) as refused:
            await arm.issue()
        assert "edge-01" not in str(refused.value), body
        assert refused.value.__suppress_context__ or refused.value.__context__ is None, body


async def test_a_token_for_another_gateway_or_that_ends_a_minute_off_is_unusable(arm: Arm) -> None:
    minute = timedelta(minutes=1)
    another, early, late = ("edge-02", EXPIRY), ("edge-01", EXPIRY - minute), ("edge-01", EXPIRY + minute)
    for (gateway, expiry), message in (
        (another, "is for another gateway"),
        (early, "expires"),
        (late, "expires"),
    ):
        arm.answers(200, {"value": f"{gateway}&{expiry:%Y%m%d%H%M}&{SIGNATURE}"})
        with pytest.raises(errors.TokenUnusable, match=f"it {message}"):
            await issue_checked(arm.gateways, CONTOSO, "edge-01", KeyType.PRIMARY, EXPIRY)


async def test_a_list_of_another_form_is_an_azure_error(arm: Arm) -> None:
    names = ('{"value": 5}', '{"value": [{"id": 1}]}', '{"value": [{"name": ""}]}')
    for body in ("", "[]", "null", "<html>", *names):
        arm.answers(200, body)
        with pytest.raises(errors.AzureError):
            await arm.listed()
