"""A workload that reads a Secret: its settings, how far its restart is, and asking for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field, model_validator

from gateway_tokens.errors import AzureForbidden
from gateway_tokens.estate.addresses import KubernetesName, filled_in
from gateway_tokens.parsing import Duration, StrictModel
from gateway_tokens.stored import Restart, Running
from gateway_tokens.tokens import GatewayRef, written

from .api import ClusterApi, ClusterSettings
from .delivery import FINGERPRINT, VALUE_MANAGER, Delivery, moment, runs, serving, written_by_us


class Workload(StrictModel):
    """A workload that reads the Secret, restarted after each change."""

    kind: Literal["Deployment", "StatefulSet", "DaemonSet", "Rollout"] = "Deployment"
    name: KubernetesName = Field(description="Its name; may hold {service} and {gateway}.")
    timeout: Duration = Field(
        default=timedelta(minutes=3), description="How long a restart may take before it counts as failed."
    )

    @model_validator(mode="after")
    def _name_fits(self) -> Workload:
        # Its name is its pods' host name. https://kubernetes.io/docs/concepts/workloads/controllers/statefulset
        if self.kind == "StatefulSet" and ("." in self.name or len(self.name) > 63):  # noqa: PLR2004 - as below
            raise ValueError("the name of a StatefulSet must have no dot and at most 63 characters")
        return self

    def named(self, namespace: str, ref: GatewayRef) -> str:
        """Kind, namespace and name, as messages name it."""
        return f"{self.kind} {filled_in(f'{namespace}/{self.name}', ref).lower()}"

    @property
    def resource(self) -> str:
        """The resource in the cluster's API and RBAC."""
        return f"{self.kind.lower()}s"

    @property
    def group(self) -> str:
        """The API group and version."""
        return "argoproj.io/v1alpha1" if self.kind == "Rollout" else "apps/v1"

    def patch(self, delivery: Delivery) -> dict[str, Any]:
        """What asks it to restart for the value: the same for one value, so that a second one changes nothing."""
        if self.kind == "Rollout":
            return {"spec": {"restartAt": written(_restart_at(delivery))}}
        return {"spec": {"template": {"metadata": {"annotations": {FINGERPRINT: delivery.fingerprint}}}}}


def _restart_at(delivery: Delivery) -> datetime:
    """Argo replaces the pods that were made before this; made in the second of the write is not surely after it."""
    return delivery.at + timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Counts:
    """The pods of a workload: wanted, there at all, made from its present template, available."""

    wanted: int
    total: int
    updated: int
    available: int

    @classmethod
    def of(cls, kind: str, spec: dict[str, Any], status: dict[str, Any]) -> Counts:
        """As the status of each kind has them."""
        if kind == "DaemonSet":
            names = "desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable"
            wanted, updated, available = (status.get(name, 0) for name in names)
            return cls(wanted, wanted, updated, available)
        ready = status.get("readyReplicas", 0) if kind == "StatefulSet" else 0
        replicas, updated = status.get("replicas", 0), status.get("updatedReplicas", 0)
        return cls(spec.get("replicas", 1), replicas, updated, status.get("availableReplicas", ready))

    @property
    def none(self) -> bool:
        """Whether there is no pod, and none is wanted."""
        return self.wanted == self.total == 0

    @property
    def updating(self) -> bool:
        """Whether pods of an older template are there or pods of the present one are missing."""
        return self.updated < self.wanted or self.total > self.updated


