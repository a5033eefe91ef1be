"""What a destination is, what it holds, and the ownership beside the value, which is stored there and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from .tokens import GatewayToken, KeyType, Secret, read, written

MANAGED_BY = "gateway-tokens"
_Names = dict[str, tuple[str, Callable[[str], object]]]


def _is_true(text: str) -> bool:
    return text == "true"


# The names under which an ownership is kept, each with its field and with how its text is read: those of every ownership,
_TAGS: _Names = {
    "gateway": ("owner", str),
    "key-type": ("key_type", KeyType),
    "issued-at": ("issued_at", read),
    "expiry": ("expiry", read),
    "fingerprint": ("fingerprint", str),
}
# those that it may lack, where an earlier one's must go with it,
OPTIONAL_TAGS: _Names = {
    "taken-over": ("taken_over", _is_true),
    "restart-asked": ("restart_asked", str),
    "key-since": ("key_since", read),
    "regenerated-at": ("regenerated_at", read),
}
# and those that annotations may lack: two more, since a vault's tags are few and may have any name.
OPTIONAL_ANNOTATIONS: _Names = OPTIONAL_TAGS | {
    "replaced-expiry": ("replaced_expiry", read),
    "urgent": ("urgent", _is_true),
}


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
        """As names and values for tags; the value appears by its fingerprint only."""
        return self._texts(OPTIONAL_TAGS)

    def annotations(self) -> dict[str, str]:
        """As names and values for a Kubernetes object's annotations."""
        return {f"{MANAGED_BY}/{name}": text for name, text in self._texts(OPTIONAL_ANNOTATIONS).items()}

    def _texts(self, optional: _Names) -> dict[str, str]:
        facts = {name: getattr(self, field) for name, (field, _) in (_TAGS | optional).items()}
        texts = {name: _text(fact) for name, fact in facts.items() if fact or name in _TAGS}
        return {"managed-by": MANAGED_BY, **texts}

    @classmethod
    def from_annotations(cls, annotations: Mapping[str, str]) -> Ownership | None:
        """The ownership in a Kubernetes object's annotations, or None."""
        prefix = f"{MANAGED_BY}/"
        ours = {n.removeprefix(prefix): text for n, text in annotations.items() if n.startswith(prefix)}
        return cls.from_tags(ours)

    @classmethod
    def from_tags(cls, tags: Mapping[str, str] | None) -> Ownership | None:
        """The ownership, or None when the tags are not this app's or cannot be read."""
        if not tags or tags.get("managed-by") != MANAGED_BY:
            return None
        present = _TAGS | {name: kept for name, kept in OPTIONAL_ANNOTATIONS.items() if tags.get(name)}
        try:
            facts: dict[str, Any] = {field: form(tags[name]) for name, (field, form) in present.items()}
            return cls(**facts)
        except (KeyError, ValueError):
            return None


def _text(fact: object) -> str:
    if isinstance(fact, datetime):
        return written(fact)
    return "true" if fact is True else str(fact)


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
    takes too long. `holds_slot`: whether it counts among the workloads of a service that may restart at a time; one
    that is paused, has no pods or is updated by hand does not. `blind`: what they run cannot be seen, so that asking
    has to be remembered.
    """

    running: Running
    message: str = ""
    late_at: datetime | None = None
    holds_slot: bool = False
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


class StoredForm(StrEnum):
    """What is stored: `header` is `GatewayKey <token>`, as every gateway setting wants it; `token` is bare."""

    HEADER = "header"
    TOKEN = "token"  # noqa: S105 - a form's name

    def of(self, token: GatewayToken) -> Secret:
        """What is stored for the token."""
        return token.header_value() if self is StoredForm.HEADER else token.value

    def read(self, value: str | None, ownership: Ownership | None, version: str = "") -> StoredToken:
        """What a location holds whose value is this; empty counts as nothing."""
        token = token_in(value)
        exact = token is not None and self.of(token).reveal() == value
        return StoredToken(Secret(value) if value else None, token, ownership, version, exact=exact)


class Destination(Protocol):
    """A location from which a gateway reads its token.

    Every method raises AzureError when the location cannot be reached or refuses, and DestinationError when what is
    there forbids the operation. None of them repeats what the client's own retry policy gave up.
    """

    @property
    def location(self) -> str:
        """Where it is, for people: logs, reports, errors."""

    async def read(self) -> StoredToken | None:
        """What is there, or None when nothing is."""

    async def write(self, token: GatewayToken, ownership: Ownership, stored: StoredToken | None) -> None:
        """Replace what `stored` says was read (None: nothing was there) by the token in its form, and its ownership.

        The old value stays in place when this fails. Raises WriteConflict when somebody wrote in between, where the
        location can tell.
        """

    async def write_ownership(self, ownership: Ownership, stored: StoredToken) -> None:
        """Write the ownership beside the value that was read, which stays as it is. Raises WriteConflict as `write` does."""

    async def restart(self, stored: StoredToken) -> None:
        """Ask the workloads `stored.restart.old` to restart for the stored value, and do not wait.

        Asking twice for one value restarts once. Where the pods may not be listed, the ownership remembers that it was
        asked for.
        """
