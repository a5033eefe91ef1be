"""What is measured: an estate in the emulator's own process, and the app in child processes of this one."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from tests.bench.separate import Scenario, Separate, separate

ROOT = Path(__file__).resolve().parents[2]
SUBSCRIPTIONS = ("11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222")
SERVICES = 4


def say(*lines: str) -> None:
    """Print to the person who measures."""
    sys.stdout.write("\n".join([*lines, ""]))
    sys.stdout.flush()


def an_estate(
    gateways: int, *, latency: float = 0.0, throttle: bool = False
) -> AbstractAsyncContextManager[Separate]:
    """The emulator with so many gateways in 4 services over 2 subscriptions, a vault for each service."""
    names = [f"svc{number}" for number in range(SERVICES)]
    scenario: Scenario = {
        "services": [
            {
                "subscription": SUBSCRIPTIONS[number % len(SUBSCRIPTIONS)],
                "group": "rg",
                "name": name,
                "gateways": gateways // SERVICES,
            }
            for number, name in enumerate(names)
        ],
        "vaults": names,
        "latency": latency,
        "throttle": throttle,
    }
    return separate(scenario)


def app_settings(running: Separate) -> dict[str, str]:
    """The app's settings for that estate: every gateway's token in its service's vault."""
    services = {
        name: {
            "resourceId": f"/subscriptions/{SUBSCRIPTIONS[number % len(SUBSCRIPTIONS)]}/resourceGroups/rg"
            f"/providers/Microsoft.ApiManagement/service/{name}",
            "gateways": {"*": {"destinations": [{"kind": "keyVault", "vault": running.vaults[name]}]}},
        }
        for number, name in enumerate(running.vaults)
    }
    access = [{"caller": {"functionKey": True}, "gateways": ["*/*"], "allow": ["issue"]}]
    return {
        **running.settings,
        "GATEWAY_TOKENS": json.dumps({"services": services, "access": access}),
        "RENEWAL_SCHEDULE": "0 0 * * * *",
        "ALLOW_FUNCTION_KEYS": "true",
    }


async def child(*arguments: str, settings: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 - JSON
    """Run this Python with the arguments; return the JSON that it prints as its last line."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=ROOT,
        env={**os.environ, **(settings or {})},
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"python {' '.join(arguments)} ended with {process.returncode}")
    return json.loads(printed.splitlines()[-1])
