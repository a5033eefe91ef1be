"""The plan: what to do with one row. The checks are asked in their order, and the first that hits decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .decisions import Action, Decision, Observed, Reason
from .timing import due_at, little_left

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime


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
    expiry = row.expiry
    if expiry is not None and expiry <= now:
        return _renew(Reason.EXPIRED, f"expired on {expiry:%Y-%m-%d %H:%M} UTC")
    return None


def _wrong_key(row: Observed, _: datetime) -> Decision | None:
    label = row.held.label if row.held else None
    if label is not None and label.key_type != row.rule.key_type:
        return _renew(Reason.WRONG_KEY, f"signed by the {label.key_type} key, wanted is {row.rule.key_type}")
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
    expiry = row.expiry
    due = f"due on {due_at(row.row, row.rule, expiry):%Y-%m-%d %H:%M} UTC" if expiry else ""
    return Decision(Action.KEEP, Reason.FRESH, due)


def _renew(reason: Reason, message: str) -> Decision:
    return Decision(Action.RENEW, reason, message)


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


def decide(row: Observed, now: datetime) -> Decision:
    """What the first check that hits says. A row that failed before is tried again at every sweep."""
    return next(decision for check in CHECKS if (decision := check(row, now)))
