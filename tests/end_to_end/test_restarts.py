"""Whole runs against a cluster on the wire: a workload is restarted once for one token, whatever others do to it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from emulator.kubernetes import Cluster
from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from gateway_tokens.destinations.kubernetes.workload import FINGERPRINT
from gateway_tokens.parts import App
from gateway_tokens.renewal.queues import EventKind, GatewayEvent, react
from gateway_tokens.renewal.run import Runs, run_requests
from gateway_tokens.renewal.service import load_report
from gateway_tokens.tokens import ServiceId

NOW, HOUR, DAY = datetime(2026, 3, 1, 12, tzinfo=UTC), timedelta(hours=1), timedelta(days=1)
SERVICE = ServiceId("00000000-0000-4000-8000-000000000001", "edge", "contoso-apim")
SECRET, WORKLOAD = ("secrets", "default", "edge-01-token"), ("deployments", "default", "edge-01")


class Plant:
    """One gateway whose Deployment reads a Secret, and the app that keeps its token."""

    def __init__(self, emulator: Emulator, cluster: Cluster) -> None:
        self.now = NOW
        self.emulator, self.objects = emulator, cluster.objects
        self.gateway = emulator.azure.add_service(
            SERVICE.subscription_id, SERVICE.resource_group, SERVICE.name
        )
        self.gateway.add_gateway("edge-01")
        emulator.azure.clock = self.objects.clock = lambda: self.now
        self.templates: set[str] = set()

    def install(self) -> None:
        """Let the gateway's pods run for three weeks."""
        reads = {"name": "gateway", "env": [{"valueFrom": {"secretKeyRef": {"name": SECRET[2]}}}]}
        template = {"metadata": {"labels": {"app": "edge-01"}}, "spec": {"containers": [reads]}}
        self.workload = self.objects.add_workload("Deployment", "default", "edge-01", template=template)
        self.workload.age(self.now - 20 * DAY)

    @property
    def annotation(self) -> str:
        """The fingerprint for which the template asks its pods to restart."""
        try:
            template = self.objects.stored(*WORKLOAD)["spec"]["template"]
        except KeyError:
            return ""
        return str(template["metadata"].get("annotations", {}).get(FINGERPRINT, ""))

    def token(self, left: timedelta) -> str:
        """A good token of the gateway that lives for so much longer."""
        made = self.gateway.gateway("edge-01")
        assert made
        return "GatewayKey " + made.token("primary", self.now + left)

    def strip(self) -> None:
        """Apply the workload's manifest without our annotation, as Flux, Argo CD and Helm do."""
        manifest = self.objects.stored(*WORKLOAD)
        manifest["spec"]["template"]["metadata"].pop("annotations", None)
        self.objects.put(*WORKLOAD, manifest, "flux")

    def recreate(self) -> None:
        """Delete the workload and make it anew."""
        manifest = self.objects.stored(*WORKLOAD)
        self.objects.remove(*WORKLOAD)
        del manifest["metadata"]
        manifest["spec"]["template"]["metadata"].pop("annotations", None)
        self.workload = self.objects.add_workload("Deployment", "default", "edge-01", **manifest["spec"])

    def label(self) -> None:
        """Change the Secret's labels only."""
        manifest = self.objects.stored(*SECRET)
        manifest["metadata"].setdefault("labels", {})["touched-at"] = f"{self.now:%H%M}"
        self.objects.put(*SECRET, manifest, "kubectl")

    def write(self, value: str) -> None:
        """Put a value into the Secret as somebody else would; what stands beside it stays."""
        self.objects.add_secret("default", SECRET[2], {"gateway-key": value})

    async def run(self, count: int = 1, runs: Runs | None = None) -> list[str]:
        """So many hourly runs; how the last one ended."""
        for _ in range(count):
            self.now += HOUR
            for request in run_requests(app().settings.estate, self.now):
                await (runs or Runs()).reconcile(app(), request)
            self.templates.add(self.annotation)
            for _ in range(3):
                # The controller has done its work long before the next hour.
                self.objects.look(*WORKLOAD)
        report = await load_report(app(), "contoso")
        return [f"{row.outcome}: {row.decision.reason}" for row in report.rows.values()]

    @property
    def restarts(self) -> int:
        """For how many values the template was made to ask for a restart."""
        return len(self.templates - {""})


def app() -> App:
    return gateway_app.current()


