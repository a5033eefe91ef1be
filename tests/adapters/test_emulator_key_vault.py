"""Emulated Key Vault, asked by the real client with its check of the challenge left on."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.identity.aio import ManagedIdentityCredential
from azure.keyvault.secrets.aio import SecretClient

from emulator.server import Emulator

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = datetime(2026, 3, 31, 12, 0, tzinfo=UTC)
ACTIONS = "Microsoft.KeyVault/vaults/secrets"


@pytest.fixture
async def client(emulator: Emulator, credential: ManagedIdentityCredential) -> AsyncIterator[SecretClient]:
    emulator.azure.clock = lambda: NOW
    async with open_vault(emulator, credential, "contoso") as opened:
        yield opened


def open_vault(emulator: Emulator, credential: ManagedIdentityCredential, vault: str) -> SecretClient:
    return SecretClient(
        emulator.vault_url(vault), credential, connection_verify=emulator.ca_file, retry_total=0
    )


def code(error: HttpResponseError) -> tuple[int | None, str | None, str | None]:
    detail: Any = error.error
    return error.status_code, detail.code, (detail.innererror or {}).get("code")


async def test_a_secret_comes_back_with_all_that_was_set(client: SecretClient) -> None:
    await client.set_secret(
        "a", "value", content_type="text/plain", tags={"k": "v"}, expires_on=LATER, not_before=NOW
    )
    found = await client.get_secret("a")
    properties = found.properties
    assert (found.value, properties.content_type, properties.tags) == ("value", "text/plain", {"k": "v"})
    assert (properties.not_before, properties.expires_on) == (NOW, LATER)
    assert (properties.created_on, properties.updated_on, properties.enabled) == (NOW, NOW, True)
    assert properties.recovery_level == "Recoverable"


async def test_every_set_makes_a_version_and_the_older_stay_readable(client: SecretClient) -> None:
    first = await client.set_secret("a", "one", tags={"k": "v"})
    await client.set_secret("a", "two")
    latest = await client.get_secret("A")
    assert (latest.value, latest.properties.tags) == ("two", None)
    assert (await client.get_secret("a", first.properties.version)).value == "one"
    versions = [found.version async for found in client.list_properties_of_secret_versions("a")]
    assert versions == [first.properties.version, latest.properties.version]


async def test_listing_walks_all_pages(client: SecretClient) -> None:
    for number in range(5):
        await client.set_secret(f"s{number}", "v")
    names = [found.name async for found in client.list_properties_of_secrets(max_page_size=2)]
    assert names == ["s0", "s1", "s2", "s3", "s4"]


async def test_an_update_changes_what_it_names_and_nothing_else(client: SecretClient) -> None:
    await client.set_secret("a", "one", content_type="text/plain", tags={"k": "v"})
    await client.update_secret_properties("a", expires_on=LATER)
    found = await client.get_secret("a")
    assert (found.value, found.properties.content_type, found.properties.tags) == (
        "one",
        "text/plain",
        {"k": "v"},
    )
    assert found.properties.expires_on == LATER


async def test_a_disabled_secret_cannot_be_read_but_can_be_set_again(client: SecretClient) -> None:
    await client.set_secret("a", "one")
    await client.update_secret_properties("a", enabled=False)
    with pytest.raises(HttpResponseError) as caught:
        await client.get_secret("a")
    assert code(caught.value) == (403, "Forbidden", "SecretDisabled")
    await client.set_secret("a", "two")
    assert (await client.get_secret("a")).value == "two"


async def test_a_secret_that_is_not_there_is_not_found(client: SecretClient) -> None:
    with pytest.raises(ResourceNotFoundError) as caught:
        await client.get_secret("a")
    assert code(caught.value) == (404, "SecretNotFound", None)


async def test_a_deleted_secret_keeps_its_name_until_it_is_recovered(
    emulator: Emulator, client: SecretClient
) -> None:
    await client.set_secret("a", "one")
    await client.delete_secret("a")
    assert (await client.get_deleted_secret("a")).name == "a"
    with pytest.raises(ResourceExistsError) as caught:
        await client.set_secret("a", "two")
    assert code(caught.value) == (409, "Conflict", "ObjectIsDeletedButRecoverable")
    emulator.azure.vault("contoso").recover("a")
    assert (await client.set_secret("a", "two")).value == "two"


async def test_a_value_of_25_kilobytes_is_the_largest(client: SecretClient) -> None:
    assert (await client.set_secret("a", "x" * 25 * 1024)).name == "a"
    with pytest.raises(HttpResponseError) as caught:
        await client.set_secret("a", "x" * (25 * 1024 + 1))
    assert code(caught.value) == (400, "BadParameter", None)


@pytest.mark.parametrize("name", ["a_b", "a.b", "ä", "x" * 128])
async def test_a_name_outside_the_pattern_is_refused(client: SecretClient, name: str) -> None:
    with pytest.raises(HttpResponseError) as caught:
        await client.set_secret(name, "value")
    assert code(caught.value) == (400, "BadParameter", None)


@pytest.mark.parametrize(
    ("lacking", "operation"),
    [
        ("getSecret/action", lambda client: client.get_secret("a")),
        ("setSecret/action", lambda client: client.set_secret("a", "two")),
        ("delete", lambda client: client.delete_secret("a")),
        ("update/action", lambda client: client.update_secret_properties("a", enabled=True)),
    ],
)
async def test_an_identity_without_the_action_is_told_which(
    emulator: Emulator,
    client: SecretClient,
    lacking: str,
    operation: Callable[[SecretClient], Awaitable[object]],
) -> None:
    await client.set_secret("a", "one")
    every = {"getSecret/action", "setSecret/action", "readMetadata/action", "update/action", "delete"}
    emulator.azure.granted = {f"{ACTIONS}/{action}" for action in every - {lacking}}
    with pytest.raises(HttpResponseError, match=f"Action: '{ACTIONS}/{lacking}'") as caught:
        await operation(client)
    assert code(caught.value) == (403, "Forbidden", "ForbiddenByRbac")
    emulator.azure.granted.add(f"{ACTIONS}/{lacking}")
    await operation(client)


async def test_a_token_for_one_vault_does_not_open_another(
    emulator: Emulator, client: SecretClient, credential: ManagedIdentityCredential
) -> None:
    await client.set_secret("a", "one")
    async with open_vault(emulator, credential, "fabrikam") as other:
        with pytest.raises(ResourceNotFoundError):
            await other.get_secret("a")
    audiences = set(emulator.azure.bearers.values())
    assert len(audiences) == 2
    assert [call.status for call in emulator.azure.called("vault") if call.instance == "fabrikam"] == [
        401,
        404,
    ]
