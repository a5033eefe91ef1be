"""The plan: what to do with one row, and why. The checks are asked in their order, and the first that hits decides."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from gateway_tokens.estate.schedule import FEW_RUNS
from gateway_tokens.estate.schema import DestinationSettings, GatewayRule
from gateway_tokens.stored import Ownership, StoredToken, owner_of
from gateway_tokens.tokens import GatewayRef, GatewayToken, ServiceId


class Action(StrEnum):
    """What the plan asks for."""

    KEEP = "keep"
    RENEW = "renew"
    RESTART = "restart"
    WAIT = "wait"  # for a restart that is under way
    REFUSE = "refuse"


class Reason(StrEnum):
    """Why. Stable names: log queries and the runbook use them."""

    NOT_STORED = "not_stored"
    NOT_OWNED = "not_owned"
    OWNED_BY_ANOTHER = "owned_by_another"
    ADOPTED = "adopted"
    UNREADABLE = "unreadable"
    OTHER_GATEWAYS_TOKEN = "other_gateways_token"  # noqa: S105 - a reason's name
    EXPIRED = "expired"
    WRONG_KEY = "wrong_key"
    FORCED = "forced"
    FEW_RUNS_LEFT = "few_runs_left"
    IN_RENEWAL_WINDOW = "in_renewal_window"
    NOT_PICKED_UP = "not_picked_up"
    RESTART_DUE = "restart_due"
    NOT_RESTARTED = "not_restarted"
    RESTARTING = "restarting"
    FRESH = "fresh"
    # Not planned, but found on the way.
    NOT_READ = "not_read"  # reading the destination failed
    NOT_LISTED = "not_listed"  # listing the service's gateways failed
    GATEWAY_GONE = "gateway_gone"  # the service has no such gateway


@dataclass(frozen=True, slots=True)
class ManagedGateway:
    """A gateway whose token is kept fresh, and the rule that says how and where."""

    ref: GatewayRef
    service: ServiceId
    rule: GatewayRule

    @property
    def owner(self) -> str:
        """What the ownership beside a stored token says when it is this gateway's."""
        return owner_of(self.service, self.ref.gateway)


@dataclass(frozen=True, slots=True)
class RowId:
    """A row: a gateway's token at one location. Its text is stable over runs."""

    ref: GatewayRef
    location: str

    def __str__(self) -> str:
        return f"{str(self.ref).casefold()} -> {self.location}"


@dataclass(frozen=True, slots=True)
class Demand:
    """What a run was asked for beside what is due."""

    asked_at: datetime
    force: bool = False  # renew what was issued before it was asked for
    expires_before: datetime | None = None  # renew what expires by then
    picked_up: bool = True  # False: Azure says that the gateway still runs an older token


@dataclass(frozen=True, slots=True)
class Observed:
    """One row as it was read."""

    gateway: ManagedGateway
    settings: DestinationSettings
    stored: StoredToken | None

    @property
    def id(self) -> RowId:
        """Which row it is."""
        return RowId(self.gateway.ref, self.settings.location(self.gateway.ref))

    @property
    def token(self) -> GatewayToken | None:
        """The token that is stored."""
        return self.stored.token if self.stored else None

    @property
    def ownership(self) -> Ownership | None:
        """The ownership beside it."""
        return self.stored.ownership if self.stored else None


@dataclass(frozen=True, slots=True)
class Decision:
    """An action, its reason, and a sentence for people."""

    action: Action
    reason: Reason
    message: str


def due_at(row: RowId, rule: GatewayRule, expiry: datetime) -> datetime:
    """When the row's token is to be renewed: at the window's start or, by the row's own jitter, a little earlier.

    The window is measured back from the token's expiry, so that the token alone tells it; the jitter is a stable
    function of the row. It takes no more than a tenth of what comes before the window either: else a token with
    a wide window would be due from birth.
    """
    share = int.from_bytes(hashlib.sha256(str(row).encode()).digest()[:4]) / 2**32
    return expiry - rule.window - rule.jitter * share


def at_risk_from(rule: GatewayRule, expiry: datetime) -> datetime:
    """From when on a token that is still there counts as at risk."""
    return expiry - rule.margin


def decide(row: Observed, demand: Demand, pause: timedelta, now: datetime) -> Decision:
    """What the first check that hits says; `pause` is the schedule's longest. A row that failed is tried again."""
    asked = _Asked(row, demand, pause, now)
    return next(decision for check in CHECKS if (decision := check(asked)))


@dataclass(frozen=True, slots=True)
class _Asked:
    row: Observed
    demand: Demand
    pause: timedelta
    now: datetime


def _not_stored(asked: _Asked) -> Decision | None:
    return _renew(Reason.NOT_STORED, "nothing is stored yet") if asked.row.stored is None else None


def _not_owned(asked: _Asked) -> Decision | None:
    row = asked.row
    if row.stored is None or row.settings.adopt or row.stored.ownership is not None:
        return None
    message = "a value that this app did not write is stored there; `adopt: true` takes it over"
    return Decision(Action.REFUSE, Reason.NOT_OWNED, message)


