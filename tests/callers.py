"""Callers with bearer tokens, as the emulator's tenant issues them, and access rules about them."""

from collections.abc import Iterable
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


def rule(*gateways: str, allow: Iterable[str] = ("read", "renew"), **caller: object) -> dict[str, Any]:
    """What a caller may do with these gateways: the holder of a function key, unless told otherwise."""
    return {"caller": caller or {"functionKey": True}, "gateways": [*gateways], "allow": [*allow]}
