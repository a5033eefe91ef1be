"""How callers and the app itself sign in: what is set for it, and who sent a bearer token.

Every cold start imports this module, so it is of the standard library. PyJWT, and with it cryptography, is imported
with the first bearer token: 0.1 seconds by itself, a tenth of that once the app's own identity has been used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from .errors import AccessDenied, SignInRequired

if TYPE_CHECKING:
    from jwt import PyJWK


class CredentialKind(StrEnum):
    """Where the app's own tokens come from. Azure: the managed identity. The others suit a developer's machine."""

    MANAGED_IDENTITY = "managedIdentity"
    DEFAULT = "default"
    AZURE_CLI = "azureCli"


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureSettings:
    """How the app signs in to Azure and reaches it."""

    credential: CredentialKind
    client_id: str
    arm_endpoint: str
    arm_scope: str
    ca_file: str


@dataclass(frozen=True, slots=True)
class SignIn:
    """Whose bearer tokens are accepted: of which tenant, for which audiences, through which applications."""

    endpoint: str
    tenant: str
    audiences: tuple[str, ...]
    applications: frozenset[str]

    @property
    def keys_address(self) -> str:
        """Where Entra publishes the keys by which it signs the tenant's tokens of both versions."""
        return f"{self.endpoint}/{self.tenant}/discovery/v2.0/keys"

    @property
    def issuers(self) -> tuple[str, str]:
        """The issuers of the tenant's v1 and v2 tokens.

        A v1 token does not name the sign-in endpoint, and in China, which has two endpoints, a v2 token names one.
        https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud
        """
        v1, v2 = "https://sts.windows.net", self.endpoint
        if self.endpoint.endswith(".cn"):
            v1, v2 = "https://sts.chinacloudapi.cn", "https://login.partner.microsoftonline.cn"
        return f"{v1}/{self.tenant}/", f"{v2}/{self.tenant}/v2.0"


def function_keys_allowed(environ: Mapping[str, str]) -> bool:
    """Whether the host asks every caller for a function key; cannot fail."""
    return environ.get("ALLOW_FUNCTION_KEYS", "").strip().casefold() == "true"


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
