"""What a vault's clients ask for: which secret, which version, what to set."""

import json
import re
from typing import Any

from aiohttp import web

from emulator.endpoint import RefusedError
from emulator.vaults import Secret, SecretVersion, Vault

NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
MOST_TAGS = 15


def name_of(request: web.Request) -> str:
    """Return the path's secret name, or refuse it."""
    name = request.match_info["name"]
    if not NAME.fullmatch(name):
        message = f"The request URI contains an invalid name: {name}"
        raise RefusedError(400, "BadParameter", message)
    return name


def find(vault: Vault, request: web.Request) -> tuple[Secret, SecretVersion]:
    """Return the secret and version that the path means, the latest unless it says."""
    name, wanted = name_of(request), request.match_info.get("version", "")
    secret = vault.secret(name)
    for version in reversed(secret.versions if secret else []):
        if secret and wanted in {"", version.version}:
            return secret, version
    shown = f"{name}/{wanted}" if wanted else name
    message = (
        f"A secret with (name/id) {shown} was not found in this key vault. If you recently deleted this secret you "
        "may be able to recover it using the correct recovery command."
    )
    raise RefusedError(404, "SecretNotFound", message)


def find_deleted(vault: Vault, request: web.Request) -> Secret:
    """Return the deleted secret that the path names."""
    name = name_of(request)
    secret = vault.deleted.get(name.lower())
    if secret is None:
        raise RefusedError(404, "SecretNotFound", f"Deleted Secret not found: {name}")
    return secret


async def body_of(request: web.Request) -> dict[str, Any]:
    """Return the body's JSON object, or refuse it."""
    try:
        body = json.loads(await request.read())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise RefusedError(400, "BadParameter", "The request body is not a JSON object.")
    return body


def chosen_in(body: dict[str, Any]) -> dict[str, Any]:
    """Return what the body sets of a version, under the version's own names; what it omits is left out."""
    attributes = body.get("attributes") or {}
    chosen = {
        name: attributes[name] for name in ("enabled", "nbf", "exp") if attributes.get(name) is not None
    }
    for wire, name in (("contentType", "content_type"), ("tags", "tags")):
        if body.get(wire) is not None:
            chosen[name] = body[wire]
    if len(chosen.get("tags", {})) > MOST_TAGS:
        raise RefusedError(400, "BadParameter", f"A secret can have at most {MOST_TAGS} tags.")
    return chosen
