"""What callers send, read and checked: every fault of path, query and body at once; and who is calling."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar
from urllib.parse import parse_qsl

import azure.functions as func
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, ValidationInfo, model_validator

from gateway_tokens.access import (
    AccessPattern,
    Caller,
    Permission,
    Scope,
    bearer_token,
    key_id_of,
    verified_caller,
)
from gateway_tokens.errors import Fault, RequestInvalid, SignInRequired
from gateway_tokens.formats import SecretName, TokenFormat
from gateway_tokens.parsing import Duration, StrictModel, read_json, read_model, shown_name
from gateway_tokens.parts import App
from gateway_tokens.tokens import GATEWAY_ID, SERVICE_NAME, GatewayRef, KeyType, expiry_fault, lifetime_fault

MAX_BODY_BYTES = 16 * 1024
SECRET_NAMES = ("secretName", "secretKey", "namespace")
# What parts of the path and of the query are like. Of Kubernetes:
# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and, for keys, the Secret reference.
FORMS = {
    "service": (
        rf"(?!.{{51}}){SERVICE_NAME}",
        "must be a service's name: a letter, then letters, digits and inner hyphens, at most 50 characters",
    ),
    "gatewayId": (
        GATEWAY_ID,
        "must be a gateway's id: 1 to 80 letters, digits, '.', '_', '~' and '-'; 'managed' is Azure's own gateway",
    ),
    "run": (r"^[A-Za-z0-9._-]{1,64}$", "must be the id of a run: 1 to 64 letters, digits, '.', '_' and '-'"),
    "secretName": (
        r"^(?!.{254})[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$",
        "must be small letters, digits, inner hyphens and dots, such as edge-01-token, 253 characters at most",
    ),
    "secretKey": (
        r"^(?!\.$|\.\.)[a-zA-Z0-9._-]{1,253}$",
        "must be letters, digits, '.', '_' and '-', such as gateway-key, 253 characters at most",
    ),
    "namespace": (
        r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        "must be small letters, digits and inner hyphens, such as gateways, 63 characters at most",
    ),
}
_ELSEWHERE = {
    "format": "is part of the path: POST services/{service}/gateways/{gatewayId}/generateToken/{format}",
    **dict.fromkeys(("keyType", "expiry", "lifetime", "stable"), "belongs in the body"),
}
_TIMESTAMP = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,7})?(Z|[+-][0-9]{2}:[0-9]{2})$"
)
_M = TypeVar("_M", bound=StrictModel)


class Routes:
    """Routes over an app that is built on first use; `open_app` raises SettingsInvalid."""

    def __init__(self, open_app: Callable[[], App]) -> None:
        self.open_app = open_app

    async def let_in(self, request: func.HttpRequest, permission: Permission) -> tuple[App, Scope]:
        """The app, and where the caller has this permission. Raises SettingsInvalid, and what `caller_of` raises."""
        app = self.open_app()
        return app, Scope(app.settings.estate.access, await caller_of(app, request), permission)


async def caller_of(app: App, request: func.HttpRequest) -> Caller:
    """Who is calling. Raises SignInRequired, AccessDenied and SigningKeysUnavailable."""
    token, sign_in = bearer_token(request.headers), app.settings.sign_in
    if token is None:
        if app.settings.function_keys:
            # The host has checked the key: the routes have the level for it, by the same setting.
            return Caller(function_key=True)
        raise SignInRequired("Send an access token of Microsoft Entra as 'Authorization: Bearer <token>'.")
    if sign_in is None:
        raise SignInRequired("This app accepts function keys only. Send the key without a bearer token.")
    key = await app.signing_key(sign_in.keys_address, key_id_of(token))
    return verified_caller(token, key, sign_in, app.clock())


def _timestamp(value: object) -> datetime:
    if not (isinstance(value, str) and re.match(_TIMESTAMP, value)):
        raise ValueError("must be a date and time with its zone, yyyy-MM-ddTHH:mm:ssZ")
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is not a date and time") from None


def _sound_lifetime(value: timedelta) -> timedelta:
    if fault := lifetime_fault(value):
        raise ValueError(fault)
    return value


def _without_expiry(stable: bool, read: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic passes the value
    if stable and read.data.get("expiry") is not None:
        raise ValueError(
            "goes with a lifetime, not with an expiry: the same expiry gives the same token at each call"
        )
    return stable


Timestamp = Annotated[AwareDatetime, BeforeValidator(_timestamp)]


class TokenRequestBody(StrictModel):
    """Azure's GatewayTokenRequestContract with both fields optional, or a lifetime instead of an expiry; and whether it is stable."""

    key_type: KeyType | None = None
    expiry: Timestamp | None = None
    lifetime: Annotated[Duration, AfterValidator(_sound_lifetime)] | None = None
    stable: Annotated[bool, AfterValidator(_without_expiry)] = False

    @model_validator(mode="after")
    def _one_end(self) -> TokenRequestBody:
        if self.expiry is not None and self.lifetime is not None:
            raise ValueError("give either expiry or lifetime, not both")
        return self


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A token asked for; None leaves the choice to the gateway's rule, and as `format` means JSON."""

    ref: GatewayRef
    key_type: KeyType | None
    expiry: datetime | None
    lifetime: timedelta | None
    format: TokenFormat | None = None
    secret: SecretName = field(default_factory=SecretName)
    stable: bool = False  # the same token at each call until it is due; never beside an expiry


