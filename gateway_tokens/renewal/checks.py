"""The plan: what to do with one row, and why. The checks are asked in their order, and the first that hits decides."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from gateway_tokens.estate.schedule import FEW_SWEEPS
from gateway_tokens.estate.schema import GatewayRule
from gateway_tokens.stored import StoredToken
from gateway_tokens.tokens import GatewayRef


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
    row: str  # names gateway and location, stable over runs
    rule: GatewayRule
    owner: str  # what this app's ownership says when the row is its own
    adopt: bool
    stored: StoredToken | None
    interval: timedelta  # between sweeps
    renew_by: datetime | None = None  # asked for: renew what expires by then
    picked_up: bool = True  # False: Azure says that the gateway still runs an older token

    @property
    def expiry(self) -> datetime | None:
        """When the token now there expires; None when none is there."""
        return self.stored.token.expiry if self.stored is not None and self.stored.token is not None else None


# Sweeps in a row that may fail to see a token before it counts as at risk: its expiry is unknown by then.
BLIND_SWEEPS = 3
# Renewals of an estate spread over a tenth of the renewal window, each row always at its own point.
_JITTER = 10


def due_at(row: str, rule: GatewayRule, expiry: datetime) -> datetime:
    """When the row's token is to be renewed: at the window's start or, by the row's own jitter, a little earlier.

    The window is measured back from the token's expiry, so that the token alone tells it; the jitter is a stable
    function of the row's name. It takes no more than a tenth of what comes before the window either: else a token with
    a wide window would be due from birth.
    """
    share = int.from_bytes(hashlib.sha256(row.encode()).digest()[:4]) / 2**32
    spread = min(rule.window, rule.lifetime - rule.window) / _JITTER
    return expiry - rule.window - spread * share


def little_left(expiry: datetime, interval: timedelta, now: datetime) -> bool:
    """Whether only a few sweeps remain before the expiry; `interval` is the pause between sweeps."""
    return expiry - now <= FEW_SWEEPS * interval


def at_risk_from(rule: GatewayRule, expiry: datetime) -> datetime:
    """From when on a token that is still there counts as at risk."""
    return expiry - rule.margin


def _not_stored(row: Observed, _: datetime) -> Decision | None:
    if row.stored is None:
        return _renew(Reason.NOT_STORED, "nothing is stored yet")
    return None


def _not_owned(row: Observed, _: datetime) -> Decision | None:
    if row.stored is None or row.adopt or row.stored.ownership is not None:
        return None
    said = "something this app did not write is stored there; `adopt: true` takes it over"
    return Decision(Action.REFUSE, Reason.NOT_OWNED, said)


def _owned_by_another(row: Observed, _: datetime) -> Decision | None:
    ownership = row.stored.ownership if row.stored else None
    if ownership is None or row.adopt or ownership.owner == row.owner:
        return None
    said = f"it belongs to '{ownership.owner}'; `adopt: true` takes it over"
    return Decision(Action.REFUSE, Reason.OWNED_BY_ANOTHER, said)


def _adopted(row: Observed, _: datetime) -> Decision | None:
    ownership = row.stored.ownership if row.stored else None
    if row.stored is not None and (ownership is None or ownership.owner != row.owner):
        return _renew(Reason.ADOPTED, "what was there is taken over")
    return None


def _unreadable(row: Observed, _: datetime) -> Decision | None:
    if row.stored is not None and row.stored.token is None:
        return _renew(Reason.UNREADABLE, "what is stored is no token")
    return None


def _other_gateways_token(row: Observed, _: datetime) -> Decision | None:
    token = row.stored.token if row.stored else None
    if token is not None and not token.is_for(row.ref.gateway):
        return _renew(Reason.OTHER_GATEWAYS_TOKEN, f"what is stored is a token of '{token.gateway_id}'")
    return None


def _expired(row: Observed, now: datetime) -> Decision | None:
    expiry = row.expiry
    if expiry is not None and expiry <= now:
        return _renew(Reason.EXPIRED, f"expired on {expiry:%Y-%m-%d %H:%M} UTC")
    return None


def _wrong_key(row: Observed, _: datetime) -> Decision | None:
    ownership = row.stored.ownership if row.stored else None
    if ownership is not None and ownership.key_type != row.rule.key_type:
        return _renew(
            Reason.WRONG_KEY, f"signed by the {ownership.key_type} key, wanted is {row.rule.key_type}"
        )
    return None


def _forced(row: Observed, _: datetime) -> Decision | None:
    if row.renew_by is not None and row.expiry is not None and row.expiry <= row.renew_by:
        return _renew(Reason.FORCED, "asked for")
    return None


def _little_left(row: Observed, now: datetime) -> Decision | None:
    expiry = row.expiry
    if expiry is not None and little_left(expiry, row.interval, now):
        return _renew(Reason.LITTLE_LEFT, f"expires on {expiry:%Y-%m-%d %H:%M} UTC, a few sweeps from now")
    return None


def _in_renewal_window(row: Observed, now: datetime) -> Decision | None:
    expiry = row.expiry
    if expiry is not None and due_at(row.row, row.rule, expiry) <= now:
        return _renew(Reason.IN_RENEWAL_WINDOW, f"expires on {expiry:%Y-%m-%d %H:%M} UTC")
    return None


def _not_restarted(row: Observed, _: datetime) -> Decision | None:
    if row.stored is not None and row.stored.restart_due:
        said = "the token was delivered, but the gateway was not restarted since"
        return Decision(Action.RESTART, Reason.NOT_RESTARTED, said)
    return None


def _not_picked_up(row: Observed, _: datetime) -> Decision | None:
    if row.picked_up:
        return None
    said = "the token was delivered, but the gateway still runs an older one"
    return Decision(Action.RESTART, Reason.NOT_PICKED_UP, said)


def _fresh(row: Observed, _: datetime) -> Decision | None:
    expiry = row.expiry
    due = f"due on {due_at(row.row, row.rule, expiry):%Y-%m-%d %H:%M} UTC" if expiry else ""
    return Decision(Action.KEEP, Reason.FRESH, due)


def _renew(reason: Reason, message: str) -> Decision:
    return Decision(Action.RENEW, reason, message)


# In this order. Whether a location may be written to comes before whether it should be.
CHECKS: tuple[Callable[[Observed, datetime], Decision | None], ...] = (
    _not_stored,
    _not_owned,
    _owned_by_another,
    _adopted,
    _unreadable,
    _other_gateways_token,
    _expired,
    _wrong_key,
    _forced,
    _little_left,
    _in_renewal_window,
    _not_restarted,
    _not_picked_up,
    _fresh,
)


def decide(row: Observed, now: datetime) -> Decision:
    """What the first check that hits says. A row that failed before is tried again at every sweep."""
    return next(decision for check in CHECKS if (decision := check(row, now)))
