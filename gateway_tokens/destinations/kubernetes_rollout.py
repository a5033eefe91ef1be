"""Whether a workload runs what it was told to run: judged from its own manifest, as `kubectl rollout status` does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway_tokens.ledger import MANAGED_BY

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
        return "it exceeded its progress deadline: look at its pods"
    return ""
