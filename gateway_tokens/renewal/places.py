"""Changes that can wait go two gateways of a service at a time, counted from what is seen.

A place is held by a gateway whose workload does not run its stored token yet. Where the reader cannot be seen, it is
held by a token that was issued since the schedule's last run, whichever run wrote it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from gateway_tokens.estate.schedule import CHANGES_AT_ONCE
from gateway_tokens.stored import Running
from gateway_tokens.tokens import GatewayRef

from .report import Row
from .rows import Action, Observed


class Places:
    """The places of one service and who holds them; `since` is when the schedule's last run may have begun."""

    def __init__(self, since: datetime) -> None:
        self._since = since
        self.holders: dict[GatewayRef, None] = {}

    def seen(self, row: Observed) -> None:
        """Count a row that was read."""
        restart, ownership = row.stored.restart if row.stored else None, row.ownership
        if restart is not None and not restart.blind and restart.running is not Running.UNVERIFIED:
            holds = restart.holds_place
        else:
            holds = ownership is not None and not ownership.taken_over and ownership.issued_at > self._since
        if holds:
            self.holders[row.gateway.ref] = None

    def planned(self, row: Row) -> None:
        """Count a row that will get a new value and waits for nobody, before any row asks for a place."""
        if row.decision.action in {Action.RENEW, Action.REWRITE} and not row.decision.staged:
            self.holders[row.id.ref] = None

    def let(self, row: Row) -> Row:
        """The row as it is if it may go on, else as one that waits for a place."""
        ref = row.id.ref
        if not row.decision.staged or ref in self.holders or len(self.holders) < CHANGES_AT_ONCE:
            if row.decision.staged:
                self.holders[ref] = None
            return row
        names = ", ".join(holder.gateway for holder in self.holders)
        message = f"{row.decision.message}; waits until the gateways {names} run their stored tokens"
        return replace(row, decision=replace(row.decision, action=Action.WAIT, message=message))
