"""Azure's exceptions become ours at the boundary, without their texts: those may quote a response body."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp
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
    from collections.abc import AsyncIterator, Sequence

    from azure.core.rest import AsyncHttpResponse

_LONGEST_TEXT = 500
_SOMETHING_ELSE = "The answer is not what this operation gives: a proxy may have answered instead."
_NOT_TRUSTED = (
    "The server's certificate is not trusted. Name its authority: CA_FILE, or the row's certificateAuthority."
)
# API Management's words for "another change is under way", with a status that elsewhere means something else.
_BUSY = frozenset({"PessimisticConcurrencyConflict", "ManagementApiRequestFailed"})
_BY_STATUS: dict[int, type[AzureError]] = {
    HTTPStatus.BAD_REQUEST: AzureRejected,
    HTTPStatus.NOT_FOUND: AzureNotFound,
    HTTPStatus.REQUEST_TIMEOUT: AzureUnavailable,
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
    except azure.IncompleteReadError:
        # To the SDK an answer with bad content; it is a connection that broke within the answer.
        raise AzureUnavailable(operation, AzureFacts()) from None
    except azure.HttpResponseError as error:
        raise _from_response(operation, error, action, scope) from None
    except azure.AzureError as error:
        raise AzureUnavailable(
            operation, AzureFacts(), _NOT_TRUSTED if certificate_refused(error) else ""
        ) from None


def cut_off(operation: str, answers: Sequence[AsyncHttpResponse], *, action: str, scope: str) -> AzureError:
    """The error of an operation whose time was over: what Azure answered last, if it answered at all."""
    refusals = [answer for answer in answers if answer.status_code >= HTTPStatus.BAD_REQUEST]
    if not refusals:
        return AzureUnavailable(operation, AzureFacts())
    return _from_response(operation, azure.HttpResponseError(response=refusals[-1]), action, scope)


def certificate_refused(error: Exception | None) -> bool:
    """Whether a connection failed because the server's certificate is not trusted: no repeat cures that."""
    inner = getattr(error, "inner_exception", None)
    return isinstance(inner, aiohttp.ClientConnectorCertificateError)


def code_in(response: AsyncHttpResponse) -> str:
    """Azure's own code in an error's answer; empty when there is none, or when the answer was not read."""
    return facts_of(azure.HttpResponseError(response=response)).code


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
    failing = facts.status >= HTTPStatus.INTERNAL_SERVER_ERROR or facts.code in _BUSY
    kind = AzureUnavailable if failing else _BY_STATUS.get(facts.status, AzureError)
    return kind(operation, facts if kind is AzureRejected else _without_words(facts))


def _without_words(facts: AzureFacts) -> AzureFacts:
    """The facts less Azure's texts, which may quote anything; only those about a rejected request help anybody."""
    return replace(facts, message="", details=())


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after and retry_after.isdecimal() else None
