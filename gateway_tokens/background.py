"""What runs without a caller: the timer's sweep and the queue's events. Both fail loudly, and both may be repeated."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING

from .errors import EventInvalid, SweepFailed
from .events import read_events
from .log_lines import correlation, log_line
from .reacting import Reactions
from .report import failure_of
from .sweeping import sweep

if TYPE_CHECKING:
    from collections.abc import Callable

    from .ports import World

# After so many tries the host moves a message to the poison queue: `maxDequeueCount` in host.json.
MOST_DEQUEUES = 5


class Background:
    """Work over a world that is put together on first use; `open_world` raises SettingsInvalid."""

    def __init__(self, open_world: Callable[[], World]) -> None:
        self._open_world = open_world
        self._reactions = Reactions()

    async def sweep(self) -> None:
        """Sweep the whole estate. Raises SweepFailed after the last row when any failed, so that the run turns red."""
        correlation.set(str(uuid.uuid4()))
        report = await sweep(self._open_world())
        if report.failed:
            raise SweepFailed(report.failed, report.total)

    async def take(self, message: bytes, dequeue_count: int) -> None:
        """Act on a queue message.

        Raises EventInvalid for one that cannot be read: the host moves it to the poison queue after so many tries.
        """
        correlation.set(str(uuid.uuid4()))
        try:
            await self._react(message, dequeue_count)
        except Exception as error:
            if dequeue_count >= MOST_DEQUEUES:
                code, said = failure_of(error)
                log_line("event.poisoned", logging.ERROR, code=code, error=said, dequeueCount=dequeue_count)
            raise

    async def _react(self, message: bytes, dequeue_count: int) -> None:
        world = self._open_world()
        try:
            events = read_events(message)
        except EventInvalid as error:
            log_line("event.rejected", logging.ERROR, reason=error.reason, dequeueCount=dequeue_count)
            raise
        for event in events:
            await self._reactions.react(world, event)
