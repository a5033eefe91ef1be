"""The form of answers: JSON, RFC 9457 problem documents, `no-store`, a correlation id. Errors get their status here."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import wraps
from http import HTTPStatus
from typing import Any, Concatenate, ParamSpec, TypeVar

import azure.functions as func

from gateway_tokens import errors
from gateway_tokens.logs import correlation, log_line, log_unexpected
from gateway_tokens.tokens import Secret

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
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_T = TypeVar("_T")
_P = ParamSpec("_P")


def answered(
    method: Callable[Concatenate[_T, func.HttpRequest, _P], Awaitable[func.HttpResponse]],
) -> Callable[Concatenate[_T, func.HttpRequest, _P], Coroutine[Any, Any, func.HttpResponse]]:
    """Wraps a route's method: whatever it raises becomes a problem document; every answer is stamped."""

    @wraps(method)
    async def answer(
        self: _T, request: func.HttpRequest, *more: _P.args, **named: _P.kwargs
    ) -> func.HttpResponse:
        before = correlation.set(_correlation_id(request.headers))
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
    except errors.GatewayTokensError as error:
        level = logging.WARNING if status_of(error) < HTTPStatus.INTERNAL_SERVER_ERROR else logging.ERROR
        log_line("request.failed", level, code=error.code, error=str(error))
        return problem(error)
    except Exception as error:  # noqa: BLE001 - a caller gets an answer whatever happens, and no stack trace
        log_unexpected(error, "request")
        return _problem_document(
            "internal_error", HTTPStatus.INTERNAL_SERVER_ERROR, "Something unexpected failed."
        )


def json_answer(document: object, status: HTTPStatus = HTTPStatus.OK) -> func.HttpResponse:
    """The document as JSON."""
    return func.HttpResponse(
        json.dumps(document), status_code=status, mimetype="application/json", headers=dict(_HEADERS)
    )


def secret_answer(secret: Secret, mimetype: str) -> func.HttpResponse:
    """The secret itself: the one kind of answer that holds one."""
    return func.HttpResponse(secret.reveal(), mimetype=mimetype, headers=dict(_HEADERS))


def status_of(error: errors.GatewayTokensError) -> HTTPStatus:
    """The HTTP status of an error: its own class's, else the nearest ancestor's."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem(error: errors.GatewayTokensError, **members: object) -> func.HttpResponse:
    """The error as a problem document with further members.

    What is wrong with the settings is in the log only.
    """
    if isinstance(error, errors.SettingsInvalid):
        detail = "The app's settings are invalid. The app's log lists the faults."
        return _problem_document(error.code, status_of(error), detail)
    more: dict[str, Any] = dict(members)
    headers: dict[str, str] = {}
    if isinstance(error, errors.RequestInvalid):
        more["faults"] = [{"path": fault.path, "message": fault.message} for fault in error.faults]
    if isinstance(error, errors.TooManyRequests):
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    if isinstance(error, errors.AzureError):
        more["azure"] = _azure(error)
        if error.facts.retry_after:
            headers["Retry-After"] = str(math.ceil(error.facts.retry_after))
    if isinstance(error, errors.SignInRequired):
        headers["WWW-Authenticate"] = "Bearer"
    return _problem_document(error.code, status_of(error), str(error), more, headers)


def _azure(error: errors.AzureError) -> dict[str, Any]:
    """Azure's own words: message and details only where the request was found invalid and they help to mend it."""
    facts = error.facts
    shown: dict[str, Any] = {"status": facts.status, "code": facts.code, "requestId": facts.request_id}
    if isinstance(error, errors.AzureRejected):
        shown["message"] = facts.message
        shown["details"] = [{"path": detail.path, "message": detail.message} for detail in facts.details]
    return shown


def _problem_document(
    code: str,
    status: HTTPStatus,
    detail: str,
    more: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> func.HttpResponse:
    document = {
        "type": f"urn:gateway-tokens:problem:{code}",
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
        "code": code,
        "correlationId": correlation.get(),
        **(more or {}),
    }
    return func.HttpResponse(
        json.dumps(document),
        status_code=status,
        mimetype="application/problem+json",
        headers={**_HEADERS, **(headers or {})},
    )


def _correlation_id(headers: Mapping[str, str]) -> str:
    """The caller's own id if it is harmless to log, else a new one."""
    given = headers.get(_CORRELATION_HEADER, "")
    return given if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", given) else str(uuid.uuid4())
