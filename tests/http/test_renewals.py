"""Status, plan, runs and renewal over HTTP, against the emulator."""

import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from emulator.faults import Fault
from gateway_tokens import app as gateway_app
from gateway_tokens.azure.clients import Cost
from gateway_tokens.http import renewals
from gateway_tokens.tokens import written
from tests.callers import rule
from tests.http.renewal_app import DAY, RenewalApp
from tests.http_calls import (
    Answer,
    ask,
    carry_out,
    code_of,
    document,
    generate_token,
    list_gateways,
    plan,
    renew,
    revoke,
    run,
    show_run,
)
from tests.renewal_estate import CONTOSO, FABRIKAM, lines

UNWRITABLE = Fault(host="vault", method="PUT", status=403, times=None)


def listed(answer: Answer) -> dict[str, dict[str, Any]]:
    body = document(answer).get("report", document(answer))
    return {f"{row['service']}/{row['gatewayId']}": row for row in body["listed"]}


def reasons(answer: Answer) -> dict[str, str]:
    return {name: row["reason"] for name, row in listed(answer).items()}


async def destinations() -> dict[str, list[dict[str, Any]]]:
    """What is shown of each of contoso's gateways."""
    return {g["gatewayId"]: g["destinations"] for g in document(await list_gateways())["gateways"]}


class TestListGateways:
    async def test_shows_every_gateway_and_what_its_destinations_hold(self, estate: RenewalApp) -> None:
        value = estate.hold("edge-01", 20 * DAY)
        answer = await list_gateways()
        assert document(answer)["service"] == "contoso"
        shown = await destinations()
        assert (list(shown), shown["lab-01"]) == (["edge-01", "edge-02", "lab-01"], [])
        (stored,), (empty,) = shown["edge-01"], shown["edge-02"]
        assert (empty["reason"], empty["action"], empty["expiry"]) == ("not_stored", "renew", None)
        assert (stored["reason"], stored["action"], stored["keyType"]) == ("fresh", "keep", "primary")
        assert stored["destination"] == f"{estate.emulator.vault_url('contoso')}/secrets/edge-01-token"
        assert 20 * 86_400 - 120 < stored["secondsLeft"] <= 20 * 86_400
        assert stored["nextRenewal"] < stored["expiry"]
        assert value.rpartition("&")[2] not in str(document(answer))
        assert estate.writes() == []

    async def test_shows_how_the_last_run_failed_and_since_when(self, estate: RenewalApp) -> None:
        estate.emulator.azure.faults.add(UNWRITABLE)
        await run()
        [row] = (await destinations())["edge-01"]
        assert (row["outcome"], row["lastOutcome"], row["code"]) == (None, "failed", "azure_forbidden")
        assert datetime.fromisoformat(row["failingSince"]) <= datetime.now(UTC)

    async def test_shows_the_others_when_one_destination_cannot_be_read(self, estate: RenewalApp) -> None:
        estate.emulator.azure.faults.add(Fault(host="vault", path="*edge-01*", status=403, times=None))
        shown = await destinations()
        (broken,), (well,) = shown["edge-01"], shown["edge-02"]
        assert (broken["action"], broken["reason"], broken["code"]) == (None, "not_read", "azure_forbidden")
        assert well["reason"] == "not_stored"


