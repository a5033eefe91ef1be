"""The routes on renewal: what is stored, what is due, renew now; and the form of rows and reports in answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import datetime
from http import HTTPStatus
from typing import Any

import azure.functions as func

from gateway_tokens.access import Scope
from gateway_tokens.azure.budget import Cost
from gateway_tokens.errors import NotFound, NotManaged, SweepFailed
from gateway_tokens.estate.schema import Permission
from gateway_tokens.renewal.gateway import Unit, look
from gateway_tokens.renewal.parts import App
from gateway_tokens.renewal.report import MOST_ROWS_KEPT, Outcome, Row, SweepReport
from gateway_tokens.renewal.run import plan, remembered, renew_now, sweep, terms_of
from gateway_tokens.renewal.service import Turns, unit_of
from gateway_tokens.tokens import GatewayRef, written

from .answers import answered, json_answer, problem
from .requests import caller_of, query_of, read_gateway, read_service, require_no_query


def report_answer(report: SweepReport, now: datetime) -> func.HttpResponse:
    """The report; inside a problem document when any row failed, so that whoever asked cannot miss it."""
    if report.failed:
        return problem(SweepFailed(report.failed, report.total), report=summary(report, now))
    return json_answer(summary(report, now))


def summary(report: SweepReport, now: datetime) -> dict[str, Any]:
    """A report for callers; `notListed` counts rows that had something to say but found no room."""
    left_out = report.total - len(report.rows) - report.counts[Outcome.FRESH] - report.counts["keep"]
    return {
        "rows": report.total,
        "counts": dict(report.counts),
        "atRisk": report.at_risk,
        "listed": [
            {"service": row.ref.service, "gatewayId": row.ref.gateway, **shown_row(row, now)}
            for row in report.rows
        ],
        "notListed": max(left_out, 0),
    }


def shown_row(row: Row, now: datetime) -> dict[str, Any]:
    """A row for callers: times in UTC, `secondsLeft` until the token now there expires."""
    expiry = row.new_expiry or row.expiry
    return {
        "destination": row.location,
        "action": row.action,
        "reason": row.reason,
        "message": row.message,
        "outcome": row.outcome,
        "lastOutcome": row.outcome or row.last_outcome or (Outcome.RENEWED if row.issued_at else None),
        "issuedAt": _text(row.issued_at),
        "expiry": _text(expiry),
        "oldExpiry": _text(row.expiry),
        "secondsLeft": int((expiry - now).total_seconds()) if expiry else None,
        "nextRenewal": _text(row.due),
        "keyType": row.key_type,
        "consecutiveFailures": row.failures,
        "lastFailure": _text(row.last_failure),
        "code": row.code or None,
        "error": row.error or None,
    }


def _text(moment: datetime | None) -> str | None:
    return written(moment) if moment else None


# Seconds until a caller is told that the work goes on without it: less than any caller waits for an answer.
_ANSWER_WITHIN = 45.0


class RenewalApi:
    """Routes over an app that is put together on first use; `open_app` raises SettingsInvalid."""

    def __init__(self, open_app: Callable[[], App], answer_within: float = _ANSWER_WITHIN) -> None:
        self._open_app = open_app
        self._answer_within = answer_within
        self._running: set[asyncio.Task[SweepReport]] = set()

    @answered
    async def list_gateways(self, request: func.HttpRequest) -> func.HttpResponse:
        """A service's self-hosted gateways that the caller may read, live, with what their destinations hold."""
        app = self._open_app()
        caller = await caller_of(app, request)
        wanted = read_service(request.route_params, query_of(request))
        scope = Scope(app.settings.estate.access, caller, Permission.READ)
        scope.require_some(wanted)
        name, service = app.settings.estate.find(wanted)
        refs = [
            GatewayRef(name, gateway) async for gateway in app.callers_gateways.names(service.resource_id)
        ]
        seen = [ref for ref in refs if scope.covers(ref)]
        shown = await _looked_at(app, seen)
        gateways = [{"gatewayId": ref.gateway, "destinations": shown.get(ref, [])} for ref in seen]
        return json_answer({"service": name, "gateways": gateways})

    @answered
    async def plan(self, request: func.HttpRequest) -> func.HttpResponse:
        """What the next sweep would do and why, for the gateways the caller may read; nothing is executed."""
        app = self._open_app()
        scope = await _scope(app, request, Permission.READ)
        await _spend(app, scope)
        report = SweepReport(app.clock())

        def show(row: Row) -> None:
            report.counts[row.action or "unknown"] += 1
            report.at_risk += row.at_risk(app.clock())
            if row.action != "keep" and len(report.rows) < MOST_ROWS_KEPT:
                report.rows.append(row)

        await plan(app, scope, show)
        return json_answer(summary(report, app.clock()))

    @answered
    async def sweep(self, request: func.HttpRequest) -> func.HttpResponse:
        """Sweep the gateways that the caller may renew, now; a caller that may renew all gets a complete sweep."""
        app = self._open_app()
        scope = await _scope(app, request, Permission.RENEW)
        await _spend(app, scope)
        everything = all(scope.covers_all(name) for name in app.settings.estate.services)
        work = sweep(app, scope, complete=everything, caller=str(scope.caller))
        return await self._in_time(work, app)

    @answered
    async def renew(self, request: func.HttpRequest) -> func.HttpResponse:
        """Renew one gateway's token at all its destinations, now, due or not."""
        app = self._open_app()
        caller = await caller_of(app, request)
        asked = read_gateway(request.route_params, query_of(request))
        Scope(app.settings.estate.access, caller, Permission.RENEW).require(asked)
        return await self._in_time(_renewed(app, asked, str(caller)), app)

    async def _in_time(self, work: Coroutine[None, None, SweepReport], app: App) -> func.HttpResponse:
        """The work's report, or, before the platform cuts the caller off, that the work goes on without it."""
        running = asyncio.create_task(work)
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        done, _ = await asyncio.wait([running], timeout=self._answer_within)
        if not done:
            said = "This goes on. The log lines 'sweep.row', and 'sweep.completed' for a sweep, tell its end."
            return json_answer({"status": "running", "detail": said}, HTTPStatus.ACCEPTED)
        return report_answer(running.result(), app.clock())


