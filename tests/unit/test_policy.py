"""How long a token may live: thirty days to the second, and the minute that tokens are cut to."""

from datetime import timedelta

from gateway_tokens.tokens import CLOCK_MARGIN, MAX_LIFETIME, MIN_LIFETIME, expiry_after, expiry_fault
from tests.unit.samples import NOW

MINUTE = timedelta(minutes=1)


def test_the_limits_are_azures_thirty_days_our_minute_and_five_minutes_for_clocks() -> None:
    assert (timedelta(days=30), MINUTE, timedelta(minutes=5)) == (MAX_LIFETIME, MIN_LIFETIME, CLOCK_MARGIN)


def test_an_expiry_in_the_next_minute_is_sound_even_a_second_ahead() -> None:
    assert expiry_fault(NOW + MINUTE, NOW + timedelta(seconds=59)) == ""


def test_a_lifetime_ends_a_margin_before_azures_limit_because_clocks_differ() -> None:
    most = MAX_LIFETIME - CLOCK_MARGIN
    for lifetime in (MINUTE, most - MINUTE, most):
        assert expiry_after(lifetime, NOW) == NOW + lifetime
    for lifetime in (most + MINUTE, MAX_LIFETIME):
        assert expiry_after(lifetime, NOW) == NOW + most


def test_the_shortest_lifetime_never_ends_before_it_begins() -> None:
    for second in (0, 1, 59):
        now = NOW + timedelta(seconds=second, microseconds=999_999)
        ends = expiry_after(MIN_LIFETIME, now)
        assert now < ends <= now + MIN_LIFETIME
        assert (ends.second, ends.microsecond) == (0, 0)
        assert expiry_fault(ends, now) == ""
