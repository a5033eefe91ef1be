"""What to do with one row: the first check that hits decides, unless the row is backing off from failures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .checks import CHECKS, asked_for
from .decisions import Action, Decision, Observed, Reason
from .timing import at_risk_from, retry_at

if TYPE_CHECKING:
    from datetime import datetime

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


def decide(row: Observed, now: datetime) -> Decision:
    """The first check that hits, held back while the row is backing off from failures."""
    decision = next(hit for check in CHECKS if (hit := check(row, now)))
    # What was asked for is done at once, whatever other reason it also has.
    wait_until = None if asked_for(row) else _backing_off_until(row, decision)
    if wait_until is not None and now < wait_until:
        said = f"failed {row.failures} times in a row, next try after {wait_until:%Y-%m-%d %H:%M} UTC"
        return Decision(Action.WAIT, Reason.BACKING_OFF, said)
    return decision


def _backing_off_until(row: Observed, decision: Decision) -> datetime | None:
    expiry = row.expiry
    waits = decision.action in {Action.RENEW, Action.RESTART} and decision.reason not in _URGENT
    if not waits or row.last_failure is None or expiry is None:
        return None
    return retry_at(row.failures, row.last_failure, row.interval, at_risk_from(row.rule, expiry))
