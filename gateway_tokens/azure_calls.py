"""One call to Azure, a vault or a cluster: bounded in time, repeated while it may pass, refused in our own words.

azure-core's retry policy does the repeating. What it cannot be told by options is in `Retry`.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from azure.core.pipeline.policies import AsyncRetryPolicy

from .azure_errors import certificate_refused, code_in, cut_off, translated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from azure.core.pipeline import PipelineRequest, PipelineResponse
    from azure.core.rest import AsyncHttpResponse

# Seconds that one operation may take, its repeats included; waiting for a turn in ARM's budget comes before it.
OPERATION_SECONDS = 25.0
CONNECT_SECONDS, READ_SECONDS = 5.0, 20.0
# Three tries more, after 0, 1.6 and 3.2 seconds, or when Retry-After says.
TRIES = 4
_RETRY: dict[str, Any] = {"retry_total": TRIES - 1, "retry_backoff_factor": 0.8, "retry_backoff_max": 8}
# API Management answers so while another change of the same service is under way. Elsewhere these are final.
BUSY_STATUSES = (409, 412, 422)
# ... but these come with a status that may pass, and stay until a person acts.
_FINAL_CODES = frozenset({"ScopeLocked", "ReadOnlyDisabledSubscription", "RequestDisallowedByPolicy"})

_answers: ContextVar[list[AsyncHttpResponse] | None] = ContextVar("answers", default=None)


class Retry(AsyncRetryPolicy[Any, Any]):
    """azure-core's policy, less what cannot pass, and less a Retry-After that no operation can wait for."""

    def __init__(self, *more_statuses: int) -> None:
        super().__init__(retry_on_status_codes=more_statuses, **_RETRY)

    def is_retry(self, settings: dict[str, Any], response: PipelineResponse[Any, Any]) -> bool:
        """Whether to repeat after this answer."""
        return (
            bool(super().is_retry(settings, response))
            and (self.get_retry_after(response) or 0) < OPERATION_SECONDS
            and code_in(response.http_response) not in _FINAL_CODES
        )

    def increment(
        self,
        settings: dict[str, Any],
        response: PipelineRequest[Any] | PipelineResponse[Any, Any] | None = None,
        error: Exception | None = None,
    ) -> bool:
        """Count a try; whether another one may follow."""
        return not certificate_refused(error) and super().increment(settings, response, error)

    def get_retry_after(self, response: PipelineResponse[Any, Any]) -> float | None:
        """Seconds that the answer asks for; None also for a text that azure-core would raise over."""
        try:
            return super().get_retry_after(response)
        except (ValueError, TypeError, OverflowError):
            return None


@asynccontextmanager
async def operation(name: str, *, action: str, scope: str) -> AsyncIterator[None]:
    """Around one operation: at most 25 seconds, and Azure's exceptions are raised as AzureError of `name`.

    `action` at `scope` is the right that it needs. When the time is over, the error tells what Azure answered last.
    """
    answers: list[AsyncHttpResponse] = []
    token = _answers.set(answers)
    try:
        async with asyncio.timeout(OPERATION_SECONDS), translated(name, action=action, scope=scope):
            yield
    except TimeoutError:
        raise cut_off(name, answers, action=action, scope=scope) from None
    finally:
        _answers.reset(token)


def keep_answer(response: PipelineResponse[Any, Any]) -> None:
    """A pipeline's `raw_response_hook`: keeps the last answer of the operation under way."""
    answers = _answers.get()
    if answers is not None:
        answers[:] = [response.http_response]
