"""The port `SweepStore` on one small blob, guarded by its ETag, beside the host's own."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

from .azure_calls import operation
from .errors import AzureFacts, AzureUnavailable
from .log_lines import log_line
from .sweep_record import SweepRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from .azure_access import AzureAccess

_NAME = "sweep-record.json"
_TRIES = 5
_READ = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"
_WRITE = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write"


class BlobSweepStore:
    """`container` is the container's address."""

    def __init__(self, azure: AzureAccess, container: str) -> None:
        self._azure, self._container = azure, container
        self._turn = asyncio.Lock()  # a burst of events in one worker would use up all tries against itself

    async def load(self) -> SweepRecord:
        """The record, or an empty one. Raises AzureError."""
        return (await self._read())[0]

    async def update(self, change: Callable[[SweepRecord], SweepRecord]) -> None:
        """Change the record; started over when somebody else wrote in between. Raises AzureError."""
        async with self._turn:
            for _ in range(_TRIES):
                record, etag = await self._read()
                if await self._write(change(record), etag):
                    return
        raise AzureUnavailable("Writing the sweep record", AzureFacts(code="WrittenByOthersAllTheTime"))

    async def _read(self) -> tuple[SweepRecord, str]:
        async with operation("Reading the sweep record", action=_READ, scope=self._container):
            try:
                blob = await self._azure.blob(self._address).download_blob()
                text = await blob.readall()
            except ResourceNotFoundError as error:
                if getattr(error, "error_code", "") != "BlobNotFound":
                    raise
                return SweepRecord(), ""
        try:
            return SweepRecord.from_json(json.loads(text)), blob.properties.etag
        except (ValueError, KeyError, TypeError, AttributeError):
            # A later version's, or somebody's scribble: the next write replaces it.
            log_line("sweep.record_not_understood")
            return SweepRecord(), blob.properties.etag

    async def _write(self, record: SweepRecord, etag: str) -> bool:
        guard = (
            {"etag": etag, "match_condition": MatchConditions.IfNotModified} if etag else {"overwrite": False}
        )
        if etag:
            guard["overwrite"] = True
        async with operation("Writing the sweep record", action=_WRITE, scope=self._container):
            try:
                await self._azure.blob(self._address).upload_blob(json.dumps(record.as_json()), **guard)
            except (ResourceExistsError, ResourceModifiedError):
                return False
        return True

    @property
    def _address(self) -> str:
        return f"{self._container}/{_NAME}"


class NoSweepStore:
    """For an estate that delivers no token anywhere: there is nothing to remember."""

    async def load(self) -> SweepRecord:
        """An empty record."""
        return SweepRecord()

    async def update(self, change: Callable[[SweepRecord], SweepRecord]) -> None:
        """Nothing."""
