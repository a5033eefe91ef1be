"""Entra's signing keys over the wire: when they are fetched, how long they are kept, what happens while they cannot be."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from emulator.directory import TENANT_ID, signing_key
from emulator.faults import Fault
from emulator.server import Emulator
from gateway_tokens.azure import identity
from gateway_tokens.azure.clients import AzureAccess
from gateway_tokens.errors import SigningKeysUnavailable
from gateway_tokens.estate.app_settings import read_settings
from tests import served_estate
from tests.fake_time import FakeTime

KNOWN, UNKNOWN = "emulator-1", "made-up"
REFRESH_AFTER, KEEP_FOR, UNKNOWN_KEY_PAUSE, FAILURE_PAUSE = 3600, 24 * 3600, 60, 30


class Keys:
    """The app's signing keys on a clock that a test moves."""

    def __init__(self, emulator: Emulator, **settings: str) -> None:
        self.emulator, self.time = emulator, FakeTime()
        environ = served_estate.environment(emulator) | settings
        self.azure = AzureAccess(read_settings(environ), monotonic=self.time.monotonic)

    async def has(self, key_id: str) -> bool:
        """Whether Entra has the key, as the app is told. Raises SigningKeysUnavailable."""
        address = f"{self.emulator.azure.directory.endpoint}/{TENANT_ID}/discovery/v2.0/keys"
        return await self.azure.signing_keys(address).key(key_id) is not None

    def away(self, **fault: Any) -> Fault:  # noqa: ANN401 - a fault's own fields
        """The endpoint fails in this way for good."""
        return self.emulator.azure.faults.add(Fault(**{"host": "login", "times": None, **fault}))

    @property
    def fetches(self) -> int:
        """How often the key set was asked for."""
        return len(self.emulator.azure.called("login"))

    @property
    def fetching(self) -> set[asyncio.Task[Any]]:
        """The fetch that is under way."""
        return {task for task in asyncio.all_tasks() if "SigningKeys._refresh" in repr(task)}

    async def settle(self) -> None:
        """Let a fetch in the background end."""
        if self.fetching:
            await asyncio.wait(self.fetching)


@pytest.fixture
async def fresh(emulator: Emulator) -> AsyncIterator[Keys]:
    """Before the first fetch."""
    opened = Keys(emulator)
    yield opened
    await opened.azure.close()


@pytest.fixture
async def keys(fresh: Keys) -> Keys:
    """After the first fetch."""
    assert await fresh.has(KNOWN)
    return fresh


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "FETCH_TIMEOUT", 0.05)


async def test_callers_who_come_together_share_one_fetch(fresh: Keys) -> None:
    fresh.emulator.azure.latency = 0.02
    assert all(await asyncio.gather(*(fresh.has(KNOWN) for _ in range(50))))
    assert fresh.fetches == 1


async def test_a_caller_who_gives_up_does_not_end_the_fetch_of_the_others(fresh: Keys) -> None:
    fresh.emulator.azure.latency = 0.05
    hasty, patient = (asyncio.create_task(fresh.has(KNOWN)) for _ in range(2))
    await asyncio.sleep(0.01)
    hasty.cancel()
    assert await patient
    assert fresh.fetches == 1


async def test_after_an_hour_they_are_fetched_in_the_background_and_nobody_waits(keys: Keys) -> None:
    keys.time.now += REFRESH_AFTER - 1
    assert await keys.has(KNOWN)
    await keys.settle()
    assert keys.fetches == 1
    keys.emulator.azure.directory.key_ids = ["emulator-2"]
    keys.emulator.azure.latency = 0.2
    keys.time.now += 1
    assert all([await keys.has(KNOWN) for _ in range(10)])
    assert keys.fetching
    await keys.settle()
    assert await keys.has("emulator-2")
    assert not await keys.has(KNOWN)  # Entra took it back
    assert keys.fetches == 2


async def test_a_key_that_is_rolled_over_to_is_fetched_when_a_token_first_names_it(keys: Keys) -> None:
    keys.emulator.azure.directory.key_ids = ["emulator-2", KNOWN]
    keys.time.now += UNKNOWN_KEY_PAUSE
    assert await keys.has("emulator-2")
    assert keys.fetches == 2


async def test_an_unknown_key_id_asks_again_once_a_minute_at_most(keys: Keys) -> None:
    assert not any([await keys.has(f"{UNKNOWN}-{number}") for number in range(50)])
    keys.time.now += UNKNOWN_KEY_PAUSE - 1
    assert not await keys.has(UNKNOWN)
    assert keys.fetches == 1
    keys.time.now += 1
    assert not any(await asyncio.gather(*(keys.has(f"{UNKNOWN}-{number}") for number in range(50))))
    assert keys.fetches == 2


