"""What goes wrong, and when: drawn from a seed once, so that the simulation and its judge see the same."""

from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from random import Random


class Slip(StrEnum):
    """What may go wrong with one write."""

    WRITTEN_THEN_ERROR = "written, then an error"
    NOT_WRITTEN = "an error, nothing written"
    READ_BACK_FAILS = "written, read-back fails"
    LOST = "taken, but not kept, once"
    READ_BACK_STALE = "written, read-back shows the old value, once"
    CONFLICT = "somebody else's write comes first, once"


# After these the run itself looks once more, so they excuse nothing.
HARMLESS = {Slip.LOST, Slip.READ_BACK_STALE, Slip.CONFLICT}


# Spells of each kind of trouble: one every so many days, lasting between so many hours.
_KINDS = (
    ("arm", 30, 48, 48),  # ARM down for two days
    ("arm", 8, 1, 6),
    ("throttled", 6, 1, 8),  # every other token refused with 429
    *((f"list/svc{number}", 12, 1, 30) for number in range(4)),
    *((location, 15, 2, 72) for location in ("north", "south", "cluster")),  # forbidden
    *((location, 5, 1, 3) for location in ("north", "south", "cluster")),
    ("restart", 8, 1, 48),
    ("missed", 25, 2, 36),  # the app does not run at all
)
_SLIP, _MISSED, _RECORD = 0.10, 0.02, 0.06


class Weather:
    """All spells of a simulation. Moments are those at which runs start."""

    def __init__(self, seed: int, begin: datetime, days: int) -> None:
        self._seed = seed
        dice = self._dice()
        self._spells: list[tuple[str, datetime, datetime]] = []
        for what, every, least, most in _KINDS:
            at = begin + timedelta(days=dice.expovariate(1 / every))
            while at < begin + timedelta(days=days):
                end = at + timedelta(hours=dice.uniform(least, most))
                self._spells.append((what, at, end))
                at = end + timedelta(days=dice.expovariate(1 / every))
        self.active = lru_cache(maxsize=None)(self._active)

    def _active(self, now: datetime) -> frozenset[str]:
        return frozenset(what for what, begin, end in self._spells if begin <= now < end)

    def chance(self, share: float, *words: object) -> bool:
        """True for that share of all words, always the same for the same words."""
        return self._dice(*words).random() < share

    def runs(self, now: datetime) -> bool:
        return "missed" not in self.active(now) and not self.chance(_MISSED, "missed", now)

    def lists(self, service: str, now: datetime) -> bool:
        return not self.active(now) & {"arm", f"list/{service}"}

    def throttles(self, gateway: str, now: datetime) -> bool:
        return "throttled" in self.active(now) and self.chance(0.5, "throttled", gateway, now)

    def issues(self, gateway: str, now: datetime) -> bool:
        return "arm" not in self.active(now) and not self.throttles(gateway, now)

    def opens(self, location: str, now: datetime) -> bool:
        return location.removeprefix("https://").partition(".")[0] not in self.active(now)

    def restarts(self, now: datetime) -> bool:
        return "restart" not in self.active(now)

    def slip(self, location: str, now: datetime) -> Slip | None:
        """What goes wrong with a location's write in this run, if anything."""
        if not self.chance(_SLIP, "slip", location, now):
            return None
        return self._dice("which", location, now).choice(list(Slip))

    def record(self, now: datetime) -> str:
        """What happens to the reports: `unreadable`, `lost`, `not saved`, or nothing."""
        if not self.chance(_RECORD, "record", now):
            return ""
        return self._dice("which record", now).choice(["unreadable", "lost", "not saved"])

    def message(self, subscription: str, now: datetime) -> tuple[str, int]:
        """What happens to a message: `killed`, `twice` or nothing; and which of three instances takes it."""
        dice = self._dice("message", subscription, now)
        return dice.choices(["", "killed", "twice"], [0.9, 0.05, 0.05])[0], dice.randrange(3)

    def steps(self, subscription: str, now: datetime) -> int:
        """After how many steps an instance dies."""
        return self._dice("steps", subscription, now).randrange(400)

    def _dice(self, *words: object) -> Random:
        return Random(f"{self._seed}|{words}")  # noqa: S311 - it must be foreseeable
