"""What a sweep writes to the log: a line for each row and one for the sum. Field names are documented and stable."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .log_lines import log_line
from .report import NEW_FAILURE, Outcome, Row, SweepReport

if TYPE_CHECKING:
    from datetime import datetime

    from .settings import Estate


def log_row(row: Row, now: datetime) -> None:
    """One line for a finished row; `hoursLeft` until the token that is there now expires, if that is known."""
    expiry = row.new_expiry or row.expiry
    log_line(
        "sweep.row",
        logging.ERROR if row.outcome in NEW_FAILURE else logging.INFO,
        service=row.ref.service,
        gateway=row.ref.gateway,
        destination=row.place,
        reason=row.reason,
        outcome=row.outcome or "",
        keyType=row.key_type or "",
        oldExpiry=row.expiry or "",
        newExpiry=row.new_expiry or "",
        atRisk=row.at_risk(now),
        hoursLeft=round((expiry - now).total_seconds() / 3600, 1) if expiry else "",
        consecutiveFailures=row.failures,
        code=row.code,
        error=row.error,
    )


def log_subscriptions(estate: Estate, report: SweepReport) -> None:
    """One line for each subscription of the estate that a complete sweep has been through: an alert misses it."""
    for subscription_id in sorted({service.id.subscription_id for service in estate.services.values()}):
        log_line("sweep.subscription", subscription=subscription_id, rows=report.total, failed=report.failed)


def log_sum(report: SweepReport, now: datetime, *, complete: bool) -> None:
    """One line for a finished sweep."""
    log_line(
        "sweep.completed",
        logging.ERROR if report.failed or report.at_risk else logging.INFO,
        rows=report.total,
        **{str(outcome): report.counts[outcome] for outcome in Outcome},
        atRisk=report.at_risk,
        complete=complete,
        seconds=round((now - report.started_at).total_seconds(), 1),
    )
