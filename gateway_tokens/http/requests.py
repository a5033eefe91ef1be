"""What callers send, read and checked: every fault of path, query and body at once; and who is calling."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar
from urllib.parse import parse_qsl

import azure.functions as func
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, ValidationInfo, model_validator

from gateway_tokens.access import AccessPattern
from gateway_tokens.errors import Fault, RequestInvalid, SignInRequired
from gateway_tokens.issuing import SecretName, TokenFormat, TokenRequest
from gateway_tokens.parsing import Duration, StrictModel, read_json, read_model, shown_name
from gateway_tokens.parts import App
from gateway_tokens.sign_in import Caller, bearer_token, key_id_of, verified_caller
from gateway_tokens.tokens import GATEWAY_ID, SERVICE_NAME, GatewayRef, KeyType, expiry_fault, lifetime_fault


def query_of(request: func.HttpRequest) -> dict[str, str]:
    """The query without `code`, which is the host's: a function key may come in it."""
    # The host passes `code` on, in any case, and leaves parameters without a value out of `params`:
    # AuthenticationLevelHandler.cs, GrpcMessageConversionExtensions.cs in https://github.com/Azure/azure-functions-host.
    named = dict(parse_qsl(request.url.partition("?")[2], keep_blank_values=True))
    return {name: value for name, value in (named | request.params).items() if name.casefold() != "code"}


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


MAX_BODY_BYTES = 16 * 1024
RUN_ID = r"^[A-Za-z0-9._-]{1,64}$"
_M = TypeVar("_M", bound=StrictModel)
_TIMESTAMP = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,7})?(Z|[+-][0-9]{2}:[0-9]{2})$"
)
# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and, for keys, the Secret reference.
SECRET_NAMES = {
    "secretName": r"^(?!.{254})[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$",
    "secretKey": r"^(?!\.$|\.\.)[a-zA-Z0-9._-]{1,253}$",
    "namespace": r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
}
_FORMS = {
    "secretName": "small letters, digits, inner hyphens and dots, such as edge-01-token, 253 characters at most",
    "secretKey": "letters, digits, '.', '_' and '-', such as gateway-key, 253 characters at most",
    "namespace": "small letters, digits and inner hyphens, such as gateways, 63 characters at most",
}

_ELSEWHERE = {
    "format": "is part of the path: POST services/{service}/gateways/{gatewayId}/generateToken/{format}",
    **dict.fromkeys(("keyType", "expiry", "lifetime", "stable"), "belongs in the body"),
}


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


class TokenRequestBody(StrictModel):
    """Azure's GatewayTokenRequestContract with both fields optional, or a lifetime instead of an expiry; and whether it is stable."""

    key_type: KeyType | None = None
    expiry: Annotated[AwareDatetime, BeforeValidator(_timestamp)] | None = None
    lifetime: Annotated[Duration, AfterValidator(_sound_lifetime)] | None = None
    stable: Annotated[bool, AfterValidator(_without_expiry)] = False

    @model_validator(mode="after")
    def _one_end(self) -> TokenRequestBody:
        if self.expiry is not None and self.lifetime is not None:
            raise ValueError("give either expiry or lifetime, not both")
        return self


def read_token_request(
    route: Mapping[str, str], query: Mapping[str, str], body: bytes, now: datetime
) -> TokenRequest:
    """The request as values. Raises RequestInvalid with every fault; the body may be empty."""
    fields, body_faults = _read_body(body, now)
    token_format, format_faults = _read_format(route, query)
    _refuse([*_name_faults(route, "service", "gatewayId"), *format_faults, *body_faults])
    secret = SecretName(
        query.get("secretName", ""), query.get("secretKey", SecretName().key), query.get("namespace", "")
    )
    ref = GatewayRef(route["service"], route["gatewayId"])
    return TokenRequest(
        ref, fields.key_type, fields.expiry, fields.lifetime, token_format, secret, fields.stable
    )


def read_gateway(route: Mapping[str, str], query: Mapping[str, str]) -> GatewayRef:
    """The gateway that a path names. Raises RequestInvalid."""
    _refuse([*_name_faults(route, "service", "gatewayId"), *_query_faults(query)])
    return GatewayRef(route["service"], route["gatewayId"])


def read_service(route: Mapping[str, str], query: Mapping[str, str]) -> str:
    """The service that a path names. Raises RequestInvalid."""
    _refuse([*_name_faults(route, "service"), *_query_faults(query)])
    return route["service"]


class RunWish(StrictModel):
    """What a caller asks of a run: some gateways only, tokens that are not due."""

    gateways: tuple[AccessPattern, ...] = Field(default=("*/*",), min_length=1)
    force: bool = False
    expires_before: Annotated[AwareDatetime, BeforeValidator(_timestamp)] | None = None


