"""What the timer and the queues bring, without a caller.

In a healthy estate API Management's token events never fire, so one that does means that some instance still runs an
old token: if ours is old too, renew it; if ours is newer, the gateway was not restarted. Every replica sends its own
event, and goes on sending while it fails to sign in: what is done for one may be done for each, since asking twice
changes nothing.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from gateway_tokens.logs import correlation, log_line
from gateway_tokens.parts import App

from .events import NEAR_EXPIRY, EventKind, GatewayEvent, read_events
from .report import failure_of
from .rows import Demand
from .run import SERVICE_SECONDS, Runs, as_message, read_message, reconcile_gateway, run_requests
from .service import managed

# After so many tries the host moves a message to the poison queue: `maxDequeueCount` in host.json.
MOST_DEQUEUES = 5
EVENT = "event"  # who asks for what an event asks for
_TOKEN_EVENTS = frozenset({EventKind.TOKEN_NEAR_EXPIRY, EventKind.TOKEN_EXPIRED})


class Queues:
    """Work over an app that is built on first use; `open_app` raises SettingsInvalid."""

    def __init__(self, open_app: Callable[[], App]) -> None:
        self._open_app = open_app
        self._runs = Runs()

    def due(self) -> list[str]:
        """The messages that ask for a run of the whole estate, one per subscription."""
        app = self._open_app()
        correlation.set(run := str(uuid.uuid4()))
        requests = run_requests(app.settings.estate, app.clock(), run)
        log_line("run.asked", run=run, subscriptions=len(requests))
        return [as_message(request) for request in requests]

    async def reconcile(self, body: bytes, dequeue_count: int) -> None:
        """Carry out a request for a run. Raises what kept the run from ending, and the host repeats the message."""

        async def work() -> None:
            await self._runs.reconcile(self._open_app(), read_message(body))

        await _repeated("run", work, dequeue_count)

    async def take(self, body: bytes, dequeue_count: int) -> None:
        """Act on a message of Event Grid. Raises EventInvalid for one that cannot be read."""

        async def work() -> None:
            for event in read_events(body):
                await react(self._open_app(), event)

        await _repeated("event", work, dequeue_count)


async def react(app: App, event: GatewayEvent) -> None:
    """Do what the event calls for."""
    gateways = [
        managed(name, service, event.gateway)
        for name, service in app.settings.estate.services.items()
        if str(service.resource_id).casefold() == str(event.service).casefold()
    ]
    about: dict[str, Any] = {"kind": event.kind, "gateway": event.gateway, "instance": event.instance}
    if not any(gateways):
        log_line("event.ignored", reason="not_managed", **about)
    for gateway in filter(None, gateways):
        if event.kind is EventKind.DELETED:
            log_line("gateway.gone", logging.WARNING, service=gateway.ref.service, **about)
            continue
        log_line("event.taken", service=gateway.ref.service, expiry=event.expiry, **about)
        demand = Demand(app.clock(), waits=True)
        if event.kind is EventKind.CREATED:
            # A gateway that was made anew under its name has new keys.
            demand = Demand(app.clock(), issued_before=event.time, waits=True)
        if event.kind in _TOKEN_EVENTS:
            # A token whose window is shorter than the notice is healthy when the notice comes: the plan alone decides.
            asked = event.kind is EventKind.TOKEN_EXPIRED or gateway.rule.window >= NEAR_EXPIRY
            expires_before = event.expiry if asked else None
            demand = Demand(app.clock(), expires_before=expires_before, picked_up=not asked, waits=True)
        await reconcile_gateway(app, gateway, demand, EVENT, SERVICE_SECONDS)


async def _repeated(kind: str, work: Callable[[], Awaitable[None]], dequeue_count: int) -> None:
    """Do the work; whatever it raises is logged, and told as poisoned at the last try."""
    correlation.set(str(uuid.uuid4()))
    try:
        await work()
    except Exception as error:
        code, text = failure_of(error).code, failure_of(error).text
        if dequeue_count < MOST_DEQUEUES:
            log_line(
                "message.failed", logging.ERROR, kind=kind, code=code, error=text, dequeueCount=dequeue_count
            )
        else:
            log_line(
                "message.poisoned",
                logging.ERROR,
                kind=kind,
                code=code,
                error=text,
                dequeueCount=dequeue_count,
            )
        raise
