"""What a destination holds and the ownership beside the value. It is stored there and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from .tokens import GatewayToken, KeyType, Secret, ServiceId, read, written

MANAGED_BY = "gateway-tokens"
# Of the names that an ownership has, those that it may lack: an earlier one's must go with it.

OPTIONAL_TAGS = ("taken-over", "restart-asked", "key-since", "regenerated-at", "replaced-expiry", "urgent")


def owner_of(service: ServiceId, gateway: str) -> str:
    """What the ownership says of a gateway: names of APIM services are unique across Azure, aliases are not."""
    return f"{service.name}/{gateway}".lower()


@dataclass(frozen=True, slots=True)
class Ownership:
    """Kept beside a value: whose it is (`owner`, APIM service name/gateway), which key signed it, since when, until when.

    `fingerprint` is that of the whole stored value, so that the ownership counts for no other value. `taken_over`:
    somebody else wrote the value, and Azure proved it. `restart_asked` is the fingerprint of the value for which a
    restart was asked that nobody can judge. `key_since` is when this app began to sign with that key here,
    `regenerated_at` when the other key was regenerated last. `replaced_expiry` is that of what a workload still runs that
    does not run this value yet, `urgent` that its restart cannot wait; both only where workloads are restarted.
    """

    owner: str
    key_type: KeyType
    issued_at: datetime
    expiry: datetime
    fingerprint: str = ""
    taken_over: bool = False
    restart_asked: str = ""
    key_since: datetime | None = None
    regenerated_at: datetime | None = None
    replaced_expiry: datetime | None = None
    urgent: bool = False

    @property
    def signs_since(self) -> datetime:
        """When this app began to sign with the key here: with the token itself, unless it is told."""
        return self.key_since or self.issued_at

    def of(self, value: Secret) -> Ownership:
        """The same, for this stored value."""
        return replace(self, fingerprint=value.fingerprint)

    def tags(self) -> dict[str, str]:
        """As names and values for tags or annotations; the value appears by its fingerprint only."""
        return {
            "managed-by": MANAGED_BY,
            "gateway": self.owner,
            "key-type": self.key_type,
            "issued-at": written(self.issued_at),
            "expiry": written(self.expiry),
            "fingerprint": self.fingerprint,
            **({"taken-over": "true"} if self.taken_over else {}),
            **({"restart-asked": self.restart_asked} if self.restart_asked else {}),
            **({"key-since": written(self.key_since)} if self.key_since else {}),
            **({"regenerated-at": written(self.regenerated_at)} if self.regenerated_at else {}),
        }

    def annotations(self) -> dict[str, str]:
        """The tags under the names that a Kubernetes object's annotations take."""
        more = {
            **({"replaced-expiry": written(self.replaced_expiry)} if self.replaced_expiry else {}),
            **({"urgent": "true"} if self.urgent else {}),
        }
        return {f"{MANAGED_BY}/{name}": value for name, value in (self.tags() | more).items()}

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
            return cls(
                tags["gateway"],
                KeyType(tags["key-type"]),
                read(tags["issued-at"]),
                read(tags["expiry"]),
                tags["fingerprint"],
                tags.get("taken-over") == "true",
                tags.get("restart-asked", ""),
                _optional(tags.get("key-since")),
                _optional(tags.get("regenerated-at")),
                _optional(tags.get("replaced-expiry")),
                tags.get("urgent") == "true",
            )
        except (KeyError, ValueError):
            return None


def _optional(text: str | None) -> datetime | None:
    return read(text) if text else None


class Running(StrEnum):
    """How far the workloads that read a location run what is stored there, the worst of them."""

    CURRENT = "current"  # every pod runs it, or there is no pod
    WAITING = "waiting"  # there is no such workload yet
    UNVERIFIED = "unverified"  # a restart was asked for, and the pods may not be listed
    RESTARTING = "restarting"  # pods that run an older value are being replaced
    STUCK = "stuck"  # the same, but it will not be done by itself
    OLD = "old"  # some pod runs an older value, and nothing replaces it


_RUN_AN_OLDER_ONE = frozenset({Running.RESTARTING, Running.STUCK, Running.OLD})


@dataclass(frozen=True, slots=True)
class Restart:
    """What the workloads that read a location run.

    `old` names the workloads to be asked for a restart. `message` is for people. `late_at`: from when on the restart
    takes too long. `holds_place`: whether it counts among the workloads of a service that may restart at a time; one
    that is paused, has no pods or is updated by hand does not. `blind`: what they run cannot be seen, so that asking
    has to be remembered.
    """

    running: Running
    message: str = ""
    late_at: datetime | None = None
    holds_place: bool = False
    old: tuple[str, ...] = ()
    blind: bool = False

    def failure(self, now: datetime) -> str:
        """Why the restart failed, or the empty string while it has not."""
        late = self.running is Running.RESTARTING and self.late_at is not None and self.late_at <= now
        return self.message if late or self.running is Running.STUCK else ""


@dataclass(frozen=True, slots=True)
class StoredToken:
    """What a destination holds now.

    `value` is the whole stored value, None when the location exists but holds nothing. `token` is what is read in it
    leniently, None when it is not a token; `exact`: the value is to the letter what is delivered for that token.
    `version` guards a write against somebody else's. `writer` is who wrote the value, where the location tells it and
    it was not this app. `also` are other keys of the location that hold a token of this gateway. `restart` is how far
    the gateway's workloads run the value; None where the destination cannot tell or this app did not write it.
    """

    value: Secret | None
    token: GatewayToken | None
    ownership: Ownership | None
    version: str = ""
    exact: bool = True
    writer: str = ""
    also: tuple[str, ...] = ()
    restart: Restart | None = None

    @property
    def owned(self) -> Ownership | None:
        """The ownership, if it is this value's. Values of the first version have the fingerprint of the bare token."""
        fingerprints = {part.fingerprint for part in (self.value, self.token) if part is not None}
        return self.ownership if self.ownership and self.ownership.fingerprint in fingerprints else None

    @property
    def replaced(self) -> datetime | None:
        """The expiry of an older token that a workload still runs, as far as it is known."""
        waits = self.restart is not None and self.restart.running in _RUN_AN_OLDER_ONE
        return self.owned.replaced_expiry if waits and self.owned else None


_QUOTES_AND_BLANKS = "\"' \t\r\n\ufeff"
_KEY = re.compile(r"[A-Za-z0-9+/]{40,}={0,2}")


def token_in(value: str | None) -> GatewayToken | None:
    """The token in a stored value, bare or behind its prefix, whatever blanks and quotes are around it; None when there is none."""
    try:
        return GatewayToken.parse((value or "").strip(_QUOTES_AND_BLANKS))
    except ValueError:
        return None


def kind_of(value: Secret) -> str:
    """What a stored value is that holds no token, for people; never the value."""
    text = value.reveal().strip(_QUOTES_AND_BLANKS).removeprefix("GatewayKey ").strip()
    return "a gateway key in the place of a token" if _KEY.fullmatch(text) else "a value that is not a token"
