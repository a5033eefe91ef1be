"""The two addresses at which a host gets access tokens for its managed identity: an Azure VM's, and the agent's of Arc."""

import secrets
from collections.abc import Iterable
from pathlib import Path

from aiohttp import web

from emulator.azure import Azure
from emulator.directory import API_ID
from emulator.endpoint import Endpoint, RefusedError, Route

PATH = "/metadata/identity/oauth2/token"


class VirtualMachine(Endpoint):
    """The instance metadata service: one request with `Metadata: true`. Gives tokens of v1, as it does in Azure."""

    host = "metadata"
    instance = "vm"
    secure = False
    anonymous = True
    version = "2018-02-01"

    def routes(self) -> Iterable[Route]:
        """Return the one operation."""
        return [Route("GET", PATH, self._token, versions=(self.version,))]

    @property
    def address(self) -> str:
        """The whole address, but for the audience."""
        return f"{self.url}{PATH}?api-version={self.version}"

    def check(self, request: web.Request) -> None:
        """Raise RefusedError for a request that this address does not answer with a token."""
        if request.headers.get("Metadata") != "true":
            raise RefusedError(400, "bad_request_102", "Required metadata header not specified")

    async def _token(self, azure: Azure, request: web.Request) -> web.Response:
        self.check(request)
        if request.query.get("resource") != f"api://{API_ID}":
            raise RefusedError(400, "invalid_resource", "AADSTS500011: The resource principal was not found.")
        token = azure.directory.access_token(azure.clock(), version=1)
        return web.json_response({"access_token": token, "expires_in": "3599", "token_type": "Bearer"})


class ArcAgent(VirtualMachine):
    """The agent of an Arc-enabled server: refuses first, and names a file in `keys` whose text it wants then."""

    instance = "arc"
    version = "2020-06-01"

    def __init__(self, keys: Path) -> None:
        self.keys = keys
        self.secret = secrets.token_urlsafe()

    def check(self, request: web.Request) -> None:
        """Raise RefusedError unless the request brings the text of the file that a refusal named."""
        super().check(request)
        if request.headers.get("Authorization") == f"Basic {self.secret}":
            return
        file = self.keys / f"{secrets.token_hex(8)}.key"
        file.write_text(self.secret)
        challenge = {"Www-Authenticate": f"Basic realm={file}"}
        raise RefusedError(401, "unauthorized_client", "Missing Basic Authorization", headers=challenge)
