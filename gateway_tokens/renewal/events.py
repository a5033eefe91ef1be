"""API Management's own events, as Event Grid puts them into the queue: both schemas, every published spelling."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from gateway_tokens.errors import EventInvalid
from gateway_tokens.parsing import read_json
from gateway_tokens.tokens import ServiceId, is_gateway_id

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


def read_events(body: bytes) -> list[GatewayEvent]:
    """The events of a queue message, less those that do not concern us. Raises EventInvalid.

    Times and expiries are aware UTC. Event Grid may or may not encode the text in base64: both are read.
    """
    document, faults = read_json(_plain(body), "message")
    if faults:
        raise EventInvalid(str(faults[0]))
    found = [_read_event(one) for one in (document if isinstance(document, list) else [document])]
    return [event for event in found if event is not None]


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
        if found := _RESOURCE.match(str(candidate or "")):
            try:
                return ServiceId.parse(f"{found['service']}providers/{found['type']}")
            except ValueError:
                continue
    raise EventInvalid("it names no API Management service")


def _gateway(gateway_id: object, resource_uri: object, subject: list[str]) -> str:
    """The gateway's name: bare or the last part of an address, else from the subject `/gateways/{name}/...`."""
    found = _RESOURCE.match(str(resource_uri or ""))
    named = [
        str(gateway_id or "").rstrip("/").rpartition("/")[2],
        (found and found["gateway"]) or "",
        subject[1] if len(subject) > 1 and subject[0].lower() == "gateways" else "",
    ]
    name = next(filter(None, named), "")
    if not is_gateway_id(name):
        raise EventInvalid("it names no gateway")
    return name


def _expiry(kind: EventKind, token: Mapping[str, Any], time: datetime) -> datetime:
    """The token's expiry under either published name, else what the kind of event implies."""
    said = _moment(token.get("expiresatutc") or token.get("expiredatutc"))
    return said or (time + NEAR_EXPIRY if kind is EventKind.TOKEN_NEAR_EXPIRY else time)


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    # Of the first and the last year, a zone or a week more would be beyond what can be told.
    if not MINYEAR < moment.year < MAXYEAR:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
