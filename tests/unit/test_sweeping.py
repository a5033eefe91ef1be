"""Keeping a whole estate: which gateways, how many at a time, what is logged, counted and remembered."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from gateway_tokens.errors import AzureFacts, AzureUnavailable
from gateway_tokens.renewal.checks import Reason
from gateway_tokens.renewal.record import SweepRecord
from gateway_tokens.renewal.report import Outcome, Row, SweepReport
from gateway_tokens.renewal.run import plan, remember, sweep
from gateway_tokens.renewal.service import CONCURRENCY
from gateway_tokens.tokens import GatewayRef
from tests.renewal_estate import (
    CONTOSO,
    DAY,
    FABRIKAM,
    HOUR,
    IN_30_DAYS,
    MINUTE,
    NOW,
    OUTAGE,
    PLACES,
    Estate,
    Only,
    a_token,
    a_trouble,
    contoso,
    kept,
    lines,
)

UNREACHABLE = AzureUnavailable("Listing", AzureFacts(503))
FIRST = "contoso/edge-01 -> https://memory.example/secrets/contoso-edge-01"


def two_services(
    rules: Mapping[str, Any] | None = None,
    contosos: Sequence[str] = ("edge-01", "edge-02"),
    fabrikams: Sequence[str] = ("plant-a",),
) -> Estate:
    """Two services in two subscriptions; every gateway of the first is kept unless other rules are given."""
    services = {
        "contoso": {"resourceId": str(CONTOSO), "gateways": rules or {"*": kept()}},
        "fabrikam": {"resourceId": str(FABRIKAM), "gateways": {"plant-*": kept()}},
    }
    return Estate(services, {CONTOSO: contosos, FABRIKAM: fabrikams})


async def swept(estate: Estate) -> dict[str, Outcome | None]:
    """Outcomes by gateway, of all but fresh rows."""
    return {str(row.ref): row.outcome for row in (await sweep(estate.app)).rows}


class TestWhichGateways:
    async def test_are_kept_over_services_and_subscriptions(self) -> None:
        assert await swept(two_services()) == dict.fromkeys(
            ("contoso/edge-01", "contoso/edge-02", "fabrikam/plant-a"), Outcome.RENEWED
        )

    async def test_only_those_that_a_pattern_names(self) -> None:
        estate = two_services({"edge-*": kept()}, ("edge-01", "lab-01"), ("plant-a", "office"))
        assert set(await swept(estate)) == {"contoso/edge-01", "fabrikam/plant-a"}

    async def test_each_by_the_most_literal_rule(self) -> None:
        rules = {
            "*": kept("all-{gateway}"),
            "edge-*": kept("edge-{gateway}"),
            "edge-02": kept("own", lifetime="P7D"),
        }
        estate = two_services(rules, ("edge-01", "edge-02", "lab-01"))
        await sweep(estate.app)
        assert set(estate.locations) == {"edge-edge-01", "own", "all-lab-01", "fabrikam-plant-a"}
        assert {gateway: expiry for gateway, _, expiry in estate.gateways.issued} == {
            "edge-01": IN_30_DAYS,
            "edge-02": NOW + 7 * DAY,
            "lab-01": IN_30_DAYS,
            "plant-a": IN_30_DAYS,
        }

    async def test_none_that_a_rule_leaves_alone_or_delivers_nowhere(self) -> None:
        rules = {"*": kept(), "lab-*": {"renew": False}, "edge-02": {}}
        assert "contoso/edge-02" not in (
            outcomes := await swept(two_services(rules, ("edge-01", "edge-02", "lab-01")))
        )
        assert "contoso/lab-01" not in outcomes

    async def test_a_service_that_delivers_nothing_is_not_even_asked(self) -> None:
        estate = two_services({"*": {}})
        estate.gateways.unlisted = {CONTOSO: UNREACHABLE}
        assert await swept(estate) == {"fabrikam/plant-a": Outcome.RENEWED}

    async def test_a_new_one_is_picked_up_by_the_next_sweep(self) -> None:
        estate = two_services()
        await sweep(estate.app)
        estate.gateways.estate[CONTOSO] = ("edge-01", "edge-02", "edge-03")
        assert await swept(estate) == {"contoso/edge-03": Outcome.RENEWED}

    async def test_a_deleted_one_that_a_pattern_named_drops_out_with_one_note(self) -> None:
        estate = two_services()
        await sweep(estate.app)
        estate.gateways.estate[CONTOSO] = ("edge-01",)
        report = await sweep(estate.app)
        (row,) = (row for row in report.rows if row.outcome is Outcome.GONE)
        assert (row.ref, row.reason) == (GatewayRef("contoso", "edge-02"), Reason.GATEWAY_GONE)
        assert (report.failed, report.at_risk) == (0, 0)
        assert (await sweep(estate.app)).counts == {"fresh": 2}

    async def test_a_deleted_one_that_the_settings_name_is_noted_once_in_each_sweep(self) -> None:
        estate = two_services({"edge-01": kept(), "edge-02": kept()})
        await sweep(estate.app)
        estate.gateways.estate[CONTOSO] = ("edge-01",)
        assert (await sweep(estate.app)).counts["gone"] == 1
        assert (await sweep(estate.app)).counts["gone"] == 1

    async def test_none_is_noted_as_deleted_while_its_service_cannot_be_listed(self) -> None:
        estate = two_services()
        await sweep(estate.app)
        estate.gateways.unlisted = {CONTOSO: OUTAGE}
        estate.gateways.estate[CONTOSO] = ("edge-01",)
        assert Outcome.GONE not in (await sweep(estate.app)).counts
        assert "contoso/edge-02" in estate.sweeps.record.gateways

    async def test_none_is_noted_as_deleted_by_a_sweep_of_a_part(self) -> None:
        estate = two_services()
        await sweep(estate.app)
        report = await sweep(estate.app, Only(lambda ref: ref.service == "fabrikam"), complete=False)
        assert report.counts == {"fresh": 1}

    async def test_a_deleted_one_that_the_settings_name_drops_out_with_a_note(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = two_services({"edge-01": kept(), "EDGE-02": kept()}, ("edge-02",))
        with caplog.at_level(logging.INFO):
            report = await sweep(estate.app)
        (row,) = (row for row in report.rows if row.outcome is Outcome.GONE)
        assert (row.ref, row.reason) == (GatewayRef("contoso", "edge-01"), Reason.GATEWAY_GONE)
        assert (report.failed, report.at_risk) == (0, 0)
        assert "contoso-edge-01" not in estate.locations
        (line,) = (line for line in lines(caplog, "sweep.row") if line["outcome"] == "gone")
        assert (line["gateway"], line["level"]) == ("edge-01", "INFO")

    async def test_only_those_that_are_permitted(self) -> None:
        estate = two_services({"*": kept(), "edge-09": kept()})
        report = await sweep(estate.app, Only(lambda ref: ref.gateway == "edge-02"), complete=False)
        assert [str(row.ref) for row in report.rows] == ["contoso/edge-02"]


class TestAServiceThatCannotBeListed:
    @pytest.mark.parametrize(
        ("error", "code"),
        [(UNREACHABLE, "azure_unavailable"), (AttributeError("edge-01&2026"), "internal_error")],
    )
    async def test_is_a_failed_row_of_its_own_and_leaves_the_other_services_alone(
        self, error: Exception, code: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = two_services(contosos=())
        estate.gateways.unlisted = {CONTOSO: error}
        report = await sweep(estate.app)
        row = next(row for row in report.rows if row.reason is Reason.NOT_LISTED)
        assert (str(row.ref), row.outcome, row.code, row.location) == (
            "contoso/*",
            Outcome.FAILED,
            code,
            str(CONTOSO),
        )
        assert report.counts[Outcome.RENEWED] == 1
        (line,) = lines(caplog, "sweep.not_listed")
        assert (line["service"], line["code"], line["level"]) == ("contoso", code, "ERROR")
        assert "2026" not in line["error"]

    async def test_still_has_the_gateways_kept_that_the_settings_name(self) -> None:
        estate = two_services({"edge-01": kept(), "*": kept()}, ())
        estate.gateways.estate[CONTOSO] = ()
        estate.gateways.unlisted = {CONTOSO: UNREACHABLE}
        estate.deliver("contoso-edge-01", a_token(NOW + 20 * DAY))
        report = await sweep(estate.app, Only(lambda ref: ref.service == "contoso"))
        assert dict(report.counts) == {Outcome.FRESH: 1, Outcome.FAILED: 1}

    async def test_has_those_kept_that_were_listed_before_it_broke_off_and_none_twice(self) -> None:
        estate = two_services({"edge-01": kept(), "edge-02": kept(), "*": kept()}, ("EDGE-01", "edge-03"))
        estate.gateways.unlisted = {CONTOSO: UNREACHABLE}
        estate.deliver("contoso-edge-02", a_token(NOW + 20 * DAY, "edge-02"), "contoso-apim/edge-02")
        report = await sweep(estate.app, Only(lambda ref: ref.service == "contoso"))
        assert sorted(gateway for gateway, _, _ in estate.gateways.issued) == ["EDGE-01", "edge-03"]
        assert dict(report.counts) == {Outcome.RENEWED: 2, Outcome.FRESH: 1, Outcome.FAILED: 1}

    async def test_is_at_risk_only_when_it_cannot_be_listed_for_three_sweeps(self) -> None:
        estate = two_services()
        estate.gateways.unlisted = {CONTOSO: UNREACHABLE}
        assert [(await sweep(estate.app)).at_risk for _ in range(4)] == [0, 0, 1, 1]

    async def test_keeps_what_is_known_of_its_troubles_and_no_others(self) -> None:
        estate = two_services(contosos=())
        estate.gateways.unlisted = {CONTOSO: UNREACHABLE}
        trouble = a_trouble(5, at_risk=True)
        estate.sweeps.record = SweepRecord(
            troubles={
                "contoso/edge-07 -> https://memory.example/secrets/contoso-edge-07": trouble,
                "fabrikam/plant-z -> https://memory.example/secrets/fabrikam-plant-z": trouble,
            }
        )
        await sweep(estate.app)
        assert (
            estate.sweeps.record.troubles["contoso/edge-07 -> https://memory.example/secrets/contoso-edge-07"]
            == trouble
        )
        assert (
            "fabrikam/plant-z -> https://memory.example/secrets/fabrikam-plant-z"
            not in estate.sweeps.record.troubles
        )


class TestHowManyAtATime:
    async def test_never_more_than_the_limit_and_no_fewer_while_there_is_work(self) -> None:
        names = [f"edge-{number:03}" for number in range(5 * CONCURRENCY)]
        estate = two_services(contosos=names, fabrikams=[f"plant-{number}" for number in range(40)])
        report = await sweep(estate.app)
        assert report.counts[Outcome.RENEWED] == 5 * CONCURRENCY + 40
        assert estate.gateways.most == CONCURRENCY

    async def test_progress_is_told_every_hundred_rows(self, caplog: pytest.LogCaptureFixture) -> None:
        estate = two_services(contosos=[f"edge-{number:03}" for number in range(250)])
        with caplog.at_level(logging.INFO):
            await sweep(estate.app)
        assert [(line["rows"], line["failed"]) for line in lines(caplog, "sweep.progress")] == [
            (100, 0),
            (200, 0),
        ]


class TestWhatIsRemembered:
    async def test_when_it_ran_what_it_counted_and_when_risk_begins(self) -> None:
        estate = two_services()
        estate.clock.now = NOW + MINUTE
        await sweep(estate.app)
        record = estate.sweeps.record
        assert (record.started_at, record.completed_at) == (NOW + MINUTE, NOW + MINUTE)
        assert (record.counts, record.troubles) == ({"renewed": 3}, {})
        assert record.risk_begins == IN_30_DAYS + MINUTE - 5 * DAY

    async def test_a_trouble_and_how_often_in_a_row(self) -> None:
        estate = contoso()
        estate.location("contoso-edge-01").failing = {"write": OUTAGE}
        for hours in range(3):
            estate.clock.now = NOW + hours * HOUR
            await sweep(estate.app)
        trouble = estate.sweeps.record.troubles[FIRST]
        assert (trouble.failures, trouble.last_failure, trouble.code) == (
            3,
            NOW + 2 * HOUR,
            "azure_unavailable",
        )
        assert trouble.at_risk

    async def test_a_failed_row_is_tried_at_every_sweep(self) -> None:
        estate = contoso()
        estate.deliver("contoso-edge-01", a_token(NOW + 9 * DAY)).failing = {"write": OUTAGE}
        for hours in range(8):
            estate.clock.now = NOW + hours * HOUR
            (row,) = (await sweep(estate.app)).rows
            assert (row.outcome, row.failures) == (Outcome.FAILED, hours + 1)

    async def test_a_trouble_is_forgotten_once_the_row_is_well(self) -> None:
        estate = contoso()
        estate.sweeps.record = SweepRecord(
            troubles={
                FIRST: a_trouble(9),
                "contoso/other -> https://memory.example/secrets/contoso-other": a_trouble(),
            }
        )
        await sweep(estate.app)
        assert estate.sweeps.record.troubles == {}

    async def test_a_sweep_of_a_part_settles_only_what_it_saw_and_does_not_count_as_complete(self) -> None:
        estate = contoso()
        estate.sweeps.record = before = SweepRecord(
            completed_at=NOW - DAY,
            troubles={
                FIRST: a_trouble(9),
                "contoso/other -> https://memory.example/secrets/contoso-other": a_trouble(),
            },
        )
        await sweep(estate.app, complete=False)
        assert estate.sweeps.record == replace(
            before, troubles={"contoso/other -> https://memory.example/secrets/contoso-other": a_trouble()}
        )

    async def test_a_reaction_that_came_in_meanwhile_stays(self) -> None:
        reacted = SweepRecord(reactions={"contoso/edge-01": NOW})
        assert remember(reacted, SweepReport(NOW), NOW, complete=True).reactions == reacted.reactions

    async def test_a_record_that_cannot_be_read_stops_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        estate = contoso()
        estate.sweeps.failing = {"load": OUTAGE}
        assert (await sweep(estate.app)).counts[Outcome.RENEWED] == 1
        (line,) = lines(caplog, "sweep.record_unreadable")
        assert (line["code"], line["level"]) == ("azure_unavailable", "ERROR")

    async def test_a_record_that_cannot_be_written_is_told_after_all_rows_are_done(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = two_services()
        estate.sweeps.failing = {"update": OUTAGE}
        with caplog.at_level(logging.INFO), pytest.raises(AzureUnavailable):
            await sweep(estate.app)
        assert all(location.value for location in estate.locations.values())
        assert len(lines(caplog, "sweep.completed")) == 1


class TestLines:
    async def test_a_row_has_stable_names(self, caplog: pytest.LogCaptureFixture) -> None:
        estate = contoso()
        estate.deliver("contoso-edge-01", a_token(NOW + 8 * DAY))
        with caplog.at_level(logging.INFO):
            await sweep(estate.app)
        (line,) = lines(caplog, "sweep.row")
        assert line == {
            "event": "sweep.row",
            "level": "INFO",
            "service": "contoso",
            "gateway": "edge-01",
            "destination": f"{PLACES}contoso-edge-01",
            "reason": "in_renewal_window",
            "outcome": "renewed",
            "keyType": "primary",
            "oldExpiry": "2026-03-09T12:00:00Z",
            "newExpiry": "2026-03-31T11:55:00Z",
            "atRisk": False,
            "hoursLeft": 719.9,
            "consecutiveFailures": 0,
        }

    async def test_a_failed_row_is_an_error_with_its_code(self, caplog: pytest.LogCaptureFixture) -> None:
        estate = contoso()
        estate.location("contoso-edge-01").failing = {"write": OUTAGE}
        with caplog.at_level(logging.INFO):
            await sweep(estate.app)
        (line,) = lines(caplog, "sweep.row")
        assert (line["level"], line["code"], line["error"]) == ("ERROR", "azure_unavailable", str(OUTAGE))
        assert (line["atRisk"], "hoursLeft" in line) == (True, False)
        assert (line["outcome"], line["consecutiveFailures"]) == ("failed", 1)

    async def test_a_failing_row_tells_the_hours_left_of_the_token_that_is_still_there(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = contoso()
        estate.deliver("contoso-edge-01", a_token(NOW + 26 * HOUR)).failing = {"write": OUTAGE}
        await sweep(estate.app)
        (line,) = lines(caplog, "sweep.row")
        assert (line["atRisk"], line["hoursLeft"]) == (True, 26)

    async def test_a_complete_sweep_has_a_line_for_each_subscription(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = two_services()
        with caplog.at_level(logging.INFO):
            await sweep(estate.app)
        found = [(line["subscription"], line["rows"]) for line in lines(caplog, "sweep.subscription")]
        assert found == [(CONTOSO.subscription_id, 3), (FABRIKAM.subscription_id, 3)]

    async def test_a_sweep_of_a_part_has_no_line_for_any_subscription(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO):
            await sweep(two_services().app, complete=False)
        assert lines(caplog, "sweep.subscription") == []

    async def test_a_sweep_has_stable_names(self, caplog: pytest.LogCaptureFixture) -> None:
        estate = two_services()
        estate.location("fabrikam-plant-a").failing = {"write": OUTAGE}
        estate.deliver("contoso-edge-01", a_token(NOW + 20 * DAY))
        with caplog.at_level(logging.INFO):
            await sweep(estate.app)
        (line,) = lines(caplog, "sweep.completed")
        assert line == {
            "event": "sweep.completed",
            "level": "ERROR",
            "rows": 3,
            "fresh": 1,
            "renewed": 1,
            "restarted": 0,
            "not_restarted": 0,
            "not_picked_up": 0,
            "failed": 1,
            "gone": 0,
            "atRisk": 1,
            "complete": True,
            "seconds": 0.0,
        }

    async def test_hold_no_token(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.DEBUG):
            await sweep(two_services().app)
        assert "&2026" not in caplog.text


class TestPlan:
    async def test_shows_every_row_with_its_reason_and_does_nothing(self) -> None:
        estate = two_services({"*": kept(), "edge-09": kept()})
        estate.deliver("contoso-edge-01", a_token(NOW + 20 * DAY))
        shown: list[Row] = []
        await plan(estate.app, None, shown.append)
        assert {str(row.ref): row.reason for row in shown} == {
            "contoso/edge-01": Reason.FRESH,
            "contoso/edge-02": Reason.NOT_STORED,
            "contoso/edge-09": Reason.GATEWAY_GONE,
            "fabrikam/plant-a": Reason.NOT_STORED,
        }
        assert {call for location in estate.locations.values() for call in location.calls} == {"read"}
        assert (estate.gateways.issued, estate.sweeps.record) == ([], SweepRecord())

    async def test_shows_only_what_is_permitted(self) -> None:
        shown: list[Row] = []
        await plan(two_services().app, Only(lambda ref: ref.service == "fabrikam"), shown.append)
        assert [str(row.ref) for row in shown] == ["fabrikam/plant-a"]
