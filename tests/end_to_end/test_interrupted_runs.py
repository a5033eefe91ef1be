"""Runs that meet on two instances, and runs that are killed at a step: one good value in each location, nothing half done."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from emulator.faults import Fault
from emulator.gateways import Service
from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from gateway_tokens.estate.app_settings import read_settings
from gateway_tokens.parts import App
from gateway_tokens.renewal import run
from gateway_tokens.renewal.run import RunRequest, Runs, run_requests
from gateway_tokens.renewal.service import load_report
from gateway_tokens.stored import Ownership
from gateway_tokens.tokens import KeyType, Secret
from tests.renewal_estate import CONTOSO, DAY
from tests.served_estate import app_settings, set_environment

ROOT = Path(__file__).resolve().parents[2]
VAULTS = ("contoso", "fabrikam")
GATEWAYS = [f"edge-{number:02}" for number in range(8)]


@pytest.fixture
async def service(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """Gateways with two vaults each, and the environment that describes them."""
    apim = emulator.azure.add_service(CONTOSO.subscription_id, CONTOSO.resource_group, CONTOSO.name)
    for name in GATEWAYS:
        apim.add_gateway(name)
    destinations = [{"kind": "keyVault", "vault": emulator.vault_url(vault)} for vault in VAULTS]
    contoso = {"resourceId": apim.resource_id, "gateways": {"*": {"destinations": destinations}}}
    set_environment(monkeypatch, app_settings(emulator, {"services": {"contoso": contoso}}))
    await gateway_app.forget()
    yield apim
    await gateway_app.forget()


def stored(emulator: Emulator, vault: str, gateway: str) -> list[str]:
    """Every value that the secret ever had."""
    secret = emulator.azure.vault(vault).secret(f"{gateway}-token")
    return [version.value.removeprefix("GatewayKey ") for version in secret.versions] if secret else []


def a_request(app: App, **more: Any) -> RunRequest:  # noqa: ANN401 - the request's own
    (request,) = run_requests(app.settings.estate, app.clock(), **more)
    return request


async def outcomes(app: App) -> Counter[str]:
    report = await load_report(app, "contoso")
    return Counter(str(row.outcome) for row in report.rows.values())


@pytest.mark.parametrize(("count", "remembered"), [(20, True), (2, False)])
async def test_of_runs_at_once_on_two_instances_one_value_remains(
    emulator: Emulator, service: Service, monkeypatch: pytest.MonkeyPatch, *, count: int, remembered: bool
) -> None:
    """Without the record of runs nothing saves the doubled work, and the result is the same."""

    async def not_covered(*_: object) -> str:
        return ""

    if not remembered:
        monkeypatch.setattr(run, "_covered_by", not_covered)
    emulator.azure.latency = 0.005
    apps = [gateway_app.put_together(read_settings(os.environ)) for _ in range(2)]
    (first, _), (other, _) = apps
    instances = [(first, Runs()), (other, Runs())] * (count // 2)
    requests = [a_request(first, run=f"run-{number}", force=True) for number in range(count)]
    runs = zip(instances, requests, strict=True)
    await asyncio.gather(*(own.reconcile(app, request) for (app, own), request in runs))

    issued = len(emulator.azure.called("arm", "POST"))
    # Where nothing is remembered, none came too late to be in the other's way.
    assert issued <= 2 * len(GATEWAYS)
    assert remembered or issued > len(GATEWAYS)
    ended = await outcomes(first)
    assert (set(ended) <= {"fresh", "renewed", "unchanged"}, ended.total()) == (True, 2 * len(GATEWAYS))
    in_29_days = datetime.now(UTC) + 29 * DAY
    for name in GATEWAYS:
        [value] = {stored(emulator, vault, name)[-1] for vault in VAULTS}
        assert service.gateways[name].accepts(value, in_29_days)
        # A vault cannot guard a write: two runs may add the same value twice, never two values.
        assert all(len(stored(emulator, vault, name)) <= 2 for vault in VAULTS)
    for _, azure in apps:
        await azure.close()


A_RUN = """
import asyncio
from gateway_tokens import app

async def run():
    for message in app.queues().due():
        await app.queues().reconcile(message.encode(), 1)

asyncio.run(run())
"""


@dataclass(frozen=True)
class Step:
    """Where the process dies: `kill` strikes there. How many versions each vault then holds; `unwritten` gets none."""

    kill: Fault
    versions: tuple[int, int] = (1, 1)
    unwritten: str = ""
    report_saved: bool = False


STEPS = {
    "before the run is remembered": Step(Fault("blob", "PUT", "*/runs/*", kind="call")),
    "before a token is issued": Step(Fault("arm", "POST", kind="call")),
    "after a token was issued": Step(Fault("arm", "POST", kind="call_after")),
    # The calls before: unsigned, signed, and the read just before the write.
    "after a write, before it is read back": Step(
        Fault("vault", "GET", instance="contoso", kind="call", skip=3), (2, 1), unwritten="fabrikam"
    ),
    "before the report is saved": Step(Fault("blob", "PUT", "*/reports/*", kind="call"), (2, 2)),
    "after the report was saved": Step(
        Fault("blob", "PUT", "*/reports/*", kind="call_after"), (2, 2), report_saved=True
    ),
}


async def kill_a_run(emulator: Emulator, step: Step) -> None:
    """Start a run in a process of its own, which dies at that step."""
    started: asyncio.Future[asyncio.subprocess.Process] = asyncio.get_running_loop().create_future()

    async def kill() -> None:
        (await started).kill()
        # The dead process hears nothing, and what was not done yet is not done.
        raise web.HTTPServiceUnavailable

    if step.unwritten:
        emulator.azure.faults.add(Fault("vault", "PUT", instance=step.unwritten, kind="drop", times=None))
    emulator.azure.faults.add(replace(step.kill, action=kill))
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", A_RUN, cwd=ROOT, env=os.environ)
    started.set_result(process)
    assert await process.wait() < 0
    emulator.azure.faults.clear()


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
async def test_a_run_killed_in_the_middle_is_completed_by_the_next(
    emulator: Emulator, service: Service, step: Step
) -> None:
    for name in GATEWAYS[1:]:
        service.remove_gateway(name)
    gateway, now = service.gateways["edge-00"], datetime.now(UTC)
    expiry = (now + 5 * DAY).replace(second=0, microsecond=0)
    value = f"GatewayKey {gateway.token('primary', expiry)}"
    owned = Ownership("contoso-apim/edge-00", KeyType.PRIMARY, now - 25 * DAY, expiry).of(Secret(value))
    for vault in VAULTS:
        emulator.azure.vault(vault).set("edge-00-token", value, now, tags=owned.tags())

    await kill_a_run(emulator, step)
    assert tuple(len(stored(emulator, vault, "edge-00")) for vault in VAULTS) == step.versions
    blobs = emulator.azure.blobs.containers["gateway-tokens"]
    assert any(name.startswith("reports/") for name in blobs) is step.report_saved

    app = gateway_app.current()
    await Runs().reconcile(app, a_request(app))
    written = sum(step.versions) - 2
    assert await outcomes(app) == +Counter(renewed=2 - written, fresh=written)
    for vault in VAULTS:
        values = stored(emulator, vault, "edge-00")
        assert len(values) == 2
        assert all(gateway.accepts(value, now) for value in values)
