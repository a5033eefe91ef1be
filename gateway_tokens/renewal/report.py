"""The report of a service, in which a run is remembered row by row, and the health of the app, judged from all reports.

A report only informs: it never causes or prevents a renewal or a restart, and losing it loses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from pydantic.alias_generators import to_camel

from gateway_tokens.azure.reports import Entry
from gateway_tokens.estate.schema import Estate
from gateway_tokens.tokens import GatewayRef, KeyType, read, written

from .rows import BAD, CHECK_STOPPED, Action, Decision, Failure, Outcome, Proof, Reason, Row, RowId, Seen

_T = TypeVar("_T", bound=StrEnum)


@dataclass(slots=True)
class ServiceReport:
    """The last result of every row of a service, by the row's name."""

    run: str = ""
    completed_at: datetime | None = None
    rows: dict[str, Row] = field(default_factory=dict)

    def judged(self, row: Row, now: datetime) -> Row:
        """The row with what only the report knows: the expiry last seen, since when it fails, what was not picked up."""
        before = self.rows.get(str(row.id))
        row = replace(row, at=now)
        if before is None:
            return replace(row, failing_since=now) if row.outcome in BAD else row
        if not row.readable:
            row = replace(row, seen=before.seen, proof=before.proof)
        lasts = before.failure is not None and before.failure.until is not None and before.failure.until > now
        same = row.seen is not None and before.seen is not None and before.seen.expiry == row.seen.expiry
        if lasts and same and row.outcome is Outcome.FRESH:
            row = replace(row, outcome=before.outcome, failure=before.failure)
        if row.outcome in BAD:
            row = replace(row, failing_since=before.failing_since or now)
        return row

    def stays_fresh(self, row: Row, now: datetime) -> bool:
        """Whether the row is fresh at no risk, and was when it was last told: alerts go by the last line of each row."""
        before = self.rows.get(str(row.id))
        return (
            row.decision.reason is Reason.FRESH
            and before is not None
            and (row.outcome, before.outcome) == (Outcome.FRESH, Outcome.FRESH)
            and not row.at_risk(now)
            and not before.at_risk(before.at or now)
        )

    def with_rows(
        self, rows: Iterable[Row], run: str, now: datetime, *, started_at: datetime, whole: bool
    ) -> ServiceReport:
        """The report after a run. A run of the whole service drops rows that it did not have, unless they are newer."""
        newer = {
            name: row for name, row in self.rows.items() if not whole or (row.at and row.at > started_at)
        }
        kept = dict(newer)
        for row in rows:
            name = str(row.id)
            if row.outcome is Outcome.NOT_REACHED and name in self.rows:
                kept[name] = self.rows[name]
            elif (row.outcome is not Outcome.GONE or row.seen) and not (whole and name in newer):
                kept[name] = row
        return ServiceReport(run, now if whole else self.completed_at, kept)

    def summary(self, now: datetime) -> dict[str, str]:
        """What health needs, as names and values for a blob's metadata."""
        rows = self.rows.values()
        upcoming = [row.seen.at_risk_from for row in rows if row.seen and row.seen.at_risk_from > now]
        return {
            "run": self.run,
            "completed": written(self.completed_at) if self.completed_at else "",
            "rows": str(len(rows)),
            "failed": str(sum(row.outcome in BAD for row in rows)),
            "atrisk": str(sum(row.at_risk(now) for row in rows)),
            "riskfrom": written(min(upcoming)) if upcoming else "",
            "keyslate": str(sum(row.keeps_its_key(now) for row in rows)),
            "stopped": str(sum(row.code == CHECK_STOPPED for row in rows)),
        }

    def as_text(self) -> str:
        """As JSON with times in UTC."""
        rows = [_plain(row) for row in self.rows.values()]
        return json.dumps({"run": self.run, "completedAt": self.completed_at, "rows": rows}, default=written)


def read_report(text: str | None, now: datetime) -> ServiceReport:
    """What `as_text` wrote, in whatever version. What cannot be understood is left out; times ahead are taken for now."""
    try:
        document = json.loads(text or "{}")
    except ValueError:
        return ServiceReport()
    whole = _Entry(document, now)
    rows = [_row(_Entry(entry, now)) for entry in whole.entries("rows")]
    return ServiceReport(
        whole.text("run"), whole.past("completedAt"), {str(row.id): row for row in rows if row}
    )


def _plain(row: Row) -> dict[str, Any]:
    """The row as one flat object; what is None is left out."""
    proof = row.proof
    document = {
        "service": row.id.ref.service,
        "gateway": row.id.ref.gateway,
        "location": row.id.location,
        "reason": row.decision.reason,
        "outcome": row.outcome,
        "at": row.at,
        **_fields(row.seen),
        **_fields(row.failure),
        "failingSince": row.failing_since,
        **({"askedAt": proof.at, "askedFor": proof.fingerprint, "askedKey": proof.key_type} if proof else {}),
    }
    return {name: value for name, value in document.items() if value is not None}


def _fields(part: Seen | Failure | None) -> dict[str, Any]:
    return {to_camel(field.name): getattr(part, field.name) for field in fields(part)} if part else {}


class _Entry:
    """An object that may be damaged, or of another version: what cannot be understood is not there."""

    def __init__(self, entry: object, now: datetime) -> None:
        self._entry, self._now = entry if isinstance(entry, dict) else {}, now

    def entries(self, name: str) -> list[object]:
        value = self._entry.get(name)
        return value if isinstance(value, list) else []

    def text(self, name: str) -> str:
        value = self._entry.get(name)
        return value if isinstance(value, str) else ""

    def one_of(self, kind: type[_T], name: str) -> _T | None:
        return next((member for member in kind if member == self._entry.get(name)), None)

    def moment(self, name: str) -> datetime | None:
        try:
            return read(self.text(name))
        except ValueError:
            return None

    def past(self, name: str) -> datetime | None:
        moment = self.moment(name)
        return min(moment, self._now) if moment else None


def _row(entry: _Entry) -> Row | None:
    """A row of a report, None for one that does not say which it is."""
    service, gateway, location = map(entry.text, ("service", "gateway", "location"))
    if not (service and gateway and location):
        return None
    code, asked_at = entry.text("code"), entry.past("askedAt")
    proof = Proof(entry.one_of(KeyType, "askedKey"), asked_at, entry.text("askedFor"))
    return Row(
        RowId(GatewayRef(service, gateway), location),
        Decision(Action.KEEP, entry.one_of(Reason, "reason") or Reason.NOT_READ, ""),
        seen=_seen(entry),
        outcome=entry.one_of(Outcome, "outcome"),
        failure=Failure(code, entry.text("text"), entry.moment("until")) if code else None,
        failing_since=entry.past("failingSince"),
        at=entry.past("at"),
        proof=proof if asked_at else None,
    )


def _seen(entry: _Entry) -> Seen | None:
    expiry, due, risk = map(entry.moment, ("expiry", "due", "atRiskFrom"))
    if expiry is None or due is None or risk is None:
        return None
    return Seen(
        expiry,
        due,
        risk,
        entry.one_of(KeyType, "keyType"),
        entry.past("issuedAt"),
        entry.past("keySince"),
        entry.moment("keyDue"),
        entry.moment("keyLate"),
        entry.past("regeneratedAt"),
    )


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
    metadata = {entry.name: entry.metadata for entry in entries}
    names = [name for name, service in estate.services.items() if service.delivers]
    return [_summary(name, metadata.get(f"reports/{name}.json", {})) for name in names]


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