@pytest.fixture
async def plant(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Plant]:
    cluster = Cluster("edge")
    async with Emulator(endpoints=[cluster]) as emulator:
        made = Plant(emulator, cluster)
        authority = Path(emulator.ca_file).read_text("utf-8")  # noqa: ASYNC240 - a small file of the test's own
        where = {"kind": "kubernetes", "server": cluster.url, "certificateAuthority": authority}
        rule = {"destinations": [{**where, "restart": {"name": "{gateway}"}}]}
        document = {"services": {"contoso": {"resourceId": str(SERVICE), "gateways": {"*": rule}}}}
        settings = {
            **emulator.settings(),
            "GATEWAY_TOKENS": json.dumps(document),
            "RENEWAL_SCHEDULE": "0 0 * * * *",
            "ALLOW_FUNCTION_KEYS": "true",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(gateway_app, "_clock", lambda: made.now)
        await gateway_app.forget()
        yield made
        await gateway_app.forget()


async def test_a_first_delivery_restarts_the_pods_that_run_an_old_token_once(plant: Plant) -> None:
    plant.write(plant.token(5 * DAY))
    plant.install()
    assert await plant.run() == ["restarting: in_renewal_window"]
    assert await plant.run(3) == ["fresh: fresh"]
    assert plant.restarts == 1


async def test_a_first_installation_is_not_restarted(plant: Plant) -> None:
    assert await plant.run() == ["renewed: not_stored"]
    assert await plant.run() == ["waiting: waiting_for_workload"]
    plant.install()
    plant.workload.age(plant.now)
    assert await plant.run(3) == ["fresh: fresh"]
    assert plant.restarts == 0


Deed = Callable[[Plant], None]


@pytest.mark.parametrize("deed", [Plant.strip, Plant.recreate, Plant.label, lambda _: None])
async def test_whatever_is_done_to_manifests_between_runs_a_token_restarts_once(
    plant: Plant, deed: Deed
) -> None:
    plant.write(plant.token(5 * DAY))
    plant.install()
    await plant.run(2)
    ended = set()
    for _ in range(12):
        deed(plant)
        ended.update(await plant.run())
    assert ended == {"fresh: fresh"}
    assert plant.restarts == 1


async def test_a_good_token_written_by_hand_over_ours_is_kept_and_restarts_nothing(plant: Plant) -> None:
    plant.install()
    await plant.run(2)
    plant.write(plant.token(29 * DAY + 23 * HOUR))
    by_hand = plant.objects.secret_value(*SECRET[1:], "gateway-key")
    assert await plant.run() == ["fresh: taken_over"]
    assert await plant.run(3) == ["fresh: fresh"]
    assert plant.objects.secret_value(*SECRET[1:], "gateway-key") == by_hand
    assert plant.restarts == 1
    plant.now += 21 * DAY
    await plant.run(2)
    assert plant.objects.secret_value(*SECRET[1:], "gateway-key") != by_hand
    assert plant.restarts == 2


async def test_an_older_token_put_back_before_each_run_costs_no_restart_and_is_told(plant: Plant) -> None:
    plant.install()
    await plant.run(2)
    older = plant.token(2 * DAY)
    ended = set()
    for _ in range(12):
        plant.write(older)
        ended.update(await plant.run())
    assert ended == {"failed: write_conflict"}
    assert plant.restarts == 1
    (row,) = (await load_report(app(), "contoso")).rows.values()
    assert row.failure
    assert "kubectl put an older token of this gateway back" in row.failure.text


async def test_ten_events_and_two_instances_at_once_restart_once(plant: Plant) -> None:
    plant.write(plant.token(5 * DAY))
    plant.install()
    event = GatewayEvent(
        EventKind.TOKEN_NEAR_EXPIRY, SERVICE, "edge-01", "pod", plant.now, plant.now + 5 * DAY
    )
    requests = run_requests(app().settings.estate, plant.now)
    await asyncio.gather(
        *(react(app(), event) for _ in range(10)),
        *(Runs().reconcile(app(), request) for request in requests for _ in range(2)),
    )
    plant.templates.add(plant.annotation)
    assert await plant.run(3) == ["fresh: fresh"]
    assert plant.restarts == 1


async def test_a_lost_report_restarts_nothing(plant: Plant) -> None:
    plant.install()
    await plant.run(2)
    with suppress(KeyError):
        plant.emulator.azure.blobs.containers["gateway-tokens"].clear()
    assert await plant.run(2) == ["fresh: fresh"]
    assert plant.restarts == 1
