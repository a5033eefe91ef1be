"""Schedules are read as the real Functions host reads them, and judged by their longest pause."""

import json
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_tokens.estate.schedule import longest_pause
from tests.samples import occurrences

HOST = json.loads((Path(__file__).parents[1] / "official/functions-host/ncrontab.json").read_text())
VERDICTS: list[dict[str, Any]] = HOST["schedules"]
assert len(VERDICTS) == 85, "the verdicts of the host are not complete"
# What the host takes and this app refuses on purpose, with what it says.
REFUSED = {
    **dict.fromkeys(("01:00:00", "1.00:00:00", "24:00:00", "00:00:30"), "is a time span"),
    "0 0 0 30 2 *": "names a date that never comes",
}
NOW = datetime(2026, 11, 23, 23, 20, 7, tzinfo=UTC)


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda verdict: repr(verdict["schedule"]))
def test_a_schedule_is_read_as_the_host_reads_it(verdict: dict[str, Any]) -> None:
    schedule = verdict["schedule"]
    if schedule in REFUSED or not verdict["accepted"]:
        with pytest.raises(ValueError, match=REFUSED.get(schedule, "write|separate")):
            longest_pause(schedule)
        return
    assert longest_pause(schedule)
    times = islice(occurrences(schedule, datetime.fromisoformat(verdict["from"])), len(verdict["next"]))
    assert [f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in times] == verdict["next"]


@pytest.mark.parametrize(
    ("schedule", "pause"),
    [
        ("*/15 * * * *", timedelta(minutes=15)),
        ("0 0 9 * * 1-5", timedelta(days=3)),
        ("0 0 0 29 2 *", timedelta(days=1461)),
        ("0 0 0 13 * FRI", timedelta(days=427)),
        ("*/10 * 8-18 * * 1-5", timedelta(days=2, hours=13, seconds=10)),
        ("0 * 9-11,14-17 * * *", timedelta(hours=15, minutes=1)),
    ],
)
def test_the_longest_pause_counts_nights_weekends_and_rare_dates(schedule: str, pause: timedelta) -> None:
    assert longest_pause(schedule) == pause


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("", "is not set: write six fields"),
        ("0 0 * *", "has 4 of six fields: write six fields"),
        ("0 0 3 * * 7", "day of week '7' is not a value, list, range or step of 0 to 6 or a name: write for"),
        ("0 60 * * * *", "minute '60' is not .* of 0 to 59: write for example 0, 5,35 or"),
        ("x 0 0 * 13 *", "second 'x' .*; month '13'"),
        ("0 0 0 31 4 *", "names a date that never comes, such as 30 February: write a date that does"),
        ("edge-01&202601010000&x 0 * * * *", "second '\\(a name withheld\\)' is not a value"),
    ],
)
def test_a_refusal_says_which_field_is_wrong_and_what_to_write(schedule: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        longest_pause(schedule)


def field(least: int, most: int) -> st.SearchStrategy[str]:
    """A star, a step or one or two numbers."""
    numbers = st.lists(st.integers(least, most), min_size=1, max_size=2).map(lambda n: ",".join(map(str, n)))
    return st.one_of(st.just("*"), st.integers(1, most).map(lambda step: f"*/{step}"), numbers)


@settings(max_examples=60, deadline=None)
@given(minute=field(0, 59), hour=field(0, 23), day=field(1, 28), weekday=field(0, 6))
def test_no_pause_between_occurrences_is_longer_than_the_longest(
    minute: str, hour: str, day: str, weekday: str
) -> None:
    schedule = f"0 {minute} {hour} {day} * {weekday}"
    times, longest = list(islice(occurrences(schedule, NOW), 200)), longest_pause(schedule)
    assert all(later - earlier <= longest for earlier, later in pairwise([NOW, *times]))
    assert times == sorted(set(times))


def test_the_calendar_of_a_schedule_is_walked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pause = longest_pause("0 7 1 * * *")
    monkeypatch.setattr("gateway_tokens.estate.schedule._matches", None)
    assert longest_pause("0 7 1 * * *") == pause
