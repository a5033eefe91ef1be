"""Entra's sign-in endpoint: the tenant's signing keys, and access tokens for applications with a secret."""

import json
from collections.abc import Iterable

from aiohttp import web

from emulator.azure import Azure
from emulator.directory import API_ID, TENANT_ID
from emulator.endpoint import Endpoint, RefusedError, Route


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
