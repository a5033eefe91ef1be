"""Calls every function of the app in the real worker and prints as JSON what became of each: for tests in their own process."""

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

from tests.worker_messages import InvocationError
from tests.worker_runtime import WorkerRuntime

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS = {"service": "contoso", "gatewayId": "edge-01"}


async def called(worker: WorkerRuntime, name: str) -> dict[str, Any]:
    trigger = worker.functions[name].trigger
    if trigger["type"] == "timerTrigger":
        return {"failed": (await worker.invoke_timer(name)).exception_text}
    if trigger["type"] == "queueTrigger":
        return {"failed": (await worker.invoke_queue(name, "[]")).exception_text}
    url = f"http://localhost/api/{trigger['route']}"
    try:
        answer = await worker.invoke_http(name, trigger["methods"][0], url, params=PARAMETERS)
    except InvocationError as error:
        return {"failed": str(error)}
    return {"status": answer.status, "headers": dict(answer.headers), "body": json.loads(answer.body)}


async def main() -> None:
    async with WorkerRuntime.load(ROOT) as worker:
        print(json.dumps({name: await called(worker, name) for name in worker.functions}))  # noqa: T201 - its output


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    asyncio.run(main())
