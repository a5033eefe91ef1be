"""Health as a load balancer or a monitor reads it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emulator.faults import Fault
from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from gateway_tokens.http.health import HealthApi
from gateway_tokens.tokens import written
from tests.callers import OBJECT_ID, bearer
from tests.http.renewal_app import ALL, RenewalApp, renewal_app
from tests.http_calls import document, request, run


@pytest.fixture
async def app(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RenewalApp]:
    async with renewal_app(emulator, monkeypatch) as made:
        yield made


def ago(**span: float) -> datetime:
    return datetime.now(UTC) - timedelta(**span)


async def shown(headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Health as an app that has just begun tells it."""
    answer = await HealthApi(gateway_app.current).health(request("GET", "health", headers=headers))
    body: dict[str, Any] = document(answer)
    assert answer.status_code == (200 if body["status"] == "healthy" else 503)
    return body


async def health() -> tuple[str, list[str]]:
    """The status and every code."""
    body = await shown()
    return body["status"], [p["code"] for p in (*body["problems"], *body["warnings"])]


def reader(app: RenewalApp, *allow: str) -> dict[str, str]:
    """A caller with a bearer token and with this permission on one gateway, from the next app on."""
    access = {"caller": {"objectId": OBJECT_ID}, "gateways": ["contoso/edge-01"], "allow": list(allow)}
    app.configure([*ALL, access])
    return bearer(app.emulator)


async def test_is_green_after_a_run_and_tells_a_reader_of_each_service(app: RenewalApp) -> None:
    headers = reader(app, "read")
    await run()
    assert await health() == ("healthy", [])
    body = await shown(headers)
    assert {s["service"]: (s["rows"], s["failed"], s["atRisk"]) for s in body["services"]} == {
        "contoso": (2, 0, 0),
        "fabrikam": (1, 0, 0),
    }
    assert len(app.emulator.azure.called("blob", "GET", "/devaccount/gateway-tokens")) == 2


async def test_shows_status_and_codes_only_unless_a_token_proves_a_caller_with_read(app: RenewalApp) -> None:
    headers = reader(app, "read")
    app.emulator.azure.faults.add(Fault(host="blob", status=403, times=None))
    told = {"status": "healthy", "problems": [], "warnings": [{"code": "reports_unreadable"}]}
    for nobody in ({}, {"x-functions-key": "k"}, {"Authorization": " "}, {"Authorization": "Bearer x"}):
        assert await shown(nobody) == told
    (warning,) = (await shown(headers))["warnings"]
    assert "blob" in warning["detail"]


async def test_shows_no_details_to_a_caller_who_may_only_issue(app: RenewalApp) -> None:
    told = {"status": "unhealthy", "problems": [{"code": "no_run_yet"}], "warnings": []}
    assert await shown(reader(app, "issue", "renew")) == told


async def test_is_kept_for_ten_seconds(app: RenewalApp) -> None:
    await run()
    clock = iter([0.0, 9.9, 10.0, 10.0])
    api = HealthApi(gateway_app.current, monotonic=lambda: next(clock))
    before = len(app.emulator.azure.called("blob", "GET"))
    for _ in range(3):
        await api.health(request("GET", "health"))
    assert len(app.emulator.azure.called("blob", "GET")) - before == 2


@pytest.mark.usefixtures("short_operations")
async def test_is_red_soon_enough_for_a_probe_when_the_identity_does_not_answer(app: RenewalApp) -> None:
    never = asyncio.Event()
    app.emulator.azure.faults.add(Fault(host="identity", kind="call", times=None, action=never.wait))
    assert await asyncio.wait_for(health(), 5) == ("unhealthy", ["identity_unavailable"])
    never.set()


async def test_is_red_before_the_first_run(app: RenewalApp) -> None:
    assert await health() == ("unhealthy", ["no_run_yet"])
    assert app.writes() == []


@pytest.mark.parametrize(
    ("minutes", "found"), [(179, ("healthy", [])), (181, ("unhealthy", ["run_missing"]))]
)
@pytest.mark.parametrize("reported", [True, False])
async def test_is_red_when_a_service_had_no_run_for_three_pauses_or_none_since_the_first_run(
    app: RenewalApp, minutes: int, found: tuple[str, list[str]], *, reported: bool
) -> None:
    app.put("runs/s.json", created=ago(days=9) if reported else ago(minutes=minutes))
    if reported:
        app.put("reports/fabrikam.json", {"completed": written(ago(minutes=minutes))})
    app.put("reports/contoso.json", {"completed": written(ago(minutes=1))})
    assert await health() == found


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        ({"riskfrom": written(ago(minutes=1))}, ("unhealthy", ["token_at_risk"])),
        ({"riskfrom": written(ago(minutes=-600))}, ("healthy", [])),
        ({"atrisk": "2"}, ("unhealthy", ["token_at_risk"])),
        ({"atrisk": "many", "riskfrom": "soon", "rows": "-1"}, ("healthy", [])),
    ],
)
async def test_is_red_while_a_token_is_at_risk(
    app: RenewalApp, metadata: dict[str, str], found: tuple[str, list[str]]
) -> None:
    app.put("runs/s.json")
    app.put("reports/contoso.json", {"completed": written(ago(minutes=1)), **metadata})
    app.put("reports/fabrikam.json", {"completed": written(ago(minutes=1))})
    assert await health() == found


async def test_ignores_the_report_of_a_service_that_left_the_settings(app: RenewalApp) -> None:
    await run()
    app.put("reports/old.json", {"completed": written(ago(days=9)), "atrisk": "9"})
    assert await health() == ("healthy", [])


async def test_has_a_warning_when_the_reports_cannot_be_read(app: RenewalApp) -> None:
    app.emulator.azure.faults.add(Fault(host="blob", status=403, times=None))
    assert await health() == ("healthy", ["reports_unreadable"])


async def test_is_red_without_an_identity(app: RenewalApp) -> None:
    app.emulator.azure.faults.add(Fault(host="identity", status=400, times=None))
    assert await health() == ("unhealthy", ["identity_unavailable"])


async def test_is_red_when_the_settings_are_broken_and_leaves_the_faults_to_the_log(
    app: RenewalApp, caplog: pytest.LogCaptureFixture
) -> None:
    headers = reader(app, "read")
    app.configure(RENEWAL_SCHEDULE="now", SIGN_IN="entra")
    told = {"status": "unhealthy", "problems": [{"code": "settings_invalid"}], "warnings": []}
    assert await shown(headers) == told
    assert "RENEWAL_SCHEDULE" in caplog.text
    assert "SIGN_IN" in caplog.text
