"""Where access tokens come from: the managed identity endpoint of App Service, and Entra's sign-in for applications."""

import json
import time
from collections.abc import Iterable

from aiohttp import web

from emulator.azure import Azure
from emulator.directory import API_ID, TENANT_ID
from emulator.endpoint import Endpoint, RefusedError, Route


class Identity(Endpoint):
    """Answers `GET /msi/token?resource=...` for the system-assigned or a known user-assigned identity."""

    host = "identity"
    secure = False
    anonymous = True

    def routes(self) -> Iterable[Route]:
        """Return the one operation."""
        return [Route("GET", "/msi/token", _identity_token, versions=("2019-08-01",))]

    def express(self, refusal: RefusedError) -> web.Response:
        """Put a refusal in App Service's form."""
        body = {"statusCode": refusal.status, "message": refusal.message}
        return web.Response(status=refusal.status, text=json.dumps(body), content_type="application/json")


async def _identity_token(azure: Azure, request: web.Request) -> web.Response:
    if request.headers.get("X-IDENTITY-HEADER") != azure.identity_header:
        raise RefusedError(401, "Unauthorized", "The X-IDENTITY-HEADER header is missing or wrong.")
    resource = request.query.get("resource", "").rstrip("/")
    if not resource:
        raise RefusedError(400, "BadRequest", "The resource parameter is required.")
    client_id = request.query.get("client_id", azure.client_id)
    if "client_id" in request.query and azure.client_ids is not None and client_id not in azure.client_ids:
        message = "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."
        raise RefusedError(400, "BadRequest", message)
    # Clients compare this with their own clock, which no test moves: the machine's time, not azure.clock.
    expires = int(time.time()) + 24 * 60 * 60
    return web.json_response(
        {
            "access_token": azure.issue_bearer(resource),
            "client_id": client_id,
            "expires_on": str(expires),
            "resource": request.query["resource"],
            "token_type": "Bearer",
        }
    )


class Login(Endpoint):
    """Answers for the one tenant."""

    host = "login"
    anonymous = True

    def routes(self) -> Iterable[Route]:
        """Return both operations."""
        return [
            Route("GET", f"/{TENANT_ID}/discovery/v2.0/keys", _keys),
            Route("POST", f"/{TENANT_ID}/oauth2/v2.0/token", _token),
        ]

    def express(self, refusal: RefusedError) -> web.Response:
        """Put a refusal in OAuth's form."""
        body = {"error": refusal.code, "error_description": refusal.message}
        return web.Response(status=refusal.status, text=json.dumps(body), content_type="application/json")


async def _keys(azure: Azure, request: web.Request) -> web.Response:  # noqa: ARG001 - every operation takes one
    response = web.json_response(azure.directory.key_set())
    response.enable_compression()
    return response


async def _token(azure: Azure, request: web.Request) -> web.Response:
    form = await request.post()
    application = azure.directory.applications.get(str(form.get("client_id")))
    if form.get("grant_type") != "client_credentials" or form.get("scope") != f"api://{API_ID}/.default":
        raise RefusedError(400, "invalid_request", "AADSTS900144: The request lacks a grant type or a scope.")
    if application is None or form.get("client_secret") != application.secret:
        raise RefusedError(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
    token = azure.directory.access_token(azure.clock(), application)
    return web.json_response({"token_type": "Bearer", "expires_in": 3599, "access_token": token})
