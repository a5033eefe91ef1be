"""The shapes of answers, as JSON Schemas for the API's description; tests hold the answers to them."""

from __future__ import annotations

from typing import Any

from .decisions import Action
from .model import KeyType
from .report import Outcome

_TEXT = {"type": "string"}
_NUMBER = {"type": "integer"}
_TIMESTAMP = {"type": "string", "format": "date-time"}


def _object(required: list[str], **properties: object) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _some(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


_COUNTS = {"type": "object", "additionalProperties": _NUMBER}
_FAULT = _object(["path", "message"], path=_TEXT, message=_TEXT)
_ROW: dict[str, Any] = {
    "service": _TEXT,
    "gatewayId": _TEXT,
    "destination": _TEXT,
    "action": _or_null({"enum": list(Action)}),
    "reason": _TEXT,
    "message": _TEXT,
    "outcome": _or_null({"enum": list(Outcome)}),
    "lastOutcome": _or_null({"enum": list(Outcome)}),
    "issuedAt": _or_null(_TIMESTAMP),
    "expiry": _or_null(_TIMESTAMP),
    "oldExpiry": _or_null(_TIMESTAMP),
    "secondsLeft": _or_null(_NUMBER),
    "nextRenewal": _or_null(_TIMESTAMP),
    "keyType": _or_null({"enum": list(KeyType)}),
    "consecutiveFailures": _NUMBER,
    "lastFailure": _or_null(_TIMESTAMP),
    "code": _or_null(_TEXT),
    "error": _or_null(_TEXT),
}
_STORED = [name for name in _ROW if name not in {"service", "gatewayId"}]
_REPORT = _object(
    ["rows", "counts", "atRisk", "listed", "notListed"],
    rows=_NUMBER,
    counts=_COUNTS,
    atRisk=_NUMBER,
    listed=_some(_object(list(_ROW), **_ROW)),
    notListed=_NUMBER,
)

ANSWERS: dict[str, Any] = {
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
        gateways=_some(
            _object(
                ["gatewayId", "destinations"],
                gatewayId=_TEXT,
                destinations=_some(_object(_STORED, **{name: _ROW[name] for name in _STORED})),
            )
        ),
    ),
    "Report": _REPORT,
    "Running": _object(["status", "detail"], status={"const": "running"}, detail=_TEXT),
    "Health": _object(
        ["status", "problems", "lastSweep"],
        status={"enum": ["healthy", "unhealthy"]},
        problems=_some(_object(["code", "detail", "path"], code=_TEXT, detail=_TEXT, path=_TEXT)),
        lastSweep=_or_null(_object(["completedAt", "rows"], completedAt=_TIMESTAMP, rows=_COUNTS)),
    ),
    "Description": _object(["openapi", "paths"], openapi=_TEXT, paths={"type": "object"}),
    "Problem": _object(
        ["type", "title", "status", "detail", "code", "correlationId"],
        type=_TEXT,
        title=_TEXT,
        status=_NUMBER,
        detail=_TEXT,
        code=_TEXT,
        correlationId=_TEXT,
        faults=_some(_FAULT),
        azure={"type": "object"},
        report=_REPORT,
    ),
}
