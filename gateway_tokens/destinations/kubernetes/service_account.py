"""The sign-in of clusters that do not know Entra: a service account's token, kept in Key Vault."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

from azure.core.pipeline.policies import AsyncHTTPPolicy
from azure.core.rest import AsyncHttpResponse, HttpRequest

from gateway_tokens.azure.clients import AzureAccess
from gateway_tokens.azure.errors import operation
from gateway_tokens.errors import DestinationBlocked
from gateway_tokens.estate.addresses import ServiceAccountToken
from gateway_tokens.logs import log_line
from gateway_tokens.tokens import Secret

if TYPE_CHECKING:
    from azure.core.pipeline import PipelineRequest, PipelineResponse

KEEP_SECONDS = 3600.0  # every hour the token is read again, and an early end is logged
WARN_AHEAD = timedelta(days=7)


class ServiceAccountPolicy(AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Reads the token when it is needed: again after an hour, and when the cluster no longer accepts it."""

    def __init__(self, spec: ServiceAccountToken, azure: AzureAccess) -> None:
        super().__init__()
        self._spec, self._azure = spec, azure
        self._token: Secret | None = None
        self._read_at = 0.0

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
        now = self._azure.monotonic()
        if self._token is None or now >= self._read_at + KEEP_SECONDS:
            self._token, self._read_at = await self._read(), now
        request.http_request.headers["Authorization"] = f"Bearer {self._token.reveal()}"
        return await self.next.send(request)

    async def _read(self) -> Secret:
        location = f"{self._spec.vault.rstrip('/').lower()}/secrets/{self._spec.secret}"
        action = "Microsoft.KeyVault/vaults/secrets/getSecret/action"
        async with operation(f"Reading {location}", action=action, scope=location):
            answer = await self._azure.secret_client(self._spec.vault).get_secret(self._spec.secret)
        token = (answer.value or "").strip()
        if not token or not token.isascii() or not token.isprintable():
            raise DestinationBlocked(
                location, "the secret does not hold a service account token. Write the token into it."
            )
        _warn_of_expiry(token, location)
        return Secret(token)


def expiry_of(token: str) -> datetime | None:
    """When the token says that it ends. A token that does not say so never expires by itself."""
    import jwt

    try:
        # Read, not trusted: the cluster verifies the signature.
        return datetime.fromtimestamp(jwt.decode(token, options={"verify_signature": False})["exp"], UTC)
    except (jwt.PyJWTError, KeyError, TypeError, ValueError, OverflowError, OSError):
        return None


def _warn_of_expiry(token: str, location: str) -> None:
    """A log line when the token ends soon."""
    expiry = expiry_of(token)
    if expiry and (left := expiry - datetime.now(UTC)) <= WARN_AHEAD:
        hours = round(left.total_seconds() / 3600, 1)
        log_line("sign_in.expiring", logging.WARNING, secret=location, expiry=expiry, hoursLeft=hours)
