"""A run: what is due is delivered once, whatever else happens; what is not due is left alone."""

import asyncio
import json
import math
import traceback
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from gateway_tokens.errors import (
    AzureError,
    AzureFacts,
    AzureForbidden,
    AzureThrottled,
    AzureUnavailable,
    DestinationBlocked,
    GatewayTokensError,
    IdentityUnavailable,
    MessageInvalid,
)
from gateway_tokens.renewal import run as runs
from gateway_tokens.renewal import service as services
from gateway_tokens.renewal.report import ServiceReport
from gateway_tokens.renewal.rows import Action, Decision, Demand, Outcome, Reason, Row, RowId, Seen
from gateway_tokens.renewal.run import RunRequest, as_message, read_message
from gateway_tokens.tokens import KeyType
from tests.renewal_estate import (
    CONTOSO,
    DAY,
    EDGE,
    HOME,
    HOUR,
    IN_30_DAYS,
    MINUTE,
    NOW,
    OUTAGE,
    Estate,
    Log,
    Patch,
    a_token,
    contoso,
    fleet,
    holding,
    kept,
    lines,
)

FRESH, DUE = NOW + 25 * DAY, NOW + 5 * DAY
REPORT, RECORD = "reports/contoso.json", f"runs/{CONTOSO.subscription_id}.json"


class TestOneRow:
    async def test_a_due_token_is_issued_written_and_read_back_and_then_left_alone(self) -> None:
        estate = holding(DUE)
        # The expiry is the whole hour before the lifetime ends, counted from the request.
        estate.clock.now = NOW + 59 * MINUTE
        row = await estate.renew(Demand(NOW))
        assert (row.outcome, row.old_expiry, row.seen and row.seen.expiry) == ("renewed", DUE, IN_30_DAYS)
        assert estate.home.value == "GatewayKey " + a_token(IN_30_DAYS).value.reveal()
        assert await estate.outcomes() == ["fresh"]
        assert estate.home.calls == ["read", "write", "read", "read"]
        assert estate.gateways.issued == [("edge-01", KeyType.PRIMARY, IN_30_DAYS)]

    async def test_exactly_the_same_value_is_not_written_again_under_force_either(self) -> None:
        estate = contoso()
        await estate.run()
        assert await estate.outcomes(MINUTE, force=True) == ["unchanged"]
        assert estate.home.calls.count("write") == 1

    async def test_a_value_that_reads_back_otherwise_is_a_failure_after_two_tries(self) -> None:
        estate = contoso()
        location = estate.home
        put, other = location.put, a_token(DUE).header_value().reveal()
        location.put = lambda _, tags=None, writer="": put(other, tags, writer)  # type: ignore[method-assign, assignment]
        row = await estate.renew()
        assert (row.outcome, row.code, location.calls.count("write")) == ("failed", "not_verified", 2)

    async def test_an_unexpected_error_is_told_by_its_type_never_by_its_text(self, caplog: Log) -> None:
        estate = contoso()
        estate.home.failing = {"read": ValueError("GatewayKey secret&text")}  # type: ignore[dict-item]
        assert [row.code for row in await estate.run()] == ["internal_error"]
        assert [line["error"] for line in lines(caplog, "unexpected_failure")] == ["ValueError"]
        assert "secret&text" not in caplog.text

    async def test_a_restart_is_asked_for_not_waited_for_and_judged_by_the_next_run(self) -> None:
        estate = contoso()
        location = estate.location(HOME, restartable=True)
        location.slow, location.late_at = True, NOW + HOUR
        assert await estate.outcomes() == ["restarting"]
        assert location.calls == ["read", "write", "read", "restart"]
        assert await estate.outcomes(MINUTE) == ["restarting"]
        assert [row.code for row in await estate.run(HOUR)] == ["not_restarted"]
        location.running = location.asked
        assert await estate.outcomes(MINUTE) == ["fresh"]
        assert location.restarts_begun == 1


