"""The shell's access to Azure: one credential, one client per address, and Azure's refusals in our own words."""

from __future__ import annotations

from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from .errors import (
    AzureError,
    AzureFacts,
    AzureForbidden,
    AzureNotFound,
    AzureRejected,
    AzureUnavailable,
    IdentityUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from datetime import datetime

    from azure.core import AsyncPipelineClient
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.exceptions import HttpResponseError
    from azure.core.pipeline.policies import AsyncHTTPPolicy
    from azure.core.rest import AsyncHttpResponse, HttpRequest
    from azure.keyvault.secrets.aio import SecretClient


class AzureAccess:
    """One per worker, made inside a coroutine."""

    def __init__(
        self,
        credential: AsyncTokenCredential,
        arm_endpoint: str,
        arm_scope: str,
        ca_file: str,
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.credential = credential
        self.clock, self.monotonic, self.sleep = clock, monotonic, sleep
        self._arm_endpoint, self._arm_scope, self._ca_file = arm_endpoint, arm_scope, ca_file
        self._secret_clients: dict[str, SecretClient] = {}
        self._arm: AsyncPipelineClient[HttpRequest, AsyncHttpResponse] | None = None
        self._clients: list[Any] = []

    async def close(self) -> None:
        """Close every client."""
        for client in self._clients:
            await client.close()

    def secret_client(self, vault: str) -> SecretClient:
        """The client of one vault."""
        from azure.keyvault.secrets.aio import SecretClient  # noqa: PLC0415

        vault = vault.rstrip("/").lower()
        if vault not in self._secret_clients:
            client = SecretClient(
                vault, self.credential, connection_verify=self._ca_file or True, retry_total=0
            )
            self._secret_clients[vault] = client
            self._clients.append(client)
        return self._secret_clients[vault]

    async def arm_request(
        self,
        method: str,
        path: str,
        *,
        api_version: str,
        action: str,
        scope: str,
        body: dict[str, Any] | None = None,
    ) -> dict[str, Any] | None:
        """One call of ARM's REST API; None when the answer has no body. Raises AzureError."""
        from azure.core.pipeline.policies import AsyncBearerTokenCredentialPolicy  # noqa: PLC0415
        from azure.core.rest import HttpRequest  # noqa: PLC0415

        if self._arm is None:
            policy = AsyncBearerTokenCredentialPolicy(self.credential, self._arm_scope)
            self._arm = self.pipeline(self._arm_endpoint, ca=None, authentication_policy=policy)
        address = self._arm.format_url(path)
        request = HttpRequest(method, address, params={"api-version": api_version}, json=body)
        async with self.translate(f"{method} {path}", action, scope):
            response = await self._arm.send_request(request)
            response.raise_for_status()
            answer: dict[str, Any] | None = response.json() if response.content else None
            return answer

    def pipeline(
        self,
        base_url: str,
        *,
        ca: str | None,
        authentication_policy: AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse],
    ) -> AsyncPipelineClient[HttpRequest, AsyncHttpResponse]:
        """A client for a REST API at `base_url`; `ca` is PEM text."""
        import ssl  # noqa: PLC0415

        import aiohttp  # noqa: PLC0415
        from azure.core import AsyncPipelineClient  # noqa: PLC0415
        from azure.core.pipeline.transport import AioHttpTransport  # noqa: PLC0415

        context = ssl.create_default_context(cafile=self._ca_file or None if ca is None else None, cadata=ca)
        # Clusters sign with authorities that say less than Python 3.13 insists on by default.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        transport = AioHttpTransport(
            session=aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), auto_decompress=False)
        )
        client: AsyncPipelineClient[HttpRequest, AsyncHttpResponse] = AsyncPipelineClient(
            base_url, transport=transport, policies=[authentication_policy]
        )
        self._clients.append(client)
        return client

    @asynccontextmanager
    async def translate(self, operation: str, action: str, scope: str) -> AsyncIterator[None]:
        """Turn azure-core's exceptions into ours."""
        from azure.core import exceptions  # noqa: PLC0415

        try:
            yield
        except exceptions.HttpResponseError as error:
            if error.status_code is None:
                raise IdentityUnavailable(operation, AzureFacts()) from None
            raise _refusal(error, operation, action, scope) from None
        except exceptions.AzureError:
            raise AzureUnavailable(operation, AzureFacts()) from None


def _refusal(error: HttpResponseError, operation: str, action: str, scope: str) -> AzureError:
    status = error.status_code or 0
    code, message = (error.error.code, error.error.message) if error.error else ("", "")
    facts = AzureFacts(status, code or "", message or "")
    if status == HTTPStatus.FORBIDDEN:
        return AzureForbidden(operation, facts, action, scope)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return AzureUnavailable(operation, facts)
    kinds: dict[int, type[AzureError]] = {400: AzureRejected, 404: AzureNotFound}
    return kinds.get(status, AzureError)(operation, facts)
