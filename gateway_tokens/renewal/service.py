"""Reconcile one service: list its gateways, read every destination, then renew, most urgent first."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterable
from datetime import UTC, datetime

from gateway_tokens.access import matches
from gateway_tokens.estate.schema import DestinationSettings, ManagedGateway, Service
from gateway_tokens.logs import log_line
from gateway_tokens.tokens import GatewayRef, is_gateway_id

from .gateway import GatewayRun, not_reached
from .keys import KeyState
from .places import Places
from .reader import RunOptions
from .report import BAD, Outcome, Row, ServiceReport, count, failure_of
from .rotation import rotate
from .rows import Action, Decision, Observed, Reason, RowId

# Rows of one service that are written at the same time.
AT_ONCE = 16
# Rows that were read by then are renewed without waiting for those whose location does not answer.
READ_FIRST_SECONDS = 5.0
_MOST_SHOWN = 20
Selects = Callable[[GatewayRef], bool]
Work = Callable[[GatewayRun, DestinationSettings], Coroutine[None, None, None]]


def managed(name: str, service: Service, gateway: str, *, paused: bool = False) -> ManagedGateway | None:
    """The gateway with its rule, or None when no rule delivers its token anywhere; one that is paused if asked for."""
    rule = service.rule_for(gateway)
    if rule is None or not rule.destinations or not (rule.renew or paused):
        return None
    return ManagedGateway(GatewayRef(name, gateway), service.resource_id, rule)


class ServiceRun:
    """One service on its way through a run; `rows` are its results so far, for whatever ends the run.

    `fresh` are the rows whose stored token was left as it is, as they were read.
    """

    def __init__(self, name: str, options: RunOptions, report: ServiceReport) -> None:
        self.name, self.report = name, report
        self.rows: dict[RowId, Row] = {}
        self._rotating: list[GatewayRun] = []
        self.listed: set[str] | None = None  # every gateway of the service, once Azure has listed them
        self.fresh: list[tuple[GatewayRun, Observed]] = []
        self._options, self._places = options, Places(options.clock() - options.calendar.pause)
        self._turns = _Turns(AT_ONCE)

    async def gateways(self, service: Service, selects: Selects) -> list[ManagedGateway]:
        """What Azure lists and what the settings name. A gateway that is named is gone only when Azure says so of it."""
        listed: set[str] = set()
        try:
            listed = {name async for name in self._options.gateways.names(service.resource_id)}
        except Exception as error:  # noqa: BLE001 - the gateways that are named are reconciled all the same
            self.finish(_not_listed(self.name, service, error))
        else:
            self.listed = listed
            _tell(self.name, service, listed, self.report)
        folded = {name.casefold() for name in listed}
        named = [name for name in service.gateways if "*" not in name and name.casefold() not in folded]
        names = [*sorted(filter(is_gateway_id, listed)), *named]
        gateways = (managed(self.name, service, name, paused=True) for name in names)
        return [gateway for gateway in gateways if gateway and selects(gateway.ref)]

    async def reconcile(self, gateways: Iterable[ManagedGateway]) -> None:
        """Bring every row of the gateways up to date, and their keys. Raises nothing but the end of its time."""
        await self._each(gateways, self._reconcile)
        for run in self._rotating:
            for row in await rotate(run):
                self.finish(row)

    def key_states(self) -> dict[GatewayRef, KeyState]:
        """Where the rotation of each gateway is whose keys are rotated, once its rows were read."""
        return {run.gateway.ref: run.key_state() for run in self._rotating}

    async def plan(self, gateways: Iterable[ManagedGateway]) -> None:
        """Read every row of the gateways; nothing is executed."""
        await self._each(gateways, self._read)
        for row in sorted(self.rows.values(), key=_urgency):
            self.rows[row.id] = self._places.let(row)

    async def _each(self, gateways: Iterable[ManagedGateway], work: Work) -> None:
        runs = [GatewayRun(gateway, self._options, self.report, self._places) for gateway in gateways]
        self._rotating = [run for run in runs if run.gateway.rule.rotate_keys]
        pairs = [(run, settings) for run in runs for settings in run.gateway.rule.destinations]
        self.rows |= {row.id: row for row in (not_reached(run.unread(settings)) for run, settings in pairs)}
        opening = asyncio.get_running_loop().call_later(READ_FIRST_SECONDS, self._turns.open)
        self._turns.expected = len(pairs)
        try:
            async with asyncio.TaskGroup() as group:
                for run, settings in pairs:
                    group.create_task(work(run, settings))
        finally:
            opening.cancel()

    async def _read(self, run: GatewayRun, settings: DestinationSettings) -> None:
        row, _ = await run.read(settings)
        self.rows[row.id] = self.report.judged(row, self._options.clock())

    async def _reconcile(self, run: GatewayRun, settings: DestinationSettings) -> None:
        row, observed = await run.read(settings)
        if observed is None:
            self._turns.arrived()
            self.finish(row)
        elif row.decision.action in _TAKE_TURNS:
            self.rows[row.id] = not_reached(row)
            async with self._turns.turn(_urgency(row)):
                row = self.finish(await run.reconcile(observed))
        else:
            self._turns.arrived()
            row = self.finish(await run.reconcile(observed))
        if observed and row.decision.action not in {Action.RENEW, Action.REWRITE}:
            self.fresh.append((run, observed))

    def finish(self, row: Row) -> Row:
        """Keep and log the result of a row; the row with what the report knows of it."""
        now = self._options.clock()
        judged = self.report.judged(row, now)
        self.rows[row.id] = judged
        if self._options.log_fresh_rows or not self.report.stays_fresh(judged, now):
            log_row(judged, now)
        return judged


# What asks something of Azure or of the destination.
_TAKE_TURNS = frozenset({Action.RENEW, Action.REWRITE, Action.PROVE, Action.TAKE_OVER, Action.RESTART})


def _urgency(row: Row) -> datetime:
    return row.seen.expiry if row.seen else datetime.min.replace(tzinfo=UTC)


class _Turns:
    """Turns to renew, given to the most urgent first once every row was read or took too long."""

    def __init__(self, at_once: int) -> None:
        self.expected = 0
        self._free, self._open, self._number = at_once, False, itertools.count()
        self._waiting: list[tuple[datetime, int, asyncio.Future[None]]] = []

    def arrived(self) -> None:
        """One more row was read."""
        self.expected -= 1
        self._open |= self.expected <= 0
        self._give()

    def open(self) -> None:
        """Begin to give turns."""
        self._open = True
        self._give()

    def turn(self, urgency: datetime) -> _Turn:
        """A turn, to be entered."""
        return _Turn(self, urgency)

    async def take(self, urgency: datetime) -> None:
        """Wait for a turn, for a row that was read."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (urgency, next(self._number), future))
        self.arrived()
        await future

    def give_back(self) -> None:
        """End a turn."""
        self._free += 1
        self._give()

    def _give(self) -> None:
        while self._open and self._free and self._waiting:
            future = heapq.heappop(self._waiting)[2]
            if not future.done():
                self._free -= 1
                future.set_result(None)


