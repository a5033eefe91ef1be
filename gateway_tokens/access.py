"""Who is calling, and what they may do with which gateways: nothing unless a rule of the settings opens.

PyJWT, and with it cryptography, is imported with the first bearer token: 0.1 seconds by itself, a tenth of that once
the app's own identity has been used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from .errors import AccessDenied, SignInRequired
from .parsing import Duration, Form, StrictModel, within
from .sign_in import SignIn
from .tokens import MAX_LIFETIME, MIN_LIFETIME, GatewayRef

if TYPE_CHECKING:
    from jwt import PyJWK

LEEWAY = 60  # seconds by which the clocks of Entra and of this app may differ
_ALGORITHMS = ["RS256"]
# PyJWT reads the machine's clock, and judgement here takes `now`: PyJWT demands these claims and verifies signature,
# algorithm, issuer and audience; the times are compared in `_in_time`.
_OPTIONS: Any = {
    "require": ["exp", "nbf", "iss", "aud"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}

# fnmatch knows two more wildcards, which mean themselves here.
_LITERAL = str.maketrans({"[": "[[]", "?": "[?]"})


def matches(pattern: str, name: str) -> bool:
    """Whether the whole name fits the pattern, in any case."""
    if "*" not in pattern:
        return pattern.casefold() == name.casefold()
    return fnmatchcase(name.casefold(), pattern.casefold().translate(_LITERAL))


def specificity(pattern: str) -> tuple[bool, int]:
    """Orders patterns: an exact name before any wildcard, then by the number of literal characters."""
    return "*" not in pattern, len(pattern) - pattern.count("*")


def overlap(pattern: str, other: str) -> bool:
    """Whether some name fits both patterns: two with wildcards meet unless their first or last letters differ."""
    pattern, other = pattern.casefold(), other.casefold()
    if "*" not in pattern:
        return matches(other, pattern)
    if "*" not in other:
        return matches(pattern, other)
    (first, *_, last), (begin, *_, end) = pattern.split("*"), other.split("*")
    begins = first.startswith(begin) or begin.startswith(first)
    return begins and (last.endswith(end) or end.endswith(last))


class Permission(StrEnum):
    """What a caller may be allowed to do with a gateway."""

    ISSUE = "issue"
    RENEW = "renew"
    READ = "read"
    REVOKE = "revoke"


def _of_a_declared_service(pattern: str, info: ValidationInfo) -> str:
    declared: list[str] | None = (info.context or {}).get("services")
    if declared is not None and not any(overlap(pattern, f"{service}/*") for service in declared):
        raise ValueError(f"'{pattern}' matches no declared service")
    return pattern


_PATTERN = r"^[a-zA-Z0-9*-]{1,50}/[a-zA-Z0-9._~*-]{1,80}$"
_PATTERN_FORM = Form("a pattern of service and gateway, such as contoso/edge-*", _PATTERN)
AccessPattern = Annotated[str, _PATTERN_FORM, AfterValidator(_of_a_declared_service)]
GrantedLifetime = Annotated[
    Duration, within(MIN_LIFETIME, MAX_LIFETIME, "must be between one minute (PT1M) and 30 days (P30D)")
]
Trait = Annotated[str, Field(min_length=1)]


class CallerMatch(StrictModel):
    """Who a rule is about: every trait named must hold."""

    app_role: Trait | None = Field(default=None, description="An app role in the caller's token.")
    object_id: Trait | None = Field(default=None, description="The caller's object id in Entra.")
    client_id: Trait | None = Field(default=None, description="The calling application's client id.")
    function_key: bool = Field(
        default=False,
        description="Every caller with a key of the function app and without a bearer token; alone.",
    )

    @model_validator(mode="after")
    def _somebody(self) -> CallerMatch:
        signed_in = bool(self.app_role or self.object_id or self.client_id)
        if not (signed_in or self.function_key):
            raise ValueError("must name an appRole, objectId, clientId or functionKey: true")
        if signed_in and self.function_key:
            raise ValueError(
                "functionKey must be alone: a caller who sends a bearer token is identified by the token only"
            )
        return self

    def is_about(self, caller: Caller) -> bool:
        """Whether the caller has every trait that is named. Without any it would be about nobody."""
        traits = (
            (self.app_role, self.app_role in caller.app_roles),
            (self.object_id, (self.object_id or "").casefold() == caller.object_id.casefold()),
            (self.client_id, (self.client_id or "").casefold() == caller.client_id.casefold()),
            (self.function_key, caller.function_key),
        )
        named = [holds for trait, holds in traits if trait]
        return bool(named) and all(named)


class AccessRule(StrictModel):
    """What some caller may do with some gateways."""

    caller: CallerMatch
    gateways: tuple[AccessPattern, ...] = Field(min_length=1, description="Patterns of `service/gateway`.")
    allow: frozenset[Permission] = Field(min_length=1, description="The permissions granted.")
    max_lifetime: GrantedLifetime | None = Field(
        default=None, description="The longest token this caller may have."
    )


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling: from the claims of a verified token, or by a function key. All empty means nobody."""

    object_id: str = ""
    client_id: str = ""
    app_roles: frozenset[str] = frozenset()
    function_key: bool = False

    def __str__(self) -> str:
        ids = {"client": self.client_id, "object": self.object_id}
        named = " ".join(f"{kind}:{value}" for kind, value in ids.items() if value)
        return named or ("function-key" if self.function_key else "nobody")


