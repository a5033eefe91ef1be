"""Whether the app does its job, judged from the summaries of the reports and `now`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway_tokens.azure.reports import Entry
from gateway_tokens.estate.schema import Estate
from gateway_tokens.tokens import read

from .report import CHECK_STOPPED

# A run that has not completed for so many pauses of the schedule is missing, not late.
MISSED_RUNS = 3


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: `code` is stable, `detail` says what to do."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Summary:
    """A service's last complete run, as its report sums it up."""

    service: str
    run: str = ""
    completed_at: datetime | None = None
    rows: int = 0
    failed: int = 0
    at_risk: int = 0
    keys_late: int = 0
    stopped: int = 0  # tokens that the daily check would not believe to be dead
    risk_from: datetime | None = None


def summaries_of(estate: Estate, entries: Iterable[Entry]) -> list[Summary]:
    """One for each service that delivers tokens; of what cannot be understood the defaults."""
    found = {entry.name: entry.metadata for entry in entries}
    names = [name for name, service in estate.services.items() if service.delivers]
    return [_summary(name, found.get(f"reports/{name}.json", {})) for name in names]


def problems_of(estate: Estate, entries: list[Entry], pause: timedelta, now: datetime) -> list[Problem]:
    """What is wrong; `pause` is the longest between two scheduled runs."""
    began = [entry.created for entry in entries if entry.name.startswith("runs/")]
    if not began:
        return [Problem("no_run_yet", "No run has begun yet. Wait for the schedule, or POST renewals.")]
    summaries, late = summaries_of(estate, entries), now - MISSED_RUNS * pause
    missing = [s.service for s in summaries if (s.completed_at or min(began)) < late]
    problems = []
    if missing:
        shown = ", ".join(missing[:10])
        message = f"No run of {len(missing)} services completed since {late:%Y-%m-%dT%H:%MZ}: {shown}. See the log of 'reconcile_subscription'."
        problems.append(Problem("run_missing", message))
    at_risk = sum(s.at_risk + bool(s.risk_from and s.risk_from <= now) for s in summaries)
    if at_risk:
        message = f"At least {at_risk} managed tokens are at risk. GET renewals shows which and why."
        problems.append(Problem("token_at_risk", message))
    late_keys = sum(s.keys_late for s in summaries)
    if late_keys:
        message = (
            f"{late_keys} rows keep a key that is due for rotation. GET renewals shows what each waits for."
        )
        problems.append(Problem("key_rotation_late", message))
    stopped = sum(s.stopped for s in summaries)
    if stopped:
        message = f"Azure answers with other tokens than those stored for {stopped} rows. Nothing is renewed for it. See GET renewals."
        problems.append(Problem(CHECK_STOPPED, message))
    return problems


def _summary(service: str, metadata: Mapping[str, str]) -> Summary:
    plain = {name.casefold(): value for name, value in metadata.items()}
    completed, risk = (_moment(plain.get(name)) for name in ("completed", "riskfrom"))
    numbers = {
        field: _number(plain.get(field.replace("_", "")))
        for field in ("rows", "failed", "at_risk", "keys_late", "stopped")
    }
    return Summary(service, plain.get("run", ""), completed, risk_from=risk, **numbers)


# An empty value may be listed as None.
def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _moment(text: str | None) -> datetime | None:
    try:
        return read(text or "")
    except ValueError:
        return None
