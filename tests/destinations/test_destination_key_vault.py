"""A Key Vault secret: attributes and tags, and each way in which a vault says no."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from emulator.faults import Fault
from emulator.vaults import SecretVersion
from gateway_tokens.destinations import open_destination
from gateway_tokens.destinations.key_vault import KeyVaultSecret
from gateway_tokens.errors import DestinationBlocked
from gateway_tokens.stored import Destination, StoredForm
from tests.destinations.destination_places import NOW, OWNERSHIP, REF, TOKEN, Surroundings, stored_in

NAME = "edge-01-token"


class Vault:
    """The vault contoso as the emulator has it, and the destination in it."""

    def __init__(self, around: Surroundings) -> None:
        self.around, self.azure = around, around.emulator.azure
        self.held, self.destination = self.azure.vault("contoso"), self.opened()

    def opened(self, form: StoredForm = StoredForm.HEADER) -> Destination:
        spec = KeyVaultSecret(kind="keyVault", vault=self.around.emulator.vault_url("contoso"), form=form)
        return open_destination(spec, REF, self.around.azure)

    async def write(self) -> None:
        await self.destination.write(TOKEN, OWNERSHIP, await self.destination.read())

    async def write_ownership(self) -> None:
        await self.destination.write_ownership(OWNERSHIP, await stored_in(self.destination))

    @property
    def latest(self) -> SecretVersion:
        return self.held.secrets[NAME].latest


@pytest.fixture
def vault(around: Surroundings) -> Vault:
    return Vault(around)


async def test_a_version_has_the_tokens_dates_a_content_type_and_the_ownership_as_tags(vault: Vault) -> None:
    ownership = replace(OWNERSHIP, issued_at=NOW - timedelta(days=1))
    await vault.destination.write(TOKEN, ownership, None)
    version = vault.latest
    assert (version.nbf, version.exp) == (ownership.issued_at.timestamp(), TOKEN.expiry.timestamp())
    assert version.content_type == "application/vnd.gateway-token"
    assert version.tags == ownership.of(TOKEN.header_value()).tags()


async def test_the_bare_form_has_no_prefix_and_is_told_where_the_settings_want_another(vault: Vault) -> None:
    await vault.opened(StoredForm.TOKEN).write(TOKEN, OWNERSHIP, None)
    assert vault.latest.value == TOKEN.value.reveal()
    stored = await stored_in(vault.destination)
    assert (stored.token, stored.exact, stored.owned) == (TOKEN, False, OWNERSHIP.of(TOKEN.value))


async def test_an_ownership_changes_the_tags_of_the_version_and_nothing_else(vault: Vault) -> None:
    tags = {"team": "edge", "gateway": "?", "urgent": "no"}
    vault.held.set(NAME, TOKEN.value.reveal(), NOW, tags=tags, content_type="text/plain")
    before = replace(vault.latest)
    await vault.write_ownership()
    after = vault.latest
    assert after.tags == {"team": "edge", "urgent": "no", **OWNERSHIP.of(TOKEN.value).tags()}
    assert replace(after, tags=before.tags, updated=before.updated) == before
    assert len(vault.held.secrets[NAME].versions) == 1


async def test_a_value_keeps_the_tags_of_the_one_before_which_stays_in_the_vault(vault: Vault) -> None:
    vault.held.set(NAME, "by hand", NOW, tags={"team": "edge", "gateway": "?"})
    await vault.write()
    assert vault.latest.tags == {"team": "edge", **OWNERSHIP.of(TOKEN.header_value()).tags()}
    values = [version.value for version in vault.held.secrets[NAME].versions]
    assert values == ["by hand", TOKEN.header_value().reveal()]


async def test_refuses_to_drop_tags_that_do_not_fit(vault: Vault) -> None:
    for foreign in (9, 10):
        tags = {f"tag-{number}": "kept" for number in range(foreign)}
        for write in (vault.write, vault.write_ownership):
            vault.held.set(NAME, "by hand", NOW, tags=tags)
            if foreign == 9:
                await write()
                assert len(vault.latest.tags or {}) == 15
            else:
                with pytest.raises(DestinationBlocked, match="16 tags"):
                    await write()


async def test_a_disabled_and_a_soft_deleted_secret_block_and_say_what_to_do(vault: Vault) -> None:
    vault.held.set(NAME, "by hand", NOW, enabled=False)
    with pytest.raises(DestinationBlocked, match="disabled"):
        await vault.destination.read()
    vault.held.delete(NAME)
    assert await vault.destination.read() is None
    with pytest.raises(DestinationBlocked, match="Recover or purge it"):
        await vault.write()
    assert NAME in vault.held.deleted


FIREWALL = {"error": {"code": "Forbidden", "innererror": {"code": "ForbiddenByFirewall"}}}
CHALLENGE = (
    'Bearer authorization="https://login.microsoftonline.com/t", resource="https://vault.other.example"'
)


async def test_a_firewall_and_another_address_are_told_as_what_they_are(vault: Vault) -> None:
    json_type = {"Content-Type": "application/json"}
    vault.azure.faults.add(Fault("vault", status=403, body=json.dumps(FIREWALL), headers=json_type))
    with pytest.raises(DestinationBlocked, match="firewall"):
        await vault.destination.read()
    vault.azure.faults.add(Fault("vault", status=401, headers={"WWW-Authenticate": CHALLENGE}, times=None))
    with pytest.raises(DestinationBlocked, match="Use the vault's own address"):
        await vault.destination.read()
