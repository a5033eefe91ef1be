"""The budget of requests to ARM: who waits, for how long, and who is refused."""

import asyncio

import pytest

from gateway_tokens.azure.clients import ArmBudget, CallersBudget, Cost
from gateway_tokens.errors import TooManyRequests

ONE, OTHER = "11111111-aaaa", "22222222-bbbb"
Calls = list[asyncio.Task[None]]


@pytest.fixture(autouse=True)
async def _time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 1000.0)


async def called(budget: ArmBudget, cost: Cost, count: int) -> tuple[Calls, Calls]:
    """So many calls at once: those that wait for their turn, and those that were refused."""
    calls = [asyncio.create_task(budget.spend(ONE, cost)) for _ in range(count)]
    await asyncio.wait(calls, timeout=0)
    waiting = [call for call in calls if not call.done()]
    return waiting, [call for call in calls if call.done() and call.exception()]


async def left(calls: Calls) -> None:
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)


@pytest.mark.parametrize(("cost", "size", "seconds"), [(Cost.WRITE, 190, 20), (Cost.READ, 237.5, 10)])
async def test_a_run_waits_for_what_is_beyond_nineteen_twentieths_of_arms_own_bucket(
    cost: Cost, size: float, seconds: float
) -> None:
    budget = ArmBudget()
    bucket = budget.bucket(ONE, cost)
    assert (bucket.max_rate, bucket.time_period) == (size, seconds)
    waiting, refused = await called(budget, cost, int(size) + 3)
    assert (len(waiting), refused) == (3, [])
    await left(waiting)


async def test_each_subscription_in_any_case_and_each_cost_has_a_budget_of_its_own() -> None:
    budget = ArmBudget()
    await called(budget, Cost.WRITE, 190)
    assert not budget.bucket(ONE.upper(), Cost.WRITE).has_capacity()
    assert budget.bucket(OTHER, Cost.WRITE).has_capacity()
    assert budget.bucket(ONE, Cost.READ).has_capacity()


@pytest.mark.parametrize(("cost", "at_once", "in_time"), [(Cost.WRITE, 40, 10), (Cost.READ, 50, 25)])
async def test_callers_share_a_fifth_and_whoever_would_wait_for_more_than_five_seconds_is_told_when_to_come(
    cost: Cost, at_once: int, in_time: int
) -> None:
    budget = CallersBudget()
    waiting, refused = await called(budget, cost, at_once + in_time + 1)
    assert (len(waiting), len(refused)) == (in_time, 1)
    with pytest.raises(TooManyRequests, match="after 6 seconds") as caught:
        await refused[0]
    assert caught.value.retry_after == 6
    # Whoever left while waiting keeps nobody out.
    await left(waiting)
    waiting, refused = await called(budget, cost, 1)
    assert (len(waiting), refused) == (1, [])
    await left(waiting)


async def test_a_request_over_more_services_than_the_bucket_holds_takes_the_whole_bucket() -> None:
    budget = CallersBudget()
    await budget.spend(ONE, Cost.READ, 400)
    assert not budget.bucket(ONE, Cost.READ).has_capacity()
    with pytest.raises(TooManyRequests):
        await budget.spend(ONE, Cost.READ, 400)
