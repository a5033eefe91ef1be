"""Kubernetes Secrets: the token under the key of its layout, the ownership as annotations, the workloads restarted."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, WrapValidator

from gateway_tokens.azure.clients import AzureAccess
from gateway_tokens.destinations.base import StoredForm
from gateway_tokens.errors import DestinationBlocked, WriteConflict
from gateway_tokens.estate.addresses import KubernetesName, filled_in
from gateway_tokens.stored import MANAGED_BY, OPTIONAL_TAGS, Ownership, Restart, StoredToken, token_in
from gateway_tokens.tokens import GatewayRef, GatewayToken, Secret

from .api import ClusterSettings, cluster_api
from .delivery import OWNERSHIP_MANAGER, VALUE_MANAGER, Delivery, moment, written_by_others, written_by_us
from .workload import KubernetesWorkload, Workload, worst


class Layout(StrEnum):
    """Which way of installing the gateway a Kubernetes Secret suits: its key, and its value's form."""

    HELM = "helm"  # key `gateway-key`: the official chart with secret.existingSecretName
    PORTAL = "portal"  # key `value`: the YAML of the portal's Deployment blade
    ENV_FROM = "envFrom"  # key `config.service.auth.key`: the documentation of 2026, loaded with envFrom

    @property
    def key(self) -> str:
        """The Secret's key that holds the token."""
        return {Layout.HELM: "gateway-key", Layout.PORTAL: "value"}.get(self, "config.service.auth.key")


_Several = Annotated[tuple[Workload, ...], Field(min_length=1)]


def _one_or_several(value: object, _: Callable[[object], object]) -> object:
    """By its shape, so that a fault is reported for the form that was written: a union would report it for both."""
    if isinstance(value, list | tuple):
        return TypeAdapter(_Several).validate_python(tuple(value))
    return Workload.model_validate(value)


class KubernetesSecret(ClusterSettings):
    """A Secret in a cluster whose API the app can reach, and the workloads to restart."""

    role = "Gateway token cluster reader"
    kind: Literal["kubernetes"]
    secret: KubernetesName = "{gateway}-token"
    layout: Layout = Layout.HELM
    restart: Annotated[Workload | _Several, WrapValidator(_one_or_several)] | None = Field(
        default=None, description="What reads the Secret: one workload, or several."
    )

    def depends_on(self, ref: GatewayRef) -> str:
        """The cluster."""
        return filled_in(self.server or self.cluster or "", ref).rstrip("/").lower()

    def location(self, ref: GatewayRef) -> str:
        """Cluster, namespace and Secret."""
        path = filled_in(f"namespaces/{self.namespace}/secrets/{self.secret}", ref)
        return f"{self.depends_on(ref)}/{path.lower()}"

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """What reads the Secret, as many as there are."""
        return (self.restart,) if isinstance(self.restart, Workload) else self.restart or ()

    def restarted(self, ref: GatewayRef) -> tuple[str, ...]:
        """The cluster and name of each workload."""
        cluster = self.depends_on(ref)
        return tuple(f"{workload.named(self.namespace, ref)} in {cluster}" for workload in self.workloads)


_LABELS = {"app.kubernetes.io/managed-by": MANAGED_BY}
# In a merge patch null takes away what an earlier ownership said.
_ABSENT = dict.fromkeys(f"{MANAGED_BY}/{name}" for name in OPTIONAL_TAGS)
# The two times of a creation are taken one after the other.
_ONE_WRITE = timedelta(seconds=1)
_Object = dict[str, Any]


