"""Whether the app does its job, judged from the last sweep's record and `now`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from .record import SweepRecord

# A sweep that has not completed for so many intervals is missing, not late.
MISSED_SWEEPS = 3


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: `code` is stable, `detail` says what to do, `path` is where in the settings."""

    code: str
    detail: str
    path: str = ""


def problems_of(record: SweepRecord, interval: timedelta, now: datetime) -> list[Problem]:
    """What the record says is wrong; `interval` is the longest pause between scheduled sweeps."""
    found = []
    if record.completed_at is None:
        found.append(
            Problem("no_sweep_yet", "No sweep has completed yet. Wait for the schedule, or POST renewals.")
        )
    elif now - record.completed_at > MISSED_SWEEPS * interval:
        said = f"The last sweep completed at {record.completed_at:%Y-%m-%dT%H:%MZ}. See the log of the timer's runs."
        found.append(Problem("sweep_missing", said))
    at_risk = sum(trouble.at_risk for trouble in record.troubles.values())
    at_risk += record.risk_begins is not None and record.risk_begins <= now
    if at_risk:
        said = f"At least {at_risk} managed tokens are at risk. GET renewals shows which and why."
        found.append(Problem("token_at_risk", said))
    return found
