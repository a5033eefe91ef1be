"""The app's way into Azure: which identity, what is repeated, shared and kept, and what happens when it gives no token."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.request import getproxies

import aiohttp
import pytest
from aiohttp import web
from azure.core.exceptions import ClientAuthenticationError, ResourceNotFoundError
from azure.identity.aio import AzureCliCredential, DefaultAzureCredential, ManagedIdentityCredential

from emulator.azure import Azure
from emulator.endpoint import Route
from emulator.faults import Fault
from emulator.server import Emulator
from gateway_tokens.azure import identity
from gateway_tokens.azure.clients import AzureAccess
from gateway_tokens.azure.errors import NoAccessToken, operation
from gateway_tokens.errors import AzureError, AzureUnavailable, IdentityUnavailable
from gateway_tokens.estate.app_settings import read_settings
from tests import served_estate

Opens = Callable[..., AzureAccess]
ARM, OTHER = "https://management.azure.com/.default", "https://vault.azure.net/.default"
TRIES = 5


@pytest.fixture
async def opens(emulator: Emulator, sign_in: None) -> AsyncIterator[Opens]:  # noqa: ARG001 - must come first
    """Opens the way into the emulator with further settings; closes it at the end."""
    opened = []

    def access(**more: str) -> AzureAccess:
        opened.append(AzureAccess(read_settings(served_estate.environment(emulator) | more)))
        return opened[-1]

    yield access
    for each in opened:
        await each.close()


def fails(emulator: Emulator, times: int | None = None, **fault: Any) -> Fault:  # noqa: ANN401 - a fault's own fields
    """The identity's endpoint fails so often in this way."""
    return emulator.azure.faults.add(Fault("identity", times=times, **fault))


def visits(emulator: Emulator) -> int:
    return len(emulator.azure.called("identity"))


@pytest.mark.parametrize(
    ("setting", "kind"),
    [
        ("", ManagedIdentityCredential),
        ("managedIdentity", ManagedIdentityCredential),
        ("default", DefaultAzureCredential),
        ("azureCli", AzureCliCredential),
    ],
)
async def test_the_credential_is_the_managed_identity_unless_a_setting_asks_for_another(
    opens: Opens, setting: str, kind: type
) -> None:
    shared = opens(AZURE_CREDENTIAL=setting).credential
    assert isinstance(shared, identity.SharedCredential)
    made = shared._make()
    assert type(made) is kind
    await made.close()


async def test_a_client_id_chooses_that_user_assigned_identity_and_none_the_system_assigned_one(
    emulator: Emulator, opens: Opens
) -> None:
    emulator.azure.client_ids = {"c11e"}
    await opens().identity_works()
    await opens(AZURE_CLIENT_ID="c11e").identity_works()
    system, user = emulator.azure.called("identity")
    assert "client_id" not in system.query
    assert "client_id=c11e" in user.query
    with pytest.raises(IdentityUnavailable, match="AZURE_CLIENT_ID"):
        await opens(AZURE_CLIENT_ID="other").identity_works()


