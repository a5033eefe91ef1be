"""Calls the app's own functions with real requests, as the worker does once the host has let a call in."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import azure.functions as func

import function_app
from emulator.host_invocation import Out, queue_message

Answer = func.HttpResponse
Texts = Mapping[str, str]
_GATEWAY = "services/{service}/gateways/{gatewayId}"
# Method and path of each function.
ROUTES = {
    "generate_token": f"POST {_GATEWAY}/generateToken",
    "generate_token_in_format": f"POST {_GATEWAY}/generateToken/{{format}}",
    "list_gateways": "GET services/{service}/gateways",
    "renew_gateway": f"POST {_GATEWAY}/renew",
    "revoke_key": f"POST {_GATEWAY}/revoke",
    "plan_renewals": "GET renewals",
    "show_run": "GET renewals/{run}",
    "run_renewals": "POST renewals",
    "health": "GET health",
}


def request(
    name: str, body: bytes = b"", *, headers: Texts | None = None, query: Texts | None = None, **route: str
) -> func.HttpRequest:
    """The request as the worker makes it: the host leaves empty values out of the query, not out of the address."""
    method, path = ROUTES[name].split()
    query = dict(query or {})
    in_address = {part: quote(value, safe="") for part, value in route.items()}
    return func.HttpRequest(
        method,
        f"https://app.example/api/{path.format(**in_address)}?{urlencode(query)}",
        headers=dict(headers or {}),
        params={part: value for part, value in query.items() if value},
        route_params=route,
        body=body,
    )


async def call(name: str, body: object = None, *more: object, **how: Any) -> Answer:  # noqa: ANN401 - the request's
    """The function's answer; `how` are headers, query and the parts of the path. A body that is not bytes goes out as JSON."""
    sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    function: Any = getattr(function_app, name)
    answer: Answer = await function(request(name, sent, **how), *more)
    return answer


async def generate_token(
    gateway: str = "edge-01",
    body: object = None,
    *,
    service: str = "contoso",
    form: str | None = None,
    **how: Texts | None,
) -> Answer:
    """`POST .../generateToken`, with a form `.../generateToken/{format}`."""
    where = {"service": service, "gatewayId": gateway}
    if form is None:
        return await call("generate_token", body, **where, **how)
    return await call("generate_token_in_format", body, **where, format=form, **how)


async def list_gateways(service: str = "contoso", **how: Texts) -> Answer:
    return await call("list_gateways", service=service, **how)


async def renew(gateway: str = "edge-01", service: str = "contoso", **how: Texts) -> Answer:
    return await call("renew_gateway", service=service, gatewayId=gateway, **how)


async def revoke(
    gateway: str = "edge-01", service: str = "contoso", *, headers: Texts | None = None, **body: object
) -> Answer:
    """`POST .../revoke` of the primary key, with more or other fields in the body."""
    sent = {"keyType": "primary", "reason": "ticket 42", **body}
    return await call("revoke_key", sent, service=service, gatewayId=gateway, headers=headers)


async def plan(**how: Texts) -> Answer:
    return await call("plan_renewals", **how)


async def show_run(run: str) -> Answer:
    return await call("show_run", run=run)


async def ask(body: object = None, **how: Texts) -> tuple[Answer, list[str]]:
    """`POST renewals`: the answer, and the messages that it left in the queue."""
    out = Out()
    return await call("run_renewals", body, out, **how), out.messages()


async def carry_out(messages: Sequence[str]) -> None:
    """What the queue brings to the app."""
    function: Any = function_app.reconcile_subscription
    for number, message in enumerate(messages):
        await function(queue_message(message, str(number), 1))


async def run(body: object = None, **how: Texts) -> Answer:
    """`POST renewals`, and the run that it asks for."""
    answer, messages = await ask(body, **how)
    await carry_out(messages)
    return answer


async def health(**how: Texts) -> Answer:
    return await call("health", **how)


def document(answer: Answer) -> Any:  # noqa: ANN401 - JSON may be anything
    return json.loads(answer.get_body())


def code_of(answer: Answer) -> tuple[int, str]:
    """The status and the error code; the code of a success is empty."""
    return answer.status_code, document(answer).get("code", "")


def text(answer: Answer) -> str:
    return str(answer.get_body().decode())
