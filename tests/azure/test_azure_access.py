"""The app's way into Azure: which identity, what is repeated, shared and kept, and what happens when it gives no token."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any
from urllib.request import getproxies

import aiohttp
import pytest
from azure.core.exceptions import ClientAuthenticationError, ResourceNotFoundError
from azure.identity.aio import AzureCliCredential, DefaultAzureCredential, ManagedIdentityCredential

from emulator.faults import Fault
from emulator.server import Emulator
from gateway_tokens.azure import identity
from gateway_tokens.azure.clients import AzureAccess
from gateway_tokens.azure.errors import NoAccessToken, operation
from gateway_tokens.errors import AzureError, AzureUnavailable, IdentityUnavailable
from tests.renewal_estate import CONTOSO, FABRIKAM
from tests.served_estate import GATEWAYS

Opens = Callable[..., AzureAccess]
ARM, OTHER = "https://management.azure.com/.default", "https://vault.azure.net/.default"
TRIES = 5
JSON = {"Content-Type": "application/json"}
HANGS: dict[str, Any] = {"kind": "delay", "seconds": 60}


class Identity:
    """The app's identity as Azure's clients use it, and the endpoint that gives its tokens."""

    def __init__(self, emulator: Emulator, access: AzureAccess) -> None:
        self.azure, self.access = emulator.azure, access

    async def token(self, scope: str = ARM) -> str:
        return (await self.access.credential.get_token(scope)).token

    def fails(self, times: int | None = None, **fault: Any) -> None:  # noqa: ANN401 - a fault's own fields
        """The endpoint fails so often in this way, and then works."""
        self.azure.faults.clear()
        self.azure.faults.add(Fault("identity", times=times, **fault))

    @property
    def visits(self) -> int:
        return len(self.azure.called("identity"))


@pytest.fixture
def app(emulator: Emulator, azure: AzureAccess) -> Identity:
    return Identity(emulator, azure)


async def test_the_credential_is_the_managed_identity_unless_a_setting_asks_for_another(opens: Opens) -> None:
    managed, default, cli = ManagedIdentityCredential, DefaultAzureCredential, AzureCliCredential
    for setting, kind in (
        ("", managed),
        ("managedIdentity", managed),
        ("default", default),
        ("azureCli", cli),
    ):
        shared = opens(AZURE_CREDENTIAL=setting).credential
        assert isinstance(shared, identity.SharedCredential)
        credential = shared._make()
        assert type(credential) is kind
        await credential.close()


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


# What is repeated


@pytest.mark.parametrize("status", [403, 404, 410, 429, 500])
async def test_what_a_waking_instance_answers_is_repeated_and_final_after_the_last_try(
    app: Identity, pauses: list[float], status: int
) -> None:
    app.fails(TRIES, status=status)
    with pytest.raises(ClientAuthenticationError):
        await app.token()
    assert app.visits == TRIES
    assert pauses == [1.6, 3.2, 6.4]  # less time than one operation may take
    # The next who asks tries again.
    app.fails(TRIES - 1, status=status)
    assert await app.token()
    assert app.visits == 2 * TRIES


async def test_a_broken_connection_is_repeated(app: Identity) -> None:
    for kind, audience in (("drop", ARM), ("truncate", OTHER)):
        app.fails(TRIES - 1, kind=kind)
        assert await app.token(audience)


async def test_what_no_repeat_changes_is_a_failed_sign_in_at_once(app: Identity) -> None:
    bodies = ("<html>", "[]", "{}", "null", '{"access_token": "x", "expires_on": "soon"}', "5")
    for status, body in ((400, ""), *((200, body) for body in bodies)):
        app.azure.calls.clear()
        app.fails(status=status, body=body, headers=JSON)
        with pytest.raises(ClientAuthenticationError):
            await app.token()
        assert app.visits == 1


async def test_a_request_without_answer_is_repeated(app: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(identity.IDENTITY_RETRY, "read_timeout", 0.1)
    app.fails(1, **HANGS)
    assert await app.token()
    assert app.visits == 2


@pytest.mark.usefixtures("short_operations")
@pytest.mark.parametrize("fault", [{"kind": "drop"}, HANGS], ids=str)
async def test_an_identity_without_an_answer_is_unavailable_once_its_time_is_over(
    app: Identity, emulator: Emulator, fault: dict[str, Any]
) -> None:
    app.fails(**fault)
    message = f"gives no token for '{emulator.arm_url}/.default'"
    with pytest.raises(IdentityUnavailable, match=message) as unavailable:
        await asyncio.wait_for(app.access.identity_works(), 5)
    assert unavailable.value.__suppress_context__
    app.azure.faults.clear()
    await app.access.identity_works()


# What is shared and kept


async def test_twenty_who_ask_at_once_share_the_request_and_while_it_fails_its_tries(app: Identity) -> None:
    app.fails(TRIES, status=500)
    answers = await asyncio.gather(*(app.token() for _ in range(20)), return_exceptions=True)
    assert ({type(failure) for failure in answers}, app.visits) == ({NoAccessToken}, TRIES)
    answers = await asyncio.gather(*(app.token() for _ in range(20)))
    assert (len(set(answers)), app.visits) == (1, TRIES + 1)


async def test_neither_who_leaves_nor_a_refusal_of_another_audience_ends_a_request(app: Identity) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        arrived.set()
        await go_on.wait()

    app.fails(1, kind="call", action=hold)
    leaving, staying = (asyncio.create_task(app.token()) for _ in range(2))
    await arrived.wait()
    leaving.cancel()
    app.fails(1, status=400)
    with pytest.raises(ClientAuthenticationError):
        await asyncio.wait_for(app.token(OTHER), 5)
    go_on.set()
    assert await staying
    assert app.visits == 2


async def test_a_credential_that_failed_is_closed_and_made_anew_for_the_next_request(app: Identity) -> None:
    credentials: list[ManagedIdentityCredential] = []

    def make() -> ManagedIdentityCredential:
        credentials.append(ManagedIdentityCredential(retry_total=0))
        if len(credentials) == 1:  # only another credential helps
            credentials[0].get_token = credentials[
                0
            ].close  # it takes no scopes, so it fails whatever is asked
        return credentials[-1]

    credential = identity.SharedCredential(make)
    with pytest.raises(ClientAuthenticationError):
        await credential.get_token(ARM)
    assert (await credential.get_token(ARM)).token
    assert (len(credentials), app.visits) == (2, 1)
    await credential.close()


async def test_credential_and_token_are_kept_until_the_way_is_closed(app: Identity) -> None:
    before = app.access.credential
    for _ in range(3):
        await app.access.identity_works()
    assert app.visits == 1
    await app.access.close()
    assert app.access.credential is not before
    await app.access.identity_works()


async def test_clients_are_kept_by_what_they_reach(emulator: Emulator, azure: AzureAccess) -> None:
    vault, other = (emulator.vault_url(name) for name in ("contoso", "fabrikam"))
    assert azure.secret_client(vault) is azure.secret_client(f"{vault.upper()}/")
    assert azure.secret_client(vault) is not azure.secret_client(other)
    assert azure.container(emulator.container_url) is azure.container(emulator.container_url)
    contoso, fabrikam = CONTOSO.subscription_id, FABRIKAM.subscription_id
    assert azure.api_management(contoso) is azure.api_management(contoso)
    assert azure.api_management(contoso) is not azure.api_management(fabrikam)


async def test_all_of_azure_shares_one_pool_of_connections_which_has_no_limit(
    emulator: Emulator, azure: AzureAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts: list[ssl.SSLContext] = []
    make = ssl.create_default_context

    def counted(**named: Any) -> ssl.SSLContext:  # noqa: ANN401 - whatever it takes
        contexts.append(make(**named))
        return contexts[-1]

    monkeypatch.setattr(ssl, "create_default_context", counted)
    for vault in ("contoso", "fabrikam"):
        with pytest.raises(ResourceNotFoundError):
            await azure.secret_client(emulator.vault_url(vault)).get_secret("none")
    assert [entry async for entry in azure.container(emulator.container_url).list_blobs()] == []
    path = f"{CONTOSO}/gateways"
    answer = await azure.arm_request("GET", path, api_version="2024-05-01", action="", scope="")
    assert [gateway["name"] for gateway in (answer or {})["value"]] == list(GATEWAYS[CONTOSO])
    assert len(contexts) == 1
    pool = azure.shared(("session",), aiohttp.ClientSession).connector
    assert pool is not None
    assert (pool.limit, pool.limit_per_host) == (0, 0)  # what hangs takes no connection of its neighbours


@pytest.mark.usefixtures("short_operations")
async def test_a_vault_that_hangs_after_its_challenge_is_unavailable_not_one_that_refuses_the_sign_in(
    emulator: Emulator, azure: AzureAccess
) -> None:
    emulator.azure.faults.add(Fault(host="vault", skip=1, times=None, **HANGS))
    client = azure.secret_client(emulator.vault_url("contoso"))
    with pytest.raises(AzureUnavailable) as refused:
        async with operation("Reading", action="", scope=""):
            await client.get_secret("none")
    assert refused.value.facts.timed_out


async def test_an_answer_of_arm_that_is_no_object_is_an_error(emulator: Emulator, azure: AzureAccess) -> None:
    bodies = ("<html>Sign in</html>", "[]", '"text"', "{")
    for body, kind in ((body, kind) for body in bodies for kind in ("application/json", "text/html")):
        emulator.azure.faults.add(Fault("arm", status=200, body=body, headers={"Content-Type": kind}))
        with pytest.raises(AzureError, match=r"200\. .*Check whether a proxy answered"):
            await azure.arm_request("GET", "/subscriptions/1", api_version="1", action="", scope="")


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