class _Turn:
    def __init__(self, turns: _Turns, urgency: datetime) -> None:
        self._turns, self._urgency = turns, urgency

    async def __aenter__(self) -> None:
        await self._turns.take(self._urgency)

    async def __aexit__(self, *_: object) -> None:
        self._turns.give_back()


def log_row(row: Row, now: datetime) -> None:
    """One line for a finished row; `hoursLeft` until the token that is there now expires, if that is known."""
    level, expiry = logging.INFO, row.seen.expiry if row.seen else None
    if row.outcome in {Outcome.GONE, Outcome.UNVERIFIED}:
        level = logging.WARNING
    log_line(
        "run.row",
        logging.ERROR if row.outcome in BAD else level,
        service=row.id.ref.service,
        gateway=row.id.ref.gateway,
        destination=row.id.location,
        reason=row.decision.reason,
        outcome=row.outcome or "",
        keyType=(row.seen and row.seen.key_type) or "",
        oldExpiry=(row.old_expiry if row.renewed else expiry) or "",
        newExpiry=(expiry if row.renewed else None) or "",
        atRisk=row.at_risk(now),
        hoursLeft=round((expiry - now).total_seconds() / 3600, 1) if expiry else "",
        failingSince=row.failing_since or "",
        code=row.code,
        error=row.failure.text if row.failure else "",
    )


def log_service(name: str, rows: Collection[Row], *, whole: bool) -> None:
    """One line for a service in a run: how many rows, and on which days (UTC) their tokens are due and expire."""
    due, expiry = (sorted(getattr(r.seen, what) for r in rows if r.seen) for what in ("due", "expiry"))
    log_line(
        "service.completed",
        service=name,
        whole=whole,
        rows=len(rows),
        fresh=count(rows)[Outcome.FRESH],
        earliestDue=min(due, default=""),
        earliestExpiry=min(expiry, default=""),
        dueByDay=Counter(f"{moment:%Y-%m-%d}" for moment in due),
        expiryByDay=Counter(f"{moment:%Y-%m-%d}" for moment in expiry),
    )


def _tell(name: str, service: Service, listed: set[str], report: ServiceReport) -> None:
    """Tell what no rule covers, what rules name in vain, and which gateways have gone since the last run."""
    uncovered = sorted(gateway for gateway in listed if service.rule_for(gateway) is None)
    unused = sorted(pattern for pattern in service.gateways if not any(matches(pattern, g) for g in listed))
    if uncovered or unused:
        log_line(
            "service.unmatched",
            service=name,
            gateways=", ".join(uncovered[:_MOST_SHOWN]),
            gatewaysWithoutRule=len(uncovered),
            rules=", ".join(unused[:_MOST_SHOWN]),
            rulesWithoutGateway=len(unused),
        )
    there = {GatewayRef(name, gateway) for gateway in (*listed, *service.gateways)}
    for gone in {row.id.ref for row in report.rows.values()} - there:
        log_line("gateway.gone", logging.WARNING, service=name, gateway=gone.gateway)


def _not_listed(name: str, service: Service, error: Exception) -> Row:
    row = RowId(GatewayRef(name, "*"), str(service.resource_id))
    decision = Decision(Action.KEEP, Reason.NOT_LISTED, "the service's gateways could not be listed")
    return Row(row, decision, readable=False, outcome=Outcome.FAILED, failure=failure_of(error))
