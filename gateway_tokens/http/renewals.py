"""The routes on renewal: what is stored, what is due, ask for a run, renew one gateway now; and the form of rows."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

import azure.functions as func

from gateway_tokens.access import Permission, Scope
from gateway_tokens.azure.clients import Cost
from gateway_tokens.errors import NotFound, NotManaged, RenewalFailed
from gateway_tokens.estate.schedule import Freeze
from gateway_tokens.estate.schema import GatewayRule, ManagedGateway
from gateway_tokens.logs import correlation, log_line
from gateway_tokens.parts import App
from gateway_tokens.renewal.health import summaries_of
from gateway_tokens.renewal.keys import KeyState
from gateway_tokens.renewal.messages import as_message, run_requests
from gateway_tokens.renewal.reader import RunOptions
from gateway_tokens.renewal.report import BAD, Outcome, Row, ServiceReport, count
from gateway_tokens.renewal.rows import Action, Demand
from gateway_tokens.renewal.run import SERVICES_AT_ONCE, load_report, options_of, place_of, reconcile_gateway
from gateway_tokens.renewal.service import Selects, ServiceRun, managed
from gateway_tokens.tokens import GatewayRef, written

from .answers import answered, json_answer, problem
from .requests import (
    caller_of,
    query_of,
    read_gateway,
    read_run,
    read_run_wish,
    read_service,
    require_no_query,
)

# Rows in one answer. The log has every row.
MOST_ROWS_SHOWN = 500
# Seconds within which one gateway is renewed: less than any caller waits for an answer.
_RENEW_WITHIN = 45.0
# So long before a freeze it is told what to renew ahead of it: a token renewed then outlives most freezes.
_FREEZE_AHEAD = timedelta(days=7)
_PASSES_OVER = (
    "What `force` and `expiresBefore` ask for does not wait for maintenance windows or the end of a freeze."
)


class RenewalApi:
    """Routes over an app that is built on first use; `open_app` raises SettingsInvalid."""

    def __init__(self, open_app: Callable[[], App], renew_within: float = _RENEW_WITHIN) -> None:
        self._open_app, self._renew_within = open_app, renew_within

    @answered
    async def list_gateways(self, request: func.HttpRequest) -> func.HttpResponse:
        """A service's self-hosted gateways that the caller may read, live, with what their destinations hold."""
        app = self._open_app()
        caller = await caller_of(app, request)
        wanted = read_service(request.route_params, query_of(request))
        scope = Scope(app.settings.estate.access, caller, Permission.READ)
        scope.require_some(wanted)
        name, service = app.settings.estate.find(wanted)
        names = [gateway async for gateway in app.callers_gateways.names(service.resource_id)]
        refs = [ref for ref in (GatewayRef(name, gateway) for gateway in names) if scope.covers(ref)]
        gateways = [gateway for ref in refs if (gateway := managed(name, service, ref.gateway, paused=True))]
        run = ServiceRun(
            name, options_of(app, Demand(app.clock()), str(caller)), await load_report(app, name)
        )
        await run.plan(gateways)
        destinations: dict[GatewayRef, list[dict[str, Any]]] = {ref: [] for ref in refs}
        for row in run.rows.values():
            destinations[row.id.ref].append(shown(row, run.report, app.clock()))
        listed = [{"gatewayId": ref.gateway, "destinations": rows} for ref, rows in destinations.items()]
        return json_answer({"service": name, "gateways": listed})

    @answered
    async def plan(self, request: func.HttpRequest) -> func.HttpResponse:
        """What a run would do now and why, for the gateways the caller may read; nothing is executed."""
        app = self._open_app()
        caller = await caller_of(app, request)
        require_no_query(query_of(request))
        scope = Scope(app.settings.estate.access, caller, Permission.READ)
        scope.require_some()
        await _spend(app, scope)
        runs = await _planned(app, scope)
        rows = [(row, run.report) for run in runs for row in run.rows.values()]
        services = [
            {"service": r.name, "run": r.report.run, "completedAt": _text(r.report.completed_at)}
            for r in runs
        ]
        keys = [key_shown(ref, state) for run in runs for ref, state in run.key_states().items()]
        freeze = _freeze_shown(app.settings.estate.freeze, [row for row, _ in rows], app.clock())
        return json_answer(
            {**_summary(rows, app.clock()), "services": services, "keys": keys, "freeze": freeze}
        )

    @answered
    async def show_run(self, request: func.HttpRequest) -> func.HttpResponse:
        """Where the run of that id is, or the one that took its place, for the services the caller may read."""
        app = self._open_app()
        caller = await caller_of(app, request)
        run = read_run(request.route_params, query_of(request))
        scope = Scope(app.settings.estate.access, caller, Permission.READ)
        scope.require_some()
        return json_answer(await _state_of(app, run, scope))

    @answered
    async def run(self, request: func.HttpRequest, messages: func.Out[list[str]]) -> func.HttpResponse:
        """Ask for a run of the gateways that the caller may renew: 202 with the run's id. The log and GET renewals tell its end."""
        app = self._open_app()
        caller = await caller_of(app, request)
        require_no_query(query_of(request))
        wish = read_run_wish(request.get_body())
        patterns = Scope(app.settings.estate.access, caller, Permission.RENEW).narrowed(wish.gateways)
        requests = run_requests(
            app.settings.estate,
            app.clock(),
            correlation.get(),
            asked_by=str(caller),
            gateways=patterns,
            force=wish.force,
            expires_before=wish.expires_before,
        )
        messages.set([as_message(each) for each in requests])
        log_line("run.asked", caller=caller, run=correlation.get(), subscriptions=len(requests))
        answer = {"run": correlation.get(), "subscriptions": [r.subscription for r in requests]}
        message = _PASSES_OVER if wish.force or wish.expires_before else None
        return json_answer({**answer, "message": message}, HTTPStatus.ACCEPTED)

    @answered
    async def renew(self, request: func.HttpRequest) -> func.HttpResponse:
        """Renew one gateway's token at all its destinations, now, due or not. Does not wait for a restart."""
        app = self._open_app()
        caller = await caller_of(app, request)
        ref = read_gateway(request.route_params, query_of(request))
        Scope(app.settings.estate.access, caller, Permission.RENEW).require(ref)
        gateway = await _managed(app, ref)
        await app.callers_budget.spend(gateway.service.subscription_id, Cost.WRITE)
        now = app.clock()
        demand = Demand(now, issued_before=now)
        rows = await reconcile_gateway(app, gateway, demand, str(caller), self._renew_within)
        failed, document = sum(row.outcome in BAD for row in rows), _summary(rows, app.clock())
        return problem(RenewalFailed(failed, len(rows)), report=document) if failed else json_answer(document)


