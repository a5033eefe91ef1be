"""A value that this app wrote: when, as the API server keeps it, and which pods run the value since."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gateway_tokens.stored import MANAGED_BY
from gateway_tokens.tokens import read

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
    found: dict[str, datetime] = {}
    for entry in manifest["metadata"].get("managedFields") or []:
        fields = entry.get("fieldsV1")
        for name in path:
            fields = (fields or {}).get(f"f:{name}")
        if fields is not None and (at := moment(entry.get("time"))):
            manager = str(entry.get("manager", ""))
            found[manager] = max(at, found.get(manager, at))
    return found


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
    readers = [one for one in (*initial, *containers) if _reads(one, secret, volumes)] or containers
    names = {one["name"] for one in readers}
    # An initial container ends for good, and what it read stays.
    times = _times(status.get("initContainerStatuses"), "running", "terminated")
    times += _times(status.get("containerStatuses"), "running")
    return [at for name, at in times if name in names]


def _times(statuses: list[dict[str, Any]] | None, *states: str) -> list[tuple[str, datetime]]:
    """When each container started that is in one of the states."""
    told = ((one["name"], one.get("state", {}).get(state, {})) for one in statuses or [] for state in states)
    return [(name, at) for name, ran in told if (at := moment(ran.get("startedAt")))]


def _reads(container: dict[str, Any], secret: str, volumes: set[str]) -> bool:
    by_name = [(entry.get("valueFrom") or {}).get("secretKeyRef") for entry in container.get("env") or []]
    whole = [entry.get("secretRef") for entry in container.get("envFrom") or []]
    mounted = {mount["name"] for mount in container.get("volumeMounts") or []}
    return bool(volumes & mounted) or secret in {(ref or {}).get("name") for ref in (*by_name, *whole)}


def _mounts(volume: dict[str, Any], secret: str) -> bool:
    projected = (volume.get("projected") or {}).get("sources") or []
    names = [(source.get("secret") or {}).get("name") for source in projected]
    return secret in {(volume.get("secret") or {}).get("secretName"), *names}
