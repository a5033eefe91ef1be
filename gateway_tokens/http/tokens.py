"""Issue a token over HTTP, as JSON or in a format of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import azure.functions as func

from gateway_tokens.errors import (
    AccessDenied,
    GatewayTokensError,
    NotFound,
    RequestInvalid,
    SignInRequired,
    TooManyRequests,
)
from gateway_tokens.estate.schema import ManagedGateway
from gateway_tokens.issuing import (
    Issued,
    TokenFormat,
    TokenRequest,
    env_file,
    issue_for,
    kubernetes_secret,
    log_issued,
)
from gateway_tokens.logs import log_line
from gateway_tokens.parts import App
from gateway_tokens.tokens import KeyType, written

from .answers import answered, json_answer, secret_answer
from .requests import caller_of, query_of, read_token_request

_CALLERS_FAULT = (AccessDenied, NotFound, RequestInvalid, SignInRequired, TooManyRequests)


class TokenApi:
    """Routes over an app that is built on first use; `open_app` raises SettingsInvalid."""

    def __init__(self, open_app: Callable[[], App]) -> None:
        self._open_app = open_app

    @answered
    async def generate_token(self, request: func.HttpRequest) -> func.HttpResponse:
        """Issue a token. Every token issued and every one refused is written to the log."""
        app, caller, token_request = self._open_app(), "nobody", None
        try:
            known = await caller_of(app, request)
            caller = str(known)
            query, body = query_of(request), request.get_body()
            token_request = read_token_request(request.route_params, query, body, app.clock())
            issued = await issue_for(
                known,
                token_request,
                app.settings.estate,
                app.callers_gateways,
                app.clock(),
                active_key=partial(_active_key, app),
            )
        except GatewayTokensError as error:
            level = logging.WARNING if isinstance(error, _CALLERS_FAULT) else logging.ERROR
            log_line("token.refused", level, caller=caller, **_wanted(token_request), code=error.code)
            raise
        log_issued(issued, caller)
        return _formatted(issued, token_request)


async def _active_key(app: App, gateway: ManagedGateway) -> KeyType:
    from .keys import active_key  # noqa: PLC0415 - loads the modules of renewal, which few tokens need

    return await active_key(app, gateway)


def _wanted(request: TokenRequest | None) -> dict[str, Any]:
    if request is None:
        return {}
    return {
        "service": request.ref.service,
        "gateway": request.ref.gateway,
        "keyType": request.key_type or "",
        "expiry": request.expiry or "",
    }


def _formatted(issued: Issued, request: TokenRequest) -> func.HttpResponse:
    """The token in the format asked for; JSON is a superset of Azure's GatewayTokenContract."""
    token = issued.token
    match request.format:
        case TokenFormat.HEADER:
            return secret_answer(token.header_value(), "text/plain")
        case TokenFormat.ENV_FILE:
            return secret_answer(env_file(token), "text/plain")
        case TokenFormat.KUBERNETES:
            return secret_answer(
                kubernetes_secret(token, issued.ownership, request.secret), "application/json"
            )
    contract = {"value": token.value.reveal(), "gatewayId": token.gateway_id}
    return json_answer({**contract, "keyType": issued.ownership.key_type, "expiry": written(token.expiry)})
