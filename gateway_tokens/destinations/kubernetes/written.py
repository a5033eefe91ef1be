"""Who wrote which field of an object, and when: its managed fields, as the API server keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway_tokens.stored import MANAGED_BY
from gateway_tokens.tokens import read

# Two managers, because the time of a manager moves with every field that it changes: the time of the first is the
# time of the value.
VALUE_MANAGER = MANAGED_BY
OWNERSHIP_MANAGER = f"{MANAGED_BY}-label"


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
