"""A cluster's API as plain REST: where it is, how the app signs in, and its refusals as errors of ours."""

from __future__ import annotations

import asyncio
import base64
import logging
import re
import ssl
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from azure.core import AsyncPipelineClient
from azure.core.exceptions import HttpResponseError, ODataV4Format, ServiceRequestError
from azure.core.pipeline.policies import AsyncBearerTokenCredentialPolicy, AsyncHTTPPolicy
from azure.core.rest import AsyncHttpResponse, HttpRequest

from gateway_tokens.azure.clients import AzureAccess
from gateway_tokens.azure.errors import object_in, operation
from gateway_tokens.errors import AzureError, AzureFacts, DestinationBlocked, SignInRefused
from gateway_tokens.estate.destination import ServiceAccountToken
from gateway_tokens.logs import log_line
from gateway_tokens.tokens import Secret

from . import KubernetesSecret

if TYPE_CHECKING:
    from azure.core.pipeline import PipelineRequest, PipelineResponse


# The Entra application of every AKS cluster's API server, the same in all tenants:
# https://learn.microsoft.com/azure/aks/kubelogin-authentication
SERVER_APPLICATION_SCOPE = "6dae42f8-4368-4678-94ff-3960e28e3630/.default"
_API_VERSION = "2024-09-01"
_ACTION = "Microsoft.ContainerService/managedClusters/listClusterUserCredential/action"


class Address(NamedTuple):
    """An API server: its https address, and its certificate authority in PEM (None: a public one)."""

    server: str
    certificate_authority: str | None


async def address_of(azure: AzureAccess, cluster: str) -> Address:
    """The API server of the AKS cluster with this resource id. Raises AzureError."""
    import yaml

    path = f"{cluster}/listClusterUserCredential"
    answer = await azure.arm_request("POST", path, api_version=_API_VERSION, action=_ACTION, scope=cluster)
    with suppress(LookupError, TypeError, ValueError, yaml.YAMLError):
        kubeconfig = base64.b64decode((answer or {})["kubeconfigs"][0]["value"], validate=True)
        # Nothing else is read: a kubeconfig may also hold a user's credentials.
        cluster_of = yaml.safe_load(kubeconfig)["clusters"][0]["cluster"]
        server, authority = str(cluster_of["server"]), cluster_of.get("certificate-authority-data")
        if server.startswith("https://"):
            return Address(server, base64.b64decode(authority).decode() if authority else None)
    facts = AzureFacts(code="KubeconfigUnreadable")
    raise AzureError(f"POST {path}", facts, "Azure's answer holds no usable kubeconfig.")


KEEP_SECONDS = 3600.0
WARN_AHEAD = timedelta(days=7)


