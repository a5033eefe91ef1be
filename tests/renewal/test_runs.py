"""A run: what is due is delivered once, whatever else happens; what is not due is left alone."""

import asyncio
import json
from datetime import timedelta
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
)
from gateway_tokens.renewal import run as runs
from gateway_tokens.renewal import service as services
from gateway_tokens.renewal.rows import Demand
from gateway_tokens.renewal.run import RunRequest, as_message, read_message, run_requests
from gateway_tokens.tokens import KeyType
from tests.fakes import MemoryDestination
from tests.renewal_estate import (
    CONTOSO,
    DAY,
    FABRIKAM,
    HOUR,
    IN_30_DAYS,
    MINUTE,
    NOW,
    OUTAGE,
    Estate,
    a_token,
    contoso,
    kept,
    lines,
)

FRESH, DUE = NOW + 25 * DAY, NOW + 5 * DAY
HOME = "contoso-edge-01"
SILENT = AzureUnavailable("Reading", AzureFacts(timed_out=True))


def many(count: int, **rule: object) -> Estate:
    """One service with so many gateways, each delivered to a location of its own."""
    names = [f"edge-{n:03}" for n in range(count)]
    service = {"resourceId": str(CONTOSO), "gateways": {"*": kept(**rule)}}
    return Estate({"contoso": service}, {CONTOSO: names})


def outcomes(estate: Estate) -> dict[str, str]:
    return {row["at"]: row["outcome"] for row in estate.rows()}


