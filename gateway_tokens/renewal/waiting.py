"""When a row is due, when it is at risk, and what of the plan waits for a window or the end of a freeze."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime

from gateway_tokens.estate.schedule import FEW_RUNS, Calendar
from gateway_tokens.estate.schema import GatewayRule

from .rows import Action, Decision, Demand, Observed, Reason, RowId

_CHANGES = frozenset({Action.RENEW, Action.REWRITE, Action.RESTART})


def due_at(row: RowId, rule: GatewayRule, expiry: datetime) -> datetime:
    """When the row's token is to be renewed: at the window's start or, by the row's own jitter, a little earlier.

    The window is measured back from the token's expiry, so that the token alone tells it; the jitter is a stable
    function of the row. It takes no more than a tenth of what comes before the window either: else a token with
    a wide window would be due from birth.
    """
    share = int.from_bytes(hashlib.sha256(str(row).encode()).digest()[:4]) / 2**32
    return expiry - rule.window - rule.jitter * share


def at_risk_from(rule: GatewayRule, expiry: datetime) -> datetime:
    """From when on a token that is still there counts as at risk."""
    return expiry - rule.margin


def in_time(decision: Decision, row: Observed, demand: Demand, calendar: Calendar, now: datetime) -> Decision:
    """The decision as it is if it may be carried out now, else as one that waits."""
    if decision.action not in _CHANGES:
        return decision
    rule, token = row.gateway.rule, row.token
    awaited, ends = calendar.awaits(rule.windows, now), _good_until(decision, row, demand)
    if ends is None or at_risk_from(rule, ends) <= now or ends - now <= FEW_RUNS * calendar.pause:
        over = f"; does not wait for {awaited}" if awaited else ""
        return replace(decision, urgent=True, message=decision.message + over)
    if not awaited:
        return decision
    due = token and decision.reason is Reason.IN_RENEWAL_WINDOW and due_at(row.id, rule, token.expiry)
    since = f"due since {due:%Y-%m-%d %H:%M} UTC, " if due else ""
    return Decision(Action.WAIT, decision.reason, f"{decision.message}; {since}waits for {awaited}")


def _good_until(decision: Decision, row: Observed, demand: Demand) -> datetime | None:
    """The expiry of the good token that the gateway runs while the decision waits; None when it cannot wait."""
    ours, reason = row.ownership, decision.reason
    if demand.key_type:
        return None
    if reason is Reason.RESTART_DUE:
        return ours.replaced_expiry if ours and not ours.urgent else None
    event = reason is Reason.FORCED and demand.waits
    waits = decision.staged or event or reason is Reason.IN_RENEWAL_WINDOW
    return row.token.expiry if row.token and waits else None
