"""Entra's signing keys over the wire: when they are fetched, how long they are kept, what happens while they cannot be."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from emulator.directory import TENANT_ID, signing_key
from emulator.faults import Fault
from emulator.server import Emulator
from gateway_tokens.azure import identity
from gateway_tokens.azure.clients import AzureAccess
from gateway_tokens.errors import SigningKeysUnavailable
from tests.fakes import FakeTime

KNOWN, UNKNOWN = "emulator-1", "made-up"
REFRESH_AFTER, KEEP_FOR, UNKNOWN_KEY_PAUSE, FAILURE_PAUSE = 3600, 24 * 3600, 60, 30


class Keys:
    """The app's signing keys on a clock that a test moves."""

    def __init__(self, emulator: Emulator, opens: Callable[..., AzureAccess]) -> None:
        self.entra, self.time = emulator.azure, FakeTime()
        self.azure = opens(self.time.monotonic)
        self.address = f"{self.entra.directory.endpoint}/{TENANT_ID}/discovery/v2.0/keys"

    async def has(self, key_id: str) -> bool:
        """Whether Entra has the key, as the app is told. Raises SigningKeysUnavailable."""
        return await self.azure.signing_keys(self.address).key(key_id) is not None

    async def cannot_tell(self, key_id: str) -> float | None:
        """Assert that this cannot be told of the key; return the seconds after which to ask again."""
        with pytest.raises(SigningKeysUnavailable) as unavailable:
            await self.has(key_id)
        return unavailable.value.facts.retry_after

    def away(self, **fault: Any) -> None:  # noqa: ANN401 - a fault's own fields
        """The endpoint fails in this way for good."""
        self.entra.faults.clear()
        self.entra.faults.add(Fault(**{"host": "login", "times": None, **fault}))

    @property
    def fetches(self) -> int:
        """How often the key set was asked for."""
        return len(self.entra.called("login"))

    async def settle(self) -> bool:
        """Let a fetch in the background end; whether there was one."""
        under_way = {task for task in asyncio.all_tasks() if "SigningKeys._refresh" in repr(task)}
        if under_way:
            await asyncio.wait(under_way)
        return bool(under_way)


@pytest.fixture
def fresh(emulator: Emulator, opens: Callable[..., AzureAccess]) -> Keys:
    """Before the first fetch."""
    return Keys(emulator, opens)


@pytest.fixture
async def keys(fresh: Keys) -> Keys:
    """After the first fetch."""
    assert await fresh.has(KNOWN)
    return fresh


async def test_callers_who_come_together_share_one_fetch_and_none_ends_it_by_giving_up(fresh: Keys) -> None:
    fresh.entra.latency = 0.05
    hasty, *patient = (asyncio.create_task(fresh.has(KNOWN)) for _ in range(50))
    await asyncio.sleep(0.01)
    hasty.cancel()
    assert all(await asyncio.gather(*patient))
    assert fresh.fetches == 1


async def test_after_an_hour_they_are_fetched_in_the_background_and_nobody_waits(keys: Keys) -> None:
    keys.time.now += REFRESH_AFTER - 1
    assert await keys.has(KNOWN)
    assert not await keys.settle()
    keys.entra.directory.key_ids = ["emulator-2"]
    keys.time.now += 1
    assert all([await keys.has(KNOWN) for _ in range(10)])
    assert await keys.settle()
    assert await keys.has("emulator-2")
    assert not await keys.has(KNOWN)  # Entra took it back
    assert keys.fetches == 2


async def test_an_unknown_key_id_asks_again_once_a_minute_at_most_and_finds_a_new_key(keys: Keys) -> None:
    keys.entra.directory.key_ids = ["emulator-2", KNOWN]
    keys.time.now += UNKNOWN_KEY_PAUSE - 1
    assert not any([await keys.has(f"{UNKNOWN}-{number}") for number in range(50)])
    assert keys.fetches == 1
    keys.time.now += 1
    ids = (*(f"{UNKNOWN}-{number}" for number in range(50)), "emulator-2")
    assert await asyncio.gather(*(keys.has(key_id) for key_id in ids)) == [False] * 50 + [True]
    assert keys.fetches == 2


