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
from gateway_tokens.stored import Running
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


def key_in_use(rule: GatewayRule, uses: Iterable[tuple[datetime, KeyType]]) -> KeyType:
    """The key that the rule names, else the one of the newest use, else the primary one.

    A use is a token that this app issued for one of the gateway's locations: since when its key signs there, and the key.
    """
    _, newest = max(uses, key=lambda use: use[0], default=(None, KeyType.PRIMARY))
    return rule.key_type or newest


def key_state(
    rule: GatewayRule,
    rows: Sequence[Observed | None],
    remembered: Iterable[tuple[datetime, KeyType]],
    regenerated_at: datetime | None,
    now: datetime,
) -> KeyState:
    """Where the rotation of a gateway is, of which these are all rows; None for one that could not be read.

    `remembered` are the uses that were last seen in those that could not be read, `regenerated_at` when the idle key was
    regenerated last, as far as the report knows: the ownership beside the tokens tells it too. In one piece, since each
    step needs what those before it found.
    """
    own = [row for row in rows if row and row.ownership and row.ownership.owner == row.gateway.owner]
    owned = [row.ownership for row in own if row.ownership]
    uses = [(ours.signs_since, ours.key_type) for ours in owned if not ours.taken_over]
    active = key_in_use(rule, [*remembered, *uses])
    since = sorted(since for since, _ in uses)
    reasons = (_hindrance(row, active, now) if row else "a location that cannot be read" for row in rows)
    hindrances = "; ".join(filter(None, reasons))
    if not since or hindrances:
        phase = Phase.SWITCH if any(row and row.key_type is OTHER[active] for row in rows) else Phase.STEADY
        return KeyState(active, since[0] if since else None, phase, None, hindrances)
    if rule.rotate_keys is None:
        return KeyState(active, since[0], Phase.STEADY)
    notes = filter(None, (regenerated_at, *(ours.regenerated_at for ours in owned)))
    done_at, switch_at = max(notes, default=since[0] - GRACE), since[0] + rule.rotate_keys.every
    left = done_at < since[-1]
    if rule.other_consumers:
        person = "a person, who regenerates the idle key" if left and switch_at > now else ""
        return KeyState(active, since[0], _reached(switch_at, now), switch_at, person)
    if left:
        # A key that was left is regenerated before it signs again, however late that is.
        next_at = since[-1] + GRACE
        return KeyState(active, since[0], Phase.GRACE if next_at > now else Phase.REGENERATE, next_at)
    switch_at = max(switch_at, done_at + _LONGEST_CALL)
    return KeyState(active, since[0], _reached(switch_at, now), switch_at)


def _reached(switch_at: datetime, now: datetime) -> Phase:
    return Phase.SWITCH if switch_at <= now else Phase.STEADY


def _hindrance(row: Observed, active: KeyType, now: datetime) -> str:
    """What in a row keeps its gateway from the next step, or the empty string."""
    where, restart = row.id.location, row.restart
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
