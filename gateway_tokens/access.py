"""Who is calling, and what they may do: closed unless a rule opens.

PyJWT, and with it cryptography, is imported with the first bearer token: 0.1 seconds by itself, a tenth of that once
the app's own identity has been used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from .errors import AccessDenied, SignInRequired
from .estate.access_rules import AccessRule, CallerMatch, Permission
from .estate.patterns import matches, overlap
from .estate.sign_in import SignIn
from .tokens import MAX_LIFETIME, GatewayRef

if TYPE_CHECKING:
    from jwt import PyJWK


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling: from the claims of a verified token, or by a function key. All empty means nobody."""

    object_id: str = ""
    client_id: str = ""
    app_roles: frozenset[str] = field(default_factory=frozenset)
    function_key: bool = False

    def __str__(self) -> str:
        named = [
            f"client:{self.client_id}" if self.client_id else "",
            f"object:{self.object_id}" if self.object_id else "",
        ]
        return " ".join(filter(None, named)) or ("function-key" if self.function_key else "nobody")


@dataclass(frozen=True)
class Scope:
    """The gateways with which a caller may do one thing."""

    rules: Sequence[AccessRule]
    caller: Caller
    permission: Permission

    def longest_lifetime(self, ref: GatewayRef) -> timedelta | None:
        """The longest lifetime that any matching rule grants; None when no rule covers the gateway."""
        granted = [
            rule.max_lifetime or MAX_LIFETIME
            for rule in self._opening()
            if any(matches(pattern, str(ref)) for pattern in rule.gateways)
        ]
        return max(granted, default=None)

    def covers(self, ref: GatewayRef) -> bool:
        """Whether it covers this gateway."""
        return self.longest_lifetime(ref) is not None

    def covers_some(self, service: str = "*") -> bool:
        """Whether it may cover some gateway of the service; of any service: `*`."""
        return any(overlap(pattern, f"{service}/*") for rule in self._opening() for pattern in rule.gateways)

    def narrowed(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """The wanted patterns as far as it covers them: those within its own, and its own within those.

        Raises AccessDenied when it covers none of them.
        """
        own = [pattern for rule in self._opening() for pattern in rule.gateways]
        within = {name for name in wanted if any(matches(pattern, name) for pattern in own)}
        within |= {pattern for pattern in own if any(matches(name, pattern) for name in wanted)}
        if not within:
            raise AccessDenied(self.permission, ", ".join(wanted))
        return tuple(sorted(within))

    def require(self, ref: GatewayRef) -> timedelta:
        """The longest lifetime granted for the gateway. Raises AccessDenied when no rule covers it."""
        lifetime = self.longest_lifetime(ref)
        if lifetime is None:
            raise AccessDenied(self.permission, str(ref))
        return lifetime

    def require_some(self, service: str = "*") -> None:
        """Raise AccessDenied unless it may cover some gateway of the service."""
        if not self.covers_some(service):
            raise AccessDenied(self.permission, f"{service}/*")

    def _opening(self) -> Iterator[AccessRule]:
        return (
            rule for rule in self.rules if self.permission in rule.allow and _is(self.caller, rule.caller)
        )


def _is(caller: Caller, wanted: CallerMatch) -> bool:
    """Whether the caller has every trait the rule names. A rule that named none would match nobody."""
    tests = [
        wanted.app_role in caller.app_roles if wanted.app_role else None,
        _same(wanted.object_id, caller.object_id) if wanted.object_id else None,
        _same(wanted.client_id, caller.client_id) if wanted.client_id else None,
        caller.function_key if wanted.function_key else None,
    ]
    named = [test for test in tests if test is not None]
    return bool(named) and all(named)


def _same(name: str, other: str) -> bool:
    return name.casefold() == other.casefold()


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
    return Caller(
        object_id=_text(claims, "oid"),
        client_id=client_id,
        app_roles=frozenset(
            role for role in (roles if isinstance(roles, list) else [roles]) if isinstance(role, str)
        ),
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
