"""Which of a gateway's two keys signs its tokens, and where its rotation is.

Both follow from the ownership beside the stored tokens, the rule and the time. Rotation goes in phases: *steady*; *switch*,
when the key is older than the rule says; *grace*, in which every token of the key that was left ends; *regenerate*.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from gateway_tokens.estate.schema import GatewayRule
from gateway_tokens.stored import Ownership, Running
from gateway_tokens.tokens import KeyType

from .rows import Observed

# Azure gives no token more than 30 days, so this long after a switch nothing of the other key is alive.
GRACE = timedelta(days=31)
OTHER = {KeyType.PRIMARY: KeyType.SECONDARY, KeyType.SECONDARY: KeyType.PRIMARY}


class Phase(StrEnum):
    """Where a rotation is. Stable names: answers and the runbook use them."""

    STEADY = "steady"
    SWITCH = "switch"
    GRACE = "grace"
    REGENERATE = "regenerate"


@dataclass(frozen=True, slots=True)
class KeyState:
    """The rotation of one gateway: its key in use and since when, the phase, when the next step is due and what it waits for."""

    active: KeyType
    since: datetime | None
    phase: Phase
    next_at: datetime | None = None
    waits_for: str = ""

    @property
    def idle(self) -> KeyType:
        """The key that signs nothing of this app's."""
        return OTHER[self.active]


@dataclass(frozen=True, slots=True)
class KeyUse:
    """That a location holds a token which this app issued with a key, since when."""

    key_type: KeyType
    since: datetime


def use_of(ownership: Ownership | None) -> KeyUse | None:
    """The use of a key that a stored token tells of; a token that somebody else wrote tells nothing."""
    if ownership is None or ownership.taken_over:
        return None
    return KeyUse(ownership.key_type, ownership.signs_since)


def key_in_use(rule: GatewayRule | None, uses: Iterable[KeyUse]) -> KeyType:
    """The key that the rule names, else the one of the newest use, else the primary one."""
    if rule and rule.key_type:
        return rule.key_type
    newest = max(uses, key=lambda use: use.since, default=None)
    return newest.key_type if newest else KeyType.PRIMARY


def key_state(
    rule: GatewayRule, rows: Sequence[Observed | None], remembered: Sequence[KeyUse], now: datetime
) -> KeyState:
    """Where the rotation of a gateway is, of which these are all rows; None for one that could not be read.

    `remembered` is what was last seen in those that could not be read.
    """
    owned = [row.ownership for row in rows if row and row.ownership]
    active = key_in_use(rule, [*remembered, *(use for use in map(use_of, owned) if use)])
    since = [ownership.signs_since for ownership in owned if not ownership.taken_over]
    oldest = min(since, default=None)
    hindrances = [text for row in rows if (text := _hindrance(row, active, now))]
    if oldest is None or hindrances:
        moves = any(row and row.key_type not in {active, None} for row in rows)
        return KeyState(active, oldest, Phase.SWITCH if moves else Phase.STEADY, None, "; ".join(hindrances))
    if rule.rotate_keys is None:
        return KeyState(active, oldest, Phase.STEADY)
    regenerated = [ownership.regenerated_at for ownership in owned if ownership.regenerated_at]
    done = max(regenerated, default=oldest - GRACE) >= max(since)
    phase, next_at = _phase(oldest + rule.rotate_keys.every, max(since) + GRACE, done=done, now=now)
    if rule.other_consumers and phase in {Phase.GRACE, Phase.REGENERATE}:
        return KeyState(active, oldest, Phase.STEADY, next_at, "a person, who regenerates the idle key")
    return KeyState(active, oldest, phase, next_at)


def _phase(
    switch_at: datetime, grace_until: datetime, *, done: bool, now: datetime
) -> tuple[Phase, datetime]:
    """The phase of a gateway whose rows are all well, and when its next step is due."""
    if switch_at <= now:
        return Phase.SWITCH, switch_at
    if done:
        return Phase.STEADY, switch_at
    return (Phase.GRACE if grace_until > now else Phase.REGENERATE), grace_until


def _hindrance(row: Observed | None, active: KeyType, now: datetime) -> str:
    """What in a row keeps its gateway from the next step, or the empty string."""
    if row is None:
        return "a location that cannot be read"
    where, restart = row.id.location, row.stored.restart if row.stored else None
    if row.token is None or row.ownership is None or row.token.expiry <= now:
        return f"{where}, which holds no live token of this app's"
    if row.ownership.taken_over:
        return f"{where}, whose token somebody else wrote"
    if row.key_type is not active:
        return f"{where}, which holds a token of the {row.key_type} key"
    if restart and restart.running is not Running.CURRENT:
        return f"{where}, whose workload does not run its token: {restart.message}"
    return ""
