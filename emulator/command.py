"""The command line of `make run`: the unmodified function app against the emulator, doing its main jobs, then left serving."""

import argparse
import asyncio
import errno
import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from emulator import sample
from emulator.demonstration import KEY, access_token, issue_one, renew_all, renew_what_is_due
from emulator.host import Host
from emulator.own_estate import OwnEstate
from emulator.server import Emulator, without_proxy_for_loopback
from gateway_tokens import app as gateway_app
from gateway_tokens.errors import SettingsInvalid

ROOT = Path(__file__).resolve().parent.parent
WRITTEN_BY = "make run"
_IN_ORDER = "Everything went as it should: plant-b was meant to fail."


def command() -> int:
    """Run what the command line asks for; return the process's exit code."""
    given = _arguments()
    # The app's own lines are what is shown; the SDK's would bury them.
    logging.getLogger("gateway_tokens").setLevel(logging.INFO)
    logging.getLogger("gateway_tokens").propagate = False
    without_proxy_for_loopback()
    try:
        return asyncio.run(_own(given) if given.settings else _sample(given))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        print(f"Port {given.port} is taken. Choose another: make run PORT=7072", file=sys.stderr)
        return 1


async def _sample(given: argparse.Namespace) -> int:
    async with Emulator(vaults=sample.VAULTS, endpoints=[sample.CLUSTER]) as emulator:
        sample.populate(emulator, given.gateways)
        emulator.azure.latency = given.latency
        print(f"Azure is emulated on {emulator.arm_url}.\n")
        async with serving(sample.app_settings(emulator, function_keys=False), given.port) as (_, url):
            bearer = {"Authorization": f"Bearer {await access_token(emulator)}"}
            worked = await issue_one(url, "1. Issue a token to an application that signs in", bearer)
        settings = sample.app_settings(emulator, function_keys=True)
        async with serving(settings, given.port) as (host, url):
            worked &= await issue_one(url, "2. Issue a token for a function key, where they are allowed", KEY)
            worked = worked and await renew_all(host, url, emulator.names())
            print(_IN_ORDER if worked else "Something went wrong: see above.")
            if worked and not given.once:
                await _serve_on(url, settings, f"x-functions-key: {sample.FUNCTION_KEY}", "contoso/edge-02")
    return 0 if worked else 1


async def _own(given: argparse.Namespace) -> int:
    try:
        estate = OwnEstate.read(given.settings)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        print(f"{given.settings} cannot be read: {reason}.", file=sys.stderr)
        return 1
    except SettingsInvalid as error:
        print(f"{given.settings} has faults:", *error.faults, sep="\n  ", file=sys.stderr)
        return 1
    async with Emulator(vaults=estate.vaults, endpoints=estate.clusters) as emulator:
        estate.populate(emulator)
        emulator.azure.latency = given.latency
        print(f"Azure is emulated on {emulator.arm_url}, made up as {given.settings} names it.\n")
        settings = estate.app_settings(emulator)
        async with serving(settings, given.port) as (host, url):
            rows = await renew_what_is_due(host, "", emulator.names())
            if not given.once:
                key = f"x-functions-key: {sample.FUNCTION_KEY}"
                bearer = f"Authorization: Bearer {await access_token(emulator)}"
                first = "/".join(estate.gateways[0]) if estate.gateways else ""
                await _serve_on(url, settings, key if estate.function_keys else bearer, first)
    return 1 if any(row["outcome"] == "failed" for row in rows) else 0


@asynccontextmanager
async def serving(settings: dict[str, str], port: int) -> AsyncIterator[tuple[Host, str]]:
    """The function app at its address; each time it is loaded anew, as a changed setting does in Azure."""
    os.environ.update(settings)
    host = await Host.load(ROOT, key=sample.FUNCTION_KEY)
    try:
        yield host, await host.start(port)
    except asyncio.CancelledError:
        logging.disable()  # Ctrl-C: what it cuts off would call itself failed
        raise
    finally:
        await host.stop()
        await gateway_app.forget()


async def _serve_on(url: str, settings: dict[str, str], header: str, gateway: str) -> None:
    print(f"{write_local_settings(ROOT / 'local.settings.json', settings)}\n")
    print(_what_next(url, header, gateway))
    lines = logging.StreamHandler(sys.stdout)
    logging.getLogger("gateway_tokens").addHandler(lines)
    try:
        await asyncio.Event().wait()
    finally:
        logging.getLogger("gateway_tokens").removeHandler(lines)


def write_local_settings(path: Path, settings: dict[str, str]) -> str:
    """Write the settings where Core Tools read them, unless somebody's own are there; say which."""
    if path.exists() and f'"WrittenBy": "{WRITTEN_BY}"' not in path.read_text():
        return f"{path.name} is your own and was left alone, so `func start` would use it."
    values = {
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "AzureWebJobsStorage": "UseDevelopmentStorage=true",
        **settings,
    }
    document = {"IsEncrypted": False, "WrittenBy": WRITTEN_BY, "Values": values}
    path.write_text(json.dumps(document, indent=2) + "\n")
    return f"{path.name} has the settings: `func start` works while this runs."


def _what_next(url: str, header: str, gateway: str) -> str:
    calls = [f'-H "$H" {url}/api/health', f'-H "$H" {url}/api/renewals']
    if gateway:
        service, _, name = gateway.partition("/")
        gateway_url = f"{url}/api/services/{service}/gateways/{name}"
        calls += [
            f'-H "$H" {url}/api/services/{service}/gateways',
            f'-H "$H" -X POST \\\n  {gateway_url}/generateToken/kubernetesSecret',
            f'-H "$H" -X POST \\\n  {gateway_url}/renew',
        ]
    commands = "\n".join(f"curl {call}" for call in calls)
    return f"Try next, in another terminal:\nH='{header}'\n{commands}\n\nThe app's log lines follow. Ctrl-C ends it."


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m emulator", description=__doc__)
    parser.add_argument("--port", type=int, default=7071, help="where to serve the app (default: 7071)")
    parser.add_argument("--once", action="store_true", help="stop after the demonstration")
    parser.add_argument("--gateways", type=int, default=0, help="so many more gateways in the sample estate")
    parser.add_argument("--latency", type=float, default=0, help="seconds that each call to Azure takes")
    parser.add_argument("--settings", type=Path, help="a document of your own instead of the sample estate")
    return parser.parse_args()