class TestNeighbours:
    async def test_the_third_of_five_fails_and_the_others_are_served(self, caplog: Log) -> None:
        estate = fleet(5)
        estate.location("contoso-edge-002").failing = {"write": OUTAGE}
        assert sorted(await estate.outcomes()) == ["failed"] + ["renewed"] * 4
        (row,) = [line for line in lines(caplog, "run.row") if line["outcome"] == "failed"]
        assert (row["gateway"], row["code"], row["level"]) == ("edge-002", "azure_unavailable", "ERROR")
        (total,) = lines(caplog, "run.completed")
        assert (total["level"], total["rows"], total["failed"], total["renewed"]) == ("ERROR", 5, 1, 4)

    async def test_the_most_urgent_come_first_four_requests_at_a_time(self) -> None:
        estate = fleet(40)
        for n in range(40):
            estate.deliver(f"contoso-edge-{n:03}", a_token(NOW + timedelta(days=9, hours=-n), f"edge-{n:03}"))
        await estate.run()
        first = {gateway for gateway, *_ in estate.gateways.issued[:16]}
        assert (first, estate.gateways.most) == ({f"edge-{n:03}" for n in range(24, 40)}, 4)

    async def test_a_service_that_cannot_be_listed_has_its_named_gateways_renewed(self, caplog: Log) -> None:
        estate = contoso()
        estate.gateways.unlisted[CONTOSO] = OUTAGE
        assert {row.code for row in await estate.run()} == {"", "azure_unavailable"}
        assert estate.home.value
        failed = [line["reason"] for line in lines(caplog, "run.row") if line["outcome"] == "failed"]
        assert failed == ["not_listed"]

    async def test_a_location_that_hangs_is_not_reached_and_keeps_nobody_waiting(
        self, monkeypatch: Patch, caplog: Log
    ) -> None:
        monkeypatch.setattr(runs, "SERVICE_SECONDS", 0.1)
        monkeypatch.setattr(services, "READ_FIRST_SECONDS", 0.01)
        estate = fleet(3)
        estate.location("contoso-edge-001").read = asyncio.Event().wait  # type: ignore[method-assign, assignment]
        assert sorted(await estate.outcomes()) == ["not_reached", "renewed", "renewed"]
        assert len(lines(caplog, "service.cut_off")) == 1

    async def test_a_service_that_was_not_listed_in_time_keeps_its_report(self, monkeypatch: Patch) -> None:
        estate = fleet(2)
        await estate.run()
        monkeypatch.setattr(runs, "SERVICE_SECONDS", 0.0)
        assert await estate.outcomes(HOUR) == ["renewed", "renewed"]
        assert estate.report().completed_at == NOW

    async def test_gateways_without_a_rule_and_rules_without_a_gateway_are_told(self, caplog: Log) -> None:
        service = {"resourceId": str(CONTOSO), "gateways": {"edge-*": kept(), "lab-*": kept("lab-{gateway}")}}
        estate = Estate({"contoso": service}, {CONTOSO: ("edge-01", "plant-1", "odd name")})
        await estate.run()
        (line,) = lines(caplog, "service.unmatched")
        assert (line["gateways"], line["rules"]) == ("odd name, plant-1", "lab-*")

    async def test_the_order_of_services_changes_with_every_run(self, caplog: Log) -> None:
        resources = {f"s{n}": str(CONTOSO).replace("contoso", f"s{n}") for n in range(12)}
        services = {name: {"resourceId": at, "gateways": {"edge": kept()}} for name, at in resources.items()}
        estate, orders = Estate(services, {}), set()
        for number in range(2):
            caplog.clear()
            await estate.run(run=f"run-{number}")
            orders.add(tuple(line["service"] for line in lines(caplog, "service.completed")))
        assert len(orders) == 2


class TestGone:
    async def test_a_named_gateway_is_gone_only_when_azure_says_so_of_it_and_may_be_at_risk(self) -> None:
        estate = holding(FRESH)
        estate.gateways.estate[CONTOSO] = ()
        assert await estate.outcomes() == ["fresh"]
        assert await estate.outcomes(24 * DAY) == ["gone"]
        assert estate.report().summary(estate.clock())["atrisk"] == "1"

    async def test_one_that_a_pattern_matched_leaves_the_report_with_a_line(self, caplog: Log) -> None:
        estate = fleet(2)
        await estate.run()
        estate.gateways.estate[CONTOSO] = ("edge-000",)
        assert [row.id.ref.gateway for row in await estate.run(HOUR)] == ["edge-000"]
        assert [line["gateway"] for line in lines(caplog, "gateway.gone")] == ["edge-001"]


