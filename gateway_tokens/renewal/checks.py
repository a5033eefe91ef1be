"""The plan: what to do with one row, why, and whether it waits for a window or the end of a freeze.

The checks are asked in their order, and the first that hits decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gateway_tokens.estate.schedule import FEW_RUNS, Calendar
from gateway_tokens.estate.schema import GatewayRule
from gateway_tokens.stored import Ownership, Running, kind_of
from gateway_tokens.tokens import MAX_LIFETIME, KeyType, renewal_expiry

from .rows import Action, Decision, Demand, Observed, Reason, RowId

# Our ownership beside an older value than ours: for so long after our issue that is told as another writer's.
CONFLICT_FOR = timedelta(days=1)
_CLOCKS_DIFFER = timedelta(days=1)
_CHANGES = frozenset({Action.RENEW, Action.REWRITE, Action.RESTART})
_NOT_JUDGED = {
    Running.UNVERIFIED: Reason.RESTART_UNVERIFIED,
    Running.WAITING: Reason.WAITING_FOR_WORKLOAD,
}
_ANOTHER_WRITER = (
    "{0} put an older token of this gateway back after this app had renewed it. {1}. Let one writer own the value: take the "
    "token out of the manifest, or this row out of the settings"
)
_UNLABELLED = "a live token without this app's ownership: Azure is asked whether it is this gateway's"


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


def decide(row: Observed, demand: Demand, calendar: Calendar, now: datetime) -> Decision:
    """What the first check that hits says, in its time. A row that failed is tried again."""
    case = _Case(row, demand, calendar, now)
    decision = next(decision for check in CHECKS if (decision := check(case)))
    # The event of a gateway that was made anew: a token that is dead by then does not wait.
    made_anew = demand.waits and demand.issued_before and row.ownership and row.proof is None
    timed = _in_time(decision, case)
    if made_anew and timed.action is not decision.action:
        return _prove("the gateway was made anew: Azure is asked whether its stored token is still good")
    return timed


@dataclass(frozen=True, slots=True)
class _Case:
    row: Observed
    demand: Demand
    calendar: Calendar
    now: datetime

    @property
    def rule(self) -> GatewayRule:
        return self.row.gateway.rule

    @property
    def expiry(self) -> datetime:
        """That of the stored token. The checks before those that ask for it see to it that there is one."""
        if self.row.token is None:
            raise AssertionError("there is no token")
        return self.row.token.expiry

    @property
    def due(self) -> datetime:
        return due_at(self.row.id, self.rule, self.expiry)

    def has_few_runs_until(self, moment: datetime) -> bool:
        return moment - self.now <= FEW_RUNS * self.calendar.pause


def _in_time(decision: Decision, case: _Case) -> Decision:
    """The decision as it is if it may be carried out now, else as one that waits."""
    if decision.action not in _CHANGES:
        return decision
    ends, awaited = _good_until(decision, case), case.calendar.awaits(case.rule.windows, case.now)
    if ends is None or at_risk_from(case.rule, ends) <= case.now or case.has_few_runs_until(ends):
        over = f"; does not wait for {awaited}" if awaited else ""
        return replace(decision, urgent=True, message=decision.message + over)
    if not awaited:
        return decision
    is_due = decision.reason is Reason.IN_RENEWAL_WINDOW
    since = f"due since {case.due:%Y-%m-%d %H:%M} UTC, " if is_due else ""
    return Decision(Action.WAIT, decision.reason, f"{decision.message}; {since}waits for {awaited}")


def _good_until(decision: Decision, case: _Case) -> datetime | None:
    """The expiry of the good token that the gateway runs while the decision waits; None when it cannot wait."""
    ours, token, reason = case.row.ownership, case.row.token, decision.reason
    if case.demand.key_type:
        return None
    if reason is Reason.RESTART_DUE:
        return ours.replaced_expiry if ours and not ours.urgent else None
    event = reason is Reason.FORCED and case.demand.waits
    waits = decision.staged or event or reason is Reason.IN_RENEWAL_WINDOW
    return token.expiry if token and waits else None


def _paused(case: _Case) -> Decision | None:
    why = case.rule.paused(case.now)
    return Decision(Action.KEEP, Reason.PAUSED, why) if why else None


def _not_stored(case: _Case) -> Decision | None:
    there = case.row.value is not None
    return None if there else _renew(Reason.NOT_STORED, "nothing is stored at this location yet")


def _not_ours(case: _Case) -> Decision | None:
    """A value of another row, one that is not a token, and another gateway's token."""
    row, ours, token, value = case.row, case.row.ownership, case.row.token, case.row.value
    if ours and ours.owner != row.gateway.owner:
        return _foreign(case, Reason.OWNED_BY_ANOTHER, f"a value that belongs to '{ours.owner}'")
    if value and token is None:
        return _foreign(case, Reason.NOT_OWNED, kind_of(value))
    if case.expiry > case.now + MAX_LIFETIME + _CLOCKS_DIFFER:
        too_long = "a token that ends more than 30 days ahead, which Azure does not issue"
        return _foreign(case, Reason.NOT_OWNED, too_long)
    if token and not token.is_for(row.gateway.ref.gateway):
        return _foreign(case, Reason.NOT_OWNED, f"a token of the gateway '{token.gateway_id}'")
    return None