@dataclass(frozen=True)
class Scope:
    """The gateways with which a caller may do one thing: none unless a rule opens."""

    rules: Sequence[AccessRule]
    caller: Caller
    permission: Permission

    def _opening(self) -> Iterator[tuple[str, AccessRule]]:
        """Each pattern that opens, with its rule."""
        for rule in self.rules:
            if self.permission in rule.allow and rule.caller.is_about(self.caller):
                yield from ((pattern, rule) for pattern in rule.gateways)

    def _granted(self, ref: GatewayRef) -> list[timedelta]:
        fitting = (rule for pattern, rule in self._opening() if matches(pattern, str(ref)))
        return [rule.max_lifetime or MAX_LIFETIME for rule in fitting]

    def covers(self, ref: GatewayRef) -> bool:
        """Whether it covers this gateway."""
        return bool(self._granted(ref))

    def covers_some(self, service: str = "*") -> bool:
        """Whether it may cover some gateway of the service; of any service: `*`."""
        return any(overlap(pattern, f"{service}/*") for pattern, _ in self._opening())

    def narrowed(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """The wanted patterns as far as it covers them: those within its own, and its own within those.

        Raises AccessDenied when it covers none of them.
        """
        own = [pattern for pattern, _ in self._opening()]
        inside = {name for name in wanted if any(matches(pattern, name) for pattern in own)}
        inside |= {pattern for pattern in own if any(matches(name, pattern) for name in wanted)}
        if not inside:
            raise AccessDenied(self.permission, ", ".join(wanted))
        return tuple(sorted(inside))

    def require(self, ref: GatewayRef) -> timedelta:
        """The longest lifetime that a rule grants for the gateway. Raises AccessDenied when no rule covers it."""
        if not (granted := self._granted(ref)):
            raise AccessDenied(self.permission, str(ref))
        return max(granted)

    def require_some(self, service: str = "*") -> None:
        """Raise AccessDenied unless it may cover some gateway of the service."""
        if not self.covers_some(service):
            raise AccessDenied(self.permission, f"{service}/*")


def bearer_token(headers: Mapping[str, str]) -> str | None:
    """The request's bearer token, None without an Authorization header. Raises SignInRequired for any other."""
    header = headers.get("authorization", "").strip()
    if not header:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.casefold() != "bearer" or not token.strip():
        raise SignInRequired("The Authorization header must be 'Bearer <token>'.")
    return token.strip()


def key_id_of(token: str) -> str:
    """The id of the key that the token names as its own, not verified. Raises SignInRequired."""
    import jwt

    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise _refused("it is not a JSON Web Token") from None
    if header.get("alg") not in _ALGORITHMS or "kid" not in header:
        raise _refused("it is not signed with RS256 and a key of Microsoft Entra")
    return str(header["kid"])


def verified_caller(token: str, key: PyJWK | None, sign_in: SignIn, now: datetime) -> Caller:
    """Who sent the token; `key` is Entra's key of the id that the token names, None if Entra has none.

    Raises SignInRequired for a token that is not good, AccessDenied for an application that may not call.
    """
    if key is None:
        raise _refused("its signing key is not one of Microsoft Entra's for this tenant")
    claims = _claims(token, key, sign_in)
    _in_time(claims, now.timestamp())
    if _text(claims, "tid").lower() != sign_in.tenant:
        raise _refused("it is from another tenant")
    # An ID token names no application, so that it is refused here even where its audience is the app's own.
    client_id = _text(claims, "azp") or _text(claims, "appid")
    if client_id.lower() not in sign_in.applications:
        raise AccessDenied(
            "call",
            "*",
            f"The application '{client_id}' may not call. Ask the operator of this app to add its client id to SIGN_IN_APPLICATIONS.",
        )
    roles = claims.get("roles")
    listed = roles if isinstance(roles, list) else [roles]
    return Caller(
        _text(claims, "oid"), client_id, frozenset(role for role in listed if isinstance(role, str))
    )


def _claims(token: str, key: PyJWK, sign_in: SignIn) -> dict[str, Any]:
    import jwt

    try:
        return jwt.decode(
            token,
            key,
            algorithms=_ALGORITHMS,
            audience=sign_in.audiences,
            issuer=sign_in.issuers,
            options=_OPTIONS,
        )
    except jwt.InvalidAudienceError:
        raise _refused(f"its audience is not {' or '.join(sign_in.audiences)}") from None
    except jwt.InvalidIssuerError:
        raise _refused("its issuer is not Microsoft Entra for this tenant") from None
    except jwt.MissingRequiredClaimError as error:
        raise _refused(f"the claim '{error.claim}' is missing") from None
    except jwt.PyJWTError:
        raise _refused("its signature is not valid") from None


def _in_time(claims: Mapping[str, Any], now: float) -> None:
    expires, begins = claims["exp"], claims["nbf"]
    if not (isinstance(expires, (int, float)) and isinstance(begins, (int, float))):
        raise _refused("its times are not numbers")
    if not now < expires + LEEWAY:
        raise _refused("it has expired")
    if not begins - LEEWAY <= now:
        raise _refused("it is not valid yet")


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) else ""


def _refused(reason: str) -> SignInRequired:
    return SignInRequired(f"The bearer token is refused: {reason}. Ask Microsoft Entra for another one.")
