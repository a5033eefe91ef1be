"""Blob storage over HTTP: block blobs put and read whole or by range, with conditions on their ETags."""

from collections.abc import Collection, Iterable
from uuid import uuid4
from xml.sax.saxutils import escape

from aiohttp import web

from emulator.azure import Azure
from emulator.blob_operations import routes
from emulator.endpoint import Endpoint, RefusedError, Route


class Blob(Endpoint):
    """The address of a storage account, the account's name first in the path as in local storage emulators."""

    host = "blob"

    def routes(self) -> Iterable[Route]:
        """Return the operations on one blob."""
        return routes()

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
