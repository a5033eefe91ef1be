"""When a stored token is due, when it is at risk. Values in, values out."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from .settings import GatewayRule

# A token with no more than this many sweeps left is renewed whatever its window says.
FEW_SWEEPS = 3
# Sweeps in a row that may fail to see a token before it counts as at risk: its expiry is unknown by then.
BLIND_SWEEPS = 3
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