class RunWish(StrictModel):
    """What a caller asks of a run: some gateways only, tokens that are not due."""

    gateways: tuple[AccessPattern, ...] = Field(default=("*/*",), min_length=1)
    force: bool = False
    expires_before: Timestamp | None = None


class RevocationBody(StrictModel):
    """Which key to revoke and why; `immediately`: before the gateway has tokens of the other one."""

    key_type: KeyType
    reason: str = Field(min_length=1, max_length=200)
    immediately: bool = False
    dry_run: bool = False


def read_token_request(request: func.HttpRequest, now: datetime) -> TokenRequest:
    """The request as values; its body may be empty. Raises RequestInvalid with every fault."""
    route, query = request.route_params, query_of(request)
    token_format, known, faults = _format_of(route)
    body, body_faults = _read_body(request, TokenRequestBody)
    wrong = expiry_fault(body.expiry, now) if body and body.expiry else ""
    faults = [
        *_misformed(route, "service", "gatewayId"),
        *faults,
        *_query_faults(query, known, _ELSEWHERE),
        *body_faults,
        *([Fault("expiry", wrong)] if wrong else []),
    ]
    if body is None or faults:
        raise RequestInvalid(faults)
    secret = SecretName(
        query.get("secretName", ""), query.get("secretKey", SecretName().key), query.get("namespace", "")
    )
    ref = GatewayRef(route["service"], route["gatewayId"])
    return TokenRequest(ref, body.key_type, body.expiry, body.lifetime, token_format, secret, body.stable)


def read_path(request: func.HttpRequest, *names: str) -> list[str]:
    """These parts of the path, of a request that takes no query. Raises RequestInvalid with every fault."""
    if faults := _path_faults(request, names):
        raise RequestInvalid(faults)
    return [request.route_params[name] for name in names]


def read_body(request: func.HttpRequest, kind: type[_M], *names: str) -> tuple[_M, list[str]]:
    """The body, and these parts of the path, of a request that takes no query. Raises RequestInvalid with every fault."""
    body, faults = _read_body(request, kind)
    faults = [*_path_faults(request, names), *faults]
    if body is None or faults:
        raise RequestInvalid(faults)
    return body, [request.route_params[name] for name in names]


def query_of(request: func.HttpRequest) -> dict[str, str]:
    """The query without `code`, which is the host's: a function key may come in it."""
    # The host passes `code` on, in any case, and leaves parameters without a value out of `params`:
    # AuthenticationLevelHandler.cs, GrpcMessageConversionExtensions.cs in https://github.com/Azure/azure-functions-host.
    named = dict(parse_qsl(request.url.partition("?")[2], keep_blank_values=True))
    return {name: value for name, value in (named | request.params).items() if name.casefold() != "code"}


def _path_faults(request: func.HttpRequest, names: Iterable[str]) -> list[Fault]:
    return [*_misformed(request.route_params, *names), *_query_faults(query_of(request))]


def _misformed(values: Mapping[str, str], *names: str) -> list[Fault]:
    """What is wrong with the values of these names."""
    return [
        Fault(name, message)
        for name, (pattern, message) in FORMS.items()
        # Not re.match: its `$` would let a line end through.
        if name in names and not re.fullmatch(pattern, values.get(name, ""))
    ]


def _query_faults(
    query: Mapping[str, str], known: Iterable[str] = (), elsewhere: Mapping[str, str] | None = None
) -> list[Fault]:
    """Parameters that are not known, with where they belong, if elsewhere; values that do not match."""
    unknown = [name for name in query if name not in known]
    messages = elsewhere or {}
    return [
        *(Fault(shown_name(n) or "query", messages.get(n, "unknown query parameter")) for n in unknown),
        *_misformed(query, *(query.keys() - unknown)),
    ]


def _format_of(route: Mapping[str, str]) -> tuple[TokenFormat | None, tuple[str, ...], list[Fault]]:
    """The format that the path names, the query parameters that it takes, and what is wrong with it."""
    name = route.get("format")
    if name is None:
        return None, ("api-version",), []
    if name not in list(TokenFormat):
        return None, SECRET_NAMES, [Fault("format", f"must be one of {', '.join(TokenFormat)}")]
    return TokenFormat(name), SECRET_NAMES if name == TokenFormat.KUBERNETES else (), []


def _read_body(request: func.HttpRequest, kind: type[_M]) -> tuple[_M | None, list[Fault]]:
    """The body's fields and no faults, or None and every fault; an empty body asks for nothing."""
    body = request.get_body()
    if len(body) > MAX_BODY_BYTES:
        return None, [Fault("body", f"is larger than {MAX_BODY_BYTES} bytes")]
    known = {field.alias or name for name, field in kind.model_fields.items()}
    document, faults = read_json(body, "body", known) if body.strip() else ({}, [])
    return (None, faults) if faults else read_model(kind, document)
