"""A workload that reads a Secret: which of its pods run a value that this app wrote, how far its restart is, and asking for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from gateway_tokens.errors import AzureForbidden
from gateway_tokens.stored import MANAGED_BY, Restart, Running
from gateway_tokens.tokens import GatewayRef, read, written

from . import KubernetesSecret, Workload
from .api import ClusterApi

# Two managers, because the time of a manager moves with every field that it changes: the time of the first is the
# time of the value.
VALUE_MANAGER = MANAGED_BY
OWNERSHIP_MANAGER = f"{MANAGED_BY}-label"
# On pods, from their template: the value for which they were restarted, by its fingerprint.
FINGERPRINT = f"{MANAGED_BY}/fingerprint"
# A container's start is a time of its node's clock, our write one of the API server's.
_CLOCKS_DIFFER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A value that this app wrote, as those who judge its readers need it.

    `at` is the API server's time, in whole seconds. `first`: the write created the Secret, so that nobody can have read
    anything else in it.
    """

    secret: str
    fingerprint: str
    at: datetime
    first: bool


def moment(text: object) -> datetime | None:
    """A time of the API server, or None."""
    try:
        return read(str(text))
    except ValueError:
        return None


def owners_of(manifest: dict[str, Any], *path: str) -> dict[str, datetime]:
    """The field managers that own what the path names, each with the time of its last change of any field of its own."""
    owners: dict[str, datetime] = {}
    for entry in manifest["metadata"].get("managedFields") or []:
        fields = entry.get("fieldsV1")
        for name in path:
            fields = (fields or {}).get(f"f:{name}")
        if fields is not None and (at := moment(entry.get("time"))):
            manager = str(entry.get("manager", ""))
            owners[manager] = max(at, owners.get(manager, at))
    return owners


def serves(pod: dict[str, Any]) -> bool:
    """Whether the pod counts: one that ends, or has ended, does not."""
    ended = pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}
    return not ended and "deletionTimestamp" not in pod["metadata"]


def runs(pod: dict[str, Any], delivery: Delivery) -> bool:
    """Whether the pod runs the value: it was restarted for it, was made after it, or has read the Secret since."""
    metadata = pod["metadata"]
    if (metadata.get("annotations") or {}).get(FINGERPRINT) == delivery.fingerprint:
        return True
    created = moment(metadata.get("creationTimestamp"))
    if created is not None and created >= delivery.at:
        return True
    since = delivery.at + (-_CLOCKS_DIFFER if delivery.first else _CLOCKS_DIFFER)
    return all(started > since for started in _starts(pod, delivery.secret))


def _starts(pod: dict[str, Any], secret: str) -> list[datetime]:
    """When each container that reads the Secret did so. One that waits or has ended will do so when it starts."""
    spec, status = pod["spec"], pod.get("status", {})
    volumes = {volume["name"] for volume in spec.get("volumes") or [] if _mounts(volume, secret)}
    initial, containers = spec.get("initContainers") or [], spec.get("containers") or []
    readers = [each for each in (*initial, *containers) if _reads(each, secret, volumes)] or containers
    names = {reader["name"] for reader in readers}
    # An initial container ends for good, and what it read stays.
    times = _times(status.get("initContainerStatuses"), "running", "terminated")
    times += _times(status.get("containerStatuses"), "running")
    return [at for name, at in times if name in names]


def _times(statuses: list[dict[str, Any]] | None, *states: str) -> list[tuple[str, datetime]]:
    """When each container started that is in one of the states."""
    ran = (
        (each["name"], each.get("state", {}).get(state, {})) for each in statuses or [] for state in states
    )
    return [(name, at) for name, state in ran if (at := moment(state.get("startedAt")))]


def _reads(container: dict[str, Any], secret: str, volumes: set[str]) -> bool:
    by_name = [(entry.get("valueFrom") or {}).get("secretKeyRef") for entry in container.get("env") or []]
    whole = [entry.get("secretRef") for entry in container.get("envFrom") or []]
    mounted = {mount["name"] for mount in container.get("volumeMounts") or []}
    return bool(volumes & mounted) or secret in {(ref or {}).get("name") for ref in (*by_name, *whole)}


