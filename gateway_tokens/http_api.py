"""The HTTP API: one method per route, each from request to answer. Rules live in the rooms it calls."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from .access import Caller
from .callers import bearer_token, key_id_of, verified_caller
from .errors import (
    AccessDenied,
    GatewayTokensError,
    NotFound,
    RequestInvalid,
    SettingsInvalid,
    SignInRequired,
    TooManyRequests,
)
from .forms import Form, env_file, kubernetes_secret
from .health import Problem, problems_of
from .http_answers import answered, json_answer, secret_answer
from .issuing import Issued, issue_for, log_issued
from .log_lines import log_line
from .requests import TokenRequest, read_token_request, require_no_query
from .timestamps import written

if TYPE_CHECKING:
    from collections.abc import Callable

    import azure.functions as func

    from .ports import World
    from .sweep_record import SweepRecord


_CALLERS_FAULT = (AccessDenied, NotFound, TooManyRequests)


class HttpApi:
    """Routes over a world that is put together on first use; `open_world` raises SettingsInvalid."""

    def __init__(self, open_world: Callable[[], World]) -> None:
        self._open_world = open_world

    @answered
    async def generate_token(self, request: func.HttpRequest) -> func.HttpResponse:
        """Issue a token. Every token issued and every one refused leaves a line in the log."""
        world = self._open_world()
        try:
            caller = await caller_of(world, request)
        except GatewayTokensError as error:
            log_line("token.refused", logging.WARNING, caller="nobody", code=error.code)
            raise
        try:
            asked = read_token_request(
                request.route_params, query_of(request), request.get_body(), world.clock()
            )
        except RequestInvalid as error:
            log_line("token.refused", logging.WARNING, caller=caller, code=error.code)
            raise
        try:
            issued = await issue_for(
                caller, asked, world.settings.estate, world.callers_gateways, world.clock()
            )
        except GatewayTokensError as error:
            level = logging.WARNING if isinstance(error, _CALLERS_FAULT) else logging.ERROR
            log_line("token.refused", level, caller=caller, **_asked(asked), code=error.code)
            raise
        log_issued(issued, caller)
        return _in_form(issued, asked)

    @answered
    async def health(self, request: func.HttpRequest) -> func.HttpResponse:
        """Whether the app can do its job: 200 when it can, else 503 with what is wrong."""
        require_no_query(query_of(request))
        record = None
        try:
            world = self._open_world()
            record = await _probed(world)
            problems = problems_of(record, world.interval, world.clock()) if record else []
        except SettingsInvalid as error:
            return _health([Problem(error.code, fault.message, fault.path) for fault in error.faults], record)
        except GatewayTokensError as error:
            return _health([Problem(error.code, str(error))], record)
        return _health(problems, record)


def query_of(request: func.HttpRequest) -> dict[str, str]:
    """The query without `code`, which is the host's: a function key may come in it."""
    # The host passes `code` on, in any case, and leaves parameters without a value out of `params`:
    # AuthenticationLevelHandler.cs, GrpcMessageConversionExtensions.cs in https://github.com/Azure/azure-functions-host.
    named = dict(parse_qsl(request.url.partition("?")[2], keep_blank_values=True))
    return {name: value for name, value in (named | request.params).items() if name.casefold() != "code"}


async def caller_of(world: World, request: func.HttpRequest) -> Caller:
    """Who is calling. Raises SignInRequired, AccessDenied and SigningKeysUnavailable."""
    token, sign_in = bearer_token(request.headers), world.settings.sign_in
    if token is None:
        if world.settings.function_keys:
            # The host has checked the key: the routes have the level for it, by the same setting.
            return Caller(function_key=True)
        raise SignInRequired("Send an access token of Microsoft Entra as 'Authorization: Bearer <token>'.")
    if sign_in is None:
        raise SignInRequired("This app takes no bearer tokens. Send the function key alone.")
    key = await world.signing_key(sign_in.keys_address, key_id_of(token))
    return verified_caller(token, key, sign_in, world.clock())


async def _probed(world: World) -> SweepRecord | None:
    """The record of the last sweep, once the identity works; both at the same time, since a monitor waits."""
    load = world.sweeps.load if world.settings.estate.manages_something else _nothing
    identity, record = await asyncio.gather(world.identity_works(), load(), return_exceptions=True)
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
