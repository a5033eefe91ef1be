"""Callers with bearer tokens, as the emulator's tenant issues them, and access rules about them."""

from collections.abc import Mapping
from typing import Any

from emulator.directory import CALLER_ID, CALLER_OBJECT_ID
from emulator.server import Emulator

CLIENT_ID, OBJECT_ID = CALLER_ID, CALLER_OBJECT_ID
SIGN_IN_MODE = {"ALLOW_FUNCTION_KEYS": "false"}


def bearer(emulator: Emulator, *roles: str, **claims: Any) -> dict[str, str]:  # noqa: ANN401 - claims are open
    """The header of a caller with these app roles; `claims` replace those of the same name, None removes one."""
    azure = emulator.azure
    claims = {"roles": list(roles) or None, **claims}
    return authorization(azure.directory.access_token(azure.clock(), **claims))


def authorization(token: str) -> dict[str, str]:
    """The header that brings a token."""
    return {"Authorization": f"Bearer {token}"}


def rule(caller: Mapping[str, Any], *allow: str) -> dict[str, Any]:
    """An access rule for contoso's edge."""
    return {"caller": dict(caller), "gateways": ["contoso/edge-*"], "allow": list(allow or ("issue", "read"))}
