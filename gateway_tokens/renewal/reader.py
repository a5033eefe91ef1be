"""Read one gateway's rows: what each location holds, which key is in use, and what is to be done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gateway_tokens.destinations.base import Destination
from gateway_tokens.errors import AzureNotFound, GatewayTokensError
from gateway_tokens.estate.schedule import Calendar
from gateway_tokens.estate.schema import DestinationSettings, ManagedGateway
from gateway_tokens.issuing import gateway_missing, issue_checked
from gateway_tokens.logs import log_unexpected
from gateway_tokens.parts import Gateways
from gateway_tokens.stored import StoredToken
from gateway_tokens.tokens import Clock, GatewayRef, GatewayToken, KeyType

from .causes import Causes
from .checks import decide
from .keys import KeyState, Phase, key_state
from .places import Places
from .report import Outcome, Row, Seen, ServiceReport, failure_of
from .rows import Action, Decision, Demand, Observed, Proof, Reason, RowId
from .waiting import at_risk_from, due_at

# Rows of one gateway tell its key in use together; they wait so long for one that does not answer.
OTHER_ROWS_SECONDS = 5.0
# What Azure said of a value counts for so long: asked once a day, with time for a run that comes early.
ASK_AGAIN_AFTER = timedelta(hours=20)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a run works under."""

    demand: Demand
    caller: str  # who asked for it, for the log
    calendar: Calendar
    clock: Clock
    gateways: Gateways
    destination: Callable[[DestinationSettings, GatewayRef], Destination]
    causes: Causes
    log_fresh_rows: bool


