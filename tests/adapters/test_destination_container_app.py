"""A Container App's secret: its neighbours unharmed, its label in a tag, its revision waited for."""

import asyncio
from datetime import timedelta

import pytest

from emulator.container_apps import App
from emulator.faults import Fault
from gateway_tokens.destination_settings import Form
from gateway_tokens.destinations import open_destination
from gateway_tokens.errors import (
    AzureError,
    AzureForbidden,
    AzureNotFound,
    AzureUnavailable,
    DestinationBlocked,
    RestartFailed,
    WriteConflict,
)
from gateway_tokens.ledger import Label
from gateway_tokens.model import GatewayRef, KeyType
from gateway_tokens.ports import Destination
from tests.adapters.destination_places import LABEL, REF, World, a_container_app_spec, a_token

TOKEN, NEWER = a_token(), a_token(seed="newer")
LATER = Label(LABEL.owner, LABEL.key_type, LABEL.issued_at + timedelta(minutes=1))
REFERENCE = {"keyVaultUrl": "https://contoso.vault.azure.net/secrets/x", "identity": "system"}


@pytest.fixture
def app(world: World) -> App:
    return world.apps.add("edge-01")


def opened(world: World, **more: object) -> Destination:
    return open_destination(a_container_app_spec(**more), REF, world.azure)


async def restart_due(destination: Destination) -> bool:
    held = await destination.read()
    assert held is not None
    return held.restart_due


class TestSecret:
    async def test_other_secrets_are_sent_back_as_they_were(self, world: World, app: App) -> None:
        app.put("password", value="kept")
        app.put("connection", **REFERENCE, value="read through the reference")
        await opened(world).write(TOKEN, LABEL, None)
        assert app.secret("password") == "kept"
        # The reference stays a reference: the value that Azure told with it is not written down.
        assert {"name": "connection", **REFERENCE} in app.secrets

    async def test_an_app_without_secrets_gets_its_first(self, world: World, app: App) -> None:
        assert await opened(world).read() is None
        await opened(world).write(TOKEN, LABEL, None)
        assert [secret["name"] for secret in app.secrets] == ["gateway-token"]

    @pytest.mark.parametrize("replaces_tags", [True, False])
    async def test_keeps_the_label_in_one_tag_beside_the_others(
        self, world: World, app: App, *, replaces_tags: bool
    ) -> None:
        app.replaces_tags = replaces_tags
        app.tags = {"team": "edge"}
        await opened(world).write(TOKEN, LABEL, None)
        assert app.tags["team"] == "edge"
        assert app.tags["gateway-tokens.gateway-token"].startswith(
            "gateway=contoso-apim/edge-01;key-type=primary;"
        )

    async def test_the_label_fits_a_tag_for_the_longest_names(self, world: World, app: App) -> None:
        label = Label(f"{'s' * 50}/{'g' * 80}", KeyType.SECONDARY, LABEL.issued_at)
        await opened(world, secret="s" * 253).write(TOKEN, label, None)
        (tag,) = app.tags.items()
        assert (len(tag[0]) <= 512, len(tag[1]) <= 256) == (True, True)

    @pytest.mark.parametrize(
        "tag", ["", "nonsense", "gateway=a/b;key-type=third;issued-at=2026-03-01T12:00:00Z"]
    )
    async def test_a_spoilt_tag_is_no_label(self, world: World, app: App, tag: str) -> None:
        app.put("gateway-token", value=TOKEN.header_value().reveal())
        app.tags = {"gateway-tokens.gateway-token": tag}
        held = await opened(world).read()
        assert held is not None
        assert (held.token, held.label) == (TOKEN, None)

    async def test_the_bare_form_stores_the_token_without_its_prefix(self, world: World, app: App) -> None:
        await opened(world, form=Form.TOKEN).write(TOKEN, LABEL, None)
        assert app.secret("gateway-token") == TOKEN.value.reveal()

    async def test_a_reference_to_key_vault_is_not_replaced(self, world: World, app: App) -> None:
        app.put("gateway-token", **REFERENCE)
        with pytest.raises(DestinationBlocked, match="reference to Key Vault"):
            await opened(world).read()
        with pytest.raises(DestinationBlocked, match="reference to Key Vault"):
            await opened(world).write(TOKEN, LABEL, None)

    async def test_nothing_is_written_when_a_neighbour_would_be_lost(self, world: World, app: App) -> None:
        app.put("hidden")
        with pytest.raises(DestinationBlocked, match="the values of hidden cannot be read"):
            await opened(world).write(TOKEN, LABEL, None)
        assert app.secret("gateway-token") is None

    async def test_a_missing_app_is_an_error_and_not_an_empty_place(self, world: World) -> None:
        with pytest.raises(AzureNotFound, match="containerApps/edge-01"):
            await opened(world).read()

    @pytest.mark.parametrize(
        ("granted", "lacking"),
        [
            (set(), "read"),
            ({"read"}, "listSecrets/action"),
            ({"read", "listSecrets/action"}, "write"),
        ],
    )
    async def test_a_missing_permission_is_named(
        self, world: World, app: App, granted: set[str], lacking: str
    ) -> None:
        world.emulator.azure.granted = {f"Microsoft.App/containerApps/{action}" for action in granted}
        with pytest.raises(AzureForbidden) as caught:
            await opened(world).write(TOKEN, LABEL, None)
        assert caught.value.action == f"Microsoft.App/containerApps/{lacking}"
        assert caught.value.scope.endswith(app.name)


