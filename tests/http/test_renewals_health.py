"""Health as a load balancer or a monitor reads it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emulator.faults import Fault
from gateway_tokens import app as gateway_app
from gateway_tokens.http.health import HealthApi
from gateway_tokens.tokens import written
from tests.callers import OBJECT_ID, bearer, rule
from tests.http.renewal_app import ALL, RenewalApp
from tests.http_calls import Texts, document, request, run


def ago(**span: float) -> datetime:
    return datetime.now(UTC) - timedelta(**span)


async def shown(headers: Texts | None = None) -> dict[str, Any]:
    """Health as an app that has just begun tells it."""
    answer = await HealthApi(gateway_app.current).health(request("health", headers=headers))
    body: dict[str, Any] = document(answer)
    assert answer.status_code == (200 if body["status"] == "healthy" else 503)
    return body


async def health() -> tuple[str, list[str]]:
    """The status and every code."""
    body = await shown()
    return body["status"], [p["code"] for p in (*body["problems"], *body["warnings"])]


def reader(estate: RenewalApp, *allow: str) -> dict[str, str]:
    """A caller with a bearer token and with this permission on one gateway, from the next app on."""
    estate.configure(ALL, rule("contoso/edge-01", allow=allow, objectId=OBJECT_ID))
    return bearer(estate.emulator)


def put(estate: RenewalApp, name: str, metadata: dict[str, str], created: datetime | None = None) -> None:
    """Leave a blob as a run would have, begun at that time."""
    blobs = estate.emulator.azure.blobs
    blobs.put("gateway-tokens", name, b"{}", datetime.now(UTC), metadata=metadata)
    blobs.containers["gateway-tokens"][name].created = created or datetime.now(UTC)


async def test_is_green_after_a_run_and_tells_a_reader_of_each_service(estate: RenewalApp) -> None:
    headers = reader(estate, "read")
    await run()
    put(estate, "reports/left.json", {"completed": written(ago(days=9)), "atrisk": "9"})
    assert await health() == ("healthy", [])
    body = await shown(headers)
    assert {s["service"]: (s["rows"], s["failed"], s["atRisk"]) for s in body["services"]} == {
        "contoso": (2, 0, 0),
        "fabrikam": (1, 0, 0),
    }
    assert len(estate.emulator.azure.called("blob", "GET", "/devaccount/gateway-tokens")) == 2


async def test_shows_status_and_codes_only_unless_a_token_proves_a_caller_with_read(
    estate: RenewalApp,
) -> None:
    headers = reader(estate, "read")
    estate.emulator.azure.faults.add(Fault(host="blob", status=403, times=None))
    document = {"status": "healthy", "problems": [], "warnings": [{"code": "reports_unreadable"}]}
    for nobody in ({}, {"x-functions-key": "k"}, {"Authorization": " "}, {"Authorization": "Bearer x"}):
        assert await shown(nobody) == document
    (warning,) = (await shown(headers))["warnings"]
    assert "blob" in warning["detail"]


async def test_is_red_before_the_first_run_and_shows_no_details_to_a_caller_who_may_only_issue(
    estate: RenewalApp,
) -> None:
    document = {"status": "unhealthy", "problems": [{"code": "no_run_yet"}], "warnings": []}
    assert await shown(reader(estate, "issue", "renew")) == document
    assert estate.writes() == []


async def test_is_kept_for_ten_seconds(estate: RenewalApp) -> None:
    await run()
    clock = iter([0.0, 9.9, 10.0, 10.0])
    api = HealthApi(gateway_app.current, monotonic=lambda: next(clock))
    before = len(estate.emulator.azure.called("blob", "GET"))
    for _ in range(3):
        await api.health(request("health"))
    assert len(estate.emulator.azure.called("blob", "GET")) - before == 2


@pytest.mark.usefixtures("short_operations")
async def test_is_red_soon_enough_for_a_probe_when_the_identity_does_not_answer(estate: RenewalApp) -> None:
    never = asyncio.Event()
    estate.emulator.azure.faults.add(Fault(host="identity", kind="call", times=None, action=never.wait))
    assert await asyncio.wait_for(health(), 5) == ("unhealthy", ["identity_unavailable"])
    never.set()


@pytest.mark.parametrize(
    ("began", "report", "codes"),
    [
        (179, {}, []),
        (181, {}, ["run_missing"]),
        (9999, {"completed": 179}, []),
        (9999, {"completed": 181}, ["run_missing"]),
        (1, {"completed": 1, "riskfrom": 1}, ["token_at_risk"]),
        (1, {"completed": 1, "riskfrom": -600}, []),
        (1, {"completed": 1, "atrisk": "2"}, ["token_at_risk"]),
        (1, {"completed": 1, "atrisk": "many", "riskfrom": "soon", "rows": "-1"}, []),
    ],
)
async def test_is_red_while_a_token_is_at_risk_or_when_three_pauses_passed_since_a_services_last_run_or_the_first(
    estate: RenewalApp, began: int, report: dict[str, int | str], codes: list[str]
) -> None:
    """A number is that many minutes ago."""
    metadata = {name: at if isinstance(at, str) else written(ago(minutes=at)) for name, at in report.items()}
    put(estate, "runs/s.json", {}, created=ago(minutes=began))
    put(estate, "reports/contoso.json", {"completed": written(ago(minutes=1))})
    put(estate, "reports/fabrikam.json", metadata)
    assert await health() == ("unhealthy" if codes else "healthy", codes)
