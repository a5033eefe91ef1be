"""Key Vault's secrets over HTTP: one address per vault, with the challenge that real clients insist on checking."""

import json
import re
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any

from aiohttp import web

from emulator.azure import Azure
from emulator.endpoint import Endpoint, RefusedError, Route
from emulator.vaults import Secret, SecretVersion, Vault

ACTIONS = "Microsoft.KeyVault/vaults/secrets"
NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
LARGEST_VALUE, MOST_TAGS, RETENTION_DAYS = 25 * 1024, 15, 90

VaultWork = Callable[[Azure, Vault, web.Request], Awaitable[dict[str, object]]]


class KeyVault(Endpoint):
    """The address of one vault: secrets are set, read and updated, bounds and soft delete included."""

    host = "vault"

    def __init__(self, vault: str) -> None:
        self.instance = vault

    def routes(self) -> Iterable[Route]:
        """Return the operations on secrets, bound to this vault."""
        yield self._route("PUT", "/secrets/{name}", _set, "setSecret")
        for method, work, action in (("GET", _get, "getSecret"), ("PATCH", _update, "update")):
            # Clients that want the latest version leave its place in the path empty.
            yield self._route(method, "/secrets/{name}{slash:/?}", work, action)
            yield self._route(method, "/secrets/{name}/{version}", work, action)

    def _route(self, method: str, path: str, work: VaultWork, action: str) -> Route:
        async def bound(azure: Azure, request: web.Request) -> web.Response:
            return web.json_response(await work(azure, azure.vault(self.instance), request))

        return Route(method, path, bound, f"{ACTIONS}/{action}/action")

    def audiences(self) -> Collection[str]:
        """Accept what this vault's challenge names, and nothing else."""
        return (self._resource(),)

    def _resource(self) -> str:
        # A client refuses a challenge unless its own request went to a subdomain of the resource's address: the
        # request's netloc must end with a dot and the resource's netloc, as contoso.vault.azure.net does with
        # vault.azure.net. 127.0.0.1:1234 ends with .0.0.1:1234, so the check stays on and the port keeps the
        # vaults' audiences apart.
        return self.url.replace("//127.", "//", 1)

    def unauthenticated(self, azure: Azure) -> RefusedError:
        """Return the challenge that tells a client whom to ask for a token, and for which resource."""
        authority = f"https://login.microsoftonline.com/{azure.tenant_id}"
        challenge = f'Bearer authorization="{authority}", resource="{self._resource()}"'
        message = "AKV10000: Request is missing a Bearer or PoP token."
        return RefusedError(401, "Unauthorized", message, headers={"WWW-Authenticate": challenge})

    def forbidden(self, azure: Azure, request: web.Request, action: str) -> RefusedError:
        """Return what a vault under RBAC says to an identity without the role."""
        return RefusedError(
            403,
            "Forbidden",
            "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role "
            "definitions were changed recently, please observe propagation time.\r\n"
            f"Caller: appid={azure.client_id};oid={azure.object_id};"
            f"iss=https://sts.windows.net/{azure.tenant_id}/\r\n"
            f"Action: '{action}'\r\n"
            f"Resource: '/providers/microsoft.keyvault/vaults/{self.instance}{request.path.rstrip('/')}'\r\n"
            "Assignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null\r\n"
            f"Vault: {self.instance};location=westeurope\r\n",
            inner="ForbiddenByRbac",
        )

    def stamp(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add the headers by which a call is found in the vault's logs."""
        response.headers.setdefault("x-ms-request-id", request.headers.get("x-ms-client-request-id", "none"))
        response.headers.setdefault("x-ms-keyvault-region", "westeurope")


async def _set(azure: Azure, vault: Vault, request: web.Request) -> dict[str, object]:
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
    return {"value": value, **_item(request, vault.secrets[name.lower()], version)}


async def _get(_azure: Azure, vault: Vault, request: web.Request) -> dict[str, object]:
    secret, version = _find(vault, request)
    if not version.enabled:
        message = "Operation get is not allowed on a disabled secret."
        raise RefusedError(403, "Forbidden", message, inner="SecretDisabled")
    return {"value": version.value, **_item(request, secret, version)}


async def _update(azure: Azure, vault: Vault, request: web.Request) -> dict[str, object]:
    secret, version = _find(vault, request)
    for name, value in _chosen(await _body(request)).items():
        setattr(version, name, value)
    version.updated = int(azure.clock().timestamp())
    return _item(request, secret, version)


def _name(request: web.Request) -> str:
    name = request.match_info["name"]
    if not NAME.fullmatch(name):
        raise RefusedError(400, "BadParameter", f"The request URI contains an invalid name: {name}")
    return name


def _find(vault: Vault, request: web.Request) -> tuple[Secret, SecretVersion]:
    """Return the secret and version that the path means, the latest unless it says."""
    name, wanted = _name(request), request.match_info.get("version", "")
    secret = vault.secret(name)
    for version in reversed(secret.versions if secret else []):
        if secret and wanted in {"", version.version}:
            return secret, version
    message = (
        f"A secret with (name/id) {f'{name}/{wanted}' if wanted else name} was not found in this key vault. If you "
        "recently deleted this secret you may be able to recover it using the correct recovery command."
    )
    raise RefusedError(404, "SecretNotFound", message)


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
    sent = {
        **(body.get("attributes") or {}),
        "content_type": body.get("contentType"),
        "tags": body.get("tags"),
    }
    names = ("enabled", "nbf", "exp", "content_type", "tags")
    chosen = {name: sent[name] for name in names if sent.get(name) is not None}
    if len(chosen.get("tags", {})) > MOST_TAGS:
        raise RefusedError(400, "BadParameter", f"A secret can have at most {MOST_TAGS} tags.")
    return chosen


def _item(request: web.Request, secret: Secret, version: SecretVersion) -> dict[str, object]:
    """Return a version as it looks on the wire: everything but the value."""
    attributes = {
        "enabled": version.enabled,
        "created": version.created,
        "updated": version.updated,
        "recoveryLevel": "Recoverable",
        "recoverableDays": RETENTION_DAYS,
        "nbf": version.nbf,
        "exp": version.exp,
    }
    body = {
        "id": f"{request.scheme}://{request.host}/secrets/{secret.name}/{version.version}",
        "attributes": {name: value for name, value in attributes.items() if value is not None},
        "contentType": version.content_type,
        "tags": version.tags,
    }
    return {name: value for name, value in body.items() if value is not None}
