"""Key Vault as the emulator remembers it: secrets, their versions, and what was deleted but not yet purged."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4


@dataclass
class SecretVersion:
    """One version of a secret. Times are whole seconds since 1970, as on the wire."""

    value: str = field(repr=False)
    created: int
    updated: int
    version: str = field(default_factory=lambda: uuid4().hex)
    enabled: bool = True
    nbf: int | None = None
    exp: int | None = None
    content_type: str | None = None
    tags: dict[str, str] | None = None


@dataclass
class Secret:
    """A secret's versions, oldest first."""

    name: str
    versions: list[SecretVersion] = field(default_factory=list)

    @property
    def latest(self) -> SecretVersion:
        """The version that a request without a version means."""
        return self.versions[-1]


@dataclass
class Vault:
    """A vault with soft delete. Secret names are found in any case, as in Key Vault."""

    name: str
    secrets: dict[str, Secret] = field(default_factory=dict)
    deleted: dict[str, Secret] = field(default_factory=dict)

    def secret(self, name: str) -> Secret | None:
        """Return the live secret of that name, if there is one."""
        return self.secrets.get(name.lower())

    def set(self, name: str, value: str, now: datetime, **more: Any) -> SecretVersion:  # noqa: ANN401 - fields of a version
        """Add a version, and the secret if it is new; `more` are further fields of the version."""
        at = int(now.timestamp())
        version = SecretVersion(value, at, at, **more)
        self.secrets.setdefault(name.lower(), Secret(name)).versions.append(version)
        return version

    def delete(self, name: str) -> None:
        """Move a secret to the deleted ones; `KeyError` if there is none."""
        self.deleted[name.lower()] = self.secrets.pop(name.lower())
