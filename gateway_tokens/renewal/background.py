"""What runs without a caller: the timer's sweep and the queue's events. Both fail loudly, and both may be repeated.

In a healthy estate the token events never fire, so one that does means that some instance still runs an old token: if
ours is old too, renew it; if ours is newer, the gateway was not restarted.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from gateway_tokens.errors import EventInvalid, SweepFailed
from gateway_tokens.logs import correlation, log_line
from gateway_tokens.renewal.parts import App

from .checks import Reason
from .events import NEAR_EXPIRY, EventKind, GatewayEvent, read_events
from .gateway import EVENT, Unit
from .record import SweepRecord
from .report import Outcome, failure_of, row_name
from .run import keep_and_remember, remembered, sweep, terms_of
from .service import unit_of

# Every replica sends its own event, and goes on sending while it fails to sign in: one reaction covers them all.
FOLD = timedelta(hours=1)
_TOKEN_EVENTS = frozenset({EventKind.TOKEN_NEAR_EXPIRY, EventKind.TOKEN_EXPIRED})


class Reactions:
    """Reacts to events, one at a time for each gateway."""

    def __init__(self) -> None:
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def react(self, app: App, event: GatewayEvent) -> None:
        """Do what the event calls for. Raises AzureError when the sweep record cannot be written."""
        units = [
            unit_of(name, service, event.gateway)
            for name, service in app.settings.estate.services.items()
            if str(service.resource_id).casefold() == str(event.service).casefold()
        ]
        managed = [unit for unit in units if unit is not None]
        if not managed:
            log_line("event.ignored", kind=event.kind, gateway=event.gateway, reason="not_managed")
        for unit in managed:
            async with self._turns[_named(unit)]:
                await _react(app, unit, event)


async def _react(app: App, unit: Unit, event: GatewayEvent) -> None:
    about: dict[str, Any] = {"kind": event.kind, "gateway": unit.ref.gateway, "instance": event.instance}
    if event.kind is EventKind.DELETED:
        log_line("gateway.retired", logging.WARNING, service=unit.ref.service, **about)
        await app.sweeps.update(lambda record: _forget(record, unit))
        return
    record = await remembered(app)
    last = record.reactions.get(_named(unit))
    if event.kind in _TOKEN_EVENTS and last is not None and event.time <= last + FOLD:
        log_line("event.folded", service=unit.ref.service, **about)
        return
    log_line("event.taken", service=unit.ref.service, expiry=event.expiry, **about)
    await _act(app, unit, event, record)


async def _act(app: App, unit: Unit, event: GatewayEvent, record: SweepRecord) -> None:
    terms = replace(terms_of(app, record), caller=EVENT)
    if event.kind in _TOKEN_EVENTS:
        # A token whose window is shorter than the notice is healthy when the notice comes: the plan alone decides.
        asked = event.kind is EventKind.TOKEN_EXPIRED or unit.rule.window >= NEAR_EXPIRY
        terms = replace(terms, renew_by=event.expiry if asked else None, picked_up=not asked)
    report = await keep_and_remember(
        app, unit, terms, record, lambda after: _reacted(after, unit, app.clock())
    )
    for row in report.rows if event.kind in _TOKEN_EVENTS else ():
        if row.reason is Reason.NOT_PICKED_UP or row.outcome is Outcome.NOT_RESTARTED:
            log_line(
                "gateway.not_picked_up",
                logging.ERROR,
                service=unit.ref.service,
                gateway=unit.ref.gateway,
                instance=event.instance,
                destination=row.location,
                outcome=row.outcome or "",
            )


def _reacted(record: SweepRecord, unit: Unit, now: datetime) -> SweepRecord:
    recent = {ref: at for ref, at in record.reactions.items() if now - at <= FOLD}
    return replace(record, reactions={**recent, _named(unit): now})


def _named(unit: Unit) -> str:
    return str(unit.ref).casefold()


def _forget(record: SweepRecord, unit: Unit) -> SweepRecord:
    mine = row_name(unit.ref, "")
    return replace(record, troubles={n: t for n, t in record.troubles.items() if not n.startswith(mine)})


# After so many tries the host moves a message to the poison queue: `maxDequeueCount` in host.json.
MOST_DEQUEUES = 5


class Background:
    """Work over an app that is put together on first use; `open_app` raises SettingsInvalid."""

    def __init__(self, open_app: Callable[[], App]) -> None:
        self._open_app = open_app
        self._reactions = Reactions()

    async def sweep(self) -> None:
        """Sweep the whole estate. Raises SweepFailed after the last row when any failed, so that the run turns red."""
        correlation.set(str(uuid.uuid4()))
        report = await sweep(self._open_app())
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
        app = self._open_app()
        try:
            events = read_events(message)
        except EventInvalid as error:
            log_line("event.rejected", logging.ERROR, reason=error.reason, dequeueCount=dequeue_count)
            raise
        for event in events:
            await self._reactions.react(app, event)
