"""The values of the plan: what was observed of a row, what is to be done with it, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from .ledger import Held
    from .model import GatewayRef
    from .settings import GatewayRule


class Action(StrEnum):
    """What the plan asks for."""

    KEEP = "keep"
    RENEW = "renew"
    RESTART = "restart"
    REFUSE = "refuse"


class Reason(StrEnum):
    """Why. Stable names: log queries and the runbook use them."""

    NOT_STORED = "not_stored"
    NOT_OWNED = "not_owned"
    OWNED_BY_ANOTHER = "owned_by_another"
    ADOPTED = "adopted"
    UNREADABLE = "unreadable"
    OTHER_GATEWAYS_TOKEN = "other_gateways_token"  # noqa: S105 - a reason's name
    EXPIRED = "expired"
    WRONG_KEY = "wrong_key"
    FORCED = "forced"
    LITTLE_LEFT = "little_left"
    IN_RENEWAL_WINDOW = "in_renewal_window"
    NOT_RESTARTED = "not_restarted"
    NOT_PICKED_UP = "not_picked_up"
    FRESH = "fresh"
    # Not planned, but found on the way.
    NOT_OBSERVED = "not_observed"  # reading the destination failed
    NOT_LISTED = "not_listed"  # listing the service's gateways failed
    GATEWAY_GONE = "gateway_gone"  # the settings name it, the service does not have it


@dataclass(frozen=True, slots=True)
class Decision:
    """An action, its reason, and a sentence for people."""

    action: Action
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Observed:
    """One row as it was found: a gateway's token at one destination."""

    ref: GatewayRef
    row: str  # names gateway and place, stable over runs
    rule: GatewayRule
    owner: str  # what this app's label says when the row is its own
    adopt: bool
    held: Held | None
    interval: timedelta  # between sweeps
    renew_by: datetime | None = None  # asked for: renew what expires by then
    picked_up: bool = True  # False: Azure says that the gateway still runs an older token

    @property
    def expiry(self) -> datetime | None:
        """When the token now there expires; None when none is there."""
        return self.held.token.expiry if self.held is not None and self.held.token is not None else None
