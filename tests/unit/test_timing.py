"""When a token is due, at risk, nearly gone; when a failing row is tried again."""

import statistics
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_tokens.estate.schema import GatewayRule
from gateway_tokens.renewal.checks import at_risk_from, due_at, little_left
from tests.renewal_estate import DAY, HOUR, MINUTE, NOW

EXPIRY = NOW + 30 * DAY
RULE = GatewayRule()
NAMES = [f"contoso/edge-{number:04} -> /locations/{number}" for number in range(1000)]


@st.composite
def rules(draw: st.DrawFn) -> GatewayRule:
    """Any rule that the settings accept."""
    lifetime = draw(st.integers(24 * 60, 30 * 24 * 60))
    window = draw(st.integers(3, lifetime - 1))
    return GatewayRule(lifetime=timedelta(minutes=lifetime), renew_before=timedelta(minutes=window))


class TestDueAt:
    def test_is_two_thirds_into_the_lifetime_or_a_little_earlier(self) -> None:
        starts = EXPIRY - 10 * DAY
        assert all(starts - DAY <= due_at(name, RULE, EXPIRY) <= starts for name in NAMES)

    def test_follows_renew_before_where_it_is_set(self) -> None:
        rule = GatewayRule(renew_before=5 * DAY)
        assert EXPIRY - 5.5 * DAY <= due_at("row", rule, EXPIRY) <= EXPIRY - 5 * DAY

    def test_is_the_same_for_a_row_in_every_process(self) -> None:
        # A literal, because a hash that differs between processes would still agree with itself here.
        assert (
            due_at("contoso/edge-01 -> place", RULE, EXPIRY).isoformat() == "2026-03-21T01:41:58.554783+00:00"
        )

    def test_differs_between_two_places_of_one_gateway(self) -> None:
        assert due_at("contoso/edge-01 -> a", RULE, EXPIRY) != due_at("contoso/edge-01 -> b", RULE, EXPIRY)

    def test_spreads_an_estate_evenly_over_a_tenth_of_the_window(self) -> None:
        early = [(EXPIRY - 10 * DAY - due_at(name, RULE, EXPIRY)) / DAY for name in NAMES]
        hours = [int(share * 24) for share in early]
        assert statistics.mean(early) == pytest.approx(0.5, abs=0.05)
        # 1,000 over 24 hours are 42 an hour; an even spread stays well under twice that.
        assert max(hours.count(hour) for hour in range(24)) < 70
        assert min(hours.count(hour) for hour in range(24)) > 15

    @given(name=st.text(), rule=rules())
    def test_is_never_later_than_the_window_nor_more_than_a_tenth_of_it_earlier(
        self, name: str, rule: GatewayRule
    ) -> None:
        starts = EXPIRY - rule.window
        assert starts - rule.window / 10 <= due_at(name, rule, EXPIRY) <= starts

    @pytest.mark.parametrize("days", [1, 5, 9.5])
    def test_is_never_before_the_token_was_issued(self, days: float) -> None:
        """Else a token with a wide window would be due from birth, and renewed by every sweep."""
        rule = GatewayRule(lifetime=10 * DAY, renew_before=days * DAY)
        assert all(due_at(name, rule, NOW + 10 * DAY) > NOW for name in NAMES)


class TestLittleLeft:
    @pytest.mark.parametrize(
        ("left", "little"), [(3 * HOUR + MINUTE, False), (3 * HOUR, True), (3 * HOUR - MINUTE, True)]
    )
    def test_is_three_sweeps_or_less(self, left: timedelta, little: bool) -> None:  # noqa: FBT001 - a table's column
        assert little_left(NOW + left, HOUR, NOW) is little

    def test_grows_with_the_pause_between_sweeps(self) -> None:
        assert little_left(NOW + 3 * DAY, DAY, NOW)
        assert not little_left(NOW + 3 * DAY + MINUTE, DAY, NOW)


class TestAtRiskFrom:
    def test_is_half_the_window_before_the_expiry(self) -> None:
        assert at_risk_from(RULE, EXPIRY) == EXPIRY - 5 * DAY

    def test_follows_risk_margin_where_it_is_set(self) -> None:
        assert at_risk_from(GatewayRule(risk_margin=2 * DAY), EXPIRY) == EXPIRY - 2 * DAY
