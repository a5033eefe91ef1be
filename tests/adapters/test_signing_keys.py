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
from tests import estate
from tests.fake_time import FakeTime

KNOWN, UNKNOWN = "emulator-1", "made-up"
REFRESH_AFTER, KEEP_FOR, UNKNOWN_KEY_PAUSE, FAILURE_PAUSE = 3600, 24 * 3600, 60, 30


def away(**fault: Any) -> Fault:  # noqa: ANN401 - a fault's own fields
    """The endpoint fails in this way for good."""
    return Fault(**{"host": "login", "times": None, **fault})


def address_of(emulator: Emulator) -> str:
    """Where the emulator's tenant publishes its keys."""
    return f"{emulator.azure.directory.endpoint}/{TENANT_ID}/discovery/v2.0/keys"


class Keys:
    """The app's signing keys on a clock that a test moves."""

    def __init__(self, emulator: Emulator) -> None:
        settings = read_settings(estate.environment(emulator))
        self._address = address_of(emulator)
        self.emulator, self.time = emulator, FakeTime()
        self.azure = AzureAccess(settings, monotonic=self.time.monotonic)

    async def has(self, key_id: str) -> bool:
        """Whether Entra has the key, as the app is told. Raises SigningKeysUnavailable."""
        return await self.azure.signing_keys(self._address).key(key_id) is not None

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
async def keys(emulator: Emulator) -> AsyncIterator[Keys]:
    opened = Keys(emulator)
    yield opened
    await opened.azure.close()


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "FETCH_TIMEOUT", 0.05)


async def test_callers_who_come_together_share_one_fetch(keys: Keys) -> None:
    keys.emulator.azure.latency = 0.02
    assert all(await asyncio.gather(*(keys.has(KNOWN) for _ in range(50))))
    assert keys.fetches == 1


async def test_a_caller_who_gives_up_does_not_end_the_fetch_of_the_others(keys: Keys) -> None:
    keys.emulator.azure.latency = 0.05
    hasty, patient = asyncio.create_task(keys.has(KNOWN)), asyncio.create_task(keys.has(KNOWN))
    await asyncio.sleep(0.01)
    hasty.cancel()
    assert await patient
    assert keys.fetches == 1


async def test_keys_are_not_fetched_again_before_an_hour(keys: Keys) -> None:
    await keys.has(KNOWN)
    keys.time.now += REFRESH_AFTER - 1
    assert await keys.has(KNOWN)
    await keys.settle()
    assert keys.fetches == 1


async def test_after_an_hour_they_are_fetched_in_the_background_and_nobody_waits(keys: Keys) -> None:
    await keys.has(KNOWN)
    keys.emulator.azure.directory.key_ids = ["emulator-2"]
    keys.emulator.azure.latency = 0.2
    keys.time.now += REFRESH_AFTER
    assert all([await keys.has(KNOWN) for _ in range(10)])
    assert keys.fetching
    await keys.settle()
    assert await keys.has("emulator-2")
    assert not await keys.has(KNOWN)  # Entra took it back
    assert keys.fetches == 2


async def test_a_key_that_is_rolled_over_to_is_fetched_when_a_token_first_names_it(keys: Keys) -> None:
    await keys.has(KNOWN)
    keys.emulator.azure.directory.key_ids = ["emulator-2", KNOWN]
    keys.time.now += UNKNOWN_KEY_PAUSE
    assert await keys.has("emulator-2")
    assert keys.fetches == 2


async def test_an_unknown_key_id_asks_again_once_a_minute_at_most(keys: Keys) -> None:
    assert await keys.has(KNOWN)
    assert not any([await keys.has(f"{UNKNOWN}-{number}") for number in range(50)])
    assert keys.fetches == 1
    keys.time.now += UNKNOWN_KEY_PAUSE - 1
    assert not await keys.has(UNKNOWN)
    assert keys.fetches == 1
    keys.time.now += 1
    assert not any(await asyncio.gather(*(keys.has(f"{UNKNOWN}-{number}") for number in range(50))))
    assert keys.fetches == 2


async def test_a_known_key_does_not_wait_for_the_fetch_that_an_unknown_one_began(keys: Keys) -> None:
    await keys.has(KNOWN)
    keys.time.now += UNKNOWN_KEY_PAUSE
    keys.emulator.azure.latency = 0.2
    waiting = asyncio.create_task(keys.has(UNKNOWN))
    await asyncio.sleep(0.01)
    assert await keys.has(KNOWN)
    assert not waiting.done()
    assert not await waiting


@pytest.mark.usefixtures("_impatient")
async def test_callers_of_a_silent_endpoint_wait_together_and_no_longer_than_one_fetch(keys: Keys) -> None:
    keys.emulator.azure.faults.add(away(kind="delay", seconds=60))
    before = asyncio.get_running_loop().time()
    results = await asyncio.gather(*(keys.has(KNOWN) for _ in range(50)), return_exceptions=True)
    assert {type(result) for result in results} == {SigningKeysUnavailable}
    assert asyncio.get_running_loop().time() - before < 1
    assert keys.fetches == 1


