"""What a sweep found and did, row by row and in sum."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from gateway_tokens.errors import GatewayTokensError
from gateway_tokens.tokens import GatewayRef, KeyType

from .checks import BLIND_SWEEPS, Action, Reason
from .record import Trouble

# Rows kept for the answer; a sweep of tens of thousands must not hold them all. The log has every row.
MOST_ROWS_KEPT = 500


class Outcome(StrEnum):
    """How a row ended. Stable names: log queries and the runbook use them."""

    FRESH = "fresh"
    RENEWED = "renewed"
    RESTARTED = "restarted"
    NOT_RESTARTED = "not_restarted"
    NOT_PICKED_UP = "not_picked_up"
    FAILED = "failed"
    GONE = "gone"


TROUBLE = frozenset({Outcome.FAILED, Outcome.NOT_RESTARTED})
# Outcomes that somebody should hear of.
NEW_FAILURE = frozenset({Outcome.FAILED, Outcome.NOT_RESTARTED, Outcome.NOT_PICKED_UP})
# Nothing is known of the token: a passing outage is no risk yet.
_BLIND = frozenset({Reason.NOT_OBSERVED, Reason.NOT_LISTED})


@dataclass(frozen=True, slots=True)
class Row:
    """One gateway's token at one destination, after a look or a sweep."""

    ref: GatewayRef
    location: str
    action: Action | None
    reason: Reason
    message: str
    outcome: Outcome | None = None  # None: only looked at
    expiry: datetime | None = None  # of what was there
    new_expiry: datetime | None = None  # of what was delivered
    due: datetime | None = None  # when the token now there is to be renewed
    at_risk_from: datetime | None = None
    key_type: KeyType | None = None
    issued_at: datetime | None = None  # as the location's own ownership says
    last_outcome: str = ""  # of the last run that did not end well, if that was the last one
    failures: int = 0  # in a row, this one included
    last_failure: datetime | None = None
    code: str = ""  # of the error
    error: str = ""

    @property
    def name(self) -> str:
        """Stable over runs: what the sweep record is kept by."""
        return row_name(self.ref, self.location)

    def at_risk(self, now: datetime) -> bool:
        """Whether the gateway could be left without a token: past its window and failing, or close to its end."""
        if self.outcome is Outcome.GONE:
            return False
        if self.at_risk_from is None:
            return self.failures >= (BLIND_SWEEPS if self.reason in _BLIND else 1)
        in_trouble = self.outcome in TROUBLE if self.outcome else self.failures > 0
        failing = in_trouble and self.due is not None and self.due <= now
        return failing or self.at_risk_from <= now


def row_name(ref: GatewayRef, location: str) -> str:
    """The name of a row: its gateway, whose case Azure ignores, and its location."""
    return f"{str(ref).casefold()} -> {location}"


def failure_of(error: Exception) -> tuple[str, str]:
    """An error's code and sentence. Of an unexpected one only the type is told: its text may hold anything."""
    if isinstance(error, GatewayTokensError):
        return error.code, str(error)
    return "internal_error", type(error).__name__


@dataclass(slots=True)
class SweepReport:
    """The sum of a sweep, filled row by row."""

    started_at: datetime
    known: frozenset[str] = frozenset()  # rows that were in trouble before
    settled: set[str] = field(default_factory=set)  # those of them that are well now
    unlisted: set[str] = field(default_factory=set)  # services whose gateways were not all seen
    gateways: set[str] = field(default_factory=set)  # those that are there, as `service/gateway`
    counts: Counter[str] = field(default_factory=Counter)
    at_risk: int = 0
    risk_begins: datetime | None = None  # when the first row that is well now will be at risk
    rows: list[Row] = field(default_factory=list)
    troubles: dict[str, Trouble] = field(default_factory=dict)

    def add(self, row: Row, now: datetime) -> None:
        """Count a finished row; keep it when there is something to say about it."""
        self.counts[row.outcome or ""] += 1
        at_risk = row.at_risk(now)
        self.at_risk += at_risk
        if row.reason is Reason.NOT_LISTED:
            self.unlisted.add(row.ref.service.casefold())
        elif row.outcome is not Outcome.GONE:
            self.gateways.add(str(row.ref))
        if row.outcome in TROUBLE:
            self.troubles[row.name] = Trouble(
                row.failures,
                row.last_failure or now,
                row.outcome or "",
                row.code,
                at_risk,
            )
        else:
            self.settled |= {row.name} & self.known
        if row.outcome not in TROUBLE and row.at_risk_from is not None:
            self.risk_begins = min(filter(None, (self.risk_begins, row.at_risk_from)))
        if row.outcome is not Outcome.FRESH and len(self.rows) < MOST_ROWS_KEPT:
            self.rows.append(row)

    @property
    def failed(self) -> int:
        """Rows that failed in this sweep."""
        return sum(self.counts[outcome] for outcome in NEW_FAILURE)

    @property
    def total(self) -> int:
        """All rows."""
        return self.counts.total()