def _mounts(volume: dict[str, Any], secret: str) -> bool:
    projected = (volume.get("projected") or {}).get("sources") or []
    names = [(source.get("secret") or {}).get("name") for source in projected]
    return secret in {(volume.get("secret") or {}).get("secretName"), *names}


class KubernetesWorkload:
    """One workload that reads the Secret, in its cluster."""

    def __init__(self, settings: Workload, spec: KubernetesSecret, ref: GatewayRef, api: ClusterApi) -> None:
        self.name = settings.named(spec.namespace, ref)
        self._settings, self._api = settings, api
        self._resource = f"{settings.kind.lower()}s"
        group = "argoproj.io/v1alpha1" if settings.kind == "Rollout" else "apps/v1"
        self._path = f"/apis/{group}/namespaces/{spec.namespace}/{self._resource}/{settings.name}"
        self._pods = f"/api/v1/namespaces/{spec.namespace}/pods"
        self._cluster = (spec.server or spec.cluster or "").rstrip("/")

    async def judged(self, delivery: Delivery, *, restart_asked: bool) -> Restart:
        """What its pods run. Where that may not be read, `restart_asked` is whether a restart was asked for."""
        try:
            answer = await self._call("GET", self._path, f"get {self._resource}")
            if answer is None:
                return Restart(Running.WAITING, f"{self.name} does not exist yet")
            manifest = Manifest(self._settings, answer, delivery)
            if manifest.settled:
                return Restart(Running.CURRENT)
            pods = await self._selected(manifest.selector)
        except AzureForbidden as error:
            if restart_asked:
                message = (
                    f"{self.name}: a restart was asked for, and the app cannot see whether it ended. {error}"
                )
                return Restart(Running.UNVERIFIED, message)
            message = f"{self.name}: the app cannot see which token its pods run. {error}"
            return Restart(Running.OLD, message, old=(self.name,), blind=True)
        run = [runs(pod, delivery) for pod in pods if serves(pod)]
        return manifest.judged(self.name, run.count(False), len(run))

    async def ask(self, delivery: Delivery) -> None:
        """Ask for a restart; a second time changes nothing. One that is no longer there needs none."""
        if self._settings.kind == "Rollout":
            spec: dict[str, Any] = {"restartAt": written(_restart_at(delivery))}
        else:
            spec = {"template": {"metadata": {"annotations": {FINGERPRINT: delivery.fingerprint}}}}
        path = f"{self._path}?fieldManager={VALUE_MANAGER}"
        await self._call("PATCH", path, f"patch {self._resource}", {"spec": spec})

    async def _selected(self, selector: str) -> list[dict[str, Any]]:
        if not selector:
            return []
        answer = await self._call("GET", f"{self._pods}?labelSelector={quote(selector)}", "list pods")
        return list((answer or {}).get("items") or [])

    async def _call(
        self, method: str, path: str, action: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any] | None:
        location = self._cluster + path.partition("?")[0]
        return await self._api.call(
            method, path, action=action, location=location, body=body, expected={HTTPStatus.NOT_FOUND}
        )


def worst(restarts: Sequence[Restart]) -> Restart:
    """The restarts of all workloads that read one Secret as one."""
    order = list(Running)
    return Restart(
        max((restart.running for restart in restarts), key=order.index),
        "; ".join(restart.message for restart in restarts if restart.message),
        min((restart.late_at for restart in restarts if restart.late_at), default=None),
        holds_slot=any(restart.holds_slot for restart in restarts),
        old=tuple(name for restart in restarts for name in restart.old),
        blind=any(restart.blind for restart in restarts),
    )


def _restart_at(delivery: Delivery) -> datetime:
    """Argo replaces the pods that were made before this; made in the second of the write is not surely after it."""
    return delivery.at + timedelta(seconds=1)


def _is_late_enough(restart_at: object, delivery: Delivery) -> bool:
    at = moment(restart_at)
    return at is not None and at >= _restart_at(delivery)


def _counts(kind: str, spec: dict[str, Any], status: dict[str, Any]) -> tuple[int, int, int, int]:
    """The pods that are wanted, there at all, made from the present template, available; as each kind tells them."""
    if kind == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        return wanted, wanted, status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0)
    ready = status.get("readyReplicas", 0) if kind == "StatefulSet" else 0  # an old cluster's says no more
    total, updated = status.get("replicas", 0), status.get("updatedReplicas", 0)
    return spec.get("replicas", 1), total, updated, status.get("availableReplicas", ready)


