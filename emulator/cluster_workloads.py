"""How a cluster's workloads roll out, and the pods that they have."""

import hashlib
import json
from copy import deepcopy
from datetime import datetime
from itertools import count
from typing import Any

Manifest = dict[str, Any]
# The label by which a pod tells the template that it was made from.
HASH = "pod-template-hash"
_DAEMON_COUNTS = ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")
_COUNTS = ("replicas", "updatedReplicas", "availableReplicas")


def time_text(moment: datetime) -> str:
    """Return a moment as the API writes it."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


class Workload:
    """The pods of one workload, and how far they are behind its manifest.

    At the first look after a change of its template (of a Rollout: of `restartAt`) the controller has not seen it; at
    the next one all pods are new, unless it is `stuck`. `nodes` are the pods of a DaemonSet.
    """

    def __init__(self, kind: str, nodes: int) -> None:
        self.kind, self.nodes = kind, nodes
        self.unseen = self.stuck = False
        self.pods: list[Manifest] = []
        self._numbers = count(1)

    def catch_up(self, manifest: Manifest, now: datetime) -> None:
        """Do what the controller has done since it was shown last."""
        if self.unseen:
            self.unseen = False
            return
        self._roll(manifest, now)
        self._tell(manifest)

    def age(self, since: datetime) -> None:
        """Let the pods run since then."""
        for pod in self.pods:
            pod["metadata"]["creationTimestamp"] = time_text(since)
            for status in pod["status"]["containerStatuses"]:
                status["state"]["running"]["startedAt"] = time_text(since)

    def _roll(self, manifest: Manifest, now: datetime) -> None:
        wanted, surge = self._wanted(manifest), 0
        if self.stuck:
            # One pod more than wanted, which never becomes ready: the old ones serve on.
            surge = int(bool(wanted) and any(not _is_new(pod, manifest) for pod in self.pods))
        else:
            self.pods = [pod for pod in self.pods if _is_new(pod, manifest)]
        del self.pods[wanted + surge :]
        while len(self.pods) < wanted + surge:
            self.pods.append(self._pod(manifest, now))

    def _tell(self, manifest: Manifest) -> None:
        wanted, generation = self._wanted(manifest), manifest["metadata"]["generation"]
        updated = sum(_is_new(pod, manifest) for pod in self.pods)
        available = min(len(self.pods), wanted)
        first = wanted if self.kind == "DaemonSet" else len(self.pods)
        names = _DAEMON_COUNTS if self.kind == "DaemonSet" else _COUNTS
        status: Manifest = dict(zip(names, (first, updated, available), strict=True))
        status |= {"observedGeneration": generation}
        if self.kind == "Rollout":
            done = updated == len(self.pods) == wanted
            labels = manifest["spec"]["selector"]["matchLabels"]
            status |= {
                "observedGeneration": str(generation),
                "selector": ",".join(f"{name}={value}" for name, value in labels.items()),
                "phase": "Healthy" if done else "Progressing",
            }
            if done and "restartAt" in manifest["spec"]:
                status["restartedAt"] = manifest["spec"]["restartAt"]
        manifest["status"] = status

    def _wanted(self, manifest: Manifest) -> int:
        return int(manifest["spec"].get("replicas", self.nodes))

    def _pod(self, manifest: Manifest, now: datetime) -> Manifest:
        template = deepcopy(manifest["spec"]["template"])
        metadata = template.get("metadata", {})
        labels = {**metadata.get("labels", {}), HASH: _hash(manifest)}
        name = f"{manifest['metadata']['name']}-{next(self._numbers)}"
        started = {"startedAt": time_text(now)}
        states = [
            {"name": container["name"], "state": {"running": dict(started)}}
            for container in template["spec"]["containers"]
        ]
        return {
            "metadata": {**metadata, "labels": labels, "name": name, "creationTimestamp": time_text(now)},
            "spec": template["spec"],
            "status": {"phase": "Running", "containerStatuses": states},
        }


def is_asked_to_roll(before: Manifest, after: Manifest) -> bool:
    """Return whether pods have to be replaced because of the change."""
    return _hash(before) != _hash(after)


def _is_new(pod: Manifest, manifest: Manifest) -> bool:
    return bool(pod["metadata"]["labels"][HASH] == _hash(manifest))


def _hash(manifest: Manifest) -> str:
    spec = manifest.get("spec", {})
    template = json.dumps([spec.get("template"), spec.get("restartAt")], sort_keys=True)
    return hashlib.sha256(template.encode()).hexdigest()[:10]
