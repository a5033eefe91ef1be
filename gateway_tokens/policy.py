"""How long a token may live: limits from Azure, limits from us, and the minute that tokens are cut to."""

from __future__ import annotations

from datetime import datetime, timedelta

# "Maximum token expiry time is set to 30 days": Gateway - Generate Token, request body, expiry.
# https://learn.microsoft.com/rest/api/apimanagement/gateway/generate-token
MAX_LIFETIME = timedelta(days=30)
MIN_LIFETIME = timedelta(minutes=1)
# Clocks differ: a lifetime (not an explicit expiry) ends this much before Azure's limit.
CLOCK_MARGIN = timedelta(minutes=5)


def to_the_minute(moment: datetime) -> datetime:
    """The moment cut down to the minute, as a token's expiry is; never later than asked for."""
    return moment.replace(second=0, microsecond=0)


def expiry_after(lifetime: timedelta, now: datetime) -> datetime:
    """When a token issued at `now` for `lifetime` ends: to the minute, safely within Azure's limit."""
    return to_the_minute(now + min(lifetime, MAX_LIFETIME - CLOCK_MARGIN))


def expiry_fault(expiry: datetime, now: datetime) -> str:
    """What is wrong with an expiry asked for at `now`, or the empty string."""
    if to_the_minute(expiry) <= now:
        return "is in the past, or less than a minute ahead: tokens are cut to the minute"
    if expiry > now + MAX_LIFETIME:
        return "is more than 30 days ahead"
    return ""


def lifetime_fault(lifetime: timedelta) -> str:
    """What is wrong with a lifetime asked for, or the empty string."""
    if lifetime < MIN_LIFETIME:
        return "is shorter than one minute (PT1M)"
    if lifetime > MAX_LIFETIME:
        return "is longer than 30 days (P30D)"
    return ""
