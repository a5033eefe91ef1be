"""The emulated sign-in endpoint: keys as Entra publishes them, and tokens for applications with a secret."""

import ssl
from typing import Any

import aiohttp
import jwt
import pytest

from emulator.directory import API_ID, CALLER_ID, CALLER_OBJECT_ID, TENANT_ID, Application
from emulator.server import Emulator

TOKEN = "oauth2/v2.0/token"


async def call(emulator: Emulator, method: str, path: str, form: object = None) -> tuple[int, dict[str, Any]]:
    tls = ssl.create_default_context(cafile=emulator.ca_file)
    url = f"{emulator.azure.directory.endpoint}/{TENANT_ID}/{path}"
    async with aiohttp.ClientSession() as session:
        answer = await session.request(method, url, data=form, ssl=tls)
        return answer.status, await answer.json()


async def test_a_token_of_the_endpoint_is_signed_with_a_published_key(emulator: Emulator) -> None:
    directory = emulator.azure.directory
    directory.applications[CALLER_ID] = Application(CALLER_ID, CALLER_OBJECT_ID, ("Issuer",))
    wanted = {"grant_type": "client_credentials", "client_id": CALLER_ID, "scope": f"api://{API_ID}/.default"}
    status, answer = await call(emulator, "POST", TOKEN, {**wanted, "client_secret": "wrong"})
    assert (status, answer["error"]) == (401, "invalid_client")
    secret = directory.applications[CALLER_ID].secret
    status, answer = await call(emulator, "POST", TOKEN, {**wanted, "client_secret": secret})
    assert (status, answer["token_type"]) == (200, "Bearer")
    directory.key_ids = ["emulator-2", "emulator-1"]
    _, published = await call(emulator, "GET", "discovery/v2.0/keys")
    assert [key["kid"] for key in published["keys"]] == directory.key_ids
    # As Entra's: without an algorithm.
    assert {name for key in published["keys"] for name in key} == {"kty", "use", "kid", "x5t", "n", "e"}
    key = jwt.PyJWKSet.from_dict(published)[jwt.get_unverified_header(answer["access_token"])["kid"]]
    issuer = f"{directory.endpoint}/{TENANT_ID}/v2.0"
    claims = jwt.decode(answer["access_token"], key, ["RS256"], audience=API_ID, issuer=issuer)
    assert (claims["azp"], claims["oid"], claims["roles"]) == (CALLER_ID, CALLER_OBJECT_ID, ["Issuer"])


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
async def test_the_managed_identity_needs_the_secret_header_a_version_and_a_resource(
    emulator: Emulator, header: str | None, query: str, status: int
) -> None:
    sent = {"right": emulator.azure.identity_header, "wrong": "wrong"}.get(header or "")
    async with aiohttp.ClientSession(headers={"X-IDENTITY-HEADER": sent} if sent else {}) as session:
        answer = await session.get(f"{emulator.settings()['IDENTITY_ENDPOINT']}?{query}")
        assert answer.status == status
