"""Read one gateway's rows: what each location holds, which key is in use, and what is to be done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from http import HTTPStatus

from gateway_tokens.azure.api_management import gateway_missing, issue_checked
from gateway_tokens.errors import (
    AzureError,
    AzureNotFound,
    AzureUnavailable,
    GatewayTokensError,
    IdentityUnavailable,
    SignInRefused,
)
from gateway_tokens.estate.destination import DestinationSettings
from gateway_tokens.estate.schedule import CHANGES_AT_ONCE, Calendar
from gateway_tokens.logs import log_unexpected
from gateway_tokens.parts import App
from gateway_tokens.stored import Destination, Running, StoredToken
from gateway_tokens.tokens import GatewayRef, GatewayToken, KeyType

from .checks import at_risk_from, decide, due_at
from .keys import KeyState, Phase, key_state
from .report import ServiceReport
from .rows import (
    Action,
    Decision,
    Demand,
    ManagedGateway,
    Observed,
    Outcome,
    Proof,
    Reason,
    Row,
    RowId,
    Seen,
    failure_of,
)

# Rows of one gateway tell its key in use together; they wait so long for one that does not answer.
OTHER_ROWS_SECONDS = 5.0
# What Azure said of a value counts for so long: asked once a day, with time for a run that comes early.
ASK_AGAIN_AFTER = timedelta(hours=20)
# Requests at a time to what several rows depend on: with 16 services as many connections as an instance has time and memory for.
CAUSE_AT_ONCE = 4
PROBE_AFTER = 30.0  # seconds after which one row tries it again when it is dead
_BUSY = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}


@dataclass(slots=True)
class _Cause:
    """What several rows depend on, and fail with together: a vault, a cluster, a service. A dead one is tried once, not per row."""

    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CAUSE_AT_ONCE))
    failure: GatewayTokensError | None = None
    suspects: set[GatewayRef] = field(default_factory=set)
    tried_at: float = 0.0

    @asynccontextmanager
    async def used(self, ref: GatewayRef) -> AsyncIterator[None]:
        """Around a gateway's requests to it. Raises the failure of a dead one without a request."""
        clock = asyncio.get_running_loop().time
        async with self.turns:
            if self.failure and clock() < self.tried_at + PROBE_AFTER:
                raise self.failure.with_traceback(None)
            self.tried_at = clock()
            try:
                yield
            except GatewayTokensError as error:
                if self._fails_all(error, ref):
                    self.failure, self.tried_at = error, clock()
                raise
            self.failure = None
            self.suspects.clear()

    def _fails_all(self, error: GatewayTokensError, ref: GatewayRef) -> bool:
        """No connection, no trust, no sign-in; no answer or a busy one only when it meets a second gateway."""
        if isinstance(error, IdentityUnavailable | SignInRefused):
            return True
        if not isinstance(error, AzureError):
            return False
        if error.facts.timed_out or error.facts.status in _BUSY:
            self.suspects.add(ref)
            return len(self.suspects) > 1
        return isinstance(error, AzureUnavailable) and error.facts.status == 0


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a run works under."""

    app: App
    demand: Demand
    caller: str  # who asked for it, for the log
    causes: dict[str, _Cause] = field(default_factory=dict)

    @property
    def calendar(self) -> Calendar:
        """When the app runs, and when it must not change what can wait."""
        settings = self.app.settings
        return Calendar(settings.schedule, self.app.pause, settings.estate.freeze)

    def using(self, cause: str, ref: GatewayRef) -> AbstractAsyncContextManager[None]:
        """Around a gateway's requests to what has that name. Raises the failure of a dead one without a request."""
        return self.causes.setdefault(cause, _Cause()).used(ref)


class Slots:
    """Changes that can wait go two gateways of a service at a time, counted from what is seen.

    A slot is held by a gateway whose workload does not run its stored token yet. Where the reader cannot be seen, it is
    held by a token that was issued since the schedule's last run may have begun, whichever run wrote it.
    """

    def __init__(self, since: datetime) -> None:
        self._since = since
        self.holders: dict[GatewayRef, None] = {}

    def seen(self, row: Observed) -> None:
        """Count a row that was read."""
        restart, ownership = row.restart, row.ownership
        if restart is not None and not restart.blind and restart.running is not Running.UNVERIFIED:
            holds = restart.holds_slot
        else:
            holds = ownership is not None and not ownership.taken_over and ownership.issued_at > self._since
        if holds:
            self.holders[row.gateway.ref] = None

    def planned(self, row: Row) -> None:
        """Count a row that will get a new value and waits for nobody, before any row asks for a slot."""
        if row.decision.action in {Action.RENEW, Action.REWRITE} and not row.decision.staged:
            self.holders[row.id.ref] = None

    def let(self, row: Row) -> Row:
        """The row as it is if it may go on, else as one that waits for a slot."""
        if not row.decision.staged:
            return row
        if row.id.ref in self.holders or len(self.holders) < CHANGES_AT_ONCE:
            self.holders[row.id.ref] = None
            return row
        names = ", ".join(holder.gateway for holder in self.holders)
        message = f"{row.decision.message}; waits until the gateways {names} run their stored tokens"
        return replace(row, decision=replace(row.decision, action=Action.WAIT, message=message))


