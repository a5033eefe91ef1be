"""How long a token may live: thirty days to the second, the minute that tokens are cut to, the grid of stable ones."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway_tokens.tokens import (
    CLOCK_MARGIN,
    MAX_LIFETIME,
    MIN_LIFETIME,
    expiry_after,
    expiry_fault,
    stable_expiry,
)
from tests.samples import NOW

SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
MOST = MAX_LIFETIME - CLOCK_MARGIN
GATEWAY = "contoso-apim/edge-01"
NOWS = st.datetimes(datetime(2026, 1, 1), datetime(2050, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - Hypothesis adds the zone


@st.composite
def wanted(draw: st.DrawFn) -> tuple[timedelta, timedelta]:
    """A lifetime, and a window for which Azure's limit leaves a minute or more."""
    lifetime = draw(st.timedeltas(2 * MINUTE, MAX_LIFETIME))
    whole = min(lifetime, MOST) // MINUTE * MINUTE
    return lifetime, draw(st.timedeltas(SECOND, whole - MINUTE))


def test_a_lifetime_ends_a_margin_before_azures_limit_because_clocks_differ() -> None:
    assert (timedelta(days=30), MINUTE, timedelta(minutes=5)) == (MAX_LIFETIME, MIN_LIFETIME, CLOCK_MARGIN)
    for lifetime in (MINUTE, MOST - MINUTE, MOST):
        assert expiry_after(lifetime, NOW) == NOW + lifetime
    for lifetime in (MOST + MINUTE, MAX_LIFETIME):
        assert expiry_after(lifetime, NOW) == NOW + MOST


def test_the_shortest_lifetime_never_ends_before_it_begins() -> None:
    for second in (0, 1, 59):
        now = NOW + timedelta(seconds=second, microseconds=999_999)
        ends = expiry_after(MIN_LIFETIME, now)
        assert now < ends <= now + MIN_LIFETIME
        assert (ends.second, ends.microsecond) == (0, 0)
        assert expiry_fault(ends, now) == ""
    assert expiry_fault(NOW + MINUTE, NOW + timedelta(seconds=59)) == ""


@given(wanted(), NOWS, st.text(max_size=10))
def test_a_stable_token_has_more_than_its_window_left_and_at_most_its_lifetime(
    case: tuple[timedelta, timedelta], now: datetime, gateway: str
) -> None:
    lifetime, window = case
    ends = stable_expiry(lifetime, window, gateway, now)
    assert now + window < ends <= now + min(lifetime, MOST)
    assert (ends.second, ends.microsecond) == (0, 0)
    for other in (SECOND, lifetime - SECOND):  # any window gives what Azure would issue
        ends = stable_expiry(lifetime, other, gateway, now)
        assert now < ends <= now + min(lifetime, MOST)
        assert expiry_fault(ends, now) == ""


@given(wanted(), NOWS, st.floats(0, 1))
def test_a_stable_token_stays_the_same_until_its_window_begins(
    case: tuple[timedelta, timedelta], now: datetime, share: float
) -> None:
    ends = stable_expiry(*case, GATEWAY, now)
    # A window is a whole number of minutes on the grid, and so is what is left of a lifetime.
    due = ends - -(-case[1] // MINUTE) * MINUTE
    assert stable_expiry(*case, GATEWAY, due - SECOND) == ends
    assert stable_expiry(*case, GATEWAY, now + (due - SECOND - now) * share) == ends
    assert stable_expiry(*case, GATEWAY, due) > ends


def test_a_stable_token_of_a_given_gateway_day_and_lifetime_never_ends_at_another_time() -> None:
    """A change of the grid would make every host that asks restart its gateway once: let it be seen."""
    assert stable_expiry(MAX_LIFETIME, 10 * DAY, GATEWAY, NOW) == datetime(2026, 3, 26, 9, 49, tzinfo=UTC)


def test_the_gateways_of_an_estate_are_due_at_different_times_however_they_are_spelt() -> None:
    names = [
        f"{service}/edge-{number:02}" for service in ("contoso-apim", "fabrikam-apim") for number in range(50)
    ]
    left = [stable_expiry(MAX_LIFETIME, 10 * DAY, name, NOW) - NOW for name in names]
    assert len(set(left)) == len(names)
    # Twenty days of the grid in four parts: none of them is empty, none has half of the gateways.
    parts = [sum(10 * DAY + 5 * n * DAY < day <= 15 * DAY + 5 * n * DAY for day in left) for n in range(4)]
    assert all(0 < part < len(names) / 2 for part in parts)
    assert left == [stable_expiry(MAX_LIFETIME, 10 * DAY, name.upper(), NOW) - NOW for name in names]