class TestPlan:
    async def test_shows_what_a_run_would_do_and_does_nothing(self, estate: RenewalApp) -> None:
        estate.hold("edge-01", 6 * DAY)
        estate.hold("edge-02", 4 * DAY)
        body = document(await plan())
        assert (body["counts"], body["rows"], body["atRisk"]) == ({"renew": 3}, 3, 1)
        estate.hold("edge-01", 20 * DAY)
        answer = await plan()
        assert document(answer)["counts"] == {"keep": 1, "renew": 2}
        assert reasons(answer) == {"contoso/edge-02": "in_renewal_window", "fabrikam/plant-a": "not_stored"}
        assert estate.writes() == []

    @pytest.mark.usefixtures("estate")
    async def test_shows_the_last_run_of_each_service(self) -> None:
        ran = document(await run())["run"]
        services = document(await plan())["services"]
        assert [(s["service"], s["run"]) for s in services] == [("contoso", ran), ("fabrikam", ran)]
        assert datetime.fromisoformat(services[0]["completedAt"]) <= datetime.now(UTC)

    async def test_shows_only_what_the_caller_may_read(self, estate: RenewalApp) -> None:
        estate.configure(rule("contoso/edge-02"), rule("contoso/lab-*", allow=("renew",)))
        assert list(await destinations()) == ["edge-02"]
        answer = await plan()
        assert set(listed(answer)) == {"contoso/edge-02"}
        assert [service["service"] for service in document(answer)["services"]] == ["contoso"]

    async def test_names_only_so_many_rows_and_counts_the_others(
        self, estate: RenewalApp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        del estate
        monkeypatch.setattr(renewals, "MOST_ROWS_SHOWN", 2)
        body = document(await plan())
        assert (body["rows"], len(body["listed"]), body["notListed"]) == (3, 2, 1)

    async def test_tells_of_the_freeze_and_proposes_in_the_week_before_it_to_renew_what_would_be_at_risk_in_it(
        self, estate: RenewalApp
    ) -> None:
        kept = estate.hold("edge-01", 24 * DAY)  # at risk five days before its end, when the freeze has ended
        endangered = estate.hold("edge-02", 22 * DAY)
        now, message = datetime.now(UTC), ""
        for days, proposes in ((-1, False), (8, False), (4, True)):
            frozen = {"from": written(now + days * DAY), "to": written(now + (days + 14) * DAY)}
            later = {"from": written(now + 90 * DAY), "to": written(now + 91 * DAY)}
            estate.estate["freeze"] = [{**each, "reason": "Year end"} for each in (later, frozen)]
            estate.configure()
            await gateway_app.forget()
            shown = document(await plan())["freeze"]
            message = shown.pop("message") or ""
            assert (shown, bool(message)) == ({**frozen, "frozen": days < 0, "reason": "Year end"}, proposes)
        expires_before = re.search(r'"expiresBefore": "(.*)"', message)
        assert expires_before
        await run({"expiresBefore": expires_before[1]})
        assert estate.stored("edge-01") == kept
        assert estate.stored("edge-02") != endangered

    async def test_lists_a_paused_gateway_that_is_at_risk(self, estate: RenewalApp) -> None:
        estate.estate = {"defaults": {"pause": {"until": "2999-01-01T00:00:00Z", "reason": "Moves"}}}
        estate.configure()
        estate.hold("edge-01", 2 * DAY)
        estate.hold("edge-02", 20 * DAY)
        answer = await plan()
        assert (reasons(answer), document(answer)["atRisk"]) == ({"contoso/edge-01": "paused"}, 1)
        assert (await renew("edge-01")).status_code == 409


class TestRun:
    async def test_is_asked_for_with_one_message_per_subscription(self, estate: RenewalApp) -> None:
        answer, messages = await ask()
        body, requests = document(answer), [json.loads(message) for message in messages]
        assert (answer.status_code, body["message"], estate.writes()) == (202, None, [])
        assert [r["subscription"] for r in requests] == body["subscriptions"]
        assert body["subscriptions"] == [CONTOSO.subscription_id, FABRIKAM.subscription_id]
        requested = {(r["run"], r["askedBy"], tuple(r["gateways"])) for r in requests}
        assert requested == {(body["run"], "function-key", ("*/*",))}

    @pytest.mark.parametrize("wish", [{"force": True}, {"expiresBefore": "2999-01-01T00:00:00Z"}])
    async def test_may_be_about_some_gateways_and_tokens_that_are_not_due_and_says_what_it_passes_over(
        self, estate: RenewalApp, wish: dict[str, object]
    ) -> None:
        first, second = estate.hold("edge-01"), estate.hold("edge-02")
        answer = await run({"gateways": ["contoso/edge-01"], **wish})
        assert "does not wait for maintenance windows" in document(answer)["message"]
        assert estate.stored("edge-01") != first
        assert estate.stored("edge-02") == second
        assert not any("fabrikam" in call.path for call in estate.emulator.azure.called("arm", "GET"))

    @pytest.mark.parametrize(
        ("access", "wanted", "requested"),
        [
            ([rule("contoso/edge-01"), rule("fabrikam/*", allow=("read",))], ["*/*"], ["contoso/edge-01"]),
            ([rule("contoso/*")], ["contoso/edge-*", "fabrikam/plant-a"], ["contoso/edge-*"]),
            ([rule("contoso/*")], ["fabrikam/*", "fabrikam/plant-a"], None),
        ],
    )
    async def test_is_narrowed_to_what_the_caller_may_renew_and_forbidden_where_that_is_nothing(
        self, estate: RenewalApp, access: list[dict[str, Any]], wanted: list[str], requested: list[str] | None
    ) -> None:
        estate.configure(*access)
        answer, messages = await ask({"gateways": wanted})
        assert answer.status_code == (202 if requested else 403)
        message = [(message["subscription"], message["gateways"]) for message in map(json.loads, messages)]
        assert message == ([(CONTOSO.subscription_id, requested)] if requested else [])

    @pytest.mark.usefixtures("estate")
    async def test_that_is_asked_for_wrongly_is_a_400_and_no_message(self) -> None:
        wrong: list[object] = [[], {"force": "yes"}, {"gateways": []}, {"gateways": ["edge"]}, {"wanted": 1}]
        for body in wrong:
            answer, messages = await ask(body)
            assert (answer.status_code, messages) == (400, [])

    async def test_is_found_by_its_id_or_by_that_of_the_run_that_took_its_place(
        self, estate: RenewalApp
    ) -> None:
        (first, messages), (second, later) = await ask(), await ask()
        await carry_out([*messages, *later])
        ids = [document(answer)["run"] for answer in (first, second)]
        for run_id in ids:
            state = document(await show_run(run_id))
            assert state["run"] == run_id
            assert {s["run"] for s in state["subscriptions"]} == {ids[0]}
            assert [s["service"] for s in state["services"]] == ["contoso", "fabrikam"]
        await gateway_app.forget()
        estate.configure(rule("contoso/edge-01"))
        state = document(await show_run(ids[0]))
        assert [s["subscription"] for s in state["subscriptions"]] == [CONTOSO.subscription_id]
        assert [s["service"] for s in state["services"]] == ["contoso"]
        assert document(await show_run("unknown")) == {"run": "unknown", "subscriptions": [], "services": []}


class TestRenew:
    async def test_renews_a_fresh_token_and_answers_with_the_row(
        self, estate: RenewalApp, caplog: pytest.LogCaptureFixture
    ) -> None:
        before = estate.hold("edge-01")
        answer = await renew("EDGE-01", "Contoso")
        row = listed(answer)["contoso/edge-01"]
        assert (answer.status_code, row["outcome"], row["reason"]) == (200, "renewed", "forced")
        assert estate.stored("edge-01") != before
        assert row["oldExpiry"] < row["expiry"]
        assert [line["caller"] for line in lines(caplog, "token.issued")] == ["function-key"]

    async def test_that_fails_is_a_problem_with_the_rows(
        self, estate: RenewalApp, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate.emulator.azure.faults.add(UNWRITABLE)
        answer = await renew()
        assert code_of(answer) == (502, "renewal_failed")
        assert listed(answer)["contoso/edge-01"]["code"] == "azure_forbidden"
        assert [line["code"] for line in lines(caplog, "request.failed")] == ["renewal_failed"]

    @pytest.mark.usefixtures("estate")
    async def test_leaves_what_is_known_of_the_services_other_gateways(self) -> None:
        await run()
        await renew()
        assert [row["lastOutcome"] for row in (await destinations())["edge-02"]] == ["renewed"]

    async def test_that_takes_too_long_says_so_and_nothing_runs_after_the_answer(
        self, estate: RenewalApp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        estate.emulator.azure.latency = 0.3
        monkeypatch.setattr(renewals, "RENEW_SECONDS", 0.05)
        assert listed(await renew())["contoso/edge-01"]["outcome"] == "not_reached"
        assert estate.stored("edge-01") == ""


@pytest.mark.parametrize("call", [renew, revoke])
async def test_only_what_is_there_is_shown_renewed_or_revoked_and_only_what_is_managed_renewed(
    estate: RenewalApp, call: Callable[..., Awaitable[Answer]]
) -> None:
    for answer in (await call("edge-99"), await call("edge-01", "nowhere"), await list_gateways("nowhere")):
        assert code_of(answer) == (404, "not_found")
    assert code_of(await renew("lab-01")) == (409, "not_managed")
    assert estate.writes() == []


@pytest.mark.parametrize(
    ("calls", "cost"), [((plan, list_gateways), Cost.READ), ((generate_token, renew, revoke), Cost.WRITE)]
)
async def test_callers_cannot_use_up_what_runs_need_and_are_told_when_to_come_back(
    estate: RenewalApp, calls: tuple[Callable[..., Awaitable[Answer]], ...], cost: Cost
) -> None:
    budget = gateway_app.current().callers_budget
    bucket = budget.bucket(CONTOSO.subscription_id, cost)
    await bucket.acquire(bucket.max_rate)
    bucket._level *= 100  # for longer than the calls may take on a busy machine
    budget._waiting[bucket] = 200
    for call in calls:
        answer = await call()
        assert code_of(answer) == (429, "too_many_requests")
        assert int(answer.headers["Retry-After"]) > 5
    await run()
    assert estate.stored("edge-01")
