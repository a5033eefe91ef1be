"""Judges a simulation by what was stored where and when, knowing nothing of how the app plans.

A *path* for a row is a run at which ARM knew the gateway (listed it, or the settings name it) and issued, and
the location could be read and written (and its workload restarted, where it has one) without a slip that outlasts a second
look. What must hold:

- A row without a token gets one by its first path.
- A token, stored or run by a restarted workload, is replaced by the first path after its due moment: its expiry less the
  window, and never less than three hours. So no token expires while there was a path in time.
- A token is stored for a stated reason that is true: nothing was there, or what was there had expired, had at most three
  hours left, or was within its window (by up to a tenth earlier: that is the spread).
- What the log calls renewed was stored; a gateway is issued at most one token in a run, and only when a row needed it.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tests.simulation.estate import Profile, profile_of
from tests.simulation.sky import SimulatedPlace, Sky
from tests.simulation.weather import HARMLESS

HOUR = timedelta(hours=1)
_RENEWAL = {"not_stored", "expired", "few_runs_left", "in_renewal_window"}
_Known = tuple[datetime, str]


@dataclass(frozen=True)
class Line:
    """What the log said of a row in one run."""

    name: str
    reason: str
    outcome: str
    expiry: datetime | None = None


@dataclass
class Verdict:
    """`wrong` is what must be empty. Expired tokens without a path are `helpless`."""

    wrong: list[str] = field(default_factory=list)
    renewals: int = 0
    helpless: int = 0
    closest: tuple[timedelta, str] = (timedelta.max, "")


def gateway_in(name: str) -> str:
    """The gateway in a row's name."""
    return name.partition(" -> ")[0].partition("/")[2]


def expiry_in(token: str) -> datetime:
    """When a token ends, by its own text."""
    return datetime.strptime(token.split("&")[1], "%Y%m%d%H%M").replace(tzinfo=UTC)


class Judge:
    """Told of every run's log; asked for its verdict at the end."""

    def __init__(self, sky: Sky) -> None:
        self._sky = sky
        self._rows: dict[tuple[str, datetime], Line] = {}
        self._runs: list[datetime] = []
        self._needed: set[tuple[str, datetime]] = set()
        self.verdict = Verdict()

    def hear(self, lines: list[Line]) -> None:
        """One run's rows: those that were not simply fresh."""
        now = self._sky.now
        self._runs.append(now)
        for line in lines:
            self._rows[line.name, now] = line
            if line.reason in _RENEWAL:
                self._needed.add((gateway_in(line.name), now))

    def judge(self) -> Verdict:
        """The verdict on the whole simulation."""
        self._judge_issues()
        self._judge_claims()
        for (ref, location), stored in self._sky.locations.items():
            self._judge_row(f"{ref} -> {location}", profile_of(ref.gateway), stored)
        return self.verdict

    def _judge_row(self, name: str, profile: Profile, stored: SimulatedPlace) -> None:
        self.verdict.renewals += len(stored.stored)
        for before, (at, _) in zip([None, *stored.stored], stored.stored, strict=False):
            self._judge_reason(name, profile, before, at)
        first = stored.stored[0][0] if stored.stored else self._sky.now
        for at in self._paths(name, stored, self._runs[0], first):
            self._object(f"{name} had no token and was given none", at)
        for token, end in _lives(stored.stored, self._sky.now):
            self._judge_life(name, stored, profile, (token, end), restarting=False)
        for token, end in _lives(stored.ran, self._sky.now):
            self._judge_life(name, stored, profile, (token, end), restarting=True)

    def _judge_issues(self) -> None:
        for (ref, _), stored in self._sky.locations.items():
            self._needed.update((ref.gateway, at) for at, _ in stored.stored)
        for (gateway, now), count in self._sky.issued.items():
            # Two instances may ask for the same token at once, and one that died may have had it.
            if count > 1 + 2 * (now in self._sky.again) or (gateway, now) not in self._needed:
                self._object(f"{gateway} was issued {count} tokens for nothing", now)

    def _object(self, said: str, at: datetime) -> None:
        self.verdict.wrong.append(f"{at:%Y-%m-%d %H:%M} {said}")

    def _judge_claims(self) -> None:
        stored = {
            (f"{ref} -> {location}", at)
            for (ref, location), stored in self._sky.locations.items()
            for at, _ in stored.stored
        }
        for (name, at), line in self._rows.items():
            if line.outcome == "renewed" and (name, at) not in stored:
                self._object(f"{name} is said to be renewed, and nothing was stored", at)
        for gateway in {name for names in self._sky.estate.gateways.values() for name in names}:
            if gateway not in {ref.gateway for ref, _ in self._sky.locations}:
                self._object(f"{gateway} was never looked at", self._sky.now)

    def _judge_reason(self, name: str, profile: Profile, before: _Known | None, at: datetime) -> None:
        left = expiry_in(before[1]) - at if before else None
        if left is None:
            truth = "not_stored"
        elif left <= timedelta(0):
            truth = "expired"
        elif left <= 3 * HOUR:
            truth = "few_runs_left"
        else:
            truth = "in_renewal_window" if left <= profile.window * 1.1 else "none at all"
        line = self._rows.get((name, at))
        # A run that looked twice reports what it found at the second look: the token, already there.
        said = line.reason if line and line.reason in _RENEWAL else ""
        if truth == "none at all" or said not in {"", truth}:
            self._object(f"{name} was renewed for '{said}', the truth is '{truth}'", at)

    def _judge_life(
        self,
        name: str,
        stored: SimulatedPlace,
        profile: Profile,
        life: tuple[str, datetime],
        *,
        restarting: bool,
    ) -> None:
        token, end = life
        expiry = expiry_in(token)
        due = expiry - max(profile.window, 3 * HOUR)
        paths = list(self._paths(name, stored, due, min(end, expiry), restarting=restarting))
        if end < expiry:
            self.verdict.closest = min(self.verdict.closest, (expiry - end, name))
        else:
            self.verdict.helpless += not paths
        if paths:
            what = "the running token" if restarting else "a token"
            fate = "expired" if end >= expiry else "was replaced late"
            self._object(f"{name}: {what} {fate}, {len(paths)} runs could have replaced it", paths[0])

    def _paths(
        self, name: str, stored: SimulatedPlace, begin: datetime, end: datetime, *, restarting: bool = False
    ) -> Iterator[datetime]:
        """Sweeps in time at which nothing stood in the way of the row."""
        service, _, gateway = name.partition(" -> ")[0].partition("/")
        weather, named = self._sky.weather, self._sky.estate.named
        for at in self._runs[bisect_left(self._runs, begin) : bisect_left(self._runs, end)]:
            slip = weather.slip(stored.location, at)
            if (
                (gateway in named or weather.lists(service, at))
                and weather.issues(gateway, at)
                and weather.opens(stored.location, at)
                and (slip is None or slip in HARMLESS)
                and (not restarting or weather.restarts(at))
            ):
                yield at


def _lives(known: list[_Known], now: datetime) -> Iterator[tuple[str, datetime]]:
    """Each token with the moment it was replaced, the last one with the end of the simulation."""
    ends = [*(at for at, _ in known[1:]), now][: len(known)]
    for (_, token), end in zip(known, ends, strict=True):
        yield token, end
