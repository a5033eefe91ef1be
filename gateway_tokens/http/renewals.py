"""The routes on renewal: what is stored, what is due, ask for a run, renew one gateway now, revoke a key; and the form of rows."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

import azure.functions as func

from gateway_tokens.access import Permission, Scope
from gateway_tokens.azure.clients import Cost
from gateway_tokens.errors import NotFound, NotManaged, RenewalFailed
from gateway_tokens.estate.schedule import Freeze
from gateway_tokens.estate.schema import GatewayRule
from gateway_tokens.logs import correlation, log_line
from gateway_tokens.parts import App
from gateway_tokens.renewal.keys import KeyState
from gateway_tokens.renewal.reader import RunOptions
from gateway_tokens.renewal.report import ServiceReport, summaries_of
from gateway_tokens.renewal.rotation import Revocation, Revoked, revoke
from gateway_tokens.renewal.rows import BAD, Action, Demand, ManagedGateway, Outcome, Row, count
from gateway_tokens.renewal.run import (
    as_message,
    planned,
    reconcile_gateway,
    run_in_place_of,
    run_requests,
)
from gateway_tokens.renewal.service import ServiceRun, managed
from gateway_tokens.tokens import GatewayRef, written

from .answers import answered, json_answer, problem, row_shown, summary_shown, text_of
from .requests import RevocationBody, Routes, RunWish, read_body, read_path

# Rows in one answer. The log has every row.
MOST_ROWS_SHOWN = 500
# Seconds within which one gateway is renewed: less than any caller waits for an answer.
RENEW_SECONDS = 45.0
_GATEWAY = ("service", "gatewayId")
# So long before a freeze it is told what to renew ahead of it: a token renewed then outlives most freezes.
_FREEZE_AHEAD = timedelta(days=7)
_PULLED = "No destination holds a token of this gateway: its hosts take up a new token when they ask next."
_PASSES_OVER = (
    "What `force` and `expiresBefore` ask for does not wait for maintenance windows or the end of a freeze."
)


class RenewalApi(Routes):
    """The routes on renewal and revocation."""

    @answered
    async def list_gateways(self, request: func.HttpRequest) -> func.HttpResponse:
        """A service's self-hosted gateways that the caller may read, live, with what their destinations hold."""
        app, scope = await self.let_in(request, Permission.READ)
        [wanted] = read_path(request, "service")
        scope.require_some(wanted)
        name, service = app.settings.estate.find(wanted)
        names = [gateway async for gateway in app.callers_gateways.names(service.resource_id)]
        refs = [ref for ref in (GatewayRef(name, gateway) for gateway in names) if scope.covers(ref)]
        gateways = [gateway for ref in refs if (gateway := managed(name, service, ref.gateway, paused=True))]
        options = RunOptions(app, Demand(app.clock()), str(scope.caller))
        run = await ServiceRun.begun(name, options)
        await run.plan(gateways)
        destinations: dict[GatewayRef, list[dict[str, Any]]] = {ref: [] for ref in refs}
        for row in run.rows.values():
            destinations[row.id.ref].append(row_shown(row, run.report, app.clock()))
        listed = [{"gatewayId": ref.gateway, "destinations": rows} for ref, rows in destinations.items()]
        return json_answer({"service": name, "gateways": listed})

    @answered
    async def plan(self, request: func.HttpRequest) -> func.HttpResponse:
        """What a run would do now and why, for the gateways the caller may read; nothing is executed."""
        app, scope = await self.let_in(request, Permission.READ)
        read_path(request)
        scope.require_some()
        services = {n: s for n, s in app.settings.estate.services.items() if scope.covers_some(n)}
        listings = Counter(service.resource_id.subscription_id for service in services.values())
        for subscription_id, number in listings.items():
            await app.callers_budget.spend(subscription_id, Cost.READ, number)
        names = [name for name, service in services.items() if service.delivers]
        runs, now = await planned(app, names, str(scope.caller), scope.covers), app.clock()
        rows = [(row, run.report) for run in runs for row in run.rows.values()]
        document = {
            **_summary(rows, now),
            "services": [
                {"service": run.name, "run": run.report.run, "completedAt": text_of(run.report.completed_at)}
                for run in runs
            ],
            "keys": [_key_shown(ref, state) for run in runs for ref, state in run.key_states().items()],
            "freeze": _freeze_shown(app.settings.estate.freeze, [row for row, _ in rows], now),
        }
        return json_answer(document)

    @answered
    async def show_run(self, request: func.HttpRequest) -> func.HttpResponse:
        """Where the run of that id is, or the one that took its place, for the services the caller may read."""
        app, scope = await self.let_in(request, Permission.READ)
        [run] = read_path(request, "run")
        scope.require_some()
        estate = app.settings.estate
        readable = [s for n, s in estate.services.items() if s.delivers and scope.covers_some(n)]
        subscriptions = sorted({service.resource_id.subscription_id for service in readable})
        others = await asyncio.gather(*(run_in_place_of(app, name, run) for name in subscriptions))
        runs = {name: other for name, other in zip(subscriptions, others, strict=True) if other}
        ids, entries = {run, *runs.values()}, await app.reports.entries()
        document = {
            "run": run,
            "subscriptions": [{"subscription": name, "run": other} for name, other in runs.items()],
            "services": [
                summary_shown(summary)
                for summary in summaries_of(estate, entries)
                if summary.run in ids and scope.covers_some(summary.service)
            ],
        }
        return json_answer(document)

    @answered
    async def run(self, request: func.HttpRequest, messages: func.Out[list[str]]) -> func.HttpResponse:
        """Ask for a run of the gateways that the caller may renew: 202 with the run's id. The log and GET renewals tell its end."""
        app, scope = await self.let_in(request, Permission.RENEW)
        wish, _ = read_body(request, RunWish)
        run = correlation.get()
        requests = run_requests(
            app.settings.estate,
            app.clock(),
            run,
            asked_by=str(scope.caller),
            gateways=scope.narrowed(wish.gateways),
            force=wish.force,
            expires_before=wish.expires_before,
        )
        messages.set([as_message(each) for each in requests])
        log_line("run.asked", caller=scope.caller, run=run, subscriptions=len(requests))
        message = _PASSES_OVER if wish.force or wish.expires_before else None
        subscriptions = [each.subscription for each in requests]
        answer = {"run": run, "subscriptions": subscriptions, "message": message}
        return json_answer(answer, HTTPStatus.ACCEPTED)

    @answered
    async def renew(self, request: func.HttpRequest) -> func.HttpResponse:
        """Renew one gateway's token at all its destinations, now, due or not. Does not wait for a restart."""
        app, scope = await self.let_in(request, Permission.RENEW)
        ref = GatewayRef(*read_path(request, *_GATEWAY))
        gateway = await _looked_up(app, scope, ref)
        if gateway.rule.paused(app.clock()) or not gateway.rule.destinations:
            raise NotManaged(str(ref))
        await app.callers_budget.spend(gateway.service.subscription_id, Cost.WRITE)
        now = app.clock()
        demand = Demand(now, issued_before=now)
        rows = await reconcile_gateway(app, gateway, demand, str(scope.caller), RENEW_SECONDS)
        failed = sum(row.outcome in BAD for row in rows)
        document = _summary([(row, ServiceReport()) for row in rows], app.clock())
        return problem(RenewalFailed(failed, len(rows)), report=document) if failed else json_answer(document)

    @answered
    async def revoke(self, request: func.HttpRequest) -> func.HttpResponse:
        """Deliver tokens of the other key everywhere, then regenerate the one that is named."""
        app, scope = await self.let_in(request, Permission.REVOKE)
        body, names = read_body(request, RevocationBody, *_GATEWAY)
        gateway = await _looked_up(app, scope, GatewayRef(*names))
        await app.callers_budget.spend(gateway.service.subscription_id, Cost.WRITE)
        wanted = Revocation(body.key_type, body.reason, body.immediately, body.dry_run)
        revoked = await revoke(app, gateway, wanted, str(scope.caller))
        document = _revoked(gateway.rule, wanted, revoked, app.clock())
        return problem(revoked.stopped, report=document) if revoked.stopped else json_answer(document)


