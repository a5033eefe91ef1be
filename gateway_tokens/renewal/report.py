"""What a run did, row by row, and the report of a service in which it is remembered.

A report only informs: it never causes or prevents a renewal or a restart, and losing it loses nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from pydantic.alias_generators import to_camel

from gateway_tokens.errors import GatewayTokensError
from gateway_tokens.tokens import GatewayRef, KeyType, read, written

from .rows import Action, Decision, Proof, Reason, RowId

_T = TypeVar("_T", bound=StrEnum)
_LONGEST_TEXT = 500


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
    regenerated_at: datetime | None = None  # when the gateway's idle key was regenerated last


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
    asked: Proof | None = None  # what Azure last said of the stored value

    @property
    def code(self) -> str:
        """The code of its failure, or the empty string."""
        return self.failure.code if self.failure else ""

    def keeps_its_key(self, now: datetime) -> bool:
        """Whether the key is in use for longer than its rotation may take."""
        due, late = (self.seen.key_due, self.seen.key_late) if self.seen else (None, None)
        return bool((late and late <= now) or (due and due <= now and self.outcome in BAD))

    def at_risk(self, now: datetime) -> bool:
        """Whether the gateway may soon be without a token, judged by the expiry that is known."""
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


def count(rows: Iterable[Row]) -> Counter[str]:
    """How many rows ended how; of rows that were only read, what is to be done with them."""
    return Counter(str(row.outcome or (row.decision.action if row.readable else "unknown")) for row in rows)


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
    asked = row.asked
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
        **({"askedAt": asked.at, "askedFor": asked.fingerprint, "askedKey": asked.key_type} if asked else {}),
    }
    return {name: value for name, value in document.items() if value is not None}


def _fields(part: Seen | Failure | None) -> dict[str, Any]:
    return {to_camel(one.name): getattr(part, one.name) for one in fields(part)} if part else {}


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
    asked = Proof(entry.one_of(KeyType, "askedKey"), asked_at, entry.text("askedFor"))
    return Row(
        RowId(GatewayRef(service, gateway), location),
        Decision(Action.KEEP, entry.one_of(Reason, "reason") or Reason.NOT_READ, ""),
        seen=_seen(entry),
        outcome=entry.one_of(Outcome, "outcome"),
        failure=Failure(code, entry.text("text"), entry.moment("until")) if code else None,
        failing_since=entry.past("failingSince"),
        at=entry.past("at"),
        asked=asked if asked_at else None,
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
