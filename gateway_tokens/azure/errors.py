"""One operation in Azure, a vault or a cluster: bounded in time, repeated while a repeat may succeed; a refusal becomes an error of this app.

Azure's exceptions become this app's errors here, without their texts: those may quote the body of an answer. azure-core's retry
policy repeats requests. What its options cannot say is in `Retry`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp
from azure.core import exceptions as azure
from azure.core.pipeline.policies import AsyncRetryPolicy

from gateway_tokens.errors import (
    AzureBlocked,
    AzureError,
    AzureFacts,
    AzureForbidden,
    AzureNotFound,
    AzureRejected,
    AzureThrottled,
    AzureUnavailable,
    Fault,
    IdentityUnavailable,
)

if TYPE_CHECKING:
    from azure.core.pipeline import PipelineRequest, PipelineResponse
    from azure.core.rest import AsyncHttpResponse


_LONGEST_TEXT = 500
_SOMETHING_ELSE = (
    "The answer does not have the form of this operation's answers. Check whether a proxy answered."
)
_NOT_TRUSTED = "The server's certificate is not trusted. Name its certificate authority in CA_FILE or, for a cluster, in certificateAuthority."
# API Management's codes for "another change is under way", with a status that elsewhere means something else.
_BUSY = frozenset({"PessimisticConcurrencyConflict", "ManagementApiRequestFailed"})
_POLICY = "An Azure policy forbids it. Ask the owner of the policy to exempt what this app writes."
# What no repeat, role or other request can change, by Azure's innermost code.
_BLOCKED = {
    "ScopeLocked": "A lock makes the resource read-only. Remove the lock, or change it to CanNotDelete.",
    "ReadOnlyDisabledSubscription": "The subscription is disabled and therefore read-only. Enable it.",
    "SubscriptionNotRegistered": "The subscription has not registered the resource provider. Register it.",
    "RequestDisallowedByPolicy": _POLICY,
    "RequestDisallowedByAzure": _POLICY,
    "ForbiddenByGovernancePolicy": _POLICY,
    "ForbiddenByPolicy": "The vault uses access policies in place of roles. Add one with get and set for the app, or use roles.",
    "MethodNotAllowedInPricingTier": "The tier of this API Management service has no self-hosted gateways.",
    "InvalidAuthenticationTokenTenant": "The resource trusts another tenant than the tenant of the app's identity. Use an identity of the resource's tenant.",
    "InvalidAuthenticationTokenAudience": "The resource does not accept the audience of the app's token. Correct ARM_SCOPE.",
}
# Refusals that a role changes. Any other 403 is reported without advice.
_ROLE_LACKS = frozenset(
    {"", "AuthorizationFailed", "LinkedAuthorizationFailed", "Forbidden", "ForbiddenByRbac", "AccessDenied",
     "AuthorizationPermissionMismatch", "AuthorizationFailure", "InsufficientAccountPermissions"}
)  # fmt: skip
_NOT_SIGNED_IN = "The resource does not accept the app's sign-in. Check that it trusts the tenant of the app's identity, and check ARM_SCOPE."
# What is in the caller's request. Other bad requests are faults of the estate.
_INVALID = frozenset({"ValidationError", "InvalidParameters", "InvalidRequestContent", "BadParameter"})
_BY_STATUS: dict[int, type[AzureError]] = {
    HTTPStatus.NOT_FOUND: AzureNotFound,
    HTTPStatus.REQUEST_TIMEOUT: AzureUnavailable,
    HTTPStatus.TOO_MANY_REQUESTS: AzureThrottled,
}


class NoAccessToken(azure.ClientAuthenticationError):
    """The identity endpoint gave no access token; the text says for which audience."""


def object_in(response: AsyncHttpResponse) -> dict[str, Any]:
    """The JSON object that was answered. Raises the SDK's DecodeError for anything else, a proxy's page perhaps."""
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise azure.DecodeError("no JSON object", response=response)
    return answer


def _facts_of(error: azure.HttpResponseError) -> AzureFacts:
    """What Azure answered, in the parts that may be passed on; texts are cut to a sensible length."""
    answer: Any = error.error
    response: Any = error.response
    headers = response.headers if response is not None else {}
    retry_after = headers.get("retry-after", "")
    details = [
        Fault(str(detail.target or "request"), f"{detail.code}: {detail.message}"[:_LONGEST_TEXT])
        for detail in (getattr(answer, "details", None) or [])
    ]
    return AzureFacts(
        status=error.status_code or 0,
        code=_innermost_code(answer),
        message=str(getattr(answer, "message", None) or "")[:_LONGEST_TEXT],
        details=tuple(details),
        request_id=headers.get("x-ms-correlation-request-id") or headers.get("x-ms-request-id") or "",
        retry_after=float(retry_after) if retry_after.isdecimal() else None,
    )


def _innermost_code(answer: Any) -> str:
    """The code of the innermost error: the outer ones say the same of many causes."""
    code, inner = getattr(answer, "code", None), getattr(answer, "innererror", None)
    while isinstance(inner, dict):
        code, inner = inner.get("code") or code, inner.get("innererror")
    return str(code or "")


def _from_response(  # noqa: PLR0911 - a rule a line, in their order
    name: str, error: azure.HttpResponseError, action: str, scope: str
) -> AzureError:
    facts = _facts_of(error)
    # Without Azure's texts, which may quote anything: only those about a rejected request are useful.
    plain = replace(facts, message="", details=())
    if isinstance(error, NoAccessToken):
        return IdentityUnavailable(name, plain, str(error))
    if facts.code in _BLOCKED:
        return AzureBlocked(name, plain, _BLOCKED[facts.code])
    if facts.status == HTTPStatus.UNAUTHORIZED:
        return AzureBlocked(name, plain, _NOT_SIGNED_IN)
    if facts.status == HTTPStatus.FORBIDDEN and facts.code in _ROLE_LACKS:
        return AzureForbidden(name, plain, action, scope)
    if facts.status == HTTPStatus.OK:
        return AzureError(name, plain, _SOMETHING_ELSE)
    if facts.status >= HTTPStatus.INTERNAL_SERVER_ERROR or facts.code in _BUSY:
        return AzureUnavailable(name, plain)
    if facts.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY} and facts.code in _INVALID:
        return AzureRejected(name, facts)
    return _BY_STATUS.get(facts.status, AzureError)(name, plain)


# Seconds that one operation may take, its repeats included; waiting for a turn in ARM's budget comes before it.
OPERATION_SECONDS = 25.0
CONNECT_SECONDS, READ_SECONDS = 5.0, 20.0
# Three tries more, after 0, 1.6 and 3.2 seconds, or when Retry-After says.
TRIES = 4
_RETRY: dict[str, Any] = {"retry_total": TRIES - 1, "retry_backoff_factor": 0.8, "retry_backoff_max": 8}
# API Management answers so while another change of the same service is under way. Elsewhere these are final.
BUSY_STATUSES = (409, 412, 422)

_answers: ContextVar[list[AsyncHttpResponse] | None] = ContextVar("answers", default=None)


class Retry(AsyncRetryPolicy[Any, Any]):
    """azure-core's policy, without errors that last, and without a Retry-After that no operation can wait for."""

    def __init__(self, *more_statuses: int) -> None:
        super().__init__(retry_on_status_codes=more_statuses, **_RETRY)

    def is_retry(self, settings: dict[str, Any], response: PipelineResponse[Any, Any]) -> bool:
        """Whether to repeat after this answer."""
        return (
            bool(super().is_retry(settings, response))
            and (self.get_retry_after(response) or 0) < OPERATION_SECONDS
            and _facts_of(azure.HttpResponseError(response=response.http_response)).code not in _BLOCKED
        )

    def increment(
        self,
        settings: dict[str, Any],
        response: PipelineRequest[Any] | PipelineResponse[Any, Any] | None = None,
        error: Exception | None = None,
    ) -> bool:
        """Count a try; whether another one may follow."""
        return not _not_trusted(error) and super().increment(settings, response, error)

    def get_retry_after(self, response: PipelineResponse[Any, Any]) -> float | None:
        """Seconds that the answer asks for; None also for a text that azure-core would raise over."""
        try:
            return super().get_retry_after(response)
        except (ValueError, TypeError, OverflowError):
            return None


