"""Which pods run a value: by our annotation, else by when their containers that read the Secret started."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from gateway_tokens.stored import MANAGED_BY

from .written import Delivery, moment

# On pods, from their template: the value for which they were restarted, by its fingerprint.
FINGERPRINT = f"{MANAGED_BY}/fingerprint"
# A container's start is a time of its node's clock, our write one of the API server's.
_CLOCKS_DIFFER = timedelta(seconds=60)


def serving(pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pods that count: those that end, or have ended, do not."""
    ended = {"Succeeded", "Failed"}
    return [
        pod
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"] and pod.get("status", {}).get("phase") not in ended
    ]


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


def _starts(pod: dict[str, Any], secret: str) -> Iterator[datetime]:
    """When each container that reads the Secret did so. One that waits or has ended will do so when it starts."""
    spec, status = pod["spec"], pod.get("status", {})
    initial, containers = spec.get("initContainers") or [], spec.get("containers") or []
    volumes = {volume["name"] for volume in spec.get("volumes") or [] if _mounts(volume, secret)}
    readers = [one for one in (*initial, *containers) if _reads(one, secret, volumes)] or containers
    names = {one["name"] for one in readers}
    # An initial container ends for good, and what it read stays.
    for ends_for_good, states in (
        (True, status.get("initContainerStatuses") or []),
        (False, status.get("containerStatuses") or []),
    ):
        for one in states:
            state = one.get("state") or {}
            ran = state.get("running") or (ends_for_good and state.get("terminated")) or {}
            if one["name"] in names and (started := moment(ran.get("startedAt"))):
                yield started


def _reads(container: dict[str, Any], secret: str, volumes: set[str]) -> bool:
    by_name = [(entry.get("valueFrom") or {}).get("secretKeyRef") for entry in container.get("env") or []]
    whole = [entry.get("secretRef") for entry in container.get("envFrom") or []]
    mounted = {mount["name"] for mount in container.get("volumeMounts") or []}
    return bool(volumes & mounted) or any(ref and ref.get("name") == secret for ref in (*by_name, *whole))


def _mounts(volume: dict[str, Any], secret: str) -> bool:
    projected = (volume.get("projected") or {}).get("sources") or []
    names = [(source.get("secret") or {}).get("name") for source in projected]
    return secret in {(volume.get("secret") or {}).get("secretName"), *names}
