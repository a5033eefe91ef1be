"""How long a token may live: thirty days to the second, and the minute that tokens are cut to."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway_tokens.tokens import (
    CLOCK_MARGIN,
    MAX_LIFETIME,
    MIN_LIFETIME,
    expiry_after,
    expiry_fault,
    lifetime_fault,
    to_the_minute,
)
from tests.unit.samples import NOW

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
PAST = "is in the past"
TOO_FAR = "is more than 30 days ahead"


def test_the_limits_are_azures_thirty_days_and_our_minute() -> None:
    assert (timedelta(days=30), timedelta(minutes=1)) == (MAX_LIFETIME, MIN_LIFETIME)


@pytest.mark.parametrize(
    ("second", "microsecond"),
    [(0, 0), (0, 1), (59, 999_999)],
)
def test_a_moment_is_cut_down_to_its_minute(second: int, microsecond: int) -> None:
    moment = datetime(2026, 3, 1, 12, 34, second, microsecond, tzinfo=UTC)
    assert to_the_minute(moment) == datetime(2026, 3, 1, 12, 34, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ahead", "said"),
    [
        (MAX_LIFETIME - SECOND, ""),
        (MAX_LIFETIME, ""),
        (MAX_LIFETIME + SECOND, TOO_FAR),
        (MAX_LIFETIME + MINUTE, TOO_FAR),
        (MINUTE, ""),
        (MINUTE + SECOND, ""),
        (MINUTE - SECOND, PAST),
        (timedelta(0), PAST),
        (-SECOND, PAST),
    ],
)
def test_an_expiry_lies_between_the_next_minute_and_thirty_days(ahead: timedelta, said: str) -> None:
    fault = expiry_fault(NOW + ahead, NOW)
    assert fault.startswith(said)
    assert bool(fault) is bool(said)


def test_an_expiry_in_the_next_minute_is_sound_even_a_second_ahead() -> None:
    almost = NOW + timedelta(seconds=59)
    assert expiry_fault(NOW + MINUTE, almost) == ""


@pytest.mark.parametrize(
    ("lifetime", "said"),
    [
        (MIN_LIFETIME - SECOND, "is shorter than one minute (PT1M)"),
        (MIN_LIFETIME, ""),
        (MAX_LIFETIME, ""),
        (MAX_LIFETIME + SECOND, "is longer than 30 days (P30D)"),
        (timedelta(0), "is shorter than one minute (PT1M)"),
    ],
)
def test_a_lifetime_lies_between_a_minute_and_thirty_days(lifetime: timedelta, said: str) -> None:
    assert lifetime_fault(lifetime) == said


@pytest.mark.parametrize(
    ("lifetime", "ends_after"),
    [
        (MINUTE, MINUTE),
        (timedelta(days=1), timedelta(days=1)),
        (MAX_LIFETIME - CLOCK_MARGIN - MINUTE, MAX_LIFETIME - CLOCK_MARGIN - MINUTE),
        (MAX_LIFETIME - CLOCK_MARGIN, MAX_LIFETIME - CLOCK_MARGIN),
        (MAX_LIFETIME - CLOCK_MARGIN + MINUTE, MAX_LIFETIME - CLOCK_MARGIN),
        (MAX_LIFETIME, MAX_LIFETIME - CLOCK_MARGIN),
    ],
)
def test_a_lifetime_ends_a_margin_before_azures_limit_because_clocks_differ(
    lifetime: timedelta, ends_after: timedelta
) -> None:
    assert expiry_after(lifetime, NOW) == NOW + ends_after


def test_the_margin_for_clocks_is_some_minutes() -> None:
    assert timedelta(minutes=5) == CLOCK_MARGIN


@pytest.mark.parametrize("seconds", [0, 1, 59])
def test_the_shortest_lifetime_never_ends_before_it_begins(seconds: int) -> None:
    now = NOW + timedelta(seconds=seconds)
    ends = expiry_after(MIN_LIFETIME, now)
    assert now < ends <= now + MIN_LIFETIME
    assert expiry_fault(ends, now) == ""