class ServiceAccountPolicy(AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """The sign-in of clusters that do not know Entra: a service account's token, kept in Key Vault.

    It is read again after an hour, so that its end is logged ahead, and when the cluster no longer accepts it.
    """

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
        expiry = expiry_of(token)
        if expiry and (left := expiry - datetime.now(UTC)) <= WARN_AHEAD:
            hours = round(left.total_seconds() / 3600, 1)
            log_line("sign_in.expiring", logging.WARNING, secret=location, expiry=expiry, hoursLeft=hours)
        return Secret(token)


def expiry_of(token: str) -> datetime | None:
    """When a service account's token says that it ends. One that does not say so never expires by itself."""
    import jwt

    try:
        # Read, not trusted: the cluster verifies the signature.
        return datetime.fromtimestamp(jwt.decode(token, options={"verify_signature": False})["exp"], UTC)
    except (jwt.PyJWTError, KeyError, TypeError, ValueError, OverflowError, OSError):
        return None


Client = AsyncPipelineClient[HttpRequest, AsyncHttpResponse]

# Causes that a Status names and that the request cannot change.
_REFUSALS = {
    r'admission webhook "([\w.-]+)" denied': "the admission webhook '{0}' denied the request. Change its rules so that the app may write Secrets and restart workloads.",
    r'failed calling webhook "([\w.-]+)"': "the admission webhook '{0}' did not answer. Repair it, or ask its owner.",
    r"ValidatingAdmissionPolicy '([\w.-]+)'": "the admission policy '{0}' denied the request. Change its rules so that the app may write Secrets and restart workloads.",
    r"exceeded quota: ([\w.-]+)": "the namespace's quota '{0}' is used up. Raise it.",
    r"because it is being terminated": "the namespace is being deleted. Name another, or take the gateway out of the settings.",
}


class _Status(ODataV4Format):
    """A Kubernetes Status. Its message may quote what was sent: only its reason is kept, and a cause that it names."""

    def __init__(self, status: dict[str, Any]) -> None:
        super().__init__({"error": {"code": str(status.get("reason", "")), "message": ""}})
        self.refusal = ""
        for pattern, refusal in _REFUSALS.items():
            if match := re.search(pattern, str(status.get("message", ""))):
                self.refusal = refusal.format(*match.groups())


def cluster_api(spec: KubernetesSecret, azure: AzureAccess) -> ClusterApi:
    """The API of the cluster that a row names: one connection for all rows that name it alike."""
    key = ("cluster", spec.server, spec.cluster, spec.certificate_authority, spec.sign_in)
    return azure.shared(key, lambda: ClusterApi(spec, azure))


class ClusterApi:
    """Calls to one cluster."""

    def __init__(self, spec: KubernetesSecret, azure: AzureAccess) -> None:
        self._spec, self._azure = spec, azure
        self._policy: AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse] = (
            ServiceAccountPolicy(spec.sign_in, azure)
            if spec.sign_in
            else AsyncBearerTokenCredentialPolicy(azure.credential, SERVER_APPLICATION_SCOPE)
        )
        self._clients: dict[Address, Client] = {}
        self._client: Client | None = None
        self._connecting = asyncio.Lock()

    async def call(
        self,
        method: str,
        path: str,
        *,
        action: str,
        location: str,
        body: dict[str, Any] | None = None,
        expected: Collection[int] = (),
    ) -> dict[str, Any] | None:
        """The object that the server answers with; None for a refusal whose status is `expected`.

        `action` is what the cluster's RBAC must allow, such as `get secrets`. Raises AzureError, and
        DestinationBlocked when the server does not accept the sign-in.
        """
        async with operation(f"{method} {location}", action=action, scope=location):
            response = await self._send(method, path, body)
            if response.status_code in expected:
                return None
            if response.status_code == HTTPStatus.UNAUTHORIZED:
                raise SignInRefused(
                    location,
                    "the cluster does not accept the app's sign-in. Check `signIn` of this destination in the settings.",
                )
            if response.status_code >= HTTPStatus.MULTIPLE_CHOICES:
                error = HttpResponseError(response=response, error_format=_Status)
                if isinstance(error.error, _Status) and error.error.refusal:
                    raise DestinationBlocked(location, error.error.refusal)
                raise error
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
            # A rebuilt cluster has another address or certificate: Azure knows, and is asked once by all who failed together.
            if self._client is client:
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

    async def _address(self) -> Address:
        authority = self._spec.certificate_authority
        if self._spec.cluster is None:
            return Address(self._spec.server or "", authority)
        address = await address_of(self._azure, self._spec.cluster)
        return Address(address.server, authority or address.certificate_authority)

    def _open(self, address: Address) -> Client:
        authority = address.certificate_authority
        try:
            return self._azure.pipeline(address.server, ca=authority, authentication_policy=self._policy)
        except (ssl.SSLError, ValueError):
            raise DestinationBlocked(
                address.server,
                "`certificateAuthority` is not a certificate in PEM form. Correct it in the settings.",
            ) from None


async def _sent(client: Client, method: str, path: str, body: dict[str, Any] | None) -> AsyncHttpResponse:
    """Send a request. All may be repeated: a write names the version that it changes, or creates what is not there."""
    kind = "merge-patch+json" if method == "PATCH" else "json"
    headers = {"Accept": "application/json", "Content-Type": f"application/{kind}"}
    request = HttpRequest(method, client.format_url(path), headers=headers, json=body)
    return await client.send_request(request, retry_on_methods=[method])