class TestSharedCauses:
    """Sixty rows behind something dead: it is tried once or twice, and the others are done in their usual time."""

    def an_estate(self, error: GatewayTokensError) -> Estate:
        dead = {"destinations": [{"kind": "keyVault", "vault": "https://dead.example"}]}
        service = {"resourceId": str(CONTOSO), "gateways": {"dead-*": dead, "edge-*": kept()}}
        names = [name for n in range(60) for name in (f"dead-{n:02}", f"edge-{n:02}")]
        estate = Estate({"contoso": service}, {CONTOSO: names})
        for n in range(60):
            estate.locations[f"https://dead.example/secrets/dead-{n:02}-token"].failing = {"read": error}
        return estate

    @pytest.mark.parametrize(
        ("error", "most"),
        [
            (AzureUnavailable("Reading", AzureFacts()), 4),
            (IdentityUnavailable("Reading", AzureFacts(500)), 4),
            (AzureUnavailable("Reading", AzureFacts(timed_out=True)), 5),
            (AzureUnavailable("Reading", AzureFacts(503)), 5),
            (AzureThrottled("Reading", AzureFacts(429)), 5),
            # An answer to one row is that row's alone.
            (AzureError("Reading", AzureFacts(400)), 60),
            (AzureForbidden("Reading", AzureFacts(403), "get", "there"), 60),
            (AzureUnavailable("Reading", AzureFacts(500)), 60),
            (DestinationBlocked("there", "is disabled"), 60),
        ],
    )
    async def test_what_fails_everybody_is_tried_once(self, error: GatewayTokensError, most: int) -> None:
        estate = self.an_estate(error)
        rows = await estate.run()
        assert sum(row.outcome == "renewed" for row in rows) == 60
        assert {row.code for row in rows if row.outcome == "failed"} == {error.code}
        tries = sum("read" in location.calls for name, location in estate.locations.items() if "dead" in name)
        assert most // 60 * 60 <= tries <= most

    async def test_rows_that_are_told_of_a_failure_keep_nothing_of_each_other_in_memory(self) -> None:
        error = AzureUnavailable("Reading", AzureFacts())
        await self.an_estate(error).run()
        assert len(traceback.extract_tb(error.__traceback__)) < 20

    async def test_a_row_that_succeeds_lifts_it_for_the_next_run(self) -> None:
        estate = self.an_estate(AzureUnavailable("Reading", AzureFacts()))
        await estate.run()
        for location in estate.locations.values():
            location.failing = {}
        assert set(await estate.outcomes(HOUR)) == {"renewed", "fresh"}


DAMAGED = (
    {"rows": 3},
    {"rows": [1, {}, {"service": 1}]},
    {"beganAt": "x", "run": math.nan},
    {
        "completedAt": "9999-01-01T00:00:00Z",
        "rows": [{"service": "contoso", "gateway": "edge-01", "location": "x", "at": "9999-01-01T00:00:00Z"}],
    },
)


def a_request(**more: Any) -> RunRequest:  # noqa: ANN401 - RunRequest's own
    return RunRequest(**{"subscription": CONTOSO.subscription_id, "run": "one", "asked_at": NOW, **more})


