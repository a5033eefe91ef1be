"""Reconcile one gateway's tokens with its rule: read, plan, issue, check, write, read back, ask for the restart.

Rows are independent: one that fails leaves its neighbours alone. A gateway's due rows share one new token. Whatever
interrupts it, the next run sees in the destination itself what is left to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from gateway_tokens.destinations.base import Destination
from gateway_tokens.errors import (
    AzureNotFound,
    GatewayTokensError,
    NotFound,
    NotOwned,
    NotPickedUp,
    NotRestarted,
    NotVerified,
    WriteConflict,
)
from gateway_tokens.estate.schema import DestinationSettings
from gateway_tokens.issuing import Issued, gateway_missing, issue_checked, log_issued
from gateway_tokens.logs import log_unexpected
from gateway_tokens.parts import Gateways
from gateway_tokens.stored import Ownership, StoredToken
from gateway_tokens.tokens import Clock, GatewayRef, GatewayToken, renewal_expiry

from .causes import Causes
from .checks import (
    Action,
    Decision,
    Demand,
    ManagedGateway,
    Observed,
    Reason,
    RowId,
    at_risk_from,
    decide,
    due_at,
)
from .report import Failure, Outcome, Row, Seen, failure_of, not_picked_up


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a run works under."""

    demand: Demand
    caller: str  # who asked for it, for the log
    pause: timedelta  # the longest between two scheduled runs
    clock: Clock
    gateways: Gateways
    destination: Callable[[DestinationSettings, GatewayRef], Destination]
    causes: Causes


