"""The form of answers: JSON, RFC 9457 problem documents, `no-store`, a correlation id. Errors get their status here.

When another Python runs the packages than the one that they were built for, compiled modules cannot be imported, and
this module alone answers. So nothing here imports one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
import sys
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from datetime import datetime
from functools import wraps
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import azure.functions as func

from gateway_tokens import errors
from gateway_tokens.logs import correlation, log_line, log_unexpected
from gateway_tokens.tokens import Secret, written

if TYPE_CHECKING:
    from gateway_tokens.renewal.report import ServiceReport, Summary
    from gateway_tokens.renewal.rows import Row

STATUS: dict[type[errors.GatewayTokensError], HTTPStatus] = {
    errors.SettingsInvalid: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.WrongPython: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.RequestInvalid: HTTPStatus.BAD_REQUEST,
    errors.SignInRequired: HTTPStatus.UNAUTHORIZED,
    errors.AccessDenied: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.NotManaged: HTTPStatus.CONFLICT,
    errors.KeyNotActive: HTTPStatus.CONFLICT,
    errors.RevokeStopped: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    errors.AzureRejected: HTTPStatus.BAD_REQUEST,
    errors.AzureThrottled: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.AzureUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.IdentityUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.SigningKeysUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    # Azure, or a location, is not as it should be: the caller's request was fine.
    errors.GatewayTokensError: HTTPStatus.BAD_GATEWAY,
}
# Seconds within which every caller has an answer.
LONGEST_ANSWER = 55.0
_CORRELATION_HEADER = "x-correlation-id"
# Every part of the app imports it, and it has one compiled module, whose name has the Python that can load it.
_COMPILED = "pydantic_core"
_T = TypeVar("_T")
_P = ParamSpec("_P")
_Route = Callable[Concatenate[_T, func.HttpRequest, _P], Coroutine[Any, Any, func.HttpResponse]]


def answered(method: _Route[_T, _P]) -> _Route[_T, _P]:
    """Wraps a route's method: whatever it raises becomes a problem document; every answer is stamped."""

    @wraps(method)
    async def answer(
        self: _T, request: func.HttpRequest, *more: _P.args, **named: _P.kwargs
    ) -> func.HttpResponse:
        given = request.headers.get(_CORRELATION_HEADER, "")
        # The caller's own id if it is harmless to log.
        harmless = re.fullmatch(r"[A-Za-z0-9._-]{1,64}", given)
        before = correlation.set(given if harmless else str(uuid.uuid4()))
        try:
            response = await _answer(method(self, request, *more, **named))
            response.headers[_CORRELATION_HEADER] = correlation.get()
            return response
        finally:
            correlation.reset(before)

    return answer  # type: ignore[return-value] # `wraps` keeps a name that the method has and no caller uses


async def _answer(
    answering: Awaitable[func.HttpResponse], within: float = LONGEST_ANSWER
) -> func.HttpResponse:
    try:
        async with asyncio.timeout(within):
            return await answering
    except TimeoutError:
        return problem(errors.AzureUnavailable("Answering within 55 seconds", errors.AzureFacts()))
    except Exception as error:  # noqa: BLE001 - a caller gets an answer whatever happens, and no stack trace
        return problem(error)


def json_answer(document: object, status: HTTPStatus = HTTPStatus.OK) -> func.HttpResponse:
    """The document as JSON."""
    return _response(json.dumps(document), "application/json", status)


def secret_answer(secret: Secret, mimetype: str) -> func.HttpResponse:
    """The secret itself: the one kind of answer that holds one."""
    return _response(secret.reveal(), mimetype)


