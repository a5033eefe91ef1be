"""The renewal schedule: NCRONTAB, read as the Functions host reads it, less time spans and dates that never come.

https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import chain, pairwise
from typing import NamedTuple

from gateway_tokens.parsing import shown_name

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
_FIRST_DAY, _DAYS = date(2026, 1, 1), 28 * 365 + 7


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


def occurrences(schedule: str, after: datetime) -> Iterator[datetime]:
    """The occurrences later than the moment, in UTC. Raises ValueError that says what to write instead."""
    seconds, minutes, hours, *days = _read(schedule)
    for day in _matching_days(days, after.date()):
        for hour in sorted(hours):
            for minute in sorted(minutes):
                moments = (datetime.combine(day, time(hour, minute, s), UTC) for s in sorted(seconds))
                yield from (moment for moment in moments if moment > after)


@lru_cache(maxsize=1)
def longest_pause(schedule: str) -> timedelta:
    """The longest time between two occurrences, nights and weekends included. Raises ValueError, as above."""
    days, times = _times(schedule)
    matching = list(_matching_days(days, _FIRST_DAY))
    if not matching:
        raise ValueError("names a date that never comes, such as 30 February: write a date that does")
    # The calendar repeats, so the first matching day follows the last one.
    dates = [*matching, matching[0] + timedelta(days=_DAYS)]
    between_days = max(later - earlier for earlier, later in pairwise(dates))
    within_a_day = max((later - earlier for earlier, later in pairwise(times)), default=timedelta())
    return max(between_days - (times[-1] - times[0]), within_a_day)


def within(schedule: str, start: datetime, end: datetime) -> Within | None:
    """The occurrences from one moment until before the other, both in UTC, or None when there is none."""
    days, times = _times(schedule)
    found: list[Within] = []
    for number in range((end.date() - start.date()).days + 1):
        midnight = datetime.combine(start.date() + timedelta(days=number), time(), UTC)
        low, high = bisect_left(times, start - midnight), bisect_left(times, end - midnight)
        if low < high and _matches(days, midnight):
            found.append(Within(midnight + times[low], midnight + times[high - 1], high - low))
    return Within(found[0].first, found[-1].last, sum(part.number for part in found)) if found else None


@lru_cache(maxsize=1)
def _times(schedule: str) -> tuple[list[set[int]], list[timedelta]]:
    """The fields of the days, and the times of such a day in their order."""
    seconds, minutes, hours, *days = _read(schedule)
    return days, sorted(
        timedelta(hours=h, minutes=m, seconds=s) for h in hours for m in minutes for s in seconds
    )


def _matching_days(fields: list[set[int]], first: date) -> Iterator[date]:
    """The days of one cycle of the calendar on which day of month, month and day of week all match."""
    every = (first + timedelta(days=number) for number in range(_DAYS))
    yield from (day for day in every if _matches(fields, day))


def _matches(fields: list[set[int]], day: date) -> bool:
    days, months, weekdays = fields
    return day.day in days and day.month in months and day.isoweekday() % 7 in weekdays


def _read(schedule: str) -> list[set[int]]:
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
    return values
