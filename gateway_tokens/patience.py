"""How long we wait for Azure: one retry policy for every client, bounded in time, honouring Retry-After.

The SDK's own policy does not retry a POST after a 429 without Retry-After, a 502 or a dropped connection, and
sleeps for as long as a Retry-After says. Every request of ours may be repeated: issuing is a pure computation in
Azure, writes are guarded or replace a value by the same value.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import (
    ClientAuthenticationError,
    IncompleteReadError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.pipeline.policies import AsyncHTTPPolicy, AsyncRetryPolicy

from .errors import AzureFacts, AzureThrottled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from azure.core.pipeline import PipelineRequest, PipelineResponse

# Seconds one request may take with all its retries. A caller over HTTP is cut off at 230 s by the platform's load
# balancer: https://learn.microsoft.com/azure/azure-functions/functions-bindings-http-webhook-trigger (limits)
INTERACTIVE_PATIENCE = 60.0
SWEEP_PATIENCE = 300.0
CONNECT_TIMEOUT, READ_TIMEOUT = 5.0, 20.0
MOST_TRIES = 4  # of a failing service; a throttling one is tried again until patience ends
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0
_THROTTLED = 429
_WORTH_RETRYING = frozenset({408, _THROTTLED, 500, 502, 503, 504})

_patience: ContextVar[float] = ContextVar("patience", default=INTERACTIVE_PATIENCE)
_log = logging.getLogger(__name__)


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Requests made within may each take this long, all their retries included."""
    token = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(token)


def how_patient() -> float:
    """Seconds that one request may take here."""
    return _patience.get()


class PatientRetry(AsyncHTTPPolicy[Any, Any]):
    """Retries in the pipeline of one client. When Azure throttles one request, the client's others wait as well."""

    def __init__(self, monotonic: Callable[[], float], sleep: Callable[[float], Awaitable[None]]) -> None:
        super().__init__()
        self._monotonic, self._sleep = monotonic, sleep
        self._opens_at = 0.0
        self._sdk = AsyncRetryPolicy()

    async def send(self, request: PipelineRequest[Any]) -> PipelineResponse[Any, Any]:
        """The response, good or bad, once it is final; the last connection error when there is none."""
        ends_at = self._monotonic() + how_patient()
        for attempt in count(1):
            await self._wait_for_turn(ends_at)
            response, failure = await self._try(request, ends_at)
            pause = self._pause(response, attempt)
            if pause is None or self._monotonic() + pause >= ends_at:
                return _final(response, failure)
            _log.debug("attempt %d failed, trying again in %.1f s", attempt, pause)
            await self._sleep(pause)
        raise AssertionError("unreachable")

    async def _try(
        self, request: PipelineRequest[Any], ends_at: float
    ) -> tuple[PipelineResponse[Any, Any] | None, Exception | None]:
        try:
            async with asyncio.timeout(ends_at - self._monotonic()):
                return await self.next.send(request), None
        except ClientAuthenticationError:
            raise
        except TimeoutError:
            return None, ServiceResponseError("no answer in time")
        except IncompleteReadError:
            # To the SDK this is bad content; it is a connection that broke within the answer.
            return None, ServiceResponseError("the answer was cut off")
        except (ServiceRequestError, ServiceResponseError) as error:
            return None, error

    def _pause(self, response: PipelineResponse[Any, Any] | None, attempt: int) -> float | None:
        """Seconds until the next try; None when the response is final or tries are used up."""
        status = response.http_response.status_code if response else 0
        if status and status not in _WORTH_RETRYING:
            return None
        # Not for protection: clients that failed together should not come back together.
        backoff = min(_FIRST_PAUSE * 2 ** (attempt - 1), _LONGEST_PAUSE) * random.uniform(0.8, 1.2)  # noqa: S311
        pause = (self._asked_for(response) if response else 0.0) or backoff
        if status == _THROTTLED:
            self._opens_at = max(self._opens_at, self._monotonic() + pause)
            return pause
        return pause if attempt < MOST_TRIES else None

    def _asked_for(self, response: PipelineResponse[Any, Any]) -> float:
        """The seconds that Retry-After asks for; 0 when it is missing or means nothing."""
        try:
            return float(self._sdk.get_retry_after(response) or 0)
        except ValueError:
            return 0.0

    async def _wait_for_turn(self, ends_at: float) -> None:
        while (wait := self._opens_at - self._monotonic()) > 0:
            if self._opens_at >= ends_at:
                raise AzureThrottled("Waiting for a turn", AzureFacts(_THROTTLED, retry_after=wait))
            await self._sleep(wait)


def _final(
    response: PipelineResponse[Any, Any] | None, failure: Exception | None
) -> PipelineResponse[Any, Any]:
    if response is not None:
        return response
    raise failure or ServiceResponseError("no answer")
