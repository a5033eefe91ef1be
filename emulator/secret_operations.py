"""The operations on a vault's secrets, bounds and soft delete included."""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from emulator.azure import Azure
from emulator.endpoint import RefusedError, Route
from emulator.vaults import Secret, SecretVersion, Vault

ACTIONS = "Microsoft.KeyVault/vaults/secrets"
NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
LARGEST_VALUE = 25 * 1024
MOST_TAGS = 15
RETENTION_DAYS = 90

VaultWork = Callable[[Azure, Vault, web.Request], Awaitable[web.Response]]


def routes(vault: str) -> list[Route]:
    """Return the operations on one vault's secrets."""

    def route(method: str, path: str, work: VaultWork, action: str) -> Route:
        async def bound(azure: Azure, request: web.Request) -> web.Response:
            return await work(azure, azure.vault(vault), request)

        return Route(method, path, bound, f"{ACTIONS}/{action}")

    return [
        route("GET", "/secrets", _list, "readMetadata/action"),
        route("GET", "/secrets/{name}/versions", _versions, "readMetadata/action"),
        route("PUT", "/secrets/{name}", _set, "setSecret/action"),
        # Clients that want the latest version leave its place in the path empty.
        route("GET", "/secrets/{name}{slash:/?}", _get, "getSecret/action"),
        route("GET", "/secrets/{name}/{version}", _get, "getSecret/action"),
        route("PATCH", "/secrets/{name}{slash:/?}", _update, "update/action"),
        route("PATCH", "/secrets/{name}/{version}", _update, "update/action"),
        route("DELETE", "/secrets/{name}", _delete, "delete"),
        route("GET", "/deletedsecrets/{name}", _get_deleted, "readMetadata/action"),
        route("POST", "/deletedsecrets/{name}/recover", _recover, "recover/action"),
    ]


async def _list(azure: Azure, vault: Vault, request: web.Request) -> web.Response:
    del azure
    items = [_item(request, secret, secret.latest, versioned=False) for secret in vault.secrets.values()]
    return _page(request, items)


async def _versions(azure: Azure, vault: Vault, request: web.Request) -> web.Response:
    del azure
    secret = vault.secret(request.match_info["name"])
    items = [_item(request, secret, version) for version in secret.versions] if secret else []
    return _page(request, items)


async def _set(azure: Azure, vault: Vault, request: web.Request) -> web.Response:
    name, body = _name(request), await _body(request)
    value = body.get("value")
    if not isinstance(value, str):
        raise RefusedError(400, "BadParameter", "The request body is missing the secret's value.")
    if len(value.encode()) > LARGEST_VALUE:
        raise RefusedError(400, "BadParameter", "The secret value is larger than the maximum of 25 KB.")
    if name.lower() in vault.deleted:
        message = (
            f"Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused; "
            "in this state, the secret can only be recovered or purged."
        )
        raise RefusedError(409, "Conflict", message, inner="ObjectIsDeletedButRecoverable")
    version = vault.set(name, value, azure.clock(), **_chosen(body))
    return web.json_response(_bundle(request, vault.secrets[name.lower()], version))


async def _get(azure: Azure, vault: Vault, request: web.Request) -> web.Response:
    del azure
    secret, version = _find(vault, request)
    if not version.enabled:
        message = "Operation get is not allowed on a disabled secret."
        raise RefusedError(403, "Forbidden", message, inner="SecretDisabled")
    return web.json_response(_bundle(request, secret, version))


async def _update(azure: Azure, vault: Vault, request: web.Request) -> web.Response:
    secret, version = _find(vault, request)
    for name, value in _chosen(await _body(request)).items():
        setattr(version, name, value)
    version.updated = int(azure.clock().timestamp())
    return web.json_response(_item(request, secret, version))


async def _delete(azure: Azure, vault: Vault, request: web.Request) -> web.Response:
    _find(vault, request)
    secret = vault.delete(request.match_info["name"], azure.clock())
    return web.json_response(_deleted(request, secret))


async def _get_deleted(azure: Azure, vault: Vault, request: web.Request) -> web.Response:
    del azure
    return web.json_response(_deleted(request, _find_deleted(vault, request)))


async def _recover(azure: Azure, vault: Vault, request: web.Request) -> web.Response:
    del azure
    secret = vault.recover(_find_deleted(vault, request).name)
    return web.json_response(_item(request, secret, secret.latest))


def _name(request: web.Request) -> str:
    name = request.match_info["name"]
    if not NAME.fullmatch(name):
        message = f"The request URI contains an invalid name: {name}"
        raise RefusedError(400, "BadParameter", message)
    return name


def _find(vault: Vault, request: web.Request) -> tuple[Secret, SecretVersion]:
    name, wanted = _name(request), request.match_info.get("version", "")
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


def _find_deleted(vault: Vault, request: web.Request) -> Secret:
    name = _name(request)
    secret = vault.deleted.get(name.lower())
    if secret is None:
        raise RefusedError(404, "SecretNotFound", f"Deleted Secret not found: {name}")
    return secret


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise RefusedError(400, "BadParameter", "The request body is not a JSON object.")
    return body


def _chosen(body: dict[str, Any]) -> dict[str, Any]:
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


def _origin(request: web.Request) -> str:
    return f"{request.scheme}://{request.host}"


def _item(
    request: web.Request, secret: Secret, version: SecretVersion, *, versioned: bool = True
) -> dict[str, object]:
    attributes: dict[str, object] = {
        "enabled": version.enabled,
        "created": version.created,
        "updated": version.updated,
        "recoveryLevel": "Recoverable",
        "recoverableDays": RETENTION_DAYS,
    }
    attributes |= {name: at for name, at in (("nbf", version.nbf), ("exp", version.exp)) if at is not None}
    path = f"{secret.name}/{version.version}" if versioned else secret.name
    item: dict[str, object] = {"id": f"{_origin(request)}/secrets/{path}", "attributes": attributes}
    if version.content_type is not None:
        item["contentType"] = version.content_type
    if version.tags is not None:
        item["tags"] = version.tags
    return item


def _bundle(request: web.Request, secret: Secret, version: SecretVersion) -> dict[str, object]:
    return {"value": version.value, **_item(request, secret, version)}


def _deleted(request: web.Request, secret: Secret) -> dict[str, object]:
    deleted = secret.deleted or 0
    return {
        "recoveryId": f"{_origin(request)}/deletedsecrets/{secret.name}",
        "deletedDate": deleted,
        "scheduledPurgeDate": deleted + RETENTION_DAYS * 86_400,
        **_item(request, secret, secret.latest),
    }


def _page(request: web.Request, items: list[dict[str, object]]) -> web.Response:
    start, size = int(request.query.get("$skiptoken", "0")), int(request.query.get("maxresults", "25"))
    after = start + size
    query = urlencode({**request.query, "$skiptoken": str(after)}, safe="$")
    link = f"{_origin(request)}{request.path}?{query}" if after < len(items) else None
    return web.json_response({"value": items[start:after], "nextLink": link})
