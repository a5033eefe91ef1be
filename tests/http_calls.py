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
GATEWAYS = "services/{service}/gateways"
GENERATE = f"{GATEWAYS}/{{gatewayId}}/generateToken"


def request(
    method: str,
    path: str,
    route: Texts | None = None,
    body: bytes = b"",
    *,
    headers: Texts | None = None,
    query: Texts | None = None,
) -> func.HttpRequest:
    """The request as the worker makes it: the host leaves empty values out of the query, not out of the address."""
    route, query = dict(route or {}), dict(query or {})
    in_address = {name: quote(value, safe="") for name, value in route.items()}
    return func.HttpRequest(
        method,
        f"https://app.example/api/{path.format(**in_address)}?{urlencode(query)}",
        headers=dict(headers or {}),
        params={name: value for name, value in query.items() if value},
        route_params=route,
        body=body,
    )


async def call(
    function: Any,  # noqa: ANN401 - the SDK's builders are open
    request_line: str,
    route: Texts | None = None,
    body: object = None,
    *more: object,
    **how: Texts | None,
) -> Answer:
    """The function's answer to the request; `how` are headers and query. A body that is not bytes goes out as JSON."""
    method, path = request_line.split()
    sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    answer: Answer = await function(request(method, path, route, sent, **how), *more)
    return answer


async def generate_token(
    gateway: str = "edge-01",
    body: object = None,
    *,
    service: str = "contoso",
    headers: Texts | None = None,
    form: str | None = None,
    query: Texts | None = None,
    **named: str,
) -> Answer:
    """`POST .../generateToken`, with a form `.../generateToken/{format}`; the query as a mapping, by name, or both."""
    route, path, function = {"service": service, "gatewayId": gateway}, GENERATE, function_app.generate_token
    if form is not None:
        route, path, function = (
            {**route, "format": form},
            f"{GENERATE}/{{format}}",
            function_app.generate_token_in_format,
        )
    how = {"headers": headers, "query": {**(query or {}), **named}}
    return await call(function, f"POST {path}", route, body, **how)


async def list_gateways(service: str = "contoso", **how: Texts) -> Answer:
    """`GET services/{service}/gateways`."""
    return await call(function_app.list_gateways, f"GET {GATEWAYS}", {"service": service}, **how)


async def renew(gateway: str = "edge-01", service: str = "contoso", **how: Texts) -> Answer:
    """`POST .../renew`."""
    route = {"service": service, "gatewayId": gateway}
    return await call(function_app.renew_gateway, f"POST {GATEWAYS}/{{gatewayId}}/renew", route, **how)


async def revoke(
    gateway: str = "edge-01",
    service: str = "contoso",
    raw: bytes | None = None,
    *,
    headers: Texts | None = None,
    **body: object,
) -> Answer:
    """`POST .../revoke` of the primary key, with more or other fields in the body, or with a body as it is."""
    sent = {"keyType": "primary", "reason": "ticket 42", **body} if raw is None else raw
    route = {"service": service, "gatewayId": gateway}
    path = f"POST {GATEWAYS}/{{gatewayId}}/revoke"
    return await call(function_app.revoke_key, path, route, sent, headers=headers)


async def plan(**how: Texts) -> Answer:
    """`GET renewals`."""
    return await call(function_app.plan_renewals, "GET renewals", **how)


async def show_run(run: str) -> Answer:
    """`GET renewals/{run}`."""
    return await call(function_app.show_run, "GET renewals/{run}", {"run": run})


async def ask(body: object = None, **how: Texts) -> tuple[Answer, list[str]]:
    """`POST renewals`: the answer, and the messages that it left in the queue."""
    out = Out()
    return await call(function_app.run_renewals, "POST renewals", None, body, out, **how), out.messages()


async def carry_out(messages: Sequence[str]) -> None:
    """What the queue brings to the app."""
    function: Any = function_app.reconcile_subscription
    for number, message in enumerate(messages):
        await function(queue_message(message, str(number), 1))


async def run(**how: Texts) -> Answer:
    """`POST renewals`, and the run that it asks for."""
    answer, messages = await ask(**how)
    await carry_out(messages)
    return answer


async def health(**how: Texts) -> Answer:
    """`GET health`."""
    return await call(function_app.health, "GET health", **how)


def document(answer: Answer) -> Any:  # noqa: ANN401 - JSON may be anything
    """The answer's JSON."""
    return json.loads(answer.get_body())


def code_of(answer: Answer) -> tuple[int, str]:
    """The status and the error code; the code of a success is empty."""
    return answer.status_code, document(answer).get("code", "")


def text(answer: Answer) -> str:
    """The answer's text."""
    return str(answer.get_body().decode())