@dataclass(eq=False)
class GatewayReader:
    """One gateway's rows as they are. Nothing here changes anything, or raises for what happens to a row."""

    gateway: ManagedGateway
    options: RunOptions
    report: ServiceReport
    slots: Slots
    _rows: dict[RowId, Observed | None] = field(default_factory=dict, init=False)
    _all_read: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    regenerated_at: datetime | None = field(init=False)  # when its idle key was, as far as the report knows

    def __post_init__(self) -> None:
        before = (self._before(settings) for settings in self.gateway.rule.destinations)
        notes = (row.seen.regenerated_at for row in before if row and row.seen)
        self.regenerated_at = max(filter(None, notes), default=None)

    async def read(self, settings: DestinationSettings) -> tuple[Row, Observed | None]:
        """The row as it is, with what is to be done and why; nothing is executed."""
        row = self.unread(settings)
        try:
            observed = await self._observed(settings)
            self._came(row.id, observed)
            # The other rows tell the key in use too. One that does not answer is not waited for long.
            with suppress(TimeoutError):
                async with asyncio.timeout(OTHER_ROWS_SECONDS):
                    await self._all_read.wait()
            observed = self._keyed(observed)
            row = self.row(observed)
            self.slots.planned(row)
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
        rule, now = self.gateway.rule, self.options.app.clock()
        rows = [self._rows.get(self.id_of(settings)) for settings in rule.destinations]
        unread = (settings for settings, row in zip(rule.destinations, rows, strict=True) if row is None)
        seen = [row.seen for row in map(self._before, unread) if row and row.seen]
        remembered = [(s.key_since, s.key_type) for s in seen if s.key_since and s.key_type]
        return key_state(rule, rows, remembered, self.regenerated_at, now)

    async def issue(self, expiry: datetime, key_type: KeyType) -> GatewayToken:
        """Azure's token of this gateway for that key and expiry. Raises NotFound, AzureError, TokenUnusable."""
        service, ref = self.gateway.service, self.gateway.ref
        try:
            async with self.options.using(str(service), ref):
                return await issue_checked(self.options.app.gateways, service, ref.gateway, key_type, expiry)
        except AzureNotFound as error:
            raise gateway_missing(error, ref) from None

    @asynccontextmanager
    async def at(self, settings: DestinationSettings) -> AsyncIterator[Destination]:
        """The destination, for requests to it. Raises as `RunOptions.using` does."""
        async with self.options.using(settings.depends_on(self.gateway.ref), self.gateway.ref):
            yield self.options.app.destination(settings, self.gateway.ref)

    def row(self, observed: Observed) -> Row:
        """The row that was read, with what is to be done and why."""
        now, stored, proof = self.options.app.clock(), observed.stored, observed.proof
        decision = decide(observed, self.options.demand, self.options.calendar, now)
        also = f"; the keys {', '.join(stored.also)} hold it too" if stored and stored.also else ""
        decision = replace(decision, message=decision.message + also)
        seen = self.seen(observed.id, stored) if stored else None
        proof = proof if proof and proof.at else self._remembered(observed)
        return Row(observed.id, decision, seen, at=now, proof=proof)

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
            key_due=since + rotation.every + 3 * self.options.app.pause if rotation else None,
            key_late=since + rotation.every * 4 / 3 if rotation else None,
            regenerated_at=self.regenerated_at,
        )

    def unread(self, settings: DestinationSettings) -> Row:
        """The row before it was read."""
        decision = Decision(Action.KEEP, Reason.NOT_READ, "")
        return Row(self.id_of(settings), decision, readable=False, at=self.options.app.clock())

    def id_of(self, settings: DestinationSettings) -> RowId:
        """The gateway's row at that destination."""
        return RowId(self.gateway.ref, settings.location(self.gateway.ref))

    def failed(self, row: Row, error: Exception) -> Row:
        """The row with the error as its end."""
        if not isinstance(error, GatewayTokensError):
            log_unexpected(error, str(row.id))
        paused = self.gateway.rule.paused(self.options.app.clock())
        return replace(row, outcome=Outcome.PAUSED if paused else Outcome.FAILED, failure=failure_of(error))

    async def _observed(self, settings: DestinationSettings) -> Observed:
        async with self.at(settings) as destination:
            observed = Observed(self.gateway, settings, await destination.read())
        self.slots.seen(observed)
        # Asked for once a day and value. A value of this app's is asked about by the daily check alone.
        proof = None if observed.ownership else self._remembered(observed)
        known = proof and proof.at and proof.at > self.options.app.clock() - ASK_AGAIN_AFTER
        return replace(observed, proof=proof) if known else observed

    def _before(self, settings: DestinationSettings) -> Row | None:
        """The row at that destination as the report remembers it."""
        return self.report.rows.get(str(self.id_of(settings)))

    def _came(self, row: RowId, observed: Observed | None) -> None:
        self._rows[row] = observed
        if len(self._rows) == len(self.gateway.rule.destinations):
            self._all_read.set()

    def _keyed(self, observed: Observed) -> Observed:
        """The row with the key that its token is to be signed with."""
        if self.options.demand.key_type:
            return replace(observed, wanted_key=self.options.demand.key_type)
        state = self.key_state()
        due = state.phase is Phase.SWITCH and not state.waits_for
        return replace(observed, wanted_key=state.idle if due else state.active, key_due=due)

    def _remembered(self, observed: Observed) -> Proof | None:
        """What Azure last said of the very value that is stored now, as the report remembers it."""
        before, value = self._before(observed.settings), observed.value
        proof = before.proof if before else None
        return proof if proof and value and proof.fingerprint == value.fingerprint else None
