"""Keep one gateway's token fresh at its destinations. Observe, plan, issue, check, push, read back, restart.

Rows are independent: one that fails leaves its neighbours alone. A gateway's due rows share one new token. Whatever
interrupts it, the next run sees in the destination itself what is left to do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gateway_tokens.destinations.base import Destination
from gateway_tokens.errors import AzureNotFound, GatewayTokensError, NotOwned, NotVerified, WriteConflict
from gateway_tokens.estate.schema import DestinationSettings, GatewayRule
from gateway_tokens.issuing import Gateways, Issued, gateway_missing, issue_checked, log_issued
from gateway_tokens.stored import Ownership, StoredToken, owner_of
from gateway_tokens.tokens import Clock, GatewayRef, GatewayToken, ServiceId, expiry_after

from .checks import Action, Decision, Observed, Reason, at_risk_from, decide, due_at
from .record import Trouble
from .report import Outcome, Row, failure_of, row_name

# Callers that are nobody's: see `Terms.caller`.
SCHEDULE, EVENT = "schedule", "event"


@dataclass(frozen=True, slots=True)
class Unit:
    """One gateway to be kept, and the rule that says how and where."""

    ref: GatewayRef
    service: ServiceId
    rule: GatewayRule

    @property
    def owner(self) -> str:
        """What labels say of this gateway."""
        return owner_of(self.service, self.ref.gateway)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a run works under."""

    clock: Clock
    gateways: Gateways
    destination: Callable[[DestinationSettings, GatewayRef], Destination]
    interval: timedelta  # between sweeps
    troubles: Mapping[str, Trouble]
    renew_by: datetime | None = None  # renew whatever expires by then, due or not
    caller: str = SCHEDULE  # who gets it done, for the log
    picked_up: bool = True  # False: Azure says that the gateway still runs an older token


_log = logging.getLogger(__name__)


class Delivery:
    """One row on its way through a run."""

    def __init__(
        self,
        unit: Unit,
        spec: DestinationSettings,
        terms: Terms,
        token: Callable[[], Awaitable[GatewayToken]],
    ) -> None:
        self._unit, self._spec, self._terms, self._token = unit, spec, terms, token
        self._place = spec.location(unit.ref)
        self._name = row_name(unit.ref, self._place)
        self._trouble = terms.troubles.get(self._name)

    async def look(self) -> Row:
        """The row as it is."""
        try:
            stored = await self._open().read()
        except Exception as error:  # noqa: BLE001 - a look shows every row, whatever one location does
            row = self._unseen()
            seen = self._failed(row, error)
            return replace(seen, failures=row.failures, last_failure=row.last_failure)
        return self._row(stored, self._decide(stored))

    async def keep(self) -> Row:
        """The row brought up to date, or why not."""
        row = await self._pass()
        # Somebody wrote at the same time, another run perhaps: look once more and do what is left to do.
        crossed = row.outcome is Outcome.FAILED and row.code in {WriteConflict.code, NotVerified.code}
        return await self._pass() if crossed else row

    async def _pass(self) -> Row:
        row = self._unseen()
        try:
            destination = self._open()
            stored = await destination.read()
            row = self._row(stored, self._decide(stored))
            return await self._carry_out(destination, row, stored)
        except Exception as error:  # noqa: BLE001 - a row that fails must not stop its neighbours
            return self._failed(row, error)

    def _open(self) -> Destination:
        return self._terms.destination(self._spec, self._unit.ref)

    async def _carry_out(self, destination: Destination, row: Row, stored: StoredToken | None) -> Row:
        if row.action is Action.KEEP:
            return _well(row, Outcome.FRESH)
        if row.action is Action.REFUSE:
            raise NotOwned(self._place, row.message)
        token = await self._token() if row.action is Action.RENEW else stored.token if stored else None
        if token is None:
            raise NotVerified(self._place, "what it stored is gone")
        if row.action is Action.RENEW:
            row = await self._deliver(destination, row, stored, token)
        return row if row.outcome is Outcome.FRESH else await self._restart(destination, row, token)

    async def _deliver(
        self, destination: Destination, row: Row, stored: StoredToken | None, token: GatewayToken
    ) -> Row:
        ownership = Ownership(self._unit.owner, self._unit.rule.key_type, self._terms.clock())
        if _unchanged(stored, token, ownership):
            return _well(row, Outcome.FRESH)
        await destination.write(token, ownership, stored)
        now_there = await destination.read()
        if now_there is None or now_there.token is None or now_there.token.value != token.value:
            raise NotVerified(self._place, "what was read back is not the token that was written")
        done = replace(_well(row, Outcome.RENEWED), new_expiry=token.expiry, key_type=ownership.key_type)
        return self._timed(done, token)

    async def _restart(self, destination: Destination, row: Row, token: GatewayToken) -> Row:
        if not destination.restarts:
            unheard = row.reason == Reason.NOT_PICKED_UP
            return _well(row, Outcome.NOT_PICKED_UP) if unheard else row
        try:
            await destination.restart(token)
        except Exception as error:  # noqa: BLE001 - whatever it was, the token is delivered
            return self._failed(row, error, Outcome.NOT_RESTARTED)
        return row if row.outcome else _well(row, Outcome.RESTARTED)

    def _decide(self, stored: StoredToken | None) -> Decision:
        observed = Observed(
            ref=self._unit.ref,
            row=self._name,
            rule=self._unit.rule,
            owner=self._unit.owner,
            adopt=self._spec.adopt,
            stored=stored,
            interval=self._terms.interval,
            renew_by=self._terms.renew_by,
            picked_up=self._terms.picked_up,
        )
        return decide(observed, self._terms.clock())

    def _unseen(self) -> Row:
        trouble = self._trouble
        return Row(
            self._unit.ref,
            self._place,
            action=None,
            reason=Reason.NOT_OBSERVED,
            message="",
            failures=trouble.failures if trouble else 0,
            last_failure=trouble.last_failure if trouble else None,
            code=trouble.code if trouble else "",
            last_outcome=trouble.outcome if trouble else "",
        )

    def _row(self, stored: StoredToken | None, decision: Decision) -> Row:
        ownership, token = (stored.ownership, stored.token) if stored else (None, None)
        row = replace(
            self._unseen(),
            action=decision.action,
            reason=decision.reason,
            message=decision.message,
            key_type=ownership.key_type if ownership else None,
            issued_at=ownership.issued_at if ownership else None,
            expiry=token.expiry if token else None,
        )
        return self._timed(row, token) if token else row

    def _timed(self, row: Row, token: GatewayToken) -> Row:
        rule = self._unit.rule
        due, risk = due_at(self._name, rule, token.expiry), at_risk_from(rule, token.expiry)
        return replace(row, due=due, at_risk_from=risk)

    def _failed(self, row: Row, error: Exception, outcome: Outcome = Outcome.FAILED) -> Row:
        if not isinstance(error, GatewayTokensError):
            _log.error("unexpected failure at %s", self._place, exc_info=error)
        code, said = failure_of(error)
        failures = (self._trouble.failures if self._trouble else 0) + 1
        now = self._terms.clock()
        return replace(row, outcome=outcome, failures=failures, last_failure=now, code=code, error=said)