class TestOneRow:
    async def test_a_fresh_token_is_left_alone(self) -> None:
        estate = contoso()
        location = estate.deliver(HOME, a_token(FRESH))
        assert [row["outcome"] for row in await estate.run()] == ["fresh"]
        assert (location.calls, estate.gateways.issued) == (["read"], [])

    async def test_a_due_token_is_issued_written_and_read_back(self) -> None:
        estate = contoso()
        location = estate.deliver(HOME, a_token(DUE))
        (row,) = await estate.renew()
        assert (row.outcome, row.old_expiry, row.seen and row.seen.expiry) == ("renewed", DUE, IN_30_DAYS)
        assert location.calls == ["read", "write", "read"]
        assert location.value == "GatewayKey " + a_token(IN_30_DAYS).value.reveal()
        assert estate.gateways.issued == [("edge-01", KeyType.PRIMARY, IN_30_DAYS)]

    async def test_the_new_expiry_is_the_whole_hour_before_the_lifetime_ends_counted_from_the_request(
        self,
    ) -> None:
        estate = contoso(lifetime="P7D")
        estate.clock.now = NOW + 59 * MINUTE
        (row,) = await estate.renew(Demand(NOW + 30 * MINUTE))
        assert row.seen is not None
        assert row.seen.expiry == NOW + 7 * DAY

    async def test_two_destinations_of_a_gateway_get_one_token(self) -> None:
        estate = contoso("a", "b")
        await estate.run()
        assert estate.locations["a"].value == estate.locations["b"].value
        assert len(estate.gateways.issued) == 1

    async def test_exactly_the_same_value_is_not_written_again_under_force_either(self) -> None:
        estate = contoso()
        await estate.run()
        estate.clock.now = NOW + MINUTE
        (row,) = await estate.renew(Demand(NOW + MINUTE, issued_before=NOW + MINUTE))
        assert row.outcome == "unchanged"
        assert estate.locations[HOME].calls.count("write") == 1

    async def test_a_value_that_changed_since_it_was_read_is_planned_anew(self) -> None:
        estate = contoso()
        location = estate.deliver(HOME, a_token(DUE))
        read = location.read

        async def read_and_lose_the_race() -> Any:  # noqa: ANN401 - whatever it reads
            stored = await read()
            if location.calls == ["read"]:
                estate.deliver(HOME, a_token(FRESH))
            return stored

        location.read = read_and_lose_the_race  # type: ignore[method-assign]
        (row,) = await estate.renew()
        assert (row.outcome, row.seen and row.seen.expiry) == ("fresh", FRESH)

    async def test_a_value_that_reads_back_otherwise_is_a_failure_after_two_tries(self) -> None:
        estate = contoso()
        location = estate.location(HOME)
        put = location.put
        other = "GatewayKey " + a_token(DUE).value.reveal()
        location.put = lambda value, tags=None, writer="": put(other if value else value, tags, writer)  # type: ignore[method-assign]
        (row,) = await estate.renew()
        assert (row.outcome, row.failure and row.failure.code) == ("failed", "not_verified")
        assert location.calls.count("write") == 2

    async def test_a_value_that_is_not_a_token_is_refused_and_nothing_is_issued(self) -> None:
        estate = contoso()
        estate.location(HOME).put("somebody's password")
        assert [row["code"] for row in await estate.run()] == ["not_owned"]
        assert (estate.locations[HOME].calls, estate.gateways.issued) == (["read"], [])

    async def test_an_answer_for_another_gateway_is_not_delivered(self) -> None:
        estate = contoso()
        estate.gateways.answer = a_token(IN_30_DAYS, "edge-02")
        assert [row["code"] for row in await estate.run()] == ["token_unusable"]
        assert estate.locations[HOME].value is None

    async def test_an_unexpected_error_is_told_by_its_type_and_place_never_by_its_text(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = contoso()
        estate.location(HOME).failing = {"read": ValueError("GatewayKey secret&text")}  # type: ignore[dict-item]
        assert [row["code"] for row in await estate.run()] == ["internal_error"]
        (line,) = lines(caplog, "unexpected_failure")
        assert line["error"] == "ValueError"
        assert "secret&text" not in caplog.text


class TestRestarts:
    def a_workload(self, **more: object) -> tuple[Estate, MemoryDestination]:
        estate = contoso()
        location = estate.location(HOME, restartable=True)
        for name, value in more.items():
            setattr(location, name, value)
        return estate, location

    async def test_a_restart_is_asked_for_and_not_waited_for(self) -> None:
        estate, location = self.a_workload(slow=True)
        assert [row["outcome"] for row in await estate.run()] == ["restarting"]
        assert location.calls == ["read", "write", "read", "restart"]

    async def test_the_next_run_judges_it(self) -> None:
        estate, location = self.a_workload(slow=True)
        await estate.run()
        estate.clock.now += MINUTE
        assert [row["outcome"] for row in await estate.run()] == ["restarting"]
        location.running = location.asked
        estate.clock.now += MINUTE
        assert [row["outcome"] for row in await estate.run()] == ["fresh"]
        assert location.restarts_begun == 1

    async def test_one_that_takes_too_long_is_a_failure_until_it_is_done(self) -> None:
        estate, location = self.a_workload(slow=True, late_at=NOW + HOUR)
        await estate.run()
        estate.clock.now += HOUR
        (row,) = await estate.run()
        assert (row["outcome"], row["code"]) == ("failed", "not_restarted")
        location.running = location.asked
        estate.clock.now += HOUR
        assert [row["outcome"] for row in await estate.run()] == ["fresh"]

    async def test_a_lost_request_for_a_restart_is_made_again(self) -> None:
        estate, location = self.a_workload(failing={"restart": OUTAGE})
        (row,) = await estate.run()
        assert (row["outcome"], row["code"]) == ("failed", "azure_unavailable")
        location.failing = {}
        estate.clock.now += HOUR
        assert [row["outcome"] for row in await estate.run()] == ["restarting"]
        assert (location.restarts_begun, len(estate.gateways.issued)) == (1, 1)


class TestNeighbours:
    async def test_the_third_of_five_fails_and_the_others_are_served(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = many(5)
        estate.location("contoso-edge-002").failing = {"write": OUTAGE}
        await estate.run()
        assert sorted(outcomes(estate).values()) == ["failed"] + ["renewed"] * 4
        (row,) = [line for line in lines(caplog, "run.row") if line["outcome"] == "failed"]
        assert (row["gateway"], row["code"], row["level"]) == ("edge-002", "azure_unavailable", "ERROR")
        (total,) = lines(caplog, "run.completed")
        assert (total["level"], total["rows"], total["failed"], total["renewed"]) == ("ERROR", 5, 1, 4)

    async def test_the_most_urgent_come_first(self) -> None:
        estate = many(40)
        for n in range(40):
            estate.deliver(
                f"contoso-edge-{n:03}",
                a_token(NOW + timedelta(days=9, hours=-n), f"edge-{n:03}"),
                f"contoso-apim/edge-{n:03}",
            )
        await estate.run()
        first = [gateway for gateway, *_ in estate.gateways.issued[:16]]
        assert set(first) == {f"edge-{n:03}" for n in range(24, 40)}

    async def test_four_requests_at_a_time_go_to_one_service(self) -> None:
        estate = many(40)
        await estate.run()
        assert estate.gateways.most == 4

    async def test_a_service_that_cannot_be_listed_has_its_named_gateways_renewed(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = contoso()
        estate.gateways.unlisted[CONTOSO] = OUTAGE
        await estate.run()
        assert {row["code"] for row in estate.rows()} == {"", "azure_unavailable"}
        assert estate.locations[HOME].value
        assert [line["reason"] for line in lines(caplog, "run.row") if line["outcome"] == "failed"] == [
            "not_listed"
        ]

    async def test_a_location_that_hangs_does_not_keep_the_others_waiting(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(services, "READ_FIRST_SECONDS", 0.01)
        estate, never = many(4), asyncio.Event()
        estate.location("contoso-edge-000").read = never.wait  # type: ignore[method-assign, assignment]
        running = asyncio.create_task(estate.run())
        async with asyncio.timeout(5):
            while len(estate.gateways.issued) < 3:  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.01)
        never.set()
        await running

    async def test_a_services_time_is_bounded_and_what_was_not_reached_is_said(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(runs, "SERVICE_SECONDS", 0.1)
        monkeypatch.setattr(services, "READ_FIRST_SECONDS", 0.01)
        estate = many(3)
        estate.location("contoso-edge-001").read = asyncio.Event().wait  # type: ignore[method-assign, assignment]
        await estate.run()
        assert sorted(outcomes(estate).values()) == ["not_reached", "renewed", "renewed"]
        assert len(lines(caplog, "service.cut_off")) == 1

    async def test_a_service_whose_gateways_were_not_listed_in_time_keeps_its_report(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        estate = many(2)
        await estate.run()
        estate.clock.now += HOUR
        monkeypatch.setattr(runs, "SERVICE_SECONDS", 0.0)
        await estate.run()
        assert sorted(outcomes(estate).values()) == ["renewed", "renewed"]
        assert estate.report().completed_at == NOW

    async def test_gateways_without_a_rule_and_rules_without_a_gateway_are_told(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        service = {"resourceId": str(CONTOSO), "gateways": {"edge-*": kept(), "lab-*": kept("lab-{gateway}")}}
        estate = Estate({"contoso": service}, {CONTOSO: ("edge-01", "plant-1", "odd name")})
        await estate.run()
        (line,) = lines(caplog, "service.unmatched")
        assert (line["gateways"], line["rules"]) == ("odd name, plant-1", "lab-*")

    async def test_the_order_of_services_changes_with_every_run(self) -> None:
        names = {
            f"s{n:02}": {
                "resourceId": str(CONTOSO).replace("contoso-apim", f"s{n}-apim"),
                "gateways": {"*": kept()},
            }
            for n in range(12)
        }
        orders = set()
        for number in range(4):
            estate = Estate(names, {})
            for service in estate.app.settings.estate.services.values():
                estate.gateways.estate[service.resource_id] = ("edge-01",)
            await estate.run(run=f"run-{number}")
            orders.add(
                tuple(name for name, *_ in [(n,) for n in estate.reports.texts if n.startswith("reports/")])
            )
        assert len(orders) > 1


class TestGone:
    async def test_a_named_gateway_is_gone_only_when_azure_says_so_of_it(self) -> None:
        estate = contoso()
        estate.deliver(HOME, a_token(FRESH))
        estate.gateways.estate[CONTOSO] = ()
        assert [row["outcome"] for row in await estate.run()] == ["fresh"]
        estate.clock.now = FRESH - DAY
        assert [row["outcome"] for row in await estate.run()] == ["gone"]

    async def test_one_with_a_live_token_still_counts_as_at_risk(self) -> None:
        estate = contoso()
        estate.deliver(HOME, a_token(FRESH))
        estate.gateways.estate[CONTOSO] = ()
        estate.clock.now = FRESH - DAY
        await estate.run()
        assert estate.report().summary(estate.clock())["atrisk"] == "1"

    async def test_one_that_a_pattern_matched_leaves_the_report_with_a_line(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = many(2)
        await estate.run()
        estate.gateways.estate[CONTOSO] = ("edge-000",)
        estate.clock.now += HOUR
        await estate.run()
        assert [line["gateway"] for line in lines(caplog, "gateway.gone")] == ["edge-001"]
        assert [row["gateway"] for row in estate.rows()] == ["edge-000"]


class TestSharedCauses:
    """Sixty rows behind something dead: it is tried once or twice, and the others are done in their usual time."""

    def an_estate(self, error: GatewayTokensError) -> Estate:
        service = {
            "resourceId": str(CONTOSO),
            "gateways": {
                "dead-*": {"destinations": [{"kind": "keyVault", "vault": "https://dead.example"}]},
                "edge-*": kept(),
            },
        }
        names = [name for n in range(60) for name in (f"dead-{n:02}", f"edge-{n:02}")]
        estate = Estate({"contoso": service}, {CONTOSO: names})
        for n in range(60):
            estate.locations[f"https://dead.example/secrets/dead-{n:02}-token"].failing = {"read": error}
        return estate

    def tries(self, estate: Estate) -> int:
        return sum("read" in place.calls for name, place in estate.locations.items() if "dead" in name)

    @pytest.mark.parametrize(
        ("error", "most"),
        [
            (AzureUnavailable("Reading", AzureFacts()), 4),
            (IdentityUnavailable("Reading", AzureFacts(500)), 4),
            (SILENT, 5),
            (AzureUnavailable("Reading", AzureFacts(503)), 5),
            (AzureThrottled("Reading", AzureFacts(429)), 5),
        ],
    )
    async def test_what_is_everybodys_failure_is_tried_once(self, error: AzureError, most: int) -> None:
        estate = self.an_estate(error)
        rows = await estate.run()
        assert sum(row["outcome"] == "renewed" for row in rows) == 60
        assert {row["code"] for row in rows if row["outcome"] == "failed"} == {error.code}
        assert self.tries(estate) <= most

    @pytest.mark.parametrize(
        "error",
        [
            AzureError("Reading", AzureFacts(400)),
            AzureForbidden("Reading", AzureFacts(403), "get", "there"),
            AzureUnavailable("Reading", AzureFacts(500)),
            DestinationBlocked("there", "is disabled"),
        ],
    )
    async def test_an_answer_to_one_row_is_that_rows_alone(self, error: GatewayTokensError) -> None:
        estate = self.an_estate(error)
        await estate.run()
        assert self.tries(estate) == 60

    async def test_a_row_that_succeeds_lifts_it_for_the_next_run(self) -> None:
        estate = self.an_estate(AzureUnavailable("Reading", AzureFacts()))
        await estate.run()
        for place in estate.locations.values():
            place.failing = {}
        estate.clock.now += HOUR
        assert {row["outcome"] for row in await estate.run()} == {"renewed", "fresh"}


class TestDoubledWork:
    def request(self, **more: Any) -> RunRequest:  # noqa: ANN401 - RunRequest's own
        return RunRequest(**{"subscription": CONTOSO.subscription_id, "run": "one", "asked_at": NOW, **more})

    async def test_twenty_requests_at_once_are_one_run_and_one_token_each(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = many(20)
        requests = [self.request(run=f"run-{n}", force=True) for n in range(20)]
        estate.clock.now = NOW + MINUTE
        await asyncio.gather(*(estate.runs.reconcile(estate.app, request) for request in requests))
        assert len(estate.gateways.issued) == 20
        assert len(lines(caplog, "run.completed")) == 1
        assert len(lines(caplog, "run.covered")) == 19

    async def test_a_request_that_was_covered_is_told_by_the_run_that_took_its_place(self) -> None:
        estate = contoso()
        estate.clock.now = NOW + MINUTE
        for run in ("one", "two"):
            await estate.runs.reconcile(estate.app, self.request(run=run))
        assert await runs.run_in_place_of(estate.app, CONTOSO.subscription_id, "two") == "one"
        assert await runs.run_in_place_of(estate.app, CONTOSO.subscription_id, "other") == ""

    async def test_a_message_that_is_delivered_again_goes_on_with_its_own_run(self) -> None:
        estate = contoso()
        estate.clock.now = NOW + MINUTE
        estate.location(HOME).failing = {"write": OUTAGE}
        await estate.runs.reconcile(estate.app, self.request())
        estate.locations[HOME].failing = {}
        await estate.runs.reconcile(estate.app, self.request())
        assert outcomes(estate) == {HOME: "renewed"}

    async def test_a_request_after_the_run_began_is_a_run_of_its_own(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = contoso()
        await estate.runs.reconcile(estate.app, self.request())
        await estate.runs.reconcile(estate.app, self.request(run="two", asked_at=NOW + MINUTE))
        assert len(lines(caplog, "run.completed")) == 2

    @pytest.mark.parametrize(
        ("run", "request_", "covered"),
        [
            ({}, {}, True),
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
        self,
        run: dict[str, Any],
        request_: dict[str, Any],
        covered: bool,  # noqa: FBT001
    ) -> None:
        assert self.request(**run).covers(self.request(**request_)) is covered

    @pytest.mark.parametrize("failing", ["read", "write"])
    @pytest.mark.parametrize("error", [OUTAGE, ValueError("odd")])
    async def test_whatever_storage_answers_the_run_starts(self, failing: str, error: Exception) -> None:
        estate = contoso()
        estate.reports.failing = {failing: error}
        await estate.run()
        assert estate.locations[HOME].value

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            "{",
            "null",
            '{"rows": 3}',
            '{"rows": [1, {}, {"service": 1}]}',
            '{"beganAt": "x"}',
            '{"run": NaN}',
            "\ufffd",
            '{"completedAt": "9999-01-01T00:00:00Z", "rows": [{"service": "contoso", "gateway": "edge-01", "location": "x", "at": "9999-01-01T00:00:00Z"}]}',
        ],
    )
    async def test_whatever_the_blobs_hold_every_due_token_is_delivered(self, text: str) -> None:
        estate = contoso()
        estate.reports.texts = {f"runs/{CONTOSO.subscription_id}.json": text, "reports/contoso.json": text}
        await estate.run()
        assert estate.locations[HOME].value

    @pytest.mark.parametrize("ended", [5, "x", {"a": 1}, [1, None], None])
    async def test_a_record_with_a_damaged_list_of_ended_runs_still_names_its_run(
        self, ended: object
    ) -> None:
        estate = contoso()
        (request,) = run_requests(estate.app.settings.estate, NOW)
        record = {**json.loads(as_message(request)), "beganAt": NOW.isoformat(), "ended": ended}
        estate.reports.texts = {runs.record_name(request.subscription): json.dumps(record)}
        assert await runs.run_in_place_of(estate.app, request.subscription, request.run) == request.run


class TestMessages:
    def test_one_asks_for_one_subscription(self) -> None:
        gateways = {"*": kept()}
        estate = Estate(
            {
                "a": {"resourceId": str(CONTOSO), "gateways": gateways},
                "b": {"resourceId": str(FABRIKAM), "gateways": gateways},
                "c": {"resourceId": str(CONTOSO).replace("contoso-apim", "c")},
            },
            {},
        )
        requests = run_requests(estate.app.settings.estate, NOW)
        assert [r.subscription for r in requests] == [CONTOSO.subscription_id, FABRIKAM.subscription_id]
        assert len({r.run for r in requests}) == 1

    def test_a_message_comes_back_as_it_was_written(self) -> None:
        request = RunRequest(
            subscription="s",
            run="r",
            asked_at=NOW,
            asked_by="x",
            gateways=("a/*",),
            force=True,
            expires_before=NOW + DAY,
        )
        assert read_message(as_message(request).encode()) == request

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b'{"subscription": "s"}',
            b'{"subscription": "s", "run": "r", "askedAt": "soon"}',
            b'{"subscription": "s", "run": "r", "askedAt": "2026-03-01T12:00:00Z", "forced": true}',
            b"\xff",
        ],
    )
    def test_what_is_not_one_is_refused(self, body: bytes) -> None:
        with pytest.raises(GatewayTokensError) as caught:
            read_message(body)
        assert caught.value.code == "message_invalid"

    async def test_a_subscription_that_left_the_settings_ends_its_message_quietly(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = contoso()
        await estate.runs.reconcile(estate.app, RunRequest(subscription="gone", run="r", asked_at=NOW))
        assert [line["level"] for line in lines(caplog, "run.not_needed")] == ["INFO"]

    async def test_a_selection_reconciles_those_gateways_only(self) -> None:
        estate = many(3)
        await estate.run(gateways=("contoso/edge-001",))
        assert outcomes(estate) == {"contoso-edge-001": "renewed"}

    async def test_a_selection_leaves_the_other_rows_of_the_report_alone(self) -> None:
        estate = many(3)
        await estate.run()
        estate.clock.now += HOUR
        await estate.run(gateways=("contoso/edge-001",), force=True)
        assert outcomes(estate) == {
            "contoso-edge-000": "renewed",
            "contoso-edge-001": "renewed",
            "contoso-edge-002": "renewed",
        }
        assert (
            json.loads(estate.reports.texts["reports/contoso.json"])["completedAt"] == "2026-03-01T12:00:00Z"
        )
