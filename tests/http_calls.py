"""Calls the app's own functions with real requests, as the worker does once the host has let a call in."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import azure.functions as func

import function_app

Answer = func.HttpResponse
GATEWAYS = "services/{service}/gateways"
GENERATE = f"{GATEWAYS}/{{gatewayId}}/generateToken"
REVOKE = f"{GATEWAYS}/{{gatewayId}}/revoke"
RENEW = f"{GATEWAYS}/{{gatewayId}}/renew"


async def generate_token(
    gateway: str = "edge-01",
    body: object = None,
    *,
    service: str = "contoso",
    headers: Mapping[str, str] | None = None,
    form: str | None = None,
    query: Mapping[str, str] | None = None,
    **named: str,
) -> Answer:
    """`POST services/{service}/gateways/{gatewayId}/generateToken`, with a form `.../generateToken/{format}`.

    A body that is not bytes goes out as JSON. The query's parameters may come as a mapping, by name, or both.
    """
    sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    route = {"service": service, "gatewayId": gateway, **({} if form is None else {"format": form})}
    path, function = GENERATE, function_app.generate_token
    if form is not None:
        path, function = f"{GENERATE}/{{format}}", function_app.generate_token_in_format
    asked = request("POST", path, route, sent, headers=headers, query={**(query or {}), **named})
    return await _call(function, asked)


async def list_gateways(service: str = "contoso", **how: Mapping[str, str]) -> Answer:
    """`GET services/{service}/gateways`; `how` are headers and query, as in every call."""
    return await _call(function_app.list_gateways, request("GET", GATEWAYS, {"service": service}, b"", **how))


async def renew(gateway: str = "edge-01", service: str = "contoso", **how: Mapping[str, str]) -> Answer:
    """`POST services/{service}/gateways/{gatewayId}/renew`."""
    route = {"service": service, "gatewayId": gateway}
    return await _call(function_app.renew_gateway, request("POST", RENEW, route, b"", **how))


async def revoke(gateway: str = "edge-01", service: str = "contoso", **body: object) -> Answer:
    """`POST services/{service}/gateways/{gatewayId}/revoke` of the primary key."""
    sent = json.dumps({"keyType": "primary", "reason": "a leak", **body}).encode()
    return await _call(
        function_app.revoke_key,
        request("POST", REVOKE, {"service": service, "gatewayId": gateway}, sent),
    )


async def plan(**how: Mapping[str, str]) -> Answer:
    """`GET renewals`."""
    return await _call(function_app.plan_renewals, request("GET", "renewals", {}, b"", **how))


async def run(**how: Mapping[str, str]) -> Answer:
    """`POST renewals`."""
    return await _call(function_app.run_renewals, request("POST", "renewals", {}, b"", **how))


async def health(**how: Mapping[str, str]) -> Answer:
    """`GET health`."""
    return await _call(function_app.health, request("GET", "health", {}, b"", **how))


def request(
    method: str,
    path: str,
    route: Mapping[str, str] | None = None,
    body: bytes = b"",
    *,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
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


def document(answer: Answer) -> Any:  # noqa: ANN401 - JSON may be anything
    """The answer's JSON."""
    return json.loads(answer.get_body())


def code_of(answer: Answer) -> tuple[int, str]:
    """The status and the error code; the code of a success is empty."""
    return answer.status_code, document(answer).get("code", "")


def text(answer: Answer) -> str:
    """The answer's text."""
    return str(answer.get_body().decode())


async def _call(function: Any, asked: func.HttpRequest) -> Answer:  # noqa: ANN401 - the SDK's builders are open
    answer: Answer = await function(asked)
    return answer
