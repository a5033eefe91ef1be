"""A child process: imports one function app, issues one token through it, and says when each was done, as JSON.

`python -m tests.bench.first_token module` calls the app's `generate_token`; with `--import` it stops at the import.
Times are seconds of the machine's monotonic clock, which parent and child share.
"""

import time

import_begins = time.monotonic()

import asyncio  # noqa: E402 - every import counts
import importlib  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402

module = importlib.import_module(sys.argv[1])
imported = time.monotonic()


async def first_token() -> str:
    """The token, through the function that the host would call."""
    import azure.functions as func  # noqa: PLC0415 - the app has loaded it

    (function,) = [
        each for each in module.app.get_functions() if each.get_function_name() == "generate_token"
    ]
    route = {"service": "svc0", "gatewayId": "edge-00001"}
    url = "http://localhost/api/services/svc0/gateways/edge-00001/generateToken"
    answer = await function.get_user_function()(
        func.HttpRequest("POST", url, route_params=route, params={}, body=b"")
    )
    text: str = answer.get_body().decode()
    return json.loads(text)["value"] if text.startswith("{") else text


if __name__ == "__main__":
    token = "" if "--import" in sys.argv else asyncio.run(first_token())
    if "--import" not in sys.argv and not token.startswith("edge-00001&"):
        sys.exit("no token")
    done = time.monotonic()
    sys.stdout.write(json.dumps({"import": imported - import_begins, "done": done}) + "\n")
    sys.stdout.flush()
    # No orderly end: a worker is not closed after its first call either.
    os._exit(0)