class GatewayReader:
    """One gateway's rows as they are. Nothing here changes anything, or raises for what happens to a row."""

    def __init__(
        self, gateway: ManagedGateway, options: RunOptions, report: ServiceReport, places: Places
    ) -> None:
        self.gateway, self.options, self._report, self.places = gateway, options, report, places
        self._rows: dict[RowId, Observed | None] = {}
        self._all_read = asyncio.Event()

    async def read(self, settings: DestinationSettings) -> tuple[Row, Observed | None]:
        """The row as it is, with what is to be done and why; nothing is executed."""
        row = self.unread(settings)
        try:
            observed = await self._observed(settings)
            self._came(row.id, observed)
            await self._others()
            observed = self.keyed(observed)
            row = self.row(observed)
            self.places.planned(row)
        except Exception as error:  # noqa: BLE001 - a row that cannot be read must not stop its neighbours
            self._came(row.id, None)
            return self.failed(row, error), None
        return row, observed

    async def read_all(self) -> list[Observed | None]:
        """Every row of the gateway, read again at the same time; None for one that cannot be read."""
        reading = await asyncio.gather(*map(self.read, self.gateway.rule.destinations))
        return [observed for _, observed in reading]

    @property
    def fingerprints(self) -> str:
        """The tokens that were read last, for the log."""
        return ", ".join(sorted({row.token.fingerprint for row in self._rows.values() if row and row.token}))

    def key_state(self) -> KeyState:
        """Which key signs the gateway's tokens, and where its rotation is, by the rows that were read last."""
        ids = [RowId(self.gateway.ref, s.location(self.gateway.ref)) for s in self.gateway.rule.destinations]
        rows = [self._rows.get(row) for row in ids]
        before = (self._report.rows.get(str(row)) for row in ids if self._rows.get(row) is None)
        seen = [row.seen for row in before if row and row.seen]
        remembered = [(s.key_since, s.key_type) for s in seen if s.key_since and s.key_type]
        return key_state(self.gateway.rule, rows, remembered, self.options.clock())

    async def issue(self, expiry: datetime, key_type: KeyType) -> GatewayToken:
        """Azure's token of this gateway for that key and expiry. Raises NotFound, AzureError, TokenUnusable."""
        gateway, options = self.gateway, self.options
        try:
            async with options.causes.used(str(gateway.service), str(gateway.ref)):
                return await issue_checked(
                    options.gateways, gateway.service, gateway.ref.gateway, key_type, expiry
                )
        except AzureNotFound as error:
            raise gateway_missing(error, gateway.ref) from None

    def keyed(self, observed: Observed) -> Observed:
        """The row with the key that its token is to be signed with."""
        if self.options.demand.key_type:
            return replace(observed, wanted_key=self.options.demand.key_type)
        state = self.key_state()
        due = state.phase is Phase.SWITCH and not state.waits_for
        return replace(observed, wanted_key=state.idle if due else state.active, key_due=due)

    def row(self, observed: Observed) -> Row:
        """The row that was read, with what is to be done and why."""
        now, stored = self.options.clock(), observed.stored
        decision = decide(observed, self.options.demand, self.options.calendar, now)
        seen = self.seen(observed.id, stored) if stored else None
        proof = observed.proof
        asked = proof if proof and proof.at else self._remembered(observed)
        also = f"; the keys {', '.join(stored.also)} hold it too" if stored and stored.also else ""
        return Row(observed.id, replace(decision, message=decision.message + also), seen, at=now, asked=asked)

    def seen(self, row: RowId, stored: StoredToken) -> Seen | None:
        """The times of the token that a row holds; at risk is what a workload runs that does not run it yet."""
        if stored.token is None:
            return None
        rule, expiry, ownership = self.gateway.rule, stored.token.expiry, stored.owned
        seen = Seen(
            expiry, due_at(row, rule, expiry), at_risk_from(rule, min(expiry, stored.replaced or expiry))
        )
        if ownership is None:
            return seen
        since, rotation = ownership.signs_since, rule.rotate_keys
        return replace(
            seen,
            key_type=ownership.key_type,
            issued_at=ownership.issued_at,
            key_since=None if ownership.taken_over or ownership.owner != self.gateway.owner else since,
            key_due=since + rotation.every + 3 * self.options.calendar.pause if rotation else None,
            key_late=since + rotation.every * 4 / 3 if rotation else None,
        )

    def unread(self, settings: DestinationSettings) -> Row:
        """The row before it was read."""
        decision = Decision(Action.KEEP, Reason.NOT_READ, "")
        row = RowId(self.gateway.ref, settings.location(self.gateway.ref))
        return Row(row, decision, readable=False, at=self.options.clock())

    def failed(self, row: Row, error: Exception) -> Row:
        """The row with the error as its end."""
        if not isinstance(error, GatewayTokensError):
            log_unexpected(error, str(row.id))
        if self.gateway.rule.paused(self.options.clock()):
            return replace(row, outcome=Outcome.PAUSED, failure=failure_of(error))
        return replace(row, outcome=Outcome.FAILED, failure=failure_of(error))

    async def _observed(self, settings: DestinationSettings) -> Observed:
        destination = self.options.destination(settings, self.gateway.ref)
        async with self.options.causes.used(settings.depends_on(self.gateway.ref), str(self.gateway.ref)):
            observed = Observed(self.gateway, settings, await destination.read())
        self.places.seen(observed)
        # Asked for once a day and value. A value of this app's is asked about by the daily check alone.
        proof = None if observed.ownership else self._remembered(observed)
        known = proof and proof.at and proof.at > self.options.clock() - ASK_AGAIN_AFTER
        return replace(observed, proof=proof) if known else observed

    def _came(self, row: RowId, observed: Observed | None) -> None:
        self._rows[row] = observed
        if len(self._rows) == len(self.gateway.rule.destinations):
            self._all_read.set()

    async def _others(self) -> None:
        """Wait for the gateway's other rows, which tell the key in use too; not long for one that does not answer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(OTHER_ROWS_SECONDS):
                await self._all_read.wait()

    def _remembered(self, observed: Observed) -> Proof | None:
        """What Azure last said of the very value that is stored now, as the report remembers it."""
        before, value = self._report.rows.get(str(observed.id)), observed.value
        proof = before.asked if before else None
        return proof if proof and value and proof.fingerprint == value.fingerprint else None
