"""Health: whether the app can do its job."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

import azure.functions as func

from gateway_tokens.access import Permission
from gateway_tokens.errors import GatewayTokensError, SettingsInvalid
from gateway_tokens.logs import log_line
from gateway_tokens.parts import App
from gateway_tokens.renewal.report import Problem, problems_of, summaries_of

from .answers import answered, json_answer, summary_shown
from .requests import Routes, read_path

KEEP_SECONDS = 10.0  # anybody may ask, and asking lists every report


class HealthApi(Routes):
    """The route `health`."""

    def __init__(self, open_app: Callable[[], App], monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(open_app)
        self._monotonic = monotonic
        self._kept: tuple[float, App, dict[str, Any]] | None = None
        self._turn = asyncio.Lock()

    @answered
    async def health(self, request: func.HttpRequest) -> func.HttpResponse:
        """Whether the app can do its job: 200 when it can, else 503. Up to ten seconds old.

        Anybody gets the status and the codes; the details are for callers with `read`.
        """
        read_path(request)
        try:
            document = await self._kept_or_probed(self.open_app())
        except SettingsInvalid as error:
            # Without settings nobody can be recognised, so the log alone has the faults.
            document = _failed(error)
        healthy = document["status"] == "healthy"
        shown = document if await self._may_read(request) else _codes_of(document)
        return json_answer(shown, HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE)

    async def _kept_or_probed(self, app: App) -> dict[str, Any]:
        async with self._turn:
            kept_until, of, document = self._kept or (0.0, None, {})
            if of is app and self._monotonic() < kept_until:
                return document
            try:
                document = await _probed(app)
            except GatewayTokensError as error:
                document = _failed(error)
            self._kept = self._monotonic() + KEEP_SECONDS, app, document
            return document

    async def _may_read(self, request: func.HttpRequest) -> bool:
        """Whether the caller has `read` on something. Who cannot be recognised is told the status all the same."""
        try:
            _, scope = await self.let_in(request, Permission.READ)
        except GatewayTokensError:
            return False
        # The host checks no key for this route, so a key says nothing about who calls.
        return not scope.caller.function_key and scope.covers_some()


async def _probed(app: App) -> dict[str, Any]:
    """Identity and reports at the same time, since a monitor waits. Reports that cannot be read are a warning."""
    estate = app.settings.estate
    if not estate.manages_something:
        await app.identity_works()
        return _document()
    probes = app.identity_works(), app.reports.entries()
    identity, entries = await asyncio.gather(*probes, return_exceptions=True)
    if isinstance(identity, BaseException):
        raise identity
    if isinstance(entries, GatewayTokensError):
        return _document(warnings=[Problem("reports_unreadable", str(entries))])
    if isinstance(entries, BaseException):
        raise entries
    services = [summary_shown(summary) for summary in summaries_of(estate, entries)]
    return _document(problems_of(estate, entries, app.pause, app.clock()), services=services)


def _document(
    problems: Sequence[Problem] = (),
    warnings: Sequence[Problem] = (),
    services: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    return {
        "status": "unhealthy" if problems else "healthy",
        "problems": [asdict(problem) for problem in problems],
        "warnings": [asdict(warning) for warning in warnings],
        "services": list(services),
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
