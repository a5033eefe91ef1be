"""A Key Vault secret: attributes and tags, and each way in which a vault says no."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from emulator.faults import Fault
from emulator.vaults import SecretVersion
from gateway_tokens.destinations import open_destination
from gateway_tokens.destinations.base import Destination, StoredForm
from gateway_tokens.destinations.key_vault import KeyVaultSecret
from gateway_tokens.errors import AzureForbidden, AzureUnavailable, DestinationBlocked
from tests.destinations.destination_places import NOW, OWNERSHIP, REF, Surroundings, a_token, stored_in

TOKEN, NEWER = a_token(), a_token(seed="newer")
NAME = "edge-01-token"


def opened(around: Surroundings, form: StoredForm = StoredForm.HEADER, vault: str = "contoso") -> Destination:
    spec = KeyVaultSecret(kind="keyVault", vault=around.emulator.vault_url(vault), form=form)
    return open_destination(spec, REF, around.azure)


def latest(around: Surroundings) -> SecretVersion:
    secret = around.emulator.azure.vault("contoso").secret(NAME)
    assert secret is not None
    return secret.latest


async def test_a_version_has_the_tokens_dates_a_content_type_and_the_ownership_as_tags(
    around: Surroundings,
) -> None:
    ownership = replace(OWNERSHIP, issued_at=NOW - timedelta(days=1))
    await opened(around).write(TOKEN, ownership, None)
    version = latest(around)
    assert (version.nbf, version.exp) == (ownership.issued_at.timestamp(), TOKEN.expiry.timestamp())
    assert version.content_type == "application/vnd.gateway-token"
    assert version.tags == ownership.of(TOKEN.header_value()).tags()


async def test_the_bare_form_has_no_prefix_and_is_told_where_the_settings_want_another(
    around: Surroundings,
) -> None:
    await opened(around, StoredForm.TOKEN).write(TOKEN, OWNERSHIP, None)
    assert latest(around).value == TOKEN.value.reveal()
    stored = await stored_in(opened(around, StoredForm.HEADER))
    assert (stored.token, stored.exact, stored.owned) == (TOKEN, False, OWNERSHIP.of(TOKEN.value))


async def test_a_write_of_the_ownership_changes_the_tags_of_the_version_and_nothing_else(
    around: Surroundings,
) -> None:
    vault = around.emulator.azure.vault("contoso")
    vault.set(
        NAME, TOKEN.value.reveal(), NOW, tags={"team": "edge", "gateway": "?"}, content_type="text/plain"
    )
    before = replace(latest(around))
    destination = opened(around)
    await destination.write_ownership(OWNERSHIP, await stored_in(destination))
    after = latest(around)
    assert after.tags == {"team": "edge", **OWNERSHIP.of(TOKEN.value).tags()}
    assert replace(after, tags=before.tags, updated=before.updated) == before
    assert len(vault.secrets[NAME].versions) == 1


async def test_keeps_the_tags_of_a_secret_that_it_takes_over(around: Surroundings) -> None:
    theirs = {"team": "edge", "urgent": "no"}
    around.emulator.azure.vault("contoso").set(NAME, "by hand", NOW, tags={**theirs, "gateway": "?"})
    destination = opened(around)
    await destination.write(TOKEN, OWNERSHIP, await destination.read())
    assert latest(around).tags == {**theirs, **OWNERSHIP.of(TOKEN.header_value()).tags()}


@pytest.mark.parametrize(("foreign", "fits"), [(9, True), (10, False)])
async def test_refuses_to_drop_tags_that_do_not_fit(around: Surroundings, foreign: int, fits: bool) -> None:  # noqa: FBT001
    tags = {f"tag-{number}": "kept" for number in range(foreign)}
    around.emulator.azure.vault("contoso").set(NAME, "by hand", NOW, tags=tags)
    destination = opened(around)
    if fits:
        await destination.write_ownership(OWNERSHIP, await stored_in(destination))
        await destination.write(TOKEN, OWNERSHIP, await destination.read())
        assert len(latest(around).tags or {}) == 15
        return
    stored = await stored_in(destination)
    with pytest.raises(DestinationBlocked, match="16 tags"):
        await destination.write(TOKEN, OWNERSHIP, stored)
    with pytest.raises(DestinationBlocked, match="16 tags"):
        await destination.write_ownership(OWNERSHIP, stored)


async def test_the_previous_version_stays_in_the_vault(around: Surroundings) -> None:
    destination = opened(around)
    await destination.write(TOKEN, OWNERSHIP, None)
    await destination.write(NEWER, OWNERSHIP, await destination.read())
    secret = around.emulator.azure.vault("contoso").secrets[NAME]
    values = [version.value for version in secret.versions]
    assert values == [token.header_value().reveal() for token in (TOKEN, NEWER)]


async def test_a_soft_deleted_secret_blocks_the_write_and_says_what_to_do(around: Surroundings) -> None:
    vault = around.emulator.azure.vault("contoso")
    vault.set(NAME, "by hand", NOW)
    vault.delete(NAME)
    destination = opened(around)
    assert await destination.read() is None
    with pytest.raises(DestinationBlocked, match="Recover or purge it"):
        await destination.write(TOKEN, OWNERSHIP, None)
    assert NAME in vault.deleted


async def test_a_disabled_secret_blocks(around: Surroundings) -> None:
    around.emulator.azure.vault("contoso").set(NAME, "by hand", NOW, enabled=False)
    with pytest.raises(DestinationBlocked, match="disabled"):
        await opened(around).read()


async def test_a_missing_permission_is_named_with_its_secret(around: Surroundings) -> None:
    destination, azure = opened(around), around.emulator.azure
    azure.vault("contoso").set(NAME, "by hand", NOW)
    stored = await stored_in(destination)
    get = "Microsoft.KeyVault/vaults/secrets/getSecret/action"
    for granted, lacking, attempt in (
        (set[str](), "getSecret", destination.read()),
        ({get}, "setSecret", destination.write(TOKEN, OWNERSHIP, stored)),
        ({get}, "update", destination.write_ownership(OWNERSHIP, stored)),
    ):
        azure.granted = granted
        with pytest.raises(AzureForbidden) as caught:
            await attempt
        assert caught.value.action == f"Microsoft.KeyVault/vaults/secrets/{lacking}/action"
        assert caught.value.scope == destination.location


async def test_a_vaults_firewall_is_no_missing_role(around: Surroundings) -> None:
    body = {"error": {"code": "Forbidden", "message": "", "innererror": {"code": "ForbiddenByFirewall"}}}
    around.emulator.azure.faults.add(
        Fault(host="vault", status=403, body=json.dumps(body), headers={"Content-Type": "application/json"})
    )
    with pytest.raises(DestinationBlocked, match="firewall"):
        await opened(around).read()


async def test_one_vault_out_of_reach_does_not_touch_another(around: Surroundings) -> None:
    around.emulator.azure.faults.add(Fault(host="vault", instance="fabrikam", kind="drop", times=None))
    with pytest.raises(AzureUnavailable):
        await opened(around, vault="fabrikam").read()
    await opened(around).write(TOKEN, OWNERSHIP, None)
    assert latest(around).value == TOKEN.header_value().reveal()


async def test_a_restart_is_nothing_to_do(around: Surroundings) -> None:
    destination = opened(around)
    await destination.write(TOKEN, OWNERSHIP, None)
    stored = await stored_in(destination)
    calls = len(around.emulator.azure.calls)
    await destination.restart(stored)
    assert (stored.restart, len(around.emulator.azure.calls)) == (None, calls)


async def test_a_vault_that_answers_under_another_address_is_told_as_that(around: Surroundings) -> None:
    challenge = (
        'Bearer authorization="https://login.microsoftonline.com/t", resource="https://vault.other.example"'
    )
    around.emulator.azure.faults.add(
        Fault(host="vault", status=401, headers={"WWW-Authenticate": challenge}, times=None)
    )
    with pytest.raises(DestinationBlocked, match="Use the vault's own address"):
        await opened(around).read()
