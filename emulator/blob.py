"""Blob storage over HTTP: block blobs put and read whole or by range, with conditions on their ETags."""

import re
from collections.abc import Collection, Iterable
from datetime import UTC
from email.utils import format_datetime
from uuid import uuid4
from xml.sax.saxutils import escape

from aiohttp import web

from emulator.azure import Azure, Blob
from emulator.endpoint import Endpoint, RefusedError, Route

BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
METADATA = "x-ms-meta-"
UNMET = "The condition specified using HTTP conditional header(s) is not met."
RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class BlobStorage(Endpoint):
    """The address of a storage account, the account's name first in the path as in local storage emulators."""

    host = "blob"

    def routes(self) -> Iterable[Route]:
        """Return the operations on one blob."""
        path = "/{account}/{container}/{blob:.+}"
        return [
            Route("PUT", path, _put, f"{BLOBS}/write"),
            Route("GET", path, _get, f"{BLOBS}/read"),
            Route("HEAD", path, _get, f"{BLOBS}/read"),
            Route("GET", "/{account}/{container}", _list, f"{BLOBS}/read"),
        ]

    def audiences(self) -> Collection[str]:
        """Accept the audience that storage has in every cloud."""
        return ("https://storage.azure.com",)

    def express(self, refusal: RefusedError) -> web.Response:
        """Put a refusal in storage's XML, and its code in the header that answers to HEAD live by."""
        body = f"<Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message>"
        return web.Response(
            status=refusal.status,
            text=f'<?xml version="1.0" encoding="utf-8"?><Error>{body}</Error>',
            content_type="application/xml",
            headers={"x-ms-error-code": refusal.code, **refusal.headers},
        )

    def forbidden(self, azure: Azure, request: web.Request, action: str) -> RefusedError:
        """Return storage's 403, which, unlike ARM's, hides what is missing."""
        del azure, request, action
        message = "This request is not authorized to perform this operation using this permission."
        return RefusedError(403, "AuthorizationPermissionMismatch", message)

    def unauthenticated(self, azure: Azure) -> RefusedError:
        """Return storage's challenge."""
        authority = f"https://login.microsoftonline.com/{azure.tenant_id}/oauth2/authorize"
        challenge = f"Bearer authorization_uri={authority} resource_id=https://storage.azure.com"
        message = "Server failed to authenticate the request."
        return RefusedError(
            401, "NoAuthenticationInformation", message, headers={"WWW-Authenticate": challenge}
        )

    def stamp(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add the headers of every storage answer."""
        response.headers.setdefault("x-ms-request-id", str(uuid4()))
        response.headers.setdefault("x-ms-version", request.headers.get("x-ms-version", "2021-12-02"))


async def _put(azure: Azure, request: web.Request) -> web.Response:
    if request.headers.get("x-ms-blob-type") != "BlockBlob" or "comp" in request.query:
        raise RefusedError(400, "InvalidHeaderValue", "Only block blobs put in one piece are emulated.")
    container, stored = _container(azure, request), _stored(azure, request)
    if stored and request.headers.get("If-None-Match") == "*":
        raise RefusedError(409, "BlobAlreadyExists", "The specified blob already exists.")
    _check_conditions(request, stored)
    content_type = request.headers.get("x-ms-blob-content-type", "application/octet-stream")
    metadata = {
        name[len(METADATA) :]: v for name, v in request.headers.items() if name.lower().startswith(METADATA)
    }
    blob = azure.blobs.put(
        container,
        request.match_info["blob"],
        await request.read(),
        azure.clock(),
        content_type=content_type,
        metadata=metadata,
    )
    return web.Response(status=201, headers={**_marks(blob), "x-ms-request-server-encrypted": "true"})


async def _get(azure: Azure, request: web.Request) -> web.Response:
    blob = _existing(azure, request)
    _check_conditions(request, blob)
    start, end = _range(request, len(blob.content))
    headers = {
        **_marks(blob),
        **{METADATA + name: value for name, value in blob.metadata.items()},
        "Accept-Ranges": "bytes",
        "Content-Type": blob.content_type,
        "x-ms-blob-type": "BlockBlob",
        "x-ms-server-encrypted": "true",
    }
    if end is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(blob.content)}"
    return web.Response(status=200 if end is None else 206, body=blob.content[start:end], headers=headers)


async def _list(azure: Azure, request: web.Request) -> web.Response:
    if request.query.get("comp") != "list" or request.query.get("restype") != "container":
        raise RefusedError(400, "InvalidQueryParameterValue", "Only the listing of a container is emulated.")
    blobs = azure.blobs.containers[_container(azure, request)]
    entries = "".join(_entry(name, blob) for name, blob in sorted(blobs.items()))
    return web.Response(
        text=f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>{entries}</Blobs><NextMarker /></EnumerationResults>',
        content_type="application/xml",
    )


def _entry(name: str, blob: Blob) -> str:
    marks = _marks(blob)
    times = f"<Creation-Time>{marks['x-ms-creation-time']}</Creation-Time><Last-Modified>{marks['Last-Modified']}</Last-Modified>"
    metadata = "".join(f"<{key}>{escape(value)}</{key}>" for key, value in blob.metadata.items())
    properties = f"{times}<Etag>{escape(blob.etag)}</Etag><BlobType>BlockBlob</BlobType>"
    return f"<Blob><Name>{escape(name)}</Name><Properties>{properties}</Properties><Metadata>{metadata}</Metadata></Blob>"


def _container(azure: Azure, request: web.Request) -> str:
    name = request.match_info["container"]
    if request.match_info["account"] != azure.blobs.name or name not in azure.blobs.containers:
        raise RefusedError(404, "ContainerNotFound", "The specified container does not exist.")
    return name


def _stored(azure: Azure, request: web.Request) -> Blob | None:
    return azure.blobs.containers[_container(azure, request)].get(request.match_info["blob"])


def _existing(azure: Azure, request: web.Request) -> Blob:
    blob = _stored(azure, request)
    if blob is None:
        raise RefusedError(404, "BlobNotFound", "The specified blob does not exist.")
    return blob


def _check_conditions(request: web.Request, blob: Blob | None) -> None:
    etag = blob.etag if blob else ""
    wanted, unwanted = request.headers.get("If-Match"), request.headers.get("If-None-Match")
    if wanted is not None and (not etag or wanted not in {etag, "*"}):
        raise RefusedError(412, "ConditionNotMet", UNMET)
    if etag and unwanted == etag:
        raise RefusedError(304 if request.method in {"GET", "HEAD"} else 412, "ConditionNotMet", UNMET)


def _range(request: web.Request, size: int) -> tuple[int, int | None]:
    wanted = RANGE.fullmatch(request.headers.get("x-ms-range") or request.headers.get("Range") or "")
    if wanted is None:
        return 0, None
    start = int(wanted[1])
    if start >= size:
        headers = {"Content-Range": f"bytes */{size}"}
        message = "The range specified is invalid for the current size of the resource."
        raise RefusedError(416, "InvalidRange", message, headers=headers)
    return start, min(size, int(wanted[2]) + 1) if wanted[2] else size


def _marks(blob: Blob) -> dict[str, str]:
    modified = format_datetime(blob.modified.astimezone(UTC), usegmt=True)
    created = format_datetime(blob.created.astimezone(UTC), usegmt=True)
    return {"ETag": blob.etag, "Last-Modified": modified, "x-ms-creation-time": created}
