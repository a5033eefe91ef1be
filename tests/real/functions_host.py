"""The app in the official Core Tools with Azurite: `python -m tests.real.functions_host`.

Tries every route, the timer, both queues, and poison.

Needs the commands `func` (Core Tools 4; or FUNC=path) and `azurite` (or AZURITE=command), the ports 10000 to 10002 and 7099, and this
project's virtual environment as the first `python` in PATH. Azure itself is the emulator. Where the extension bundle cannot be
fetched, EXTENSIONS names a folder `bin` with the queue extension that takes its place. Takes a minute.
"""

import asyncio
import json
import os
import shlex
import shutil
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import aiohttp

from emulator import sample
from emulator.server import Emulator, without_proxy_for_loopback
from emulator.vaults import Vault
from tests.real.azurite import peek, put
from tests.real.parts import require, running, until

ROOT = Path(__file__).resolve().parents[2]
URL = "http://127.0.0.1:7099"
EVENTS, RENEWALS = "gateway-events", "gateway-renewals"
# As shipped but for the pauses, so that five tries do not take five minutes.
QUICK = {
    "AzureFunctionsJobHost__extensions__queues__visibilityTimeout": "00:00:01",
    "AzureFunctionsJobHost__extensions__queues__maxPollingInterval": "00:00:01",
}
_EDGE_01 = "/api/services/contoso/gateways/edge-01"
ROUTES = [
    ("POST", f"{_EDGE_01}/generateToken", 200),
    ("POST", f"{_EDGE_01}/generateToken/envFile", 200),
    ("GET", "/api/services/contoso/gateways", 200),
    ("POST", f"{_EDGE_01}/renew", 200),
    ("GET", "/api/renewals", 200),
    ("GET", "/api/health", 503),  # no run yet
    ("DELETE", "/api/health", 404),
]


async def check(http: aiohttp.ClientSession, emulator: Emulator, log: Path) -> None:
    """Raise AssertionError at the first thing that is not as it should be."""
    for method, path, status in ROUTES:
        async with http.request(method, path) as answer:
            assert answer.status == status, f"{method} {path}: {answer.status} {await answer.text()}"
        print(f"ok  {method} {path}: {status}")
    async with http.post("/admin/functions/renew_on_schedule", json={}) as answer:
        assert answer.status == 202, answer.status
    vault = emulator.azure.vault("contoso")
    await until("the timer's message renewed edge-03", partial(_has, vault, "edge-03-token"))
    async with http.post("/api/renewals") as answer:
        assert answer.status == 202, await answer.text()
        run = (await answer.json())["run"]
    ended = partial(_answers, http, f"/api/renewals/{run}", f'"run": "{run}", "completedAt": "20')
    await until("a run asked for over HTTP ended", ended)
    await put(http, EVENTS, json.dumps(_event()))
    await until("an event was taken from its queue", partial(_ended, log, "take_event", "Succeeded", 1))
    for queue, function in ((EVENTS, "take_event"), (RENEWALS, "reconcile_subscription")):
        await put(http, queue, "not JSON")
        poison = f"{queue}-poison"
        await until(f"an unreadable message is in {poison}", partial(peek, http, poison, "not JSON"))
        await until("after five tries", partial(_ended, log, function, "Failed", 5))


async def _has(vault: Vault, secret: str) -> bool:
    return vault.secret(secret) is not None


async def _ended(log: Path, function: str, how: str, times: int) -> bool:
    text = await asyncio.to_thread(log.read_text, "utf-8", "replace")
    return text.count(f"Executed 'Functions.{function}' ({how}") == times


async def _answers(http: aiohttp.ClientSession, path: str, text: str) -> bool:
    try:
        async with http.get(path) as answer:
            return text in await answer.text()
    except aiohttp.ClientConnectionError:
        return False


def _event() -> dict[str, object]:
    now = f"{datetime.now(UTC):%FT%TZ}"
    gateway = {"gatewayId": "edge-02", "instanceId": "pod"}
    return {
        "id": "1",
        "specversion": "1.0",
        "type": "Microsoft.ApiManagement.GatewayTokenExpired",
        "source": sample.resource_id("contoso"),
        "subject": "/gateways/edge-02/pod",
        "time": now,
        "data": {"gatewayInfo": gateway, "tokenInfo": {"expiredAtUtc": now}},
    }


async def main() -> int:
    """Start what is needed, check, and stop it."""
    func, azurite = os.environ.get("FUNC", "func"), shlex.split(os.environ.get("AZURITE", "azurite"))
    require(func, azurite[0])
    without_proxy_for_loopback()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        app, log = folder / "app", folder / "func.log"
        async with Emulator(vaults=sample.VAULTS, endpoints=[sample.CLUSTER]) as emulator:
            sample.populate(emulator)
            _copy_app(app, sample.app_settings(emulator, function_keys=True))
            azurite += ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"]
            stack.enter_context(running(azurite, folder, folder / "azurite.log"))
            stack.enter_context(running([func, "host", "start", "--port", "7099"], app, log))
            async with aiohttp.ClientSession(URL, headers={"x-functions-key": "any"}) as http:
                try:
                    await until("the host started", partial(_answers, http, "/api/health", "status"))
                    await check(http, emulator, log)
                except AssertionError as error:
                    shutil.copy(log, "func.log")
                    print(f"FAILED  {error}\nThe host's output is in func.log.", file=sys.stderr)
                    return 1
    return 0


def _copy_app(app: Path, settings: dict[str, str]) -> None:
    """The files that are deployed; where EXTENSIONS is set, its folder in place of the extension bundle."""
    shutil.copytree(ROOT / "gateway_tokens", app / "gateway_tokens")
    host = json.loads((ROOT / "host.json").read_text("utf-8"))
    if extensions := os.environ.get("EXTENSIONS"):
        shutil.copytree(extensions, app / "bin")
        del host["extensionBundle"]
    (app / "host.json").write_text(json.dumps(host))
    shutil.copy(ROOT / "function_app.py", app)
    storage = {"FUNCTIONS_WORKER_RUNTIME": "python", "AzureWebJobsStorage": "UseDevelopmentStorage=true"}
    values = {"IsEncrypted": False, "Values": {**storage, **QUICK, **settings}}
    (app / "local.settings.json").write_text(json.dumps(values))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
