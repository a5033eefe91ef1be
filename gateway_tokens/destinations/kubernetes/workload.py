"""The workload that reads a Secret: restarted by its pod template, and judged from its own manifest."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from gateway_tokens.destinations.base import TEMPLATE, filled_in
from gateway_tokens.errors import NotRestarted
from gateway_tokens.parsing import Duration, StrictModel
from gateway_tokens.stored import MANAGED_BY, Restart
from gateway_tokens.tokens import GatewayRef, read

from .api import ClusterApi, ClusterSettings


class Workload(StrictModel):
    """The Deployment or StatefulSet that reads the Secret, restarted after each change."""

    kind: Literal["Deployment", "StatefulSet"] = "Deployment"
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9{}.-]+$", max_length=253), TEMPLATE] = Field(
        description="Its name; may hold {service} and {gateway}."
    )
    timeout: Duration = Field(
        default=timedelta(minutes=3), description="How long a restart may take before it counts as failed."
    )


# On the pod template: the token that the pods were restarted for, by its fingerprint.
FINGERPRINT = f"{MANAGED_BY}/fingerprint"


# Written with each patch, so that the workload tells when it was asked to restart.
FIELD_MANAGER = "gateway-tokens"


def restart_of(workload: dict[str, Any], fingerprint: str, timeout: timedelta) -> Restart:
    """How far the restart of a Deployment or StatefulSet for the token with that fingerprint is.

    Judged from its own manifest, as `kubectl rollout status` does.
    """
    spec, status = workload.get("spec", {}), workload.get("status", {})
    annotations = spec.get("template", {}).get("metadata", {}).get("annotations") or {}
    begun = annotations.get(FINGERPRINT) == fingerprint
    wanted = spec.get("replicas", 1)
    total, updated, ready = (status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas"))
    available = status.get("availableReplicas", ready if workload.get("kind") == "StatefulSet" else 0)
    counts = f"{updated} of {wanted} pods updated, {available} available"
    seen = status.get("observedGeneration", 0) >= workload.get("metadata", {}).get("generation", 0)
    # More pods than updated ones: old pods, and with them the old token, still run.
    done = seen and updated >= wanted and total <= updated and available >= wanted
    asked_at = _asked_at(workload)
    late_at = asked_at + timeout if asked_at else None
    return Restart(begun, done, counts, "" if done or not seen else _stuck(spec, status), late_at)


def _asked_at(workload: dict[str, Any]) -> datetime | None:
    """When this app last patched the workload, as its managed fields tell."""
    times = [
        entry.get("time")
        for entry in workload.get("metadata", {}).get("managedFields") or []
        if entry.get("manager") == FIELD_MANAGER
    ]
    try:
        return max(read(time) for time in times)
    except (ValueError, TypeError):
        return None


def _stuck(spec: dict[str, Any], status: dict[str, Any]) -> str:
    strategy = spec.get("updateStrategy", {})
    if spec.get("paused"):
        return "it is paused: resume it"
    if strategy.get("type") == "OnDelete":
        return "its update strategy is OnDelete: delete its pods"
    if (strategy.get("rollingUpdate") or {}).get("partition", 0) > 0:
        return "its update strategy has a partition, which holds pods back: remove it"
    reasons = {condition.get("reason") for condition in status.get("conditions") or []}
    if "ProgressDeadlineExceeded" in reasons:
        return "it exceeded its progress deadline: check its pods"
    return ""


_NOT_FOUND = 404


class KubernetesWorkload:
    """One workload. Its pod template carries the fingerprint of the token it was last restarted for."""

    def __init__(self, restart: Workload, spec: ClusterSettings, ref: GatewayRef, api: ClusterApi) -> None:
        self._name = f"{restart.kind} {spec.namespace}/{filled_in(restart.name, ref).lower()}"
        self._resource = f"{restart.kind.lower()}s"
        self._path = (
            f"/apis/apps/v1/namespaces/{spec.namespace}/{self._resource}/{self._name.rpartition('/')[2]}"
        )
        self._place = (spec.server or spec.cluster or "").rstrip("/") + self._path
        self._timeout = restart.timeout
        self._api = api

    async def restart_of(self, fingerprint: str) -> Restart:
        """How far the restart for the token with that fingerprint is."""
        workload = await self._call("GET", self._path, f"get {self._resource}")
        return restart_of(workload, fingerprint, self._timeout) if workload else Restart(begun=False)

    async def restart(self, fingerprint: str) -> None:
        """Ask for a restart; asking twice for one token changes nothing. Raises NotRestarted when there is no workload."""
        template = {"metadata": {"annotations": {FINGERPRINT: fingerprint}}}
        path = f"{self._path}?fieldManager={FIELD_MANAGER}"
        if (
            await self._call("PATCH", path, f"patch {self._resource}", {"spec": {"template": template}})
            is None
        ):
            message = "does not exist. Install the gateway, or correct `restart` in the settings."
            raise NotRestarted(self._place, f"{self._name} {message} The Secret holds the new token.")

    async def _call(
        self, method: str, path: str, action: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any] | None:
        return await self._api.call(
            method, path, action=action, location=self._place, body=body, expected={_NOT_FOUND}
        )
