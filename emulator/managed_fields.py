"""An object's managed fields as an API server keeps them: who owns which field, and when each owner last changed one."""

from typing import Any

Manifest = dict[str, Any]
Path = tuple[str, ...]

# Written by the server, so that nobody owns them.
_SERVERS = {"name", "namespace", "resourceVersion", "generation", "managedFields", "creationTimestamp"}

_ABSENT = object()


def with_managed_fields(before: Manifest, after: Manifest, manager: str, now: str) -> list[Manifest]:
    """Return the entries after `manager` changed the object: it owns what it changed, and nobody what it removed."""
    old, new = _fields(before), _fields(after)
    changed = {path for path, value in new.items() if old.get(path, _ABSENT) != value}
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


def _fields(manifest: Manifest) -> dict[Path, object]:
    """The leaves by their paths. A list is one leaf: nobody here shares one."""
    owned = {name: value for name, value in manifest.items() if name not in {"status", "kind", "apiVersion"}}
    metadata = {name: value for name, value in manifest.get("metadata", {}).items() if name not in _SERVERS}
    return dict(_leaves({**owned, "metadata": metadata}, ()))


def _leaves(value: object, path: Path) -> list[tuple[Path, object]]:
    if not isinstance(value, dict) or not value:
        return [(path, value)] if value != {} else []
    return [leaf for name, member in value.items() for leaf in _leaves(member, (*path, name))]


def _tree(paths: set[Path]) -> Manifest:
    tree: Manifest = {}
    for path in sorted(paths):
        branch = tree
        for name in path:
            branch = branch.setdefault(f"f:{name}", {})
    return tree


def _paths(tree: Manifest, path: Path = ()) -> list[Path]:
    if not tree:
        return [path]
    return [
        leaf for name, branch in tree.items() for leaf in _paths(branch, (*path, name.removeprefix("f:")))
    ]
