"""Status, plan, runs and renewal over HTTP, against the emulator."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import azure.functions as func
import pytest

from emulator.faults import Fault
from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from gateway_tokens.azure.clients import Cost
from gateway_tokens.http import renewals
from gateway_tokens.tokens import written
from tests.callers import SIGN_IN_MODE, bearer
from tests.http.renewal_app import RenewalApp, renewal_app
from tests.http_calls import (
    ask,
    carry_out,
    code_of,
    document,
    list_gateways,
    plan,
    renew,
    revoke,
    run,
    show_run,
)
from tests.renewal_estate import CONTOSO, FABRIKAM, lines

DAY = timedelta(days=1)
KEY = {"functionKey": True}
Route = Callable[..., Awaitable[func.HttpResponse]]
INSTANT = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ"
FIELDS = {
    "destination", "action", "reason", "message", "outcome", "lastOutcome", "issuedAt", "expiry", "oldExpiry",
    "secondsLeft", "nextRenewal", "keyType", "failingSince", "code", "error",
}  # fmt: skip


@pytest.fixture
async def app(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RenewalApp]:
    async with renewal_app(emulator, monkeypatch) as made:
        yield made


def a_freeze(begins: datetime) -> dict[str, str]:
    return {"from": written(begins), "to": written(begins + 14 * DAY), "reason": "Year end"}


def broken_vault() -> Fault:
    return Fault(host="vault", instance="fabrikam", method="PUT", status=403, times=None)


def rule(*gateways: str, allow: tuple[str, ...] = ("read", "renew"), **caller: object) -> dict[str, Any]:
    return {"caller": caller or KEY, "gateways": list(gateways), "allow": list(allow)}


def listed(answer: func.HttpResponse) -> dict[str, dict[str, Any]]:
    body = document(answer).get("report", document(answer))
    return {f"{row['service']}/{row['gatewayId']}": row for row in body["listed"]}


class TestListGateways:
    async def test_shows_every_gateway_and_what_its_destinations_hold(self, app: RenewalApp) -> None:
        app.hold("edge-01", 20 * DAY)
        body = document(await list_gateways())
        assert body["service"] == "contoso"
        first, second, left_alone = body["gateways"]
        assert [gateway["gatewayId"] for gateway in body["gateways"]] == ["edge-01", "edge-02", "lab-01"]
        (stored,), (empty,) = first["destinations"], second["destinations"]
        assert left_alone["destinations"] == []
        assert (empty["reason"], empty["action"], empty["expiry"]) == ("not_stored", "renew", None)
        assert (stored["reason"], stored["action"], stored["keyType"]) == ("fresh", "keep", "primary")
        assert stored["destination"] == f"{app.emulator.vault_url('contoso')}/secrets/edge-01-token"
        assert 20 * 86_400 - 120 < stored["secondsLeft"] <= 20 * 86_400
        assert re.fullmatch(INSTANT, stored["nextRenewal"])
        assert stored["nextRenewal"] < stored["expiry"]
        assert set(stored) == set(empty) == FIELDS

    async def test_shows_how_the_last_run_failed_and_since_when(self, app: RenewalApp) -> None:
        app.emulator.azure.faults.add(Fault(host="vault", method="PUT", status=403, times=None))
        await run()
        (row,) = document(await list_gateways())["gateways"][0]["destinations"]
        assert (row["outcome"], row["lastOutcome"], row["code"]) == (None, "failed", "azure_forbidden")
        assert re.fullmatch(INSTANT, row["failingSince"])

    async def test_shows_the_others_when_one_destination_cannot_be_read(self, app: RenewalApp) -> None:
        app.emulator.azure.faults.add(Fault(host="vault", path="*edge-01*", status=403, times=None))
        (broken,), (well,) = (g["destinations"] for g in document(await list_gateways())["gateways"][:2])
        assert (broken["action"], broken["reason"], broken["code"]) == (None, "not_read", "azure_forbidden")
        assert well["reason"] == "not_stored"

    async def test_shows_only_what_the_caller_may_read(self, app: RenewalApp) -> None:
        app.configure([rule("contoso/edge-02"), rule("contoso/lab-*", allow=("renew",))])
        assert [g["gatewayId"] for g in document(await list_gateways())["gateways"]] == ["edge-02"]

    async def test_holds_no_token_and_changes_nothing(self, app: RenewalApp) -> None:
        value = app.hold("edge-01", DAY)
        answer = await list_gateways()
        assert value.rpartition("&")[2] not in answer.get_body().decode()
        assert app.writes() == []

    async def test_is_forbidden_without_a_rule_whether_the_service_exists_or_not(
        self, app: RenewalApp
    ) -> None:
        assert (await list_gateways("nowhere")).status_code == 404
        await gateway_app.forget()
        app.configure([rule("contoso/*")])
        answers = [await list_gateways("fabrikam"), await list_gateways("nowhere")]
        assert [answer.status_code for answer in answers] == [403, 403]


class TestPlan:
    async def test_shows_what_a_run_would_do_and_does_nothing(self, app: RenewalApp) -> None:
        app.hold("edge-01", 20 * DAY)
        app.hold("edge-02", 5 * DAY)
        answer = await plan()
        assert document(answer)["counts"] == {"keep": 1, "renew": 2}
        assert {name: row["reason"] for name, row in listed(answer).items()} == {
            "contoso/edge-02": "in_renewal_window",
            "fabrikam/plant-a": "not_stored",
        }
        assert app.writes() == []

    @pytest.mark.usefixtures("app")
    async def test_shows_the_last_run_of_each_service(self) -> None:
        ran = document(await run())["run"]
        services = {service["service"]: service for service in document(await plan())["services"]}
        assert {name: service["run"] for name, service in services.items()} == {
            "contoso": ran,
            "fabrikam": ran,
        }
        assert re.fullmatch(INSTANT, services["contoso"]["completedAt"])

    async def test_counts_what_is_at_risk(self, app: RenewalApp) -> None:
        app.hold("edge-01", 4 * DAY)
        app.hold("edge-02", 6 * DAY)
        assert document(await plan())["atRisk"] == 1

    async def test_shows_only_what_the_caller_may_read(self, app: RenewalApp) -> None:
        app.configure([rule("contoso/edge-02")])
        answer = await plan()
        assert set(listed(answer)) == {"contoso/edge-02"}
        assert [service["service"] for service in document(answer)["services"]] == ["contoso"]

    async def test_goes_on_when_a_service_cannot_be_listed(self, app: RenewalApp) -> None:
        app.emulator.azure.faults.add(
            Fault(host="arm", path="*/contoso-apim/gateways", status=403, times=None)
        )
        shown = listed(await plan())
        assert {name: row["reason"] for name, row in shown.items()} == {
            "contoso/*": "not_listed",
            "fabrikam/plant-a": "not_stored",
        }

    async def test_says_in_a_freeze_that_it_is_frozen_why_and_until_when(self, app: RenewalApp) -> None:
        now = datetime.now(UTC)
        app.estate = {"freeze": [a_freeze(now + 90 * DAY), a_freeze(now - DAY)]}
        app.configure()
        app.hold("edge-01", 6 * DAY)
        answer = await plan()
        freeze = document(answer)["freeze"]
        assert (freeze["frozen"], freeze["reason"], freeze["message"]) == (True, "Year end", None)
        assert freeze["to"] == written(now + 13 * DAY)
        row = listed(answer)["contoso/edge-01"]
        assert (row["action"], row["reason"]) == ("wait", "in_renewal_window")
        assert f"(until {now + 13 * DAY:%Y-%m-%d %H:%M} UTC: Year end)" in row["message"]

    async def test_proposes_in_the_week_before_a_freeze_to_renew_what_would_be_at_risk_in_it(
        self, app: RenewalApp
    ) -> None:
        app.hold("edge-01", 24 * DAY)  # at risk five days before its end, when the freeze has ended
        app.hold("edge-02", 22 * DAY)
        freeze: dict[str, Any] = {}
        for days, proposed in ((8, False), (4, True)):
            await gateway_app.forget()
            app.estate = {"freeze": [a_freeze(datetime.now(UTC) + days * DAY)]}
            app.configure()
            freeze = document(await plan())["freeze"]
            assert freeze["frozen"] is False
            assert bool(freeze["message"]) == proposed
        stored = app.stored("edge-01"), app.stored("edge-02")
        expires_before = re.search(r'"expiresBefore": "(.*)"', freeze["message"])
        assert expires_before is not None
        _, messages = await ask(body={"expiresBefore": expires_before[1]})
        await carry_out(messages)
        assert app.stored("edge-01") == stored[0]
        assert app.stored("edge-02") != stored[1]

    async def test_lists_a_paused_gateway_that_is_at_risk(self, app: RenewalApp) -> None:
        app.estate = {"defaults": {"pause": {"until": "2999-01-01T00:00:00Z", "reason": "Moves"}}}
        app.configure()
        app.hold("edge-01", 2 * DAY)
        app.hold("edge-02", 20 * DAY)
        answer = await plan()
        assert [row["reason"] for row in listed(answer).values()] == ["paused"]
        assert document(answer)["atRisk"] == 1
        assert (await renew("edge-01")).status_code == 409


class TestRun:
    async def test_is_asked_for_with_one_message_per_subscription(self, app: RenewalApp) -> None:
        answer, messages = await ask()
        assert (answer.status_code, app.writes()) == (202, [])
        body = document(answer)
        requests = [json.loads(message) for message in messages]
        assert [r["subscription"] for r in requests] == body["subscriptions"]
        assert body["subscriptions"] == [CONTOSO.subscription_id, FABRIKAM.subscription_id]
        assert {(r["run"], r["askedBy"], tuple(r["gateways"])) for r in requests} == {
            (body["run"], "function-key", ("*/*",))
        }

    @pytest.mark.usefixtures("app")
    async def test_says_that_what_is_asked_for_does_not_wait_for_windows(self) -> None:
        for body, said in (
            ({}, False),
            ({"force": True}, True),
            ({"expiresBefore": "2999-01-01T00:00:00Z"}, True),
        ):
            answer, _ = await ask(body=body)
            assert bool(document(answer)["message"]) == said

    async def test_may_be_about_some_gateways_and_tokens_that_are_not_due(self, app: RenewalApp) -> None:
        app.hold("edge-01", 20 * DAY)
        app.hold("edge-02", 20 * DAY)
        _, messages = await ask(body={"gateways": ["contoso/edge-01"], "force": True})
        await carry_out(messages)
        assert "202" in app.stored("edge-01")
        secrets = [
            app.emulator.azure.vault("contoso").secret(f"{name}-token") for name in ("edge-01", "edge-02")
        ]
        assert [len(secret.versions) for secret in secrets if secret] == [2, 1]

    async def test_is_narrowed_to_what_the_caller_may_renew(self, app: RenewalApp) -> None:
        app.configure([rule("contoso/edge-01"), rule("fabrikam/*", allow=("read",))])
        answer, messages = await ask()
        assert document(answer)["subscriptions"] == [CONTOSO.subscription_id]
        assert [tuple(json.loads(message)["gateways"]) for message in messages] == [("contoso/edge-01",)]
        await carry_out(messages)
        assert app.stored("edge-01")
        assert app.stored("edge-02") == app.stored("plant-a", "fabrikam") == ""

    async def test_within_a_callers_pattern_stays_within_the_wish(self, app: RenewalApp) -> None:
        app.configure([rule("contoso/*")])
        _, messages = await ask(body={"gateways": ["contoso/edge-*", "fabrikam/plant-a"]})
        assert {tuple(json.loads(message)["gateways"]) for message in messages} == {("contoso/edge-*",)}

    async def test_of_some_gateways_does_not_list_the_other_services(self, app: RenewalApp) -> None:
        _, messages = await ask(body={"gateways": ["contoso/edge-*"]})
        await carry_out(messages)
        listed = {call.path for call in app.emulator.azure.called("arm", "GET")}
        assert any("contoso" in path for path in listed)
        assert not any("fabrikam" in path for path in listed)

    @pytest.mark.parametrize("access", [rule("contoso/*"), rule("*/*", allow=("read", "issue"))])
    async def test_is_forbidden_where_the_caller_may_renew_none_of_the_gateways(
        self, app: RenewalApp, access: dict[str, Any]
    ) -> None:
        app.configure([access])
        answer, messages = await ask(body={"gateways": ["fabrikam/*", "fabrikam/plant-a"]})
        assert (answer.status_code, messages) == (403, [])

    @pytest.mark.usefixtures("app")
    async def test_that_is_asked_for_wrongly_is_a_400_and_no_message(self) -> None:
        wrong: list[object] = [[], {"force": "yes"}, {"gateways": []}, {"gateways": ["edge"]}, {"wanted": 1}]
        for body in wrong:
            answer, messages = await ask(body=body)
            assert (answer.status_code, messages) == (400, [])

    async def test_is_found_by_its_id_or_by_that_of_the_run_that_took_its_place(
        self, app: RenewalApp
    ) -> None:
        (first, messages), (second, later) = await ask(), await ask()
        await carry_out([*messages, *later])
        ids = [document(answer)["run"] for answer in (first, second)]
        states = [document(await show_run(run)) for run in ids]
        assert [state["run"] for state in states] == ids
        assert [{s["run"] for s in state["subscriptions"]} for state in states] == [{ids[0]}, {ids[0]}]
        assert [{s["service"] for s in state["services"]} for state in states] == [
            {"contoso", "fabrikam"}
        ] * 2
        await gateway_app.forget()
        app.configure([rule("contoso/edge-01")])
        state = document(await show_run(ids[0]))
        assert [s["subscription"] for s in state["subscriptions"]] == [CONTOSO.subscription_id]
        assert [s["service"] for s in state["services"]] == ["contoso"]

    async def test_that_nobody_asked_for_is_not_found_anywhere(self, app: RenewalApp) -> None:
        assert app.writes() == []
        assert document(await show_run("unknown")) == {"run": "unknown", "subscriptions": [], "services": []}


class TestRenew:
    async def test_renews_a_fresh_token_and_answers_with_the_row(
        self, app: RenewalApp, caplog: pytest.LogCaptureFixture
    ) -> None:
        before = app.hold("edge-01", 20 * DAY)
        answer = await renew()
        row = listed(answer)["contoso/edge-01"]
        assert (answer.status_code, row["outcome"], row["reason"]) == (200, "renewed", "forced")
        assert app.stored("edge-01") != before
        assert row["oldExpiry"] < row["expiry"]
        assert [line["caller"] for line in lines(caplog, "token.issued")] == ["function-key"]

    async def test_finds_the_gateway_in_any_case(self, app: RenewalApp) -> None:
        assert (await renew("EDGE-01", "Contoso")).status_code == 200
        assert app.stored("edge-01")

    async def test_that_fails_is_a_problem_with_the_rows(
        self, app: RenewalApp, caplog: pytest.LogCaptureFixture
    ) -> None:
        app.emulator.azure.faults.add(broken_vault())
        answer = await renew("plant-a", "fabrikam")
        assert code_of(answer) == (502, "renewal_failed")
        assert listed(answer)["fabrikam/plant-a"]["code"] == "azure_forbidden"
        assert [line["code"] for line in lines(caplog, "request.failed")] == ["renewal_failed"]

    @pytest.mark.parametrize(
        ("gateway", "status", "code"), [("lab-01", 409, "not_managed"), ("edge-99", 404, "not_found")]
    )
    async def test_of_what_is_not_managed_or_not_there(
        self, app: RenewalApp, gateway: str, status: int, code: str
    ) -> None:
        answer = await renew(gateway)
        assert (answer.status_code, document(answer)["code"], app.writes()) == (status, code, [])

    async def test_that_takes_too_long_says_so_and_nothing_runs_after_the_answer(
        self, app: RenewalApp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app.emulator.azure.latency = 0.3
        monkeypatch.setattr(renewals, "RENEW_SECONDS", 0.05)
        answer = await renew("edge-01")
        assert listed(answer)["contoso/edge-01"]["outcome"] == "not_reached"
        assert app.stored("edge-01") == ""

    async def test_leaves_the_rest_of_the_services_report_alone(self, app: RenewalApp) -> None:
        await run()
        await renew("edge-01")
        assert {row["gateway"] for row in app.report()["rows"]} == {"edge-01", "edge-02"}

    async def test_is_forbidden_without_a_rule(self, app: RenewalApp) -> None:
        app.configure([rule("contoso/edge-02"), rule("contoso/edge-01", allow=("read", "issue"))])
        assert (await renew()).status_code == 403


async def test_a_caller_is_known_by_a_good_token_and_refused_with_another(app: RenewalApp) -> None:
    app.configure([rule("*/*", appRole="Renew")], **SIGN_IN_MODE)
    for call in (list_gateways, plan, run, renew):
        assert (await call(headers={"authorization": "Bearer odd"})).status_code == 401
        answer = await call(headers=bearer(app.emulator, roles=["Renew"]))
        assert answer.status_code == (202 if call is run else 200)


async def test_a_caller_without_the_permission_is_refused_alike_before_anything_is_looked_up(
    app: RenewalApp,
) -> None:
    app.configure([rule("*/*", allow=("issue",))])
    answers = [await plan(), await show_run("one"), (await ask())[0]]
    answers += [await list_gateways(service) for service in ("contoso", "nowhere")]
    for call in (renew, revoke):
        for name in (("edge-01", "contoso"), ("edge-99", "contoso"), ("edge-01", "nowhere")):
            answers.append(await call(*name))
    assert {code_of(answer) for answer in answers} == {(403, "access_denied")}
    assert app.emulator.azure.calls == []


@pytest.mark.parametrize(("call", "cost"), [(plan, Cost.READ), (renew, Cost.WRITE), (revoke, Cost.WRITE)])
async def test_callers_cannot_use_up_what_runs_need(app: RenewalApp, call: Route, cost: Cost) -> None:
    app.configure([rule("*/*", allow=("read", "renew", "revoke"))])
    budget = gateway_app.current().callers_budget
    bucket = budget.bucket(CONTOSO.subscription_id, cost)
    await bucket.acquire(bucket.max_rate)
    bucket._level *= 100  # for longer than the call may take on a busy machine
    budget._waiting[bucket] = 200
    answer = await call()
    assert code_of(answer) == (429, "too_many_requests")
    await run()
    assert app.stored("edge-01")
