"""The app's way into Azure: which identity, kept how long, and what happens when it gives no token."""

from collections.abc import AsyncIterator, Callable
from urllib.request import getproxies

import aiohttp
import pytest
from aiohttp import web
from azure.identity.aio import AzureCliCredential, DefaultAzureCredential, ManagedIdentityCredential

from emulator.azure import Azure
from emulator.endpoint import Route
from emulator.faults import Fault
from emulator.server import Emulator
from gateway_tokens.azure.clients import AzureAccess
from gateway_tokens.azure.identity import SharedCredential
from gateway_tokens.errors import AzureError, IdentityUnavailable
from gateway_tokens.estate.app_settings import read_settings
from tests import estate

Opens = Callable[..., AzureAccess]


@pytest.fixture
async def opens(emulator: Emulator, sign_in: None) -> AsyncIterator[Opens]:  # noqa: ARG001 - must come first
    """Opens the way into the emulator with further settings; closes it at the end."""
    opened = []

    def access(**more: str) -> AzureAccess:
        opened.append(AzureAccess(read_settings(estate.environment(emulator) | more)))
        return opened[-1]

    yield access
    for each in opened:
        await each.close()


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
    assert isinstance(shared, SharedCredential)
    assert type(shared._credential) is kind


async def test_a_client_id_chooses_that_user_assigned_identity_and_none_the_system_assigned_one(
    emulator: Emulator, opens: Opens
) -> None:
    emulator.azure.client_ids = {"c11e"}
    await opens().identity_works()
    await opens(AZURE_CLIENT_ID="c11e").identity_works()
    system, user = emulator.azure.called("identity")
    assert "client_id" not in system.query
    assert "client_id=c11e" in user.query


async def test_a_user_assigned_identity_that_the_app_does_not_have_is_unavailable(
    emulator: Emulator, opens: Opens
) -> None:
    emulator.azure.client_ids = {"c11e"}
    with pytest.raises(IdentityUnavailable, match="AZURE_CLIENT_ID"):
        await opens(AZURE_CLIENT_ID="other").identity_works()


async def test_without_any_managed_identity_it_is_unavailable(
    opens: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where App Service has no identity for the app: the endpoint refuses the caller's header.
    monkeypatch.setenv("IDENTITY_HEADER", "wrong")
    with pytest.raises(IdentityUnavailable):
        await opens().identity_works()


@pytest.mark.usefixtures("short_operations")
@pytest.mark.parametrize(
    "fault",
    [
        Fault(host="identity", times=None, kind="drop"),
        Fault(host="identity", times=None, kind="delay", seconds=60),
    ],
    ids=["drops the connection", "never answers"],
)
async def test_an_identity_without_an_answer_is_unavailable_once_its_time_is_over(
    emulator: Emulator, opens: Opens, fault: Fault
) -> None:
    emulator.azure.faults.add(fault)
    with pytest.raises(IdentityUnavailable):
        await opens().identity_works()


async def test_an_identity_that_refuses_is_unavailable_until_it_is_repaired(
    emulator: Emulator, opens: Opens
) -> None:
    access = opens()
    refusing = emulator.azure.faults.add(Fault(host="identity", times=None, status=403, body="no"))
    with pytest.raises(IdentityUnavailable) as refused:
        await access.identity_works()
    assert refused.value.__suppress_context__
    emulator.azure.faults.remove(refusing)
    await access.identity_works()


async def test_the_credential_is_kept_for_the_workers_life_and_its_token_with_it(
    emulator: Emulator, opens: Opens
) -> None:
    access = opens()
    for _ in range(3):
        await access.identity_works()
    assert len(emulator.azure.called("identity")) == 1


async def test_clients_are_kept_by_what_they_reach(emulator: Emulator, opens: Opens) -> None:
    access, vault = opens(), emulator.vault_url("contoso")
    assert access.secret_client(vault) is access.secret_client(vault)
    assert access.secret_client(vault) is not access.secret_client(emulator.vault_url("fabrikam"))
    container = emulator.container_url
    assert access.container(container) is access.container(container)


async def test_a_closed_way_opens_afresh(opens: Opens) -> None:
    access = opens()
    before = access.credential
    await access.identity_works()
    await access.close()
    assert access.credential is not before
    await access.identity_works()


@pytest.mark.parametrize("kind", ["application/json", "text/html"])
async def test_an_answer_of_arm_that_is_no_object_is_azures_error(
    emulator: Emulator, opens: Opens, kind: str
) -> None:
    azure = opens()
    for body in ("<html>Sign in</html>", "[]", '"text"', "{"):
        emulator.azure.faults.add(Fault(host="arm", status=200, body=body, headers={"Content-Type": kind}))
        with pytest.raises(AzureError, match="200"):
            await azure.arm_request("GET", "/subscriptions/1", api_version="1", action="", scope="")


async def test_the_plain_client_calls_arm_with_the_apps_identity(opens: Opens) -> None:
    found = await opens().arm_request(
        "GET", f"{estate.CONTOSO}/gateways", api_version="2024-05-01", action="read", scope="s"
    )
    assert found is not None
    assert [gateway["name"] for gateway in found["value"]] == list(estate.GATEWAYS[estate.CONTOSO])


async def test_one_connection_serves_one_request_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peers: list[object] = []

    async def keep_peer(_: Azure, request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.append(request.transport.get_extra_info("peername"))
        return web.json_response({})

    async with Emulator(arm_routes=[Route("GET", "/subscriptions/peer", keep_peer)]) as emulator:
        for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
            monkeypatch.setenv(name, emulator.settings()[name])
        azure = AzureAccess(read_settings(estate.environment(emulator)))
        for _ in range(3):
            await azure.arm_request("GET", "/subscriptions/peer", api_version="1", action="", scope="")
        await azure.close()
    assert len(peers) == 3
    assert len(set(peers)) == 1


@pytest.mark.parametrize("named", [False, True])
async def test_requests_read_the_environment_only_where_it_names_a_proxy(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, *, named: bool
) -> None:
    for name in getproxies():
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)
    if named:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    azure = AzureAccess(read_settings(estate.environment(emulator)))
    azure.signing_keys("https://127.0.0.1:1")
    session = azure.shared(("session",), aiohttp.ClientSession)
    assert session.trust_env is named
    await azure.close()
