"""The operations on a vault's secrets, bounds and soft delete included."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from emulator.azure import Azure
from emulator.endpoint import RefusedError, Route
from emulator.secret_forms import bundle, deleted, item, page
from emulator.secret_requests import body_of, chosen_in, find, find_deleted, name_of
from emulator.vaults import Vault

ACTIONS = "Microsoft.KeyVault/vaults/secrets"
LARGEST_VALUE = 25 * 1024

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
    items = [item(request, secret, secret.latest, versioned=False) for secret in vault.secrets.values()]
    return page(request, items)


async def _versions(azure: Azure, vault: Vault, request: web.Request) -> web.Response:
    del azure
    secret = vault.secret(request.match_info["name"])
    items = [item(request, secret, version) for version in secret.versions] if secret else []
    return page(request, items)


async def _set(azure: Azure, vault: Vault, request: web.Request) -> web.Response:
    name, body = name_of(request), await body_of(request)
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
    version = vault.set(name, value, azure.clock(), **chosen_in(body))
    return web.json_response(bundle(request, vault.secrets[name.lower()], version))


async def _get(azure: Azure, vault: Vault, request: web.Request) -> web.Response:
    del azure
    secret, version = find(vault, request)
    if not version.enabled:
        message = "Operation get is not allowed on a disabled secret."
        raise RefusedError(403, "Forbidden", message, inner="SecretDisabled")
    return web.json_response(bundle(request, secret, version))


async def _update(azure: Azure, vault: Vault, request: web.Request) -> web.Response:
    secret, version = find(vault, request)
    for name, value in chosen_in(await body_of(request)).items():
        setattr(version, name, value)
    version.updated = int(azure.clock().timestamp())
    return web.json_response(item(request, secret, version))


async def _delete(azure: Azure, vault: Vault, request: web.Request) -> web.Response:
    find(vault, request)
    secret = vault.delete(request.match_info["name"], azure.clock())
    return web.json_response(deleted(request, secret))


async def _get_deleted(azure: Azure, vault: Vault, request: web.Request) -> web.Response:
    del azure
    return web.json_response(deleted(request, find_deleted(vault, request)))


async def _recover(azure: Azure, vault: Vault, request: web.Request) -> web.Response:
    del azure
    secret = vault.recover(find_deleted(vault, request).name)
    return web.json_response(item(request, secret, secret.latest))
