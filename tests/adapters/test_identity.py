"""The app's identity on the wire: what is repeated, what is shared, and how a failure is told."""

import asyncio
import re

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity.aio import ManagedIdentityCredential

from emulator.faults import Fault
from emulator.server import Emulator
from gateway_tokens.azure import identity
from gateway_tokens.azure.clients import AzureAccess
from gateway_tokens.azure.errors import NoAccessToken

ARM, OTHER = "https://management.azure.com/.default", "https://vault.azure.net/.default"
TRIES = 5
STATUSES = (403, 404, 410, 429, 500, 502, 503)


def visits(emulator: Emulator) -> int:
    return len(emulator.azure.called("identity"))


@pytest.mark.parametrize("status", STATUSES)
async def test_what_a_waking_instance_answers_is_repeated_and_final_after_the_last_try(
    emulator: Emulator, azure: AzureAccess, status: int
) -> None:
    emulator.azure.faults.add(Fault(host="identity", times=TRIES, status=status))
    with pytest.raises(ClientAuthenticationError):
        await azure.credential.get_token(ARM)
    assert visits(emulator) == TRIES
    # The next who asks tries again.
    emulator.azure.faults.add(Fault(host="identity", times=TRIES - 1, status=status))
    assert (await azure.credential.get_token(ARM)).token
    assert visits(emulator) == 2 * TRIES


@pytest.mark.parametrize("kind", ["drop", "truncate"])
async def test_a_broken_connection_is_repeated(emulator: Emulator, azure: AzureAccess, kind: str) -> None:
    emulator.azure.faults.add(Fault(host="identity", times=TRIES - 1, kind=kind))  # type: ignore[arg-type] # both are
    assert (await azure.credential.get_token(ARM)).token


async def test_a_request_that_is_wrong_is_not_repeated(emulator: Emulator, azure: AzureAccess) -> None:
    emulator.azure.faults.add(Fault(host="identity", times=None, status=400))
    with pytest.raises(ClientAuthenticationError):
        await azure.credential.get_token(ARM)
    assert visits(emulator) == 1


async def test_the_repeats_take_less_time_than_one_operation_may(
    emulator: Emulator, azure: AzureAccess, pauses: list[float]
) -> None:
    emulator.azure.faults.add(Fault(host="identity", times=None, status=500))
    with pytest.raises(ClientAuthenticationError):
        await azure.credential.get_token(ARM)
    assert pauses == [1.6, 3.2, 6.4]


async def test_twenty_who_ask_at_once_make_one_request(emulator: Emulator, azure: AzureAccess) -> None:
    tokens = await asyncio.gather(*(azure.credential.get_token(ARM) for _ in range(20)))
    assert (len({token.token for token in tokens}), visits(emulator)) == (1, 1)


async def test_twenty_who_ask_while_it_fails_share_its_tries(emulator: Emulator, azure: AzureAccess) -> None:
    emulator.azure.faults.add(Fault(host="identity", times=None, status=500))
    asked = (azure.credential.get_token(ARM) for _ in range(20))
    failures = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(failure) for failure in failures} == {NoAccessToken}
    assert visits(emulator) == TRIES


async def test_each_audience_is_asked_for_by_itself(emulator: Emulator, azure: AzureAccess) -> None:
    await asyncio.gather(azure.credential.get_token(ARM), azure.credential.get_token(OTHER))
    assert visits(emulator) == 2


async def test_whoever_leaves_takes_the_request_from_nobody(emulator: Emulator, azure: AzureAccess) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        arrived.set()
        await go_on.wait()

    emulator.azure.faults.add(Fault(host="identity", kind="call", action=hold))
    leaving = asyncio.create_task(azure.credential.get_token(ARM))
    staying = asyncio.create_task(azure.credential.get_token(ARM))
    await arrived.wait()
    leaving.cancel()
    go_on.set()
    assert (await staying).token
    assert visits(emulator) == 1


async def test_a_credential_that_failed_is_closed_and_made_anew_for_the_next_request(
    emulator: Emulator, azure: AzureAccess
) -> None:
    made: list[ManagedIdentityCredential] = []

    def make() -> ManagedIdentityCredential:
        # The first one has a client that can never send: only another credential helps.
        made.append(ManagedIdentityCredential(retry_total=0))
        return made[-1]

    credential = identity.SharedCredential(make)
    await made[0].close()
    made[0].get_token = azure.close  # it takes no scopes, so it fails whatever is asked
    with pytest.raises(ClientAuthenticationError):
        await credential.get_token(ARM)
    assert (await credential.get_token(ARM)).token
    assert (len(made), visits(emulator)) == (2, 1)
    await credential.close()


async def test_a_request_without_an_answer_is_repeated(
    emulator: Emulator, azure: AzureAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(identity.IDENTITY_RETRY, "read_timeout", 0.1)
    emulator.azure.faults.add(Fault(host="identity", kind="delay", seconds=60))
    assert (await azure.credential.get_token(ARM)).token
    assert visits(emulator) == 2


@pytest.mark.usefixtures("short_operations")
async def test_an_endpoint_that_never_answers_fails_within_its_time(
    emulator: Emulator, azure: AzureAccess
) -> None:
    never = asyncio.Event()
    emulator.azure.faults.add(Fault(host="identity", times=None, kind="call", action=never.wait))
    with pytest.raises(
        ClientAuthenticationError,
        match=re.escape("gives no token for 'https://management.azure.com/.default'"),
    ):
        await asyncio.wait_for(azure.credential.get_token(ARM), 5)
    never.set()


async def test_an_answer_without_a_token_is_a_failed_sign_in(emulator: Emulator, azure: AzureAccess) -> None:
    headers = {"Content-Type": "application/json"}
    for body in ("<html>", "[]", "{}", "null", '{"access_token": "x", "expires_on": "soon"}', "5"):
        emulator.azure.faults.clear()
        emulator.azure.faults.add(Fault(host="identity", times=None, status=200, body=body, headers=headers))
        with pytest.raises(ClientAuthenticationError):
            await azure.credential.get_token(ARM)