async def _looked_up(app: App, scope: Scope, ref: GatewayRef) -> ManagedGateway:
    """The gateway under the name that Azure gives it, since locations are named after it and may heed case.

    Raises AccessDenied before anything is looked up, then NotFound.
    """
    scope.require(ref)
    name, service = app.settings.estate.find(ref.service, ref.gateway)
    async for gateway in app.callers_gateways.names(service.resource_id):
        if GatewayRef(name, gateway) == ref:
            rule = service.rule_for(gateway) or GatewayRule()
            return ManagedGateway(GatewayRef(name, gateway), service.resource_id, rule)
    raise NotFound(str(ref))


def _key_shown(ref: GatewayRef, state: KeyState) -> dict[str, Any]:
    """A gateway's rotation for callers."""
    return {
        "service": ref.service,
        "gatewayId": ref.gateway,
        "activeKey": state.active,
        "since": text_of(state.since),
        "phase": state.phase,
        "nextAt": text_of(state.next_at),
        "waitsFor": state.waits_for or None,
    }


def _revoked(rule: GatewayRule, wanted: Revocation, revoked: Revoked, now: datetime) -> dict[str, Any]:
    message = "" if rule.destinations else _PULLED
    if rule.key_type is wanted.key_type:
        message = f"The rule names the {rule.key_type} key, so the next run moves back to it. Change `keyType` to keep away from it."
    return {
        "keyType": wanted.key_type,
        "regenerated": revoked.regenerated,
        "dryRun": wanted.dry_run,
        "timeWasOver": any(row.outcome is Outcome.NOT_REACHED for row in revoked.rows),
        "destinations": [row_shown(row, ServiceReport(), now) for row in revoked.rows],
        "message": message or None,
    }


def _summary(rows: Sequence[tuple[Row, ServiceReport]], now: datetime) -> dict[str, Any]:
    """Rows for callers: those that have something to say; `notListed` counts those that found no room."""
    telling = [
        {"service": row.id.ref.service, "gatewayId": row.id.ref.gateway, **row_shown(row, report, now)}
        for row, report in rows
        if row.outcome not in {None, Outcome.FRESH}
        or row.decision.action is not Action.KEEP
        or not row.readable
        or row.at_risk(now)
    ]
    return {
        "rows": len(rows),
        "counts": dict(count(row for row, _ in rows)),
        "atRisk": sum(row.at_risk(now) for row, _ in rows),
        "listed": telling[:MOST_ROWS_SHOWN],
        "notListed": len(telling[MOST_ROWS_SHOWN:]),
    }


def _freeze_shown(freezes: Iterable[Freeze], rows: Iterable[Row], now: datetime) -> dict[str, Any] | None:
    """The freeze that is on or comes next, with what to renew ahead of it."""
    freeze = min(
        (freeze for freeze in freezes if now < freeze.ends), key=lambda freeze: freeze.begins, default=None
    )
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
