"""How a vault's secrets look on the wire."""

from urllib.parse import urlencode

from aiohttp import web

from emulator.vaults import Secret, SecretVersion

RETENTION_DAYS = 90


def _origin(request: web.Request) -> str:
    return f"{request.scheme}://{request.host}"


def item(
    request: web.Request, secret: Secret, version: SecretVersion, *, versioned: bool = True
) -> dict[str, object]:
    """Return a SecretItem: everything but the value."""
    attributes: dict[str, object] = {
        "enabled": version.enabled,
        "created": version.created,
        "updated": version.updated,
        "recoveryLevel": "Recoverable",
        "recoverableDays": RETENTION_DAYS,
    }
    attributes |= {name: at for name, at in (("nbf", version.nbf), ("exp", version.exp)) if at is not None}
    path = f"{secret.name}/{version.version}" if versioned else secret.name
    body: dict[str, object] = {"id": f"{_origin(request)}/secrets/{path}", "attributes": attributes}
    if version.content_type is not None:
        body["contentType"] = version.content_type
    if version.tags is not None:
        body["tags"] = version.tags
    return body


def bundle(request: web.Request, secret: Secret, version: SecretVersion) -> dict[str, object]:
    """Return a SecretBundle."""
    return {"value": version.value, **item(request, secret, version)}


def deleted(request: web.Request, secret: Secret) -> dict[str, object]:
    """Return a DeletedSecretBundle."""
    at = secret.deleted or 0
    return {
        "recoveryId": f"{_origin(request)}/deletedsecrets/{secret.name}",
        "deletedDate": at,
        "scheduledPurgeDate": at + RETENTION_DAYS * 86_400,
        **item(request, secret, secret.latest),
    }


def page(request: web.Request, items: list[dict[str, object]]) -> web.Response:
    """Return the page of the list that the query asks for, with a link to the next."""
    start, size = int(request.query.get("$skiptoken", "0")), int(request.query.get("maxresults", "25"))
    after = start + size
    query = urlencode({**request.query, "$skiptoken": str(after)}, safe="$")
    link = f"{_origin(request)}{request.path}?{query}" if after < len(items) else None
    return web.json_response({"value": items[start:after], "nextLink": link})
