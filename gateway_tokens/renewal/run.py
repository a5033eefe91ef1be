"""A run: one message per subscription asks for it, and its services are reconciled side by side.

Any step may be repeated, on two instances, at once: a token is a function of gateway, key and expiry. The record of a
subscription's last run saves doubled work; it never prevents a run.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from random import Random

from gateway_tokens.estate.schedule import Calendar
from gateway_tokens.estate.schema import Estate, ManagedGateway, Service
from gateway_tokens.logs import correlation, log_line
from gateway_tokens.parsing import read_json, read_model
from gateway_tokens.parts import App

from .alive import AliveCheck
from .causes import Causes
from .messages import SCHEDULE, RunRequest, as_message
from .reader import RunOptions
from .report import BAD, Outcome, Row, ServiceReport, count, read_report, why
from .rows import Demand
from .service import ServiceRun, log_service

SERVICES_AT_ONCE = 16
SERVICE_SECONDS = 240.0
RUN_SECONDS = 600.0
_MOST_ENDED = 100
_TRIES = 3
_NEVER = datetime.min.replace(tzinfo=UTC)


class Runs:
    """The runs of one worker: each subscription once at a time."""

    def __init__(self) -> None:
        self._turns: dict[str, asyncio.Lock] = {}

    async def reconcile(self, app: App, request: RunRequest) -> None:
        """Carry out the request, unless another run has done so. Raises nothing for what happens to a row."""
        correlation.set(request.run)
        services = _services(app.settings.estate, request.subscription)
        if not services:
            log_line("run.not_needed", subscription=request.subscription)
            return
        async with self._turns.setdefault(request.subscription, asyncio.Lock()):
            other = await _covered_by(app, request)
            if other:
                log_line("run.covered", subscription=request.subscription, by=other)
                return
            await _run(app, request, services)


def options_of(app: App, demand: Demand, caller: str) -> RunOptions:
    """What a run of this app works under."""
    calendar = Calendar(app.settings.schedule, app.pause, app.settings.estate.freeze)
    return RunOptions(
        demand,
        caller,
        calendar,
        app.clock,
        app.gateways,
        app.destination,
        Causes(time.monotonic),
        app.settings.log_fresh_rows,
    )


async def reconcile_gateway(
    app: App, gateway: ManagedGateway, demand: Demand, caller: str, seconds: float
) -> list[Row]:
    """Bring one gateway's rows up to date within so many seconds; its service's report is kept up to date."""
    started_at, name = app.clock(), gateway.ref.service
    run = ServiceRun(name, options_of(app, demand, caller), await load_report(app, name))
    try:
        async with asyncio.timeout(seconds):
            await run.reconcile([gateway])
    except TimeoutError:
        log_line("service.cut_off", logging.ERROR, service=name, rows=len(run.rows))
    rows = list(run.rows.values())
    await save_report(app, name, rows, correlation.get(), started_at=started_at, whole=False)
    return rows


async def load_report(app: App, name: str) -> ServiceReport:
    """The report of a service; an empty one, and a log line, when it cannot be read."""
    try:
        text, _ = await app.reports.read(_report_name(name))
        return read_report(text, app.clock())
    except Exception as error:  # noqa: BLE001 - whatever happens to a report, renewals go on
        log_line("report.unreadable", logging.WARNING, service=name, **why(error))
        return ServiceReport()


async def save_report(
    app: App, name: str, rows: Iterable[Row], run: str, *, started_at: datetime, whole: bool
) -> None:
    """Bring the report of a service up to date; a log line when it cannot be written."""
    rows, now = list(rows), app.clock()

    def changed(text: str | None) -> tuple[str, Mapping[str, str]]:
        report = read_report(text, now).with_rows(rows, run, now, started_at=started_at, whole=whole)
        return report.as_text(), report.summary(now)

    try:
        await app.reports.update(_report_name(name), changed)
    except Exception as error:  # noqa: BLE001 - whatever happens to a report, renewals go on
        log_line("report.not_written", logging.WARNING, service=name, **why(error))


async def _run(app: App, request: RunRequest, services: dict[str, Service]) -> None:
    started_at, until = app.clock(), asyncio.get_running_loop().time() + RUN_SECONDS
    issued_before = request.asked_at if request.force else None
    demand = Demand(request.asked_at, issued_before=issued_before, expires_before=request.expires_before)
    options = options_of(app, demand, request.asked_by)
    # Another order every time, so that no service is always last.
    wanted = sorted(filter(request.concerns, services))
    names = Random(request.run).sample(wanted, len(wanted))  # noqa: S311 - an order is not a secret
    free, check = asyncio.Semaphore(SERVICES_AT_ONCE), AliveCheck(app.clock, app.pause)

    async def one(name: str) -> ServiceRun:
        async with free:
            run = await _service(app, request, name, services[name], options=options, until=until)
            check.collect(run)
            return run

    runs = await asyncio.gather(*(one(name) for name in names))
    if request.asked_by == SCHEDULE and app.settings.estate.check_alive:
        await _check_alive(app, request, check, until)
    _log(request, [row for run in runs for row in run.rows.values()], started_at, app.clock())


def _log(request: RunRequest, rows: list[Row], started_at: datetime, now: datetime) -> None:
    counts, at_risk = count(rows), sum(row.at_risk(now) for row in rows)
    failed = sum(row.outcome in BAD for row in rows)
    log_line(
        "run.completed",
        logging.ERROR if failed or at_risk else logging.INFO,
        subscription=request.subscription,
        askedBy=request.asked_by,
        whole=request.whole,
        rows=len(rows),
        **{str(outcome): counts[outcome] for outcome in Outcome},
        atRisk=at_risk,
        seconds=round((now - started_at).total_seconds(), 1),
    )


async def _check_alive(app: App, request: RunRequest, check: AliveCheck, until: float) -> None:
    """The daily question about stored tokens, after all that is due; what it could not ask, the next run asks."""
    started_at = app.clock()
    try:
        async with asyncio.timeout_at(until):
            changed = await check.carry_out()
    except TimeoutError:
        log_line("alive.cut_off", logging.WARNING, subscription=request.subscription)
        return
    free = asyncio.Semaphore(SERVICES_AT_ONCE)

    async def save(run: ServiceRun, rows: list[Row]) -> None:
        async with free:
            await save_report(app, run.name, rows, request.run, started_at=started_at, whole=False)

    await asyncio.gather(*(save(run, rows) for run, rows in changed.items()))


async def _service(
    app: App, request: RunRequest, name: str, service: Service, *, options: RunOptions, until: float
) -> ServiceRun:
    started_at, now = app.clock(), asyncio.get_running_loop().time()
    run = ServiceRun(name, options, await load_report(app, name))
    try:
        async with asyncio.timeout_at(min(until, now + SERVICE_SECONDS)):
            await run.reconcile(await run.gateways(service, request.selects))
    except TimeoutError:
        log_line("service.cut_off", logging.ERROR, service=name, rows=len(run.rows))
    rows = run.rows.values()
    log_service(name, rows, whole=request.whole)
    await save_report(app, name, rows, request.run, started_at=started_at, whole=request.whole)
    return run


def _services(estate: Estate, subscription: str) -> dict[str, Service]:
    wanted = subscription.casefold()
    return {
        name: service
        for name, service in estate.services.items()
        if service.delivers and service.resource_id.subscription_id.casefold() == wanted
    }


def record_name(subscription: str) -> str:
    """The blob that remembers a subscription's last run."""
    return f"runs/{subscription}.json"


