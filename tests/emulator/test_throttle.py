"""ARM's throttling as its documentation describes it, against which runs are simulated and measured."""

import pytest

from tests.stand_ins.throttle import Throttle


def test_a_bucket_empties_and_refills_and_each_subscription_has_its_own() -> None:
    now = [0.0]
    throttle = Throttle(limits={"read": (2, 1), "write": (1, 0.1)}, monotonic=lambda: now[0])
    assert [throttle.admit("a", "GET", "/x") for _ in range(3)] == [0, 0, 1]
    assert throttle.admit("b", "GET", "/x") == 0
    assert [throttle.admit("a", "POST", "/x") for _ in range(2)] == [0, 10]
    now[0] = 1.0
    assert [throttle.admit("a", "GET", path) for path in ("/x", "/y")] == [0, 1]
    assert throttle.refused == 3


@pytest.mark.parametrize(("now", "path", "early"), [(9.9, "/x", 1), (9.9, "/y", 0), (10.0, "/x", 0)])
def test_a_call_repeated_before_its_retry_after_counts_as_early(now: float, path: str, early: int) -> None:
    clock = [0.0]
    throttle = Throttle(limits={"write": (0, 0.1)}, monotonic=lambda: clock[0])
    assert throttle.admit("a", "POST", "/x") == 10
    clock[0] = now
    throttle.admit("a", "POST", path)
    assert throttle.early == early
