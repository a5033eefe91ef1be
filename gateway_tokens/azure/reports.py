"""Reports as text in blobs, beside the host's own, each guarded by its ETag."""

from __future__ import annotations

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

from .clients import AzureAccess
from .errors import operation

_READ = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"
_WRITE = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write"


class ReportBlob:
    """One blob, by its address."""

    def __init__(self, azure: AzureAccess, address: str) -> None:
        self._azure, self._address = azure, address
        self._container = address.rpartition("/")[0]

    async def read(self) -> tuple[str | None, str]:
        """The text and its ETag; None and no ETag when there is no blob. Raises AzureError."""
        async with operation("Reading the sweep record", action=_READ, scope=self._container):
            try:
                blob = await self._azure.blob(self._address).download_blob()
                return (await blob.readall()).decode(errors="replace"), blob.properties.etag
            except ResourceNotFoundError as error:
                if getattr(error, "error_code", "") != "BlobNotFound":
                    raise
                return None, ""

    async def write(self, text: str, etag: str) -> bool:
        """Replace what was read with that ETag; False when somebody wrote in between. Raises AzureError."""
        guard = (
            {"overwrite": True, "etag": etag, "match_condition": MatchConditions.IfNotModified}
            if etag
            else {"overwrite": False}
        )
        async with operation("Writing the sweep record", action=_WRITE, scope=self._container):
            try:
                await self._azure.blob(self._address).upload_blob(text, **guard)
            except (ResourceExistsError, ResourceModifiedError):
                return False
        return True
