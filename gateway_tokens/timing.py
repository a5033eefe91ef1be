"""When a stored token is due, when it is at risk, when a failing row is tried again. Values in, values out."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .settings import GatewayRule

# A token with no more than this many sweeps left is renewed whatever its window says.
FEW_SWEEPS = 3
# Sweeps in a row that may fail to see a token before it counts as at risk: its expiry is unknown by then.
BLIND_SWEEPS = 3
# Pauses after one, two, three ... failures in a row; the last one repeats.
BACK_OFF = tuple(timedelta(hours=hours) for hours in (1, 2, 4, 8, 16, 24))
# A pause takes no more than this share of the time left before the token is at risk.
_TRIES_BEFORE_RISK = 4
# Renewals of an estate spread over a tenth of the renewal window, each row always at its own point.
_JITTER = 10


def due_at(row: str, rule: GatewayRule, expiry: datetime) -> datetime:
    """When the row's token is to be renewed: at the window's start or, by the row's own jitter, a little earlier.

    The window is measured back from the token's expiry, so that the token alone tells it; the jitter is a stable
    function of the row's name. It takes no more than a tenth of what comes before the window either: else a token with
    a wide window would be due from birth.
    """
    share = int.from_bytes(hashlib.sha256(row.encode()).digest()[:4]) / 2**32
    spread = min(rule.window, rule.lifetime - rule.window) / _JITTER
    return expiry - rule.window - spread * share


def little_left(expiry: datetime, interval: timedelta, now: datetime) -> bool:
    """Whether only a few sweeps remain before the expiry; `interval` is the pause between sweeps."""
    return expiry - now <= FEW_SWEEPS * interval


def at_risk_from(rule: GatewayRule, expiry: datetime) -> datetime:
    """From when on a token that is still there counts as at risk."""
    return expiry - rule.margin


def retry_at(failures: int, last_failure: datetime, interval: timedelta, at_risk: datetime) -> datetime:
    """When a row that failed so often in a row is tried again: the oftener, the sooner its token is at risk.

    Half an interval early, because sweeps do not start to the second.
    """
    if failures == 0:
        return last_failure
    step = BACK_OFF[min(failures, len(BACK_OFF)) - 1]
    return last_failure + min(step, (at_risk - last_failure) / _TRIES_BEFORE_RISK) - interval / 2