def _well(row: Row, outcome: Outcome) -> Row:
    """The row with nothing left of what failed before."""
    return replace(row, outcome=outcome, failures=0, last_failure=None, code="")


def _unchanged(stored: StoredToken | None, token: GatewayToken, ownership: Ownership) -> bool:
    """Whether writing would change nothing: tokens of one minute are alike, and stores may keep versions for ever."""
    before = stored.ownership if stored else None
    same_label = before is not None and (before.owner, before.key_type) == (
        ownership.owner,
        ownership.key_type,
    )
    return same_label and stored is not None and stored.token == token


async def keep(unit: Unit, terms: Terms) -> list[Row]:
    """Bring every destination of a gateway up to date. Never raises: what failed is in its row."""
    token = _once(lambda: _issue(unit, terms))
    rows = [Delivery(unit, spec, terms, token) for spec in unit.rule.destinations]
    return await asyncio.gather(*(row.keep() for row in rows))


async def look(unit: Unit, terms: Terms) -> list[Row]:
    """What `keep` would do, and why; nothing is executed. Never raises."""

    async def nothing() -> GatewayToken:
        raise AssertionError("a look issues no token")

    rows = [Delivery(unit, spec, terms, nothing) for spec in unit.rule.destinations]
    return await asyncio.gather(*(row.look() for row in rows))


async def _issue(unit: Unit, terms: Terms) -> GatewayToken:
    now = terms.clock()
    expiry = expiry_after(unit.rule.lifetime, now)
    try:
        token = await issue_checked(
            terms.gateways, unit.service, unit.ref.gateway, unit.rule.key_type, expiry
        )
    except AzureNotFound as error:
        raise gateway_missing(error, unit.ref) from None
    log_issued(Issued(unit.ref, Ownership(unit.owner, unit.rule.key_type, now), token), terms.caller)
    return token


def _once(make: Callable[[], Awaitable[GatewayToken]]) -> Callable[[], Awaitable[GatewayToken]]:
    """Calls `make` at the first await only; all share its result or its error."""
    made: list[asyncio.Task[GatewayToken]] = []

    async def shared() -> GatewayToken:
        if not made:
            made.append(asyncio.ensure_future(make()))
        return await asyncio.shield(made[0])

    return shared
