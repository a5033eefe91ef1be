"""Status, plan, sweep and renewal over HTTP, against the emulator."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import azure.functions as func
import pytest

from emulator.faults import Fault
from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from gateway_tokens.azure.budget import Cost
from gateway_tokens.http.renewals import RenewalApi
from tests.callers import SIGN_IN_MODE, bearer
from tests.functions.renewal_app import (
    RenewalApp,
    asked,
    document,
    health,
    list_gateways,
    plan,
    renew,
    renewal_app,
    run,
)
from tests.renewal_estate import lines
from tests.served_app import read_document

DAY = timedelta(days=1)
KEY = {"functionKey": True}
Route = Callable[..., Awaitable[func.HttpResponse]]
INSTANT = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ"


@pytest.fixture
async def app(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RenewalApp]:
    async with renewal_app(emulator, monkeypatch) as made:
        yield made


def broken_vault() -> Fault:
    return Fault(host="vault", instance="fabrikam", method="PUT", status=403, times=None)


def rule(*gateways: str, allow: tuple[str, ...] = ("read", "renew"), **caller: object) -> dict[str, Any]:
    return {"caller": caller or KEY, "gateways": list(gateways), "allow": list(allow)}


def listed(answer: func.HttpResponse) -> dict[str, dict[str, Any]]:
    return {
        f"{row['service']}/{row['gatewayId']}": row
        for row in document(answer).get("report", document(answer))["listed"]
    }


def ago(**span: float) -> str:
    return (datetime.now(UTC) - timedelta(**span)).isoformat()


class TestListGateways:
    async def test_shows_every_gateway_and_what_its_destinations_hold(self, app: RenewalApp) -> None:
        app.hold("edge-01", 20 * DAY)
        answer = await list_gateways()
        assert answer.status_code == 200
        body = document(answer)
        assert body["service"] == "contoso"
        first, second, left_alone = body["gateways"]
        assert [one["gatewayId"] for one in body["gateways"]] == ["edge-01", "edge-02", "lab-01"]
        (stored,), (empty,) = first["destinations"], second["destinations"]
        assert left_alone["destinations"] == []
        assert (empty["reason"], empty["action"], empty["expiry"]) == ("not_stored", "renew", None)
        assert (stored["reason"], stored["action"], stored["keyType"]) == ("fresh", "keep", "primary")
        assert (stored["consecutiveFailures"], stored["lastFailure"], stored["error"]) == (0, None, None)
        assert stored["destination"] == f"{app.emulator.vault_url('contoso')}/secrets/edge-01-token"
        assert 20 * 86_400 - 120 < stored["secondsLeft"] <= 20 * 86_400
        assert re.fullmatch(INSTANT, stored["expiry"])
        assert re.fullmatch(INSTANT, stored["nextRenewal"])
        assert stored["nextRenewal"] < stored["expiry"]

    async def test_names_the_same_fields_for_every_destination(self, app: RenewalApp) -> None:
        app.hold("edge-01", 20 * DAY)
        gateways = document(await list_gateways())["gateways"]
        fields = {frozenset(row) for one in gateways for row in one["destinations"]}
        assert fields == {
            frozenset(
                {
                    "destination",
                    "action",
                    "lastOutcome",
                    "issuedAt",
                    "reason",
                    "message",
                    "outcome",
                    "expiry",
                    "oldExpiry",
                    "secondsLeft",
                    "nextRenewal",
                    "keyType",
                    "consecutiveFailures",
                    "lastFailure",
                    "code",
                    "error",
                }
            )
        }

    async def test_shows_how_often_and_when_a_row_failed(self, app: RenewalApp) -> None:
        app.emulator.azure.faults.add(Fault(host="vault", method="PUT", status=403, times=None))
        for _ in range(2):
            await run()
        (row,) = document(await list_gateways())["gateways"][0]["destinations"]
        assert (row["consecutiveFailures"], row["code"]) == (2, "azure_forbidden")
        assert re.fullmatch(INSTANT, row["lastFailure"])

    async def test_shows_how_the_last_try_ended(self, app: RenewalApp) -> None:
        app.emulator.azure.faults.add(Fault(host="vault", method="PUT", status=403, times=None))
        await run()
        (row,) = document(await list_gateways())["gateways"][0]["destinations"]
        assert "failed" in {row["outcome"], row.get("lastOutcome")}

    async def test_shows_the_others_when_one_destination_cannot_be_read(self, app: RenewalApp) -> None:
        app.emulator.azure.faults.add(Fault(host="vault", path="*edge-01*", status=403, times=None))
        one, other, _ = document(await list_gateways())["gateways"]
        assert (one["destinations"][0]["reason"], one["destinations"][0]["code"]) == (
            "not_observed",
            "azure_forbidden",
        )
        assert other["destinations"][0]["reason"] == "not_stored"

    async def test_shows_only_what_the_caller_may_read(self, app: RenewalApp) -> None:
        app.configure([rule("contoso/edge-02"), rule("contoso/lab-*", allow=("renew",))])
        assert [one["gatewayId"] for one in document(await list_gateways())["gateways"]] == ["edge-02"]

    async def test_holds_no_token_and_changes_nothing(self, app: RenewalApp) -> None:
        value = app.hold("edge-01", DAY)
        answer = await list_gateways()
        assert value.rpartition("&")[2] not in answer.get_body().decode()
        assert app.writes() == []

    async def test_is_forbidden_without_a_rule_for_the_service_whether_it_exists_or_not(
        self, app: RenewalApp
    ) -> None:
        app.configure([rule("contoso/*")])
        answers = [await list_gateways("fabrikam"), await list_gateways("nowhere")]
        assert [answer.status_code for answer in answers] == [403, 403]

    async def test_says_that_an_undeclared_service_does_not_exist_to_who_may_know(
        self, app: RenewalApp
    ) -> None:
        assert (answer := await list_gateways("nowhere")).status_code == 404
        assert document(answer)["code"] == "not_found"
        assert app.emulator.azure.called("arm") == []

    @pytest.mark.usefixtures("app")
    async def test_finds_a_service_in_any_case(self) -> None:
        assert document(await list_gateways("CONTOSO"))["service"] == "contoso"

    async def test_tells_azures_refusal(self, app: RenewalApp) -> None:
        app.emulator.azure.granted = set()
        answer = await list_gateways()
        assert (answer.status_code, document(answer)["code"]) == (502, "azure_forbidden")


class TestRenew:
    async def test_finds_the_gateway_in_any_case_and_writes_under_azures_own_name(
        self, app: RenewalApp
    ) -> None:
        answer = await renew("EDGE-01")
        (row,) = document(answer)["listed"]
        assert (answer.status_code, row["gatewayId"], row["outcome"]) == (200, "edge-01", "renewed")
        assert app.stored("edge-01")

    async def test_renews_one_gateway_though_it_is_fresh(self, app: RenewalApp) -> None:
        before = app.hold("edge-01", 20 * DAY)
        answer = await renew()
        assert answer.status_code == 200
        (row,) = document(answer)["listed"]
        assert (row["service"], row["gatewayId"], row["reason"], row["outcome"]) == (
            "contoso",
            "edge-01",
            "forced",
            "renewed",
        )
        assert app.stored("edge-01") != before
        assert row["expiry"] > row["oldExpiry"]
        assert app.stored("edge-02") == ""

    async def test_gives_a_token_that_the_gateway_can_sign_in_with(self, app: RenewalApp) -> None:
        await renew()
        gateway = app.services["contoso"].gateway("edge-01")
        assert gateway is not None
        assert gateway.accepts(app.stored("edge-01").removeprefix("GatewayKey "), datetime.now(UTC))

    async def test_is_not_held_back_by_earlier_failures_and_settles_them(self, app: RenewalApp) -> None:
        app.hold("edge-01", 8 * DAY)
        name = f"contoso/edge-01 -> {app.emulator.vault_url('contoso')}/secrets/edge-01-token"
        app.put_record(troubles={name: [6, ago(minutes=5), "failed", "not_found", True]})
        answer = await renew()
        assert (answer.status_code, document(answer)["counts"]) == (200, {"renewed": 1})
        assert app.record()["troubles"] == {}

    async def test_tells_a_failure_and_remembers_it(self, app: RenewalApp) -> None:
        app.emulator.azure.faults.add(broken_vault())
        answer = await renew("plant-a", "fabrikam")
        assert (answer.status_code, document(answer)["code"]) == (502, "sweep_failed")
        (row,) = document(answer)["report"]["listed"]
        assert (row["outcome"], row["code"], row["consecutiveFailures"]) == ("failed", "azure_forbidden", 1)
        assert "setSecret" in row["error"]
        assert len(app.record()["troubles"]) == 1

    async def test_does_not_count_as_a_sweep(self, app: RenewalApp) -> None:
        await renew()
        assert app.record()["completedAt"] is None

    async def test_leaves_a_line_for_its_row(self, app: RenewalApp, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO):
            await renew()
        (line,) = lines(caplog, "sweep.row")
        assert (line["gateway"], line["outcome"]) == ("edge-01", "renewed")
        assert app.stored("edge-01").rpartition("&")[2] not in caplog.text

    @pytest.mark.parametrize(
        ("service", "gateway", "status", "code"),
        [
            ("contoso", "edge-99", 404, "not_found"),
            ("nowhere", "edge-01", 404, "not_found"),
            ("contoso", "lab-01", 409, "not_managed"),
            ("fabrikam", "office", 404, "not_found"),
            ("contoso", "managed", 400, "request_invalid"),
        ],
    )
    async def test_refuses_what_it_cannot_renew(
        self, app: RenewalApp, service: str, gateway: str, status: int, code: str
    ) -> None:
        answer = await renew(gateway, service)
        assert (answer.status_code, document(answer)["code"]) == (status, code)
        assert app.emulator.azure.called("vault", "PUT") == []

    @pytest.mark.parametrize("gateway", ["edge-01", "edge-99", "lab-01"])
    async def test_looks_the_same_for_every_gateway_to_who_may_not(
        self, app: RenewalApp, gateway: str
    ) -> None:
        app.configure([rule("contoso/*", allow=("read", "issue"))])
        answer = await renew(gateway)
        assert (answer.status_code, document(answer)["code"]) == (403, "access_denied")
        assert app.emulator.azure.calls == []

    @pytest.mark.usefixtures("app")
    async def test_says_in_the_log_who_asked(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level("INFO"):
            await renew("edge-01")
        assert [line["caller"] for line in lines(caplog, "token.issued")] == ["function-key"]

    async def test_that_takes_too_long_to_find_its_gateway_goes_on_without_its_caller(
        self, app: RenewalApp
    ) -> None:
        gate = asyncio.Event()
        app.emulator.azure.faults.add(Fault(host="arm", method="GET", kind="call", action=gate.wait))
        api = RenewalApi(gateway_app.current, answer_within=0.05)
        answer = await asyncio.wait_for(
            api.renew(asked("POST", "renew", service="contoso", gatewayId="edge-01")), 2
        )
        assert answer.status_code == 202
        (running,) = api._running
        gate.set()
        assert (await running).failed == 0


class TestPlan:
    async def test_shows_what_is_due_and_why_and_executes_nothing(self, app: RenewalApp) -> None:
        app.hold("edge-01", 20 * DAY)
        app.hold("edge-02", 8 * DAY)
        answer = await plan()
        assert answer.status_code == 200
        body = document(answer)
        assert (body["rows"], body["counts"], body["notListed"]) == (3, {"keep": 1, "renew": 2}, 0)
        assert {name: (row["action"], row["reason"]) for name, row in listed(answer).items()} == {
            "contoso/edge-02": ("renew", "in_renewal_window"),
            "fabrikam/plant-a": ("renew", "not_stored"),
        }
        assert app.writes() == []
        assert app.record() == {}

    async def test_shows_only_what_the_caller_may_read(self, app: RenewalApp) -> None:
        app.configure([rule("fabrikam/*", allow=("read",)), rule("contoso/*", allow=("renew",))])
        assert set(listed(await plan())) == {"fabrikam/plant-a"}

    async def test_is_forbidden_to_who_may_read_nothing(self, app: RenewalApp) -> None:
        app.configure([rule("*/*", allow=("renew", "issue"))])
        assert (await plan()).status_code == 403
        assert app.emulator.azure.calls == []

    async def test_shows_a_service_that_cannot_be_listed(self, app: RenewalApp) -> None:
        app.emulator.azure.faults.add(
            Fault(host="arm", path="*contoso-apim/gateways", status=403, times=None)
        )
        rows = listed(await plan())
        assert (rows["contoso/*"]["reason"], rows["contoso/*"]["code"]) == ("not_listed", "azure_forbidden")
        assert rows["fabrikam/plant-a"]["reason"] == "not_stored"

    async def test_counts_what_is_at_risk(self, app: RenewalApp) -> None:
        app.hold("edge-01", DAY)
        assert document(await plan())["atRisk"] == 1

    async def test_hides_the_failures_of_services_that_the_caller_may_not_read(self, app: RenewalApp) -> None:
        app.configure([rule("fabrikam/*")])
        app.emulator.azure.faults.add(
            Fault(host="arm", path="*contoso-apim/gateways", status=403, times=None)
        )
        assert set(listed(await plan())) == {"fabrikam/plant-a"}


class TestSweep:
    async def test_renews_what_is_due_and_reports(self, app: RenewalApp) -> None:
        fresh = app.hold("edge-01", 20 * DAY)
        app.hold("edge-02", 8 * DAY)
        answer = await run()
        assert answer.status_code == 200
        body = document(answer)
        assert (body["rows"], body["counts"], body["atRisk"]) == (3, {"fresh": 1, "renewed": 2}, 0)
        assert {name: row["reason"] for name, row in listed(answer).items()} == {
            "contoso/edge-02": "in_renewal_window",
            "fabrikam/plant-a": "not_stored",
        }
        assert app.stored("edge-01") == fresh
        assert app.stored("plant-a", "fabrikam").startswith("GatewayKey plant-a&")

    async def test_issues_nothing_the_second_time(self, app: RenewalApp) -> None:
        await run()
        before = len(app.emulator.azure.called("arm", "POST"))
        assert document(await run())["counts"] == {"fresh": 3}
        assert len(app.emulator.azure.called("arm", "POST")) == before

    async def test_is_a_bad_gateway_when_a_row_failed_and_the_others_are_done(self, app: RenewalApp) -> None:
        app.emulator.azure.faults.add(broken_vault())
        answer = await run()
        assert (answer.status_code, document(answer)["code"]) == (502, "sweep_failed")
        assert document(answer)["report"]["counts"] == {"failed": 1, "renewed": 2}
        assert listed(answer)["fabrikam/plant-a"]["code"] == "azure_forbidden"
        assert app.stored("edge-01")

    async def test_is_remembered_when_the_caller_may_renew_everything(self, app: RenewalApp) -> None:
        app.configure([rule("contoso/*"), rule("fabrikam/*")])
        await run()
        assert app.record()["completedAt"]
        assert (await health()).status_code == 200

    @pytest.mark.parametrize("patterns", [["contoso/*"], ["contoso/*", "fabrikam/plant-*"]])
    async def test_of_a_part_renews_that_part_and_does_not_count_as_completed(
        self, app: RenewalApp, patterns: list[str]
    ) -> None:
        app.configure([rule(*patterns)])
        answer = await run()
        assert answer.status_code == 200
        assert ("fabrikam/plant-a" in listed(answer)) is (len(patterns) > 1)
        assert app.record()["completedAt"] is None
        assert document(await health())["problems"][0]["code"] == "no_sweep_yet"

    async def test_renews_only_what_the_caller_may_renew(self, app: RenewalApp) -> None:
        app.configure([rule("contoso/edge-02"), rule("*/*", allow=("read", "issue"))])
        assert set(listed(await run())) == {"contoso/edge-02"}
        assert (app.stored("edge-01"), app.stored("plant-a", "fabrikam")) == ("", "")

    @pytest.mark.usefixtures("app")
    async def test_says_in_the_log_who_asked(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level("INFO"):
            await run()
        assert {line["caller"] for line in lines(caplog, "token.issued")} == {"function-key"}

    async def test_is_forbidden_to_who_may_renew_nothing(self, app: RenewalApp) -> None:
        app.configure([rule("*/*", allow=("read", "issue"))])
        assert (await run()).status_code == 403
        assert app.emulator.azure.calls == []

    async def test_that_takes_too_long_for_an_answer_goes_on_without_its_caller(
        self, app: RenewalApp
    ) -> None:
        gate = asyncio.Event()
        app.emulator.azure.faults.add(Fault(host="vault", method="PUT", kind="call", action=gate.wait))
        api = RenewalApi(gateway_app.current, answer_within=0.05)
        answer = await api.sweep(asked("POST", "renewals"))
        described = read_document()["components"]["responses"]["Running"]["content"]["application/json"]
        assert (answer.status_code, document(answer)) == (202, described["example"])
        (running,) = api._running
        assert app.record() == {}
        gate.set()
        report = await running
        assert (report.total, report.failed) == (3, 0)
        assert app.record()["completedAt"]

    async def test_tells_when_it_could_not_be_remembered_though_every_row_is_done(
        self, app: RenewalApp
    ) -> None:
        app.emulator.azure.faults.add(Fault(host="blob", method="PUT", status=403, times=None))
        answer = await run()
        assert (answer.status_code, document(answer)["code"]) == (502, "azure_forbidden")
        assert app.stored("edge-01")

    async def test_leaves_lines_with_stable_names(
        self, app: RenewalApp, caplog: pytest.LogCaptureFixture
    ) -> None:
        app.emulator.azure.faults.add(broken_vault())
        with caplog.at_level(logging.INFO):
            await run()
        rows = lines(caplog, "sweep.row")
        always = {
            "event",
            "correlationId",
            "service",
            "gateway",
            "destination",
            "reason",
            "outcome",
            "atRisk",
            "consecutiveFailures",
            "level",
        }
        assert {row["outcome"]: set(row) - always for row in rows} == {
            "renewed": {"keyType", "newExpiry", "hoursLeft"},
            "failed": {"code", "error"},
        }
        (summary,) = lines(caplog, "sweep.completed")
        assert set(summary) == {
            "event",
            "correlationId",
            "level",
            "rows",
            "fresh",
            "renewed",
            "restarted",
            "not_restarted",
            "not_picked_up",
            "failed",
            "gone",
            "atRisk",
            "complete",
            "seconds",
        }
        assert {row["correlationId"] for row in rows} == {summary["correlationId"]}
        for gateway in ("edge-01", "edge-02"):
            assert app.stored(gateway).rpartition("&")[2] not in caplog.text


class TestWhoMayCall:
    CALLS = (list_gateways, renew, plan, run)

    @pytest.mark.parametrize("call", CALLS)
    async def test_nobody_without_signing_in(self, app: RenewalApp, call: Route) -> None:
        app.configure([rule("*/*", appRole="Renewer")], **SIGN_IN_MODE)
        answer = await call()
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert app.emulator.azure.calls == []

    @pytest.mark.parametrize("call", CALLS)
    async def test_nobody_with_a_token_that_another_key_signed(self, app: RenewalApp, call: Route) -> None:
        app.configure([rule("*/*", appRole="Renewer")], **SIGN_IN_MODE)
        forged = bearer(app.emulator, "Renewer")
        app.emulator.azure.directory.key_ids = ["emulator-2"]
        assert (await call(headers=forged)).status_code == 401

    @pytest.mark.parametrize("call", CALLS)
    async def test_whoever_signed_in_and_has_a_rule(self, app: RenewalApp, call: Route) -> None:
        app.configure([rule("*/*", appRole="Renewer")], **SIGN_IN_MODE)
        assert (await call(headers=bearer(app.emulator, "Renewer"))).status_code == 200
        assert (await call(headers=bearer(app.emulator, "Reader"))).status_code == 403

    @pytest.mark.parametrize("call", CALLS)
    async def test_nobody_while_the_settings_are_broken(self, app: RenewalApp, call: Route) -> None:
        app.configure(GATEWAY_TOKENS="{")
        answer = await call()
        assert (answer.status_code, document(answer)["code"]) == (500, "settings_invalid")


class TestTheCallersShareOfAzuresBudget:
    @pytest.mark.parametrize(
        ("call", "cost"),
        [
            (list_gateways, Cost.READ),
            (plan, Cost.READ),
            (run, Cost.READ),
            (renew, Cost.READ),
            (renew, Cost.WRITE),
        ],
    )
    async def test_once_it_is_used_up_a_call_is_a_429_and_nothing_is_sent(
        self, app: RenewalApp, call: Route, cost: Cost
    ) -> None:
        served = gateway_app.current()
        subscriptions = {
            service.resource_id.subscription_id for service in served.settings.estate.services.values()
        }
        bucket_and_queue = 75  # 50 reads and 25 who wait for one; 40 writes and 10 who wait
        others = [
            asyncio.create_task(served.callers_budget.spend(subscription, cost))
            for subscription in subscriptions
            for _ in range(bucket_and_queue)
        ]
        await asyncio.sleep(0)
        answer = await call()
        for other in others:
            other.cancel()
        await asyncio.wait(others)
        assert (answer.status_code, document(answer)["code"]) == (429, "too_many_requests")
        assert int(answer.headers["Retry-After"]) >= 5
        assert app.emulator.azure.called("arm", "POST") == []
