"""What the timer and the queues bring, without a caller: runs, and API Management's own events.

In a healthy estate API Management's token events never fire, so one that does means that some instance still runs an
old token: if ours is old too, renew it; if ours is newer, the gateway was not restarted. Every replica sends its own
event, and goes on sending while it fails to sign in: what is done for one may be done for each, since asking twice
changes nothing. Event Grid sends both schemas, and every published spelling is read.
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from gateway_tokens.errors import EventInvalid
from gateway_tokens.logs import correlation, log_line
from gateway_tokens.parsing import read_json
from gateway_tokens.parts import App
from gateway_tokens.tokens import ServiceId, is_gateway_id

from .rows import Demand, why
from .run import SERVICE_SECONDS, Runs, as_message, read_message, reconcile_gateway, run_requests
from .service import managed

# After so many tries the host moves a message to the poison queue: `maxDequeueCount` in host.json.
MOST_DEQUEUES = 5
EVENT = "event"  # who asks for what an event asks for
# "Near" is seven days: https://learn.microsoft.com/azure/event-grid/event-schema-api-management
NEAR_EXPIRY = timedelta(days=7)
_RESOURCE = re.compile(
    r"(?P<service>/subscriptions/[^/]+/resourceGroups/[^/]+/)(?:providers/)?"
    r"(?P<type>Microsoft\.ApiManagement/service/[^/]+)(?:/gateways/(?P<gateway>[^/]+))?",
    re.IGNORECASE,
)


class EventKind(StrEnum):
    """The events that concern gateways and their tokens, spelt without separators."""

    TOKEN_NEAR_EXPIRY = "gatewaytokennearexpiry"  # noqa: S105 - an event's name
    TOKEN_EXPIRED = "gatewaytokenexpired"  # noqa: S105 - an event's name
    CREATED = "gatewaycreated"
    DELETED = "gatewaydeleted"


@dataclass(frozen=True, slots=True)
class GatewayEvent:
    """Something that happened to a gateway. `expiry` is that of the token an instance of it runs."""

    kind: EventKind
    service: ServiceId
    gateway: str
    instance: str
    time: datetime
    expiry: datetime


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
        demand = _demand(event, gateway.rule.window, app.clock())
        await reconcile_gateway(app, gateway, demand, EVENT, SERVICE_SECONDS)


def _demand(event: GatewayEvent, window: timedelta, now: datetime) -> Demand:
    """What an event asks for beside what is due, of a gateway whose tokens have that window."""
    demand = Demand(now, waits=True)
    if event.kind is EventKind.CREATED:
        # A gateway that was made anew under its name has new keys.
        return replace(demand, issued_before=event.time)
    if event.kind is EventKind.TOKEN_NEAR_EXPIRY and window < NEAR_EXPIRY:
        # A token whose window is shorter than the notice is healthy when the notice comes: the plan alone decides.
        return demand
    return replace(demand, expires_before=event.expiry, picked_up=False)


async def _repeated(kind: str, work: Callable[[], Awaitable[None]], dequeue_count: int) -> None:
    """Do the work; whatever it raises is logged, and told as poisoned at the last try."""
    correlation.set(str(uuid.uuid4()))
    try:
        await work()
    except Exception as error:
        if dequeue_count < MOST_DEQUEUES:
            log_line("message.failed", logging.ERROR, kind=kind, dequeueCount=dequeue_count, **why(error))
        else:
            log_line("message.poisoned", logging.ERROR, kind=kind, dequeueCount=dequeue_count, **why(error))
        raise


def read_events(body: bytes) -> list[GatewayEvent]:
    """The events of a queue message, less those that do not concern us. Raises EventInvalid.

    Times and expiries are aware UTC. Event Grid may or may not encode the text in base64: both are read.
    """
    document, faults = read_json(_plain(body), "message")
    if faults:
        raise EventInvalid(str(faults[0]))
    events = [_read_event(each) for each in (document if isinstance(document, list) else [document])]
    return [event for event in events if event is not None]


def _plain(body: bytes) -> bytes:
    if body.lstrip()[:1] in {b"{", b"["}:
        return body
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        return body


def _read_event(document: object) -> GatewayEvent | None:
    event = _lower(document)
    named = event.get("type") or event.get("eventtype")
    if not isinstance(named, str):
        raise EventInvalid("it has no type")
    try:
        kind = EventKind(named.lower().removeprefix("microsoft.apimanagement.").replace(".", ""))
    except ValueError:
        return None
    facts = _lower(event.get("data"))
    about, token = _lower(facts.get("gatewayinfo")), _lower(facts.get("tokeninfo"))
    time = _moment(event.get("time") or event.get("eventtime"))
    if time is None:
        raise EventInvalid("it has no time")
    subject = str(event.get("subject") or "").strip("/").split("/")
    return GatewayEvent(
        kind=kind,
        service=_service(
            event.get("source"), event.get("topic"), about.get("gatewayid"), facts.get("resourceuri")
        ),
        gateway=_gateway(about.get("gatewayid"), facts.get("resourceuri"), subject),
        instance=str(about.get("instanceid") or "/".join(subject[2:])),
        time=time,
        expiry=_expiry(kind, token, time),
    )


def _lower(document: object) -> dict[str, Any]:
    """An object with its names in lower case, since published samples differ in it; empty for anything else."""
    return (
        {str(name).lower(): value for name, value in document.items()} if isinstance(document, dict) else {}
    )


def _service(*candidates: object) -> ServiceId:
    for candidate in candidates:
        if match := _RESOURCE.match(str(candidate or "")):
            try:
                return ServiceId.parse(f"{match['service']}providers/{match['type']}")
            except ValueError:
                continue
    raise EventInvalid("it names no API Management service")


def _gateway(gateway_id: object, resource_uri: object, subject: list[str]) -> str:
    """The gateway's name: bare or the last part of an address, else from the subject `/gateways/{name}/...`."""
    match = _RESOURCE.match(str(resource_uri or ""))
    named = [
        str(gateway_id or "").rstrip("/").rpartition("/")[2],
        (match and match["gateway"]) or "",
        subject[1] if len(subject) > 1 and subject[0].lower() == "gateways" else "",
    ]
    name = next(filter(None, named), "")
    if not is_gateway_id(name):
        raise EventInvalid("it names no gateway")
    return name


def _expiry(kind: EventKind, token: dict[str, Any], time: datetime) -> datetime:
    """The token's expiry under either published name, else what the kind of event implies."""
    expiry = _moment(token.get("expiresatutc") or token.get("expiredatutc"))
    return expiry or (time + NEAR_EXPIRY if kind is EventKind.TOKEN_NEAR_EXPIRY else time)


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    # Of the first and the last year, a zone or a week more would be beyond what can be told.
    if not MINYEAR < moment.year < MAXYEAR:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
