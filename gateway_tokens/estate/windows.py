"""When gateways may be renewed and restarted: maintenance windows, freezes of the estate, pauses of a rule.

A window counts only the runs of the schedule that fall into it. It begins on the days that it names, by the clocks of
its time zone; when they are set forward or back, its ends are moved as `zoneinfo` says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AwareDatetime, Field, WithJsonSchema, model_validator

from gateway_tokens.parsing import StrictModel

from .schedule import Within, within

_DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_ONE_DAY = "(Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_DAYS = f"^{_ONE_DAY}(-{_ONE_DAY})?(,{_ONE_DAY}(-{_ONE_DAY})?)*$"
_TIME = "^([01][0-9]|2[0-3]):[0-5][0-9]$"
# Four years have every day of the calendar, and each change of the clocks several times.
_FIRST_DAY, _HORIZON = date(2026, 1, 1), 4 * 366
_DAY = timedelta(days=1)


def _zone_name(name: str) -> str:
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        message = "is not a time zone: write a name of the IANA database, such as Europe/Berlin"
        raise ValueError(message) from None
    return name


def _like(pattern: str, message: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(message)
        return text

    return AfterValidator(check)


Days = Annotated[
    str,
    _like(_DAYS, "must be days of the week from Mon to Sun: Mon-Fri, or Sat,Sun"),
    WithJsonSchema({"type": "string", "pattern": _DAYS}),
]
ClockTime = Annotated[
    str,
    _like(_TIME, "must be a time from 00:00 to 23:59, such as 22:00"),
    WithJsonSchema({"type": "string", "pattern": _TIME}),
]
Why = Annotated[str, Field(min_length=1, max_length=200)]


class Window(StrictModel):
    """Hours on days of the week in which gateways may restart."""

    days: Days = Field(default="Mon-Sun", description="The days on which it begins.")
    begins: ClockTime = Field(alias="from", description="When it begins, by the clocks of its time zone.")
    ends: ClockTime = Field(alias="to", description="When it ends; on the next day unless later than `from`.")
    time_zone: Annotated[str, AfterValidator(_zone_name)] = Field(
        default="UTC", description="A name of the IANA database, such as Europe/Berlin."
    )

    @model_validator(mode="after")
    def _has_hours(self) -> Window:
        if self.begins == self.ends:
            raise ValueError("`from` and `to` are the same time: set a later `to`")
        return self

    @property
    def weekdays(self) -> set[int]:
        """The days on which it begins, Monday as 0."""
        days: set[int] = set()
        for part in self.days.split(","):
            first, _, last = part.partition("-")
            low, high = _DAY_NAMES.index(first), _DAY_NAMES.index(last or first)
            days |= {day % 7 for day in range(low, high + 1 + 7 * (high < low))}
        return days

    def times(self, first: date, days: int) -> Iterator[tuple[datetime, datetime]]:
        """Its begin and end in UTC, each time that it begins on one of so many days from the first on."""
        zone, weekdays = ZoneInfo(self.time_zone), self.weekdays
        begins, ends = time.fromisoformat(self.begins), time.fromisoformat(self.ends)
        for number in range(days):
            day = first + timedelta(days=number)
            if day.weekday() in weekdays:
                last = day if begins < ends else day + _DAY
                begin, end = datetime.combine(day, begins, zone), datetime.combine(last, ends, zone)
                yield begin.astimezone(UTC), end.astimezone(UTC)


class Freeze(StrictModel):
    """A time in which nothing that can wait is renewed or restarted."""

    begins: AwareDatetime = Field(alias="from", description="When it begins.")
    ends: AwareDatetime = Field(alias="to", description="When it ends.")
    reason: Why = Field(description="Why, for people.")

    @model_validator(mode="after")
    def _in_order(self) -> Freeze:
        if self.begins >= self.ends:
            raise ValueError("`from` must be before `to`")
        return self


class Pause(StrictModel):
    """Until when gateways are left alone."""

    until: AwareDatetime = Field(description="When it ends.")
    reason: Why = Field(description="Why, for people.")


def is_open(windows: Sequence[Window], now: datetime) -> bool:
    """Whether a window is open."""
    # The day may have begun in the zone, or not yet, and a window may have begun the day before.
    first = (now - 2 * _DAY).date()
    return any(begin <= now < end for window in windows for begin, end in window.times(first, 4))


def next_run(windows: Sequence[Window], schedule: str, now: datetime) -> datetime | None:
    """The next run of the schedule that falls into a window, or None when none does in years."""
    first = (now - 2 * _DAY).date()
    nexts = (
        next((run.first for begin, end in times if (run := within(schedule, max(begin, now), end))), None)
        for times in (window.times(first, _HORIZON) for window in windows)
    )
    return min(filter(None, nexts), default=None)


def longest_gap(windows: tuple[Window, ...], schedule: str, pause: timedelta) -> timedelta | None:
    """The longest time between two runs in windows, or None when hardly any falls into one; `pause` is the schedule's longest."""
    runs = _inside(windows, schedule)
    gaps = [later.first - earlier.last for earlier, later in pairwise(runs)]
    return max(pause, *gaps) if gaps else None


def longest_for(windows: tuple[Window, ...], schedule: str, number: int) -> timedelta:
    """The longest time in which so many runs fall into windows, counted from after any of the runs of a window."""
    runs, longest, end, count = _inside(windows, schedule), timedelta(), 1, 0
    for run, following in pairwise(runs):
        while count < number and end < len(runs):
            count, end = count + runs[end].number, end + 1
        if count < number:
            break
        longest, count = max(longest, runs[end - 1].last - run.first), count - following.number
    return longest or _HORIZON * _DAY


@lru_cache
def _inside(windows: tuple[Window, ...], schedule: str) -> list[Within]:
    """The runs in each window over some years, in their order; where windows overlap, the runs count once."""
    runs, over = list[Within](), datetime.min.replace(tzinfo=UTC)
    for begin, end in sorted(times for window in windows for times in window.times(_FIRST_DAY, _HORIZON)):
        if max(begin, over) < end and (run := within(schedule, max(begin, over), end)):
            runs.append(run)
        over = max(over, end)
    return runs


@dataclass(frozen=True, slots=True)
class Calendar:
    """When the app runs, and the freezes of the estate."""

    schedule: str
    pause: timedelta  # the longest between two runs
    freezes: tuple[Freeze, ...] = ()

    def freeze(self, now: datetime) -> Freeze | None:
        """The freeze that ends last of those that are on, or None."""
        on = (freeze for freeze in self.freezes if freeze.begins <= now < freeze.ends)
        return max(on, key=lambda freeze: freeze.ends, default=None)

    def awaits(self, windows: Sequence[Window], now: datetime) -> str:
        """What that which can wait has to wait for, or the empty string."""
        if freeze := self.freeze(now):
            return f"the end of the freeze (until {freeze.ends:%Y-%m-%d %H:%M} UTC: {freeze.reason})"
        if not windows or is_open(windows, now):
            return ""
        run = next_run(windows, self.schedule, now)
        return f"the window at {run:%Y-%m-%d %H:%M} UTC" if run else "a window, into which no run falls"
