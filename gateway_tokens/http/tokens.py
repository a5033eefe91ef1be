"""Issue a token over HTTP, as JSON or in a format of its own: access first, then existence, then Azure, then the check."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import azure.functions as func

from gateway_tokens.access import Caller, Permission, Scope
from gateway_tokens.azure.api_management import ArmGateways, gateway_missing, issue_checked
from gateway_tokens.errors import (
    AccessDenied,
    AzureNotFound,
    GatewayTokensError,
    KeyNotActive,
    NotFound,
    RequestInvalid,
    SignInRequired,
    TooManyRequests,
)
from gateway_tokens.estate.schema import Estate, GatewayRule
from gateway_tokens.formats import TokenFormat, env_file, kubernetes_secret
from gateway_tokens.logs import log_issued, log_line
from gateway_tokens.parsing import duration_text
from gateway_tokens.parts import App
from gateway_tokens.stored import Ownership
from gateway_tokens.tokens import (
    MAX_LIFETIME,
    GatewayRef,
    GatewayToken,
    KeyType,
    ServiceId,
    expiry_after,
    owner_of,
    stable_expiry,
    to_the_minute,
    written,
)

from .answers import answered, json_answer, secret_answer
from .requests import Routes, TokenRequest, caller_of, read_token_request

_CALLERS_FAULT = (AccessDenied, NotFound, RequestInvalid, SignInRequired, TooManyRequests)


@dataclass(frozen=True, slots=True)
class Issued:
    """A checked token and how it was made; `ref` has the service's name as declared."""

    ref: GatewayRef
    ownership: Ownership
    token: GatewayToken


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
        log_issued(issued.ref, issued.ownership.key_type, issued.token, caller)
        return _formatted(issued, token_request)


async def _active_key(app: App, ref: GatewayRef, service: ServiceId, rule: GatewayRule) -> KeyType:
    from gateway_tokens.renewal.rotation import active_key  # noqa: PLC0415 - few tokens need what renewal loads

    return await active_key(app, ref, service, rule)


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


async def issue_for(
    caller: Caller,
    request: TokenRequest,
    estate: Estate,
    gateways: ArmGateways,
    now: datetime,
    *,
    active_key: Callable[[GatewayRef, ServiceId, GatewayRule], Awaitable[KeyType]],
) -> Issued:
    """A fresh token for the caller; `active_key` tells the key in use of a gateway whose keys are rotated.

    Raises AccessDenied before anything is looked up, so that what exists and what does not are alike to a caller
    without access; then NotFound, AzureError, TokenUnusable.
    """
    ceiling = Scope(estate.access, caller, Permission.ISSUE).require(request.ref)
    name, service = estate.find(request.ref.service, request.ref.gateway)
    rule = service.rule_for(request.ref.gateway)
    owner = owner_of(service.resource_id, request.ref.gateway)
    expiry = _expiry(request, rule, ceiling, owner, now)
    key_type = request.key_type or (rule and rule.key_type) or KeyType.PRIMARY
    if rule and rule.rotate_keys:
        key_type = await active_key(GatewayRef(name, request.ref.gateway), service.resource_id, rule)
        if request.key_type not in {None, key_type}:
            raise KeyNotActive(str(request.ref), key_type)
    try:
        token = await issue_checked(gateways, service.resource_id, request.ref.gateway, key_type, expiry)
    except AzureNotFound as error:
        raise gateway_missing(error, request.ref) from None
    ownership = Ownership(owner_of(service.resource_id, token.gateway_id), key_type, now, token.expiry)
    return Issued(GatewayRef(name, token.gateway_id), ownership, token)


def _expiry(
    request: TokenRequest, rule: GatewayRule | None, ceiling: timedelta, owner: str, now: datetime
) -> datetime:
    """When the token is to end. An end asked for is kept or refused, never shortened; the usual one is."""
    lifetime = request.lifetime or min(rule.lifetime if rule else MAX_LIFETIME, ceiling)
    if request.expiry:
        expiry = to_the_minute(request.expiry)
        lifetime = expiry - now
    elif request.stable:
        # The rule's window belongs to the rule's own lifetime.
        window = rule.window if rule and rule.lifetime == lifetime else lifetime / 3
        expiry = stable_expiry(lifetime, window, owner, now)
    else:
        expiry = expiry_after(lifetime, now)
    if lifetime > ceiling:
        detail = f"Your access to '{request.ref}' is limited to tokens of {duration_text(ceiling)}; ask for a shorter lifetime."
        raise AccessDenied(Permission.ISSUE, str(request.ref), detail)
    return expiry
