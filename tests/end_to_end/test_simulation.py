"""Weeks of hourly runs under faults drawn from a seed; in the proof, the 90 days of docs/figures.md."""

import pytest

from tests.simulation.run import simulate

# A simulation in which little happens would prove little.
_REASONS = {
    "in_renewal_window",
    "few_runs_left",
    "not_stored",
    "expired",
    "dead",
    "forced",
    "write_conflict",
    "taken_over",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("days", "gateways", "seed"),
    [(25, 12, 5), *(pytest.param(90, 50, seed, marks=pytest.mark.prove) for seed in (1, 2, 3))],
)
async def test_no_token_expires_or_stays_dead_that_could_be_renewed_and_nothing_is_renewed_or_restarted_for_nothing(
    days: int, gateways: int, seed: int
) -> None:
    faults = await simulate(days=days, gateways=gateways, seed=seed)
    assert faults.wrong == []
    assert faults.renewals > 100
    assert set(+faults.reasons) >= _REASONS
    assert faults.others.keys() == {"kubectl", "another tool", "flux"}
    assert faults.restarts
    assert faults.stopped
    assert faults.faults.total() > 500
    # Once a day, and again when a report was lost, a token is new or the check was stopped.
    assert faults.questions < 4 * faults.rows * days