def status_of(error: errors.GatewayTokensError) -> HTTPStatus:
    """The HTTP status of an error: its own class's, else the nearest ancestor's."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem(error: Exception, **members: object) -> func.HttpResponse:
    """The error as a problem document with further members, and its log line.

    What is wrong with the settings, and the text of an error that nobody expected, is never told.
    """
    code, status, detail = "internal_error", HTTPStatus.INTERNAL_SERVER_ERROR, "Something unexpected failed."
    if isinstance(error, errors.GatewayTokensError):
        code, status, detail = error.code, status_of(error), str(error)
        level = logging.WARNING if status < HTTPStatus.INTERNAL_SERVER_ERROR else logging.ERROR
        log_line("request.failed", level, code=code, error=detail)
    else:
        log_unexpected(error, "request")
    if isinstance(error, errors.SettingsInvalid):
        detail = "The app's settings are invalid. The app's log lists the faults."
    more, headers = _told_of(error)
    document = {
        "type": f"urn:gateway-tokens:problem:{code}",
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
        "code": code,
        "correlationId": correlation.get(),
        **members,
        **more,
    }
    return _response(json.dumps(document), "application/problem+json", status, headers)


def _told_of(error: Exception) -> tuple[dict[str, object], dict[str, str]]:
    """The members and the headers that only this kind of error has."""
    match error:
        case errors.RequestInvalid():
            return {"faults": _listed(error.faults)}, {}
        case errors.SignInRequired():
            return {}, {"WWW-Authenticate": "Bearer"}
        case errors.TooManyRequests():
            return {}, _retry_after(error.retry_after)
        case errors.AzureError():
            return {"azure": _azure(error)}, _retry_after(error.facts.retry_after)
    return {}, {}


def _azure(error: errors.AzureError) -> dict[str, object]:
    """Azure's own words: message and details only where the request was found invalid and they help to mend it."""
    facts = error.facts
    shown = {"status": facts.status, "code": facts.code, "requestId": facts.request_id}
    if not isinstance(error, errors.AzureRejected):
        return shown
    return {**shown, "message": facts.message, "details": _listed(facts.details)}


def _listed(faults: Iterable[errors.Fault]) -> list[dict[str, str]]:
    return [{"path": fault.path, "message": fault.message} for fault in faults]


def _retry_after(seconds: float | None) -> dict[str, str]:
    return {"Retry-After": str(math.ceil(seconds))} if seconds else {}


def _response(
    text: str, mimetype: str, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None
) -> func.HttpResponse:
    stamped = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **(headers or {})}
    return func.HttpResponse(text, status_code=status, mimetype=mimetype, headers=stamped)


def row_shown(row: Row, report: ServiceReport, now: datetime) -> dict[str, Any]:
    """A row for callers: times in UTC, `secondsLeft` until the token now there expires."""
    seen, before = row.seen, report.rows.get(str(row.id))
    failure = row.failure or (before.failure if before else None)
    return {
        "destination": row.id.location,
        "action": row.decision.action if row.readable else None,
        "reason": row.decision.reason,
        "message": row.decision.message,
        "outcome": row.outcome,
        "lastOutcome": row.outcome or (before.outcome if before else None),
        "issuedAt": text_of(seen.issued_at if seen else None),
        "expiry": text_of(seen.expiry if seen else None),
        "oldExpiry": text_of(row.old_expiry),
        "secondsLeft": int((seen.expiry - now).total_seconds()) if seen else None,
        "nextRenewal": text_of(seen.due if seen else None),
        "keyType": seen and seen.key_type,
        "failingSince": text_of(row.failing_since or (before.failing_since if before else None)),
        "code": failure and failure.code,
        "error": failure and failure.text,
    }


def summary_shown(summary: Summary) -> dict[str, Any]:
    """A service's last complete run, for callers."""
    return {
        "service": summary.service,
        "run": summary.run,
        "completedAt": text_of(summary.completed_at),
        "rows": summary.rows,
        "failed": summary.failed,
        "atRisk": summary.at_risk,
    }


def text_of(moment: datetime | None) -> str | None:
    """The moment as every answer writes it."""
    return written(moment) if moment else None


def wrong_python(error: ImportError) -> errors.WrongPython:
    """Why an import failed. Raises the error itself when the packages were built for this Python."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    spec = find_spec(_COMPILED)
    folders = (spec and spec.submodule_search_locations) or ()
    names = sorted(file.name for folder in folders for file in Path(folder).iterdir())
    # The Pythons in the compiled module's file names: `cpython-311-x86_64-linux-gnu` is for 3.11.
    built_for = [f"3.{match[1]}" for name in names if (match := re.search(r"\.cpython-3(\d+)", name))]
    if not built_for or running in built_for:
        raise error
    return errors.WrongPython(built_for[0], running)


class WrongPythonApi:
    """Every route: answers that the app cannot be loaded, and why."""

    def __init__(self, error: errors.WrongPython) -> None:
        self._error = error

    @answered
    async def health(self, request: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG002 - every route takes one
        """The code in health's own form. The log has the two versions."""
        code = self._error.code
        log_line("request.failed", logging.ERROR, code=code, error=str(self._error))
        document = {"status": "unhealthy", "problems": [{"code": code}], "warnings": []}
        return json_answer(document, HTTPStatus.SERVICE_UNAVAILABLE)

    @answered
    async def refuse(self, request: func.HttpRequest, *_: object) -> func.HttpResponse:  # noqa: ARG002 - every route takes one
        """The reason as a problem document."""
        raise self._error.with_traceback(None)

    generate_token = list_gateways = renew = revoke = plan = show_run = run = refuse
