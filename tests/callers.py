"""Callers as App Service authentication introduces them, and rules about them."""

import base64
import json
from collections.abc import Mapping
from typing import Any

OBJECT_ID, CLIENT_ID = "0b1ec7-1d", "c11e27-1d"
ENTRA = {"SIGN_IN": "entra", "WEBSITE_AUTH_ENABLED": "True"}


def principal(*claims: tuple[str, str], kind: str = "aad") -> dict[str, str]:
    """The header that App Service authentication puts into a request."""
    said = {"auth_typ": kind, "claims": [{"typ": name, "val": value} for name, value in claims]}
    return {"X-MS-CLIENT-PRINCIPAL": base64.b64encode(json.dumps(said).encode()).decode()}


ALICE = principal(("oid", OBJECT_ID), ("azp", CLIENT_ID), ("roles", "GatewayToken.Issue"))


def rule(caller: Mapping[str, Any], *allow: str) -> dict[str, Any]:
    """An access rule for contoso's edge."""
    return {"caller": dict(caller), "gateways": ["contoso/edge-*"], "allow": list(allow or ("issue", "read"))}