def _report_name(service: str) -> str:
    return f"reports/{service}.json"


async def _covered_by(app: App, request: RunRequest) -> str:
    """The id of a run that began after this request and covers it, else nothing, and this run is the one remembered."""
    try:
        for _ in range(_TRIES):
            text, etag = await app.reports.read(record_name(request.subscription))
            record = _record(text)
            before, began_at, ended = record
            if before is not None and before.run == request.run:
                return ""
            if before is not None and began_at > request.asked_at and before.covers(request):
                await _remember(app, before, began_at, [*ended, request.run], etag)
                return before.run
            if await _remember(app, request, app.clock(), [], etag):
                return ""
    except Exception as error:  # noqa: BLE001 - this saves work, and never prevents it
        log_line("run.record_unusable", logging.WARNING, subscription=request.subscription, **why(error))
    return ""


async def place_of(app: App, subscription: str, run: str) -> str:
    """The run that does or did the work of the run with this id in the subscription; empty when that is not known."""
    record, _, ended = _record((await app.reports.read(record_name(subscription)))[0])
    return record.run if record and run in {record.run, *ended} else ""


async def _remember(app: App, request: RunRequest, began_at: datetime, ended: list[str], etag: str) -> bool:
    document = {
        **json.loads(as_message(request)),
        "beganAt": began_at.isoformat(),
        "ended": ended[-_MOST_ENDED:],
    }
    return await app.reports.write(record_name(request.subscription), json.dumps(document), etag, {})


def _record(text: str | None) -> tuple[RunRequest | None, datetime, list[str]]:
    """The last run's request, when it began, and the requests that it took the place of; None for anything else."""
    document, faults = read_json(text or "{}", "record")
    if faults or not isinstance(document, dict):
        return None, _NEVER, []
    began_at, ended = document.pop("beganAt", None), document.pop("ended", None)
    request, _ = read_model(RunRequest, document)
    try:
        moment = datetime.fromisoformat(str(began_at))
    except ValueError:
        return None, _NEVER, []
    return (
        (request if moment.tzinfo else None),
        moment,
        [run for run in ended if isinstance(run, str)] if isinstance(ended, list) else [],
    )