async def test_without_any_managed_identity_it_is_unavailable(
    opens: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where App Service has no identity for the app: the endpoint refuses the caller's header.
    monkeypatch.setenv("IDENTITY_HEADER", "wrong")
    with pytest.raises(IdentityUnavailable):
        await opens().identity_works()


async def test_an_identity_that_refuses_is_unavailable_until_it_is_repaired(
    emulator: Emulator, opens: Opens
) -> None:
    access = opens()
    refusing = fails(emulator, status=403, body="no")
    with pytest.raises(IdentityUnavailable) as refused:
        await access.identity_works()
    assert refused.value.__suppress_context__
    emulator.azure.faults.remove(refusing)
    await access.identity_works()


# What is repeated


@pytest.mark.parametrize("status", [403, 404, 410, 429, 500, 502, 503])
async def test_what_a_waking_instance_answers_is_repeated_and_final_after_the_last_try(
    emulator: Emulator, azure: AzureAccess, pauses: list[float], status: int
) -> None:
    fails(emulator, TRIES, status=status)
    with pytest.raises(ClientAuthenticationError):
        await azure.credential.get_token(ARM)
    assert visits(emulator) == TRIES
    assert pauses == [1.6, 3.2, 6.4]  # less time than one operation may take
    # The next who asks tries again.
    fails(emulator, TRIES - 1, status=status)
    assert (await azure.credential.get_token(ARM)).token
    assert visits(emulator) == 2 * TRIES


async def test_a_broken_connection_is_repeated(emulator: Emulator, azure: AzureAccess) -> None:
    for kind, audience in (("drop", ARM), ("truncate", OTHER)):
        fails(emulator, TRIES - 1, kind=kind)
        assert (await azure.credential.get_token(audience)).token


async def test_a_request_that_is_wrong_is_not_repeated(emulator: Emulator, azure: AzureAccess) -> None:
    fails(emulator, status=400)
    with pytest.raises(ClientAuthenticationError):
        await azure.credential.get_token(ARM)
    assert visits(emulator) == 1


async def test_a_request_without_an_answer_is_repeated(
    emulator: Emulator, azure: AzureAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(identity.IDENTITY_RETRY, "read_timeout", 0.1)
    fails(emulator, 1, kind="delay", seconds=60)
    assert (await azure.credential.get_token(ARM)).token
    assert visits(emulator) == 2


@pytest.mark.usefixtures("short_operations")
@pytest.mark.parametrize("fault", [{"kind": "drop"}, {"kind": "delay", "seconds": 60}], ids=str)
async def test_an_identity_without_an_answer_is_unavailable_once_its_time_is_over(
    emulator: Emulator, opens: Opens, fault: dict[str, Any]
) -> None:
    fails(emulator, **fault)
    with pytest.raises(IdentityUnavailable, match=f"gives no token for '{emulator.arm_url}/.default'"):
        await asyncio.wait_for(opens().identity_works(), 5)


async def test_an_answer_without_a_token_is_a_failed_sign_in(emulator: Emulator, azure: AzureAccess) -> None:
    for body in ("<html>", "[]", "{}", "null", '{"access_token": "x", "expires_on": "soon"}', "5"):
        emulator.azure.faults.clear()
        fails(emulator, status=200, body=body, headers={"Content-Type": "application/json"})
        with pytest.raises(ClientAuthenticationError):
            await azure.credential.get_token(ARM)


# What is shared and kept


async def test_twenty_who_ask_at_once_make_one_request(emulator: Emulator, azure: AzureAccess) -> None:
    tokens = await asyncio.gather(*(azure.credential.get_token(ARM) for _ in range(20)))
    assert (len({token.token for token in tokens}), visits(emulator)) == (1, 1)


async def test_twenty_who_ask_while_it_fails_share_its_tries(emulator: Emulator, azure: AzureAccess) -> None:
    fails(emulator, status=500)
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

    fails(emulator, 1, kind="call", action=hold)
    leaving, staying = (asyncio.create_task(azure.credential.get_token(ARM)) for _ in range(2))
    await arrived.wait()
    leaving.cancel()
    go_on.set()
    assert (await staying).token
    assert visits(emulator) == 1


async def test_a_refusal_of_one_audience_ends_no_request_for_another(
    emulator: Emulator, azure: AzureAccess
) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        arrived.set()
        await go_on.wait()

    fails(emulator, 1, kind="call", action=hold)
    waiting = asyncio.create_task(azure.credential.get_token(ARM))
    await arrived.wait()
    fails(emulator, 1, status=400)
    with pytest.raises(ClientAuthenticationError):
        await azure.credential.get_token(OTHER)
    go_on.set()
    assert (await waiting).token


async def test_a_credential_that_failed_is_closed_and_made_anew_for_the_next_request(
    emulator: Emulator, azure: AzureAccess
) -> None:
    made: list[ManagedIdentityCredential] = []

    def make() -> ManagedIdentityCredential:
        made.append(ManagedIdentityCredential(retry_total=0))
        if len(made) == 1:  # only another credential helps
            made[0].get_token = azure.close  # it takes no scopes, so it fails whatever is asked
        return made[-1]

    credential = identity.SharedCredential(make)
    with pytest.raises(ClientAuthenticationError):
        await credential.get_token(ARM)
    assert (await credential.get_token(ARM)).token
    assert (len(made), visits(emulator)) == (2, 1)
    await credential.close()


async def test_credential_and_token_are_kept_for_the_workers_life_until_the_way_is_closed(
    emulator: Emulator, opens: Opens
) -> None:
    access = opens()
    before = access.credential
    for _ in range(3):
        await access.identity_works()
    assert visits(emulator) == 1
    await access.close()
    assert access.credential is not before
    await access.identity_works()


async def test_all_of_azure_shares_one_pool_of_connections_however_many_vaults_there_are(
    emulator: Emulator, opens: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts: list[ssl.SSLContext] = []
    make = ssl.create_default_context

    def counted(*arguments: Any, **options: Any) -> ssl.SSLContext:  # noqa: ANN401 - whatever it takes
        contexts.append(make(*arguments, **options))
        return contexts[-1]

    monkeypatch.setattr(ssl, "create_default_context", counted)
    access = opens()
    for vault in ("contoso", "fabrikam"):
        with pytest.raises(ResourceNotFoundError):
            await access.secret_client(emulator.vault_url(vault)).get_secret("none")
    await access.arm_request(
        "GET", f"{served_estate.CONTOSO}/gateways", api_version="2024-05-01", action="read", scope="s"
    )
    assert [entry async for entry in access.container(emulator.container_url).list_blobs()] == []
    assert len(contexts) == 1


async def test_what_hangs_takes_no_connection_of_its_neighbours(
    emulator: Emulator, azure: AzureAccess
) -> None:
    emulator.azure.faults.add(Fault(host="vault", instance="contoso", times=None, kind="delay", seconds=60))
    silent, other = (azure.secret_client(emulator.vault_url(name)) for name in ("contoso", "fabrikam"))
    usual_limit = 100  # of aiohttp
    hanging = [asyncio.ensure_future(silent.get_secret("none")) for _ in range(usual_limit)]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        while emulator.azure.in_flight < usual_limit:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)
        with pytest.raises(ResourceNotFoundError):
            await other.get_secret("none")
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)


@pytest.mark.usefixtures("short_operations")
async def test_a_vault_that_hangs_after_its_challenge_is_unavailable_not_one_that_refuses_the_sign_in(
    emulator: Emulator, azure: AzureAccess
) -> None:
    emulator.azure.faults.add(Fault(host="vault", skip=1, times=None, kind="delay", seconds=60))
    client = azure.secret_client(emulator.vault_url("contoso"))
    with pytest.raises(AzureUnavailable) as refused:
        async with operation("Reading", action="", scope=""):
            await client.get_secret("none")
    assert refused.value.facts.timed_out


async def test_clients_are_kept_by_what_they_reach(emulator: Emulator, opens: Opens) -> None:
    access, vault, container = opens(), emulator.vault_url("contoso"), emulator.container_url
    assert access.secret_client(vault) is access.secret_client(f"{vault.upper()}/")
    assert access.secret_client(vault) is not access.secret_client(emulator.vault_url("fabrikam"))
    assert access.container(container) is access.container(container)


# The plain client of ARM


async def test_an_answer_of_arm_that_is_no_object_is_azures_error(emulator: Emulator, opens: Opens) -> None:
    azure = opens()
    for kind in ("application/json", "text/html"):
        for body in ("<html>Sign in</html>", "[]", '"text"', "{"):
            answer = Fault("arm", status=200, body=body, headers={"Content-Type": kind})
            emulator.azure.faults.add(answer)
            with pytest.raises(AzureError, match=r"200\. .*Check whether a proxy answered"):
                await azure.arm_request("GET", "/subscriptions/1", api_version="1", action="", scope="")


async def test_the_plain_client_calls_arm_with_the_apps_identity(opens: Opens) -> None:
    answer = await opens().arm_request(
        "GET", f"{served_estate.CONTOSO}/gateways", api_version="2024-05-01", action="read", scope="s"
    )
    assert answer is not None
    assert [gateway["name"] for gateway in answer["value"]] == list(
        served_estate.GATEWAYS[served_estate.CONTOSO]
    )


async def test_one_connection_serves_one_request_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    peers: list[object] = []

    async def keep_peer(_: Azure, request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.append(request.transport.get_extra_info("peername"))
        return web.json_response({})

    async with Emulator(arm_routes=[Route("GET", "/subscriptions/peer", keep_peer)]) as emulator:
        for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
            monkeypatch.setenv(name, emulator.settings()[name])
        azure = AzureAccess(read_settings(served_estate.environment(emulator)))
        for _ in range(3):
            await azure.arm_request("GET", "/subscriptions/peer", api_version="1", action="", scope="")
        await azure.close()
    assert (len(peers), len(set(peers))) == (3, 1)


@pytest.mark.parametrize("named", [False, True])
async def test_requests_read_the_environment_only_where_it_names_a_proxy(
    opens: Opens, monkeypatch: pytest.MonkeyPatch, *, named: bool
) -> None:
    for name in getproxies():
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)
    if named:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    azure = opens()
    azure.signing_keys("https://127.0.0.1:1")
    assert azure.shared(("session",), aiohttp.ClientSession).trust_env is named
