"""Messages that ask for runs: one per subscription, validated like any input."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, Field

from gateway_tokens.access import matches, overlap
from gateway_tokens.errors import Fault, MessageInvalid
from gateway_tokens.estate.schema import Estate
from gateway_tokens.parsing import StrictModel, read_json, read_model
from gateway_tokens.tokens import GatewayRef

SCHEDULE = "schedule"  # who asks for a run that nobody asks for
EVERYTHING = ("*/*",)


class RunRequest(StrictModel):
    """A message that asks for a run of one subscription's services."""

    subscription: str = Field(min_length=1)
    run: str = Field(min_length=1, max_length=64)
    asked_at: AwareDatetime
    asked_by: str = SCHEDULE
    gateways: tuple[str, ...] = EVERYTHING
    force: bool = False
    expires_before: AwareDatetime | None = None

    @property
    def whole(self) -> bool:
        """Whether it asks for every gateway."""
        return "*/*" in self.gateways

    def selects(self, ref: GatewayRef) -> bool:
        """Whether it asks for this gateway."""
        return any(matches(pattern, str(ref)) for pattern in self.gateways)

    def concerns(self, service: str) -> bool:
        """Whether it may ask for some gateway of the service."""
        return any(overlap(pattern, f"{service}/*") for pattern in self.gateways)

    def covers(self, other: RunRequest) -> bool:
        """Whether a run for this request does all that the other asks for."""
        selection = self.whole or set(other.gateways) <= set(self.gateways)
        forced = self.force and self.asked_at >= other.asked_at
        later = self.expires_before and other.expires_before and self.expires_before >= other.expires_before
        return (
            selection and (not other.force or forced) and (not other.expires_before or bool(later or forced))
        )


def run_requests(estate: Estate, now: datetime, run: str = "", **more: Any) -> list[RunRequest]:  # noqa: ANN401 - its fields
    """One request for each subscription that has a service with something to renew."""
    subscriptions = {s.resource_id.subscription_id for s in estate.services.values() if s.delivers}
    run = run or str(uuid.uuid4())
    return [RunRequest(subscription=name, run=run, asked_at=now, **more) for name in sorted(subscriptions)]


def as_message(request: RunRequest) -> str:
    """The request as the text of a queue message."""
    return request.model_dump_json(by_alias=True, exclude_none=True)


def read_message(body: bytes) -> RunRequest:
    """The request in a queue message. Raises MessageInvalid."""
    document, faults = read_json(body, "message")
    request, more = read_model(RunRequest, document) if not faults else (None, [])
    if request is None:
        raise MessageInvalid([*faults, *more] or [Fault("message", "is not a request")])
    return request