class TestDoubledWork:
    async def test_twenty_requests_at_once_are_one_run_and_one_token_each(self, caplog: Log) -> None:
        estate = fleet(20)
        requests = [a_request(run=f"run-{n}", force=True) for n in range(20)]
        estate.clock.now += MINUTE
        await asyncio.gather(*(estate.runs.reconcile(estate.app, request) for request in requests))
        assert len(estate.gateways.issued) == 20
        assert [len(lines(caplog, f"run.{event}")) for event in ("completed", "covered")] == [1, 19]

    async def test_a_message_that_is_delivered_again_goes_on_with_its_own_run(self) -> None:
        estate = contoso()
        estate.clock.now += MINUTE
        estate.home.failing_once = {"write": OUTAGE}
        for outcome in ("failed", "renewed"):
            await estate.runs.reconcile(estate.app, a_request())
            assert estate.ended == [outcome]

    async def test_a_request_after_the_run_began_is_a_run_of_its_own(self, caplog: Log) -> None:
        estate = contoso()
        await estate.runs.reconcile(estate.app, a_request())
        await estate.runs.reconcile(estate.app, a_request(run="two"))
        assert len(lines(caplog, "run.completed")) == 2

    @pytest.mark.parametrize(
        ("run", "request_", "covered"),
        [
            ({}, {"gateways": ("contoso/edge-01",)}, True),
            ({"gateways": ("contoso/edge-01",)}, {}, False),
            ({"gateways": ("contoso/*", "a/*")}, {"gateways": ("a/*",)}, True),
            ({}, {"force": True}, False),
            ({"force": True}, {}, True),
            ({"force": True}, {"force": True}, True),
            ({"force": True}, {"force": True, "asked_at": NOW + MINUTE}, False),
            ({}, {"expires_before": NOW}, False),
            ({"expires_before": NOW}, {"expires_before": NOW}, True),
            ({"expires_before": NOW}, {"expires_before": NOW + MINUTE}, False),
            ({"force": True}, {"expires_before": NOW}, True),
        ],
    )
    def test_a_run_covers_what_asks_for_no_more(
        self, run: dict[str, Any], request_: dict[str, Any], *, covered: bool
    ) -> None:
        assert a_request(**run).covers(a_request(**request_)) is covered

    @pytest.mark.parametrize("failing", ["read", "write"])
    @pytest.mark.parametrize("error", [OUTAGE, ValueError("odd")])
    async def test_whatever_storage_answers_the_run_starts(self, failing: str, error: Exception) -> None:
        estate = contoso()
        estate.reports.failing = {failing: error}
        await estate.run()
        assert estate.home.value

    @pytest.mark.parametrize("text", ["", "[]", "null", *map(json.dumps, DAMAGED)])
    async def test_whatever_the_blobs_hold_every_due_token_is_delivered(self, text: str) -> None:
        estate = contoso()
        estate.reports.texts = {RECORD: text, REPORT: text}
        await estate.run()
        assert estate.home.value

    @pytest.mark.parametrize("ended", [5, "x", {"a": 1}, [1, None], None])
    async def test_a_record_whose_list_of_ended_runs_is_damaged_names_its_run(self, ended: object) -> None:
        estate = contoso()
        record = {**json.loads(as_message(a_request())), "beganAt": NOW.isoformat(), "ended": ended}
        estate.reports.texts = {RECORD: json.dumps(record)}
        assert await runs.run_in_place_of(estate.app, CONTOSO.subscription_id, "one") == "one"


class TestMessages:
    def test_a_message_comes_back_as_it_was_written(self) -> None:
        request = a_request(asked_by="x", gateways=("a/*",), force=True, expires_before=NOW + DAY)
        assert read_message(as_message(request).encode()) == request

    @pytest.mark.parametrize("change", [{"askedAt": "soon"}, {"run": None}, {"forced": True}])
    def test_what_is_not_one_is_refused(self, change: dict[str, object]) -> None:
        message = json.dumps({**json.loads(as_message(a_request())), **change})
        for body in (b"", b"null", b"\xff", message.encode()):
            with pytest.raises(MessageInvalid):
                read_message(body)

    async def test_a_subscription_that_left_the_settings_ends_its_message_quietly(self, caplog: Log) -> None:
        estate = contoso()
        await estate.runs.reconcile(estate.app, a_request(subscription="gone"))
        assert [line["level"] for line in lines(caplog, "run.not_needed")] == ["INFO"]

    async def test_a_selection_reconciles_those_gateways_and_leaves_the_others_rows_alone(self) -> None:
        estate = fleet(3)
        await estate.run()
        await estate.run(HOUR, gateways=("contoso/edge-001",), force=True)
        assert len(estate.gateways.issued) == 4
        assert estate.ended == ["renewed"] * 3
        assert estate.report().completed_at == NOW


# Which rows a run logs: every one that is not simply fresh, and a fresh one when that is news; the others are summed.


