"""A run: one message per subscription asks for it, and its services are reconciled side by side.

Any step may be repeated, on two instances, at once: a token is a function of gateway, key and expiry. The record of a
subscription's last run saves doubled work; it never prevents a run.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from random import Random
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, Field

from gateway_tokens.access import matches, overlap
from gateway_tokens.errors import Fault, MessageInvalid
from gateway_tokens.estate.schema import Estate, Service
from gateway_tokens.logs import correlation, log_line
from gateway_tokens.parsing import StrictModel, read_json, read_model
from gateway_tokens.parts import App
from gateway_tokens.tokens import GatewayRef

from .alive import AliveCheck
from .reader import RunOptions
from .rotation import reconcile
from .rows import BAD, Demand, ManagedGateway, Outcome, Row, count, why
from .service import Selects, ServiceRun, log_service

SCHEDULE = "schedule"  # who asks for a run that nobody asks for
EVERYTHING = ("*/*",)
SERVICES_AT_ONCE = 16
SERVICE_SECONDS = 240.0
RUN_SECONDS = 600.0
_MOST_ENDED = 100
_TRIES = 3


class RunRequest(StrictModel):
    """A message that asks for a run of one subscription's services."""

    subscription: str = Field(min_length=1)
    run: str = Field(min_length=1, max_length=64)
    asked_at: AwareDatetime
    asked_by: str = SCHEDULE
    gateways: tuple[str, ...] = EVERYTHING
    force: bool = False
    expires_before: AwareDatetime | None = None

    @property
    def whole(self) -> bool:
        """Whether it asks for every gateway."""
        return "*/*" in self.gateways

    def selects(self, ref: GatewayRef) -> bool:
        """Whether it asks for this gateway."""
        return any(matches(pattern, str(ref)) for pattern in self.gateways)

    def concerns(self, service: str) -> bool:
        """Whether it may ask for some gateway of the service."""
        return any(overlap(pattern, f"{service}/*") for pattern in self.gateways)

    def covers(self, other: RunRequest) -> bool:
        """Whether a run for this request does all that the other asks for."""
        selection = self.whole or set(other.gateways) <= set(self.gateways)
        forced = self.force and self.asked_at >= other.asked_at
        later = self.expires_before and other.expires_before and self.expires_before >= other.expires_before
        return (
            selection and (not other.force or forced) and (not other.expires_before or bool(later or forced))
        )


def run_requests(estate: Estate, now: datetime, run: str = "", **more: Any) -> list[RunRequest]:  # noqa: ANN401 - its fields
    """One request for each subscription that has a service with something to renew among the gateways asked for."""
    run, requests = run or str(uuid.uuid4()), dict[str, RunRequest]()
    for name, service in estate.services.items():
        subscription = service.resource_id.subscription_id
        request = RunRequest(subscription=subscription, run=run, asked_at=now, **more)
        if service.delivers and request.concerns(name):
            requests[subscription] = request
    return [requests[subscription] for subscription in sorted(requests)]


def as_message(request: RunRequest) -> str:
    """The request as the text of a queue message."""
    return request.model_dump_json(by_alias=True, exclude_none=True)


def read_message(body: bytes) -> RunRequest:
    """The request in a queue message. Raises MessageInvalid."""
    document, faults = read_json(body, "message")
    request, more = read_model(RunRequest, document) if not faults else (None, [])
    if request is None:
        raise MessageInvalid([*faults, *more] or [Fault("message", "is not a request")])
    return request


class Runs:
    """The runs of one worker: each subscription once at a time."""

    def __init__(self) -> None:
        self._turns: dict[str, asyncio.Lock] = {}

    async def reconcile(self, app: App, request: RunRequest) -> None:
        """Carry out the request, unless another run has done so. Raises nothing for what happens to a row."""
        correlation.set(request.run)
        wanted = request.subscription.casefold()
        services = {
            name: service
            for name, service in app.settings.estate.services.items()
            if service.delivers and service.resource_id.subscription_id.casefold() == wanted
        }
        if not services:
            log_line("run.not_needed", subscription=request.subscription)
            return
        async with self._turns.setdefault(request.subscription, asyncio.Lock()):
            other = await _covered_by(app, request)
            if other:
                log_line("run.covered", subscription=request.subscription, by=other)
                return
            await _run(app, request, services)


async def reconcile_gateway(
    app: App, gateway: ManagedGateway, demand: Demand, caller: str, seconds: float
) -> list[Row]:
    """Bring one gateway's rows up to date within so many seconds; its service's report is kept up to date."""
    service = await ServiceRun.begun(gateway.ref.service, RunOptions(app, demand, caller))
    async with service.reported(seconds):
        await reconcile(service, [gateway])
    return list(service.rows.values())


async def planned(
    app: App, names: Iterable[str], caller: str, selects: Selects, done: Callable[[], None] = lambda: None
) -> list[ServiceRun]:
    """The services with what a run would do now for the gateways selected; nothing is executed.

    Several are read at once; each that is read calls `done`.
    """
    free, options = asyncio.Semaphore(SERVICES_AT_ONCE), RunOptions(app, Demand(app.clock()), caller)

    async def plan(name: str) -> ServiceRun:
        async with free:
            run = await ServiceRun.begun(name, options)
            await run.plan(await run.gateways(app.settings.estate.services[name], selects))
            done()
            return run

    return await asyncio.gather(*map(plan, names))


