"""The HTTP API's half on renewal: what is stored, what is due, renew now. One method per route."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from .access import Permission, lifetime_ceiling, may, require_some
from .discovery import unit_of
from .errors import NotFound, NotManaged, SweepFailed
from .http_answers import answered, json_answer, problem
from .http_api import caller_of
from .model import GatewayRef
from .patience import SWEEP_PATIENCE, patience
from .renewing import Unit, keep, look
from .report import MOST_ROWS_KEPT, Outcome, Row, SweepReport
from .requests import read_gateway, read_service
from .sweeping import log_row, plan, remember, remembered, spread, sweep, terms_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    import azure.functions as func

    from .access import Caller
    from .ports import World

# Seconds until a caller of POST renewals is told that the sweep goes on without it; the platform cuts at 230.
_ANSWER_WITHIN = 200.0
_FOR_EVER = datetime.max.replace(tzinfo=UTC)


class RenewalApi:
    """Routes over a world that is put together on first use; `open_world` raises SettingsInvalid."""

    def __init__(self, open_world: Callable[[], World], answer_within: float = _ANSWER_WITHIN) -> None:
        self._open_world = open_world
        self._answer_within = answer_within
        self._running: set[asyncio.Task[SweepReport]] = set()

    @answered
    async def list_gateways(self, request: func.HttpRequest) -> func.HttpResponse:
        """A service's self-hosted gateways that the caller may read, live, with what their destinations hold."""
        world = self._open_world()
        caller = caller_of(world, request)
        wanted = read_service(request.route_params)
        rules = world.settings.estate.access
        require_some(rules, caller, Permission.READ, wanted)
        found = world.settings.estate.service(wanted)
        if found is None:
            raise NotFound(wanted)
        name, service = found
        refs = [GatewayRef(name, gateway) async for gateway in world.gateways.names(service.id)]
        seen = [ref for ref in refs if may(rules, caller, Permission.READ, ref)]
        shown = await _looked_at(world, seen)
        gateways = [{"gatewayId": ref.gateway, "destinations": shown.get(ref, [])} for ref in seen]
        return json_answer({"service": name, "gateways": gateways})

    @answered
    async def plan(self, request: func.HttpRequest) -> func.HttpResponse:
        """What the next sweep would do and why, for the gateways the caller may read; nothing is executed."""
        world = self._open_world()
        permitted = _permitted(world, caller_of(world, request), Permission.READ)
        report = SweepReport(world.clock())
        async with aclosing(plan(world, permitted)) as rows:
            async for row in rows:
                report.counts[row.action or "unknown"] += 1
                if row.action != "keep" and len(report.rows) < MOST_ROWS_KEPT:
                    report.rows.append(row)
        return json_answer(_summary(report, world.clock()))

    @answered
    async def sweep(self, request: func.HttpRequest) -> func.HttpResponse:
        """Sweep the gateways that the caller may renew, now; a caller that may renew all gets a complete sweep."""
        world = self._open_world()
        caller = caller_of(world, request)
        permitted = _permitted(world, caller, Permission.RENEW)
        everything = all(_all_of(world, caller, name) for name in world.settings.estate.services)
        with patience(SWEEP_PATIENCE):
            return await self._in_time(sweep(world, permitted, complete=everything), world)

    @answered
    async def renew(self, request: func.HttpRequest) -> func.HttpResponse:
        """Renew one gateway's token at all its destinations, now, due or not."""
        world = self._open_world()
        caller = caller_of(world, request)
        asked = read_gateway(request.route_params)
        lifetime_ceiling(world.settings.estate.access, caller, Permission.RENEW, asked)
        return await self._in_time(_renew(world, await _unit(world, asked)), world)

    async def _in_time(self, work: Coroutine[None, None, SweepReport], world: World) -> func.HttpResponse:
        """The work's report, or, before the platform cuts the caller off, that the work goes on without it."""
        running = asyncio.create_task(work)
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        done, _ = await asyncio.wait([running], timeout=self._answer_within)
        if not done:
            said = "This goes on. The log lines 'sweep.row', and 'sweep.completed' for a sweep, tell its end."
            return json_answer({"status": "running", "detail": said}, HTTPStatus.ACCEPTED)
        return _answer(running.result(), world.clock())


async def _renew(world: World, unit: Unit) -> SweepReport:
    record = await remembered(world)
    report = SweepReport(world.clock(), known=frozenset(record.troubles))
    for row in await keep(unit, replace(terms_of(world, record), renew_by=_FOR_EVER)):
        report.add(row, world.clock())
        log_row(row)
    await world.sweeps.update(lambda before: remember(before, report, world.clock(), complete=False))
    return report


async def _unit(world: World, asked: GatewayRef) -> Unit:
    """The gateway under the name that Azure gives it, since places are named after it and may heed case."""
    found = world.settings.estate.service(asked.service)
    if found is None:
        raise NotFound(str(asked))
    name, service = found
    async for gateway in world.gateways.names(service.id):
        if gateway.casefold() == asked.gateway.casefold():
            unit = unit_of(name, service, gateway)
            if unit is None:
                raise NotManaged(str(asked))
            return unit
    raise NotFound(str(asked))


def _permitted(world: World, caller: Caller, permission: Permission) -> Callable[[GatewayRef], bool]:
    rules = world.settings.estate.access
    require_some(rules, caller, permission)
    return lambda ref: may(rules, caller, permission, ref)


def _all_of(world: World, caller: Caller, service: str) -> bool:
    """Whether the caller may renew whatever gateway the service has: some pattern covers every name."""
    # `*` itself is a name that only a pattern ending in a wildcard of its own matches.
    return may(world.settings.estate.access, caller, Permission.RENEW, GatewayRef(service, "*"))


async def _looked_at(world: World, refs: list[GatewayRef]) -> dict[GatewayRef, list[dict[str, Any]]]:
    terms = terms_of(world, await remembered(world))
    shown: dict[GatewayRef, list[dict[str, Any]]] = {}

    async def units() -> AsyncGenerator[Unit | Row]:
        for ref in refs:
            unit = unit_of(ref.service, world.settings.estate.services[ref.service], ref.gateway)
            if unit is not None:
                yield unit

    async def one(unit: Unit | Row) -> None:
        if isinstance(unit, Unit):
            shown[unit.ref] = [shown_row(row, world.clock()) for row in await look(unit, terms)]

    await spread(units(), one)
    return shown


def _answer(report: SweepReport, now: datetime) -> func.HttpResponse:
    """The report; inside a problem document when any row failed, so that whoever asked cannot miss it."""
    if report.failed:
        return problem(SweepFailed(report.failed, report.total), report=_summary(report, now))
    return json_answer(_summary(report, now))


def _summary(report: SweepReport, now: datetime) -> dict[str, Any]:
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
        "destination": row.place,
        "action": row.action,
        "reason": row.reason,
        "message": row.message,
        "outcome": row.outcome,
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
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None
