"""Health as a load balancer or a monitor reads it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from emulator.faults import Fault
from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from gateway_tokens.http.health import HealthApi
from gateway_tokens.tokens import written
from tests.functions.renewal_app import RenewalApp, asked, document, health, renew, renewal_app, run


@pytest.fixture
async def app(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RenewalApp]:
    async with renewal_app(emulator, monkeypatch) as made:
        yield made


def at(**ago: float) -> str:
    return (datetime.now(UTC) - timedelta(**ago)).isoformat()


async def seen() -> tuple[int, list[str]]:
    answer = await health()
    return answer.status_code, [problem["code"] for problem in document(answer)["problems"]]


async def test_is_green_after_a_sweep_and_tells_of_it(app: RenewalApp) -> None:
    await run()
    answer = await health()
    body = document(answer)
    assert (answer.status_code, body["status"], body["problems"]) == (200, "healthy", [])
    assert body["lastSweep"]["completedAt"] == written(datetime.fromisoformat(app.record()["completedAt"]))
    assert body["lastSweep"]["rows"] == {"renewed": 3}


@pytest.mark.usefixtures("short_operations")
@pytest.mark.parametrize("silent", ["blob", "identity"])
async def test_is_red_soon_enough_for_a_probe_when_something_does_not_answer(
    app: RenewalApp, silent: str
) -> None:
    never = asyncio.Event()
    app.emulator.azure.faults.add(Fault(host=silent, kind="call", times=None, action=never.wait))
    api = HealthApi(gateway_app.current)
    answer = await asyncio.wait_for(api.health(asked("GET", "health")), 5)
    never.set()
    assert answer.status_code == 503


async def test_is_red_before_the_first_sweep(app: RenewalApp) -> None:
    assert await seen() == (503, ["no_sweep_yet"])
    assert app.writes() == []


@pytest.mark.parametrize(("minutes", "found"), [(179, (200, [])), (181, (503, ["sweep_missing"]))])
async def test_is_red_when_no_sweep_completed_for_three_intervals(
    app: RenewalApp, minutes: int, found: tuple[int, list[str]]
) -> None:
    app.put_record(completedAt=at(minutes=minutes))
    assert await seen() == found


@pytest.mark.parametrize(("minutes", "found"), [(1, (503, ["token_at_risk"])), (-1, (200, []))])
async def test_is_red_once_a_token_that_was_well_is_at_risk(
    app: RenewalApp, minutes: int, found: tuple[int, list[str]]
) -> None:
    app.put_record(completedAt=at(minutes=5), riskBegins=at(minutes=minutes))
    assert await seen() == found


async def test_is_red_while_a_token_in_its_window_cannot_be_renewed(app: RenewalApp) -> None:
    app.hold("plant-a", timedelta(days=8), "fabrikam")
    fault = Fault(host="vault", instance="fabrikam", method="PUT", status=403, times=None)
    app.emulator.azure.faults.add(fault)
    await run()
    assert await seen() == (503, ["token_at_risk"])
    app.emulator.azure.faults.remove(fault)
    await renew("plant-a", "fabrikam")
    assert await seen() == (200, [])


async def test_is_red_when_its_storage_refuses(app: RenewalApp) -> None:
    app.emulator.azure.faults.add(Fault(host="blob", status=403, times=None))
    assert await seen() == (503, ["azure_forbidden"])


async def test_is_red_when_its_storage_has_no_such_container(app: RenewalApp) -> None:
    app.configure(STATE_CONTAINER_URL=app.emulator.container_url + "-x")
    assert await seen() == (503, ["azure_not_found"])


async def test_is_red_without_an_identity(app: RenewalApp) -> None:
    app.emulator.azure.faults.add(Fault(host="identity", status=400, times=None))
    assert await seen() == (503, ["identity_unavailable"])


async def test_is_red_with_every_fault_of_the_settings(app: RenewalApp) -> None:
    app.configure(RENEWAL_SCHEDULE="now", SIGN_IN="entra")
    assert await seen() == (503, ["settings_invalid", "settings_invalid"])
