"""Whole runs against a cluster on the wire: a workload is restarted once for one token, whatever is done to its manifest.

The tests of destinations have what others may do between two runs, and the simulation has it for weeks.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from emulator.kubernetes import Cluster
from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from gateway_tokens.destinations.kubernetes.delivery import FINGERPRINT
from gateway_tokens.renewal.run import Runs, run_requests
from gateway_tokens.renewal.service import load_report
from tests.renewal_estate import CONTOSO, DAY, HOUR, StandingClock
from tests.served_estate import app_settings, set_environment

SECRET, WORKLOAD = ("secrets", "default", "edge-01-token"), ("deployments", "default", "edge-01")


class Plant:
    """One gateway whose Deployment reads a Secret, and the app that keeps its token."""

    def __init__(self, emulator: Emulator, cluster: Cluster) -> None:
        self.clock, self.objects = StandingClock(), cluster.objects
        emulator.azure.clock = self.objects.clock = self.clock
        made = emulator.azure.add_service(CONTOSO.subscription_id, CONTOSO.resource_group, CONTOSO.name)
        self.gateway = made.add_gateway("edge-01")
        self.restarted_for: set[str] = set()

    def write(self, left: timedelta) -> None:
        """Put a good token that lives for so much longer into the Secret, as somebody else would."""
        token = self.gateway.token("primary", self.clock() + left)
        self.objects.add_secret("default", SECRET[2], {"gateway-key": f"GatewayKey {token}"})

    def install(self, age: timedelta) -> None:
        """Let the gateway's pods run for so long."""
        reads = {"name": "gateway", "env": [{"valueFrom": {"secretKeyRef": {"name": SECRET[2]}}}]}
        template = {"metadata": {"labels": {"app": "edge-01"}}, "spec": {"containers": [reads]}}
        workload = self.objects.add_workload("Deployment", "default", "edge-01", template=template)
        workload.age(self.clock() - age)

    def strip(self) -> None:
        """Apply the workload's manifest without our annotation, as Flux, Argo CD and Helm do."""
        manifest = self.objects.stored(*WORKLOAD)
        manifest["spec"]["template"]["metadata"].pop("annotations", None)
        self.objects.put(*WORKLOAD, manifest, "flux")

    async def run(self) -> str:
        """An hourly run; how it ended."""
        app = gateway_app.current()
        self.clock.now += HOUR
        for request in run_requests(app.settings.estate, self.clock()):
            await Runs().reconcile(app, request)
        if manifest := self.objects.look(*WORKLOAD):
            annotations = manifest["spec"]["template"]["metadata"].get("annotations", {})
            self.restarted_for |= {annotations[FINGERPRINT]} if FINGERPRINT in annotations else set()
        for _ in range(3):
            # The controller has done its work long before the next hour.
            self.objects.look(*WORKLOAD)
        (row,) = (await load_report(app, "contoso")).rows.values()
        return f"{row.outcome}: {row.decision.reason}"


@pytest.fixture
async def plant(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Plant]:
    cluster = Cluster("edge")
    async with Emulator(endpoints=[cluster]) as emulator:
        made = Plant(emulator, cluster)
        authority = Path(emulator.ca_file).read_text("utf-8")  # noqa: ASYNC240 - a small file of the test's own
        where = {"kind": "kubernetes", "server": cluster.url, "certificateAuthority": authority}
        rule = {"destinations": [{**where, "restart": {"name": "{gateway}"}}]}
        document = {"services": {"contoso": {"resourceId": str(CONTOSO), "gateways": {"*": rule}}}}
        set_environment(monkeypatch, app_settings(emulator, document))
        monkeypatch.setattr(gateway_app, "_clock", made.clock)
        await gateway_app.forget()
        yield made
        await gateway_app.forget()


async def test_a_first_delivery_restarts_the_pods_that_run_an_old_token_once(plant: Plant) -> None:
    plant.write(5 * DAY)
    plant.install(20 * DAY)
    assert await plant.run() == "restarting: in_renewal_window"
    for _ in range(6):
        assert await plant.run() == "fresh: fresh"
        plant.strip()
    assert len(plant.restarted_for) == 1


async def test_a_first_installation_is_not_restarted(plant: Plant) -> None:
    assert await plant.run() == "renewed: not_stored"
    assert await plant.run() == "waiting: waiting_for_workload"
    plant.install(timedelta(0))
    for _ in range(3):
        assert await plant.run() == "fresh: fresh"
    assert plant.restarted_for == set()
