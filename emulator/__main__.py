"""`make run`: the unmodified function app against the emulator, shown doing its main job, then left serving."""

import argparse
import asyncio
import errno
import json
import os
import sys
from pathlib import Path

import aiohttp

from emulator import sample
from emulator.host import Host
from emulator.server import Emulator

ROOT = Path(__file__).resolve().parent.parent
WRITTEN_BY = "make run"


async def main(port: int, *, once: bool) -> int:
    """Run the demonstration; return 0 when everything in it worked."""
    async with Emulator(vaults=sample.VAULTS) as emulator:
        sample.populate(emulator)
        settings = sample.app_settings(emulator)
        os.environ.update(settings)
        written = write_local_settings(ROOT / "local.settings.json", settings)
        host = await Host.load(ROOT, key=sample.FUNCTION_KEY)
        try:
            url = await host.start(port)
            print(
                f"Serving the function app on {url}/api, Azure emulated on {emulator.arm_url}.\n{written}\n"
            )
            worked = await issue_one(url)
            if once or not worked:
                return 0 if worked else 1
            print(_what_next(url))
            await asyncio.Event().wait()
        finally:
            await host.stop()
            await _close_app()
    return 0


async def issue_one(url: str) -> bool:
    """Issue one token through the HTTP API, printing request and answer."""
    address = f"{url}/api/services/contoso/gateways/edge-01/generateToken"
    body = {"keyType": "primary", "lifetime": "P7D"}
    print(f"POST {address}\nx-functions-key: {sample.FUNCTION_KEY}\n\n{json.dumps(body)}\n")
    headers = {"x-functions-key": sample.FUNCTION_KEY}
    async with aiohttp.ClientSession(headers=headers) as session, session.post(address, json=body) as answer:
        document = await answer.json()
        print(
            f"{answer.status} {answer.reason}\nx-correlation-id: {answer.headers.get('x-correlation-id')}\n"
        )
        print(json.dumps(document, indent=2), "\n")
        return answer.status == 200 and document["value"].startswith("edge-01&")  # noqa: PLR2004 - HTTP's OK


def write_local_settings(path: Path, settings: dict[str, str]) -> str:
    """Write the settings where Core Tools read them, unless somebody's own are there; say which."""
    if path.exists() and json.loads(path.read_text()).get("WrittenBy") != WRITTEN_BY:
        return f"{path.name} is your own and was left alone, so `func start` would use it."
    values = {
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "AzureWebJobsStorage": "UseDevelopmentStorage=true",
        **settings,
    }
    path.write_text(
        json.dumps({"IsEncrypted": False, "WrittenBy": WRITTEN_BY, "Values": values}, indent=2) + "\n"
    )
    return f"{path.name} has the settings, so `func start` works as well while this runs."


async def _close_app() -> None:
    from gateway_tokens import wiring  # noqa: PLC0415 - the app is loaded by the host, as in Azure

    await wiring.forget()


def _what_next(url: str) -> str:
    key = f"-H 'x-functions-key: {sample.FUNCTION_KEY}'"
    edge = f"{url}/api/services/contoso/gateways/edge-02/generateToken"
    return "\n".join(
        [
            "Try next:",
            f"  curl {url}/api/health",
            f"  curl {key} {url}/api/services/contoso/gateways",
            f"  curl {key} -X POST '{edge}?format=kubernetesSecret'",
            "",
            "Ctrl-C ends it.",
        ]
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m emulator", description=__doc__)
    parser.add_argument("--port", type=int, default=7071, help="where to serve the app (default: 7071)")
    parser.add_argument("--once", action="store_true", help="stop after the demonstration")
    return parser.parse_args()


if __name__ == "__main__":
    given = _arguments()
    try:
        sys.exit(asyncio.run(main(given.port, once=given.once)))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        sys.exit(f"Port {given.port} is taken. Choose another: make run PORT=7072")
    except KeyboardInterrupt:
        print("\nStopped.")
