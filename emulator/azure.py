"""The state of the emulated Azure, and the switches by which tests make it slow, strict or broken."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Protocol

from emulator.directory import TENANT_ID, Directory
from emulator.faults import Faults
from emulator.gateways import Service
from emulator.vaults import Vault


def utc_now() -> datetime:
    """Return the time of this machine, aware, in UTC."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Call:
    """One request. `status` is 0 until it is answered; `action` is the RBAC action that it needs, if any."""

    host: str
    instance: str
    method: str
    path: str
    query: str
    action: str
    at: datetime
    status: int = 0


@dataclass
class Blob:
    """A block blob."""

    content: bytes = field(repr=False)
    etag: str
    modified: datetime
    created: datetime
    content_type: str = "application/octet-stream"
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass
class BlobAccount:
    """A storage account; every write gives a blob a new ETag."""

    name: str = "devaccount"
    containers: dict[str, dict[str, Blob]] = field(default_factory=lambda: {"gateway-tokens": {}})
    _writes: Iterator[int] = field(default_factory=lambda: count(0x8DC000000000001))

    def put(
        self,
        container: str,
        name: str,
        content: bytes,
        now: datetime,
        *,
        content_type: str = "application/octet-stream",
        metadata: dict[str, str] | None = None,
    ) -> Blob:
        """Write a blob; `KeyError` if the container does not exist."""
        before = self.containers[container].get(name)
        etag, created = f'"0x{next(self._writes):X}"', before.created if before else now
        blob = Blob(content, etag, now, created, content_type, metadata or {})
        self.containers[container][name] = blob
        return blob


class Throttle(Protocol):
    """How ARM throttles; `refused` counts the calls answered 429, `early` those that came back too soon."""

    refused: int
    early: int

    def admit(self, subscription: str, method: str, path: str) -> int:
        """Return 0 to admit the call, or the whole seconds to name in Retry-After."""


@dataclass
class Azure:
    """Everything that outlives a call.

    `clock` gives aware UTC times. `latency` is the seconds every call takes. `granted` are the RBAC actions that
    the one identity holds, None meaning all. `throttle` is off while None. `calls` are kept while `record` is on;
    `arrived` counts them always, `in_flight` those that are not answered yet, `peak` the most at the same time.
    """

    clock: Callable[[], datetime] = utc_now
    latency: float = 0.0
    granted: set[str] | None = None
    throttle: Throttle | None = None
    page_size: int = 100
    client_ids: set[str] | None = None
    record: bool = True
    calls: list[Call] = field(default_factory=list)
    arrived: int = 0
    in_flight: int = 0
    peak: int = 0
    faults: Faults = field(default_factory=Faults)
    services: dict[tuple[str, str, str], Service] = field(default_factory=dict)
    groups: set[tuple[str, str]] = field(default_factory=set)
    vaults: dict[str, Vault] = field(default_factory=dict)
    blobs: BlobAccount = field(default_factory=BlobAccount)
    directory: Directory = field(default_factory=Directory)
    tenant_id: str = TENANT_ID
    client_id: str = "7e57ab1e-0000-4000-8000-000000000002"
    object_id: str = "7e57ab1e-0000-4000-8000-000000000003"
    identity_header: str = field(default_factory=secrets.token_hex, repr=False)
    bearers: dict[str, str] = field(default_factory=dict, repr=False)

    def add_group(self, subscription: str, group: str) -> None:
        """Make a subscription and a resource group known to ARM."""
        self.groups.add((subscription.lower(), group.lower()))

    def add_service(self, subscription: str, group: str, name: str) -> Service:
        """Create an API Management service, with its subscription and resource group."""
        self.add_group(subscription, group)
        service = Service(subscription, group, name)
        self.services[subscription.lower(), group.lower(), name.lower()] = service
        return service

    def add_vault(self, name: str) -> Vault:
        """Create a vault, or return the one of that name."""
        return self.vaults.setdefault(name, Vault(name))

    def vault(self, name: str) -> Vault:
        """Return a vault; `KeyError` if there is none."""
        return self.vaults[name]

    def issue_bearer(self, audience: str) -> str:
        """Return a new access token that hosts of that audience accept."""
        token = secrets.token_urlsafe(24)
        self.bearers[token] = audience
        return token

    def called(self, host: str, method: str = "*", ending: str = "") -> list[Call]:
        """Return the recorded calls to a host, optionally of one method and with one path ending."""
        return [
            call
            for call in self.calls
            if call.host == host and method in {"*", call.method} and call.path.endswith(ending)
        ]
