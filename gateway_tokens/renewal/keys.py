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
# No run that is about to regenerate a key is at it for longer: until then nothing moves to that key.
_LONGEST_CALL = timedelta(hours=1)
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
    own = [row for row in rows if row and row.ownership and row.ownership.owner == row.gateway.owner]
    owned = [row.ownership for row in own if row.ownership]
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
    done_at, switch_at = max(regenerated, default=oldest - GRACE), oldest + rule.rotate_keys.every
    if rule.other_consumers:
        if switch_at <= now:
            return KeyState(active, oldest, Phase.SWITCH, switch_at)
        person = "a person, who regenerates the idle key" if done_at < max(since) else ""
        return KeyState(active, oldest, Phase.STEADY, switch_at, person)
    phase, next_at = _phase(max(switch_at, done_at + _LONGEST_CALL), max(since), done_at, now)
    return KeyState(active, oldest, phase, next_at)


def _phase(switch_at: datetime, newest: datetime, done_at: datetime, now: datetime) -> tuple[Phase, datetime]:
    """The phase of a gateway whose rows are all well, and when its next step is due.

    A key that was left is regenerated before it signs again, however late that is.
    """
    if done_at < newest:
        return (Phase.GRACE if newest + GRACE > now else Phase.REGENERATE), newest + GRACE
    return (Phase.SWITCH if switch_at <= now else Phase.STEADY), switch_at


def _hindrance(row: Observed | None, active: KeyType, now: datetime) -> str:
    """What in a row keeps its gateway from the next step, or the empty string."""
    return _unsettled(row, active, now) if row else "a location that cannot be read"


def _unsettled(row: Observed, active: KeyType, now: datetime) -> str:
    where, restart = row.id.location, row.stored.restart if row.stored else None
    if row.token is None or row.ownership is None or row.token.expiry <= now:
        return f"{where}, which holds no live token of this app's"
    if row.ownership.taken_over or row.ownership.owner != row.gateway.owner:
        return f"{where}, whose token somebody else wrote"
    if row.key_type is not active:
        return f"{where}, which holds a token of the {row.key_type} key"
    if row.gateway.rule.rotate_keys and row.ownership.key_since is None:
        return f"{where}, whose next renewal notes since when no other key signs"
    if restart and restart.running is not Running.CURRENT:
        return f"{where}, whose workload does not run its token: {restart.message}"
    return ""