class GatewayRun:
    """One gateway on its way through a run. Nothing here raises for what happens to a row: it is in the row."""

    def __init__(self, gateway: ManagedGateway, options: RunOptions) -> None:
        self.gateway, self._options = gateway, options
        self._token: asyncio.Task[GatewayToken] | None = None

    async def read(self, settings: DestinationSettings) -> tuple[Row, Observed | None]:
        """The row as it is, with what is to be done and why; nothing is executed."""
        try:
            observed = await self._observed(settings)
            return self._row(observed), observed
        except Exception as error:  # noqa: BLE001 - a row that cannot be read must not stop its neighbours
            return self._failed(self.unread(settings), error), None

    async def reconcile(self, observed: Observed) -> Row:
        """The row brought up to date, or why not. What somebody else changed since it was read is planned anew, once."""
        row = await self._carried_out(observed)
        if row.failure is None or row.failure.code not in {WriteConflict.code, NotVerified.code}:
            return row
        again, observed_again = await self.read(observed.settings)
        return await self._carried_out(observed_again) if observed_again else again

    async def _observed(self, settings: DestinationSettings) -> Observed:
        destination = self._options.destination(settings, self.gateway.ref)
        async with self._options.causes.used(settings.depends_on, str(self.gateway.ref)):
            return Observed(self.gateway, settings, await destination.read())

    async def _carried_out(self, observed: Observed) -> Row:
        row = self.unread(observed.settings)
        try:
            row = self._row(observed)
            return await self._carry_out(row, observed)
        except NotFound as error:
            gone = replace(row.decision, reason=Reason.GATEWAY_GONE, message=str(error))
            return replace(row, outcome=Outcome.GONE, decision=gone)
        except Exception as error:  # noqa: BLE001 - a row that fails must not stop its neighbours
            return self._failed(row, error)

    async def _carry_out(self, row: Row, observed: Observed) -> Row:
        decision = row.decision
        if decision.action is Action.REFUSE:
            raise NotOwned(row.id.location, decision.message)
        if decision.reason is Reason.NOT_RESTARTED:
            raise NotRestarted(
                row.id.location, f"the workload {decision.message}. The Secret holds the new token."
            )
        if decision.action is Action.RENEW:
            return await self._renew(row, observed)
        if decision.action is Action.RESTART:
            return await self._restart(row, observed)
        return replace(row, outcome=Outcome.RESTARTING if decision.action is Action.WAIT else Outcome.FRESH)

    async def _renew(self, row: Row, observed: Observed) -> Row:
        token = await self._issued()
        now = self._options.clock()
        if _holds(observed.stored, token, self.gateway):
            return replace(row, outcome=Outcome.UNCHANGED)
        destination = self._options.destination(observed.settings, self.gateway.ref)
        ownership = Ownership(self.gateway.owner, self.gateway.rule.key_type, now)
        async with self._options.causes.used(observed.settings.depends_on, str(self.gateway.ref)):
            await destination.write(token, ownership, observed.stored)
            stored = await destination.read()
        if stored is None or stored.token != token:
            raise NotVerified(
                row.id.location, "the value that was read back is not the token that was written"
            )
        renewed = replace(
            row, outcome=Outcome.RENEWED, renewed=True, old_expiry=row.seen.expiry if row.seen else None
        )
        renewed = replace(renewed, seen=self._seen(observed, token, ownership))
        return await self._asked_to_restart(renewed, destination, token) if destination.restarts else renewed

    async def _restart(self, row: Row, observed: Observed) -> Row:
        destination = self._options.destination(observed.settings, self.gateway.ref)
        restart = observed.stored.restart if observed.stored else None
        if observed.token is None or (
            row.decision.reason is Reason.NOT_PICKED_UP and (not restart or restart.done)
        ):
            # The workload has restarted for this token, or cannot be restarted from here.
            failure = not_picked_up(
                row.decision.message, NotPickedUp.code, self._options.demand.expires_before
            )
            return replace(row, outcome=Outcome.FAILED, failure=failure)
        return await self._asked_to_restart(row, destination, observed.token)

    async def _asked_to_restart(self, row: Row, destination: Destination, token: GatewayToken) -> Row:
        try:
            await destination.restart(token)
        except Exception as error:  # noqa: BLE001 - whatever it was, the token is delivered
            return self._failed(row, error)
        return replace(row, outcome=Outcome.RESTARTING)

    async def _issued(self) -> GatewayToken:
        """The gateway's new token, issued once for all its rows."""
        if self._token is None:
            self._token = asyncio.ensure_future(self._issue())
        return await asyncio.shield(self._token)

    async def _issue(self) -> GatewayToken:
        ref, rule, options = self.gateway.ref, self.gateway.rule, self._options
        expiry = renewal_expiry(rule.lifetime, options.demand.asked_at)
        try:
            async with options.causes.used(str(self.gateway.service), str(ref)):
                token = await issue_checked(
                    options.gateways, self.gateway.service, ref.gateway, rule.key_type, expiry
                )
        except AzureNotFound as error:
            raise gateway_missing(error, ref) from None
        log_issued(
            Issued(ref, Ownership(self.gateway.owner, rule.key_type, options.clock()), token), options.caller
        )
        return token

    def _row(self, observed: Observed) -> Row:
        now = self._options.clock()
        decision = decide(observed, self._options.demand, self._options.pause, now)
        seen = self._seen(observed, observed.token, observed.ownership) if observed.token else None
        return Row(observed.id, decision, seen, at=now)

    def _seen(self, observed: Observed, token: GatewayToken, ownership: Ownership | None) -> Seen:
        rule, expiry = self.gateway.rule, token.expiry
        key_type, issued_at = (ownership.key_type, ownership.issued_at) if ownership else (None, None)
        return Seen(
            expiry, due_at(observed.id, rule, expiry), at_risk_from(rule, expiry), key_type, issued_at
        )

    def unread(self, settings: DestinationSettings) -> Row:
        """The row before it was read."""
        decision = Decision(Action.KEEP, Reason.NOT_READ, "")
        row = RowId(self.gateway.ref, settings.location(self.gateway.ref))
        return Row(row, decision, readable=False, at=self._options.clock())

    def _failed(self, row: Row, error: Exception) -> Row:
        if not isinstance(error, GatewayTokensError):
            log_unexpected(error, str(row.id))
        return replace(row, outcome=Outcome.FAILED, failure=failure_of(error))


def not_reached(row: Row) -> Row:
    """The row of a run whose time was over before it."""
    return replace(
        row,
        outcome=Outcome.NOT_REACHED,
        failure=Failure("not_reached", "The run's time was over. The next run tries it."),
    )


def _holds(stored: StoredToken | None, token: GatewayToken, gateway: ManagedGateway) -> bool:
    """Whether the location holds exactly what would be written, ownership included."""
    ownership = stored.ownership if stored else None
    ours = ownership is not None and (ownership.owner, ownership.key_type) == (
        gateway.owner,
        gateway.rule.key_type,
    )
    return ours and stored is not None and stored.token == token
