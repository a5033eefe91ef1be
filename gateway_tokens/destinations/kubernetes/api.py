"""A cluster's API as plain REST: where it is, how the app signs in, and its refusals as errors of ours."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
import ssl
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple, Self

from azure.core import AsyncPipelineClient
from azure.core.exceptions import HttpResponseError, ODataV4Format, ServiceRequestError
from azure.core.pipeline.policies import AsyncBearerTokenCredentialPolicy
from azure.core.rest import AsyncHttpResponse, HttpRequest
from pydantic import Field, model_validator

from gateway_tokens.azure.clients import AzureAccess
from gateway_tokens.azure.errors import object_in, operation
from gateway_tokens.errors import AzureError, AzureFacts, DestinationBlocked, Fault, SignInRefused
from gateway_tokens.estate.addresses import (
    Cluster,
    ClusterReference,
    KubernetesLabel,
    ServerAddress,
    ServiceAccountToken,
    filled_in,
)
from gateway_tokens.estate.schema import DestinationSettings
from gateway_tokens.tokens import GatewayRef

from .service_account import ServiceAccountPolicy


class ClusterSettings(DestinationSettings):
    """Which cluster, how the app signs in to it, and the namespace."""

    server: ServerAddress | None = Field(
        default=None, description="The API server. Left out: asked of `cluster`."
    )
    cluster: ClusterReference | None = Field(
        default=None,
        description="An AKS cluster's resource id: Azure gives its address and CA. Or a name in `clusters`.",
    )
    certificate_authority: str | None = Field(default=None, description="The API server's CA, in PEM.")
    sign_in: ServiceAccountToken | None = Field(
        default=None, description="Left out: the app's managed identity signs in, as AKS with Entra expects."
    )
    namespace: KubernetesLabel = "default"

    @model_validator(mode="after")
    def _reachable(self) -> ClusterSettings:
        if (self.server is None) == (self.cluster is None):
            raise ValueError("needs either `server` or `cluster`")
        if self.cluster and self.sign_in:
            raise ValueError("has `cluster` and `signIn`: a cluster that does not use Entra needs `server`")
        return self

    def at(self, ref: GatewayRef) -> tuple[Self | None, list[Fault]]:
        """As for every kind. Kubernetes takes small letters only."""
        return super().at(GatewayRef(ref.service.lower(), ref.gateway.lower()))

    def on(self, clusters: Mapping[str, Cluster], ref: GatewayRef) -> Self:
        """With the address, authority and sign-in of the cluster that is named."""
        if self.cluster is None or self.cluster.startswith("/"):
            return self
        named = clusters[filled_in(self.cluster, ref).lower()]
        authority = self.certificate_authority or named.certificate_authority
        return self.model_copy(update={**dict(named), "cluster": None, "certificate_authority": authority})


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
    """The API server of the cluster with this resource id. Raises AzureError."""
    path = f"{cluster}/listClusterUserCredential"
    answer = await azure.arm_request("POST", path, api_version=_API_VERSION, action=_ACTION, scope=cluster)
    try:
        return _read_kubeconfig((answer or {})["kubeconfigs"][0]["value"])
    except (KeyError, IndexError, TypeError, ValueError):
        facts = AzureFacts(code="KubeconfigUnreadable")
        raise AzureError(f"POST {path}", facts, "Azure's answer holds no usable kubeconfig.") from None


def _read_kubeconfig(encoded: str) -> Address:
    """Only the cluster part is read: a kubeconfig may also hold a user's credentials."""
    import yaml

    try:
        config: Any = yaml.safe_load(base64.b64decode(encoded, validate=True))
    except (yaml.YAMLError, binascii.Error):
        raise ValueError("not YAML in base64") from None
    cluster = config["clusters"][0]["cluster"]
    authority = cluster.get("certificate-authority-data")
    if not str(cluster["server"]).startswith("https://"):
        raise ValueError("not an https address")
    return Address(cluster["server"], base64.b64decode(authority).decode() if authority else None)


Client = AsyncPipelineClient[HttpRequest, AsyncHttpResponse]


def cluster_api(spec: ClusterSettings, azure: AzureAccess) -> ClusterApi:
    """The API of the cluster that a row names: one connection for all rows that name it alike."""
    key = ("cluster", spec.server, spec.cluster, spec.certificate_authority, spec.sign_in)
    return azure.shared(key, lambda: ClusterApi(spec, azure))


# Causes that a Status names and that the request cannot change: only a name is taken from its text.
_REFUSALS = (
    (
        r'admission webhook "([\w.-]+)" denied',
        "the admission webhook '{0}' denied the request. Change its rules so that the app may write Secrets and restart workloads.",
    ),
    (
        r'failed calling webhook "([\w.-]+)"',
        "the admission webhook '{0}' did not answer. Repair it, or ask its owner.",
    ),
    (
        r"ValidatingAdmissionPolicy '([\w.-]+)'",
        "the admission policy '{0}' denied the request. Change its rules so that the app may write Secrets and restart workloads.",
    ),
    (r"exceeded quota: ([\w.-]+)", "the namespace's quota '{0}' is used up. Raise it."),
    (
        r"because it is being terminated",
        "the namespace is being deleted. Name another, or take the gateway out of the settings.",
    ),
)


class _Status(ODataV4Format):
    """A Kubernetes Status. Its message may quote what was sent, so only its reason is kept."""

    def __init__(self, status: dict[str, Any]) -> None:
        super().__init__({"error": {"code": str(status.get("reason", "")), "message": ""}})


class ClusterApi:
    """Calls to one cluster."""

    def __init__(self, spec: ClusterSettings, azure: AzureAccess) -> None:
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
            if refusal := _refusal(response):
                raise DestinationBlocked(location, refusal)
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
                address.server,
                "`certificateAuthority` is not a certificate in PEM form. Correct it in the settings.",
            ) from None

    async def _address(self) -> Address:
        if self._spec.cluster is None:
            return Address(self._spec.server or "", self._spec.certificate_authority)
        answer = await address_of(self._azure, self._spec.cluster)
        return answer._replace(
            certificate_authority=self._spec.certificate_authority or answer.certificate_authority
        )


def _refusal(response: AsyncHttpResponse) -> str:
    """Why the cluster refuses, where its status names such a cause. What it quotes of an object is left out."""
    if response.status_code < HTTPStatus.BAD_REQUEST:
        return ""
    try:
        message = str(object_in(response).get("message", ""))
    except HttpResponseError:
        return ""
    for pattern, refusal in _REFUSALS:
        if match := re.search(pattern, message):
            return refusal.format(*match.groups())
    return ""


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
