"""A value that this app wrote: when, as the API server keeps it, and which pods run the value since."""

from __future__ import annotations

from collections.abc import Iterator
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


def written_by_us(manifest: dict[str, Any], *path: str) -> datetime | None:
    """When this app last wrote what the path names; None when it is not ours, somebody else's value above all."""
    return max((at for manager, at in _owners(manifest, path) if manager == VALUE_MANAGER), default=None)


def written_by_others(manifest: dict[str, Any], *path: str) -> str:
    """The field manager that owns what the path names and is not this app, or the empty string; the latest of several."""
    others = [(at, manager) for manager, at in _owners(manifest, path) if manager != VALUE_MANAGER]
    return max(others)[1] if others and written_by_us(manifest, *path) is None else ""


def moment(text: object) -> datetime | None:
    """A time of the API server, or None."""
    try:
        return read(str(text))
    except ValueError:
        return None


def _owners(manifest: dict[str, Any], path: tuple[str, ...]) -> list[tuple[str, datetime]]:
    """The managers of the field, each with the time of its last change of any field of its own."""
    found = []
    for entry in manifest["metadata"].get("managedFields") or []:
        fields: Any = entry.get("fieldsV1")
        for name in path:
            fields = fields.get(f"f:{name}") if isinstance(fields, dict) else None
        if fields is not None and (at := moment(entry.get("time"))):
            found.append((str(entry.get("manager", "")), at))
    return found


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