class TestWriting:
    async def test_a_change_under_way_is_a_conflict(self, world: World, app: App) -> None:
        app.settling = 5
        with pytest.raises(WriteConflict, match="changing the app"):
            await opened(world).write(TOKEN, LABEL, None)

    async def test_waits_until_azure_has_settled(self, world: World, app: App) -> None:
        app.looks_to_settle = 3
        await opened(world).write(TOKEN, LABEL, None)
        assert app.settling == 0
        assert world.time.elapsed == 9

    async def test_gives_up_on_a_change_that_does_not_settle(self, world: World, app: App) -> None:
        app.looks_to_settle = 100
        with pytest.raises(AzureUnavailable, match="ProvisioningInProgress"):
            await opened(world, timeout="PT30S").write(TOKEN, LABEL, None)
        assert world.time.elapsed == 30

    async def test_a_change_that_azure_could_not_make_is_an_error(self, world: World, app: App) -> None:
        failed = '{"properties": {"provisioningState": "Failed"}}'
        headers = {"Content-Type": "application/json"}
        fault = Fault(host="arm", method="GET", status=200, body=failed, headers=headers, skip=1)
        world.emulator.azure.faults.add(fault)
        with pytest.raises(AzureError, match="ProvisioningFailed"):
            await opened(world).write(TOKEN, LABEL, None)
        assert app.secret("gateway-token")

    async def test_two_gateways_in_one_app_do_not_overwrite_each_other(self, world: World, app: App) -> None:
        resource_id = a_container_app_spec().resource_id.replace("{gateway}", app.name)
        spec = a_container_app_spec(secret="{gateway}", resource_id=resource_id)
        one, two = (
            open_destination(spec, GatewayRef("contoso", name), world.azure) for name in ("one", "two")
        )
        await asyncio.gather(one.write(TOKEN, LABEL, None), two.write(NEWER, LABEL, None))
        assert (app.secret("one"), app.secret("two")) == (
            TOKEN.header_value().reveal(),
            NEWER.header_value().reveal(),
        )

    async def test_each_write_begins_a_revision_of_its_own(self, world: World, app: App) -> None:
        destination = opened(world)
        await destination.write(TOKEN, LABEL, None)
        await destination.write(TOKEN, LATER, await destination.read())
        assert app.revisions == [
            "edge-01--first",
            f"edge-01--gt-260301120000-{TOKEN.fingerprint[:4]}",
            f"edge-01--gt-260301120100-{TOKEN.fingerprint[:4]}",
        ]

    async def test_a_revisions_name_fits_for_the_longest_app_name(self, world: World) -> None:
        app = world.apps.add("a" * 32)
        resource_id = a_container_app_spec().resource_id.replace("{gateway}", app.name)
        await opened(world, resource_id=resource_id).write(TOKEN, LABEL, None)
        assert len(app.revisions[-1]) <= 54


class TestRestart:
    async def test_is_due_until_the_new_revision_runs(self, world: World, app: App) -> None:
        app.looks_to_run = 3
        destination = opened(world)
        await destination.write(TOKEN, LABEL, None)
        assert await restart_due(destination)
        await destination.restart(TOKEN)
        assert not await restart_due(destination)
        assert app.restarted == []

    async def test_a_revision_that_runs_already_is_not_restarted(self, world: World, app: App) -> None:
        destination = opened(world)
        await destination.write(TOKEN, LABEL, None)
        app.ready = app.revisions[-1]
        await destination.restart(TOKEN)
        assert app.restarted == []

    async def test_one_that_broke_off_is_waited_for_by_the_next_sweep(self, world: World, app: App) -> None:
        await opened(world).write(TOKEN, LABEL, None)
        await opened(world).restart(TOKEN)
        assert not await restart_due(opened(world))
        assert app.restarted == []

    async def test_asked_for_when_none_is_due_restarts_the_newest_revision(
        self, world: World, app: App
    ) -> None:
        await opened(world).write(TOKEN, LABEL, None)
        await opened(world).restart(TOKEN)
        await opened(world).restart(TOKEN)
        assert app.restarted == [app.revisions[-1]]

    async def test_gives_up_at_its_bound_and_says_how_far_it_came(self, world: World, app: App) -> None:
        app.stuck = True
        destination = opened(world, timeout="PT30S")
        await destination.write(TOKEN, LABEL, None)
        before = world.time.elapsed
        with pytest.raises(
            RestartFailed, match=r"within 30 s \(provisioning: Provisioning, running: Processing"
        ):
            await destination.restart(TOKEN)
        assert world.time.elapsed - before == 30
        assert await restart_due(destination)

    async def test_a_revision_that_fails_is_not_waited_for(self, world: World, app: App) -> None:
        app.broken = True
        destination = opened(world)
        await destination.write(TOKEN, LABEL, None)
        before = world.time.elapsed
        with pytest.raises(RestartFailed, match="failed"):
            await destination.restart(TOKEN)
        assert world.time.elapsed == before

    async def test_somebody_elses_value_restarts_nothing(self, world: World, app: App) -> None:
        app.put("gateway-token", value=TOKEN.header_value().reveal())
        app.revisions.append("edge-01--second")
        assert not await restart_due(opened(world))
