"""The budget of requests to ARM: who waits, for how long, and who is refused. Time is the event loop's, and fake."""

import asyncio

import pytest

from gateway_tokens.azure.clients import ArmBudget, CallersBudget, Cost
from gateway_tokens.errors import TooManyRequests

ONE, OTHER = "11111111-aaaa", "22222222-bbbb"


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> None:
    """The running loop's clock jumps to the next timer instead of waiting for it."""
    loop_class = asyncio.SelectorEventLoop
    skipped = [0.0]
    time, call_at = loop_class.time, loop_class.call_at
    monkeypatch.setattr(loop_class, "time", lambda loop: time(loop) + skipped[0])

    def at(loop: asyncio.SelectorEventLoop, when: float, *work: object, **more: object) -> object:
        skipped[0] += max(0.0, when - loop.time())
        return call_at(loop, when, *work, **more)  # type: ignore[arg-type] # passed on as it came

    monkeypatch.setattr(loop_class, "call_at", at)


async def seconds_for(budget: ArmBudget, cost: Cost, count: int) -> float:
    began = asyncio.get_running_loop().time()
    for _ in range(count):
        await budget.spend(ONE, cost)
    return asyncio.get_running_loop().time() - began


@pytest.mark.parametrize(
    ("cost", "count", "seconds"),
    [(Cost.WRITE, 190, 0), (Cost.WRITE, 200, 10 / 9.5), (Cost.READ, 237, 0), (Cost.READ, 261, 23.5 / 23.75)],
)
@pytest.mark.usefixtures("moments")
async def test_a_run_waits_only_for_what_arm_would_refuse(cost: Cost, count: int, seconds: float) -> None:
    assert await seconds_for(ArmBudget(), cost, count) == pytest.approx(seconds, abs=0.15)


async def test_each_subscription_in_any_case_and_each_cost_has_a_budget_of_its_own() -> None:
    budget = ArmBudget()
    await seconds_for(budget, Cost.WRITE, 190)
    assert not budget.bucket(ONE.upper(), Cost.WRITE).has_capacity()
    assert budget.bucket(OTHER, Cost.WRITE).has_capacity()
    assert budget.bucket(ONE, Cost.READ).has_capacity()


@pytest.mark.parametrize(("cost", "at_once", "waiting"), [(Cost.WRITE, 40, 10), (Cost.READ, 50, 25)])
async def test_callers_share_a_fifth_and_whoever_would_wait_for_more_than_five_seconds_is_refused(
    cost: Cost, at_once: int, waiting: int
) -> None:
    budget = CallersBudget()
    calls = [asyncio.create_task(budget.spend(ONE, cost)) for _ in range(at_once + waiting + 1)]
    done, waits = await asyncio.wait(calls, timeout=0)
    assert (len(done), len(waits)) == (at_once + 1, waiting)
    assert [call for call in calls if call in done and call.exception()] == calls[-1:]
    for call in waits:
        call.cancel()


async def test_a_refused_caller_is_told_when_to_come_back() -> None:
    budget = CallersBudget()
    calls = [asyncio.create_task(budget.spend(ONE, Cost.WRITE)) for _ in range(50)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyRequests, match="after 6 seconds") as refused:
        await budget.spend(ONE, Cost.WRITE)
    assert refused.value.retry_after == 6
    for call in calls:
        call.cancel()


async def test_a_caller_who_left_while_waiting_keeps_nobody_out() -> None:
    budget = CallersBudget()
    await seconds_for(budget, Cost.WRITE, 40)
    leaving = [asyncio.create_task(budget.spend(ONE, Cost.WRITE)) for _ in range(10)]
    await asyncio.sleep(0)
    for call in leaving:
        call.cancel()
    await asyncio.wait(leaving)
    staying = asyncio.create_task(budget.spend(ONE, Cost.WRITE))
    _, waits = await asyncio.wait([staying], timeout=0)
    assert waits == {staying}
    staying.cancel()


async def test_a_request_over_more_services_than_the_bucket_holds_takes_the_whole_bucket() -> None:
    budget = CallersBudget()
    await budget.spend(ONE, Cost.READ, 400)
    assert not budget.bucket(ONE, Cost.READ).has_capacity()
    with pytest.raises(TooManyRequests):
        await budget.spend(ONE, Cost.READ, 400)
