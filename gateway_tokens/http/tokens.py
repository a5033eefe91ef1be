"""Issue a token over HTTP, as JSON or in a format of its own."""

from __future__ import annotations

import logging
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
from gateway_tokens.sign_in import Caller
from gateway_tokens.tokens import KeyType, written

from .answers import answered, json_answer, secret_answer
from .requests import Routes, caller_of, read_token_request

_CALLERS_FAULT = (AccessDenied, NotFound, RequestInvalid, SignInRequired, TooManyRequests)


class TokenApi(Routes):
    """The routes that issue tokens."""

    @answered
    async def generate_token(self, request: func.HttpRequest) -> func.HttpResponse:
        """Issue a token. Every token issued and every one refused is written to the log."""
        app, caller, token_request = self.open_app(), Caller(), None
        try:
            caller = await caller_of(app, request)
            token_request = read_token_request(request, app.clock())
            estate, active_key = app.settings.estate, partial(_active_key, app)
            issued = await issue_for(
                caller, token_request, estate, app.callers_gateways, app.clock(), active_key=active_key
            )
        except GatewayTokensError as error:
            level = logging.WARNING if isinstance(error, _CALLERS_FAULT) else logging.ERROR
            log_line("token.refused", level, caller=caller, **_wanted(token_request), code=error.code)
            raise
        log_issued(issued, caller)
        return _formatted(issued, token_request)


async def _active_key(app: App, gateway: ManagedGateway) -> KeyType:
    # This loads the modules of renewal, which few tokens need.
    from gateway_tokens.renewal.rotation import active_key  # noqa: PLC0415

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
