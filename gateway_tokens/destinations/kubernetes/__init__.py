"""Kubernetes Secrets: the token under the key of its layout, the ownership as annotations, the workload restarted."""

from __future__ import annotations

import base64
import binascii
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import StringConstraints

from gateway_tokens.azure.clients import AzureAccess
from gateway_tokens.destinations.base import TEMPLATE, StoredForm, filled_in
from gateway_tokens.errors import AzureForbidden, DestinationBlocked, WriteConflict
from gateway_tokens.stored import MANAGED_BY, Ownership, Restart, StoredToken
from gateway_tokens.tokens import GatewayRef, GatewayToken

from .api import ClusterSettings, cluster_api
from .workload import KubernetesWorkload, Workload


class Layout(StrEnum):
    """Which way of installing the gateway a Kubernetes Secret suits: its key, and its value's form."""

    HELM = "helm"  # key `gateway-key`: the official chart with secret.existingSecretName
    PORTAL = "portal"  # key `value`: the YAML of the portal's Deployment blade
    ENV_FROM = "envFrom"  # key `config.service.auth.key`: the documentation of 2026, loaded with envFrom

    @property
    def key(self) -> str:
        """The Secret's key that holds the token."""
        return {Layout.HELM: "gateway-key", Layout.PORTAL: "value"}.get(self, "config.service.auth.key")


class KubernetesSecret(ClusterSettings):
    """A Secret in a cluster whose API the app can reach, and the workload to restart."""

    role = "Gateway token cluster reader"
    kind: Literal["kubernetes"]
    secret: Annotated[str, StringConstraints(pattern=r"^[a-z0-9{}.-]+$", max_length=253), TEMPLATE] = (
        "{gateway}-token"
    )
    layout: Layout = Layout.HELM
    restart: Workload | None = None

    @property
    def depends_on(self) -> str:
        """The cluster."""
        return (self.server or self.cluster or "").rstrip("/").lower()

    def location(self, ref: GatewayRef) -> str:
        """Cluster, namespace and Secret."""
        return f"{self.depends_on}/namespaces/{self.namespace}/secrets/{filled_in(self.secret, ref).lower()}"


_OWNERSHIP = {"app.kubernetes.io/managed-by": MANAGED_BY}
_NOT_FOUND, _CONFLICT = 404, 409


class KubernetesDestination:
    """One key of one Secret. A Secret keeps no old values."""

    def __init__(self, spec: KubernetesSecret, ref: GatewayRef, azure: AzureAccess) -> None:
        self.location = spec.location(ref)
        self.restarts = spec.restart is not None
        self._key, self._name = spec.layout.key, filled_in(spec.secret, ref).lower()
        self._api = cluster_api(spec, azure)
        self._path = f"/api/v1/namespaces/{spec.namespace}/secrets"
        self._workload = KubernetesWorkload(spec.restart, spec, ref, self._api) if spec.restart else None

    async def read(self) -> StoredToken | None:
        """The key's value, and how far the workload's restart for it is."""
        secret = await self._api.call(
            "GET",
            f"{self._path}/{self._name}",
            action="get secrets",
            location=self.location,
            expected={_NOT_FOUND},
        )
        if secret is None:
            return None
        self._check_usable(secret)
        token = StoredForm.HEADER.token_in(_decoded((secret.get("data") or {}).get(self._key)))
        ownership = Ownership.from_annotations(secret["metadata"].get("annotations") or {})
        restart = await self._restart_of(token) if token and ownership else None
        return StoredToken(token, ownership, secret["metadata"].get("resourceVersion", ""), restart)

    async def write(self, token: GatewayToken, ownership: Ownership, stored: StoredToken | None) -> None:
        """Create the Secret, or change the one key of the version that was read."""
        metadata: dict[str, Any] = {"labels": _OWNERSHIP, "annotations": ownership.annotations(token)}
        value = base64.b64encode(StoredForm.HEADER.of(token).reveal().encode()).decode()
        if stored is None:
            metadata["name"] = self._name
            kind = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque"}
            method, path, action = "POST", self._path, "create secrets"
        else:
            metadata["resourceVersion"] = stored.version
            kind = {}
            method, path, action = "PATCH", f"{self._path}/{self._name}", "patch secrets"
        body = {**kind, "metadata": metadata, "data": {self._key: value}}
        # Nothing found at a creation is the namespace's absence; at a change, somebody else's deletion.
        expected = {_CONFLICT} if stored is None else {_CONFLICT, _NOT_FOUND}
        done = await self._api.call(
            method, path, action=action, location=self.location, body=body, expected=expected
        )
        if done is None:
            raise WriteConflict(self.location, "somebody changed the Secret. The next run reads it.")

    async def restart(self, token: GatewayToken) -> None:
        """Ask for a restart of the workload's pods. Raises NotRestarted."""
        if self._workload is not None:
            await self._workload.restart(token.fingerprint)

    async def _restart_of(self, token: GatewayToken) -> Restart | None:
        if self._workload is None:
            return None
        try:
            return await self._workload.restart_of(token.fingerprint)
        except AzureForbidden as error:
            # The token is delivered and its restart asked for all the same; whether it is done cannot be told.
            return Restart(begun=True, stuck=f"cannot be judged. {error}")

    def _check_usable(self, secret: dict[str, Any]) -> None:
        kind = secret.get("type") or "Opaque"
        if kind != "Opaque":
            raise DestinationBlocked(
                self.location, f"is a Secret of type {kind}. Name another in the settings."
            )
        if secret.get("immutable"):
            raise DestinationBlocked(self.location, "is immutable. Delete it; the next run makes it anew.")


def _decoded(data: str | None) -> str | None:
    try:
        return base64.b64decode(data or "").decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
