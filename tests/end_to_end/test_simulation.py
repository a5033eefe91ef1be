"""Weeks of hourly sweeps under faults drawn from a seed. `python -m tests.simulation` runs the whole of it."""

import pytest

from tests.simulation.run import simulate

DAYS, GATEWAYS = 25, 12


@pytest.mark.parametrize("seed", [1, 3])
async def test_no_token_expires_that_could_be_renewed_and_none_is_renewed_for_nothing(seed: int) -> None:
    found = await simulate(days=DAYS, gateways=GATEWAYS, seed=seed)
    assert found.verdict.wrong == []
    # A simulation in which little happens would prove little.
    assert found.verdict.renewals > 100
    assert {"in_renewal_window", "few_runs_left", "not_stored", "expired"} <= set(found.reasons)
    assert found.faults.total() > 500