async def _renewed(app: App, asked: GatewayRef, caller: str) -> SweepReport:
    unit = await _unit(app, asked)
    await app.callers_budget.spend(unit.service.subscription_id, Cost.WRITE)
    return await renew_now(app, unit, caller)


async def _unit(app: App, asked: GatewayRef) -> Unit:
    """The gateway under the name that Azure gives it, since locations are named after it and may heed case."""
    name, service = app.settings.estate.find(asked.service, asked.gateway)
    async for gateway in app.callers_gateways.names(service.resource_id):
        if GatewayRef(name, gateway) == asked:
            unit = unit_of(name, service, gateway)
            if unit is None:
                raise NotManaged(str(asked))
            return unit
    raise NotFound(str(asked))


async def _scope(app: App, request: func.HttpRequest, permission: Permission) -> Scope:
    """What the caller may do this with. Raises RequestInvalid, and AccessDenied when that is nothing."""
    caller = await caller_of(app, request)
    require_no_query(query_of(request))
    scope = Scope(app.settings.estate.access, caller, permission)
    scope.require_some()
    return scope


async def _spend(app: App, scope: Scope) -> None:
    """Take a turn for each service that will be listed. Raises TooManyRequests."""
    services = app.settings.estate.services.items()
    listed = Counter(
        service.resource_id.subscription_id for name, service in services if scope.covers_some(name)
    )
    for subscription_id, count in listed.items():
        await app.callers_budget.spend(subscription_id, Cost.READ, count)


async def _looked_at(app: App, refs: list[GatewayRef]) -> dict[GatewayRef, list[dict[str, Any]]]:
    terms = terms_of(app, await remembered(app))
    shown: dict[GatewayRef, list[dict[str, Any]]] = {}

    async def one(unit: Unit | Row) -> None:
        if isinstance(unit, Unit):
            shown[unit.ref] = [shown_row(row, app.clock()) for row in await look(unit, terms)]

    async with asyncio.TaskGroup() as group:
        turns = Turns(group, one)
        for ref in refs:
            unit = unit_of(ref.service, app.settings.estate.services[ref.service], ref.gateway)
            if unit is not None:
                await turns.add(unit)
    return shown
