"""Health: whether the app can do its job."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

import azure.functions as func

from gateway_tokens.access import Permission, Scope
from gateway_tokens.azure.reports import Entry
from gateway_tokens.errors import GatewayTokensError, SettingsInvalid
from gateway_tokens.logs import log_line
from gateway_tokens.parts import App
from gateway_tokens.renewal.health import Problem, problems_of, summaries_of
from gateway_tokens.tokens import written

from .answers import answered, json_answer
from .requests import caller_of, query_of, require_no_query

KEEP_SECONDS = 10.0  # anybody may ask, and asking lists every report


class HealthApi:
    """The route `health` over an app that is built on first use; `open_app` raises SettingsInvalid."""

    def __init__(self, open_app: Callable[[], App], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._open_app, self._monotonic = open_app, monotonic
        self._kept: tuple[float, App, dict[str, Any]] | None = None
        self._turn = asyncio.Lock()

    @answered
    async def health(self, request: func.HttpRequest) -> func.HttpResponse:
        """Whether the app can do its job: 200 when it can, else 503. Up to ten seconds old.

        Anybody gets the status and the codes; the details are for callers with `read`.
        """
        require_no_query(query_of(request))
        try:
            app = self._open_app()
        except SettingsInvalid as error:
            # Without settings nobody can be recognised, so the log alone has the faults.
            return _answer(_codes_of(_failed(error)))
        document = await self._kept_or_probed(app)
        return _answer(document if await _may_read(app, request) else _codes_of(document))

    async def _kept_or_probed(self, app: App) -> dict[str, Any]:
        async with self._turn:
            if (
                self._kept is None
                or self._kept[1] is not app
                or self._monotonic() >= self._kept[0] + KEEP_SECONDS
            ):
                try:
                    document = await _probed(app)
                except GatewayTokensError as error:
                    document = _failed(error)
                self._kept = self._monotonic(), app, document
            return self._kept[2]


async def _may_read(app: App, request: func.HttpRequest) -> bool:
    """Whether the caller has `read` on something. A caller who cannot be recognised is told the status all the same."""
    try:
        caller = await caller_of(app, request)
    except GatewayTokensError:
        return False
    # The host checks no key for this route, so a key says nothing about who calls.
    return (
        not caller.function_key and Scope(app.settings.estate.access, caller, Permission.READ).covers_some()
    )


async def _probed(app: App) -> dict[str, Any]:
    """Identity and reports at the same time, since a monitor waits. Reports that cannot be read are a warning."""
    estate = app.settings.estate
    listing = app.reports.entries() if estate.manages_something else _nothing()
    identity, entries = await asyncio.gather(app.identity_works(), listing, return_exceptions=True)
    if isinstance(identity, BaseException):
        raise identity
    if isinstance(entries, GatewayTokensError):
        return _document([], warnings=[Problem("reports_unreadable", str(entries))])
    if isinstance(entries, BaseException):
        raise entries
    problems = problems_of(estate, entries, app.pause, app.clock()) if estate.manages_something else []
    services = [
        {
            "service": s.service,
            "run": s.run,
            "completedAt": s.completed_at and written(s.completed_at),
            "rows": s.rows,
            "failed": s.failed,
            "atRisk": s.at_risk,
        }
        for s in summaries_of(estate, entries)
    ]
    return _document(problems, services=services)


async def _nothing() -> list[Entry]:
    """The reports of an estate that delivers no token anywhere."""
    return []


def _document(
    problems: list[Problem],
    *,
    warnings: list[Problem] | None = None,
    services: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    return {
        "status": "unhealthy" if problems else "healthy",
        "problems": [asdict(problem) for problem in problems],
        "warnings": [asdict(warning) for warning in warnings or []],
        "services": services or [],
    }


def _failed(error: GatewayTokensError) -> dict[str, Any]:
    log_line("request.failed", logging.ERROR, code=error.code, error=str(error))
    return _document([Problem(error.code, str(error))])


def _codes_of(document: dict[str, Any]) -> dict[str, Any]:
    """What anybody may see of the document: nothing that names a setting, a service or an address."""
    codes = {
        name: [{"code": code} for code in dict.fromkeys(entry["code"] for entry in document[name])]
        for name in ("problems", "warnings")
    }
    return {"status": document["status"], **codes}


def _answer(document: dict[str, Any]) -> func.HttpResponse:
    healthy = document["status"] == "healthy"
    return json_answer(document, HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE)