async def test_a_failed_fetch_is_not_repeated_for_half_a_minute(keys: Keys) -> None:
    fault = keys.emulator.azure.faults.add(away(status=503))
    for _ in range(10):
        with pytest.raises(SigningKeysUnavailable):
            await keys.has(KNOWN)
    keys.time.now += FAILURE_PAUSE - 1
    keys.emulator.azure.faults.remove(fault)
    with pytest.raises(SigningKeysUnavailable) as unavailable:
        await keys.has(KNOWN)
    assert unavailable.value.facts.retry_after == FAILURE_PAUSE
    assert keys.fetches == 1
    keys.time.now += 1
    assert await keys.has(KNOWN)
    assert keys.fetches == 2


async def test_known_keys_work_while_the_endpoint_is_away_for_six_hours(keys: Keys) -> None:
    await keys.has(KNOWN)
    keys.emulator.azure.faults.add(away(status=503))
    for _ in range(6 * 60):
        keys.time.now += 60
        assert await keys.has(KNOWN)
        await keys.settle()
    # One try a minute from the end of the first hour on, by the calls that this test makes.
    assert keys.fetches == 1 + 5 * 60 + 1


async def test_an_unknown_key_id_cannot_be_judged_while_the_endpoint_is_away(keys: Keys) -> None:
    await keys.has(KNOWN)
    keys.emulator.azure.faults.add(away(status=503))
    keys.time.now += UNKNOWN_KEY_PAUSE
    for _ in range(2):
        with pytest.raises(SigningKeysUnavailable):
            await keys.has(UNKNOWN)
    assert await keys.has(KNOWN)
    assert keys.fetches == 2


@pytest.mark.parametrize(("age", "kept"), [(KEEP_FOR - 1, True), (KEEP_FOR, False)])
async def test_keys_are_kept_for_a_day_without_the_endpoint(keys: Keys, age: float, kept: bool) -> None:  # noqa: FBT001 - a table's column
    await keys.has(KNOWN)
    keys.emulator.azure.faults.add(away(kind="drop"))
    keys.time.now += age
    if kept:
        assert await keys.has(KNOWN)
        await keys.settle()
    else:
        with pytest.raises(SigningKeysUnavailable):
            await keys.has(KNOWN)


GOOD = signing_key(KNOWN).published()
ODD: list[dict[str, Any]] = [
    *({"status": 500}, {"status": 404}, {"kind": "truncate"}, {"kind": "drop"}),
    {"status": 500, "body": json.dumps({"keys": [GOOD]})},
    *(
        {"status": 200, "body": body}
        for body in ("", "<html>", "[]", "null", '{"keys": []}', '{"keys": {"a": 1}}')
    ),
    *({"status": 200, "body": body} for body in (b'{"keys": "\xff"}', "[" * 100_000)),
    {"status": 200, "body": json.dumps({"keys": [{**GOOD, "n": "!"}, 1]})},
    {"times": 1, "status": 302, "headers": {"Location": f"/{TENANT_ID}/discovery/v2.0/keys"}},
]


async def test_an_answer_without_keys_removes_no_known_key(
    keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    await keys.has(KNOWN)
    keys.time.now += REFRESH_AFTER
    for fault in ODD:
        caplog.clear()
        keys.emulator.azure.faults.clear()
        keys.emulator.azure.faults.add(away(**fault))
        keys.time.now += FAILURE_PAUSE
        assert await keys.has(KNOWN)
        await keys.settle()
        assert await keys.has(KNOWN), fault
        assert caplog.text.count("signing_keys.failed") == 1, fault


async def test_keys_that_cannot_be_used_are_passed_over(keys: Keys) -> None:
    mixed = [1, {"kty": "XYZ"}, {**GOOD, "kid": None}, {**GOOD, "kid": ["x"]}, GOOD]
    body = json.dumps({"keys": mixed})
    keys.emulator.azure.faults.add(away(status=200, body=body))
    assert await keys.has(KNOWN)


async def test_the_fetch_goes_through_the_proxy_of_the_environment(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
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
        await keys.has(KNOWN)
    await proxy.cleanup()
    assert asked == [f"CONNECT {keys.emulator.azure.directory.endpoint.removeprefix('https://')}"]


async def test_the_fetch_trusts_the_ca_file_and_nobody_else(emulator: Emulator) -> None:
    azure = AzureAccess(read_settings(estate.environment(emulator, CA_FILE="")))
    with pytest.raises(SigningKeysUnavailable):
        await azure.signing_keys(address_of(emulator)).key(KNOWN)
    await azure.close()
    assert emulator.azure.called("login") == []


@pytest.mark.usefixtures("_impatient")
async def test_closing_ends_a_fetch_that_is_under_way(keys: Keys) -> None:
    keys.emulator.azure.faults.add(away(kind="delay", seconds=60))
    waiting = asyncio.create_task(keys.has(KNOWN))
    await asyncio.sleep(0.01)
    await keys.azure.close()
    with pytest.raises((asyncio.CancelledError, SigningKeysUnavailable)):
        await waiting
