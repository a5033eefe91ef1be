"""The plan: what to do with one row, and why. The checks are asked in their order, and the first that hits decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway_tokens.estate.schedule import FEW_RUNS, Calendar
from gateway_tokens.stored import Running, kind_of
from gateway_tokens.tokens import MAX_LIFETIME, renewal_expiry

from .rows import Action, Decision, Demand, Observed, Reason
from .waiting import at_risk_from, due_at, in_time

# Our ownership beside an older value than ours: for so long after our issue that is told as another writer's.
CONFLICT_FOR = timedelta(days=1)
_CLOCKS_DIFFER = timedelta(days=1)


def decide(row: Observed, demand: Demand, calendar: Calendar, now: datetime) -> Decision:
    """What the first check that hits says, in its time. A row that failed is tried again."""
    asked = _Asked(row, demand, calendar.pause, now)
    decision = next(decision for check in CHECKS if (decision := check(asked)))
    # The event of a gateway that was made anew: a token that is dead by then does not wait.
    made_anew = demand.waits and demand.issued_before and row.ownership and row.proof is None
    timed = in_time(decision, row, demand, calendar, now)
    if made_anew and timed.action is not decision.action:
        return _prove("the gateway was made anew: Azure is asked whether its stored token is still good")
    return timed


@dataclass(frozen=True, slots=True)
class _Asked:
    row: Observed
    demand: Demand
    pause: timedelta
    now: datetime


def _paused(asked: _Asked) -> Decision | None:
    why = asked.row.gateway.rule.paused(asked.now)
    return Decision(Action.KEEP, Reason.PAUSED, why) if why else None


def _not_stored(asked: _Asked) -> Decision | None:
    there = asked.row.value is not None
    return None if there else _renew(Reason.NOT_STORED, "nothing is stored at this location yet")


def _owned_by_another(asked: _Asked) -> Decision | None:
    ownership = asked.row.ownership
    if ownership is None or ownership.owner == asked.row.gateway.owner:
        return None
    return _foreign(asked, Reason.OWNED_BY_ANOTHER, f"a value that belongs to '{ownership.owner}'")


def _not_a_token(asked: _Asked) -> Decision | None:
    token, value = asked.row.token, asked.row.value
    if value is None or (token and token.expiry <= asked.now + MAX_LIFETIME + _CLOCKS_DIFFER):
        return None
    kind = (
        "a token that ends more than 30 days ahead, which Azure does not issue" if token else kind_of(value)
    )
    return _foreign(asked, Reason.NOT_OWNED, kind)


def _another_gateways(asked: _Asked) -> Decision | None:
    token = asked.row.token
    if token is None or token.is_for(asked.row.gateway.ref.gateway):
        return None
    return _foreign(asked, Reason.NOT_OWNED, f"a token of the gateway '{token.gateway_id}'")


def _write_conflict(asked: _Asked) -> Decision | None:
    """Somebody put an older value back beside our ownership. A live one is left, one that ends soon is replaced by ours."""
    row, stored, now = asked.row, asked.row.stored, asked.now
    ours, expiry = stored.ownership if stored else None, _expiry(asked)
    if stored is None or ours is None or row.ownership or ours.owner != row.gateway.owner:
        return None
    if ours.issued_at <= now - CONFLICT_FOR or expiry >= ours.expiry or _is_asked_for(asked):
        return None
    if at_risk_from(row.gateway.rule, expiry) > now:
        if row.proof is None:
            return _prove()
        if row.proof.key_type:
            message = _ANOTHER_WRITER.format(
                stored.writer or "somebody", "It is alive, so it is left for a day"
            )
            return Decision(Action.REFUSE, Reason.WRITE_CONFLICT, message)
    if due_at(row.id, row.gateway.rule, ours.expiry) <= now:
        return None
    message = _ANOTHER_WRITER.format(stored.writer or "somebody", "The token issued before is written again")
    return Decision(Action.REWRITE, Reason.WRITE_CONFLICT, message)


def _expired(asked: _Asked) -> Decision | None:
    expiry = _expiry(asked)
    if expiry <= asked.now:
        return _renew(Reason.EXPIRED, f"expired on {expiry:%Y-%m-%d %H:%M} UTC")
    return None


def _not_ours(asked: _Asked) -> Decision | None:
    """A live token that names this gateway, without our ownership: Azure proves whether it is this very gateway's."""
    if asked.row.ownership is not None:
        return None
    if asked.row.proof is None:
        return _prove()
    if asked.row.proof.key_type is None:
        return _foreign(asked, Reason.NOT_PROVED, "a token that neither key of this gateway signs")
    return None


def _dead(asked: _Asked) -> Decision | None:
    if asked.row.ownership and asked.row.proof and asked.row.proof.key_type is None:
        return _renew(Reason.DEAD, "its key was regenerated: the gateway's service does not accept it")
    return None


def _revoked(asked: _Asked) -> Decision | None:
    key_type = asked.demand.key_type
    if key_type is None or asked.row.key_type is key_type:
        return None
    return _renew(Reason.REVOKED, f"its key is revoked: moves to the {key_type} key")


def _forced(asked: _Asked) -> Decision | None:
    return _renew(Reason.FORCED, "asked for") if _is_asked_for(asked) else None


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


