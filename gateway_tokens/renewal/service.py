"""Which gateways there are to keep: what Azure lists, what the settings name, and what they have in common."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import replace

from gateway_tokens.access import Scope
from gateway_tokens.estate.schema import Service
from gateway_tokens.logs import log_line
from gateway_tokens.renewal.parts import App
from gateway_tokens.tokens import GatewayRef, is_gateway_id

from .checks import Reason
from .gateway import Unit
from .record import Trouble
from .report import Outcome, Row, SweepReport, failure_of

# Gateways worked on at the same time.
CONCURRENCY = 16


class Turns:
    """Runs work in a task group, so many at a time; whoever adds more waits until there is a turn for it."""

    def __init__(
        self, group: asyncio.TaskGroup, work: Callable[[Unit | Row], Coroutine[None, None, None]]
    ) -> None:
        self._group, self._work = group, work
        self._free = asyncio.Semaphore(CONCURRENCY)

    async def add(self, item: Unit | Row) -> None:
        """Begin to work on the item as soon as there is a turn."""
        await self._free.acquire()
        self._group.create_task(self._work(item)).add_done_callback(lambda _: self._free.release())


async def for_each_gateway(
    app: App,
    scope: Scope | None,
    troubles: Mapping[str, Trouble],
    work: Callable[[Unit | Row], Coroutine[None, None, None]],
) -> None:
    """Work on every gateway within the scope (None: all of them) that is to be kept, and on a finished row for what needs no work.

    Services are listed side by side. When one cannot be listed that is a failed row, and the gateways that the
    settings name one by one are kept all the same.
    """
    async with asyncio.TaskGroup() as group:
        turns = Turns(group, work)
        for name, service in app.settings.estate.services.items():
            if service.delivers and (scope is None or scope.covers_some(name)):
                group.create_task(_search_service(app, name, service, scope, troubles=troubles, turns=turns))


def unit_of(name: str, service: Service, gateway: str) -> Unit | None:
    """The gateway as a unit of work, or None when no rule delivers its token anywhere."""
    rule = service.rule_for(gateway)
    if rule is None or not rule.renew or not rule.destinations:
        return None
    return Unit(GatewayRef(name, gateway), service.resource_id, rule)


async def _search_service(
    app: App,
    name: str,
    service: Service,
    scope: Scope | None,
    *,
    troubles: Mapping[str, Trouble],
    turns: Turns,
) -> None:
    listed: set[str] = set()
    try:
        async for gateway in app.gateways.names(service.resource_id):
            listed.add(gateway.casefold())
            unit = unit_of(name, service, gateway) if is_gateway_id(gateway) else None
            if unit is not None and (scope is None or scope.covers(unit.ref)):
                await turns.add(unit)
    except Exception as error:  # noqa: BLE001 - one service's listing must not stop the others
        code, said = failure_of(error)
        log_line("sweep.not_listed", logging.ERROR, service=name, code=code, error=said)
        await turns.add(_not_listed(name, service, error, app, troubles))
        for unit in _named_one_by_one(name, service, listed):
            if scope is None or scope.covers(unit.ref):
                await turns.add(unit)
        return
    for unit in _named_one_by_one(name, service, listed):
        if scope is None or scope.covers(unit.ref):
            await turns.add(_gone(unit))


def _named_one_by_one(name: str, service: Service, listed: set[str]) -> Iterator[Unit]:
    """The gateways that the settings name literally and Azure did not list."""
    for pattern in service.gateways:
        unit = unit_of(name, service, pattern) if "*" not in pattern else None
        if unit is not None and pattern.casefold() not in listed:
            yield unit


def gone_since(app: App, before: Iterable[str], report: SweepReport) -> Iterator[Row]:
    """A finished row for each gateway that the last sweep kept and this complete one did not find.

    Those that the settings name literally are told of by every sweep instead: see `discover`.
    """
    for name, gateway in (one.split("/") for one in before if one not in report.gateways):
        service = app.settings.estate.services.get(name)
        if service is None or name.casefold() in report.unlisted or gateway in service.gateways:
            continue
        if unit := unit_of(name, service, gateway):
            yield _gone(unit, "the service had this gateway at the last sweep, and has it no more: deleted")


_NEVER_SEEN = "the settings name this gateway, but the service has none of that name: deleted, or misspelt"


def _gone(unit: Unit, said: str = _NEVER_SEEN) -> Row:
    location = unit.rule.destinations[0].location(unit.ref)
    return Row(unit.ref, location, None, Reason.GATEWAY_GONE, said, Outcome.GONE)


def _not_listed(
    name: str, service: Service, error: Exception, app: App, troubles: Mapping[str, Trouble]
) -> Row:
    said = "the service's gateways could not be listed"
    row = Row(GatewayRef(name, "*"), str(service.resource_id), None, Reason.NOT_LISTED, said, Outcome.FAILED)
    before = troubles.get(row.name)
    code, detail = failure_of(error)
    failures = (before.failures if before else 0) + 1
    return replace(row, failures=failures, last_failure=app.clock(), code=code, error=detail)
