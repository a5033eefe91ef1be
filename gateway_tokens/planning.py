"""What to do with one row: an ordered list of named checks over what was observed and `now`; the first hit decides."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from .timing import at_risk_from, due_at, little_left, retry_at

if TYPE_CHECKING:
    from collections.abc import Callable
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
    WAIT = "wait"


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
    BACKING_OFF = "backing_off"
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
    failures: int = 0
    last_failure: datetime | None = None
    renew_by: datetime | None = None  # asked for: renew what expires by then
    picked_up: bool = True  # False: Azure says that the gateway still runs an older token


def decide(row: Observed, now: datetime) -> Decision:
    """The first check that hits, held back while the row is backing off from failures."""
    decision = next(hit for check in CHECKS if (hit := check(row, now)))
    # What was asked for is done at once, whatever other reason it also has.
    wait_until = None if _forced(row, now) else _backing_off_until(row, decision)
    if wait_until is not None and now < wait_until:
        said = f"failed {row.failures} times in a row, next try after {wait_until:%Y-%m-%d %H:%M} UTC"
        return Decision(Action.WAIT, Reason.BACKING_OFF, said)
    return decision


def _not_stored(row: Observed, _: datetime) -> Decision | None:
    if row.held is None:
        return _renew(Reason.NOT_STORED, "nothing is stored yet")
    return None


def _not_owned(row: Observed, _: datetime) -> Decision | None:
    if row.held is None or row.adopt or row.held.label is not None:
        return None
    said = "something this app did not write is stored there; `adopt: true` takes it over"
    return Decision(Action.REFUSE, Reason.NOT_OWNED, said)


def _owned_by_another(row: Observed, _: datetime) -> Decision | None:
    label = row.held.label if row.held else None
    if label is None or row.adopt or label.owner == row.owner:
        return None
    said = f"it belongs to '{label.owner}'; `adopt: true` takes it over"
    return Decision(Action.REFUSE, Reason.OWNED_BY_ANOTHER, said)


def _adopted(row: Observed, _: datetime) -> Decision | None:
    label = row.held.label if row.held else None
    if row.held is not None and (label is None or label.owner != row.owner):
        return _renew(Reason.ADOPTED, "what was there is taken over")
    return None


def _unreadable(row: Observed, _: datetime) -> Decision | None:
    if row.held is not None and row.held.token is None:
        return _renew(Reason.UNREADABLE, "what is stored is no token")
    return None


def _other_gateways_token(row: Observed, _: datetime) -> Decision | None:
    token = row.held.token if row.held else None
    if token is not None and not token.is_for(row.ref.gateway):
        return _renew(Reason.OTHER_GATEWAYS_TOKEN, f"what is stored is a token of '{token.gateway_id}'")
    return None


def _expired(row: Observed, now: datetime) -> Decision | None:
    expiry = _expiry(row)
    if expiry is not None and expiry <= now:
        return _renew(Reason.EXPIRED, f"expired on {expiry:%Y-%m-%d %H:%M} UTC")
    return None


def _wrong_key(row: Observed, _: datetime) -> Decision | None:
    label = row.held.label if row.held else None
    if label is not None and label.key_type != row.rule.key_type:
        return _renew(Reason.WRONG_KEY, f"signed by the {label.key_type} key, wanted is {row.rule.key_type}")
    return None


def _forced(row: Observed, _: datetime) -> Decision | None:
    expiry = _expiry(row)
    if row.renew_by is not None and expiry is not None and expiry <= row.renew_by:
        return _renew(Reason.FORCED, "asked for")
    return None


def _little_left(row: Observed, now: datetime) -> Decision | None:
    expiry = _expiry(row)
    if expiry is not None and little_left(expiry, row.interval, now):
        return _renew(Reason.LITTLE_LEFT, f"expires on {expiry:%Y-%m-%d %H:%M} UTC, a few sweeps from now")
    return None


def _in_renewal_window(row: Observed, now: datetime) -> Decision | None:
    expiry = _expiry(row)
    if expiry is not None and due_at(row.row, row.rule, expiry) <= now:
        return _renew(Reason.IN_RENEWAL_WINDOW, f"expires on {expiry:%Y-%m-%d %H:%M} UTC")
    return None


def _not_restarted(row: Observed, _: datetime) -> Decision | None:
    if row.held is not None and row.held.restart_due:
        said = "the token was delivered, but the gateway was not restarted since"
        return Decision(Action.RESTART, Reason.NOT_RESTARTED, said)
    return None


def _not_picked_up(row: Observed, _: datetime) -> Decision | None:
    if row.picked_up:
        return None
    said = "the token was delivered, but the gateway still runs an older one"
    return Decision(Action.RESTART, Reason.NOT_PICKED_UP, said)


def _fresh(row: Observed, _: datetime) -> Decision | None:
    expiry = _expiry(row)
    due = f"due on {due_at(row.row, row.rule, expiry):%Y-%m-%d %H:%M} UTC" if expiry else ""
    return Decision(Action.KEEP, Reason.FRESH, due)


# In this order. Whether a place may be written to comes before whether it should be.
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
# What there is nothing left to lose by trying at every sweep, however often it failed.
_URGENT = {
    Reason.NOT_STORED,
    Reason.UNREADABLE,
    Reason.OTHER_GATEWAYS_TOKEN,
    Reason.EXPIRED,
    Reason.FORCED,
    Reason.NOT_RESTARTED,  # the gateway runs an older token, and its end is known to nobody
    Reason.NOT_PICKED_UP,
    Reason.LITTLE_LEFT,
}


def _backing_off_until(row: Observed, decision: Decision) -> datetime | None:
    expiry = _expiry(row)
    waits = decision.action in {Action.RENEW, Action.RESTART} and decision.reason not in _URGENT
    if not waits or row.last_failure is None or expiry is None:
        return None
    return retry_at(row.failures, row.last_failure, row.interval, at_risk=at_risk_from(row.rule, expiry))


def _renew(reason: Reason, message: str) -> Decision:
    return Decision(Action.RENEW, reason, message)


def _expiry(row: Observed) -> datetime | None:
    return row.held.token.expiry if row.held is not None and row.held.token is not None else None
