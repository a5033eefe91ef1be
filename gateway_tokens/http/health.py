"""Health: whether the app can do its job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from http import HTTPStatus

import azure.functions as func

from gateway_tokens.errors import GatewayTokensError, SettingsInvalid
from gateway_tokens.renewal.health import Problem, problems_of
from gateway_tokens.renewal.parts import App
from gateway_tokens.renewal.record import SweepRecord
from gateway_tokens.tokens import written

from .answers import answered, json_answer
from .requests import query_of, require_no_query


class HealthApi:
    """The route `health` over an app that is put together on first use; `open_app` raises SettingsInvalid."""

    def __init__(self, open_app: Callable[[], App]) -> None:
        self._open_app = open_app

    @answered
    async def health(self, request: func.HttpRequest) -> func.HttpResponse:
        """Whether the app can do its job: 200 when it can, else 503 with what is wrong."""
        require_no_query(query_of(request))
        record = None
        try:
            app = self._open_app()
            record = await _probed(app)
            problems = problems_of(record, app.interval, app.clock()) if record else []
        except SettingsInvalid as error:
            return _health([Problem(error.code, fault.message, fault.path) for fault in error.faults], record)
        except GatewayTokensError as error:
            return _health([Problem(error.code, str(error))], record)
        return _health(problems, record)


async def _probed(app: App) -> SweepRecord | None:
    """The record of the last sweep, once the identity works; both at the same time, since a monitor waits."""
    load = app.sweeps.load if app.settings.estate.manages_something else _nothing
    identity, record = await asyncio.gather(app.identity_works(), load(), return_exceptions=True)
    if isinstance(identity, BaseException):
        raise identity
    if isinstance(record, BaseException):
        raise record
    return record


async def _nothing() -> None:
    """What is remembered of an estate that delivers no token anywhere."""


def _health(problems: list[Problem], record: SweepRecord | None) -> func.HttpResponse:
    last = (
        {"completedAt": written(record.completed_at), "rows": record.counts}
        if record and record.completed_at
        else None
    )
    document = {
        "status": "unhealthy" if problems else "healthy",
        "problems": [asdict(problem) for problem in problems],
        "lastSweep": last,
    }
    return json_answer(document, HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK)
