"""The emulated managed identity endpoint, asked by the real credential."""

import aiohttp
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity.aio import ManagedIdentityCredential

from emulator.server import Emulator

SCOPE = "https://management.azure.com/.default"


async def test_the_real_credential_gets_a_token_for_the_resource_it_names(
    emulator: Emulator, credential: ManagedIdentityCredential
) -> None:
    token = await credential.get_token(SCOPE)
    assert emulator.azure.bearers[token.token] == "https://management.azure.com"


async def test_each_token_is_a_new_one(emulator: Emulator) -> None:
    assert emulator.azure.issue_bearer("https://a") != emulator.azure.issue_bearer("https://a")


@pytest.mark.usefixtures("credential")
async def test_a_user_assigned_identity_is_known_by_its_client_id(emulator: Emulator) -> None:
    emulator.azure.client_ids = {"known"}
    async with ManagedIdentityCredential(client_id="known") as known:
        assert (await known.get_token(SCOPE)).token in emulator.azure.bearers


@pytest.mark.usefixtures("credential")
async def test_an_unknown_user_assigned_identity_is_refused(emulator: Emulator) -> None:
    emulator.azure.client_ids = {"known"}
    async with ManagedIdentityCredential(client_id="stranger") as stranger:
        with pytest.raises(ClientAuthenticationError, match="No User Assigned"):
            await stranger.get_token(SCOPE)


@pytest.mark.parametrize(
    ("header", "query", "status"),
    [
        (None, "api-version=2019-08-01&resource=https://x", 401),
        ("wrong", "api-version=2019-08-01&resource=https://x", 401),
        ("right", "api-version=2019-08-01", 400),
        ("right", "resource=https://x", 400),
        ("right", "api-version=2019-08-01&resource=https://x", 200),
    ],
)
async def test_a_token_needs_the_secret_header_a_version_and_a_resource(
    emulator: Emulator, header: str | None, query: str, status: int
) -> None:
    sent = {"right": emulator.azure.identity_header, "wrong": "wrong"}.get(header or "")
    async with aiohttp.ClientSession(headers={"X-IDENTITY-HEADER": sent} if sent else {}) as session:
        answer = await session.get(f"{emulator.settings()['IDENTITY_ENDPOINT']}?{query}")
        assert answer.status == status