def _owned_by_another(asked: _Asked) -> Decision | None:
    owner = _owner(asked)
    if owner is None or asked.row.settings.adopt or owner == asked.row.gateway.owner:
        return None
    message = f"it belongs to '{owner}'; `adopt: true` takes it over"
    return Decision(Action.REFUSE, Reason.OWNED_BY_ANOTHER, message)


def _adopted(asked: _Asked) -> Decision | None:
    if asked.row.stored is not None and _owner(asked) != asked.row.gateway.owner:
        return _renew(Reason.ADOPTED, "the stored value is taken over")
    return None


def _unreadable(asked: _Asked) -> Decision | None:
    return _renew(Reason.UNREADABLE, "the stored value is not a token") if asked.row.token is None else None


def _other_gateways_token(asked: _Asked) -> Decision | None:
    token = asked.row.token
    if token is not None and not token.is_for(asked.row.gateway.ref.gateway):
        return _renew(Reason.OTHER_GATEWAYS_TOKEN, f"the stored value is a token of '{token.gateway_id}'")
    return None


def _expired(asked: _Asked) -> Decision | None:
    expiry = _expiry(asked)
    if expiry <= asked.now:
        return _renew(Reason.EXPIRED, f"expired on {expiry:%Y-%m-%d %H:%M} UTC")
    return None


def _wrong_key(asked: _Asked) -> Decision | None:
    ownership, wanted = asked.row.ownership, asked.row.gateway.rule.key_type
    if ownership is not None and ownership.key_type != wanted:
        return _renew(Reason.WRONG_KEY, f"signed by the {ownership.key_type} key; the rule asks for {wanted}")
    return None


def _forced(asked: _Asked) -> Decision | None:
    ownership, demand = asked.row.ownership, asked.demand
    # Ownership tells the second.
    asked_at = demand.asked_at.replace(microsecond=0)
    old = demand.force and (ownership is None or ownership.issued_at < asked_at)
    if old or (demand.expires_before is not None and _expiry(asked) <= demand.expires_before):
        return _renew(Reason.FORCED, "asked for")
    return None


def _few_runs_left(asked: _Asked) -> Decision | None:
    expiry = _expiry(asked)
    if expiry - asked.now <= FEW_RUNS * asked.pause:
        return _renew(Reason.FEW_RUNS_LEFT, f"expires on {expiry:%Y-%m-%d %H:%M} UTC, a few runs from now")
    return None


def _in_renewal_window(asked: _Asked) -> Decision | None:
    expiry = _expiry(asked)
    if due_at(asked.row.id, asked.row.gateway.rule, expiry) <= asked.now:
        return _renew(Reason.IN_RENEWAL_WINDOW, f"expires on {expiry:%Y-%m-%d %H:%M} UTC")
    return None


def _not_picked_up(asked: _Asked) -> Decision | None:
    if asked.demand.picked_up:
        return None
    message = "the token was delivered, but an instance of the gateway still runs an older one"
    return Decision(Action.RESTART, Reason.NOT_PICKED_UP, message)


def _restart(asked: _Asked) -> Decision | None:
    restart = asked.row.stored.restart if asked.row.stored else None
    if restart is None or (restart.begun and restart.done):
        return None
    if not restart.begun:
        message = "the token was delivered, but the workload was not restarted for it"
        return Decision(Action.RESTART, Reason.RESTART_DUE, message)
    if failure := restart.failure(asked.now):
        return Decision(Action.WAIT, Reason.NOT_RESTARTED, failure)
    return Decision(Action.WAIT, Reason.RESTARTING, f"the workload restarts: {restart.counts}")


def _fresh(asked: _Asked) -> Decision | None:
    due = due_at(asked.row.id, asked.row.gateway.rule, _expiry(asked))
    return Decision(Action.KEEP, Reason.FRESH, f"due on {due:%Y-%m-%d %H:%M} UTC")


def _owner(asked: _Asked) -> str | None:
    return asked.row.ownership.owner if asked.row.ownership else None


def _expiry(asked: _Asked) -> datetime:
    """The expiry of the token that is stored. The checks before those that ask for it see to it that there is one."""
    if asked.row.token is None:
        raise AssertionError("there is no token")
    return asked.row.token.expiry


def _renew(reason: Reason, message: str) -> Decision:
    return Decision(Action.RENEW, reason, message)


# In this order. Whether a location may be written to comes before whether it should be.
CHECKS: tuple[Callable[[_Asked], Decision | None], ...] = (
    _not_stored,
    _not_owned,
    _owned_by_another,
    _adopted,
    _unreadable,
    _other_gateways_token,
    _expired,
    _wrong_key,
    _forced,
    _few_runs_left,
    _in_renewal_window,
    _not_picked_up,
    _restart,
    _fresh,
)