async def test_a_known_key_does_not_wait_for_the_fetch_that_an_unknown_one_began(keys: Keys) -> None:
    keys.time.now += UNKNOWN_KEY_PAUSE
    keys.emulator.azure.latency = 0.2
    waiting = asyncio.create_task(keys.has(UNKNOWN))
    await asyncio.sleep(0.01)
    assert await keys.has(KNOWN)
    assert not waiting.done()
    assert not await waiting


@pytest.mark.usefixtures("_impatient")
async def test_callers_of_a_silent_endpoint_wait_together_and_no_longer_than_one_fetch(fresh: Keys) -> None:
    fresh.away(kind="delay", seconds=60)
    async with asyncio.timeout(1):
        results = await asyncio.gather(*(fresh.has(KNOWN) for _ in range(50)), return_exceptions=True)
    assert {type(result) for result in results} == {SigningKeysUnavailable}
    assert fresh.fetches == 1


async def test_a_failed_fetch_is_not_repeated_for_half_a_minute(fresh: Keys) -> None:
    fault = fresh.away(status=503)
    for _ in range(10):
        with pytest.raises(SigningKeysUnavailable):
            await fresh.has(KNOWN)
    fresh.time.now += FAILURE_PAUSE - 1
    fresh.emulator.azure.faults.remove(fault)
    with pytest.raises(SigningKeysUnavailable) as unavailable:
        await fresh.has(KNOWN)
    assert unavailable.value.facts.retry_after == FAILURE_PAUSE
    assert fresh.fetches == 1
    fresh.time.now += 1
    assert await fresh.has(KNOWN)
    assert fresh.fetches == 2


async def test_known_keys_work_for_a_day_without_the_endpoint_which_is_asked_once_a_minute(
    keys: Keys,
) -> None:
    keys.away(status=503)
    for _ in range(6 * 60):
        keys.time.now += 60
        assert await keys.has(KNOWN)
        await keys.settle()
    # One try a minute from the end of the first hour on, by the calls that this test makes.
    assert keys.fetches == 1 + 5 * 60 + 1
    keys.time.now += KEEP_FOR - 6 * 3600 - 1
    assert await keys.has(KNOWN)
    await keys.settle()
    keys.time.now += 1
    with pytest.raises(SigningKeysUnavailable):
        await keys.has(KNOWN)


async def test_an_unknown_key_id_cannot_be_judged_while_the_endpoint_is_away(keys: Keys) -> None:
    keys.away(status=503)
    keys.time.now += UNKNOWN_KEY_PAUSE
    for _ in range(2):
        with pytest.raises(SigningKeysUnavailable):
            await keys.has(UNKNOWN)
    assert await keys.has(KNOWN)
    assert keys.fetches == 2


GOOD = signing_key(KNOWN).published()
NO_KEY_SETS = (
    *("", "<html>", "[]", "null", '{"keys": []}', '{"keys": {"a": 1}}', b'{"keys": "\xff"}', "[" * 100_000),
    json.dumps({"keys": [{**GOOD, "n": "!"}, 1]}),
)
ODD: list[dict[str, Any]] = [
    *({"status": 500}, {"status": 404}, {"kind": "truncate"}, {"kind": "drop"}),
    {"status": 500, "body": json.dumps({"keys": [GOOD]})},
    *({"status": 200, "body": body} for body in NO_KEY_SETS),
    {"times": 1, "status": 302, "headers": {"Location": f"/{TENANT_ID}/discovery/v2.0/keys"}},
]


async def test_an_answer_without_keys_removes_no_known_key(
    keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    keys.time.now += REFRESH_AFTER
    for fault in ODD:
        caplog.clear()
        keys.emulator.azure.faults.clear()
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


async def test_the_fetch_goes_through_the_proxy_of_the_environment(
    fresh: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def refuse(request: web.BaseRequest) -> web.Response:
        asked.append(f"{request.method} {request.raw_path}")
        return web.Response(status=403)

    proxy = web.ServerRunner(web.Server(refuse))
    await proxy.setup()
    await web.TCPSite(proxy, "127.0.0.1", 0).start()
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.addresses[0][1]}")
    monkeypatch.setenv("NO_PROXY", "")
    for name in ("https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SigningKeysUnavailable):
        await fresh.has(KNOWN)
    await proxy.cleanup()
    assert asked == [f"CONNECT {fresh.emulator.azure.directory.endpoint.removeprefix('https://')}"]


async def test_the_fetch_trusts_the_ca_file_and_nobody_else(emulator: Emulator) -> None:
    keys = Keys(emulator, CA_FILE="")
    with pytest.raises(SigningKeysUnavailable):
        await keys.has(KNOWN)
    await keys.azure.close()
    assert keys.fetches == 0


@pytest.mark.usefixtures("_impatient")
async def test_closing_ends_a_fetch_that_is_under_way(fresh: Keys) -> None:
    fresh.away(kind="delay", seconds=60)
    waiting = asyncio.create_task(fresh.has(KNOWN))
    await asyncio.sleep(0.01)
    await fresh.azure.close()
    with pytest.raises((asyncio.CancelledError, SigningKeysUnavailable)):
        await waiting
