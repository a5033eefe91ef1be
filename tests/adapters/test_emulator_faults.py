"""What goes wrong on purpose: each kind of fault as a plain HTTP client meets it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from emulator.azure import Azure
from emulator.faults import Fault
from emulator.server import Emulator
from tests.bench.separate import separate
from tests.stand_ins.throttle import Throttle

PATH = "/secrets/a"
VERSION = {"api-version": "7.4"}


@pytest.fixture
async def vault(emulator: Emulator) -> AsyncIterator[aiohttp.ClientSession]:
    """A signed-in session with the vault contoso, on a new connection for every call."""
    url = emulator.vault_url("contoso")
    bearer = emulator.azure.issue_bearer(url.replace("//127.", "//"))
    tls = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=emulator.ca_file), force_close=True)
    async with aiohttp.ClientSession(
        url, headers={"Authorization": f"Bearer {bearer}"}, connector=tls
    ) as opened:
        # The client quietly sends a PUT once more when its connection is lost: here that must show.
        opened._retry_connection = False
        yield opened


async def put(vault: aiohttp.ClientSession) -> int:
    answer = await vault.put(PATH, params=VERSION, json={"value": "v"})
    await answer.read()
    return answer.status


def versions(emulator: Emulator) -> int:
    secret = emulator.azure.vault("contoso").secret("a")
    return len(secret.versions) if secret else 0


async def test_an_answer_stands_in_for_the_work_as_often_as_told(
    emulator: Emulator, vault: aiohttp.ClientSession
) -> None:
    emulator.azure.faults.add(Fault(host="vault", method="PUT", status=503, skip=1, times=2))
    assert [await put(vault) for _ in range(4)] == [200, 503, 503, 200]
    assert versions(emulator) == 2


async def test_an_answer_brings_its_headers_and_body(
    emulator: Emulator, vault: aiohttp.ClientSession
) -> None:
    emulator.azure.faults.add(Fault(status=429, headers={"Retry-After": "7"}, body="<html>", times=None))
    answer = await vault.get(PATH, params=VERSION)
    assert (answer.status, answer.headers["Retry-After"], await answer.text()) == (429, "7", "<html>")


@pytest.mark.parametrize(
    ("fault", "struck"),
    [
        (Fault(host="arm"), False),
        (Fault(host="vault", instance="fabrikam"), False),
        (Fault(host="vault", instance="cont*"), True),
        (Fault(method="GET"), False),
        (Fault(path="*/b"), False),
        (Fault(path="*/a"), True),
        (Fault(times=0), False),
    ],
)
async def test_a_fault_strikes_only_what_it_names(
    emulator: Emulator, vault: aiohttp.ClientSession, *, fault: Fault, struck: bool
) -> None:
    fault.struck, fault.status = 0, 500
    emulator.azure.faults.add(fault)
    assert await put(vault) == (500 if struck else 200)
    assert fault.struck == int(struck)


@pytest.mark.parametrize(("kind", "done"), [("drop", 0), ("drop_after", 1), ("truncate", 1)])
async def test_a_connection_is_lost_before_or_after_the_work(
    emulator: Emulator, vault: aiohttp.ClientSession, *, kind: str, done: int
) -> None:
    emulator.azure.faults.add(Fault(host="vault", kind=kind))  # type: ignore[arg-type]  # one of its kinds
    with pytest.raises(aiohttp.ClientError):
        await put(vault)
    assert versions(emulator) == done
    assert await put(vault) == 200


@pytest.mark.parametrize(("kind", "seen"), [("call", 0), ("call_after", 1)])
async def test_code_runs_before_or_after_the_work(
    emulator: Emulator, vault: aiohttp.ClientSession, *, kind: str, seen: int
) -> None:
    found: list[int] = []

    async def look() -> None:
        await asyncio.sleep(0)
        found.append(versions(emulator))

    emulator.azure.faults.add(Fault(host="vault", kind=kind, action=look))  # type: ignore[arg-type]  # as above
    assert await put(vault) == 200
    assert found == [seen]


async def test_a_delay_is_longer_than_an_impatient_client_waits(
    emulator: Emulator, vault: aiohttp.ClientSession
) -> None:
    emulator.azure.faults.add(Fault(host="vault", kind="delay", seconds=60))
    with pytest.raises(TimeoutError):
        await vault.put(PATH, params=VERSION, json={"value": "v"}, timeout=aiohttp.ClientTimeout(total=0.05))
    assert versions(emulator) == 0


async def test_calls_are_recorded_unless_switched_off_and_counted_always(
    emulator: Emulator, vault: aiohttp.ClientSession
) -> None:
    await put(vault)
    emulator.azure.record = False
    await put(vault)
    (call,) = emulator.azure.calls
    assert (call.host, call.instance, call.method, call.path, call.status) == (
        "vault",
        "contoso",
        "PUT",
        PATH,
        200,
    )
    assert call.action == "Microsoft.KeyVault/vaults/secrets/setSecret/action"
    assert emulator.azure.counters.statuses == {"vault 200": 2}
    assert (emulator.azure.counters.in_flight, emulator.azure.counters.peak) == (0, 1)


async def test_every_call_takes_the_latency(emulator: Emulator, vault: aiohttp.ClientSession) -> None:
    emulator.azure.latency = 60
    with pytest.raises(TimeoutError):
        await vault.get(PATH, params=VERSION, timeout=aiohttp.ClientTimeout(total=0.05))


def test_a_bucket_empties_and_refills_and_each_subscription_has_its_own() -> None:
    now = [0.0]
    throttle = Throttle(
        limits={"read": (2, 1), "write": (1, 0.1), "delete": (1, 1)}, monotonic=lambda: now[0]
    )
    assert [throttle.admit("a", "GET", "/x") for _ in range(3)] == [0, 0, 1]
    assert throttle.admit("b", "GET", "/x") == 0
    assert [throttle.admit("a", "POST", "/x") for _ in range(2)] == [0, 10]
    now[0] = 1.0
    assert [throttle.admit("a", "GET", "/x"), throttle.admit("a", "GET", "/y")] == [0, 1]
    assert throttle.refused == 3


def test_coming_back_before_the_retry_after_is_counted_for_that_call_alone() -> None:
    now = [0.0]
    throttle = Throttle(limits={"write": (0, 0.1)}, monotonic=lambda: now[0])
    assert throttle.admit("a", "POST", "/x") == 10
    now[0] = 9.9
    throttle.admit("a", "POST", "/y")
    assert throttle.early == 0
    throttle.admit("a", "POST", "/x")
    assert throttle.early == 1


def test_coming_back_at_the_retry_after_is_not_early() -> None:
    now = [0.0]
    throttle = Throttle(limits={"write": (0, 0.1)}, monotonic=lambda: now[0])
    throttle.admit("a", "POST", "/x")
    now[0] = 10.0
    throttle.admit("a", "POST", "/x")
    assert throttle.early == 0


def test_a_token_is_accepted_until_its_minute() -> None:
    gateway = Azure().add_service("s", "g", "apim").add_gateway("edge")
    expiry = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    token = gateway.token("primary", expiry)
    assert gateway.accepts(token, expiry - timedelta(seconds=1))
    assert not gateway.accepts(token, expiry)
    assert not gateway.accepts(f"GatewayKey {token}", expiry - timedelta(seconds=1))


async def test_a_separate_process_answers_and_counts() -> None:
    services = [{"subscription": "s", "group": "g", "name": "apim", "gateways": 2}]
    async with separate({"services": services, "vaults": ["contoso"], "throttle": True}) as running:  # type: ignore[typeddict-item]
        tls = ssl.create_default_context(cafile=running.settings["CA_FILE"])
        async with aiohttp.ClientSession() as session:
            await session.get(f"{running.vaults['contoso']}/secrets", ssl=tls)
        found = await running.counters()
    assert found["statuses"] == {"vault 401": 1}
    assert (found["peak"], found["refused"], found["early"]) == (1, 0, 0)