async def _managed(app: App, ref: GatewayRef) -> ManagedGateway:
    gateway = await found(app, ref)
    if gateway.rule.paused(app.clock()) or not gateway.rule.destinations:
        raise NotManaged(str(ref))
    return gateway


async def found(app: App, ref: GatewayRef) -> ManagedGateway:
    """The gateway under the name that Azure gives it, since locations are named after it and may heed case. Raises NotFound."""
    name, service = app.settings.estate.find(ref.service, ref.gateway)
    async for gateway in app.callers_gateways.names(service.resource_id):
        if GatewayRef(name, gateway) == ref:
            return ManagedGateway(
                GatewayRef(name, gateway), service.resource_id, service.rule_for(gateway) or GatewayRule()
            )
    raise NotFound(str(ref))


async def _spend(app: App, scope: Scope) -> None:
    """Take a turn for each service that will be listed. Raises TooManyRequests."""
    services = app.settings.estate.services.items()
    listed = Counter(
        service.resource_id.subscription_id for name, service in services if scope.covers_some(name)
    )
    for subscription_id, number in listed.items():
        await app.callers_budget.spend(subscription_id, Cost.READ, number)


async def planned(app: App, name: str, options: RunOptions, selects: Selects) -> ServiceRun:
    """A service with what a run would do now for the gateways selected; nothing is executed."""
    run = ServiceRun(name, options, await load_report(app, name))
    await run.plan(await run.gateways(app.settings.estate.services[name], selects))
    return run


async def _planned(app: App, scope: Scope) -> list[ServiceRun]:
    free, options = (
        asyncio.Semaphore(SERVICES_AT_ONCE),
        options_of(app, Demand(app.clock()), str(scope.caller)),
    )

    async def one(name: str) -> ServiceRun:
        async with free:
            return await planned(app, name, options, scope.covers)

    names = [n for n, s in app.settings.estate.services.items() if s.delivers and scope.covers_some(n)]
    return await asyncio.gather(*(one(name) for name in names))


