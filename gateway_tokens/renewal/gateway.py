"""Reconcile one gateway's tokens with its rule: read, plan, issue, check, write, read back, ask for the restart.

Rows are independent: one that fails leaves its neighbours alone. A gateway's due rows share one new token. Whatever
interrupts it, the next run sees in the destination itself what is left to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

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
from gateway_tokens.stored import Ownership, Running, StoredToken
from gateway_tokens.tokens import Clock, GatewayRef, GatewayToken, KeyType, renewal_expiry

from .causes import Causes
from .checks import at_risk_from, decide, due_at
from .places import Places
from .report import Asked, Failure, Outcome, Row, Seen, ServiceReport, failure_of, not_picked_up
from .rows import Action, Decision, Demand, ManagedGateway, Observed, Proof, Reason, RowId

# What Azure said of a value counts for so long: asked once a day, with time for a run that comes early.
ASK_AGAIN_AFTER = timedelta(hours=20)


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

    def __init__(
        self, gateway: ManagedGateway, options: RunOptions, report: ServiceReport, places: Places
    ) -> None:
        self.gateway, self._options, self._report, self._places = gateway, options, report, places
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
        retried = row.failure is not None and row.failure.code in {WriteConflict.code, NotVerified.code}
        if not retried or row.decision.reason is Reason.WRITE_CONFLICT:
            return row
        again, observed_again = await self.read(observed.settings)
        if observed_again is None:
            return again
        if observed_again.token == observed.token:
            # Azure's answer holds for the token that it was about.
            observed_again = replace(observed_again, proof=observed.proof)
        return await self._carried_out(observed_again)

    async def proved(self, observed: Observed) -> Observed:
        """The row with Azure's proof of its token: the key that signs it, or none. Raises AzureError, TokenUnusable."""
        token = observed.token
        if token is None:
            return observed
        first = self.gateway.rule.key_type
        for key_type in (first, *(key for key in KeyType if key is not first)):
            if await self.issue(token.expiry, key_type) == token:
                return replace(observed, proof=Proof(key_type))
        return replace(observed, proof=Proof(None))

    async def issue(self, expiry: datetime, key_type: KeyType) -> GatewayToken:
        """Azure's token of this gateway for that key and expiry. Raises NotFound, AzureError, TokenUnusable."""
        gateway, options = self.gateway, self._options
        try:
            async with options.causes.used(str(gateway.service), str(gateway.ref)):
                return await issue_checked(
                    options.gateways, gateway.service, gateway.ref.gateway, key_type, expiry
                )
        except AzureNotFound as error:
            raise gateway_missing(error, gateway.ref) from None

    async def _observed(self, settings: DestinationSettings) -> Observed:
        destination = self._options.destination(settings, self.gateway.ref)
        async with self._options.causes.used(settings.depends_on(self.gateway.ref), str(self.gateway.ref)):
            observed = Observed(self.gateway, settings, await destination.read())
        self._places.seen(observed)
        asked = self._asked(observed)
        # Asked for once a day and value. A value of this app's is asked about by the daily check alone.
        known = asked and asked.at > self._options.clock() - ASK_AGAIN_AFTER and not observed.ownership
        return replace(observed, proof=Proof(asked.key_type)) if asked and known else observed

    async def _carried_out(self, observed: Observed) -> Row:
        row = self.unread(observed.settings)
        try:
            row = self._row(observed)
            if row.decision.action is Action.PROVE:
                observed = await self.proved(observed)
                row = self._row(observed)
            return await self._carry_out(row, observed)
        except NotFound as error:
            gone = replace(row.decision, reason=Reason.GATEWAY_GONE, message=str(error))
            return replace(row, outcome=Outcome.GONE, decision=gone)
        except Exception as error:  # noqa: BLE001 - a row that fails must not stop its neighbours
            return self._failed(row, error)

    async def _carry_out(self, row: Row, observed: Observed) -> Row:
        """What the plan asks for. Raises what keeps it from being done."""
        row = self._places.let(row)
        action = row.decision.action
        if action is Action.REFUSE:
            conflict = row.decision.reason is Reason.WRITE_CONFLICT
            raise (WriteConflict if conflict else NotOwned)(row.id.location, f"{row.decision.message}.")
        if action is Action.RENEW:
            return await self._renew(row, observed)
        if action is Action.REWRITE:
            return await self._rewrite(row, observed)
        if action is Action.TAKE_OVER:
            return await self._take_over(row, observed)
        if action is Action.RESTART and observed.stored:
            return await self._asked_to_restart(row, observed.settings, observed.stored)
        return self._judged(row)

    def _judged(self, row: Row) -> Row:
        """A row for which nothing is to be done now."""
        decision = row.decision
        if decision.reason is Reason.NOT_RESTARTED:
            raise NotRestarted(
                row.id.location, f"the workload {decision.message}. The Secret holds the new token."
            )
        if decision.reason is Reason.NOT_PICKED_UP:
            until = self._options.demand.expires_before
            failure = not_picked_up(decision.message, NotPickedUp.code, until)
            return replace(row, outcome=Outcome.FAILED, failure=failure)
        waits = Outcome.WAITING if decision.staged else Outcome.FRESH
        return replace(row, outcome=_OUTCOMES.get(decision.reason, waits))

    async def _renew(self, row: Row, observed: Observed) -> Row:
        token, key_type = await self._issued(), self.gateway.rule.key_type
        ownership = Ownership(self.gateway.owner, key_type, self._options.clock(), token.expiry)
        if _holds(observed, token, ownership):
            return replace(row, outcome=Outcome.UNCHANGED)
        return await self._delivered(row, observed, token, ownership)

    async def _rewrite(self, row: Row, observed: Observed) -> Row:
        """Deliver the token that was issued before: in the right form, or in the place of an older one."""
        ownership = observed.ownership or (observed.stored and observed.stored.ownership)
        if not ownership or not observed.token:
            raise AssertionError("nothing was issued before")
        token = observed.token
        if row.decision.reason is Reason.WRITE_CONFLICT:
            token = await self.issue(ownership.expiry, ownership.key_type)
        done = await self._delivered(row, observed, token, replace(ownership, restart_asked=""))
        if row.decision.reason is Reason.WRITE_CONFLICT and done.failure is None:
            # Delivered, and a failure all the same: it goes on until one of the writers stops.
            return self._failed(done, WriteConflict(row.id.location, f"{row.decision.message}."))
        return done

    async def _delivered(
        self, row: Row, observed: Observed, token: GatewayToken, ownership: Ownership
    ) -> Row:
        settings = observed.settings
        destination = self._options.destination(settings, self.gateway.ref)
        async with self._options.causes.used(settings.depends_on(self.gateway.ref), str(self.gateway.ref)):
            await destination.write(token, ownership, observed.stored)
            stored = await destination.read()
        if stored is None or stored.token != token or not stored.exact:
            raise NotVerified(
                row.id.location, "the value that was read back is not the token that was written"
            )
        self._places.hold(row.id.ref)
        renewed = replace(
            row,
            outcome=Outcome.RENEWED,
            renewed=True,
            old_expiry=row.seen.expiry if row.seen else None,
            seen=self._seen(observed.id, token, ownership),
        )
        due = stored.restart is not None and stored.restart.running is Running.OLD
        return await self._asked_to_restart(renewed, settings, stored) if due else renewed

    async def _take_over(self, row: Row, observed: Observed) -> Row:
        stored, token, proof = observed.stored, observed.token, observed.proof
        if not stored or not token or not proof or not proof.key_type:
            raise AssertionError("only a proved token is taken over")
        now = self._options.clock()
        ownership = Ownership(self.gateway.owner, proof.key_type, now, token.expiry, taken_over=True)
        destination = self._options.destination(observed.settings, self.gateway.ref)
        async with self._options.causes.used(
            observed.settings.depends_on(self.gateway.ref), str(self.gateway.ref)
        ):
            await destination.label(ownership, stored)
        return replace(row, outcome=Outcome.FRESH, seen=self._seen(observed.id, token, ownership))

    async def _asked_to_restart(self, row: Row, settings: DestinationSettings, stored: StoredToken) -> Row:
        try:
            await self._options.destination(settings, self.gateway.ref).restart(stored)
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
        token = await self.issue(renewal_expiry(rule.lifetime, options.demand.asked_at), rule.key_type)
        ownership = Ownership(self.gateway.owner, rule.key_type, options.clock(), token.expiry)
        log_issued(Issued(ref, ownership, token), options.caller)
        return token

    def _row(self, observed: Observed) -> Row:
        now, stored = self._options.clock(), observed.stored
        decision = decide(observed, self._options.demand, self._options.pause, now)
        seen = self._seen(observed.id, observed.token, observed.ownership) if observed.token else None
        asked = self._asked(observed)
        if (
            observed.proof
            and stored
            and stored.value
            and not (asked and asked.key_type == observed.proof.key_type)
        ):
            asked = Asked(now, stored.value.fingerprint, observed.proof.key_type)
        also = f"; the keys {', '.join(stored.also)} hold it too" if stored and stored.also else ""
        return Row(observed.id, replace(decision, message=decision.message + also), seen, at=now, asked=asked)

    def _asked(self, observed: Observed) -> Asked | None:
        """What Azure last said of the very value that is stored now, as the report remembers it."""
        before, value = self._report.rows.get(str(observed.id)), observed.stored and observed.stored.value
        asked = before.asked if before else None
        return asked if asked and value and asked.fingerprint == value.fingerprint else None

    def _seen(self, row: RowId, token: GatewayToken, ownership: Ownership | None) -> Seen:
        rule, expiry = self.gateway.rule, token.expiry
        key_type, issued_at = (ownership.key_type, ownership.issued_at) if ownership else (None, None)
        return Seen(expiry, due_at(row, rule, expiry), at_risk_from(rule, expiry), key_type, issued_at)

    def unread(self, settings: DestinationSettings) -> Row:
        """The row before it was read."""
        decision = Decision(Action.KEEP, Reason.NOT_READ, "")
        row = RowId(self.gateway.ref, settings.location(self.gateway.ref))
        return Row(row, decision, readable=False, at=self._options.clock())

    def _failed(self, row: Row, error: Exception) -> Row:
        if not isinstance(error, GatewayTokensError):
            log_unexpected(error, str(row.id))
        if not self.gateway.rule.renew:
            return replace(row, outcome=Outcome.PAUSED, failure=failure_of(error))
        return replace(row, outcome=Outcome.FAILED, failure=failure_of(error))


# How a row ended for which nothing was to be done.
_OUTCOMES = {
    Reason.PAUSED: Outcome.PAUSED,
    Reason.RESTARTING: Outcome.RESTARTING,
    Reason.RESTART_UNVERIFIED: Outcome.UNVERIFIED,
    Reason.WAITING_FOR_WORKLOAD: Outcome.WAITING,
}


def not_reached(row: Row) -> Row:
    """The row of a run whose time was over before it."""
    return replace(
        row,
        outcome=Outcome.NOT_REACHED,
        failure=Failure("not_reached", "The run's time was over. The next run tries it."),
    )


def _holds(observed: Observed, token: GatewayToken, ownership: Ownership) -> bool:
    """Whether the location holds exactly what would be written, ownership included."""
    ours, stored = observed.ownership, observed.stored
    same = ours is not None and (ours.owner, ours.key_type) == (ownership.owner, ownership.key_type)
    return same and stored is not None and stored.exact and stored.token == token