def _beside_an_older_token(case: _Case) -> Ownership | None:
    """Our ownership, where somebody put an older token back beside it within a day."""
    stored = case.row.stored
    ours = stored.ownership if stored else None
    if ours is None or case.row.ownership or ours.owner != case.row.gateway.owner:
        return None
    return ours if case.expiry < ours.expiry and ours.issued_at > case.now - CONFLICT_FOR else None


def _write_conflict(case: _Case) -> Decision | None:
    """Somebody put an older token back. A live one is left, one that ends soon is replaced by ours."""
    row, now, ours = case.row, case.now, _beside_an_older_token(case)
    if ours is None or _is_asked_for(case):
        return None
    if case.demand.key_type:  # a revoke does not wait for the other writer
        return _revoked(case.demand.key_type)
    writer = (row.stored and row.stored.writer) or "somebody"
    if at_risk_from(case.rule, case.expiry) > now:
        if row.proof is None:
            return _prove()
        if row.proof.key_type:
            message = _ANOTHER_WRITER.format(writer, "It is alive, so it is left for a day")
            return Decision(Action.REFUSE, Reason.WRITE_CONFLICT, message)
    if due_at(row.id, case.rule, ours.expiry) <= now:
        return None
    message = _ANOTHER_WRITER.format(writer, "The token issued before is written again")
    return Decision(Action.REWRITE, Reason.WRITE_CONFLICT, message)


def _expired(case: _Case) -> Decision | None:
    if case.expiry > case.now:
        return None
    return _renew(Reason.EXPIRED, f"expired on {case.expiry:%Y-%m-%d %H:%M} UTC")


def _not_proved(case: _Case) -> Decision | None:
    """A live token that names this gateway: where our ownership is not beside it, Azure proves that it is this very gateway's."""
    ours, proof = case.row.ownership, case.row.proof
    if proof is None:
        return None if ours else _prove()
    if proof.key_type:
        return None
    if ours is None:
        return _foreign(case, Reason.NOT_PROVED, "a token that neither key of this gateway signs")
    return _renew(Reason.DEAD, "its key was regenerated: the gateway's service does not accept it")


def _revoked(key_type: KeyType) -> Decision:
    return _renew(Reason.REVOKED, f"its key is revoked: moves to the {key_type} key")


def _demanded(case: _Case) -> Decision | None:
    key_type = case.demand.key_type
    if key_type and case.row.key_type is not key_type:
        return _revoked(key_type)
    return _renew(Reason.FORCED, "asked for") if _is_asked_for(case) else None


def _due(case: _Case) -> Decision | None:
    expiry = case.expiry
    if case.has_few_runs_until(expiry):
        return _renew(Reason.FEW_RUNS_LEFT, f"expires on {expiry:%Y-%m-%d %H:%M} UTC, a few runs from now")
    if case.due <= case.now:
        return _renew(Reason.IN_RENEWAL_WINDOW, f"expires on {expiry:%Y-%m-%d %H:%M} UTC")
    return None


