"""The sweep record in a blob, on the wire."""

import asyncio
import json
import logging
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from emulator.faults import Fault
from emulator.server import Emulator
from gateway_tokens.azure.reports import ReportBlob
from gateway_tokens.errors import AzureForbidden, AzureNotFound, AzureUnavailable
from gateway_tokens.renewal.record import SweepRecord, SweepStore
from tests.adapters.destination_places import Surroundings
from tests.renewal_estate import a_trouble, lines

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RECORD = SweepRecord(AT, AT, {"fresh": 2}, AT, {"row": a_trouble(3)}, {"contoso/edge-01": AT})
READ = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"


@pytest.fixture
def emulator(around: Surroundings) -> Emulator:
    return around.emulator


@pytest.fixture
def store(around: Surroundings) -> SweepStore:
    return a_store(around)


def a_store(around: Surroundings) -> SweepStore:
    return SweepStore(ReportBlob(around.azure, f"{around.emulator.container_url}/sweep-record.json"))


def stored(emulator: Emulator) -> dict[str, object]:
    document: dict[str, object] = json.loads(
        emulator.azure.blobs.containers["gateway-tokens"]["sweep-record.json"].content
    )
    return document


def put(emulator: Emulator, content: bytes) -> None:
    emulator.azure.blobs.put("gateway-tokens", "sweep-record.json", content, AT)


def counted(record: SweepRecord) -> SweepRecord:
    return replace(record, counts={"n": record.counts.get("n", 0) + 1})


async def test_a_record_that_nobody_wrote_is_empty(store: SweepStore) -> None:
    assert await store.load() == SweepRecord()


async def test_a_record_comes_back_as_it_was_written(store: SweepStore) -> None:
    await store.update(lambda _: RECORD)
    assert await store.load() == RECORD


async def test_a_change_begins_from_what_is_there(store: SweepStore) -> None:
    for _ in range(3):
        await store.update(counted)
    assert (await store.load()).counts == {"n": 3}


@pytest.mark.parametrize("first", [True, False], ids=["the first write", "a later write"])
async def test_a_change_is_made_again_when_somebody_wrote_in_between(
    store: SweepStore,
    emulator: Emulator,
    first: bool,  # noqa: FBT001 - a table's column
) -> None:
    if not first:
        put(emulator, json.dumps(SweepRecord().as_json()).encode())
    theirs = json.dumps(SweepRecord(counts={"n": 10}).as_json()).encode()
    emulator.azure.faults.add(
        Fault(host="blob", method="PUT", kind="call", action=lambda: put(emulator, theirs))
    )
    await store.update(counted)
    assert stored(emulator)["counts"] == {"n": 11}


async def test_a_change_gives_up_when_somebody_always_writes_in_between(
    store: SweepStore, emulator: Emulator
) -> None:
    theirs = json.dumps(SweepRecord(counts={"n": 10}).as_json()).encode()
    emulator.azure.faults.add(
        Fault(host="blob", method="PUT", kind="call", times=None, action=lambda: put(emulator, theirs))
    )
    with pytest.raises(AzureUnavailable, match="WrittenByOthersAllTheTime"):
        await store.update(counted)
    assert stored(emulator)["counts"] == {"n": 10}


async def test_changes_at_the_same_time_all_arrive(around: Surroundings) -> None:
    one, other = (a_store(around) for _ in range(2))
    await asyncio.gather(one.update(counted), other.update(counted))
    assert (await one.load()).counts == {"n": 2}


async def test_a_burst_of_changes_in_one_worker_arrives_whole(store: SweepStore) -> None:
    """Events come in bursts: without an order of their own they would lose each other's race for ever."""
    await asyncio.gather(*(store.update(counted) for _ in range(24)))
    assert (await store.load()).counts == {"n": 24}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"scribble",
        b"\xff\xfe",
        b"[]",
        b"5",
        b"{}",
        b'{"startedAt": 5}',
        json.dumps({**RECORD.as_json(), "completedAt": "2026-03-01T12:00:00"}).encode(),
    ],
    ids=lambda content: repr(content)[:20],
)
async def test_a_record_that_cannot_be_understood_is_empty_and_mended_by_the_next_write(
    store: SweepStore, emulator: Emulator, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    put(emulator, content)
    with caplog.at_level(logging.INFO):
        assert await store.load() == SweepRecord()
    assert [line["event"] for line in lines(caplog)] == ["sweep.record_not_understood"]
    await store.update(lambda _: RECORD)
    assert await store.load() == RECORD


async def test_a_container_that_is_not_there_is_an_error_and_no_empty_record(around: Surroundings) -> None:
    store = SweepStore(ReportBlob(around.azure, f"{around.emulator.container_url}-x/sweep-record.json"))
    with pytest.raises(AzureNotFound, match="Reading the sweep record failed"):
        await store.load()
    with pytest.raises(AzureNotFound):
        await store.update(counted)


@pytest.mark.usefixtures("short_operations")
@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_a_store_that_does_not_answer_is_unavailable_once_its_time_is_over(
    store: SweepStore, emulator: Emulator, method: str
) -> None:
    never = asyncio.Event()
    emulator.azure.faults.add(Fault(host="blob", method=method, kind="call", action=never.wait))
    with pytest.raises(AzureUnavailable, match="the sweep record failed: no answer"):
        await asyncio.wait_for(store.update(counted), 5)
    never.set()


async def test_a_missing_permission_to_read_names_it(store: SweepStore, emulator: Emulator) -> None:
    emulator.azure.granted = set()
    with pytest.raises(AzureForbidden, match=r"blobs/read' at '.*gateway-tokens'"):
        await store.load()


async def test_a_missing_permission_to_write_names_it(store: SweepStore, emulator: Emulator) -> None:
    emulator.azure.granted = {READ}
    with pytest.raises(AzureForbidden, match=r"blobs/write' at '.*gateway-tokens'"):
        await store.update(counted)
