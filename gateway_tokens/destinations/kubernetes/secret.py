"""Kubernetes Secrets: the token under the key of its layout, the ownership as annotations, the workloads restarted."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from gateway_tokens.azure.clients import AzureAccess
from gateway_tokens.errors import DestinationBlocked, WriteConflict
from gateway_tokens.stored import (
    MANAGED_BY,
    OPTIONAL_ANNOTATIONS,
    Ownership,
    Restart,
    StoredForm,
    StoredToken,
    token_in,
)
from gateway_tokens.tokens import GatewayRef, GatewayToken, Secret

from . import KubernetesSecret
from .api import cluster_api
from .workload import OWNERSHIP_MANAGER, VALUE_MANAGER, Delivery, KubernetesWorkload, moment, owners_of, worst

_LABELS = {"app.kubernetes.io/managed-by": MANAGED_BY}
# In a merge patch null takes away what an earlier ownership said.
_ABSENT = dict.fromkeys(f"{MANAGED_BY}/{name}" for name in OPTIONAL_ANNOTATIONS)
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
        self._workloads = [KubernetesWorkload(workload, spec, ref, self._api) for workload in spec.workloads]

    async def read(self) -> StoredToken | None:
        """The key's value, who wrote it, and what the workloads that read it run."""
        secret = await self._secret()
        if secret is None:
            return None
        self._check_usable(secret)
        values, metadata = _values(secret), secret["metadata"]
        ownership = Ownership.from_annotations(metadata.get("annotations") or {})
        stored = StoredForm.HEADER.read(values.get(self._key), ownership, metadata.get("resourceVersion", ""))
        owners = owners_of(secret, "data", self._key)
        return replace(
            stored,
            writer="" if VALUE_MANAGER in owners else max(owners, key=owners.__getitem__, default=""),
            also=tuple(self._other_tokens(values)),
            restart=await self._restart_of(secret, stored),
        )

    async def write(self, token: GatewayToken, ownership: Ownership, stored: StoredToken | None) -> None:
        """Create the Secret, or change the version that was read: this key, and each other that holds such a token."""
        value = StoredForm.HEADER.of(token)
        annotations, values = ownership.of(value).annotations(), {self._key: value.reveal()}
        if stored is None:
            await self._create(annotations, values)
            return
        current = {self._key: stored.value.reveal()} if stored.value else {}
        if stored.also:
            # If this is another version than was read, the patch is refused.
            current = _values(await self._secret() or {})
        for name, old in self._other_tokens(current).items():
            values[name] = current[name].replace(old.value.reveal(), token.value.reveal())
        # What is there already is not written: the time of the value, by which pods are judged, must not move.
        changed = {name: text for name, text in values.items() if current.get(name) != text}
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
        restart_asked = stored.owned.restart_asked == delivery.fingerprint
        return worst(
            [await workload.judged(delivery, restart_asked=restart_asked) for workload in self._workloads]
        )

    def _delivery(self, secret: _Object, stored: StoredToken) -> Delivery | None:
        """The write of the stored value; None when this app did not write it, or not this one."""
        at = owners_of(secret, "data", self._key).get(VALUE_MANAGER)
        if at is None or stored.value is None or Secret(_values(secret).get(self._key, "")) != stored.value:
            return None
        created = moment(secret["metadata"].get("creationTimestamp"))
        first = created is not None and abs(at - created) <= _ONE_WRITE
        return Delivery(self._name, stored.value.fingerprint, at, first)

    def _other_tokens(self, values: dict[str, str]) -> dict[str, GatewayToken]:
        """The other keys that hold a token of this gateway."""
        tokens = {name: token_in(text) for name, text in values.items() if name != self._key}
        return {name: token for name, token in tokens.items() if token and token.is_for(self._gateway)}

    async def _secret(self) -> _Object | None:
        path = f"{self._path}/{self._name}"
        return await self._api.call(
            "GET", path, action="get secrets", location=self.location, expected={HTTPStatus.NOT_FOUND}
        )

    async def _create(self, annotations: dict[str, str], values: dict[str, str]) -> None:
        metadata = {"name": self._name, "labels": _LABELS, "annotations": annotations}
        opaque = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque"}
        body = {**opaque, "metadata": metadata, "data": _data(values)}
        path = f"{self._path}?fieldManager={VALUE_MANAGER}"
        # Nothing found at a creation is the namespace's absence.
        await self._written("POST", path, "create secrets", body, {HTTPStatus.CONFLICT})

    async def _patch(self, annotations: dict[str, str], values: dict[str, str], stored: StoredToken) -> None:
        beside = {"labels": _LABELS, "annotations": {**_ABSENT, **annotations}}
        body = {"metadata": {**beside, "resourceVersion": stored.version}, "data": _data(values)}
        path = f"{self._path}/{self._name}?fieldManager={VALUE_MANAGER if values else OWNERSHIP_MANAGER}"
        await self._written("PATCH", path, "patch secrets", body, {HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND})

    async def _written(
        self, method: str, path: str, action: str, body: _Object, conflicts: set[HTTPStatus]
    ) -> None:
        answer = await self._api.call(
            method, path, action=action, location=self.location, body=body, expected=conflicts
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
    data = (secret.get("data") or {}).items()
    return {name: base64.b64decode(text or "").decode(errors="replace") for name, text in data}


def _data(values: dict[str, str]) -> dict[str, str]:
    return {name: base64.b64encode(text.encode()).decode() for name, text in values.items()}
