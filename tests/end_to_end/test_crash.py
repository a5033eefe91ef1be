"""A run's process is killed at each of its steps; the next run completes the work, and no good value was lost."""

import asyncio
import json
import os
import sys
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from emulator.faults import Fault, Kind
from emulator.gateways import Gateway
from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from gateway_tokens.renewal.run import Runs, run_requests
from gateway_tokens.renewal.service import load_report
from gateway_tokens.stored import Ownership, token_in
from gateway_tokens.tokens import KeyType, Secret

ROOT = Path(__file__).resolve().parents[2]
VAULTS = ("contoso", "fabrikam")
SERVICE = ("11111111-1111-1111-1111-111111111111", "rg", "contoso-apim")
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
    versions: tuple[int, int]
    unwritten: str = ""
    report_saved: bool = False


def at(
    host: str, method: str, path: str = "*", *, after: bool = False, skip: int = 0, vault: str = "*"
) -> Fault:
    kind: Kind = "call_after" if after else "call"
    return Fault(host, method, path, vault, kind, skip=skip)


STEPS = {
    "before a token is issued": Step(at("arm", "POST"), (1, 1)),
    "after a token was issued": Step(at("arm", "POST", after=True), (1, 1)),
    "between two destinations": Step(
        at("vault", "PUT", after=True, vault="contoso"), (2, 1), unwritten="fabrikam"
    ),
    # The calls before: unsigned, signed, and the read just before the write.
    "after the write, before it is read back": Step(
        at("vault", "GET", skip=3, vault="contoso"), (2, 1), unwritten="fabrikam"
    ),
    "before the report is saved": Step(at("blob", "PUT", "*/reports/*"), (2, 2)),
    "after the report was saved": Step(
        at("blob", "PUT", "*/reports/*", after=True), (2, 2), report_saved=True
    ),
    "before the run is remembered": Step(at("blob", "PUT", "*/runs/*"), (1, 1)),
}


@pytest.fixture
def gateway(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """One gateway that is due at two vaults, and the environment that describes it."""
    service = emulator.azure.add_service(*SERVICE)
    destinations = [{"kind": "keyVault", "vault": emulator.vault_url(vault)} for vault in VAULTS]
    rules = {"*": {"destinations": destinations}}
    document = {"services": {"contoso": {"resourceId": service.resource_id, "gateways": rules}}}
    settings = {
        **emulator.settings(),
        "RENEWAL_SCHEDULE": "0 0 * * * *",
        "ALLOW_FUNCTION_KEYS": "true",
        "GATEWAY_TOKENS": json.dumps(document),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    made = service.add_gateway("edge-01")
    now = datetime.now(UTC)
    value = f"GatewayKey {made.token('primary', now + timedelta(days=5))}"
    token = token_in(value)
    assert token is not None
    ownership = Ownership("contoso-apim/edge-01", KeyType.PRIMARY, now - timedelta(days=25), token.expiry)
    for vault in VAULTS:
        emulator.azure.vault(vault).set("edge-01-token", value, now, tags=ownership.of(Secret(value)).tags())
    return made


def stored(emulator: Emulator, vault: str) -> list[str]:
    secret = emulator.azure.vault(vault).secret("edge-01-token")
    return [version.value for version in secret.versions] if secret else []


async def killed(emulator: Emulator, step: Step) -> int:
    """Start a run in a process of its own, which dies at that step; return its exit code."""
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
    code = await process.wait()
    emulator.azure.faults.clear()
    return code


async def next_run() -> Counter[str]:
    """The message of the run that died comes back, and the next run does what is left."""
    app = gateway_app.current()
    try:
        for request in run_requests(app.settings.estate, app.clock()):
            await Runs().reconcile(app, request)
        report = await load_report(app, "contoso")
        return Counter(str(row.outcome) for row in report.rows.values())
    finally:
        await gateway_app.forget()


@pytest.mark.parametrize("name", STEPS)
async def test_a_run_killed_in_the_middle_is_completed_by_the_next(
    emulator: Emulator, gateway: Gateway, name: str
) -> None:
    step = STEPS[name]
    assert await killed(emulator, step) < 0
    assert tuple(len(stored(emulator, vault)) for vault in VAULTS) == step.versions
    blobs = emulator.azure.blobs.containers["gateway-tokens"]
    assert any(name.startswith("reports/") for name in blobs) is step.report_saved

    counts = await next_run()

    written = sum(step.versions) - 2
    assert counts == {outcome: n for outcome, n in (("renewed", 2 - written), ("fresh", written)) if n}
    now = datetime.now(UTC)
    for vault in VAULTS:
        values = stored(emulator, vault)
        assert len(values) == 2
        assert all(gateway.accepts(value.removeprefix("GatewayKey "), now) for value in values)
