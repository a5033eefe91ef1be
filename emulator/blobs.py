"""Blob storage as the emulator remembers it: one account whose containers exist from the start."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count


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