def key_shown(ref: GatewayRef, state: KeyState) -> dict[str, Any]:
    """A gateway's rotation for callers."""
    return {
        "service": ref.service,
        "gatewayId": ref.gateway,
        "activeKey": state.active,
        "since": _text(state.since),
        "phase": state.phase,
        "nextAt": _text(state.next_at),
        "waitsFor": state.waits_for or None,
    }


async def _state_of(app: App, run: str, scope: Scope) -> dict[str, Any]:
    """Where a run is: per subscription the run that did its work, and the services that have a report of it."""
    subscriptions = sorted({r.subscription for r in run_requests(app.settings.estate, app.clock())})
    found = await asyncio.gather(*(place_of(app, name, run) for name in subscriptions))
    places = {name: place for name, place in zip(subscriptions, found, strict=True) if place}
    ids = {run, *places.values()}
    summaries = [
        s
        for s in summaries_of(app.settings.estate, await app.reports.entries())
        if scope.covers_some(s.service)
    ]
    done = [
        {
            "service": s.service,
            "run": s.run,
            "completedAt": _text(s.completed_at),
            "rows": s.rows,
            "failed": s.failed,
            "atRisk": s.at_risk,
        }
        for s in summaries
        if s.run in ids
    ]
    return {
        "run": run,
        "subscriptions": [{"subscription": n, "run": p} for n, p in places.items()],
        "services": done,
    }


def _summary(rows: Iterable[tuple[Row, ServiceReport] | Row], now: datetime) -> dict[str, Any]:
    """Rows for callers: those that have something to say; `notListed` counts those that found no room."""
    pairs = [row if isinstance(row, tuple) else (row, ServiceReport()) for row in rows]
    telling = [
        (row, report)
        for row, report in pairs
        if row.outcome not in {None, Outcome.FRESH}
        or row.decision.action is not Action.KEEP
        or not row.readable
        or row.at_risk(now)
    ]
    listed = telling[:MOST_ROWS_SHOWN]
    return {
        "rows": len(pairs),
        "counts": dict(count(row for row, _ in pairs)),
        "atRisk": sum(row.at_risk(now) for row, _ in pairs),
        "listed": [
            {"service": row.id.ref.service, "gatewayId": row.id.ref.gateway, **shown(row, report, now)}
            for row, report in listed
        ],
        "notListed": len(telling) - len(listed),
    }


def _freeze_shown(freezes: Iterable[Freeze], rows: Iterable[Row], now: datetime) -> dict[str, Any] | None:
    """The freeze that is on or comes next, with what to renew ahead of it."""
    freeze = min((one for one in freezes if now < one.ends), key=lambda one: one.begins, default=None)
    if freeze is None:
        return None
    endangered = [row.seen.expiry for row in rows if row.seen and row.seen.at_risk_from < freeze.ends]
    frozen, message = freeze.begins <= now, None
    if endangered and not frozen and freeze.begins - now <= _FREEZE_AHEAD:
        message = (
            f"{len(endangered)} tokens are at risk before it ends, and would be renewed in it. POST renewals with "
            f'{{"expiresBefore": "{written(max(endangered))}"}} renews them ahead of it.'
        )
    return {
        "frozen": frozen,
        "from": written(freeze.begins),
        "to": written(freeze.ends),
        "reason": freeze.reason,
        "message": message,
    }


def shown(row: Row, report: ServiceReport, now: datetime) -> dict[str, Any]:
    """A row for callers: times in UTC, `secondsLeft` until the token now there expires."""
    seen, before = row.seen, report.rows.get(str(row.id))
    failure = row.failure or (before.failure if before else None)
    return {
        "destination": row.id.location,
        "action": row.decision.action if row.readable else None,
        "reason": row.decision.reason,
        "message": row.decision.message,
        "outcome": row.outcome,
        "lastOutcome": row.outcome or (before.outcome if before else None),
        "issuedAt": _text(seen.issued_at if seen else None),
        "expiry": _text(seen.expiry if seen else None),
        "oldExpiry": _text(row.old_expiry),
        "secondsLeft": int((seen.expiry - now).total_seconds()) if seen else None,
        "nextRenewal": _text(seen.due if seen else None),
        "keyType": seen and seen.key_type,
        "failingSince": _text(row.failing_since or (before.failing_since if before else None)),
        "code": failure and failure.code,
        "error": failure and failure.text,
    }


def _text(moment: datetime | None) -> str | None:
    return written(moment) if moment else None
