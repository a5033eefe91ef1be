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
from tests.functions.renewal_app import RenewalApp, asked, document, renewal_app, run


@pytest.fixture
async def app(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RenewalApp]:
    async with renewal_app(emulator, monkeypatch) as made:
        yield made


def ago(**span: float) -> datetime:
    return datetime.now(UTC) - timedelta(**span)


async def health() -> tuple[int, list[str]]:
    answer = await HealthApi(gateway_app.current).health(asked("GET", "health"))
    body = document(answer)
    return answer.status_code, [p["code"] for p in (*body["problems"], *body["warnings"])]


async def test_is_green_after_a_run_and_tells_of_each_service(app: RenewalApp) -> None:
    await run()
    assert await health() == (200, [])
    body = document(await HealthApi(gateway_app.current).health(asked("GET", "health")))
    assert {s["service"]: (s["rows"], s["failed"], s["atRisk"]) for s in body["services"]} == {
        "contoso": (2, 0, 0),
        "fabrikam": (1, 0, 0),
    }
    assert len(app.emulator.azure.called("blob", "GET", "/devaccount/gateway-tokens")) == 2


async def test_is_kept_for_ten_seconds(app: RenewalApp) -> None:
    await run()
    clock = iter([0.0, 9.9, 10.0, 10.0])
    api = HealthApi(gateway_app.current, monotonic=lambda: next(clock))
    before = len(app.emulator.azure.called("blob", "GET"))
    for _ in range(3):
        await api.health(asked("GET", "health"))
    assert len(app.emulator.azure.called("blob", "GET")) - before == 2


@pytest.mark.usefixtures("short_operations")
async def test_is_red_soon_enough_for_a_probe_when_the_identity_does_not_answer(app: RenewalApp) -> None:
    never = asyncio.Event()
    app.emulator.azure.faults.add(Fault(host="identity", kind="call", times=None, action=never.wait))
    assert await asyncio.wait_for(health(), 5) == (503, ["identity_unavailable"])
    never.set()


async def test_is_red_before_the_first_run(app: RenewalApp) -> None:
    assert await health() == (503, ["no_run_yet"])
    assert app.writes() == []


@pytest.mark.parametrize(("minutes", "found"), [(179, (200, [])), (181, (503, ["run_missing"]))])
async def test_is_red_when_a_service_had_no_run_for_three_pauses(
    app: RenewalApp, minutes: int, found: tuple[int, list[str]]
) -> None:
    app.put("runs/s.json", created=ago(days=9))
    for service, completed in (("contoso", ago(minutes=minutes)), ("fabrikam", ago(minutes=1))):
        app.put(f"reports/{service}.json", {"completed": written(completed)})
    assert await health() == found


@pytest.mark.parametrize(("minutes", "found"), [(179, (200, [])), (181, (503, ["run_missing"]))])
async def test_is_red_when_a_service_has_no_report_three_pauses_after_the_first_run(
    app: RenewalApp, minutes: int, found: tuple[int, list[str]]
) -> None:
    app.put("runs/s.json", created=ago(minutes=minutes))
    app.put("reports/contoso.json", {"completed": written(ago(minutes=1))})
    assert await health() == found


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        ({"riskfrom": written(ago(minutes=1))}, (503, ["token_at_risk"])),
        ({"riskfrom": written(ago(minutes=-600))}, (200, [])),
        ({"atrisk": "2"}, (503, ["token_at_risk"])),
        ({"atrisk": "many", "riskfrom": "soon", "rows": "-1"}, (200, [])),
    ],
)
async def test_is_red_while_a_token_is_at_risk(
    app: RenewalApp, metadata: dict[str, str], found: tuple[int, list[str]]
) -> None:
    app.put("runs/s.json")
    app.put("reports/contoso.json", {"completed": written(ago(minutes=1)), **metadata})
    app.put("reports/fabrikam.json", {"completed": written(ago(minutes=1))})
    assert await health() == found


async def test_ignores_the_report_of_a_service_that_left_the_settings(app: RenewalApp) -> None:
    await run()
    app.put("reports/old.json", {"completed": written(ago(days=9)), "atrisk": "9"})
    assert await health() == (200, [])


async def test_has_a_warning_when_the_reports_cannot_be_read(app: RenewalApp) -> None:
    app.emulator.azure.faults.add(Fault(host="blob", status=403, times=None))
    assert await health() == (200, ["reports_unreadable"])


async def test_is_red_without_an_identity(app: RenewalApp) -> None:
    app.emulator.azure.faults.add(Fault(host="identity", status=400, times=None))
    assert await health() == (503, ["identity_unavailable"])


async def test_is_red_with_every_fault_of_the_settings(app: RenewalApp) -> None:
    app.configure(RENEWAL_SCHEDULE="now", SIGN_IN="entra")
    assert await health() == (503, ["settings_invalid", "settings_invalid"])
