"""What the last sweep's record says of the app's health."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gateway_tokens.renewal.health import problems_of
from gateway_tokens.renewal.record import SweepRecord
from tests.renewal_estate import DAY, HOUR, MINUTE, NOW, a_trouble

WELL = SweepRecord(started_at=NOW - MINUTE, completed_at=NOW, risk_begins=NOW + DAY)


def codes(record: SweepRecord, interval: timedelta = HOUR) -> list[str]:
    return [problem.code for problem in problems_of(record, interval, NOW)]


def test_a_recent_sweep_that_left_nothing_at_risk_is_well() -> None:
    assert codes(WELL) == []


def test_no_sweep_yet_is_a_problem() -> None:
    assert codes(SweepRecord()) == ["no_sweep_yet"]


@pytest.mark.parametrize(
    ("ago", "found"),
    [(3 * HOUR - MINUTE, []), (3 * HOUR, []), (3 * HOUR + MINUTE, ["sweep_missing"])],
)
def test_a_sweep_is_missing_after_three_intervals(ago: timedelta, found: list[str]) -> None:
    assert codes(replace(WELL, completed_at=NOW - ago)) == found


@pytest.mark.parametrize(("ago", "found"), [(3 * DAY, []), (3 * DAY + MINUTE, ["sweep_missing"])])
def test_a_longer_schedule_waits_longer(ago: timedelta, found: list[str]) -> None:
    assert codes(replace(WELL, completed_at=NOW - ago), DAY) == found


@pytest.mark.parametrize(
    ("begins", "found"),
    [(NOW - MINUTE, ["token_at_risk"]), (NOW, ["token_at_risk"]), (NOW + MINUTE, []), (None, [])],
)
def test_a_token_that_was_well_comes_to_be_at_risk_as_time_passes(
    begins: datetime | None, found: list[str]
) -> None:
    assert codes(replace(WELL, risk_begins=begins)) == found


def test_a_trouble_is_a_problem_once_its_token_is_at_risk() -> None:
    assert codes(replace(WELL, troubles={"row": a_trouble(at_risk=False)})) == []
    assert codes(replace(WELL, troubles={"row": a_trouble(at_risk=True)})) == ["token_at_risk"]


def test_everything_wrong_is_told_at_once() -> None:
    record = SweepRecord(completed_at=NOW - DAY, troubles={"row": a_trouble(at_risk=True)})
    assert codes(record) == ["sweep_missing", "token_at_risk"]


def test_the_details_say_when_and_how_many() -> None:
    troubles = {name: a_trouble(at_risk=True) for name in ("a", "b")}
    missing, at_risk = problems_of(SweepRecord(completed_at=NOW - DAY, troubles=troubles), HOUR, NOW)
    assert "2026-02-28T12:00Z" in missing.detail
    assert "2 managed tokens" in at_risk.detail
