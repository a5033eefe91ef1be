"""The OpenAPI description: requests from the types that read them, answers from `openapi_answers`."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pydantic.json_schema import models_json_schema

from .forms import Form
from .model import GATEWAY_ID, SERVICE_NAME
from .openapi_answers import ANSWERS
from .requests import SECRET_NAMES, TokenRequestBody

_REFUSALS = (400, 401, 403, 500, 502, 503)
_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


@dataclass(frozen=True, slots=True)
class _Operation:
    """One operation: its answers by status, as (schema, what it means), and the refusals it shares with others."""

    id: str
    summary: str
    answers: dict[int, tuple[str, str]]
    refusals: tuple[int, ...] = _REFUSALS
    open: bool = False  # asks for no key and no sign-in


_OPERATIONS: dict[str, dict[str, _Operation]] = {
    "/services/{service}/gateways/{gatewayId}/generateToken": {
        "post": _Operation(
            "generateToken",
            "Issue a token",
            {200: ("IssuedToken", "A fresh token, checked.")},
            (*_REFUSALS, 404),
        ),
    },
    "/services/{service}/gateways": {
        "get": _Operation(
            "listGateways",
            "The self-hosted gateways that the caller may read, and what their destinations hold",
            {200: ("GatewayList", "Live from Azure and from the destinations.")},
            (*_REFUSALS, 404),
        ),
    },
    "/services/{service}/gateways/{gatewayId}/renew": {
        "post": _Operation(
            "renew",
            "Renew one gateway's token at all its destinations, due or not",
            {200: ("Report", "Renewed and verified.")},
            (*_REFUSALS, 404, 409),
        ),
    },
    "/renewals": {
        "get": _Operation(
            "planRenewals", "What is due and why; nothing is executed", {200: ("Report", "The plan.")}
        ),
        "post": _Operation(
            "runRenewals",
            "Sweep every gateway that the caller may renew, now",
            {
                200: ("Report", "Every row is well."),
                202: ("Running", "The sweep takes longer than a caller can be kept waiting, and goes on."),
            },
        ),
    },
    "/health": {
        "get": _Operation(
            "health",
            "Whether the app can do its job",
            {200: ("Health", "It can."), 503: ("Health", "It cannot; the answer says why.")},
            refusals=(),
            open=True,
        ),
    },
    "/openapi.json": {
        "get": _Operation(
            "openapi", "This description", {200: ("Description", "This document.")}, refusals=(401, 500)
        )
    },
}


def description() -> dict[str, Any]:
    """The whole API as an OpenAPI 3.1 document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gateway tokens",
            "version": "1",
            "description": "Issues and renews the access tokens of API Management self-hosted gateways.",
        },
        "servers": [{"url": "/api"}],
        "security": [{"functionKey": []}, {"entra": []}],
        "paths": {path: _path_item(path, operations) for path, operations in _OPERATIONS.items()},
        "components": {
            "schemas": {**_body_schemas(), **ANSWERS},
            "securitySchemes": {
                "functionKey": {"type": "apiKey", "in": "header", "name": "x-functions-key"},
                "entra": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
    }


def _path_item(path: str, operations: dict[str, _Operation]) -> dict[str, Any]:
    item: dict[str, Any] = {method: _operation(operation) for method, operation in operations.items()}
    if "{service}" in path:
        item["parameters"] = [_in_path("service", SERVICE_NAME, 50)]
    if "{gatewayId}" in path:
        item["parameters"].append(_in_path("gatewayId", GATEWAY_ID, 80))
    return item


def _operation(operation: _Operation) -> dict[str, Any]:
    refused = {str(s): {"description": HTTPStatus(s).phrase, "content": _PROBLEM} for s in operation.refusals}
    answered: dict[str, Any] = {
        str(status): {"description": said, "content": _json(schema)}
        for status, (schema, said) in operation.answers.items()
    }
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "responses": {**answered, **refused},
    }
    if operation.open:
        described["security"] = []
    if operation.id == "generateToken":
        described["requestBody"] = {"required": False, "content": _json("TokenRequestBody")}
        described["parameters"] = [
            _in_query("format", {"enum": list(Form), "default": Form.JSON}),
            *(_in_query(name, {"pattern": pattern}) for name, pattern in SECRET_NAMES.items()),
        ]
        answered["200"]["content"] = {
            "application/json": {
                "schema": {"oneOf": [_reference("IssuedToken"), _reference("KubernetesSecret")]}
            },
            "text/plain": {"schema": {"type": "string"}},
        }
    return described


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": _reference(schema)}}


def _reference(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}


def _in_query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": {"type": "string", **schema}}


def _in_path(name: str, pattern: str, most: int) -> dict[str, Any]:
    schema = {"type": "string", "pattern": pattern, "minLength": 1, "maxLength": most}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _body_schemas() -> dict[str, Any]:
    _, schema = models_json_schema(
        [(TokenRequestBody, "validation")], ref_template="#/components/schemas/{model}"
    )
    found: dict[str, Any] = schema["$defs"]
    return found
