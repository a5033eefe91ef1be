"""Judges a simulation by what was stored where and when, knowing nothing of how the app plans.

A *path* for a row is a run at which ARM knew the gateway (listed it, or the settings name it) and issued, and
the location could be read and written (and its workload restarted, where it has one) without a slip that outlasts a second
look. What must hold:

- A row without a token gets one by its first path.
- A token, whoever wrote it, is replaced by the first path after its due moment: its expiry less the window, and never
  less than three hours. So no token expires while there was a path in time. An older one that was put back beside the
  ownership of the app's may stay for a day from the app's, while it is not at risk.
- A token of the app's that no key signs any longer is replaced within 24 paths, not counting runs whose check was stopped;
  and a check is stopped only when more than three gateways of the subscription hold such tokens.
- A token is stored for a stated reason that is true. So a good one is kept until it is due, by whomever it was written.
- A workload is restarted only for a token that the app wrote and that its pods do not run, and then by the first path.
- What can wait waits for its night and for the end of the freeze, restarts included; what is at risk, dead or asked for does not.
- What the log calls renewed was stored; a gateway is issued at most one token in a run, and only when a row needed it.
  Questions about tokens that are stored are not issued.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from tests.renewal_estate import DAY, HOUR
from tests.simulation.estate import profile_of
from tests.simulation.sky import Kept, SimulatedPlace, Sky, expiry_in
from tests.simulation.weather import HARMLESS

_RENEWAL = {
    "expired", "few_runs_left", "in_renewal_window", "not_stored", "dead", "forced", "write_conflict",
}  # fmt: skip
# A token is asked about every 20 hours, and again at the next run when it could not be; so many gateways may be dead without a stop.
_PATHS_TO_FIND_IT, _FEW = 24, 3
_NEVER, _FAR = timedelta(), timedelta(days=1000)


class Line(NamedTuple):
    """What the log said of a row in one run."""

    name: str
    gateway: str
    reason: str
    outcome: str


@dataclass
class Verdict:
    """What was found; `wrong` must be empty.

    Expired tokens without a path are `helpless`. `others`: what others wrote; `dead`: of the dead tokens of the app's how
    many had how many paths; `closest`: of those that the app replaced itself; `overridden`: restarts at other times than those for what can wait.
    """

    faults: Counter[str]
    wrong: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    dead: Counter[int] = field(default_factory=Counter)
    runs: int = 0
    rows: int = 0
    renewals: int = 0
    restarts: int = 0
    overridden: int = 0
    questions: int = 0
    stopped: int = 0
    helpless: int = 0
    closest: tuple[timedelta, str] = (timedelta.max, "")


class Judge:
    """Told of every run's log; asked for its verdict at the end."""

    def __init__(self, sky: Sky) -> None:
        self._sky = sky
        self._rows: dict[tuple[str, datetime], Line] = {}
        self._runs: list[datetime] = []
        self._needed: set[tuple[str, datetime]] = set()
        self._stopped: set[tuple[str, datetime]] = set()
        self.verdict = Verdict(sky.faults)

    def hear_run(self, lines: list[Line], stopped_services: set[str]) -> set[str]:
        """A run of the timer: its rows that were not simply fresh; the subscriptions whose check was stopped."""
        now, estate = self._sky.now, self._sky.estate
        self._runs.append(now)
        self.hear(lines)
        stopped = {estate.subscription(name) for name in stopped_services}
        self._stopped |= {(subscription, now) for subscription in stopped}
        locations = [location for location in self._sky.locations.values() if location.stored]
        for subscription in stopped:
            dead = {
                location.ref.gateway
                for location in locations
                if self._is_dead(location, location.stored[-1], now)
            }
            if len(dead & set(estate.gateways_of(subscription))) <= _FEW:
                self._object(f"the check was stopped for {len(dead)} dead gateways", now)
        return stopped

    def hear(self, lines: list[Line]) -> None:
        """Rows that somebody else made the app look at."""
        for line in lines:
            self._rows[line.name, self._sky.now] = line
            if line.reason in _RENEWAL and line.outcome != "waiting":
                self._needed.add((line.gateway, self._sky.now))
            done = line.outcome in {"renewed", "restarting"} or line.reason in {
                "taken_over",
                "write_conflict",
            }
            self.verdict.reasons[line.reason] += done

    def judge(self) -> Verdict:
        """The verdict on the whole simulation."""
        locations = self._sky.locations.values()
        self._judge_claims()
        for location in locations:
            self._judge_row(location)
            if location.restartable:
                self._judge_workload(location)
        self.verdict.runs, self.verdict.rows = len(self._runs), len(locations)
        self.verdict.stopped, self.verdict.questions = len(self._stopped), self._sky.questions
        return self.verdict

    def _judge_claims(self) -> None:
        """What was issued was needed, and what was called renewed was stored."""
        locations = self._sky.locations.values()
        stored = {(location.name, kept.at) for location in locations for kept in location.stored}
        self._needed.update(
            (location.ref.gateway, kept.at) for location in locations for kept in location.stored
        )
        for (gateway, now), count in self._sky.issued.items():
            # Two instances may ask for the same token at once, and one that died may have had it.
            if count > 1 + 2 * (now in self._sky.again) or (gateway, now) not in self._needed:
                self._object(f"{gateway} was issued {count} tokens for nothing", now)
        for (name, at), line in self._rows.items():
            if line.outcome == "renewed" and (name, at) not in stored:
                self._object(f"{name} is said to be renewed, and nothing was stored", at)
        everyone = {gateway for names in self._sky.estate.gateways.values() for gateway in names}
        for gateway in everyone - {location.ref.gateway for location in locations}:
            self._object(f"{gateway} was never looked at", self._sky.now)

    def _judge_row(self, location: SimulatedPlace) -> None:
        first = location.stored[0].at if location.stored else self._sky.now
        for at in self._paths(location, self._runs[0], first):
            self._object(f"{location.name} had no token and was given none", at)
        before = None
        for kept, after in zip(location.stored, [*location.stored[1:], None], strict=True):
            if kept.by:
                self.verdict.others[kept.by] += 1
            else:
                self.verdict.renewals += 1
                self._judge_reason(location, before, kept)
            self._judge_life(location, kept, after)
            before = kept

    def _judge_reason(self, location: SimulatedPlace, before: Kept | None, kept: Kept) -> None:
        line, truths = self._rows.get((location.name, kept.at)), self._truths(location, before, kept)
        # A run that looked twice reports what it found at the second look: the token, already there.
        reason = line.reason if line and line.reason in _RENEWAL else ""
        if not truths or reason not in {"", *truths}:
            self._object(
                f"{location.name} was renewed for '{reason}', the truth is {sorted(truths)}", kept.at
            )
        if before and truths == {"in_renewal_window"} and self._may_wait(location, before, kept.at):
            self._object(f"{location.name} was renewed though it could have waited", kept.at)

    def _truths(self, location: SimulatedPlace, before: Kept | None, kept: Kept) -> set[str]:
        """Every reason for which the token was rightly replaced."""
        if before is None:
            return {"not_stored"}
        profile, at, left = profile_of(location.ref.gateway), kept.at, expiry_in(before.token) - kept.at
        dead, put_back = self._is_dead(location, before, at), self._is_put_back(before, at)
        truths = {
            "expired": left <= _NEVER,
            "few_runs_left": _NEVER < left <= 3 * HOUR,
            "in_renewal_window": 3 * HOUR < left <= profile.window * 1.1 * HOUR,
            "forced": (location.ref.gateway, at) in self._sky.forced,
            "dead": dead and before.owned_at is not None,
            "write_conflict": put_back and (dead or left <= profile.margin * HOUR),
        }
        return {reason for reason, true in truths.items() if true}

    def _is_dead(self, location: SimulatedPlace, kept: Kept, at: datetime) -> bool:
        dead = self._sky.dead_from(location.ref.gateway, kept.token)
        return dead is not None and dead <= at

    def _is_put_back(self, kept: Kept, at: datetime) -> bool:
        """Whether it is older than the token whose ownership is beside it, which the app issued within a day."""
        beside = kept.beside
        return bool(beside and expiry_in(kept.token) < beside.expiry and beside.issued_at > at - DAY)

    def _judge_life(self, location: SimulatedPlace, kept: Kept, after: Kept | None) -> None:
        end, expiry, profile = (
            after.at if after else self._sky.now,
            expiry_in(kept.token),
            profile_of(location.ref.gateway),
        )
        due, dead = (
            expiry - max(profile.window, 3) * HOUR,
            self._sky.dead_from(location.ref.gateway, kept.token),
        )
        if kept.beside and self._is_put_back(kept, kept.at):
            due = max(due, min(kept.beside.issued_at + DAY, expiry - profile.margin * HOUR))
        if dead and dead < end and kept.owned_at is None:
            due = expiry  # nobody's, and not this gateway's: it is refused while it lives
        paths = [
            at for at in self._paths(location, max(due, kept.at), end) if not profile.may_wait(expiry, at)
        ]
        if after and not kept.by and not after.by and end < expiry:
            self.verdict.closest = min(self.verdict.closest, (expiry - end, location.name))
        self.verdict.helpless += not paths and kept.at < expiry <= end
        if paths:
            fate = f"{'expired' if end >= expiry else 'was replaced late'}, {len(paths)} runs could have replaced it"
            self._object(f"{location.name}: a token of '{kept.by}' {fate}", paths[0])
        if dead and kept.owned_at and dead < end:
            subscription = self._sky.estate.subscription(location.ref.service)
            paths = list(self._paths(location, max(dead, kept.owned_at), end))
            reachable = sum((subscription, at) not in self._stopped for at in paths)
            self.verdict.dead[reachable] += 1
            if reachable > _PATHS_TO_FIND_IT:
                self._object(f"{location.name} held a dead token, {reachable} runs could have found it", dead)

    def _may_wait(self, location: SimulatedPlace, kept: Kept | None, at: datetime) -> bool:
        """Whether a workload that runs this can wait."""
        if kept is None or self._is_dead(location, kept, at):
            return False
        return profile_of(location.ref.gateway).may_wait(expiry_in(kept.token), at)

    def _is_urgent(self, location: SimulatedPlace, kept: Kept) -> bool:
        """Whether it was stored for something else than that the one before it was due; or that was somebody else's."""
        before = location.stored[location.stored.index(kept) - 1] if kept is not location.stored[0] else None
        return (
            before is None or bool(before.by) or self._truths(location, before, kept) != {"in_renewal_window"}
        )

    def _judge_workload(self, location: SimulatedPlace) -> None:
        """What the pods ran, and what they were restarted for."""
        begins, begin, ran = [kept.at for kept in location.stored], self._runs[0], None
        for end, following, by in [*location.ran, (self._sky.now, None, "")]:
            for at in self._paths(location, begin, end, restarting=True):
                stored = location.stored[bisect_right(begins, at) - 1] if begins and begins[0] <= at else None
                other = stored and not stored.by and not (ran and ran.token == stored.token)
                if stored and other and not self._may_wait(location, ran, at):
                    self._object(f"{location.name}: the workload does not run what is stored", at)
            if following and not by:
                self.verdict.restarts += 1
                if following.by or (ran and ran.token == following.token):
                    self._object(f"{location.name}: the workload was restarted for nothing", end)
                elif profile_of(location.ref.gateway).may_wait(end + _FAR, end):
                    self.verdict.overridden += 1
                    if self._may_wait(location, ran, end) and not self._is_urgent(location, following):
                        self._object(f"{location.name}: the restart could have waited", end)
            begin, ran = end, following

    def _paths(
        self, location: SimulatedPlace, begin: datetime, end: datetime, *, restarting: bool = False
    ) -> Iterator[datetime]:
        """Runs in time at which nothing stood in the way of the row."""
        weather, (service, gateway) = self._sky.weather, (location.ref.service, location.ref.gateway)
        for at in self._runs[bisect_left(self._runs, begin) : bisect_left(self._runs, end)]:
            slip = weather.slip(location.location, at)
            if (
                (gateway in self._sky.estate.named or weather.lists(service, at))
                and weather.issues(gateway, at)
                and weather.opens(location.location, at)
                and (slip is None or slip in HARMLESS)
                and (not restarting or weather.restarts(at))
            ):
                yield at

    def _object(self, message: str, at: datetime) -> None:
        self.verdict.wrong.append(f"{at:%Y-%m-%d %H:%M} {message}")
