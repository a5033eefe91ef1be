"""When the app runs, and when what can wait is done: the schedule, maintenance windows, freezes and pauses.

The schedule is NCRONTAB, read as the Functions host reads it, less time spans and dates that never come:
https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions
A window counts only the runs of the schedule that fall into it. It begins on the days that it names, by the clocks of
its time zone; when they are set forward or back, its ends are moved as `zoneinfo` says.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import chain, pairwise
from typing import Annotated, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from gateway_tokens.parsing import Form, StrictModel, shown_name

# A token with no more than this many runs left is renewed whatever its window says.
FEW_RUNS = 3
# Gateways of a service that may restart at a time for a change that can wait.
CHANGES_AT_ONCE = 2

_VALUE = "([0-9]{1,9}|[A-Za-z]+)"
_PART = re.compile(rf"(?:\*|{_VALUE}(?:-{_VALUE})?)(?:/0*([1-9][0-9]{{0,8}}))?")
_SIX = "write six fields, second, minute, hour, day of month, month and day of week: '0 0 * * * *' is hourly"
_MONTHS = "January February March April May June July August September October November December"
_WEEKDAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday"
# After 28 years dates fall on the same days of the week again; until 2100 every fourth year is a leap year.
_FIRST_DAY, _CYCLE = date(2026, 1, 1), 28 * 365 + 7
# Four years have every day of the calendar, and each change of the clocks several times.
_HORIZON = 4 * 366
_DAY = timedelta(days=1)


class _Field(NamedTuple):
    name: str
    least: int
    most: int
    example: str
    names: str = ""

    def values(self, text: str) -> set[int]:
        return set(chain.from_iterable(map(self._part, text.split(","))))

    def _part(self, text: str) -> range:
        match = _PART.fullmatch(text)
        if match is None:
            raise self._fault(text)
        first, last, step = match.groups()
        low = self._number(first) if first else self.least
        high = self._number(last) if last else self.most if step or not first else low
        # The host swaps the ends of a reversed range: 22-2 is 2-22.
        return range(min(low, high), max(low, high) + 1, int(step or 1))

    def _number(self, text: str) -> int:
        names = enumerate(self.names.lower().split(), self.least)
        known = [int(text)] if text.isdigit() else [n for n, name in names if name.startswith(text.lower())]
        if not known or not self.least <= known[0] <= self.most:
            raise self._fault(text)
        return known[0]

    def _fault(self, text: str) -> ValueError:
        allowed = f"{self.least} to {self.most}{' or a name' if self.names else ''}"
        message = f"{self.name} '{shown_name(text)}' is not a value, list, range or step of {allowed}"
        return ValueError(f"{message}: write for example {self.example}")


_FIELDS = (
    _Field("second", 0, 59, "0"),
    _Field("minute", 0, 59, "0, 5,35 or */15"),
    _Field("hour", 0, 23, "3, 6,18, 8-17 or */4"),
    _Field("day of month", 1, 31, "*, 1,15 or 1-7"),
    _Field("month", 1, 12, "*, 1,7 or Jan-Jun", _MONTHS),
    _Field("day of week", 0, 6, "*, 0 or Sun for Sunday, or Mon-Fri", _WEEKDAYS),
)


class Within(NamedTuple):
    """The occurrences between two moments: the first, the last, and how many."""

    first: datetime
    last: datetime
    number: int


@lru_cache(maxsize=1)
def longest_pause(schedule: str) -> timedelta:
    """The longest time between two occurrences, nights and weekends included. Raises ValueError that says what to write instead."""
    days, times = _read(schedule)
    cycle = (
        1 if [*map(len, days)] == [31, 12, 7] else _CYCLE
    )  # every day, as most schedules: one is like the next
    every = (_FIRST_DAY + number * _DAY for number in range(cycle))
    dates = [day for day in every if _matches(days, day)]
    if not dates:
        raise ValueError("names a date that never comes, such as 30 February: write a date that does")
    # The calendar repeats, so the first matching day follows the last one.
    between_days = max(later - earlier for earlier, later in pairwise([*dates, dates[0] + cycle * _DAY]))
    within_a_day = max((later - earlier for earlier, later in pairwise(times)), default=timedelta())
    return max(between_days - (times[-1] - times[0]), within_a_day)


def within(schedule: str, start: datetime, end: datetime) -> Within | None:
    """The occurrences from one moment until before the other, both in UTC, or None when there is none."""
    days, times = _read(schedule)
    parts: list[Within] = []
    for number in range((end.date() - start.date()).days + 1):
        midnight = datetime.combine(start.date() + number * _DAY, time(), UTC)
        low, high = bisect_left(times, start - midnight), bisect_left(times, end - midnight)
        if low < high and _matches(days, midnight):
            parts.append(Within(midnight + times[low], midnight + times[high - 1], high - low))
    return Within(parts[0].first, parts[-1].last, sum(part.number for part in parts)) if parts else None


def _matches(fields: list[set[int]], day: date) -> bool:
    days, months, weekdays = fields
    return day.day in days and day.month in months and day.isoweekday() % 7 in weekdays


@lru_cache(maxsize=1)
def _read(schedule: str) -> tuple[list[set[int]], list[timedelta]]:
    """The values of day of month, month and day of week, and the times of such a day in their order."""
    fields = [field for field in schedule.split(" ") if field]
    if fields and re.fullmatch(r"[0-9.]*:[0-9.:]+", fields[0]):
        raise ValueError(f"is a time span, which Azure takes on dedicated plans only: {_SIX}")
    if fields != schedule.split():
        raise ValueError("has a tab, a line break or another white space: separate the fields by spaces")
    if len(fields) == 5:  # noqa: PLR2004 - the form without seconds
        fields.insert(0, "0")
    if len(fields) != len(_FIELDS):
        raise ValueError(f"has {len(fields)} of six fields: {_SIX}" if fields else f"is not set: {_SIX}")
    faults, values = [], []
    for field, text in zip(_FIELDS, fields, strict=True):
        try:
            values.append(field.values(text))
        except ValueError as fault:
            faults.append(str(fault))
    if faults:
        raise ValueError("; ".join(faults))
    seconds, minutes, hours, *days = values
    times = (timedelta(hours=h, minutes=m, seconds=s) for h in hours for m in minutes for s in seconds)
    return days, sorted(times)


_DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_ONE_DAY = "(Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_DAYS = f"^{_ONE_DAY}(-{_ONE_DAY})?(,{_ONE_DAY}(-{_ONE_DAY})?)*$"
_TIME = "^([01][0-9]|2[0-3]):[0-5][0-9]$"


def _zone_name(name: str) -> str:
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        message = "is not a time zone: write a name of the IANA database, such as Europe/Berlin"
        raise ValueError(message) from None
    return name


Days = Annotated[str, Form("days of the week from Mon to Sun: Mon-Fri, or Sat,Sun", _DAYS)]
ClockTime = Annotated[str, Form("a time from 00:00 to 23:59, such as 22:00", _TIME)]
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
            day = first + number * _DAY
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
