"""How rows and reports look in answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import SweepFailed
from .http_answers import json_answer, problem
from .report import Outcome, Row, SweepReport
from .timestamps import written

if TYPE_CHECKING:
    from datetime import datetime

    import azure.functions as func


def report_answer(report: SweepReport, now: datetime) -> func.HttpResponse:
    """The report; inside a problem document when any row failed, so that whoever asked cannot miss it."""
    if report.failed:
        return problem(SweepFailed(report.failed, report.total), report=summary(report, now))
    return json_answer(summary(report, now))


def summary(report: SweepReport, now: datetime) -> dict[str, Any]:
    """A report for callers; `notListed` counts rows that had something to say but found no room."""
    left_out = report.total - len(report.rows) - report.counts[Outcome.FRESH] - report.counts["keep"]
    return {
        "rows": report.total,
        "counts": dict(report.counts),
        "atRisk": report.at_risk,
        "listed": [
            {"service": row.ref.service, "gatewayId": row.ref.gateway, **shown_row(row, now)}
            for row in report.rows
        ],
        "notListed": max(left_out, 0),
    }


def shown_row(row: Row, now: datetime) -> dict[str, Any]:
    """A row for callers: times in UTC, `secondsLeft` until the token now there expires."""
    expiry = row.new_expiry or row.expiry
    return {
        "destination": row.place,
        "action": row.action,
        "reason": row.reason,
        "message": row.message,
        "outcome": row.outcome,
        "lastOutcome": row.outcome or row.last_outcome or (Outcome.RENEWED if row.issued_at else None),
        "issuedAt": _text(row.issued_at),
        "expiry": _text(expiry),
        "oldExpiry": _text(row.expiry),
        "secondsLeft": int((expiry - now).total_seconds()) if expiry else None,
        "nextRenewal": _text(row.due),
        "keyType": row.key_type,
        "consecutiveFailures": row.failures,
        "lastFailure": _text(row.last_failure),
        "code": row.code or None,
        "error": row.error or None,
    }


def _text(moment: datetime | None) -> str | None:
    return written(moment) if moment else None