class Manifest:
    """A workload as the cluster shows it, judged for one value as `kubectl rollout status` does."""

    def __init__(self, settings: Workload, manifest: dict[str, Any], delivery: Delivery) -> None:
        self._settings, self._delivery, self._manifest = settings, delivery, manifest
        self._spec, self._status = manifest.get("spec") or {}, manifest.get("status") or {}
        self._counts = Counts.of(settings.kind, self._spec, self._status)
        seen = str(self._status.get("observedGeneration", 0))  # Argo's is text
        self._observed = seen.isdigit() and int(seen) >= manifest["metadata"].get("generation", 0)

    @property
    def settled(self) -> bool:
        """Whether the manifest alone says that every pod runs the value, or that there is no pod."""
        if not self._observed or self._counts.none:
            return self._observed
        if self._settings.kind == "Rollout":
            done = moment(self._status.get("restartedAt"))
            return (
                done is not None
                and done >= _restart_at(self._delivery)
                and self._status.get("phase") == "Healthy"
            )
        return self._begun and not self._counts.updating and self._counts.available >= self._counts.wanted

    @property
    def selector(self) -> str:
        """The label selector of its pods; empty before its controller has made any."""
        if self._settings.kind == "Rollout":  # its own may be that of another workload
            return str(self._status.get("selector", ""))
        selector = self._spec.get("selector") or {}
        terms = [f"{name}={value}" for name, value in (selector.get("matchLabels") or {}).items()]
        return ",".join([*terms, *map(_term, selector.get("matchExpressions") or [])])

    def judged(self, name: str, old: int, pods: int) -> Restart:
        """How far the restart is, `old` of its pods running an older value."""
        if not old:
            return Restart(Running.CURRENT)
        message = f"{name}: {old} of {pods} pods run an older value"
        blocked = self._blocked_by()
        if blocked and self._begun:
            return Restart(Running.STUCK, f"{message}. {blocked}")
        if not blocked and (self._begun or self._rolling):
            if self._exceeded():
                detail = "It exceeded its progress deadline: check its new pods."
                return Restart(Running.STUCK, f"{message}. {detail}", holds_place=True)
            message += " and are being replaced; check its new pods if this lasts"
            return Restart(Running.RESTARTING, message, self._late_at(), holds_place=True)
        return Restart(Running.OLD, message, holds_place=not blocked, old=(name,))

    @property
    def _begun(self) -> bool:
        if self._settings.kind == "Rollout":
            asked = moment(self._spec.get("restartAt"))
            return asked is not None and asked >= _restart_at(self._delivery)
        annotations = (self._spec.get("template") or {}).get("metadata", {}).get("annotations") or {}
        return annotations.get(FINGERPRINT) == self._delivery.fingerprint

    @property
    def _rolling(self) -> bool:
        """Whether pods are being replaced for any reason: the new pods read the value."""
        if self._settings.kind == "Rollout":
            return not self._observed or self._status.get("phase") == "Progressing"
        return not self._observed or self._counts.updating

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

    def _exceeded(self) -> bool:
        conditions = self._status.get("conditions") or []
        return "ProgressDeadlineExceeded" in {condition.get("reason") for condition in conditions}

    def _late_at(self) -> datetime:
        path = ("restartAt",) if self._settings.kind == "Rollout" else _ANNOTATION
        asked = written_by_us(self._manifest, "spec", *path)
        return max(self._delivery.at, asked or self._delivery.at) + self._settings.timeout


_ANNOTATION = ("template", "metadata", "annotations", FINGERPRINT)


def _term(expression: dict[str, Any]) -> str:
    """One of a selector's `matchExpressions`, as a query writes it."""
    key, operator = str(expression["key"]), str(expression["operator"])
    values = ",".join(expression.get("values") or [])
    return {"Exists": key, "DoesNotExist": f"!{key}"}.get(operator, f"{key} {operator.lower()} ({values})")


class KubernetesWorkload:
    """One workload that reads the Secret."""

    def __init__(self, settings: Workload, spec: ClusterSettings, ref: GatewayRef, api: ClusterApi) -> None:
        self.name = settings.named(spec.namespace, ref)
        self._settings, self._api, self._resource = settings, api, settings.resource
        self._pods = f"/api/v1/namespaces/{spec.namespace}/pods"
        directory = f"/apis/{settings.group}/namespaces/{spec.namespace}/{self._resource}"
        self._path = f"{directory}/{self.name.rpartition('/')[2]}"
        self._cluster = (spec.server or spec.cluster or "").rstrip("/")

    async def judged(self, delivery: Delivery, *, asked: bool) -> Restart:
        """What its pods run. Where that may not be read, `asked` is whether a restart was asked for."""
        try:
            return await self._judged(delivery)
        except AzureForbidden as error:
            if asked:
                message = (
                    f"{self.name}: a restart was asked for, and the app cannot see whether it ended. {error}"
                )
                return Restart(Running.UNVERIFIED, message)
            return Restart(
                Running.OLD,
                f"{self.name}: the app cannot see which token its pods run. {error}",
                old=(self.name,),
                blind=True,
            )

    async def ask(self, delivery: Delivery) -> None:
        """Ask for a restart; a second time changes nothing. One that is no longer there needs none."""
        path = f"{self._path}?fieldManager={VALUE_MANAGER}"
        await self._call("PATCH", path, f"patch {self._resource}", self._settings.patch(delivery))

    async def _judged(self, delivery: Delivery) -> Restart:
        answer = await self._call("GET", self._path, f"get {self._resource}")
        if answer is None:
            return Restart(Running.WAITING, f"{self.name} does not exist yet")
        manifest = Manifest(self._settings, answer, delivery)
        if manifest.settled:
            return Restart(Running.CURRENT)
        pods = serving(await self._selected(manifest.selector))
        old = [pod for pod in pods if not runs(pod, delivery)]
        return manifest.judged(self.name, len(old), len(pods))

    async def _selected(self, selector: str) -> list[dict[str, Any]]:
        if not selector:
            return []
        path = f"{self._pods}?labelSelector={quote(selector)}"
        answer = await self._call("GET", path, "list pods")
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
    late = [restart.late_at for restart in restarts if restart.late_at]
    return Restart(
        max((restart.running for restart in restarts), key=order.index),
        "; ".join(restart.message for restart in restarts if restart.message),
        min(late, default=None),
        holds_place=any(restart.holds_place for restart in restarts),
        old=tuple(name for restart in restarts for name in restart.old),
        blind=any(restart.blind for restart in restarts),
    )
