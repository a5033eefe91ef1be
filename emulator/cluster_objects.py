"""What a cluster holds, and how its workloads roll out."""

from base64 import b64decode, b64encode
from copy import deepcopy
from itertools import count
from typing import Any

Manifest = dict[str, Any]


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

    A workload whose pod template changed takes `looks_to_roll` looks until all its pods are new; those named in
    `stuck` never get there.
    """

    def __init__(self) -> None:
        self.namespaces = {"default"}
        self.looks_to_roll = 1
        self.stuck: set[str] = set()
        self._manifests: dict[tuple[str, str, str], Manifest] = {}
        self._left: dict[tuple[str, str, str], int] = {}
        self._versions = count(1000)

    def look(self, resource: str, namespace: str, name: str) -> Manifest | None:
        """Return an object as the API shows it now."""
        key = (resource, namespace, name)
        found = self._manifests.get(key)
        if found is not None and "replicas" in found.get("spec", {}):
            self._advance(key, found)
        return deepcopy(found)

    def put(
        self,
        resource: str,
        namespace: str,
        name: str,
        manifest: Manifest,
        managed: tuple[str, str] | None = None,
    ) -> Manifest:
        """Store an object as the API does, under a new resourceVersion; `managed` is a field manager and the time."""
        key = (resource, namespace, name)
        before = self._manifests.get(key, {})
        metadata = {**manifest.get("metadata", {}), "name": name, "namespace": namespace}
        metadata["resourceVersion"] = str(next(self._versions))
        stored = deepcopy({**manifest, "metadata": metadata})
        if stored.get("spec") != before.get("spec"):
            metadata["generation"] = before.get("metadata", {}).get("generation", 0) + 1
            self._left[key] = self.looks_to_roll
        if managed and stored != {**before, "metadata": metadata}:
            others = [e for e in metadata.get("managedFields", []) if e["manager"] != managed[0]]
            metadata["managedFields"] = [
                *others,
                {"manager": managed[0], "operation": "Update", "time": managed[1]},
            ]
        stored["metadata"] = metadata
        self._manifests[key] = stored
        return deepcopy(stored)

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

    def add_workload(self, kind: str, namespace: str, name: str, replicas: int = 2, **spec: object) -> None:
        """Store a Deployment or StatefulSet that has fully rolled out."""
        self.namespaces.add(namespace)
        key = (f"{kind.lower()}s", namespace, name)
        template: Manifest = {"metadata": {"labels": {"app": name}}, "spec": {"containers": []}}
        manifest = {
            "kind": kind,
            "metadata": {},
            "spec": {"replicas": replicas, "template": template, **spec},
        }
        self.put(*key, manifest)
        self._finish(self._manifests[key])
        self._left[key] = 0

    def template_annotations(self, resource: str, namespace: str, name: str) -> dict[str, str]:
        """Return the annotations of a workload's pod template."""
        metadata = self._manifests[resource, namespace, name]["spec"]["template"]["metadata"]
        return dict(metadata.get("annotations", {}))

    def _advance(self, key: tuple[str, str, str], workload: Manifest) -> None:
        spec, status, left = workload["spec"], workload["status"], self._left[key]
        self._left[key] = max(0, left - 1)
        if 0 < left == self.looks_to_roll:
            return  # the controller has not looked yet: the status is about the former generation
        held_back = spec.get("paused") or spec.get("updateStrategy", {}).get("type") == "OnDelete"
        if left == 0 and not held_back and key[2] not in self.stuck:
            self._finish(workload)
        elif status["observedGeneration"] < workload["metadata"]["generation"]:
            # One pod more than wanted, which never becomes ready: the old ones serve on.
            pods = spec["replicas"]
            status |= {
                "observedGeneration": workload["metadata"]["generation"],
                "updatedReplicas": min(1, pods),
                "replicas": pods + min(1, pods),
            }

    @staticmethod
    def _finish(workload: Manifest) -> None:
        pods = workload["spec"]["replicas"]
        names = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        workload["status"] = dict.fromkeys(names, pods) | {
            "observedGeneration": workload["metadata"]["generation"]
        }
