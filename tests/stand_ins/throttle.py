"""ARM's throttling: a token bucket for each subscription and kind of call, as its documentation describes."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass
class Bucket:
    """A bucket that holds `size` calls and refills by `refill` calls a second."""

    size: float
    refill: float
    level: float
    at: float

    def take(self, now: float) -> float:
        """Take one call and return 0, or return the seconds until one can be taken."""
        self.level = min(self.size, self.level + (now - self.at) * self.refill)
        self.at = now
        if self.level >= 1:
            self.level -= 1
            return 0.0
        return (1 - self.level) / self.refill


ARM_LIMITS: Mapping[str, tuple[float, float]] = {"read": (250, 25), "write": (200, 10), "delete": (200, 10)}


@dataclass
class Throttle:
    """Refuses what exceeds the limits, and counts callers that come back before they were told to.

    `limits` gives size and refill a second for each of read, write (POST actions too) and delete. `refused` counts
    the calls answered 429; `early` those for a method and path whose own Retry-After had not run out.
    """

    limits: Mapping[str, tuple[float, float]] = field(default_factory=lambda: ARM_LIMITS)
    monotonic: Callable[[], float] = time.monotonic
    refused: int = 0
    early: int = 0
    _buckets: dict[tuple[str, str], Bucket] = field(default_factory=dict)
    _not_before: dict[tuple[str, str], float] = field(default_factory=dict)

    def admit(self, subscription: str, method: str, path: str) -> int:
        """Return 0 to admit the call, or the whole seconds, at least 1, to name in Retry-After."""
        now = self.monotonic()
        if now < self._not_before.pop((method, path), now):
            self.early += 1
        wait = self._bucket(subscription, kind_of(method), now).take(now)
        if not wait:
            return 0
        seconds = max(1, math.ceil(wait))
        self.refused += 1
        self._not_before[method, path] = now + seconds
        return seconds

    def _bucket(self, subscription: str, kind: str, now: float) -> Bucket:
        size, refill = self.limits[kind]
        return self._buckets.setdefault((subscription.lower(), kind), Bucket(size, refill, size, now))


def kind_of(method: str) -> str:
    """Return which of ARM's limits a method draws on."""
    if method in {"GET", "HEAD"}:
        return "read"
    return "delete" if method == "DELETE" else "write"