async def _run(app: App, request: RunRequest, services: Mapping[str, Service]) -> None:
    started_at, clock = app.clock(), asyncio.get_running_loop().time
    until, free, check = clock() + RUN_SECONDS, asyncio.Semaphore(SERVICES_AT_ONCE), AliveCheck(app)
    issued_before = request.asked_at if request.force else None
    demand = Demand(request.asked_at, issued_before=issued_before, expires_before=request.expires_before)
    options = RunOptions(app, demand, request.asked_by)

    # Not the runs: the rows of hundreds of services would be kept until the last one ends.
    counts: dict[str, Counter[str]] = {}

    async def reconcile_service(name: str) -> None:
        async with free:
            run = await ServiceRun.begun(name, options)
            async with run.reported(min(SERVICE_SECONDS, until - clock()), whole=request.whole):
                await reconcile(run, await run.gateways(services[name], request.selects))
            log_service(name, run.rows.values(), whole=request.whole)
            check.collect(run)
            counts[name] = _counted(run.rows.values(), app.clock())

    # Another order every time, so that no service is always last.
    wanted = sorted(filter(request.concerns, services))
    names = Random(request.run).sample(wanted, len(wanted))  # noqa: S311 - an order is not a secret
    await asyncio.gather(*(reconcile_service(name) for name in names))
    if request.asked_by == SCHEDULE and app.settings.estate.check_alive:
        for run in await _check_alive(app, request, check, until):
            counts[run.name] = _counted(run.rows.values(), app.clock())
    _log(request, sum(counts.values(), Counter[str]()), app.clock() - started_at)


async def _check_alive(
    app: App, request: RunRequest, check: AliveCheck, until: float
) -> Collection[ServiceRun]:
    """The daily question about stored tokens, after all that is due; what it could not ask, the next run asks.

    The services in which rows changed.
    """
    started_at, free = app.clock(), asyncio.Semaphore(SERVICES_AT_ONCE)
    try:
        async with asyncio.timeout_at(until):
            changed = await check.carry_out()
    except TimeoutError:
        log_line("alive.cut_off", logging.WARNING, subscription=request.subscription)
        return ()

    async def save(run: ServiceRun, rows: list[Row]) -> None:
        async with free:
            await run.save(rows, started_at)

    await asyncio.gather(*(save(run, rows) for run, rows in changed.items()))
    return changed


def _counted(rows: Collection[Row], now: datetime) -> Counter[str]:
    """How many rows there are, at risk and failed among them, and how many ended how."""
    at_risk, failed = sum(row.at_risk(now) for row in rows), sum(row.outcome in BAD for row in rows)
    return Counter(rows=len(rows), atRisk=at_risk, bad=failed) + count(rows)


def _log(request: RunRequest, counts: Counter[str], took: timedelta) -> None:
    log_line(
        "run.completed",
        logging.ERROR if counts["bad"] or counts["atRisk"] else logging.INFO,
        subscription=request.subscription,
        askedBy=request.asked_by,
        whole=request.whole,
        rows=counts["rows"],
        **{str(outcome): counts[outcome] for outcome in Outcome},
        atRisk=counts["atRisk"],
        seconds=round(took.total_seconds(), 1),
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list | tuple) else ()


class _Record(RunRequest):
    """A subscription's last run, as its blob remembers it. `ended` are the runs whose place it took."""

    began_at: AwareDatetime
    ended: Annotated[tuple[str, ...], BeforeValidator(_texts)] = ()


def record_name(subscription: str) -> str:
    """The blob that remembers a subscription's last run."""
    return f"runs/{subscription}.json"


async def run_in_place_of(app: App, subscription: str, run: str) -> str:
    """The run that does or did the work of the run with this id in the subscription; empty when that is not known."""
    record, _ = await _record(app, subscription)
    return record.run if record and run in {record.run, *record.ended} else ""


async def _record(app: App, subscription: str) -> tuple[_Record | None, str]:
    """The record and its ETag; None for anything that is not a record."""
    text, etag = await app.reports.read(record_name(subscription))
    document, faults = read_json(text or "{}", "record")
    return (None if faults else read_model(_Record, document)[0]), etag


async def _covered_by(app: App, request: RunRequest) -> str:
    """The id of a run that began after this request and covers it, else nothing, and this run is the one remembered."""

    async def remember(record: _Record, etag: str) -> bool:
        return await app.reports.write(record_name(request.subscription), as_message(record), etag, {})

    try:
        for _ in range(_TRIES):
            before, etag = await _record(app, request.subscription)
            if before is not None and before.run == request.run:
                return ""
            if before is not None and before.began_at > request.asked_at and before.covers(request):
                ended = (*before.ended, request.run)[-_MOST_ENDED:]
                await remember(before.model_copy(update={"ended": ended}), etag)
                return before.run
            if await remember(_Record(**request.model_dump(), began_at=app.clock()), etag):
                return ""
    except Exception as error:  # noqa: BLE001 - this saves work, and never prevents it
        log_line("run.record_unusable", logging.WARNING, subscription=request.subscription, **why(error))
    return ""