def _taken_over(case: _Case) -> Decision | None:
    if case.row.ownership is not None:
        return None
    message = "somebody else wrote this token; it is this gateway's, and is kept until it is due"
    return Decision(Action.TAKE_OVER, Reason.TAKEN_OVER, message)


def _wrong_key(case: _Case) -> Decision | None:
    key_type, wanted = case.row.key_type, case.row.wanted_key
    if key_type == wanted:
        return None
    if case.row.key_due:
        message = f"the {key_type} key is due for rotation: moves to the {wanted} key"
        return Decision(Action.RENEW, Reason.KEY_DUE, message, staged=True)
    message = f"signed by the {key_type} key; the {wanted} key is the one to use"
    return Decision(Action.RENEW, Reason.WRONG_KEY, message, staged=True)


def _wrong_form(case: _Case) -> Decision | None:
    if case.row.stored is None or case.row.stored.exact:
        return None
    message = "the token is right, but its form is not: it has another prefix, blanks or line ends"
    return Decision(Action.REWRITE, Reason.WRONG_FORM, message, staged=True)


def _restart(case: _Case) -> Decision | None:
    restart = case.row.restart
    if restart is None or restart.running not in {Running.OLD, Running.RESTARTING, Running.STUCK}:
        return None
    if restart.running is Running.OLD:
        return Decision(Action.RESTART, Reason.RESTART_DUE, restart.message)
    if failure := restart.failure(case.now):
        return Decision(Action.WAIT, Reason.NOT_RESTARTED, failure)
    return Decision(Action.WAIT, Reason.RESTARTING, restart.message)


def _not_picked_up(case: _Case) -> Decision | None:
    if case.demand.picked_up:
        return None
    message = "the token was delivered, but an instance of the gateway still runs an older one"
    return Decision(Action.WAIT, Reason.NOT_PICKED_UP, message)


def _not_judged(case: _Case) -> Decision | None:
    restart = case.row.restart
    reason = _NOT_JUDGED.get(restart.running) if restart else None
    return Decision(Action.WAIT, reason, restart.message) if restart and reason else None


def _fresh(case: _Case) -> Decision | None:
    message, ours = f"due on {case.due:%Y-%m-%d %H:%M} UTC", case.row.ownership
    if ours and not ours.taken_over:
        usual = renewal_expiry(case.rule.lifetime, ours.issued_at)
        if abs(usual - case.expiry) > timedelta(hours=2):
            message += "; the lifetime of the settings counts from the next renewal"
    return Decision(Action.KEEP, Reason.FRESH, message)


def _foreign(case: _Case, reason: Reason, what: str) -> Decision:
    """What to do with a value that is not this app's for this gateway: `adopt` alone decides."""
    if not case.row.settings.adopt:
        return Decision(Action.REFUSE, reason, f"{what} is stored there; `adopt: true` replaces it")
    token = case.row.token
    alive = token is not None and token.expiry > case.now
    return Decision(Action.RENEW, Reason.ADOPTED, f"{what} is replaced", staged=alive)


def _prove(message: str = _UNLABELLED) -> Decision:
    return Decision(Action.PROVE, Reason.TO_BE_PROVED, message)


def _renew(reason: Reason, message: str) -> Decision:
    return Decision(Action.RENEW, reason, message)


def _is_asked_for(case: _Case) -> bool:
    stored, demand = case.row.stored, case.demand
    # The stored ownership tells the second, and counts for the value that this app wrote last too.
    ownership = stored.ownership if stored else None
    before = demand.issued_before and demand.issued_before.replace(microsecond=0)
    old = before is not None and (ownership is None or ownership.issued_at < before)
    return old or (demand.expires_before is not None and case.expiry <= demand.expires_before)


# In this order. Whether a location may be written to comes before whether it should be; what is due comes before what can wait.
CHECKS: tuple[Callable[[_Case], Decision | None], ...] = (
    _paused,
    _not_stored,
    _not_ours,
    _write_conflict,
    _expired,
    _not_proved,
    _demanded,
    _due,
    _taken_over,
    _wrong_key,
    _wrong_form,
    _restart,
    _not_picked_up,
    _not_judged,
    _fresh,
)
