"""Use case: act on API Management's events.

In a healthy estate the token events never fire, so one that does means that some instance still runs an old token: if
ours is old too, renew it; if ours is newer, the gateway was not restarted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from .decisions import Reason
from .discovery import unit_of
from .events import NEAR_EXPIRY, EventKind, GatewayEvent
from .log_lines import log_line
from .report import Outcome, row_name
from .sweeping import keep_and_remember, remembered, terms_of
from .units import EVENT

if TYPE_CHECKING:
    from datetime import datetime

    from .ports import World
    from .sweep_record import SweepRecord
    from .units import Unit

# Every replica sends its own event, and goes on sending while it fails to sign in: one reaction covers them all.
FOLD = timedelta(hours=1)
_TOKEN_EVENTS = frozenset({EventKind.TOKEN_NEAR_EXPIRY, EventKind.TOKEN_EXPIRED})


class Reactions:
    """Reacts to events, one at a time for each gateway."""

    def __init__(self) -> None:
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def react(self, world: World, event: GatewayEvent) -> None:
        """Do what the event calls for. Raises AzureError when the sweep record cannot be written."""
        units = [
            unit_of(name, service, event.gateway)
            for name, service in world.settings.estate.services.items()
            if str(service.id).casefold() == str(event.service).casefold()
        ]
        managed = [unit for unit in units if unit is not None]
        if not managed:
            log_line("event.ignored", kind=event.kind, gateway=event.gateway, reason="not_managed")
        for unit in managed:
            async with self._turns[_named(unit)]:
                await _react(world, unit, event)


async def _react(world: World, unit: Unit, event: GatewayEvent) -> None:
    about: dict[str, Any] = {"kind": event.kind, "gateway": unit.ref.gateway, "instance": event.instance}
    if event.kind is EventKind.DELETED:
        log_line("gateway.retired", logging.WARNING, service=unit.ref.service, **about)
        await world.sweeps.update(lambda record: _forget(record, unit))
        return
    record = await remembered(world)
    last = record.reactions.get(_named(unit))
    if event.kind in _TOKEN_EVENTS and last is not None and event.time <= last + FOLD:
        log_line("event.folded", service=unit.ref.service, **about)
        return
    log_line("event.taken", service=unit.ref.service, expiry=event.expiry, **about)
    await _act(world, unit, event, record)


async def _act(world: World, unit: Unit, event: GatewayEvent, record: SweepRecord) -> None:
    terms = replace(terms_of(world, record), caller=EVENT)
    if event.kind in _TOKEN_EVENTS:
        # A token whose window is shorter than the notice is healthy when the notice comes: the plan alone decides.
        asked = event.kind is EventKind.TOKEN_EXPIRED or unit.rule.window >= NEAR_EXPIRY
        terms = replace(terms, renew_by=event.expiry if asked else None, picked_up=not asked)
    report = await keep_and_remember(
        world, unit, terms, record, lambda after: _reacted(after, unit, world.clock())
    )
    for row in report.rows if event.kind in _TOKEN_EVENTS else ():
        if row.reason is Reason.NOT_PICKED_UP or row.outcome is Outcome.NOT_RESTARTED:
            log_line(
                "gateway.not_picked_up",
                logging.ERROR,
                service=unit.ref.service,
                gateway=unit.ref.gateway,
                instance=event.instance,
                destination=row.place,
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
