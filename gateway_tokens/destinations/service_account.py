"""Signing in to a cluster that does not know Entra: a service account's token, kept in Key Vault."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from azure.core.pipeline.policies import AsyncHTTPPolicy
from azure.core.rest import AsyncHttpResponse, HttpRequest

from gateway_tokens.azure_calls import operation
from gateway_tokens.errors import DestinationBlocked
from gateway_tokens.model import Secret

if TYPE_CHECKING:
    from azure.core.pipeline import PipelineRequest, PipelineResponse

    from gateway_tokens.azure_access import AzureAccess
    from gateway_tokens.destination_settings import ServiceAccountToken


class ServiceAccountPolicy(AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Reads the token once, and again when the cluster no longer accepts it."""

    def __init__(self, spec: ServiceAccountToken, azure: AzureAccess) -> None:
        super().__init__()
        self._spec, self._azure = spec, azure
        self._token: Secret | None = None

    async def send(
        self, request: PipelineRequest[HttpRequest]
    ) -> PipelineResponse[HttpRequest, AsyncHttpResponse]:
        """Send the request with the token. Raises AzureError when the vault does not give it."""
        remembered = self._token is not None
        response = await self._signed(request)
        if response.http_response.status_code == HTTPStatus.UNAUTHORIZED:
            self._token = None
            if remembered:
                response = await self._signed(request)
        return response

    async def _signed(
        self, request: PipelineRequest[HttpRequest]
    ) -> PipelineResponse[HttpRequest, AsyncHttpResponse]:
        self._token = self._token or await self._read()
        request.http_request.headers["Authorization"] = f"Bearer {self._token.reveal()}"
        return await self.next.send(request)

    async def _read(self) -> Secret:
        place = f"{self._spec.vault.rstrip('/').lower()}/secrets/{self._spec.secret}"
        action = "Microsoft.KeyVault/vaults/secrets/getSecret/action"
        async with operation(f"Reading {place}", action=action, scope=place):
            found = await self._azure.secret_client(self._spec.vault).get_secret(self._spec.secret)
        token = (found.value or "").strip()
        if not token or not token.isascii() or not token.isprintable():
            raise DestinationBlocked(place, "it holds no service account token.")
        return Secret(token)
