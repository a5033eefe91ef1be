"""What a cluster holds: manifests, and the workloads' pods."""

from base64 import b64decode, b64encode
from collections.abc import Callable
from copy import deepcopy
from datetime import datetime
from itertools import count
from typing import Any

from emulator.azure import utc_now
from emulator.cluster_workloads import Manifest, Workload, is_asked_to_roll, time_text

_Path = tuple[str, ...]
# Of the metadata, what only the server writes, so that nobody owns it.
_SERVERS = ("namespace", "creationTimestamp", "resourceVersion", "generation", "managedFields")


def merged(target: Any, patch: Any) -> Any:  # noqa: ANN401 - JSON
    """Return the target as changed by a JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def with_data(manifest: Manifest) -> Manifest:
    """Return the manifest with its `stringData`, if any, moved into `data`; ValueError or TypeError if that is not base64."""
    data = dict(manifest.get("data") or {})
    for value in data.values():
        b64decode(value, validate=True)
    plain = manifest.pop("stringData", None) or {}
    if data or plain:
        manifest["data"] = data | {name: b64encode(text.encode()).decode() for name, text in plain.items()}
    return manifest


class Objects:
    """Manifests by resource, namespace and name.

    `clock` is the API server's.
    """

    def __init__(self) -> None:
        self.namespaces = {"default"}
        self.clock: Callable[[], datetime] = utc_now
        self._manifests: dict[tuple[str, str, str], Manifest] = {}
        self._workloads: dict[tuple[str, str, str], Workload] = {}
        self._versions = count(1000)

    def current(self, resource: str, namespace: str, name: str) -> Manifest | None:
        """Return an object as the API shows it now."""
        key = (resource, namespace, name)
        manifest = self._manifests.get(key)
        if manifest is not None and key in self._workloads:
            self._workloads[key].catch_up(manifest, self.clock())
        return deepcopy(manifest)

    def put(
        self, resource: str, namespace: str, name: str, manifest: Manifest, manager: str = "kubectl"
    ) -> Manifest:
        """Store an object as the API does: under a new resourceVersion, unless nothing changed."""
        key = (resource, namespace, name)
        before, now = self._manifests.get(key, {}), time_text(self.clock())
        kept = {"namespace": namespace, "creationTimestamp": now} | before.get("metadata", {})
        servers = {part: kept[part] for part in _SERVERS if part in kept}
        stored = deepcopy({**manifest, "metadata": {**manifest.get("metadata", {}), **servers, "name": name}})
        if stored == before:
            return deepcopy(before)
        metadata = stored["metadata"]
        metadata["resourceVersion"] = str(next(self._versions))
        metadata["managedFields"] = _with_managed_fields(before, stored, manager, now)
        if stored.get("spec") != before.get("spec"):
            metadata["generation"] = metadata.get("generation", 0) + 1
        if key in self._workloads and is_asked_to_roll(before, stored):
            self._workloads[key].unseen = True
        self._manifests[key] = stored
        return deepcopy(stored)

    def remove(self, resource: str, namespace: str, name: str) -> None:
        """Delete an object, a workload with its pods."""
        key = (resource, namespace, name)
        del self._manifests[key]
        self._workloads.pop(key, None)

    def pods(self, namespace: str, selector: str) -> list[Manifest]:
        """Return the pods in a namespace with these labels, `name=value` each."""
        labels = dict(term.split("=") for term in selector.split(",") if term)
        return [
            deepcopy(pod)
            for (_, of, _), workload in self._workloads.items()
            for pod in workload.pods
            if of == namespace and labels.items() <= pod["metadata"]["labels"].items()
        ]

    def add_secret(self, namespace: str, name: str, data: dict[str, str], **more: object) -> None:
        """Store a Secret with these plain values, as somebody else would."""
        self.namespaces.add(namespace)
        values = {key: b64encode(value.encode()).decode() for key, value in data.items()}
        before = self._manifests.get(("secrets", namespace, name), {})
        manifest = {**before, "kind": "Secret", "type": "Opaque", "data": values, **more}
        self.put("secrets", namespace, name, manifest)

    def secret_value(self, namespace: str, name: str, key: str) -> str | None:
        """Return a Secret's plain value."""
        manifest = self._manifests.get(("secrets", namespace, name), {})
        value = manifest.get("data", {}).get(key)
        return None if value is None else b64decode(value).decode()

    def add_workload(
        self, kind: str, namespace: str, name: str, replicas: int = 2, **spec: object
    ) -> Workload:
        """Store a workload whose pods run; its one container reads no Secret unless `template` says so."""
        self.namespaces.add(namespace)
        key, labels = (f"{kind.lower()}s", namespace, name), {"app": name}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "gateway"}]}}
        number = {} if kind == "DaemonSet" else {"replicas": replicas}
        manifest = {
            "kind": kind,
            "spec": {"selector": {"matchLabels": labels}, "template": template, **number, **spec},
        }
        self.put(*key, manifest)
        workload = self._workloads[key] = Workload(kind, replicas)
        self.current(*key)
        return workload

    def stored(self, resource: str, namespace: str, name: str) -> Manifest:
        """Return an object as it was stored, without a look of its controller; `KeyError` if there is none."""
        return deepcopy(self._manifests[resource, namespace, name])


def _with_managed_fields(before: Manifest, after: Manifest, manager: str, now: str) -> list[Manifest]:
    """Return the entries after `manager` changed the object: it owns what it changed, and nobody what it removed."""
    old, new = _fields(before), _fields(after)
    changed = {path for path, value in new.items() if path not in old or old[path] != value}
    removed = old.keys() - new.keys()
    entries = {
        entry["manager"]: (entry["time"], set(_paths(entry["fieldsV1"])))
        for entry in before.get("metadata", {}).get("managedFields", [])
    }
    kept = {other: (time, owned - changed - removed) for other, (time, owned) in entries.items()}
    time, owned = kept.get(manager, (now, set()))
    kept[manager] = now if changed else time, owned | changed
    return [
        {
            "manager": name,
            "operation": "Update",
            "apiVersion": after.get("apiVersion", "v1"),
            "time": time,
            "fieldsType": "FieldsV1",
            "fieldsV1": _tree(owned),
        }
        for name, (time, owned) in kept.items()
        if owned
    ]


def _fields(manifest: Manifest) -> dict[_Path, object]:
    """The leaves by their paths. A list is one leaf: nobody here shares one."""
    owned = {name: value for name, value in manifest.items() if name not in {"status", "kind", "apiVersion"}}
    metadata = {
        name: value for name, value in manifest.get("metadata", {}).items() if name not in {"name", *_SERVERS}
    }
    return dict(_leaves({**owned, "metadata": metadata}, ()))


def _leaves(value: object, path: _Path) -> list[tuple[_Path, object]]:
    if not isinstance(value, dict) or not value:
        return [(path, value)] if value != {} else []
    return [leaf for name, member in value.items() for leaf in _leaves(member, (*path, name))]


def _tree(paths: set[_Path]) -> Manifest:
    tree: Manifest = {}
    for path in sorted(paths):
        branch = tree
        for name in path:
            branch = branch.setdefault(f"f:{name}", {})
    return tree


def _paths(tree: Manifest, path: _Path = ()) -> list[_Path]:
    if not tree:
        return [path]
    return [
        leaf for name, branch in tree.items() for leaf in _paths(branch, (*path, name.removeprefix("f:")))
    ]
