"""What a sweep counts, what is at risk, and what is remembered until the next one."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from gateway_tokens.errors import SignInRequired
from gateway_tokens.renewal.checks import Reason
from gateway_tokens.renewal.record import SweepRecord, Trouble
from gateway_tokens.renewal.report import (
    MOST_ROWS_KEPT,
    NEW_FAILURE,
    TROUBLE,
    Outcome,
    Row,
    SweepReport,
    failure_of,
    row_name,
)
from gateway_tokens.tokens import GatewayRef
from tests.renewal_estate import DAY, EDGE, MINUTE, NOW, a_trouble


def a_row(outcome: Outcome | None = Outcome.FRESH, **more: Any) -> Row:  # noqa: ANN401 - Row's own
    """A row whose token is due in ten days and at risk in fifteen, unless told otherwise."""
    usual: dict[str, Any] = {
        "ref": EDGE,
        "location": "location",
        "action": None,
        "reason": Reason.FRESH,
        "message": "",
        "due": NOW + 10 * DAY,
        "at_risk_from": NOW + 15 * DAY,
    }
    return Row(**{**usual, "outcome": outcome, **more})


def unseen(failures: int, reason: Reason = Reason.NOT_OBSERVED) -> Row:
    return a_row(Outcome.FAILED, reason=reason, due=None, at_risk_from=None, failures=failures)


class TestAtRisk:
    @pytest.mark.parametrize(("from_now", "risk"), [(-MINUTE, True), (timedelta(0), True), (MINUTE, False)])
    @pytest.mark.parametrize("outcome", [None, Outcome.FRESH, Outcome.NOT_PICKED_UP])
    def test_is_every_token_close_to_its_end(
        self,
        outcome: Outcome | None,
        from_now: timedelta,
        risk: bool,  # noqa: FBT001 - a table's column
    ) -> None:
        assert a_row(outcome, at_risk_from=NOW + from_now).at_risk(NOW) is risk

    @pytest.mark.parametrize(("from_now", "risk"), [(-MINUTE, True), (timedelta(0), True), (MINUTE, False)])
    @pytest.mark.parametrize("outcome", sorted(TROUBLE))
    def test_is_a_failing_row_past_the_start_of_its_window(
        self,
        outcome: Outcome,
        from_now: timedelta,
        risk: bool,  # noqa: FBT001 - a table's column
    ) -> None:
        assert a_row(outcome, due=NOW + from_now).at_risk(NOW) is risk

    def test_is_not_a_row_that_is_well_in_its_window(self) -> None:
        assert not a_row(Outcome.FRESH, due=NOW - DAY).at_risk(NOW)

    @pytest.mark.parametrize("reason", [Reason.NOT_OBSERVED, Reason.NOT_LISTED])
    @pytest.mark.parametrize(("failures", "risk"), [(1, False), (2, False), (3, True), (4, True)])
    def test_is_what_nobody_could_look_at_three_times_in_a_row(
        self,
        reason: Reason,
        failures: int,
        risk: bool,  # noqa: FBT001 - a table's column
    ) -> None:
        assert unseen(failures, reason).at_risk(NOW) is risk

    @pytest.mark.parametrize("reason", [Reason.NOT_STORED, Reason.UNREADABLE, Reason.NOT_OWNED])
    def test_is_a_place_without_a_token_from_its_first_failure(self, reason: Reason) -> None:
        assert unseen(1, reason).at_risk(NOW)
        assert not unseen(0, reason).at_risk(NOW)

    def test_is_never_a_gateway_that_is_gone(self) -> None:
        assert not a_row(Outcome.GONE, at_risk_from=NOW - DAY, failures=9).at_risk(NOW)


class TestSweepReport:
    def test_counts_rows_by_outcome(self) -> None:
        report = SweepReport(NOW)
        for outcome in (Outcome.FRESH, Outcome.FRESH, Outcome.RENEWED, Outcome.FAILED):
            report.add(a_row(outcome), NOW)
        assert (report.total, dict(report.counts)) == (4, {"fresh": 2, "renewed": 1, "failed": 1})

    @pytest.mark.parametrize("outcome", list(Outcome))
    def test_fails_by_what_somebody_should_hear_of(self, outcome: Outcome) -> None:
        report = SweepReport(NOW)
        report.add(a_row(outcome), NOW)
        assert report.failed == (outcome in {"failed", "not_restarted", "not_picked_up"})

    def test_calls_everything_that_is_tried_again_a_new_failure(self) -> None:
        assert {Outcome.NOT_PICKED_UP} == NEW_FAILURE - TROUBLE
        assert not TROUBLE - NEW_FAILURE

    def test_counts_what_is_at_risk(self) -> None:
        report = SweepReport(NOW)
        for row in (a_row(), a_row(at_risk_from=NOW), unseen(3), unseen(2)):
            report.add(row, NOW)
        assert report.at_risk == 2

    @pytest.mark.parametrize("outcome", sorted(TROUBLE))
    def test_remembers_a_trouble(self, outcome: Outcome) -> None:
        report = SweepReport(NOW)
        row = a_row(outcome, failures=2, last_failure=NOW - MINUTE, code="azure_error", due=NOW)
        report.add(row, NOW)
        assert report.troubles == {row.name: Trouble(2, NOW - MINUTE, outcome, "azure_error", at_risk=True)}

    def test_knows_which_old_troubles_are_settled(self) -> None:
        well, failing, never = (a_row(location=location) for location in ("well", "failing", "never"))
        report = SweepReport(NOW, known=frozenset({well.name, failing.name, "unseen"}))
        for row in (well, replace(failing, outcome=Outcome.FAILED), never):
            report.add(row, NOW)
        assert report.settled == {well.name}

    def test_tells_when_the_first_row_that_is_well_will_be_at_risk(self) -> None:
        report = SweepReport(NOW)
        for days in (9, 7, 8):
            report.add(a_row(at_risk_from=NOW + days * DAY), NOW)
        report.add(a_row(Outcome.FAILED, at_risk_from=NOW + DAY), NOW)
        assert report.risk_begins == NOW + 7 * DAY

    def test_keeps_every_row_but_the_fresh_ones(self) -> None:
        report = SweepReport(NOW)
        for outcome in Outcome:
            report.add(a_row(outcome), NOW)
        assert {row.outcome for row in report.rows} == set(Outcome) - {Outcome.FRESH}

    def test_keeps_no_more_rows_than_an_answer_can_hold_and_counts_the_others(self) -> None:
        report = SweepReport(NOW)
        for _ in range(MOST_ROWS_KEPT + 1):
            report.add(a_row(Outcome.RENEWED), NOW)
        assert (len(report.rows), report.total) == (MOST_ROWS_KEPT, MOST_ROWS_KEPT + 1)

    def test_knows_which_services_were_not_listed(self) -> None:
        report = SweepReport(NOW)
        report.add(unseen(1, Reason.NOT_LISTED), NOW)
        report.add(a_row(ref=GatewayRef("fabrikam", "plant-a")), NOW)
        assert report.unlisted == {"contoso"}


class TestRowName:
    def test_holds_gateway_and_place(self) -> None:
        assert row_name(EDGE, "https://vault/secrets/x") == "contoso/edge-01 -> https://vault/secrets/x"

    def test_is_one_whatever_case_azure_or_a_caller_spells_the_gateway_in(self) -> None:
        assert row_name(GatewayRef("Contoso", "EDGE-01"), "/Files") == row_name(EDGE, "/Files")


class TestFailureOf:
    def test_tells_what_our_errors_say(self) -> None:
        assert failure_of(SignInRequired("Sign in.")) == ("sign_in_required", "Sign in.")

    def test_tells_of_an_unexpected_one_only_what_it_is(self) -> None:
        assert failure_of(ValueError("edge-01&202603311155&c2ln")) == ("internal_error", "ValueError")


class TestSweepRecord:
    FULL = SweepRecord(
        NOW - MINUTE,
        NOW,
        {"fresh": 3, "failed": 1},
        NOW + DAY,
        {"contoso/edge-01 -> location": a_trouble(3, at_risk=True)},
        {"contoso/edge-02": NOW - DAY},
    )

    @pytest.mark.parametrize("record", [FULL, SweepRecord()])
    def test_survives_a_round_trip_through_json_text(self, record: SweepRecord) -> None:
        assert SweepRecord.from_json(json.loads(json.dumps(record.as_json()))) == record

    @pytest.mark.parametrize(
        "name", ["startedAt", "completedAt", "counts", "riskBegins", "troubles", "reactions"]
    )
    def test_is_not_read_with_a_part_missing(self, name: str) -> None:
        document = self.FULL.as_json()
        del document[name]
        with pytest.raises(KeyError):
            SweepRecord.from_json(document)

    @pytest.mark.parametrize(
        "change",
        [
            {"completedAt": "yesterday"},
            {"completedAt": "2026-03-01T12:00:00"},
            {"completedAt": 5},
            {"troubles": {"row": [1]}},
            {"troubles": {"row": [1, "2026-03-01T12:00:00", "failed", "x", True]}},
            {"reactions": {"contoso/edge-01": "2026-03-01T12:00:00"}},
            {"counts": 5},
        ],
        ids=str,
    )
    def test_is_not_read_with_a_part_that_it_did_not_write(self, change: dict[str, object]) -> None:
        with pytest.raises((ValueError, KeyError, TypeError)):
            SweepRecord.from_json({**self.FULL.as_json(), **change})

    def test_reads_times_of_any_zone(self) -> None:
        document = {**self.FULL.as_json(), "completedAt": "2026-03-01T14:00:00+02:00"}
        assert SweepRecord.from_json(document).completed_at == datetime.fromisoformat("2026-03-01T12:00:00Z")
