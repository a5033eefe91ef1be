"""What a destination holds and the ownership beside the value. It is stored there and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from .tokens import GatewayToken, KeyType, ServiceId, read, written

MANAGED_BY = "gateway-tokens"


def owner_of(service: ServiceId, gateway: str) -> str:
    """What the ownership says of a gateway: names of APIM services are unique across Azure, aliases are not."""
    return f"{service.name}/{gateway}".lower()


@dataclass(frozen=True, slots=True)
class Ownership:
    """Kept beside a value: whose it is (`owner`, APIM service name/gateway), which key signed it, and since when."""

    owner: str
    key_type: KeyType
    issued_at: datetime

    def tags(self, token: GatewayToken) -> dict[str, str]:
        """As names and values for tags or annotations; the token appears by its fingerprint only."""
        return {
            "managed-by": MANAGED_BY,
            "gateway": self.owner,
            "key-type": self.key_type,
            "issued-at": written(self.issued_at),
            "expiry": written(token.expiry),
            "fingerprint": token.fingerprint,
        }

    def annotations(self, token: GatewayToken) -> dict[str, str]:
        """The tags under the names that a Kubernetes object's annotations take."""
        return {f"{MANAGED_BY}/{name}": value for name, value in self.tags(token).items()}

    @classmethod
    def from_annotations(cls, annotations: Mapping[str, str]) -> Ownership | None:
        """The ownership in a Kubernetes object's annotations, or None."""
        ours = {
            n.removeprefix(f"{MANAGED_BY}/"): v
            for n, v in annotations.items()
            if n.startswith(f"{MANAGED_BY}/")
        }
        return cls.from_tags(ours)

    @classmethod
    def from_tags(cls, tags: Mapping[str, str] | None) -> Ownership | None:
        """The ownership, or None when the tags are not this app's or cannot be read."""
        if not tags or tags.get("managed-by") != MANAGED_BY:
            return None
        try:
            issued_at = read(tags["issued-at"])
            return cls(tags["gateway"], KeyType(tags["key-type"]), issued_at)
        except (KeyError, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class Restart:
    """How far a workload's restart for the stored token is.

    `begun`: the pod template asks for it. `done`: every pod runs the template. `counts` are the pods, for people.
    `stuck`: why it will not be done by itself, or the empty string. `late_at`: when it takes too long, if that is known.
    """

    begun: bool
    done: bool = False
    counts: str = ""
    stuck: str = ""
    late_at: datetime | None = None

    def failure(self, now: datetime) -> str:
        """Why the restart failed, or the empty string while it has not."""
        if self.stuck:
            return f"does not restart ({self.counts}): {self.stuck}" if self.counts else self.stuck
        if self.late_at is not None and self.late_at <= now:
            return f"did not restart in time ({self.counts}): check its pods"
        return ""


@dataclass(frozen=True, slots=True)
class StoredToken:
    """What a destination holds now.

    `token` is None when there is a value but no token in it; `ownership` is None when this app did not write it.
    `version` guards a write against somebody else's. `restart` is how far the gateway's workload runs this token; None
    where the destination cannot tell.
    """

    token: GatewayToken | None
    ownership: Ownership | None
    version: str = ""
    restart: Restart | None = None


def token_in(value: str | None) -> GatewayToken | None:
    """The token in a stored value, bare or behind its prefix; None when there is none."""
    try:
        return GatewayToken.parse(value or "")
    except ValueError:
        return None
