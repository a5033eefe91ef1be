"""What is measured: an estate on the emulator in this process, and the app in child processes of it."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from emulator.azure import Azure
from emulator.server import Emulator
from tests.stand_ins.throttle import Throttle

ROOT = Path(__file__).resolve().parents[2]
SUBSCRIPTIONS = tuple(f"{number:08}-1111-1111-1111-111111111111" for number in range(1, 5))


def say(*lines: str) -> None:
    """Print to the person who measures."""
    sys.stdout.write("\n".join([*lines, ""]))
    sys.stdout.flush()


@asynccontextmanager
async def an_estate(
    gateways: int,
    services: int = 4,
    subscriptions: int = 2,
    latency: float = 0.0,
    throttle: Throttle | None = None,
) -> AsyncIterator[Emulator]:
    """The emulator with so many gateways, `edge-00001` and so on, and a vault for each service, of its name."""
    azure, names = Azure(latency=latency, throttle=throttle, record=False), []
    for number in range(services):
        service = azure.add_service(SUBSCRIPTIONS[number % subscriptions], "rg", f"svc{number}")
        names.append(service.name)
        for gateway in range(gateways // services):
            service.add_gateway(f"edge-{gateway + 1:05}")
    async with Emulator(azure=azure, vaults=names) as emulator:
        yield emulator


def app_settings(emulator: Emulator) -> dict[str, str]:
    """The app's settings for that estate: every gateway's token in its service's vault."""
    services = {
        service.name: {
            "resourceId": str(service.resource_id),
            "gateways": {"*": {"destinations": [{"kind": "keyVault", "vault": vault}]}},
        }
        for service in emulator.azure.services.values()
        for vault in (emulator.vault_url(service.name),)
    }
    access = [{"caller": {"functionKey": True}, "gateways": ["*/*"], "allow": ["issue"]}]
    return {
        **emulator.settings(),
        "GATEWAY_TOKENS": json.dumps({"services": services, "access": access}, separators=(",", ":")),
        "RENEWAL_SCHEDULE": "0 0 * * * *",
        "ALLOW_FUNCTION_KEYS": "true",
    }


async def child(*arguments: str, settings: Mapping[str, str]) -> Any:  # noqa: ANN401 - JSON
    """Run this Python with the arguments; return the JSON that it prints as its last line."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, env={**os.environ, **settings}, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"python {' '.join(arguments)} ended with {process.returncode}")
    return json.loads(printed.splitlines()[-1])
