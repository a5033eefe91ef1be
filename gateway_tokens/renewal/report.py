"""What a run did, row by row, and the report of a service in which it is remembered.

A report only informs: it never causes or prevents a renewal or a restart, and losing it loses nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from gateway_tokens.errors import GatewayTokensError
from gateway_tokens.tokens import GatewayRef, KeyType, read, written

from .rows import Action, Decision, Reason, RowId

_T = TypeVar("_T", bound=StrEnum)
_LONGEST_TEXT = 500
# How long after the old token's expiry it is told that a gateway runs it.
_TELL_FOR = timedelta(days=1)


class Outcome(StrEnum):
    """How a row ended. Stable names: log queries and the runbook use them."""

    FRESH = "fresh"
    RENEWED = "renewed"
    UNCHANGED = "unchanged"  # the location holds exactly the token that was to be written
    RESTARTING = "restarting"
    WAITING = "waiting"  # delivered or staged: something else has to happen first
    UNVERIFIED = "unverified"  # whether the token is alive, or whether its workload restarted
    PAUSED = "paused"
    FAILED = "failed"
    NOT_REACHED = "not_reached"  # the run's time was over
    GONE = "gone"


BAD = frozenset({Outcome.FAILED, Outcome.NOT_REACHED})
# A check that was stopped: Azure's answers made many tokens look dead at once.
CHECK_STOPPED = "alive_check_stopped"


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong: a stable code and a sentence without secrets. `until`: when it need not be told any longer."""

    code: str
    text: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """The token that a location holds, with its times."""

    expiry: datetime
    due: datetime
    at_risk_from: datetime
    key_type: KeyType | None = None
    issued_at: datetime | None = None
    key_since: datetime | None = None  # None: somebody else issued it, or nobody knows
    key_due: datetime | None = None  # when a failing row keeps its key's rotation for too long
    key_late: datetime | None = None  # when the key is older than any rotation takes


@dataclass(frozen=True, slots=True)
class Asked:
    """When Azure was last asked about the value with that fingerprint, and the key that signs it (None: neither)."""

    at: datetime
    fingerprint: str
    key_type: KeyType | None


@dataclass(frozen=True, slots=True)
class Row:
    """One gateway's token at one location, after it was read or reconciled."""

    id: RowId
    decision: Decision
    seen: Seen | None = None  # None: nothing is stored, or it could not be read
    readable: bool = True
    outcome: Outcome | None = None  # None: only read
    old_expiry: datetime | None = None  # of what a renewal replaced
    renewed: bool = False  # a new token was delivered
    failure: Failure | None = None
    failing_since: datetime | None = None
    at: datetime | None = None
    asked: Asked | None = None

    def keeps_its_key(self, now: datetime) -> bool:
        """Whether the key is in use for longer than its rotation may take."""
        due, late = (self.seen.key_due, self.seen.key_late) if self.seen else (None, None)
        return bool((late and late <= now) or (due and due <= now and self.outcome in BAD))

    def at_risk(self, now: datetime) -> bool:
        """Whether the gateway may soon be without a token, judged by the expiry that is known."""
        if self.outcome is Outcome.GONE and self.seen is None:
            return False
        if self.seen is None:
            return self.readable and self.outcome in BAD
        return self.seen.at_risk_from <= now


def failure_of(error: Exception) -> Failure:
    """An error's code and sentence. Of an unexpected one only the type is told: its text may hold anything."""
    if isinstance(error, GatewayTokensError):
        return Failure(error.code, str(error)[:_LONGEST_TEXT])
    return Failure("internal_error", type(error).__name__)


def why(error: Exception) -> dict[str, str]:
    """An error as fields of a log line."""
    failure = failure_of(error)
    return {"code": failure.code, "error": failure.text}


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
            row = replace(row, seen=before.seen, asked=before.asked)
        told = before.failure is not None and before.failure.until is not None and before.failure.until > now
        same = row.seen is not None and before.seen is not None and before.seen.expiry == row.seen.expiry
        if told and same and row.outcome is Outcome.FRESH:
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
        upcoming = [
            row.seen.at_risk_from for row in self.rows.values() if row.seen and row.seen.at_risk_from > now
        ]
        return {
            "run": self.run,
            "completed": written(self.completed_at) if self.completed_at else "",
            "rows": str(len(self.rows)),
            "failed": str(sum(row.outcome in BAD for row in self.rows.values())),
            "atrisk": str(sum(row.at_risk(now) for row in self.rows.values())),
            "riskfrom": written(min(upcoming)) if upcoming else "",
            "keyslate": str(sum(row.keeps_its_key(now) for row in self.rows.values())),
            "stopped": str(sum(_code(row) == CHECK_STOPPED for row in self.rows.values())),
        }

    def as_text(self) -> str:
        """As JSON with times in UTC."""
        rows = [
            {name: value for name, value in _plain(row).items() if value is not None}
            for row in self.rows.values()
        ]
        completed = written(self.completed_at) if self.completed_at else None
        return json.dumps({"run": self.run, "completedAt": completed, "rows": rows})


