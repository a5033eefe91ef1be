"""Emulated blob storage, asked by the real client."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.identity.aio import ManagedIdentityCredential
from azure.storage.blob.aio import BlobClient

from emulator.server import Emulator


@pytest.fixture
async def blob(emulator: Emulator, credential: ManagedIdentityCredential) -> AsyncIterator[BlobClient]:
    async with open_blob(emulator, credential, emulator.container_url) as opened:
        yield opened


def open_blob(emulator: Emulator, credential: ManagedIdentityCredential, container: str) -> BlobClient:
    url = f"{container}/sweeps/last.json"
    return BlobClient.from_blob_url(url, credential, connection_verify=emulator.ca_file, retry_total=0)


def code(error: HttpResponseError) -> str:
    response: Any = error.response
    return str(response.headers["x-ms-error-code"])


async def test_a_blob_comes_back_as_it_was_put(blob: BlobClient) -> None:
    written = await blob.upload_blob(b"content", metadata={"owner": "app"})
    read = await blob.download_blob()
    assert await read.readall() == b"content"
    assert read.properties.etag == written["etag"]
    assert read.properties.metadata == {"owner": "app"}
    assert (await blob.get_blob_properties()).size == 7


async def test_a_range_of_a_blob_can_be_read(blob: BlobClient) -> None:
    await blob.upload_blob(b"0123456789")
    assert await (await blob.download_blob(offset=2, length=3)).readall() == b"234"
    assert await (await blob.download_blob(offset=8, length=9)).readall() == b"89"


async def test_an_empty_blob_can_be_read(blob: BlobClient) -> None:
    await blob.upload_blob(b"")
    assert await (await blob.download_blob()).readall() == b""


async def test_a_blob_that_exists_is_not_overwritten_unless_told_to(blob: BlobClient) -> None:
    await blob.upload_blob(b"one")
    with pytest.raises(ResourceExistsError) as caught:
        await blob.upload_blob(b"two")
    assert (caught.value.status_code, code(caught.value)) == (409, "BlobAlreadyExists")
    await blob.upload_blob(b"two", overwrite=True)
    assert await (await blob.download_blob()).readall() == b"two"


async def test_a_write_on_condition_fails_after_somebody_elses_write(blob: BlobClient) -> None:
    first = (await blob.upload_blob(b"one"))["etag"]
    second = await blob.upload_blob(
        b"two", overwrite=True, etag=first, match_condition=MatchConditions.IfNotModified
    )
    assert second["etag"] != first
    with pytest.raises(ResourceModifiedError) as caught:
        await blob.upload_blob(
            b"three", overwrite=True, etag=first, match_condition=MatchConditions.IfNotModified
        )
    assert (caught.value.status_code, code(caught.value)) == (412, "ConditionNotMet")
    assert await (await blob.download_blob()).readall() == b"two"


async def test_a_deleted_blob_is_not_found(blob: BlobClient) -> None:
    await blob.upload_blob(b"one")
    await blob.delete_blob()
    assert not await blob.exists()
    with pytest.raises(ResourceNotFoundError) as caught:
        await blob.download_blob()
    assert code(caught.value) == "BlobNotFound"


async def test_a_container_that_is_not_there_is_not_found(
    emulator: Emulator, credential: ManagedIdentityCredential
) -> None:
    async with open_blob(emulator, credential, emulator.container_url + "-x") as blob:
        with pytest.raises(ResourceNotFoundError) as caught:
            await blob.upload_blob(b"one")
    assert code(caught.value) == "ContainerNotFound"


async def test_an_identity_without_the_action_is_refused(emulator: Emulator, blob: BlobClient) -> None:
    emulator.azure.granted = {"Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"}
    assert not await blob.exists()
    with pytest.raises(HttpResponseError) as caught:
        await blob.upload_blob(b"one")
    assert (caught.value.status_code, code(caught.value)) == (403, "AuthorizationPermissionMismatch")