def read_run_wish(body: bytes) -> RunWish:
    """What a body asks of a run; it may be empty. Raises RequestInvalid."""
    wish, faults = _read_fields(RunWish, body)
    _refuse(faults)
    return wish


class RevocationBody(StrictModel):
    """Which key to revoke and why; `immediately`: before the gateway has tokens of the other one."""

    key_type: KeyType
    reason: str = Field(min_length=1, max_length=200)
    immediately: bool = False
    dry_run: bool = False


def read_revocation(
    route: Mapping[str, str], query: Mapping[str, str], body: bytes
) -> tuple[GatewayRef, RevocationBody]:
    """The gateway that a path names, and what a body asks for. Raises RequestInvalid with every fault."""
    ref = read_gateway(route, query)
    document, faults = read_json(body, "body") if len(body) <= MAX_BODY_BYTES else (None, [])
    wanted, more = read_model(RevocationBody, document) if not faults else (None, [])
    _refuse([*faults, *more])
    if wanted is None:
        raise RequestInvalid([Fault("body", "must be an object with `keyType` and `reason`")])
    return ref, wanted


def read_run(route: Mapping[str, str], query: Mapping[str, str]) -> str:
    """The id of the run that a path names. Raises RequestInvalid."""
    run = route.get("run", "")
    wrong = (
        []
        if re.fullmatch(RUN_ID, run)
        else [Fault("run", "must be the id of a run: 1 to 64 letters, digits, '.', '_' and '-'")]
    )
    _refuse([*wrong, *_query_faults(query)])
    return run


def require_no_query(query: Mapping[str, str]) -> None:
    """Raises RequestInvalid unless the query is empty."""
    _refuse(_query_faults(query))


def _refuse(faults: list[Fault]) -> None:
    if faults:
        raise RequestInvalid(faults)


def _name_faults(route: Mapping[str, str], *names: str) -> list[Fault]:
    faults = []
    if "service" in names and not _fits(SERVICE_NAME, route.get("service", ""), most=50):
        faults.append(
            Fault(
                "service",
                "must be a service's name: a letter, then letters, digits and inner hyphens, at most 50 characters",
            )
        )
    if "gatewayId" in names and not _fits(GATEWAY_ID, route.get("gatewayId", ""), most=80):
        faults.append(
            Fault(
                "gatewayId",
                "must be a gateway's id: 1 to 80 letters, digits, '.', '_', '~' and '-'; 'managed' is Azure's own gateway",
            )
        )
    return faults


def _fits(pattern: str, text: str, most: int) -> bool:
    # Not re.match alone: its `$` would let a line end through.
    return len(text) <= most and re.fullmatch(pattern, text) is not None


def _read_format(
    route: Mapping[str, str], query: Mapping[str, str]
) -> tuple[TokenFormat | None, list[Fault]]:
    """The format that the path names, and every fault of it and of the query."""
    name = route.get("format")
    if name is None:
        return None, _query_faults(query, "api-version", **_ELSEWHERE)
    token_format = next((known for known in TokenFormat if known == name), None)
    faults = [] if token_format else [Fault("format", f"must be one of {', '.join(TokenFormat)}")]
    known = SECRET_NAMES if token_format in {None, TokenFormat.KUBERNETES} else ()
    return token_format, [*faults, *_query_faults(query, *known, **_ELSEWHERE)]


def _query_faults(query: Mapping[str, str], *known: str, **elsewhere: str) -> list[Fault]:
    """Parameters that are not known, with where they belong, if elsewhere; values that do not match."""
    unknown = [
        Fault(shown_name(name) or "query", elsewhere.get(name, "unknown query parameter"))
        for name in query
        if name not in known
    ]
    return unknown + [
        Fault(name, f"must be {_FORMS[name]}")
        for name, pattern in SECRET_NAMES.items()
        if name in known and name in query and re.fullmatch(pattern, query[name]) is None
    ]


def _read_body(body: bytes, now: datetime) -> tuple[TokenRequestBody, list[Fault]]:
    fields, faults = _read_fields(TokenRequestBody, body)
    wrong = expiry_fault(fields.expiry, now) if fields.expiry else ""
    return fields, [*faults, *([Fault("expiry", wrong)] if wrong else [])]


def _read_fields(kind: type[_M], body: bytes) -> tuple[_M, list[Fault]]:
    """The body's fields and every fault; an empty body, and a faulty one, has none."""
    if len(body) > MAX_BODY_BYTES:
        return kind(), [Fault("body", f"is larger than {MAX_BODY_BYTES} bytes")]
    document, faults = read_json(body, "body") if body.strip() else ({}, [])
    fields, more = read_model(kind, document) if not faults else (None, [])
    return fields or kind(), [*faults, *more]
