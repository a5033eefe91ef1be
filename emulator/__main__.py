"""`make run`: the unmodified function app against the emulator, shown doing its main jobs, then left serving."""

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
from emulator.demonstration import KEY, access_token, issue_one, renew_all
from emulator.host import Host
from emulator.server import Emulator

ROOT = Path(__file__).resolve().parent.parent
WRITTEN_BY = "make run"
_IN_ORDER = "Everything went as it should: one gateway was meant to fail."


async def main(given: argparse.Namespace) -> int:
    """Run the demonstration; return 0 when everything in it worked."""
    async with Emulator(vaults=sample.VAULTS, endpoints=[sample.CLUSTER]) as emulator:
        sample.populate(emulator, given.gateways)
        emulator.azure.latency = given.latency
        print(f"Azure is emulated on {emulator.arm_url}.\n")
        async with _serving(emulator, given.port, function_keys=False) as (_, url):
            bearer = {"Authorization": f"Bearer {await access_token(emulator)}"}
            worked = await issue_one(url, "1. Issue a token to an application that signs in", bearer)
        async with _serving(emulator, given.port, function_keys=True) as (host, url):
            worked &= await issue_one(url, "2. Issue a token for a function key, where they are allowed", KEY)
            worked = worked and await renew_all(host, url)
            if given.once or not worked:
                print(_IN_ORDER if worked else "Something went wrong: see above.")
                return 0 if worked else 1
            print(_what_next(url))
            await asyncio.Event().wait()
    return 0


@asynccontextmanager
async def _serving(emulator: Emulator, port: int, *, function_keys: bool) -> AsyncIterator[tuple[Host, str]]:
    """The function app at its address, in one of the modes; each loads it anew, as a changed setting does in Azure."""
    settings = sample.app_settings(emulator, function_keys=function_keys)
    os.environ.update(settings)
    host = await Host.load(ROOT, key=sample.FUNCTION_KEY)
    try:
        url = await host.start(port)
        if function_keys:
            print(f"{write_local_settings(ROOT / 'local.settings.json', settings)}\n")
        yield host, url
    finally:
        await host.stop()
        await _close_app()


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
    return f"{path.name} has the settings, so `func start` works as well while this runs."


async def _close_app() -> None:
    from gateway_tokens import app as gateway_app  # noqa: PLC0415 - the app is loaded by the host, as in Azure

    await gateway_app.forget()


def _what_next(url: str) -> str:
    key = f"-H 'x-functions-key: {sample.FUNCTION_KEY}'"
    edge = f"{url}/api/services/contoso/gateways/edge-02"
    return "\n".join(
        [
            "Try next:",
            f"  curl {key} {url}/api/services/contoso/gateways",
            f"  curl {key} -X POST {edge}/generateToken/kubernetesSecret",
            f"  curl {key} -X POST {edge}/renew",
            "",
            "Ctrl-C ends it.",
        ]
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m emulator", description=__doc__)
    parser.add_argument("--port", type=int, default=7071, help="where to serve the app (default: 7071)")
    parser.add_argument("--once", action="store_true", help="stop after the demonstration")
    parser.add_argument("--gateways", type=int, default=0, help="so many more gateways in the sample estate")
    parser.add_argument("--latency", type=float, default=0, help="seconds that each call to Azure takes")
    return parser.parse_args()


if __name__ == "__main__":
    given = _arguments()
    # The app's own lines are what the demonstration shows; the SDK's would bury them.
    logging.getLogger("gateway_tokens").setLevel(logging.INFO)
    logging.getLogger("gateway_tokens").propagate = False
    try:
        sys.exit(asyncio.run(main(given)))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        sys.exit(f"Port {given.port} is taken. Choose another: make run PORT=7072")
    except KeyboardInterrupt:
        print("\nStopped.")
