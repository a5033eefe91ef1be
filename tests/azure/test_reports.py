"""Reports in blobs: read, guarded, summed up, listed; every failure is an error of ours."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from emulator.faults import Fault
from emulator.server import Emulator
from gateway_tokens import errors
from gateway_tokens.azure import clients
from gateway_tokens.azure.clients import AzureAccess
from gateway_tokens.azure.reports import Reports

NAME = "reports/contoso.json"


@pytest.fixture
def reports(azure: AzureAccess, emulator: Emulator) -> Reports:
    return Reports(azure, emulator.container_url)


def one_more(text: str | None) -> tuple[str, Mapping[str, str]]:
    return f"{text or ''}+", {"n": str(len(text or ""))}


async def test_a_text_comes_back_as_it_was_written_and_what_nobody_wrote_is_none(reports: Reports) -> None:
    assert await reports.read(NAME) == (None, "")
    assert await reports.write(NAME, "äöü", "", {})
    assert (await reports.read(NAME))[0] == "äöü"


async def test_bytes_that_are_not_text_are_read_all_the_same(emulator: Emulator, reports: Reports) -> None:
    emulator.azure.blobs.put("gateway-tokens", NAME, b"\xff\xfe", datetime.now(UTC))
    assert (await reports.read(NAME))[0] == "\ufffd\ufffd"


async def test_a_write_over_what_somebody_else_wrote_is_refused(reports: Reports) -> None:
    await reports.write(NAME, "one", "", {})
    _, etag = await reports.read(NAME)
    assert [await reports.write(NAME, "two", etag, {}) for etag in (etag, etag, "")] == [True, False, False]
    assert (await reports.read(NAME))[0] == "two"


async def test_changes_at_the_same_time_all_arrive_and_one_that_never_can_gives_up_after_three_tries(
    emulator: Emulator, reports: Reports
) -> None:
    await asyncio.gather(reports.update(NAME, one_more), reports.update(NAME, one_more))
    assert (await reports.read(NAME))[0] == "++"
    emulator.azure.calls.clear()
    refused = {"x-ms-error-code": "ConditionNotMet"}
    emulator.azure.faults.add(Fault("blob", "PUT", status=412, headers=refused, times=None))
    with pytest.raises(errors.AzureUnavailable, match="WrittenByOthersAllTheTime"):
        await reports.update(NAME, one_more)
    assert len(emulator.azure.called("blob", "PUT")) == 3


async def test_a_listing_has_every_blob_its_summary_and_when_it_was_first_written(reports: Reports) -> None:
    await reports.write(NAME, "one", "", {"rows": "3"})
    (first,) = await reports.entries()
    await reports.update(NAME, one_more)
    await reports.write("runs/s.json", "{}", "", {})
    again, other = await reports.entries()
    assert (first.metadata, again.metadata, other.metadata) == ({"rows": "3"}, {"n": "3"}, {})
    assert (again.name, again.created, other.name) == (NAME, first.created, "runs/s.json")


async def test_storage_that_fails_is_an_error_of_ours(
    emulator: Emulator, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(clients._STORAGE_RETRY, "retry_total", 0)  # its pauses cannot be faked
    leased = "<Error><Code>LeaseIdMissing</Code></Error>"
    for fault, error in (
        (Fault("blob", status=500, times=None), errors.AzureUnavailable),
        (Fault("blob", kind="drop", times=None), errors.AzureUnavailable),
        (Fault("blob", status=409, body=leased, times=None), errors.AzureError),
    ):
        emulator.azure.faults.clear()
        emulator.azure.faults.add(fault)
        for call in (reports.read(NAME), reports.entries()):
            with pytest.raises(error):
                await call


async def test_a_missing_role_or_container_is_told(
    emulator: Emulator, reports: Reports, azure: AzureAccess
) -> None:
    with pytest.raises(errors.AzureNotFound):
        await Reports(azure, f"{emulator.container_url}-x").read(NAME)
    emulator.azure.granted = set()
    with pytest.raises(errors.AzureForbidden) as caught:
        await reports.read(NAME)
    assert caught.value.role == "Storage Blob Data Owner"