def logging_all(estate: Estate) -> Estate:
    estate.app = replace(estate.app, settings=replace(estate.app.settings, log_fresh_rows=True))
    return estate


async def logged(estate: Estate, caplog: Log, runs: int) -> list[list[str]]:
    """The outcomes of the rows that each of the next runs logs."""
    results = []
    for _ in range(runs):
        caplog.clear()
        await estate.run(HOUR)
        results.append([line["outcome"] for line in lines(caplog, "run.row")])
    return results


async def test_a_row_that_failed_is_logged_in_every_run_and_a_fresh_one_once(caplog: Log) -> None:
    estate = contoso()
    assert await logged(estate, caplog, 3) == [["renewed"], ["fresh"], []]
    estate.home.failing["read"] = OUTAGE
    assert await logged(estate, caplog, 2) == [["failed"], ["failed"]]
    estate.home.failing.clear()
    assert await logged(estate, caplog, 2) == [["fresh"], []]
    estate.reports.texts.clear()
    assert await logged(estate, caplog, 2) == [["fresh"], []]
    assert await logged(logging_all(estate), caplog, 2) == [["fresh"]] * 2


def test_a_row_that_is_or_was_at_risk_or_was_taken_over_does_not_stay_fresh() -> None:
    def fresh(at_risk_from: datetime) -> Row:
        seen = Seen(NOW + 9 * DAY, NOW + 8 * DAY, at_risk_from)
        decision = Decision(Action.KEEP, Reason.FRESH, "")
        return Row(RowId(EDGE, HOME), decision, seen, outcome=Outcome.FRESH, at=NOW)

    at_risk, well, now = fresh(NOW), fresh(NOW + 8 * DAY), NOW + HOUR
    taken_over = replace(well, decision=replace(well.decision, reason=Reason.TAKEN_OVER))
    for before, row, stays in (
        (well, well, True),
        (taken_over, well, True),
        (well, taken_over, False),
        (at_risk, well, False),
        (well, at_risk, False),
    ):
        assert ServiceReport(rows={str(row.id): before}).stays_fresh(row, now) is stays


async def test_a_service_is_summed_with_the_days_on_which_its_tokens_are_due_and_expire(caplog: Log) -> None:
    estate = fleet(3)
    for number, days in enumerate((25, 25, 20)):
        name = f"edge-{number:03}"
        estate.deliver(f"contoso-{name}", a_token(NOW + days * DAY, name))
    estate.location("contoso-edge-001").failing["read"] = OUTAGE
    await estate.run()
    caplog.clear()
    await estate.run(HOUR)
    (line,) = lines(caplog, "service.completed")
    assert (line["service"], line["whole"], line["rows"], line["fresh"]) == ("contoso", True, 3, 2)
    assert line["expiryByDay"] == {"2026-03-21": 1, "2026-03-26": 1}
    assert line["earliestExpiry"] == "2026-03-21T12:00:00Z"
    assert line["earliestDue"][:10] == min(line["dueByDay"])
    assert sum(line["dueByDay"].values()) == 2


class TestWhatCannotBeSeen:
    async def test_is_judged_by_the_expiry_that_was_last_seen_there(self, caplog: Log) -> None:
        estate = contoso()
        await estate.run()
        estate.home.failing = {"read": OUTAGE}
        for days, risk in ((2, False), (22, False), (2, True)):
            caplog.clear()
            await estate.run(days * DAY)
            (row,) = lines(caplog, "run.row")
            assert (row["outcome"], row["atRisk"]) == ("failed", risk)
            left = (NOW + 30 * DAY - HOUR - estate.clock.now).total_seconds() / 3600
            assert (row["failingSince"], row["hoursLeft"]) == ("2026-03-03T12:00:00Z", left)

    @pytest.mark.parametrize(("failing", "risk"), [("read", False), ("write", True)])
    async def test_is_at_risk_where_no_token_is_and_none_can_be_given(
        self, caplog: Log, failing: str, *, risk: bool
    ) -> None:
        estate = contoso()
        estate.home.failing = {failing: OUTAGE}
        await estate.run()
        assert [row["atRisk"] for row in lines(caplog, "run.row")] == [risk]
