"""What goes wrong on purpose: each kind of fault as a plain HTTP client meets it."""

import ssl
from collections.abc import AsyncIterator

import aiohttp
import pytest

from emulator.faults import Fault
from emulator.server import Emulator
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


async def test_code_runs_before_and_after_the_work(emulator: Emulator, vault: aiohttp.ClientSession) -> None:
    found: list[int] = []
    for kind in ("call", "call_after"):
        look = Fault(host="vault", kind=kind, action=lambda: found.append(versions(emulator)))
        emulator.azure.faults.add(look)
        assert await put(vault) == 200
    assert found == [0, 2]


async def test_calls_are_recorded_unless_switched_off_and_counted_always(
    emulator: Emulator, vault: aiohttp.ClientSession
) -> None:
    await put(vault)
    emulator.azure.record = False
    await put(vault)
    (call,) = emulator.azure.called("vault", "PUT", PATH)
    assert (call.instance, call.status) == ("contoso", 200)
    assert call.action == "Microsoft.KeyVault/vaults/secrets/setSecret/action"
    assert (emulator.azure.arrived, emulator.azure.in_flight, emulator.azure.peak) == (2, 0, 1)


def test_a_bucket_empties_and_refills_and_each_subscription_has_its_own() -> None:
    now = [0.0]
    throttle = Throttle(limits={"read": (2, 1), "write": (1, 0.1)}, monotonic=lambda: now[0])
    assert [throttle.admit("a", "GET", "/x") for _ in range(3)] == [0, 0, 1]
    assert throttle.admit("b", "GET", "/x") == 0
    assert [throttle.admit("a", "POST", "/x") for _ in range(2)] == [0, 10]
    now[0] = 1.0
    assert [throttle.admit("a", "GET", path) for path in ("/x", "/y")] == [0, 1]
    assert throttle.refused == 3


@pytest.mark.parametrize(("now", "path", "early"), [(9.9, "/x", 1), (9.9, "/y", 0), (10.0, "/x", 0)])
def test_a_call_repeated_before_its_retry_after_counts_as_early(now: float, path: str, early: int) -> None:
    clock = [0.0]
    throttle = Throttle(limits={"write": (0, 0.1)}, monotonic=lambda: clock[0])
    assert throttle.admit("a", "POST", "/x") == 10
    clock[0] = now
    throttle.admit("a", "POST", path)
    assert throttle.early == early
