"""Who is calling, from what the platform says. Anything doubtful is nobody."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

from .access import Caller
from .errors import SignInRequired

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .sign_in import SignIn

PRINCIPAL_HEADER = "x-ms-client-principal"
_MAX_HEADER = 64 * 1024
# Claims arrive under their short names or, mapped by the platform, under these addresses.
_SCHEMAS = "http://schemas.microsoft.com"
_OBJECT_ID = ("oid", f"{_SCHEMAS}/identity/claims/objectidentifier")
_CLIENT_ID = ("azp", "appid")
_ROLES = ("roles", f"{_SCHEMAS}/ws/2008/06/identity/claims/role")


def who_is_calling(headers: Mapping[str, str], sign_in: SignIn, *, signed_in_by_platform: bool) -> Caller:
    """The caller. Raises SignInRequired when the mode asks for a principal and none can be trusted.

    App Service authentication puts the principal into a header and strips forged ones, but only while it is
    switched on; when it is off anyone can send that header, so then it is never looked at.
    https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities
    """
    # At the routes' authorization level the host has checked the function key before this code runs.
    if sign_in is sign_in.FUNCTION_KEY:
        return Caller(function_key=True)
    if not signed_in_by_platform:
        raise SignInRequired(
            "App Service authentication is switched off, so nobody can sign in. Switch it on."
        )
    principal = _principal(headers.get(PRINCIPAL_HEADER, ""))
    if principal is None:
        raise SignInRequired(
            "Sign in with Microsoft Entra and send the token as 'Authorization: Bearer ...'."
        )
    return Caller(
        object_id=_first(principal, _OBJECT_ID),
        client_id=_first(principal, _CLIENT_ID),
        app_roles=frozenset(_claims(principal, (*_ROLES, str(principal.get("role_typ") or _ROLES[0])))),
        function_key=sign_in.needs_key,
    )


def _principal(header: str) -> dict[str, Any] | None:
    """The decoded header, or None unless it is an Entra principal with claims."""
    if not header or len(header) > _MAX_HEADER:
        return None
    try:
        principal = json.loads(base64.b64decode(header + "=" * (-len(header) % 4), validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None
    entra = isinstance(principal, dict) and principal.get("auth_typ") == "aad"
    return principal if entra and isinstance(principal.get("claims"), list) else None


def _claims(principal: Mapping[str, Any], types: Iterable[str]) -> list[str]:
    wanted = set(types)
    return [
        claim["val"]
        for claim in principal["claims"]
        if isinstance(claim, dict) and str(claim.get("typ")) in wanted and isinstance(claim.get("val"), str)
    ]


def _first(principal: Mapping[str, Any], types: Iterable[str]) -> str:
    return next(iter(_claims(principal, types)), "")
