"""The workload that reads a Secret: restarted by its pod template, and judged from its own manifest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from gateway_tokens.azure.clients import AzureAccess
from gateway_tokens.destinations.base import TEMPLATE, filled_in
from gateway_tokens.errors import RestartFailed
from gateway_tokens.parsing import Duration, StrictModel
from gateway_tokens.stored import MANAGED_BY
from gateway_tokens.tokens import GatewayRef

from .api import ClusterApi, ClusterSettings


class Workload(StrictModel):
    """The Deployment or StatefulSet that reads the Secret, restarted after each change."""

    kind: Literal["Deployment", "StatefulSet"] = "Deployment"
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9{}.-]{1,253}$"), TEMPLATE] = Field(
        description="Its name; may hold {service} and {gateway}."
    )
    timeout: Duration = Field(default=timedelta(minutes=3), description="How long to wait for the rollout.")


# On the pod template: the token that the pods were restarted for, by its fingerprint.
FINGERPRINT = f"{MANAGED_BY}/fingerprint"


@dataclass(frozen=True, slots=True)
class Rollout:
    """How far a restart is.

    `begun`: the pod template asks for this token's restart. `done`: every pod runs the template. `counts` are the pods,
    for people. `stuck`: why it will not be done by itself, or the empty string.
    """

    begun: bool
    done: bool
    counts: str
    stuck: str = ""


def rollout_of(workload: dict[str, Any], fingerprint: str) -> Rollout:
    """The rollout of a Deployment or StatefulSet, for the token with that fingerprint."""
    spec, status = workload.get("spec", {}), workload.get("status", {})
    annotations = spec.get("template", {}).get("metadata", {}).get("annotations") or {}
    begun = annotations.get(FINGERPRINT) == fingerprint
    wanted = spec.get("replicas", 1)
    total, updated, ready = (status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas"))
    available = status.get("availableReplicas", ready if workload.get("kind") == "StatefulSet" else 0)
    counts = f"{updated} of {wanted} pods updated, {available} available"
    if status.get("observedGeneration", 0) < workload.get("metadata", {}).get("generation", 0):
        return Rollout(begun, done=False, counts=counts)
    # More pods than updated ones: old pods, and with them the old token, still run.
    done = updated >= wanted and total <= updated and available >= wanted
    return Rollout(begun, done, counts, "" if done else _stuck(spec, status))


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


_BETWEEN_LOOKS = 3.0  # seconds
_NOT_FOUND = 404


class KubernetesWorkload:
    """One workload. Its pod template carries the fingerprint of the token it was last restarted for."""

    def __init__(
        self, restart: Workload, spec: ClusterSettings, ref: GatewayRef, api: ClusterApi, azure: AzureAccess
    ) -> None:
        self._name = f"{restart.kind} {spec.namespace}/{filled_in(restart.name, ref).lower()}"
        self._resource = f"{restart.kind.lower()}s"
        self._path = (
            f"/apis/apps/v1/namespaces/{spec.namespace}/{self._resource}/{self._name.rpartition('/')[2]}"
        )
        self._place = (spec.server or spec.cluster or "").rstrip("/") + self._path
        self._timeout = restart.timeout.total_seconds()
        self._api, self._azure = api, azure

    async def restart_due(self, fingerprint: str) -> bool:
        """Whether not all pods have restarted for the token with that fingerprint."""
        seen = await self._look(fingerprint)
        return seen is None or not (seen.begun and seen.done)

    async def restart(self, fingerprint: str) -> None:
        """Wait for a restart that is under way, else begin one and wait for it. Raises RestartFailed."""
        seen = await self._look(fingerprint)
        if seen is None or not seen.begun or seen.done:
            await self._begin(fingerprint)
        deadline = self._azure.monotonic() + self._timeout
        while True:
            seen = await self._look(fingerprint)
            if seen and seen.done:
                return
            if seen is None or seen.stuck or self._azure.monotonic() >= deadline:
                raise self._failed(seen)
            await self._azure.sleep(_BETWEEN_LOOKS)

    async def _look(self, fingerprint: str) -> Rollout | None:
        workload = await self._call("GET", f"get {self._resource}")
        return rollout_of(workload, fingerprint) if workload else None

    async def _begin(self, fingerprint: str) -> None:
        annotations = {FINGERPRINT: fingerprint}
        template = {"metadata": {"annotations": annotations}}
        if await self._call("PATCH", f"patch {self._resource}", {"spec": {"template": template}}) is None:
            raise self._failed(None)

    async def _call(
        self, method: str, action: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any] | None:
        return await self._api.call(
            method, self._path, action=action, location=self._place, body=body, expected={_NOT_FOUND}
        )

    def _failed(self, seen: Rollout | None) -> RestartFailed:
        if seen is None:
            why = "does not exist. Install the gateway, or correct `restart` in the settings."
        elif seen.stuck:
            why = f"does not restart ({seen.counts}): {seen.stuck}."
        else:
            why = f"did not restart within {self._timeout:.0f} s ({seen.counts}). Check its pods."
        return RestartFailed(self._place, f"{self._name} {why} The Secret holds the new token.")