def read_report(text: str | None, now: datetime) -> ServiceReport:
    """What `as_text` wrote, in whatever version. What cannot be understood is left out; times ahead are taken for now."""
    try:
        document = json.loads(text or "{}")
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return ServiceReport()
    rows = [_row(entry, now) for entry in _listed(document.get("rows"))]
    completed_at = _past(document.get("completedAt"), now)
    return ServiceReport(
        str(document.get("run") or ""), completed_at, {str(row.id): row for row in rows if row}
    )


def count(rows: Iterable[Row]) -> Counter[str]:
    """How many rows ended how; of rows that were only read, what is to be done with them."""
    return Counter(str(row.outcome or (row.decision.action if row.readable else "unknown")) for row in rows)


def _code(row: Row) -> str:
    return row.failure.code if row.failure else ""


def _plain(row: Row) -> dict[str, Any]:
    seen, failure = row.seen, row.failure
    return {
        "service": row.id.ref.service,
        "gateway": row.id.ref.gateway,
        "location": row.id.location,
        "reason": row.decision.reason,
        "outcome": row.outcome,
        "at": row.at and written(row.at),
        "expiry": seen and written(seen.expiry),
        "due": seen and written(seen.due),
        "atRiskFrom": seen and written(seen.at_risk_from),
        "keyType": seen and seen.key_type,
        "issuedAt": seen and seen.issued_at and written(seen.issued_at),
        "keySince": seen and seen.key_since and written(seen.key_since),
        "keyDue": seen and seen.key_due and written(seen.key_due),
        "keyLate": seen and seen.key_late and written(seen.key_late),
        "code": failure and failure.code,
        "text": failure and failure.text,
        "until": failure and failure.until and written(failure.until),
        "failingSince": row.failing_since and written(row.failing_since),
        "askedAt": row.asked and written(row.asked.at),
        "askedFor": row.asked and row.asked.fingerprint,
        "askedKey": row.asked and row.asked.key_type,
    }


def _row(entry: Mapping[str, Any], now: datetime) -> Row | None:
    """A row of a report, None for one that does not say which it is."""
    service, gateway, location = (entry.get(name) for name in ("service", "gateway", "location"))
    if not (isinstance(service, str) and isinstance(gateway, str) and isinstance(location, str)):
        return None
    code = entry.get("code")
    return Row(
        RowId(GatewayRef(service, gateway), location),
        Decision(Action.KEEP, _of(Reason, entry.get("reason")) or Reason.NOT_READ, ""),
        seen=_seen(entry, now),
        outcome=_of(Outcome, entry.get("outcome")),
        failure=Failure(str(code), str(entry.get("text") or ""), _moment(entry.get("until")))
        if code
        else None,
        failing_since=_past(entry.get("failingSince"), now),
        at=_past(entry.get("at"), now),
        asked=_asked(entry, now),
    )


def _seen(entry: Mapping[str, Any], now: datetime) -> Seen | None:
    expiry, due, risk = (_moment(entry.get(name)) for name in ("expiry", "due", "atRiskFrom"))
    if expiry is None or due is None or risk is None:
        return None
    return Seen(
        expiry,
        due,
        risk,
        _of(KeyType, entry.get("keyType")),
        _past(entry.get("issuedAt"), now),
        _past(entry.get("keySince"), now),
        _moment(entry.get("keyDue")),
        _moment(entry.get("keyLate")),
    )


def _asked(entry: Mapping[str, Any], now: datetime) -> Asked | None:
    at, fingerprint = _past(entry.get("askedAt"), now), entry.get("askedFor")
    if at is None or not isinstance(fingerprint, str):
        return None
    return Asked(at, fingerprint, _of(KeyType, entry.get("askedKey")))


def _of(kind: type[_T], value: object) -> _T | None:
    return next((member for member in kind if member == value), None)


def _listed(value: object) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _moment(text: object) -> datetime | None:
    try:
        return read(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _past(text: object, now: datetime) -> datetime | None:
    moment = _moment(text)
    return min(moment, now) if moment else None


def not_picked_up(text: str, code: str, expiry: datetime | None) -> Failure:
    """The failure of a token that an instance does not run; told until a day after the old token's expiry."""
    return Failure(code, text, (expiry or datetime.max.replace(tzinfo=UTC) - _TELL_FOR) + _TELL_FOR)
