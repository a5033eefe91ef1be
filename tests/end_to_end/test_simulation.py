"""Weeks of hourly runs under faults drawn from a seed; in the proof, the 90 days of docs/figures.md."""

import pytest

from tests.simulation.run import simulate


@pytest.mark.slow
@pytest.mark.parametrize(
    ("days", "gateways", "seed"),
    [
        (25, 12, 1),
        (25, 12, 3),
        *(pytest.param(90, 50, seed, marks=pytest.mark.prove) for seed in (1, 2, 3)),
    ],
)
async def test_no_token_expires_that_could_be_renewed_and_none_is_renewed_for_nothing(
    days: int, gateways: int, seed: int
) -> None:
    found = await simulate(days=days, gateways=gateways, seed=seed)
    assert found.verdict.wrong == []
    # A simulation in which little happens would prove little.
    assert found.verdict.renewals > 100
    assert {"in_renewal_window", "few_runs_left", "not_stored", "expired"} <= set(found.reasons)
    assert found.faults.total() > 500
