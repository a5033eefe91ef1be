"""The log lines that sum up: a service's rows and a run. Rows that stay fresh need no line of their own beside them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime

from gateway_tokens.logs import log_line

from .messages import RunRequest
from .report import BAD, Outcome, Row, count


def log_service(name: str, rows: Collection[Row], *, whole: bool) -> None:
    """One line for a service in a run: how many rows, and on which days their tokens are due and expire."""
    seen = [row.seen for row in rows if row.seen]
    log_line(
        "service.completed",
        service=name,
        whole=whole,
        rows=len(rows),
        fresh=count(rows)[Outcome.FRESH],
        earliestDue=min((one.due for one in seen), default=""),
        earliestExpiry=min((one.expiry for one in seen), default=""),
        dueByDay=_by_day(one.due for one in seen),
        expiryByDay=_by_day(one.expiry for one in seen),
    )


def log_run(request: RunRequest, rows: Collection[Row], started_at: datetime, now: datetime) -> None:
    """One line for a run of a subscription: how many rows ended how, and how long it took."""
    counts, failed, at_risk = (
        count(rows),
        sum(row.outcome in BAD for row in rows),
        sum(row.at_risk(now) for row in rows),
    )
    log_line(
        "run.completed",
        logging.ERROR if failed or at_risk else logging.INFO,
        subscription=request.subscription,
        askedBy=request.asked_by,
        whole=request.whole,
        rows=len(rows),
        **{str(outcome): counts[outcome] for outcome in Outcome},
        atRisk=at_risk,
        seconds=round((now - started_at).total_seconds(), 1),
    )


def _by_day(moments: Iterable[datetime]) -> dict[str, int]:
    """How many of the moments are in each day (UTC)."""
    return dict(sorted(Counter(f"{moment:%Y-%m-%d}" for moment in moments).items()))
