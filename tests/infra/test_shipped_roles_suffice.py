"""The app under exactly the rights that the shipped roles grant: everything works, and nothing granted is idle.

The emulator refuses every action that is not granted, and names it, as Azure does.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest

from gateway_tokens.access import Caller
from gateway_tokens.azure.api_management import ArmGateways
from gateway_tokens.azure.budget import CallersBudget
from gateway_tokens.azure.reports import ReportBlob
from gateway_tokens.destinations import open_destination
from gateway_tokens.errors import AzureError, SweepFailed
from gateway_tokens.estate.app_settings import read_settings
from gateway_tokens.issuing import TokenRequest, issue_for
from gateway_tokens.renewal.parts import App
from gateway_tokens.renewal.record import SweepStore
from gateway_tokens.renewal.report import Row
from gateway_tokens.renewal.run import keep_and_remember, remembered, renew_now, sweep, terms_of
from gateway_tokens.renewal.service import unit_of
from gateway_tokens.tokens import GatewayRef
from tests.adapters.destination_places import NOW, SUBSCRIPTION, surroundings_of
from tests.adapters.destination_places import Surroundings as Places
from tests.infra.digests import roles

SHIPPED = sorted(
    set().union(*(role.actions | role.data_actions for role in roles("every-destination").values()))
)
# What Azure's own roles and infra/kubernetes-rbac.yaml grant beside them.
BUILT_IN = {
    "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",
    "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write",
}
IN_CLUSTER = {"get secrets", "create secrets", "patch secrets", "get deployments", "patch deployments"}
SERVICE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/edge/providers/Microsoft.ApiManagement/service/contoso-apim"


def document(locations: Places) -> str:
    azure = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/edge/providers"
    destinations = [
        {"kind": "keyVault", "vault": locations.emulator.vault_url("contoso")},
        {
            "kind": "kubernetes",
            "cluster": f"{azure}/Microsoft.ContainerService/managedClusters/edge",
            "restart": {"name": "{gateway}-gateway"},
        },
    ]
    access = [{"caller": {"functionKey": True}, "gateways": ["*/*"], "allow": ["issue"]}]
    contoso = {"resourceId": SERVICE, "gateways": {"edge-01": {"destinations": destinations}}}
    return json.dumps({"services": {"contoso": contoso}, "access": access})


@pytest.fixture
async def locations() -> AsyncIterator[Places]:
    """An API Management service, a vault and a cluster, all of them refusing what is not granted."""
    async with surroundings_of() as made:
        made.emulator.azure.clock = lambda: NOW
        made.emulator.azure.add_service(SUBSCRIPTION, "edge", "contoso-apim").add_gateway("edge-01")
        made.cluster.objects.add_workload("Deployment", "default", "edge-01-gateway")
        made.emulator.azure.granted = {*SHIPPED, *BUILT_IN, *IN_CLUSTER}
        yield made


def world_of(locations: Places) -> App:
    settings = read_settings(
        {
            **locations.emulator.settings(),
            "GATEWAY_TOKENS": document(locations),
            "RENEWAL_SCHEDULE": "0 0 * * * *",
            "ALLOW_FUNCTION_KEYS": "true",
        }
    )
    minutes, callers = count(), CallersBudget()
    return App(
        settings=settings,
        clock=lambda: NOW - timedelta(days=1) + timedelta(minutes=next(minutes)),
        gateways=ArmGateways(locations.azure, locations.azure.budget),
        callers_gateways=ArmGateways(locations.azure, callers),
        callers_budget=callers,
        destination=lambda spec, ref: open_destination(spec, ref, locations.azure),
        sweeps=SweepStore(ReportBlob(locations.azure, f"{settings.state_container_url}/sweep-record.json")),
        interval=timedelta(hours=1),
        identity_works=locations.azure.identity_works,
        signing_key=lambda address, key_id: locations.azure.signing_keys(address).key(key_id),
    )


async def everything_the_app_does(app: App) -> list[Row]:
    """Issue for a caller, sweep, renew on demand, and restart what did not pick its token up."""
    ref = GatewayRef("contoso", "edge-01")
    rows = [*(await sweep(app)).rows]
    unit = unit_of("contoso", app.settings.estate.services["contoso"], "edge-01")
    assert unit is not None
    rows += (await renew_now(app, unit, "somebody")).rows
    record = await remembered(app)
    terms = replace(terms_of(app, record), picked_up=False)
    rows += (await keep_and_remember(app, unit, terms, record)).rows
    request = TokenRequest(ref, None, None, None)
    await issue_for(Caller(function_key=True), request, app.settings.estate, app.gateways, app.clock())
    return rows


async def test_the_shipped_roles_are_enough_to_issue_and_to_renew(locations: Places) -> None:
    rows = await everything_the_app_does(world_of(locations))

    assert {(row.location.split("/")[-2], row.outcome) for row in rows} == {
        ("secrets", "renewed"),
        ("secrets", "restarted"),
        ("secrets", "not_picked_up"),
    }
    assert not [row.error for row in rows if row.error]


@pytest.mark.parametrize("action", SHIPPED)
async def test_without_any_one_action_the_failure_names_it(locations: Places, action: str) -> None:
    assert locations.emulator.azure.granted is not None
    locations.emulator.azure.granted.remove(action)

    errors: list[str] = []
    try:
        errors += [row.error for row in await everything_the_app_does(world_of(locations))]
    except (AzureError, SweepFailed) as error:
        errors.append(str(error))

    assert any(f"'{action}'" in error for error in errors)


@pytest.mark.parametrize("verb", sorted(IN_CLUSTER))
async def test_without_any_one_right_in_the_cluster_the_failure_names_it(
    locations: Places, verb: str
) -> None:
    assert locations.emulator.azure.granted is not None
    locations.emulator.azure.granted.remove(verb)

    rows = await everything_the_app_does(world_of(locations))

    assert any(f"'{verb}'" in row.error for row in rows)
    assert not [row for row in rows if row.error and "managedclusters" not in row.location]