@asynccontextmanager
async def operation(name: str, *, action: str, scope: str) -> AsyncIterator[None]:
    """Around one operation: at most 25 seconds, and Azure's exceptions are raised as AzureError of `name`.

    `action` at `scope` is the right that it needs. When the time is over, the error has what Azure answered last.
    No cause is chained: its text may hold the body of an answer, and exception text reaches telemetry.
    """
    answers: list[AsyncHttpResponse] = []
    token = _answers.set(answers)
    try:
        async with asyncio.timeout(OPERATION_SECONDS):
            yield
    except TimeoutError:
        # A vault's 401 is its challenge, which the client has followed: a final one was raised.
        last = answers[-1].status_code if answers else HTTPStatus.OK
        if last < HTTPStatus.BAD_REQUEST or last == HTTPStatus.UNAUTHORIZED:
            raise AzureUnavailable(name, AzureFacts(timed_out=True)) from None
        raise _from_response(name, azure.HttpResponseError(response=answers[-1]), action, scope) from None
    except azure.IncompleteReadError:
        # To the SDK an answer with bad content; it is a connection that broke within the answer.
        raise AzureUnavailable(name, AzureFacts()) from None
    except azure.HttpResponseError as error:
        raise _from_response(name, error, action, scope) from None
    except azure.AzureError as error:
        raise AzureUnavailable(name, AzureFacts(), _NOT_TRUSTED if _not_trusted(error) else "") from None
    finally:
        _answers.reset(token)


def _not_trusted(error: Exception | None) -> bool:
    """Whether a connection failed because the server's certificate is not trusted: no repeat changes that."""
    inner = getattr(error, "inner_exception", None)
    return isinstance(inner, aiohttp.ClientConnectorCertificateError)


def keep_answer(response: PipelineResponse[Any, Any]) -> None:
    """A pipeline's `raw_response_hook`: keeps the last answer of the operation under way."""
    answers = _answers.get()
    if answers is not None:
        answers[:] = [response.http_response]
