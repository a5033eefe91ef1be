"""Reports as text in blobs, each guarded by its ETag and summed up in its metadata."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

from gateway_tokens.errors import AzureFacts, AzureUnavailable

from .clients import AzureAccess
from .errors import operation

_TRIES = 3
_READ = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"
_WRITE = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write"


@dataclass(frozen=True, slots=True)
class Entry:
    """One blob as a listing shows it; when it was made is aware UTC."""

    name: str
    created: datetime
    metadata: Mapping[str, str]


class Reports:
    """The blobs of one container, by its address. Every method raises AzureError."""

    def __init__(self, azure: AzureAccess, container: str) -> None:
        self._azure, self._container = azure, container

    async def read(self, name: str) -> tuple[str | None, str]:
        """The text and its ETag; None and no ETag when there is none, or no container to hold it."""
        if not self._container:
            return None, ""
        async with operation(f"Reading {name}", action=_READ, scope=self._container):
            try:
                blob = await self._azure.container(self._container).download_blob(name)
                return (await blob.readall()).decode(errors="replace"), blob.properties.etag
            except ResourceNotFoundError as error:
                if getattr(error, "error_code", "") != "BlobNotFound":
                    raise
                return None, ""

    async def write(self, name: str, text: str, etag: str, metadata: Mapping[str, str]) -> bool:
        """Replace what was read with that ETag; False when somebody wrote in between."""
        guard: dict[str, Any] = {"overwrite": bool(etag)}
        if etag:
            guard |= {"etag": etag, "match_condition": MatchConditions.IfNotModified}
        async with operation(f"Writing {name}", action=_WRITE, scope=self._container):
            try:
                container = self._azure.container(self._container)
                await container.upload_blob(name, text, metadata=dict(metadata), **guard)
            except (ResourceExistsError, ResourceModifiedError):
                return False
        return True

    async def update(self, name: str, change: Callable[[str | None], tuple[str, Mapping[str, str]]]) -> None:
        """Replace the text by what `change` makes of it; started over, three times at most, when somebody wrote in between."""
        for tried in range(_TRIES):
            before, etag = await self.read(name)
            text, metadata = change(before)
            if await self.write(name, text, etag, metadata):
                return
            await asyncio.sleep(0.05 * tried)
        raise AzureUnavailable(f"Writing {name}", AzureFacts(code="WrittenByOthersAllTheTime"))

    async def entries(self) -> list[Entry]:
        """Every blob."""
        container = self._azure.container(self._container)
        async with operation("Listing the reports", action=_READ, scope=self._container):
            return [
                Entry(blob.name, blob.creation_time, blob.metadata or {})
                async for blob in container.list_blobs(include=["metadata"])
            ]
