"""A cluster's API as plain REST: where it is, how the app signs in, and its refusals in our own words."""

from __future__ import annotations

import asyncio
import json
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import HttpResponseError, ODataV4Format, ServiceRequestError
from azure.core.pipeline.policies import AsyncBearerTokenCredentialPolicy
from azure.core.rest import AsyncHttpResponse, HttpRequest

from gateway_tokens.azure_calls import operation
from gateway_tokens.azure_errors import object_in
from gateway_tokens.errors import DestinationBlocked

from .aks import SERVER_APPLICATION_SCOPE, Address, address_of
from .service_account import ServiceAccountPolicy

if TYPE_CHECKING:
    from collections.abc import Collection

    from azure.core import AsyncPipelineClient

    from gateway_tokens.azure_access import AzureAccess
    from gateway_tokens.destination_settings import KubernetesSecret, ServiceAccountToken

    Client = AsyncPipelineClient[HttpRequest, AsyncHttpResponse]


def cluster_api(spec: KubernetesSecret, azure: AzureAccess) -> ClusterApi:
    """The API of the cluster that a row names: one connection for all rows that name it alike."""
    key = ("cluster", spec.server, spec.cluster, spec.certificate_authority, spec.sign_in)
    return azure.shared(key, lambda: ClusterApi(spec, azure))


class _Status(ODataV4Format):
    """A Kubernetes Status. Its message may quote what was sent, so only its reason is kept."""

    def __init__(self, status: dict[str, Any]) -> None:
        super().__init__({"error": {"code": str(status.get("reason", "")), "message": ""}})


class ClusterApi:
    """Calls to one cluster."""

    def __init__(self, spec: KubernetesSecret, azure: AzureAccess) -> None:
        self._spec, self._azure = spec, azure
        self._policy = _sign_in(spec.sign_in, azure)
        self._clients: dict[Address, Client] = {}
        self._client: Client | None = None
        self._connecting = asyncio.Lock()

    async def call(
        self,
        method: str,
        path: str,
        *,
        action: str,
        place: str,
        body: dict[str, Any] | None = None,
        expected: Collection[int] = (),
    ) -> dict[str, Any] | None:
        """The object that the server answers with; None for a refusal whose status is `expected`.

        `action` is what the cluster's RBAC must allow, such as `get secrets`. Raises AzureError, and
        DestinationBlocked when the server does not accept the sign-in.
        """
        async with operation(f"{method} {place}", action=action, scope=place):
            response = await self._send(method, path, body)
            if response.status_code in expected:
                return None
            if response.status_code == HTTPStatus.UNAUTHORIZED:
                raise DestinationBlocked(
                    place, "the cluster does not accept the app's sign-in. See the row's `signIn`."
                )
            if response.status_code >= HTTPStatus.MULTIPLE_CHOICES:
                raise HttpResponseError(response=response, error_format=_Status)
            return object_in(response)

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            await client.close()

    async def _send(self, method: str, path: str, body: dict[str, Any] | None) -> AsyncHttpResponse:
        client = await self._connected()
        try:
            return await _sent(client, method, path, body)
        except ServiceRequestError:
            if self._spec.cluster is None:
                raise
            # A rebuilt cluster has another address or certificate: Azure knows.
            self._client = None
            again = await self._connected()
            if again is client:
                raise
            return await _sent(again, method, path, body)

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client is None:
                address = await self._address()
                self._client = self._clients[address] = self._clients.get(address) or self._open(address)
            return self._client

    def _open(self, address: Address) -> Client:
        authority = address.certificate_authority
        try:
            return self._azure.pipeline(address.server, ca=authority, authentication_policy=self._policy)
        except (ssl.SSLError, ValueError):
            raise DestinationBlocked(
                address.server, "its certificate authority is no certificate in PEM. See the settings."
            ) from None

    async def _address(self) -> Address:
        if self._spec.cluster is None:
            return Address(self._spec.server or "", self._spec.certificate_authority)
        found = await address_of(self._azure, self._spec.cluster)
        return found._replace(
            certificate_authority=self._spec.certificate_authority or found.certificate_authority
        )


def _sign_in(
    token: ServiceAccountToken | None, azure: AzureAccess
) -> ServiceAccountPolicy | AsyncBearerTokenCredentialPolicy[HttpRequest, AsyncHttpResponse]:
    if token is None:
        return AsyncBearerTokenCredentialPolicy(azure.credential, SERVER_APPLICATION_SCOPE)
    return ServiceAccountPolicy(token, azure)


async def _sent(client: Client, method: str, path: str, body: dict[str, Any] | None) -> AsyncHttpResponse:
    """Send a request. All may be repeated: a write names the version that it changes, or creates what is not there."""
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    headers = {"Accept": "application/json"} | ({"Content-Type": kind} if body else {})
    request = HttpRequest(
        method, client.format_url(path), headers=headers, content=json.dumps(body) if body else None
    )
    return await client.send_request(request, retry_on_methods=[method])
