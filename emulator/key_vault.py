"""Key Vault's secrets over HTTP: one address per vault, with the challenge that real clients insist on checking."""

import re
from collections.abc import Collection, Iterable

from aiohttp import web

from emulator.azure import Azure
from emulator.endpoint import Endpoint, RefusedError, Route
from emulator.secret_operations import routes


class KeyVault(Endpoint):
    """The address of one vault."""

    host = "vault"

    def __init__(self, vault: str) -> None:
        self.instance = vault

    def routes(self) -> Iterable[Route]:
        """Return the operations on secrets, bound to this vault."""
        return routes(self.instance)

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
        path = re.sub(r"^/deletedsecrets", "/secrets", request.path).rstrip("/")
        return RefusedError(
            403,
            "Forbidden",
            "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role "
            "definitions were changed recently, please observe propagation time.\r\n"
            f"Caller: appid={azure.client_id};oid={azure.object_id};"
            f"iss=https://sts.windows.net/{azure.tenant_id}/\r\n"
            f"Action: '{action}'\r\n"
            f"Resource: '/providers/microsoft.keyvault/vaults/{self.instance}{path}'\r\n"
            "Assignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null\r\n"
            f"Vault: {self.instance};location=westeurope\r\n",
            inner="ForbiddenByRbac",
        )

    def stamp(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add the headers by which a call is found in the vault's logs."""
        response.headers.setdefault("x-ms-request-id", request.headers.get("x-ms-client-request-id", "none"))
        response.headers.setdefault("x-ms-keyvault-region", "westeurope")