class KubernetesDestination:
    """One key of one Secret. A Secret keeps no old values."""

    def __init__(self, spec: KubernetesSecret, ref: GatewayRef, azure: AzureAccess) -> None:
        self.location = spec.location(ref)
        self._gateway, self._key, self._name = ref.gateway, spec.layout.key, spec.secret
        self._api = cluster_api(spec, azure)
        self._path = f"/api/v1/namespaces/{spec.namespace}/secrets"
        self._workloads = [KubernetesWorkload(one, spec, ref, self._api) for one in spec.workloads]

    async def read(self) -> StoredToken | None:
        """The key's value, who wrote it, and what the workloads that read it run."""
        secret = await self._secret()
        if secret is None:
            return None
        self._check_usable(secret)
        values, metadata = _values(secret), secret["metadata"]
        ownership = Ownership.from_annotations(metadata.get("annotations") or {})
        stored = StoredForm.HEADER.read(values.get(self._key), ownership, metadata.get("resourceVersion", ""))
        return replace(
            stored,
            writer=written_by_others(secret, "data", self._key),
            also=tuple(name for name in values if name != self._key and self._token_in(values[name])),
            restart=await self._restart_of(secret, stored),
        )

    async def write(self, token: GatewayToken, ownership: Ownership, stored: StoredToken | None) -> None:
        """Create the Secret, or change the version that was read: this key, and each other that holds such a token."""
        value = StoredForm.HEADER.of(token)
        annotations, values = ownership.of(value).annotations(), {self._key: value.reveal()}
        if stored is None:
            await self._create(annotations, values)
            return
        stored_values = {self._key: stored.value.reveal()} if stored.value else {}
        if stored.also:
            # They may be of another version than was read, but then the patch is refused.
            stored_values = _values(await self._secret() or {})
        values |= self._renewed(stored_values, token)
        # What is there already is not written: the time of the value, by which pods are judged, must not move.
        changed = {name: text for name, text in values.items() if stored_values.get(name) != text}
        await self._patch(annotations, changed, stored)

    async def write_ownership(self, ownership: Ownership, stored: StoredToken) -> None:
        """Write the annotations."""
        of_value = ownership.of(stored.value) if stored.value else ownership
        await self._patch(of_value.annotations(), {}, stored)

    async def restart(self, stored: StoredToken) -> None:
        """Ask each workload of `stored.restart.old`; remember that it was asked for where nobody can see what it runs."""
        secret = await self._secret()
        delivery = self._delivery(secret, stored) if secret else None
        if stored.restart is None or delivery is None:
            return
        for workload in self._workloads:
            if workload.name in stored.restart.old:
                await workload.ask(delivery)
        if stored.restart.blind and stored.owned:
            await self.write_ownership(replace(stored.owned, restart_asked=delivery.fingerprint), stored)

    async def _restart_of(self, secret: _Object, stored: StoredToken) -> Restart | None:
        delivery = self._delivery(secret, stored)
        if delivery is None or stored.owned is None or not self._workloads:
            return None
        asked = stored.owned.restart_asked == delivery.fingerprint
        return worst([await workload.judged(delivery, asked=asked) for workload in self._workloads])

    def _delivery(self, secret: _Object, stored: StoredToken) -> Delivery | None:
        """The write of the stored value; None when this app did not write it, or not this one."""
        at = written_by_us(secret, "data", self._key)
        if at is None or stored.value is None or Secret(_values(secret).get(self._key, "")) != stored.value:
            return None
        created = moment(secret["metadata"].get("creationTimestamp"))
        first = created is not None and abs(at - created) <= _ONE_WRITE
        return Delivery(self._name, stored.value.fingerprint, at, first)

    def _token_in(self, value: str) -> GatewayToken | None:
        token = token_in(value)
        return token if token and token.is_for(self._gateway) else None

    def _renewed(self, values: dict[str, str], token: GatewayToken) -> dict[str, str]:
        """The other keys that hold a token of this gateway, with the new one in its place."""
        old = {
            name: found
            for name, text in values.items()
            if name != self._key and (found := self._token_in(text))
        }
        return {
            name: values[name].replace(previous.value.reveal(), token.value.reveal())
            for name, previous in old.items()
        }

    async def _secret(self) -> _Object | None:
        return await self._api.call(
            "GET",
            f"{self._path}/{self._name}",
            action="get secrets",
            location=self.location,
            expected={HTTPStatus.NOT_FOUND},
        )

    async def _create(self, annotations: dict[str, str], values: dict[str, str]) -> None:
        metadata = {"name": self._name, "labels": _LABELS, "annotations": annotations}
        kind = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque"}
        path = f"{self._path}?fieldManager={VALUE_MANAGER}"
        # Nothing found at a creation is the namespace's absence.
        body = {**kind, "metadata": metadata, "data": _data(values)}
        await self._written("POST", path, "create secrets", body, {HTTPStatus.CONFLICT})

    async def _patch(self, annotations: dict[str, str], values: dict[str, str], stored: StoredToken) -> None:
        metadata = {
            "labels": _LABELS,
            "annotations": {**_ABSENT, **annotations},
            "resourceVersion": stored.version,
        }
        path = f"{self._path}/{self._name}?fieldManager={VALUE_MANAGER if values else OWNERSHIP_MANAGER}"
        body = {"metadata": metadata, **({"data": _data(values)} if values else {})}
        await self._written("PATCH", path, "patch secrets", body, {HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND})

    async def _written(
        self, method: str, path: str, action: str, body: _Object, expected: set[HTTPStatus]
    ) -> None:
        answer = await self._api.call(
            method, path, action=action, location=self.location, body=body, expected=expected
        )
        if answer is None:
            raise WriteConflict(
                self.location, "another writer changed the Secret before this write. The next run reads it."
            )

    def _check_usable(self, secret: _Object) -> None:
        kind = secret.get("type") or "Opaque"
        if kind != "Opaque":
            raise DestinationBlocked(
                self.location,
                f"the Secret has the type {kind}, and the app writes type Opaque. Name another Secret in the settings.",
            )
        if secret.get("immutable"):
            raise DestinationBlocked(
                self.location, "the Secret is immutable. Delete it; the next run creates it again."
            )


def _values(secret: _Object) -> dict[str, str]:
    """Each key's value as text; what is not text is still a value."""
    return {name: _text(data) for name, data in (secret.get("data") or {}).items()}


def _data(values: dict[str, str]) -> dict[str, str]:
    return {name: base64.b64encode(text.encode()).decode() for name, text in values.items()}


def _text(data: str | None) -> str:
    try:
        return base64.b64decode(data or "").decode(errors="replace")
    except binascii.Error:
        return "\ufffd"
