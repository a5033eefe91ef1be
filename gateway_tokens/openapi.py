"""The OpenAPI description, made from the types that read the requests, so that it cannot drift from them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pydantic.json_schema import models_json_schema

from .forms import Form
from .model import GATEWAY_ID, SERVICE_NAME, KeyType
from .requests import SECRET_NAMES, TokenRequestBody

_REFUSALS = (400, 401, 403, 404, 500, 502, 503)
_TIMESTAMP = {"type": "string", "format": "date-time"}
_TEXT = {"type": "string"}


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
        "paths": _paths(),
        "components": {
            "schemas": {**_body_schemas(), **_ANSWERS},
            "securitySchemes": {
                "functionKey": {"type": "apiKey", "in": "header", "name": "x-functions-key"},
                "entra": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
    }


def _paths() -> dict[str, Any]:
    return {
        "/services/{service}/gateways/{gatewayId}/generateToken": {
            "parameters": [_SERVICE, _GATEWAY],
            "post": {
                "operationId": "generateToken",
                "summary": "Issue a token",
                "parameters": [
                    _query("format", {"enum": list(Form), "default": Form.JSON}),
                    *map(_name, SECRET_NAMES),
                ],
                "requestBody": {"required": False, "content": _content("TokenRequestBody")},
                "responses": _responses(
                    {**_content("IssuedToken", "KubernetesSecret"), "text/plain": {"schema": _TEXT}},
                    "A fresh token, checked.",
                    _REFUSALS,
                ),
            },
        },
        "/services/{service}/gateways": {
            "parameters": [_SERVICE],
            "get": {
                "operationId": "listGateways",
                "summary": "The self-hosted gateways that the caller may read",
                "responses": _responses(_content("GatewayList"), "The gateways, live from Azure.", _REFUSALS),
            },
        },
        "/health": {
            "get": {
                "operationId": "health",
                "summary": "Whether the app can do its job",
                "security": [],
                "responses": {
                    "200": {"description": "It can.", "content": _content("Health")},
                    "503": {"description": "It cannot; the answer says why.", "content": _content("Health")},
                },
            },
        },
        "/openapi.json": {
            "get": {
                "operationId": "openapi",
                "summary": "This description",
                "responses": {"200": {"description": "This document.", "content": {"application/json": {}}}},
            },
        },
    }


def _body_schemas() -> dict[str, Any]:
    _, schema = models_json_schema(
        [(TokenRequestBody, "validation")], ref_template="#/components/schemas/{model}"
    )
    found: dict[str, Any] = schema["$defs"]
    return found


def _content(*names: str) -> dict[str, Any]:
    schemas = [{"$ref": f"#/components/schemas/{name}"} for name in names]
    return {"application/json": {"schema": schemas[0] if len(schemas) == 1 else {"oneOf": schemas}}}


def _responses(content: dict[str, Any], said: str, refusals: tuple[int, ...]) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    refused = {str(s): {"description": HTTPStatus(s).phrase, "content": problem} for s in refusals}
    return {"200": {"description": said, "content": content}, **refused}


def _query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": {"type": "string", **schema}}


def _name(name: str) -> dict[str, Any]:
    return _query(name, {"pattern": SECRET_NAMES[name]})


def _path(name: str, pattern: str, most: int) -> dict[str, Any]:
    schema = {"type": "string", "pattern": pattern, "minLength": 1, "maxLength": most}
    return {"name": name, "in": "path", "required": True, "schema": schema}


_SERVICE = _path("service", SERVICE_NAME, 50)
_GATEWAY = _path("gatewayId", GATEWAY_ID, 80)


def _object(required: list[str], **properties: object) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties}


_FAULT = _object(["path", "message"], path=_TEXT, message=_TEXT)
_ANSWERS: dict[str, Any] = {
    "IssuedToken": _object(
        ["value", "gatewayId", "keyType", "expiry"],
        value=_TEXT,
        gatewayId=_TEXT,
        keyType={"enum": list(KeyType)},
        expiry=_TIMESTAMP,
    ),
    "KubernetesSecret": _object(
        ["apiVersion", "kind", "metadata", "type", "stringData"],
        apiVersion={"const": "v1"},
        kind={"const": "Secret"},
        metadata={"type": "object"},
        type={"const": "Opaque"},
        stringData={"type": "object", "additionalProperties": _TEXT},
    ),
    "GatewayList": _object(
        ["service", "gateways"],
        service=_TEXT,
        gateways={"type": "array", "items": _object(["gatewayId"], gatewayId=_TEXT)},
    ),
    "Health": _object(["status"], status={"enum": ["healthy", "unhealthy"]}, code=_TEXT),
    "Problem": _object(
        ["type", "title", "status", "detail", "code", "correlationId"],
        type=_TEXT,
        title=_TEXT,
        status={"type": "integer"},
        detail=_TEXT,
        code=_TEXT,
        correlationId=_TEXT,
        faults={"type": "array", "items": _FAULT},
        azure={"type": "object"},
    ),
}
