"""What several rows depend on, and fail with together: a vault, a cluster, a service. A dead one is tried once, not per row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from gateway_tokens.errors import (
    AzureError,
    AzureUnavailable,
    GatewayTokensError,
    IdentityUnavailable,
    SignInRefused,
)

AT_ONCE = 16  # requests to one of them at a time
PROBE_AFTER = 30.0  # seconds after which one row tries a dead one again
_BUSY = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}


@dataclass(slots=True)
class _Cause:
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    failure: GatewayTokensError | None = None
    suspects: set[str] = field(default_factory=set)
    tried_at: float = 0.0


class Causes:
    """The causes of one run, by name; `monotonic` gives seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._causes: dict[str, _Cause] = {}

    @asynccontextmanager
    async def used(self, name: str, row: str) -> AsyncIterator[None]:
        """Around a row's requests to what has that name. Raises the failure of a dead one without a request."""
        cause = self._causes.setdefault(name, _Cause())
        async with cause.turns:
            if cause.failure and self._monotonic() < cause.tried_at + PROBE_AFTER:
                raise cause.failure
            cause.tried_at = self._monotonic()
            try:
                yield
            except GatewayTokensError as error:
                self._learn(cause, row, error)
                raise
            cause.failure = None
            cause.suspects.clear()

    def _learn(self, cause: _Cause, row: str, error: GatewayTokensError) -> None:
        if _is_its_own(error):
            cause.failure = error
        elif _may_be_its_own(error):
            cause.suspects.add(row)
            if len(cause.suspects) > 1:
                cause.failure = error
        if cause.failure is error:
            cause.tried_at = self._monotonic()


def _is_its_own(error: GatewayTokensError) -> bool:
    """No connection, no trust, no sign-in: true for every row. An answer to one row's request is that row's alone."""
    if isinstance(error, IdentityUnavailable | SignInRefused):
        return True
    return isinstance(error, AzureUnavailable) and error.facts.status == 0 and not error.facts.timed_out


def _may_be_its_own(error: GatewayTokensError) -> bool:
    """Whether the same from a second row would tell that it is not the row."""
    return isinstance(error, AzureError) and (error.facts.timed_out or error.facts.status in _BUSY)
