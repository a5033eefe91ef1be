"""Azure's exceptions become ours at the boundary, without their texts: those may quote a response body."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from azure.core import exceptions as azure

from .errors import (
    AzureError,
    AzureFacts,
    AzureForbidden,
    AzureNotFound,
    AzureRejected,
    AzureThrottled,
    AzureUnavailable,
    Fault,
    GatewayTokensError,
    IdentityUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from azure.core.rest import AsyncHttpResponse

_LONGEST_TEXT = 500
_SOMETHING_ELSE = "The answer is not what this operation gives: a proxy may have answered instead."
_BY_STATUS: dict[int, type[AzureError]] = {
    HTTPStatus.BAD_REQUEST: AzureRejected,
    HTTPStatus.NOT_FOUND: AzureNotFound,
    HTTPStatus.REQUEST_TIMEOUT: AzureUnavailable,
    HTTPStatus.CONFLICT: AzureRejected,
    HTTPStatus.PRECONDITION_FAILED: AzureRejected,
    HTTPStatus.UNPROCESSABLE_ENTITY: AzureRejected,
    HTTPStatus.TOO_MANY_REQUESTS: AzureThrottled,
}


@asynccontextmanager
async def translated(operation: str, *, action: str, scope: str) -> AsyncIterator[None]:
    """Within, Azure's exceptions are raised as AzureError of `operation`, which needs `action` at `scope`.

    No cause is chained: its text may hold the body of an answer, and exception text reaches telemetry.
    """
    try:
        yield
    except GatewayTokensError:
        raise
    except azure.HttpResponseError as error:
        raise _from_response(operation, error, action, scope) from None
    except azure.AzureError:
        raise AzureUnavailable(operation, AzureFacts()) from None


def object_in(response: AsyncHttpResponse) -> dict[str, Any]:
    """The JSON object that was answered. Raises the SDK's DecodeError for anything else, a proxy's page perhaps."""
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise azure.DecodeError("no JSON object", response=response)
    return answer


def facts_of(error: azure.HttpResponseError) -> AzureFacts:
    """What Azure said, in the parts that may be passed on; texts are cut to a sensible length."""
    said: Any = error.error if error.error is not None else None
    response: Any = error.response
    headers = response.headers if response is not None else {}
    details = [
        Fault(str(detail.target or "request"), f"{detail.code}: {detail.message}"[:_LONGEST_TEXT])
        for detail in (getattr(said, "details", None) or [])
    ]
    return AzureFacts(
        status=error.status_code or 0,
        code=str(getattr(said, "code", None) or ""),
        message=str(getattr(said, "message", None) or "")[:_LONGEST_TEXT],
        details=tuple(details),
        request_id=headers.get("x-ms-correlation-request-id") or headers.get("x-ms-request-id") or "",
        retry_after=_seconds(headers.get("retry-after")),
    )


def _from_response(operation: str, error: azure.HttpResponseError, action: str, scope: str) -> AzureError:
    facts = facts_of(error)
    if isinstance(error, azure.ClientAuthenticationError):
        return IdentityUnavailable(operation, _without_words(facts))
    if facts.status == HTTPStatus.FORBIDDEN:
        return AzureForbidden(operation, _without_words(facts), action, scope)
    if facts.status == HTTPStatus.OK:
        return AzureError(operation, _without_words(facts), _SOMETHING_ELSE)
    failing = facts.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    kind = _BY_STATUS.get(facts.status, AzureUnavailable if failing else AzureError)
    return kind(operation, facts if kind is AzureRejected else _without_words(facts))


def _without_words(facts: AzureFacts) -> AzureFacts:
    """The facts less Azure's texts, which may quote anything; only those about a rejected request help anybody."""
    return replace(facts, message="", details=())


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after and retry_after.isdecimal() else None