async def test_a_known_key_does_not_wait_for_the_fetch_that_an_unknown_one_began(keys: Keys) -> None:
    keys.time.now += UNKNOWN_KEY_PAUSE
    keys.entra.latency = 0.2
    waiting = asyncio.create_task(keys.has(UNKNOWN))
    await asyncio.sleep(0.01)
    assert await keys.has(KNOWN)
    assert not waiting.done()
    assert not await waiting


async def test_callers_of_a_silent_endpoint_wait_together_and_no_longer_than_one_fetch(
    fresh: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "FETCH_TIMEOUT", 0.5)
    fresh.away(kind="delay", seconds=60)
    async with asyncio.timeout(5):
        await asyncio.gather(*(fresh.cannot_tell(KNOWN) for _ in range(50)))
    assert fresh.fetches == 1


async def test_a_failed_fetch_is_not_repeated_for_half_a_minute(fresh: Keys) -> None:
    fresh.away(status=503)
    assert {await fresh.cannot_tell(KNOWN) for _ in range(10)} == {FAILURE_PAUSE}
    fresh.entra.faults.clear()
    fresh.time.now += FAILURE_PAUSE - 1
    await fresh.cannot_tell(KNOWN)
    assert fresh.fetches == 1
    fresh.time.now += 1
    assert await fresh.has(KNOWN)
    assert fresh.fetches == 2


async def test_known_keys_work_for_a_day_without_the_endpoint_asked_twice_a_minute(keys: Keys) -> None:
    keys.away(status=503)
    keys.time.now += REFRESH_AFTER
    for _ in range(4):
        assert await keys.has(KNOWN)
        await keys.settle()
        keys.time.now += FAILURE_PAUSE / 2
    assert keys.fetches == 1 + 2
    keys.time.now += KEEP_FOR - REFRESH_AFTER - 2 * FAILURE_PAUSE - 1
    assert await keys.has(KNOWN)
    await keys.settle()
    keys.time.now += 1
    await keys.cannot_tell(KNOWN)


async def test_an_unknown_key_id_cannot_be_judged_while_the_endpoint_is_away(keys: Keys) -> None:
    keys.away(status=503)
    keys.time.now += UNKNOWN_KEY_PAUSE
    for _ in range(2):
        await keys.cannot_tell(UNKNOWN)
    assert await keys.has(KNOWN)
    assert keys.fetches == 2


GOOD = signing_key(KNOWN).published()
NO_KEY_SETS = (
    *("", "<html>", "[]", "null", '{"keys": []}', '{"keys": {"a": 1}}', b'{"keys": "\xff"}', "[" * 100_000),
    json.dumps({"keys": [{**GOOD, "n": "!"}, 1]}),
)
ODD: list[dict[str, Any]] = [
    *({"status": 404}, {"kind": "truncate"}, {"kind": "drop"}),
    {"status": 500, "body": json.dumps({"keys": [GOOD]})},
    *({"status": 200, "body": body} for body in NO_KEY_SETS),
    {"times": 1, "status": 302, "headers": {"Location": f"/{TENANT_ID}/discovery/v2.0/keys"}},
]


async def test_an_answer_without_keys_removes_no_key(keys: Keys, caplog: pytest.LogCaptureFixture) -> None:
    keys.time.now += REFRESH_AFTER
    for fault in ODD:
        caplog.clear()
        keys.away(**fault)
        keys.time.now += FAILURE_PAUSE
        assert await keys.has(KNOWN)
        await keys.settle()
        assert await keys.has(KNOWN), fault
        assert caplog.text.count("signing_keys.failed") == 1, fault


async def test_keys_that_cannot_be_used_are_passed_over(fresh: Keys) -> None:
    mixed = [1, {"kty": "XYZ"}, {**GOOD, "kid": None}, {**GOOD, "kid": ["x"]}, GOOD]
    fresh.away(status=200, body=json.dumps({"keys": mixed}))
    assert await fresh.has(KNOWN)


async def test_closing_ends_a_fetch_that_is_under_way(fresh: Keys) -> None:
    fresh.away(kind="delay", seconds=60)
    waiting = asyncio.create_task(fresh.has(KNOWN))
    await asyncio.sleep(0.01)
    await asyncio.wait_for(fresh.azure.close(), 1)
    with pytest.raises((asyncio.CancelledError, SigningKeysUnavailable)):
        await waiting
