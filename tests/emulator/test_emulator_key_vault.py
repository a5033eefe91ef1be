"""Emulated Key Vault, asked by the real client with its check of the challenge left on."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.identity.aio import ManagedIdentityCredential
from azure.keyvault.secrets.aio import SecretClient

from emulator.server import Emulator

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = datetime(2026, 3, 31, 12, 0, tzinfo=UTC)
ACTIONS = "Microsoft.KeyVault/vaults/secrets"


@pytest.fixture
async def client(emulator: Emulator, credential: ManagedIdentityCredential) -> AsyncIterator[SecretClient]:
    emulator.azure.clock = lambda: NOW
    options: dict[str, Any] = {"connection_verify": emulator.ca_file, "retry_total": 0}
    async with SecretClient(emulator.vault_url("contoso"), credential, **options) as opened:
        yield opened


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
