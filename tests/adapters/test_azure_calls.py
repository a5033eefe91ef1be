"""One operation on the wire: what is repeated, what is final, and what is told when its time is over."""

import asyncio
import json

import pytest

from emulator.faults import Fault
from emulator.server import Emulator
from gateway_tokens.azure.api_management import ArmGateways
from gateway_tokens.azure.clients import AzureAccess
from gateway_tokens.azure.errors import OPERATION_SECONDS, TRIES
from gateway_tokens.azure.identity import IDENTITY_SECONDS
from gateway_tokens.errors import (
    AzureError,
    AzureForbidden,
    AzureThrottled,
    AzureUnavailable,
    IdentityUnavailable,
)
from gateway_tokens.estate.app_settings import read_settings
from gateway_tokens.http.answers import LONGEST_ANSWER
from gateway_tokens.tokens import KeyType
from tests import estate
from tests.adapters.test_arm import EXPIRY

JSON = {"Content-Type": "application/json"}


async def refusal(azure: AzureAccess) -> AzureError:
    gateways = ArmGateways(azure, azure.budget)
    with pytest.raises(AzureError) as refused:
        await asyncio.wait_for(
            gateways.generate_token(estate.CONTOSO, "edge-01", KeyType.PRIMARY, EXPIRY), timeout=10
        )
    return refused.value


def arm_answers(emulator: Emulator, status: int, code: str = "", **headers: str) -> None:
    body = json.dumps({"error": {"code": code, "message": "Said by Azure"}})
    fault = Fault(host="arm", times=None, status=status, body=body, headers={**JSON, **headers})
    emulator.azure.faults.add(fault)


def sent(emulator: Emulator) -> int:
    return len(emulator.azure.called("arm"))


@pytest.mark.parametrize(
    ("status", "code", "tries"),
    [
        (409, "PessimisticConcurrencyConflict", TRIES),
        (412, "PreconditionFailed", TRIES),
        (422, "ManagementApiRequestFailed", TRIES),
        (429, "TooManyRequests", TRIES),
        (400, "ValidationError", 1),
        (401, "AuthenticationFailed", 1),
        (403, "AuthorizationFailed", 1),
        (403, "RequestDisallowedByPolicy", 1),
        (404, "ResourceNotFound", 1),
        (409, "ScopeLocked", 1),
        (409, "ReadOnlyDisabledSubscription", 1),
    ],
)
async def test_a_refusal_that_may_pass_is_repeated_and_another_is_not(
    emulator: Emulator, azure: AzureAccess, status: int, code: str, tries: int
) -> None:
    arm_answers(emulator, status, code)
    error = await refusal(azure)
    assert sent(emulator) == tries
    assert (error.facts.status, error.facts.code) == (status, code)
    assert TRIES == 4


@pytest.mark.parametrize("code", ["PessimisticConcurrencyConflict", "ManagementApiRequestFailed"])
async def test_an_api_management_that_stays_busy_is_unavailable(
    emulator: Emulator, azure: AzureAccess, code: str
) -> None:
    arm_answers(emulator, 409, code)
    assert isinstance(await refusal(azure), AzureUnavailable)


@pytest.mark.usefixtures("sign_in")
async def test_a_certificate_that_is_not_trusted_is_told_as_such_at_the_first_try(
    emulator: Emulator, pauses: list[float]
) -> None:
    access = AzureAccess(read_settings(estate.environment(emulator, CA_FILE="")))
    error = await refusal(access)
    await access.close()
    assert isinstance(error, AzureUnavailable)
    assert "certificate is not trusted" in str(error)
    assert (pauses, sent(emulator)) == ([], 0)


@pytest.mark.parametrize(
    ("asked", "tries"), [("24", TRIES), (str(int(OPERATION_SECONDS)), 1), ("3600", 1), ("soon", TRIES)]
)
async def test_a_retry_after_is_kept_to_unless_no_operation_can_wait_so_long(
    emulator: Emulator, azure: AzureAccess, asked: str, tries: int
) -> None:
    arm_answers(emulator, 429, **{"Retry-After": asked})
    assert isinstance(await refusal(azure), AzureThrottled)
    assert sent(emulator) == tries


def slow_after(emulator: Emulator, first: Fault) -> None:
    """ARM answers once, and then no more."""
    emulator.azure.faults.add(first)
    emulator.azure.faults.add(Fault(host="arm", times=None, kind="delay", seconds=60))


@pytest.mark.usefixtures("short_operations")
async def test_an_operation_without_any_answer_is_unavailable_when_its_time_is_over(
    emulator: Emulator, azure: AzureAccess
) -> None:
    emulator.azure.faults.add(Fault(host="arm", times=None, kind="delay", seconds=60))
    error = await refusal(azure)
    assert isinstance(error, AzureUnavailable)
    assert error.facts.status == 0


@pytest.mark.usefixtures("short_operations")
async def test_an_operation_cut_off_after_throttling_is_told_as_throttled_with_its_retry_after(
    emulator: Emulator, azure: AzureAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway_tokens.azure.errors.Retry.get_retry_after", lambda *_: 0.01)
    slow_after(emulator, Fault(host="arm", status=429, headers={"Retry-After": "30"}))
    error = await refusal(azure)
    assert isinstance(error, AzureThrottled)
    assert error.facts.retry_after == 30


@pytest.mark.usefixtures("short_operations")
async def test_an_operation_cut_off_after_a_failure_is_told_with_azures_code(
    emulator: Emulator, azure: AzureAccess
) -> None:
    slow_after(
        emulator, Fault(host="arm", status=503, headers=JSON, body='{"error": {"code": "Overloaded"}}')
    )
    error = await refusal(azure)
    assert isinstance(error, AzureUnavailable)
    assert (error.facts.status, error.facts.code) == (503, "Overloaded")


@pytest.mark.usefixtures("short_operations")
async def test_an_identity_that_does_not_answer_is_told_as_the_identitys_failure(
    emulator: Emulator, azure: AzureAccess
) -> None:
    emulator.azure.faults.add(Fault(host="identity", times=None, kind="delay", seconds=60))
    assert isinstance(await refusal(azure), IdentityUnavailable)


async def test_one_operation_does_not_tell_what_another_was_answered(
    emulator: Emulator, azure: AzureAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm_answers(emulator, 403, "AuthorizationFailed")
    assert isinstance(await refusal(azure), AzureForbidden)
    emulator.azure.faults.clear()
    emulator.azure.faults.add(Fault(host="arm", times=None, kind="delay", seconds=60))
    monkeypatch.setattr("gateway_tokens.azure.errors.OPERATION_SECONDS", 0.1)
    assert isinstance(await refusal(azure), AzureUnavailable)


def test_the_limits_nest_so_that_the_innermost_cause_is_told() -> None:
    longest_wait_for_a_turn = 5
    assert IDENTITY_SECONDS < OPERATION_SECONDS
    # A caller who renews a gateway waits for a turn and a listing, then for a turn and a token.
    assert longest_wait_for_a_turn + OPERATION_SECONDS < LONGEST_ANSWER < 60
