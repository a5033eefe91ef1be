"""Issue a token over HTTP, as JSON or in a format of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import azure.functions as func

from gateway_tokens.errors import AccessDenied, GatewayTokensError, NotFound, RequestInvalid, TooManyRequests
from gateway_tokens.formats import TokenFormat, env_file, kubernetes_secret
from gateway_tokens.issuing import Issued, TokenRequest, issue_for, log_issued
from gateway_tokens.logs import log_line
from gateway_tokens.renewal.parts import App
from gateway_tokens.tokens import written

from .answers import answered, json_answer, secret_answer
from .requests import caller_of, query_of, read_token_request

_CALLERS_FAULT = (AccessDenied, NotFound, TooManyRequests)


class TokenApi:
    """Routes over a app that is put together on first use; `open_app` raises SettingsInvalid."""

    def __init__(self, open_app: Callable[[], App]) -> None:
        self._open_app = open_app

    @answered
    async def generate_token(self, request: func.HttpRequest) -> func.HttpResponse:
        """Issue a token. Every token issued and every one refused is written to the log."""
        app = self._open_app()
        try:
            caller = await caller_of(app, request)
        except GatewayTokensError as error:
            log_line("token.refused", logging.WARNING, caller="nobody", code=error.code)
            raise
        try:
            asked = read_token_request(
                request.route_params, query_of(request), request.get_body(), app.clock()
            )
        except RequestInvalid as error:
            log_line("token.refused", logging.WARNING, caller=caller, code=error.code)
            raise
        try:
            issued = await issue_for(caller, asked, app.settings.estate, app.callers_gateways, app.clock())
        except GatewayTokensError as error:
            level = logging.WARNING if isinstance(error, _CALLERS_FAULT) else logging.ERROR
            log_line("token.refused", level, caller=caller, **_asked(asked), code=error.code)
            raise
        log_issued(issued, caller)
        return _in_form(issued, asked)


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
    if asked.form is TokenFormat.HEADER:
        return secret_answer(token.header_value(), "text/plain")
    if asked.form is TokenFormat.ENV_FILE:
        return secret_answer(env_file(token), "text/plain")
    if asked.form is TokenFormat.KUBERNETES:
        return secret_answer(kubernetes_secret(token, issued.ownership, asked.secret), "application/json")
    return json_answer(
        {
            "value": token.value.reveal(),
            "gatewayId": token.gateway_id,
            "keyType": issued.ownership.key_type,
            "expiry": written(token.expiry),
        }
    )
