"""The HTTP API: one method per route, each from request to answer. Rules live in the rooms it calls."""

from __future__ import annotations

import logging
from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from .callers import who_is_calling
from .errors import (
    AccessDenied,
    GatewayTokensError,
    NotFound,
    RequestInvalid,
    SettingsInvalid,
    SignInRequired,
)
from .forms import Form, env_file, kubernetes_secret
from .health import Problem, problems_of
from .http_answers import answered, json_answer, secret_answer
from .issuing import Issued, issue_for
from .log_lines import log_line
from .patience import patience
from .requests import TokenRequest, read_token_request
from .timestamps import written

if TYPE_CHECKING:
    from collections.abc import Callable

    import azure.functions as func

    from .access import Caller
    from .ports import World
    from .sweep_record import SweepRecord

_PROBE_PATIENCE = 15.0  # seconds for each thing that health looks at: a monitor waits for its answer


class HttpApi:
    """Routes over a world that is put together on first use; `open_world` raises SettingsInvalid."""

    def __init__(self, open_world: Callable[[], World], probe_patience: float = _PROBE_PATIENCE) -> None:
        self._open_world, self._probe_patience = open_world, probe_patience

    @answered
    async def generate_token(self, request: func.HttpRequest) -> func.HttpResponse:
        """Issue a token. Every token issued and every one refused leaves a line in the log."""
        world = self._open_world()
        try:
            caller = caller_of(world, request)
        except SignInRequired as error:
            log_line("token.refused", logging.WARNING, caller="nobody", code=error.code)
            raise
        try:
            asked = read_token_request(
                request.route_params, request.params, request.get_body(), world.clock()
            )
        except RequestInvalid as error:
            log_line("token.refused", logging.WARNING, caller=caller, code=error.code)
            raise
        try:
            issued = await issue_for(caller, asked, world.settings.estate, world.gateways, world.clock())
        except GatewayTokensError as error:
            level = logging.WARNING if isinstance(error, (AccessDenied, NotFound)) else logging.ERROR
            log_line("token.refused", level, caller=caller, **_asked(asked), code=error.code)
            raise
        issued.leave_line(caller)
        return _in_form(issued, asked)

    @answered
    async def health(self, request: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG002 - every route takes one
        """Whether the app can do its job: 200 when it can, else 503 with what is wrong."""
        record = None
        try:
            world = self._open_world()
            with patience(self._probe_patience):
                await world.identity_works()
                managing = world.settings.estate.manages_something
                record = await world.sweeps.load() if managing else None
            problems = problems_of(record, world.interval, world.clock()) if record else []
        except SettingsInvalid as error:
            return _health([Problem(error.code, fault.message, fault.path) for fault in error.faults], record)
        except GatewayTokensError as error:
            return _health([Problem(error.code, str(error))], record)
        return _health(problems, record)

    @answered
    async def openapi(self, request: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG002 - every route takes one
        """The description of this API."""
        from .openapi import description

        return json_answer(description())


def caller_of(world: World, request: func.HttpRequest) -> Caller:
    """Who is calling. Raises SignInRequired."""
    settings = world.settings
    return who_is_calling(
        request.headers, settings.sign_in, signed_in_by_platform=settings.signed_in_by_platform
    )


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


def _asked(asked: TokenRequest) -> dict[str, Any]:
    return {
        "service": asked.ref.service,
        "gateway": asked.ref.gateway,
        "keyType": asked.key_type or "",
        "expiry": asked.expiry or "",
    }


def _in_form(issued: Issued, asked: TokenRequest) -> func.HttpResponse:
    """The token in the form asked for; JSON is a superset of Azure's GatewayTokenContract."""
    token = issued.token
    if asked.form is Form.HEADER:
        return secret_answer(token.header_value(), "text/plain")
    if asked.form is Form.ENV_FILE:
        return secret_answer(env_file(token), "text/plain")
    if asked.form is Form.KUBERNETES:
        return secret_answer(kubernetes_secret(token, issued.label, asked.secret), "application/json")
    return json_answer(
        {
            "value": token.value.reveal(),
            "gatewayId": token.gateway_id,
            "keyType": issued.label.key_type,
            "expiry": written(token.expiry),
        }
    )
