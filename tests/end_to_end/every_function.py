"""Calls every function of the app in the real worker and prints as JSON what became of each: for tests in their own process."""

import asyncio
import json
import logging
import sys
from typing import Any

from tests.worker_runtime import InvocationError, WorkerRuntime, worker_runtime

WHERE = {"service": "contoso", "gatewayId": "edge-01"}


async def called(worker: WorkerRuntime, name: str) -> dict[str, Any]:
    trigger = worker.functions[name][0]
    try:
        if trigger["type"] == "httpTrigger":
            answer = await worker.call(name, trigger["methods"][0], trigger["route"], route=WHERE)
            return {"status": answer.status, "headers": answer.headers, "body": json.loads(answer.body)}
        if trigger["type"] == "timerTrigger":
            await worker.fire(name)
        else:
            await worker.bring(name, "[]")
    except InvocationError as error:
        return {"failed": str(error)}
    return {}


async def main() -> None:
    async with worker_runtime() as worker:
        print(json.dumps({name: await called(worker, name) for name in worker.functions}))  # noqa: T201 - its output


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    asyncio.run(main())
