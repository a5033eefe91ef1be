"""Key Vault as the emulator remembers it: secrets, their versions, and what was deleted but can be recovered."""

from dataclasses import dataclass, field
from datetime import datetime
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
    deleted: int | None = None

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

    def set(
        self,
        name: str,
        value: str,
        now: datetime,
        *,
        enabled: bool = True,
        nbf: int | None = None,
        exp: int | None = None,
        content_type: str | None = None,
        tags: dict[str, str] | None = None,
    ) -> SecretVersion:
        """Add a version, and the secret if it is new."""
        at = int(now.timestamp())
        version = SecretVersion(
            value, at, at, enabled=enabled, nbf=nbf, exp=exp, content_type=content_type, tags=tags
        )
        self.secrets.setdefault(name.lower(), Secret(name)).versions.append(version)
        return version

    def delete(self, name: str, now: datetime) -> Secret:
        """Move a secret to the deleted ones; `KeyError` if there is none."""
        secret = self.secrets.pop(name.lower())
        secret.deleted = int(now.timestamp())
        self.deleted[name.lower()] = secret
        return secret

    def recover(self, name: str) -> Secret:
        """Bring a deleted secret back; `KeyError` if there is none."""
        secret = self.deleted.pop(name.lower())
        secret.deleted = None
        self.secrets[name.lower()] = secret
        return secret
