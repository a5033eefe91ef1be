"""Keep a whole estate. Finds the gateways, keeps so many at a time, logs and counts, and remembers what failed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from gateway_tokens.access import Scope
from gateway_tokens.errors import AzureError
from gateway_tokens.estate.schema import Estate
from gateway_tokens.logs import log_line
from gateway_tokens.renewal.parts import App

from .gateway import SCHEDULE, Terms, Unit, keep, look
from .record import SweepRecord
from .report import NEW_FAILURE, Outcome, Row, SweepReport
from .service import for_each_gateway, gone_since


def log_row(row: Row, now: datetime) -> None:
    """One line for a finished row; `hoursLeft` until the token that is there now expires, if that is known."""
    expiry = row.new_expiry or row.expiry
    log_line(
        "sweep.row",
        logging.ERROR if row.outcome in NEW_FAILURE else logging.INFO,
        service=row.ref.service,
        gateway=row.ref.gateway,
        destination=row.location,
        reason=row.reason,
        outcome=row.outcome or "",
        keyType=row.key_type or "",
        oldExpiry=row.expiry or "",
        newExpiry=row.new_expiry or "",
        atRisk=row.at_risk(now),
        hoursLeft=round((expiry - now).total_seconds() / 3600, 1) if expiry else "",
        consecutiveFailures=row.failures,
        code=row.code,
        error=row.error,
    )


def log_subscriptions(estate: Estate, report: SweepReport) -> None:
    """One line for each subscription of the estate that a complete sweep has been through: an alert misses it."""
    for subscription_id in sorted(
        {service.resource_id.subscription_id for service in estate.services.values()}
    ):
        log_line("sweep.subscription", subscription=subscription_id, rows=report.total, failed=report.failed)


def log_sum(report: SweepReport, now: datetime, *, complete: bool) -> None:
    """One line for a finished sweep."""
    log_line(
        "sweep.completed",
        logging.ERROR if report.failed or report.at_risk else logging.INFO,
        rows=report.total,
        **{str(outcome): report.counts[outcome] for outcome in Outcome},
        atRisk=report.at_risk,
        complete=complete,
        seconds=round((now - report.started_at).total_seconds(), 1),
    )


_PROGRESS_EVERY = 100
_FOR_EVER = datetime.max.replace(tzinfo=UTC)
Change = Callable[[SweepRecord], SweepRecord]


async def sweep(
    app: App, scope: Scope | None = None, *, complete: bool = True, caller: str = SCHEDULE
) -> SweepReport:
    """Keep every gateway within the scope; every row is logged and counted, whatever the others did.

    `complete`: the whole estate is swept, so the record may say so. `caller`: who asked, for the log. Raises AzureError
    only when the record cannot be written, after all rows are done.
    """
    record = await remembered(app)
    report = SweepReport(app.clock(), known=frozenset(record.troubles))
    terms = replace(terms_of(app, record), caller=caller)

    def done(row: Row) -> None:
        report.add(row, app.clock())
        log_row(row, app.clock())

    async def one(found: Unit | Row) -> None:
        for row in [found] if isinstance(found, Row) else await keep(found, terms):
            done(row)
            if report.total % _PROGRESS_EVERY == 0:
                log_line("sweep.progress", rows=report.total, failed=report.failed)

    await for_each_gateway(app, scope, terms.troubles, one)
    for row in gone_since(app, record.gateways, report) if complete else ():
        done(row)
    log_sum(report, app.clock(), complete=complete)
    if complete:
        log_subscriptions(app.settings.estate, report)
    await app.sweeps.update(lambda before: remember(before, report, app.clock(), complete=complete))
    return report


async def plan(app: App, scope: Scope | None, show: Callable[[Row], None]) -> None:
    """Show every row within the scope as a sweep would find it, with what it would do and why; execute nothing."""
    terms = terms_of(app, await remembered(app))

    async def one(found: Unit | Row) -> None:
        for row in [found] if isinstance(found, Row) else await look(found, terms):
            show(row)

    await for_each_gateway(app, scope, terms.troubles, one)


async def renew_now(app: App, unit: Unit, caller: str) -> SweepReport:
    """Renew one gateway at all its destinations, due or not, for that caller."""
    record = await remembered(app)
    terms = replace(terms_of(app, record), renew_by=_FOR_EVER, caller=caller)
    return await keep_and_remember(app, unit, terms, record)


async def keep_and_remember(
    app: App, unit: Unit, terms: Terms, record: SweepRecord, also: Change = lambda after: after
) -> SweepReport:
    """Keep one gateway and remember how that went, with a further change of the record."""
    report = SweepReport(app.clock(), known=frozenset(record.troubles))
    for row in await keep(unit, terms):
        report.add(row, app.clock())
        log_row(row, app.clock())
    await app.sweeps.update(lambda before: also(remember(before, report, app.clock(), complete=False)))
    return report


async def remembered(app: App) -> SweepRecord:
    """The last sweep's record; an empty one, and a line in the log, when it cannot be read."""
    try:
        return await app.sweeps.load()
    except AzureError as error:
        log_line("sweep.record_unreadable", logging.ERROR, code=error.code, error=str(error))
        return SweepRecord()


def terms_of(app: App, record: SweepRecord) -> Terms:
    """What a run in this app works under."""
    return Terms(app.clock, app.gateways, app.destination, app.interval, record.troubles)


def remember(before: SweepRecord, report: SweepReport, now: datetime, *, complete: bool) -> SweepRecord:
    """The record after a sweep. A complete one also forgets the troubles of rows that are no more."""
    kept = {
        name: trouble
        for name, trouble in before.troubles.items()
        if name not in report.settled and (not complete or _service(name) in report.unlisted)
    }
    troubles = {**kept, **report.troubles}
    if not complete:
        return replace(before, troubles=troubles)
    return replace(
        before,
        started_at=report.started_at,
        completed_at=now,
        counts=dict(report.counts),
        risk_begins=report.risk_begins,
        troubles=troubles,
        gateways=tuple(
            sorted({*report.gateways, *(g for g in before.gateways if _service(g) in report.unlisted)})
        ),
    )


def _service(name: str) -> str:
    """The service in the name of a gateway or a row, whose case does not matter."""
    return name.partition("/")[0].casefold()
