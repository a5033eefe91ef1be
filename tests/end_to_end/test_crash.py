"""A sweep's process is killed at each of its steps; the next sweep completes the work, and no good value was lost."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from emulator.faults import Fault, Kind
from emulator.gateways import Gateway
from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from gateway_tokens.renewal.report import SweepReport
from gateway_tokens.renewal.run import sweep
from gateway_tokens.stored import Ownership, token_in
from gateway_tokens.tokens import KeyType

ROOT = Path(__file__).resolve().parents[2]
VAULTS = ("contoso", "fabrikam")
SERVICE = ("11111111-1111-1111-1111-111111111111", "rg", "contoso-apim")
A_SWEEP = "import asyncio; from gateway_tokens import app; asyncio.run(app.background().sweep())"


@dataclass(frozen=True)
class Step:
    """Where the process dies: `kill` strikes there. How many versions each vault then holds; `unwritten` gets none."""

    kill: Fault
    versions: tuple[int, int]
    unwritten: str = ""
    record_saved: bool = False


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
    # The calls before: unsigned, signed, and the look just before the write.
    "after the write, before it is read back": Step(
        at("vault", "GET", skip=3, vault="contoso"), (2, 1), unwritten="fabrikam"
    ),
    "before the record is saved": Step(at("blob", "PUT"), (2, 2)),
    "after the record was saved": Step(at("blob", "PUT", after=True), (2, 2), record_saved=True),
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
    token, ownership = (
        token_in(value),
        Ownership("contoso-apim/edge-01", KeyType.PRIMARY, now - timedelta(days=25)),
    )
    assert token is not None
    for vault in VAULTS:
        emulator.azure.vault(vault).set("edge-01-token", value, now, tags=ownership.tags(token))
    return made


def stored(emulator: Emulator, vault: str) -> list[str]:
    secret = emulator.azure.vault(vault).secret("edge-01-token")
    return [version.value for version in secret.versions] if secret else []


async def killed(emulator: Emulator, step: Step) -> int:
    """Run a sweep in a process of its own, which dies at that step; return its exit code."""
    started: asyncio.Future[asyncio.subprocess.Process] = asyncio.get_running_loop().create_future()

    async def kill() -> None:
        (await started).kill()
        # The dead process hears nothing, and what was not done yet is not done.
        raise web.HTTPServiceUnavailable

    if step.unwritten:
        emulator.azure.faults.add(Fault("vault", "PUT", instance=step.unwritten, kind="drop", times=None))
    emulator.azure.faults.add(replace(step.kill, action=kill))
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", A_SWEEP, cwd=ROOT, env=os.environ)
    started.set_result(process)
    code = await process.wait()
    emulator.azure.faults.clear()
    return code


async def next_sweep() -> SweepReport:
    try:
        return await sweep(gateway_app.current())
    finally:
        await gateway_app.forget()


@pytest.mark.parametrize("name", STEPS)
async def test_a_sweep_killed_in_the_middle_is_completed_by_the_next(
    emulator: Emulator, gateway: Gateway, name: str
) -> None:
    step = STEPS[name]
    assert await killed(emulator, step) < 0
    assert tuple(len(stored(emulator, vault)) for vault in VAULTS) == step.versions
    assert bool(emulator.azure.blobs.containers["gateway-tokens"]) is step.record_saved

    report = await next_sweep()

    assert report.counts == {
        outcome: count
        for outcome, count in (("renewed", 4 - sum(step.versions)), ("fresh", sum(step.versions) - 2))
        if count
    }
    now = datetime.now(UTC)
    for vault in VAULTS:
        values = stored(emulator, vault)
        assert len(values) == 2
        assert all(gateway.accepts(value.removeprefix("GatewayKey "), now) for value in values)
        assert gateway.accepts(values[-1].removeprefix("GatewayKey "), now + timedelta(days=29))
    assert emulator.azure.blobs.containers["gateway-tokens"]