class Manifest:
    """A workload as the cluster shows it, judged for one value as `kubectl rollout status` does.

    `settled`: the manifest alone says that every pod runs the value, or that there is no pod. `selector` is the label
    selector of its pods, empty before its controller has made any.
    """

    def __init__(self, settings: Workload, manifest: dict[str, Any], delivery: Delivery) -> None:
        self._settings, self._delivery, self._manifest = settings, delivery, manifest
        spec, status = self._spec, self._status = manifest.get("spec") or {}, manifest.get("status") or {}
        seen = str(status.get("observedGeneration", 0))  # Argo's is text
        observed = seen.isdigit() and int(seen) >= manifest["metadata"].get("generation", 0)
        wanted, total, updated, available = _counts(settings.kind, spec, status)
        if settings.kind == "Rollout":
            self._asked: tuple[str, ...] = ("restartAt",)
            self._begun = _is_late_enough(spec.get("restartAt"), delivery)
            rolling = status.get("phase") == "Progressing"
            done = _is_late_enough(status.get("restartedAt"), delivery) and status.get("phase") == "Healthy"
            self.selector = str(status.get("selector", ""))  # its own may be that of another workload
        else:
            self._asked = ("template", "metadata", "annotations", FINGERPRINT)
            annotations = (spec.get("template") or {}).get("metadata", {}).get("annotations") or {}
            self._begun = annotations.get(FINGERPRINT) == delivery.fingerprint
            # Pods of an older template are there, or pods of the present one are missing.
            rolling = updated < wanted or total > updated
            done = self._begun and not rolling and available >= wanted
            self.selector = _selector(spec.get("selector") or {})
        self.settled = observed and (done or wanted == total == 0)
        # For any reason: the new pods read the value.
        self._rolling = rolling or not observed

    def judged(self, name: str, old: int, pods: int) -> Restart:
        """How far the restart is, `old` of its pods running an older value."""
        if not old:
            return Restart(Running.CURRENT)
        message = f"{name}: {old} of {pods} pods run an older value"
        if blocked := self._blocked_by():
            if self._begun:
                return Restart(Running.STUCK, f"{message}. {blocked}")
            return Restart(Running.OLD, message, old=(name,))
        if not (self._begun or self._rolling):
            return Restart(Running.OLD, message, holds_slot=True, old=(name,))
        reasons = {condition.get("reason") for condition in self._status.get("conditions") or []}
        if "ProgressDeadlineExceeded" in reasons:
            detail = "It exceeded its progress deadline: check its new pods."
            return Restart(Running.STUCK, f"{message}. {detail}", holds_slot=True)
        message += " and are being replaced; check its new pods if this lasts"
        asked_at = owners_of(self._manifest, "spec", *self._asked).get(VALUE_MANAGER, self._delivery.at)
        late_at = max(self._delivery.at, asked_at) + self._settings.timeout
        return Restart(Running.RESTARTING, message, late_at, holds_slot=True)

    def _blocked_by(self) -> str:
        """Why it replaces no pods by itself, and what to do, or the empty string."""
        strategy = self._spec.get("updateStrategy") or {}
        if self._spec.get("paused"):
            return "It is paused: resume it."
        if strategy.get("type") == "OnDelete":
            return "Its update strategy is OnDelete: delete its pods."
        if (strategy.get("rollingUpdate") or {}).get("partition", 0) > 0:
            return (
                "Its update strategy has a partition, which holds pods back: remove it, or delete the pods."
            )
        return ""


def _selector(selector: dict[str, Any]) -> str:
    """A manifest's selector as a query writes it."""
    requirements = [f"{name}={value}" for name, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or []:
        key, operator = str(expression["key"]), str(expression["operator"])
        values = ",".join(expression.get("values") or [])
        lone = {"Exists": key, "DoesNotExist": f"!{key}"}
        requirements.append(lone.get(operator, f"{key} {operator.lower()} ({values})"))
    return ",".join(requirements)
