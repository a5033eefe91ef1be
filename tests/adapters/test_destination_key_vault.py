"""A Key Vault secret: attributes and tags, and each way in which a vault says no."""

import json

import pytest

from emulator.faults import Fault
from emulator.vaults import SecretVersion
from gateway_tokens.destinations import open_destination
from gateway_tokens.destinations.base import Destination, StoredForm
from gateway_tokens.destinations.key_vault import KeyVaultSecret
from gateway_tokens.errors import AzureForbidden, AzureUnavailable, DestinationBlocked
from tests.adapters.destination_places import LABEL, NOW, REF, World, a_token

TOKEN, NEWER = a_token(), a_token(seed="newer")
NAME = "edge-01-token"


def opened(world: World, form: StoredForm = StoredForm.HEADER, vault: str = "contoso") -> Destination:
    spec = KeyVaultSecret(kind="keyVault", vault=world.emulator.vault_url(vault), form=form)
    return open_destination(spec, REF, world.azure)


def latest(world: World) -> SecretVersion:
    secret = world.emulator.azure.vault("contoso").secret(NAME)
    assert secret is not None
    return secret.latest


async def test_expires_with_the_token_and_starts_when_it_was_issued(world: World) -> None:
    await opened(world).write(TOKEN, LABEL, None)
    version = latest(world)
    assert (version.nbf, version.exp) == (NOW.timestamp(), TOKEN.expiry.timestamp())


async def test_has_a_content_type_and_the_label_as_tags(world: World) -> None:
    await opened(world).write(TOKEN, LABEL, None)
    version = latest(world)
    assert version.content_type == "application/vnd.gateway-token"
    assert version.tags == LABEL.tags(TOKEN)


async def test_the_bare_form_stores_the_token_without_its_prefix(world: World) -> None:
    await opened(world, StoredForm.TOKEN).write(TOKEN, LABEL, None)
    assert latest(world).value == TOKEN.value.reveal()


async def test_a_value_in_another_form_than_the_settings_want_counts_as_no_token(world: World) -> None:
    await opened(world, StoredForm.TOKEN).write(TOKEN, LABEL, None)
    held = await opened(world, StoredForm.HEADER).read()
    assert held is not None
    assert (held.token, held.label) == (None, LABEL)


async def test_keeps_the_tags_of_a_secret_that_it_takes_over(world: World) -> None:
    world.emulator.azure.vault("contoso").set(NAME, "by hand", NOW, tags={"team": "edge", "gateway": "?"})
    destination = opened(world)
    await destination.write(TOKEN, LABEL, await destination.read())
    assert latest(world).tags == {"team": "edge", **LABEL.tags(TOKEN)}


@pytest.mark.parametrize(("foreign", "fits"), [(9, True), (10, False)])
async def test_refuses_to_drop_tags_that_do_not_fit(world: World, foreign: int, fits: bool) -> None:  # noqa: FBT001
    tags = {f"tag-{number}": "kept" for number in range(foreign)}
    world.emulator.azure.vault("contoso").set(NAME, "by hand", NOW, tags=tags)
    destination = opened(world)
    held = await destination.read()
    if not fits:
        with pytest.raises(DestinationBlocked, match="16 tags"):
            await destination.write(TOKEN, LABEL, held)
        return
    await destination.write(TOKEN, LABEL, held)
    assert len(latest(world).tags or {}) == 15


async def test_the_previous_version_stays_in_the_vault(world: World) -> None:
    destination = opened(world)
    await destination.write(TOKEN, LABEL, None)
    await destination.write(NEWER, LABEL, await destination.read())
    secret = world.emulator.azure.vault("contoso").secrets[NAME]
    assert [version.value for version in secret.versions] == [
        token.header_value().reveal() for token in (TOKEN, NEWER)
    ]


async def test_a_soft_deleted_secret_blocks_the_write_and_says_what_to_do(world: World) -> None:
    vault = world.emulator.azure.vault("contoso")
    vault.set(NAME, "by hand", NOW)
    vault.delete(NAME, NOW)
    destination = opened(world)
    assert await destination.read() is None
    with pytest.raises(DestinationBlocked, match="Recover it, or purge it"):
        await destination.write(TOKEN, LABEL, None)
    assert NAME in vault.deleted


async def test_a_disabled_secret_blocks(world: World) -> None:
    world.emulator.azure.vault("contoso").set(NAME, "by hand", NOW, enabled=False)
    with pytest.raises(DestinationBlocked, match="disabled"):
        await opened(world).read()


@pytest.mark.parametrize(
    ("granted", "lacking"),
    [(set(), "getSecret"), ({"Microsoft.KeyVault/vaults/secrets/getSecret/action"}, "setSecret")],
)
async def test_a_missing_permission_is_named_with_its_secret(
    world: World, granted: set[str], lacking: str
) -> None:
    world.emulator.azure.granted = granted
    destination = opened(world)
    with pytest.raises(AzureForbidden) as caught:
        await destination.write(TOKEN, LABEL, None)
    assert caught.value.action == f"Microsoft.KeyVault/vaults/secrets/{lacking}/action"
    assert caught.value.scope == destination.place


async def test_a_vaults_firewall_is_no_missing_role(world: World) -> None:
    body = {"error": {"code": "Forbidden", "message": "", "innererror": {"code": "ForbiddenByFirewall"}}}
    world.emulator.azure.faults.add(
        Fault(host="vault", status=403, body=json.dumps(body), headers={"Content-Type": "application/json"})
    )
    with pytest.raises(DestinationBlocked, match="firewall"):
        await opened(world).read()


async def test_one_vault_out_of_reach_does_not_touch_another(world: World) -> None:
    world.emulator.azure.faults.add(Fault(host="vault", instance="fabrikam", kind="drop", times=None))
    with pytest.raises(AzureUnavailable):
        await opened(world, vault="fabrikam").read()
    await opened(world).write(TOKEN, LABEL, None)
    assert latest(world).value == TOKEN.header_value().reveal()


async def test_a_restart_is_nothing_to_do(world: World) -> None:
    await opened(world).restart(TOKEN)
    assert world.emulator.azure.calls == []
