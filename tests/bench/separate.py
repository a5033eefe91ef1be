"""The emulator in a process of its own, for measurements that must not pay for it in theirs.

`python -m tests.bench.separate` reads a scenario, one line of JSON, from standard input, prints where it listens as one
line of JSON, and ends when standard input closes. `separate` does this for a Python program.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import aiohttp
from aiohttp import web

from emulator.azure import Azure
from emulator.server import Emulator
from tests.stand_ins.throttle import Throttle


class ServiceScenario(TypedDict):
    """A service with so many gateways, named `edge-00001` and so on."""

    subscription: str
    group: str
    name: str
    gateways: int


class Scenario(TypedDict):
    """What the process emulates. `latency` is seconds a call, none by default; no vaults and no throttle neither."""

    services: list[ServiceScenario]
    latency: NotRequired[float]
    throttle: NotRequired[bool]
    page_size: NotRequired[int]
    vaults: NotRequired[list[str]]
    record: NotRequired[bool]


@dataclass(frozen=True)
class Separate:
    """A running process: the settings that point the app at it, its vaults' addresses by name."""

    settings: dict[str, str]
    vaults: dict[str, str]
    control: str

    async def counters(self) -> dict[str, Any]:
        """Return `hosts`, `actions`, `statuses` (totals), `peak`, `in_flight`, `refused` and `early`."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.control}/counters") as answer:
            found: dict[str, Any] = await answer.json()
            return found


@asynccontextmanager
async def separate(scenario: Scenario) -> AsyncIterator[Separate]:
    """Start the process, wait until it listens, and end it with the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.separate",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("The emulator's process has no pipes.")
    try:
        process.stdin.write(json.dumps(scenario).encode() + b"\n")
        ready = json.loads(await process.stdout.readline())
        yield Separate(ready["settings"], ready["vaults"], ready["control"])
    finally:
        process.stdin.close()
        await process.wait()


def azure_of(scenario: Scenario) -> Azure:
    """Return the Azure that a scenario describes."""
    azure = Azure(
        latency=scenario.get("latency", 0.0),
        throttle=Throttle() if scenario.get("throttle") else None,
        page_size=scenario.get("page_size", 100),
        record=scenario.get("record", False),
    )
    for described in scenario["services"]:
        service = azure.add_service(described["subscription"], described["group"], described["name"])
        for number in range(1, described["gateways"] + 1):
            service.add_gateway(f"edge-{number:05}")
    return azure


def counted(azure: Azure) -> dict[str, object]:
    """Return the counters as JSON."""
    counters, throttle = azure.counters, azure.throttle
    return {
        "hosts": counters.hosts,
        "actions": counters.actions,
        "statuses": counters.statuses,
        "in_flight": counters.in_flight,
        "peak": counters.peak,
        "refused": throttle.refused if throttle else 0,
        "early": throttle.early if throttle else 0,
    }


async def _control(azure: Azure) -> web.AppRunner:
    async def show(_: web.Request) -> web.Response:
        return web.json_response(counted(azure))

    async def reset(_: web.Request) -> web.Response:
        azure.counters.reset()
        return web.Response(status=204)

    app = web.Application()
    app.add_routes([web.get("/counters", show), web.delete("/counters", reset)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner


async def _main() -> None:
    scenario: Scenario = json.loads(await asyncio.to_thread(sys.stdin.readline))
    azure, vaults = azure_of(scenario), scenario.get("vaults", [])
    async with Emulator(azure=azure, vaults=vaults) as emulator:
        control = await _control(azure)
        ready = {
            "settings": emulator.settings(),
            "vaults": {vault: emulator.vault_url(vault) for vault in vaults},
            "control": f"http://127.0.0.1:{control.addresses[0][1]}",
        }
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
        await control.cleanup()


if __name__ == "__main__":
    asyncio.run(_main())