def _taken_over(asked: _Asked) -> Decision | None:
    if asked.row.ownership is not None:
        return None
    message = "somebody else wrote this token; it is this gateway's, and is kept until it is due"
    return Decision(Action.TAKE_OVER, Reason.TAKEN_OVER, message)


def _wrong_key(asked: _Asked) -> Decision | None:
    key_type, wanted = asked.row.key_type, asked.row.wanted_key
    if key_type == wanted:
        return None
    if asked.row.key_due:
        message = f"the {key_type} key is due for rotation: moves to the {wanted} key"
        return Decision(Action.RENEW, Reason.KEY_DUE, message, staged=True)
    message = f"signed by the {key_type} key; the {wanted} key is the one to use"
    return Decision(Action.RENEW, Reason.WRONG_KEY, message, staged=True)


def _wrong_form(asked: _Asked) -> Decision | None:
    if asked.row.stored is None or asked.row.stored.exact:
        return None
    message = "the token is right, but its form is not: it has another prefix, blanks or line ends"
    return Decision(Action.REWRITE, Reason.WRONG_FORM, message, staged=True)


def _restart(asked: _Asked) -> Decision | None:
    restart = asked.row.stored.restart if asked.row.stored else None
    if restart is None or restart.running in {Running.CURRENT, Running.UNVERIFIED, Running.WAITING}:
        return None
    if restart.running is Running.OLD:
        return Decision(Action.RESTART, Reason.RESTART_DUE, restart.message)
    if failure := restart.failure(asked.now):
        return Decision(Action.WAIT, Reason.NOT_RESTARTED, failure)
    return Decision(Action.WAIT, Reason.RESTARTING, restart.message)


def _not_picked_up(asked: _Asked) -> Decision | None:
    if asked.demand.picked_up:
        return None
    message = "the token was delivered, but an instance of the gateway still runs an older one"
    return Decision(Action.WAIT, Reason.NOT_PICKED_UP, message)


def _cannot_judge(asked: _Asked) -> Decision | None:
    restart = asked.row.stored.restart if asked.row.stored else None
    if restart and restart.running is Running.UNVERIFIED:
        return Decision(Action.WAIT, Reason.RESTART_UNVERIFIED, restart.message)
    if restart and restart.running is Running.WAITING:
        return Decision(Action.WAIT, Reason.WAITING_FOR_WORKLOAD, restart.message)
    return None


def _fresh(asked: _Asked) -> Decision | None:
    row, expiry = asked.row, _expiry(asked)
    message = f"due on {due_at(row.id, row.gateway.rule, expiry):%Y-%m-%d %H:%M} UTC"
    ownership = row.ownership
    if ownership and not ownership.taken_over:
        usual = renewal_expiry(row.gateway.rule.lifetime, ownership.issued_at)
        if abs(usual - expiry) > timedelta(hours=2):
            message += "; the lifetime of the settings counts from the next renewal"
    return Decision(Action.KEEP, Reason.FRESH, message)


_ANOTHER_WRITER = (
    "{0} put an older token of this gateway back after this app had renewed it. {1}. Let one writer own the value: take the "
    "token out of the manifest, or this row out of the settings"
)


def _foreign(asked: _Asked, reason: Reason, what: str) -> Decision:
    """What to do with a value that is not this app's for this gateway: `adopt` alone decides."""
    if not asked.row.settings.adopt:
        return Decision(Action.REFUSE, reason, f"{what} is stored there; `adopt: true` replaces it")
    token = asked.row.token
    alive = token is not None and token.expiry > asked.now
    return Decision(Action.RENEW, Reason.ADOPTED, f"{what} is replaced", staged=alive)


_UNLABELLED = "a live token without this app's ownership: Azure is asked whether it is this gateway's"


def _prove(message: str = _UNLABELLED) -> Decision:
    return Decision(Action.PROVE, Reason.TO_BE_PROVED, message)


def _is_asked_for(asked: _Asked) -> bool:
    stored, demand = asked.row.stored, asked.demand
    # The stored ownership tells the second, and counts for the value that this app wrote last too.
    ownership = stored.ownership if stored else None
    before = demand.issued_before and demand.issued_before.replace(microsecond=0)
    old = before is not None and (ownership is None or ownership.issued_at < before)
    return old or (demand.expires_before is not None and _expiry(asked) <= demand.expires_before)


def _expiry(asked: _Asked) -> datetime:
    """The expiry of the token that is stored. The checks before those that ask for it see to it that there is one."""
    if asked.row.token is None:
        raise AssertionError("there is no token")
    return asked.row.token.expiry


def _renew(reason: Reason, message: str) -> Decision:
    return Decision(Action.RENEW, reason, message)


# In this order. Whether a location may be written to comes before whether it should be; what is due comes before what can wait.
CHECKS: tuple[Callable[[_Asked], Decision | None], ...] = (
    _paused,
    _not_stored,
    _owned_by_another,
    _not_a_token,
    _another_gateways,
    _write_conflict,
    _expired,
    _not_ours,
    _dead,
    _revoked,
    _forced,
    _few_runs_left,
    _in_renewal_window,
    _taken_over,
    _wrong_key,
    _wrong_form,
    _restart,
    _not_picked_up,
    _cannot_judge,
    _fresh,
)
