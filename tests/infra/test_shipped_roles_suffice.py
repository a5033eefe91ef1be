"""The app under exactly the rights that are shipped, in Azure and in a cluster: everything works, and nothing granted is idle.

The emulator refuses every action that is not granted, and names it, as Azure does.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any

import pytest
import yaml

from gateway_tokens.access import Caller
from gateway_tokens.app import put_together
from gateway_tokens.errors import AzureError
from gateway_tokens.estate.app_settings import read_settings
from gateway_tokens.http.requests import TokenRequest
from gateway_tokens.http.tokens import issue_for
from gateway_tokens.parts import App
from gateway_tokens.renewal.rotation import Revocation, active_key, revoke
from gateway_tokens.renewal.rows import Demand, Row
from gateway_tokens.renewal.run import Runs, reconcile_gateway, run_requests
from gateway_tokens.renewal.service import load_report, managed
from gateway_tokens.tokens import GatewayRef, KeyType
from tests.destinations.destination_places import NOW, SUBSCRIPTION, surroundings_of
from tests.destinations.destination_places import Surroundings as Places
from tests.infra.digests import INFRA, roles

SHIPPED = sorted(
    set().union(*(role.actions | role.data_actions for role in roles("every-destination").values()))
)
# What Azure's own roles grant beside them.
BUILT_IN = {
    "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",
    "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write",
}
GRANTED_IN_CLUSTER = {
    f"{verb} {resource}"
    for document in yaml.safe_load_all((INFRA / "kubernetes-rbac.yaml").read_text())
    for rule in document.get("rules", ())
    for verb in rule["verbs"]
    for resource in rule["resources"]
}
# Workloads of every kind are restarted alike, and one is here.
OTHER_WORKLOADS = ("daemonsets", "rollouts", "statefulsets")
IN_CLUSTER = sorted(right for right in GRANTED_IN_CLUSTER if not right.endswith(OTHER_WORKLOADS))
AZURE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/edge/providers"


def document(locations: Places) -> dict[str, Any]:
    destinations = [
        {"kind": "keyVault", "vault": locations.emulator.vault_url("contoso")},
        {
            "kind": "kubernetes",
            "cluster": f"{AZURE}/Microsoft.ContainerService/managedClusters/edge",
            "restart": {"name": "{gateway}-gateway"},
        },
    ]
    access = [{"caller": {"functionKey": True}, "gateways": ["*/*"], "allow": ["issue"]}]
    resource_id = f"{AZURE}/Microsoft.ApiManagement/service/contoso-apim"
    contoso = {"resourceId": resource_id, "gateways": {"edge-01": {"destinations": destinations}}}
    return {"services": {"contoso": contoso}, "access": access}


@pytest.fixture
async def locations() -> AsyncIterator[Places]:
    """An API Management service, a vault and a cluster, all of them refusing what is not granted."""
    async with surroundings_of() as surroundings:
        surroundings.emulator.azure.clock = lambda: NOW
        surroundings.emulator.azure.add_service(SUBSCRIPTION, "edge", "contoso-apim").add_gateway("edge-01")
        workload = surroundings.cluster.objects.add_workload("Deployment", "default", "edge-01-gateway")
        workload.age(NOW - timedelta(days=20))
        surroundings.emulator.azure.granted = {*SHIPPED, *BUILT_IN, *IN_CLUSTER}
        yield surroundings


@pytest.fixture
async def app(locations: Places) -> AsyncIterator[App]:
    """The app as it is put together, by a clock that goes on a minute with each look."""
    environ = {**locations.emulator.settings(), "GATEWAY_TOKENS": json.dumps(document(locations))}
    environ |= {"RENEWAL_SCHEDULE": "0 0 * * * *", "ALLOW_FUNCTION_KEYS": "true"}
    app_made, azure = put_together(read_settings(environ))
    minutes = count()
    yield replace(app_made, clock=lambda: NOW - timedelta(days=1) + timedelta(minutes=next(minutes)))
    await azure.close()


async def everything_the_app_does(app: App, locations: Places) -> list[Row]:
    """Issue for a caller, run, renew, take over what somebody wrote, judge restarts and health, revoke a key."""
    for request in run_requests(app.settings.estate, app.clock()):
        await Runs().reconcile(app, request)
    rows = [*(await load_report(app, "contoso")).rows.values()]
    gateway = managed("contoso", app.settings.estate.services["contoso"], "edge-01")
    assert gateway is not None
    later = app.clock() + timedelta(hours=2)
    for demand in (
        Demand(app.clock()),
        Demand(later, issued_before=later),
        Demand(app.clock(), picked_up=False),
        Demand(app.clock()),
    ):
        rows += await reconcile_gateway(app, gateway, demand, "somebody", 60)
    vault = locations.emulator.azure.vault("contoso")
    if stored := vault.secret("edge-01-token"):
        vault.set("edge-01-token", stored.latest.value, NOW)  # without its tags
    rows += await reconcile_gateway(app, gateway, Demand(app.clock()), "somebody", 60)
    wanted = TokenRequest(GatewayRef("contoso", "edge-01"), None, None, None)
    key_in_use, caller = partial(active_key, app), Caller(function_key=True)
    await issue_for(caller, wanted, app.settings.estate, app.gateways, app.clock(), active_key=key_in_use)
    await app.reports.entries()
    revoked = await revoke(app, gateway, Revocation(KeyType.PRIMARY, "a leak"), "somebody")
    rows += revoked.rows
    # Of what was not revoked, the rows tell why; a refused regeneration is told by its error.
    if isinstance(revoked.stopped, AzureError):
        raise revoked.stopped
    return rows


def errors_of(rows: list[Row]) -> list[str]:
    return [row.failure.text for row in rows if row.failure and row.failure.code != "not_picked_up"]


async def test_the_shipped_roles_are_enough_to_issue_and_to_renew(app: App, locations: Places) -> None:
    rows = await everything_the_app_does(app, locations)
    assert {str(row.outcome) for row in rows} == {"renewed", "restarting", "failed", "fresh"}
    assert errors_of(rows) == []


@pytest.mark.parametrize("right", [*SHIPPED, *IN_CLUSTER])
async def test_without_any_one_right_the_failure_names_it(
    app: App, locations: Places, right: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert locations.emulator.azure.granted is not None
    locations.emulator.azure.granted.remove(right)
    rows: list[Row] = []
    texts: list[str] = []
    try:
        rows += await everything_the_app_does(app, locations)
    except AzureError as error:
        texts.append(str(error))
    texts += [*errors_of(rows), *(row.decision.message for row in rows)]
    assert any(f"'{right}'" in text for text in (texts if right in IN_CLUSTER else [*texts, caplog.text]))
    if right in IN_CLUSTER:
        forbidden = [row for row in rows if row.failure and row.failure.code == "azure_forbidden"]
        assert [row for row in forbidden if "managedclusters" not in row.id.location] == []
