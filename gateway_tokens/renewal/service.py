"""Reconcile one service: list its gateways, read every destination, then renew, most urgent first."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime

from gateway_tokens.access import matches
from gateway_tokens.estate.destination import DestinationSettings
from gateway_tokens.estate.schema import Service
from gateway_tokens.logs import correlation, log_line
from gateway_tokens.parts import App
from gateway_tokens.tokens import GatewayRef, is_gateway_id

from .gateway import GatewayRun, not_reached
from .keys import KeyState
from .reader import RunOptions, Slots
from .report import ServiceReport, read_report
from .rows import (
    BAD,
    Action,
    Decision,
    ManagedGateway,
    Observed,
    Outcome,
    Reason,
    Row,
    RowId,
    count,
    failure_of,
    why,
)

# Rows of one service that are written at the same time.
AT_ONCE = 16
# Rows that were read by then are renewed without waiting for those whose location does not answer.
READ_FIRST_SECONDS = 5.0
_MOST_SHOWN = 20
_LEVELS: dict[Outcome | None, int] = {
    Outcome.GONE: logging.WARNING,
    Outcome.UNVERIFIED: logging.WARNING,
    **dict.fromkeys(BAD, logging.ERROR),
}
Selects = Callable[[GatewayRef], bool]


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
        self.name, self.options, self.report = name, options, report
        self.rows: dict[RowId, Row] = {}
        self.rotating: list[GatewayRun] = []  # the gateways whose keys are rotated
        self.listed: set[str] | None = None  # every gateway of the service, once Azure has listed them
        self.fresh: list[tuple[GatewayRun, Observed]] = []
        self._slots = Slots(options.app.clock() - options.app.pause)

    @classmethod
    async def begun(cls, name: str, options: RunOptions) -> ServiceRun:
        """A run of the service, with its report: an empty one when it cannot be read."""
        return cls(name, options, await load_report(options.app, name))

    async def gateways(self, service: Service, selects: Selects) -> list[ManagedGateway]:
        """What Azure lists and what the settings name. A gateway that is named is gone only when Azure says so of it."""
        listed: set[str] = set()
        try:
            listed = {name async for name in self.options.app.gateways.names(service.resource_id)}
        except Exception as error:  # noqa: BLE001 - the gateways that are named are reconciled all the same
            row = RowId(GatewayRef(self.name, "*"), str(service.resource_id))
            decision = Decision(Action.KEEP, Reason.NOT_LISTED, "the service's gateways could not be listed")
            failure = failure_of(error)
            self.finish(Row(row, decision, readable=False, outcome=Outcome.FAILED, failure=failure))
        else:
            self.listed = listed
            self._tell(service, listed)
        folded = {name.casefold() for name in listed}
        named = [name for name in service.gateways if "*" not in name and name.casefold() not in folded]
        names = [*sorted(filter(is_gateway_id, listed)), *named]
        gateways = (managed(self.name, service, name, paused=True) for name in names)
        return [gateway for gateway in gateways if gateway and selects(gateway.ref)]

    def of(self, gateway: ManagedGateway) -> GatewayRun:
        """A run of one of its gateways."""
        return GatewayRun(gateway, self.options, self.report, self._slots)

    async def plan(self, gateways: Iterable[ManagedGateway]) -> None:
        """Read every row of the gateways; nothing is executed."""
        reading = (run.read(settings) for run, settings in self._rows_of(gateways))
        now, rows = self.options.app.clock(), [row for row, _ in await asyncio.gather(*reading)]
        self.rows |= {row.id: self.report.judged(row, now) for row in rows}
        for row in sorted(self.rows.values(), key=_urgency):
            self.rows[row.id] = self._slots.let(row)

    async def reconcile(self, gateways: Iterable[ManagedGateway]) -> None:
        """Bring every row of the gateways up to date. Raises nothing but the end of its time."""
        pairs, turns = self._rows_of(gateways), _Turns()
        self.rows |= {row.id: row for row in (not_reached(run.unread(settings)) for run, settings in pairs)}
        async with asyncio.TaskGroup() as group:
            reading = [group.create_task(run.read(settings)) for run, settings in pairs]
            for (run, _), task in zip(pairs, reading, strict=True):
                group.create_task(self._reconcile(run, task, turns))
            if reading:
                await asyncio.wait(reading, timeout=READ_FIRST_SECONDS)
            turns.give(AT_ONCE)

    async def _reconcile(
        self, run: GatewayRun, reading: asyncio.Task[tuple[Row, Observed | None]], turns: _Turns
    ) -> None:
        row, observed = await reading
        if observed is None:
            self.finish(row)
            return
        turn = nullcontext() if row.decision.action in _NEED_NO_TURN else turns.taken(_urgency(row))
        self.rows[row.id] = not_reached(row)
        async with turn:
            row = self.finish(await run.reconcile(observed))
        as_read = row.seen and observed.token and row.seen.expiry == observed.token.expiry
        if as_read and row.decision.action not in {Action.RENEW, Action.REWRITE}:
            self.fresh.append((run, observed))

    def _rows_of(self, gateways: Iterable[ManagedGateway]) -> list[tuple[GatewayRun, DestinationSettings]]:
        runs = [self.of(gateway) for gateway in gateways]
        self.rotating = [run for run in runs if run.gateway.rule.rotate_keys]
        return [(run, settings) for run in runs for settings in run.gateway.rule.destinations]

    def key_states(self) -> dict[GatewayRef, KeyState]:
        """Where the rotation of each gateway is whose keys are rotated, once its rows were read."""
        return {run.gateway.ref: run.key_state() for run in self.rotating}

    def finish(self, row: Row) -> Row:
        """Keep and log the result of a row; the row with what the report knows of it."""
        now = self.options.app.clock()
        judged = self.report.judged(row, now)
        self.rows[row.id] = judged
        if self.options.app.settings.log_fresh_rows or not self.report.stays_fresh(judged, now):
            log_row(judged, now)
        return judged

    def note_regenerated(self, run: GatewayRun) -> None:
        """Note with the rows of a gateway when its idle key was regenerated, for the report."""
        for name in map(run.id_of, run.gateway.rule.destinations):
            row = self.rows[name]
            if row.seen:
                self.rows[name] = replace(row, seen=replace(row.seen, regenerated_at=run.regenerated_at))

    @asynccontextmanager
    async def reported(self, seconds: float, *, whole: bool = False) -> AsyncIterator[None]:
        """Work within so many seconds, whatever was reached; then the report is brought up to date with all rows."""
        started_at = self.options.app.clock()
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            log_line("service.cut_off", logging.ERROR, service=self.name, rows=len(self.rows))
            whole = whole and bool(self.rows)  # none: its gateways were not listed by then
        await self.save(self.rows.values(), started_at, whole=whole)

    async def save(self, rows: Collection[Row], started_at: datetime, *, whole: bool = False) -> None:
        """Bring the report up to date; a log line when it cannot be written."""
        app, run = self.options.app, correlation.get()
        now = app.clock()

        def changed(text: str | None) -> tuple[str, Mapping[str, str]]:
            report = read_report(text, now).with_rows(rows, run, now, started_at=started_at, whole=whole)
            return report.as_text(), report.summary(now)

        try:
            await app.reports.update(_report_name(self.name), changed)
        except Exception as error:  # noqa: BLE001 - whatever happens to a report, renewals go on
            log_line("report.not_written", logging.WARNING, service=self.name, **why(error))

    def _tell(self, service: Service, listed: set[str]) -> None:
        """Tell what no rule covers, what rules name in vain, and which gateways have gone since the last run."""
        uncovered = sorted(gateway for gateway in listed if service.rule_for(gateway) is None)
        unused = sorted(
            pattern for pattern in service.gateways if not any(matches(pattern, g) for g in listed)
        )
        if uncovered or unused:
            log_line(
                "service.unmatched",
                service=self.name,
                gateways=", ".join(uncovered[:_MOST_SHOWN]),
                gatewaysWithoutRule=len(uncovered),
                rules=", ".join(unused[:_MOST_SHOWN]),
                rulesWithoutGateway=len(unused),
            )
        there = {GatewayRef(self.name, gateway) for gateway in (*listed, *service.gateways)}
        for gone in {row.id.ref for row in self.report.rows.values()} - there:
            log_line("gateway.gone", logging.WARNING, service=self.name, gateway=gone.gateway)


# They ask nothing of Azure or of the destination.
_NEED_NO_TURN = frozenset({Action.KEEP, Action.WAIT, Action.REFUSE})


def _urgency(row: Row) -> datetime:
    return row.seen.expiry if row.seen else datetime.min.replace(tzinfo=UTC)


class _Turns:
    """Turns to change something, taken by the most urgent first once they are given."""

    def __init__(self) -> None:
        self._free, self._number = 0, itertools.count()
        self._waiting: list[tuple[datetime, int, asyncio.Event]] = []

    def give(self, more: int) -> None:
        """Let so many more be taken at the same time."""
        self._free += more
        while self._free and self._waiting:
            self._free -= 1
            heapq.heappop(self._waiting)[2].set()

    @asynccontextmanager
    async def taken(self, urgency: datetime) -> AsyncIterator[None]:
        """Around a change."""
        turn = asyncio.Event()
        heapq.heappush(self._waiting, (urgency, next(self._number), turn))
        self.give(0)
        await turn.wait()
        try:
            yield
        finally:
            self.give(1)


async def load_report(app: App, name: str) -> ServiceReport:
    """The report of a service; an empty one, and a log line, when it cannot be read."""
    try:
        text, _ = await app.reports.read(_report_name(name))
        return read_report(text, app.clock())
    except Exception as error:  # noqa: BLE001 - whatever happens to a report, renewals go on
        log_line("report.unreadable", logging.WARNING, service=name, **why(error))
        return ServiceReport()


def _report_name(service: str) -> str:
    return f"reports/{service}.json"


def log_row(row: Row, now: datetime) -> None:
    """One line for a finished row; `hoursLeft` until the token that is there now expires, if that is known."""
    expiry = row.seen.expiry if row.seen else None
    log_line(
        "run.row",
        _LEVELS.get(row.outcome, logging.INFO),
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
    seen = [row.seen for row in rows if row.seen]
    due, expiry = sorted(token.due for token in seen), sorted(token.expiry for token in seen)
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
