"""What to do with one row: every reason, in its order, one minute either side of each boundary."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from gateway_tokens.destinations.key_vault import KeyVaultSecret
from gateway_tokens.estate.schedule import Calendar
from gateway_tokens.estate.schema import GatewayRule, ManagedGateway
from gateway_tokens.renewal.checks import CHECKS, CONFLICT_FOR, at_risk_from, decide, due_at
from gateway_tokens.renewal.rows import Action, Demand, Observed, Proof, Reason, RowId
from gateway_tokens.stored import Ownership, Restart, Running, StoredToken
from gateway_tokens.tokens import GatewayRef, KeyType, Secret
from tests.renewal_estate import CONTOSO, DAY, EDGE, HOUR, MINUTE, NOW, a_token

FAR = NOW + 29 * DAY
OURS = Ownership("contoso-apim/edge-01", KeyType.PRIMARY, NOW - HOUR, FAR)
ROW = RowId(EDGE, "https://vault.example/secrets/edge-01-token")
DUE = due_at(ROW, GatewayRule(), FAR)
HOURLY = "0 0 * * * *"
ALWAYS = Calendar(HOURLY, HOUR)
PLAIN, FORCE = Demand(NOW), Demand(NOW, issued_before=NOW)
SECONDARY = GatewayRule(key_type=KeyType.SECONDARY)
REVOKE = Demand(NOW, key_type=KeyType.SECONDARY)
PROVED, DEAD = Proof(KeyType.PRIMARY), Proof(None)
OLD = Restart(Running.OLD, "1 pod runs an older value", old=("a",))
STUCK = Restart(Running.STUCK, "is paused: resume it")
# Ownership that was written with another value than the one that is stored now.
OF_ANOTHER_VALUE = replace(OURS, fingerprint="0" * 12)


def a_row(
    expiry: datetime = FAR,
    ownership: Ownership | None = OURS,
    *,
    gateway: str = "edge-01",
    exact: bool = True,
    restart: Restart | None = None,
    **more: Any,  # noqa: ANN401 - of `holding`
) -> Observed:
    """A row that holds a token of that expiry, by default this app's own."""
    token = a_token(expiry, gateway)
    value = token.header_value()
    ours = replace(ownership, fingerprint=ownership.fingerprint or value.fingerprint) if ownership else None
    return holding(StoredToken(value, token, ours, exact=exact, restart=restart), **more)


def holding(
    stored: StoredToken | None,
    *,
    adopt: bool = False,
    rule: GatewayRule | None = None,
    proof: Proof | None = None,
    key_due: bool = False,
) -> Observed:
    settings = KeyVaultSecret(kind="keyVault", vault="https://vault.example", adopt=adopt)
    wanted = (rule and rule.key_type) or KeyType.PRIMARY
    gateway = ManagedGateway(EDGE, CONTOSO, rule or GatewayRule())
    return Observed(gateway, settings, stored, proof, wanted, key_due)


def garbage(text: str = "not a token", ownership: Ownership | None = None, **more: Any) -> Observed:  # noqa: ANN401 - of `holding`
    return holding(StoredToken(Secret(text), None, ownership, exact=False), **more)


def put_back(expiry: datetime, ownership: Ownership = OF_ANOTHER_VALUE, **more: Any) -> Observed:  # noqa: ANN401 - of `a_row`
    """A row where somebody put an older token back beside our ownership."""
    return a_row(expiry, ownership, **more)


def why(
    row: Observed, demand: Demand = PLAIN, now: datetime = NOW, pause: timedelta = HOUR
) -> tuple[Action, Reason]:
    decision = decide(row, demand, Calendar(HOURLY, pause), now)
    return decision.action, decision.reason


THEIRS = replace(OURS, owner="fabrikam-apim/edge-01")
ALONE: dict[str, tuple[Observed, Demand, Action, Reason]] = {
    "paused": (a_row(NOW - DAY, rule=GatewayRule(renew=False)), FORCE, Action.KEEP, Reason.PAUSED),
    "nothing is stored": (holding(None), PLAIN, Action.RENEW, Reason.NOT_STORED),
    "an empty value is stored": (
        holding(StoredToken(None, None, None)),
        PLAIN,
        Action.RENEW,
        Reason.NOT_STORED,
    ),
    "another owns it": (a_row(ownership=THEIRS), PLAIN, Action.REFUSE, Reason.OWNED_BY_ANOTHER),
    "another owns it, expired": (a_row(NOW - DAY, THEIRS), PLAIN, Action.REFUSE, Reason.OWNED_BY_ANOTHER),
    "another owned it": (a_row(ownership=THEIRS, adopt=True), PLAIN, Action.RENEW, Reason.ADOPTED),
    "not a token": (garbage(), FORCE, Action.REFUSE, Reason.NOT_OWNED),
    "not a token, beside our ownership": (garbage(ownership=OURS), FORCE, Action.REFUSE, Reason.NOT_OWNED),
    "not a token, adopted": (garbage(adopt=True), PLAIN, Action.RENEW, Reason.ADOPTED),
    "a token of 40 days": (a_row(NOW + 40 * DAY, None), PLAIN, Action.REFUSE, Reason.NOT_OWNED),
    "another gateway's token": (
        a_row(ownership=None, gateway="edge-02"),
        PLAIN,
        Action.REFUSE,
        Reason.NOT_OWNED,
    ),
    "another gateway's, adopted": (
        a_row(ownership=None, gateway="edge-02", adopt=True),
        PLAIN,
        Action.RENEW,
        Reason.ADOPTED,
    ),
    "the same gateway in another case": (a_row(gateway="EDGE-01"), PLAIN, Action.KEEP, Reason.FRESH),
    "an older token put back": (put_back(NOW + 20 * DAY), PLAIN, Action.PROVE, Reason.TO_BE_PROVED),
    "alive, it is left": (
        put_back(NOW + 20 * DAY, proof=PROVED),
        PLAIN,
        Action.REFUSE,
        Reason.WRITE_CONFLICT,
    ),
    "due, it is left": (put_back(NOW + 8 * DAY, proof=PROVED), PLAIN, Action.REFUSE, Reason.WRITE_CONFLICT),
    "dead, it is replaced": (
        put_back(NOW + 20 * DAY, proof=DEAD),
        PLAIN,
        Action.REWRITE,
        Reason.WRITE_CONFLICT,
    ),
    "at risk, it is replaced": (put_back(NOW + DAY), PLAIN, Action.REWRITE, Reason.WRITE_CONFLICT),
    "expired, it is replaced": (put_back(NOW - DAY), PLAIN, Action.REWRITE, Reason.WRITE_CONFLICT),
    "put back, and ours is due": (
        put_back(NOW + HOUR, replace(OF_ANOTHER_VALUE, expiry=NOW + 10 * DAY), proof=PROVED),
        PLAIN,
        Action.RENEW,
        Reason.FEW_RUNS_LEFT,
    ),
    "put back, and ours ends too": (
        put_back(NOW + HOUR, replace(OF_ANOTHER_VALUE, expiry=NOW + DAY), proof=PROVED),
        PLAIN,
        Action.RENEW,
        Reason.FEW_RUNS_LEFT,
    ),
    "put back, and forced": (put_back(NOW + 20 * DAY, proof=PROVED), FORCE, Action.RENEW, Reason.FORCED),
    "put back, and its key is revoked": (
        put_back(NOW + 20 * DAY, proof=PROVED),
        REVOKE,
        Action.RENEW,
        Reason.REVOKED,
    ),
    "dead, put back, and its key is revoked": (
        put_back(NOW + 20 * DAY, proof=DEAD),
        REVOKE,
        Action.RENEW,
        Reason.REVOKED,
    ),
    "a person's own token, and its key is revoked": (
        put_back(FAR, replace(OF_ANOTHER_VALUE, expiry=NOW + DAY)),
        REVOKE,
        Action.PROVE,
        Reason.TO_BE_PROVED,
    ),
    "a person's own token of the other key, and this one is revoked": (
        put_back(FAR, replace(OF_ANOTHER_VALUE, expiry=NOW + DAY), proof=Proof(KeyType.SECONDARY)),
        REVOKE,
        Action.TAKE_OVER,
        Reason.TAKEN_OVER,
    ),
    "a later token than ours": (
        put_back(FAR, replace(OF_ANOTHER_VALUE, expiry=NOW + DAY), proof=PROVED),
        PLAIN,
        Action.TAKE_OVER,
        Reason.TAKEN_OVER,
    ),
    "expired": (a_row(NOW - DAY), PLAIN, Action.RENEW, Reason.EXPIRED),
    "expired, and nobody owns it": (a_row(NOW - DAY, None), PLAIN, Action.RENEW, Reason.EXPIRED),
    "nobody owns a live token": (a_row(ownership=None), PLAIN, Action.PROVE, Reason.TO_BE_PROVED),
    "neither key signs it": (a_row(ownership=None, proof=DEAD), PLAIN, Action.REFUSE, Reason.NOT_PROVED),
    "neither key signs it, adopted": (
        a_row(ownership=None, proof=DEAD, adopt=True),
        PLAIN,
        Action.RENEW,
        Reason.ADOPTED,
    ),
    "it is this gateway's": (a_row(ownership=None, proof=PROVED), PLAIN, Action.TAKE_OVER, Reason.TAKEN_OVER),
    "it is this gateway's, by the other key": (
        a_row(ownership=None, proof=PROVED, rule=SECONDARY),
        PLAIN,
        Action.TAKE_OVER,
        Reason.TAKEN_OVER,
    ),
    "it is this gateway's, and due": (
        a_row(NOW + 8 * DAY, None, proof=PROVED),
        PLAIN,
        Action.RENEW,
        Reason.IN_RENEWAL_WINDOW,
    ),
    "dead": (a_row(proof=DEAD), PLAIN, Action.RENEW, Reason.DEAD),
    "alive": (a_row(proof=PROVED), PLAIN, Action.KEEP, Reason.FRESH),
    "forced": (a_row(), FORCE, Action.RENEW, Reason.FORCED),
    "asked for by expiry": (a_row(), Demand(NOW, expires_before=FAR), Action.RENEW, Reason.FORCED),
    "few runs are left": (a_row(NOW + HOUR), PLAIN, Action.RENEW, Reason.FEW_RUNS_LEFT),
    "in its window": (a_row(NOW + 8 * DAY), PLAIN, Action.RENEW, Reason.IN_RENEWAL_WINDOW),
    "the other key": (a_row(rule=SECONDARY), PLAIN, Action.RENEW, Reason.WRONG_KEY),
    "its key is due for rotation": (a_row(rule=SECONDARY, key_due=True), PLAIN, Action.RENEW, Reason.KEY_DUE),
    "its key is revoked": (a_row(), REVOKE, Action.RENEW, Reason.REVOKED),
    "another's key is revoked": (a_row(), Demand(NOW, key_type=KeyType.PRIMARY), Action.KEEP, Reason.FRESH),
    "in another form": (a_row(exact=False), PLAIN, Action.REWRITE, Reason.WRONG_FORM),
    "to be restarted": (a_row(restart=OLD), PLAIN, Action.RESTART, Reason.RESTART_DUE),
    "restarting": (a_row(restart=Restart(Running.RESTARTING)), PLAIN, Action.WAIT, Reason.RESTARTING),
    "did not restart": (a_row(restart=STUCK), PLAIN, Action.WAIT, Reason.NOT_RESTARTED),
    "not picked up": (a_row(), Demand(NOW, picked_up=False), Action.WAIT, Reason.NOT_PICKED_UP),
    "restart not verified": (
        a_row(restart=Restart(Running.UNVERIFIED)),
        PLAIN,
        Action.WAIT,
        Reason.RESTART_UNVERIFIED,
    ),
    "no workload yet": (
        a_row(restart=Restart(Running.WAITING)),
        PLAIN,
        Action.WAIT,
        Reason.WAITING_FOR_WORKLOAD,
    ),
    "restarted": (a_row(restart=Restart(Running.CURRENT)), PLAIN, Action.KEEP, Reason.FRESH),
    "fresh": (a_row(), PLAIN, Action.KEEP, Reason.FRESH),
    "fresh, and adopted": (a_row(adopt=True), PLAIN, Action.KEEP, Reason.FRESH),
}


@pytest.mark.parametrize("case", ALONE)
def test_every_reason_is_found_alone(case: str) -> None:
    row, demand, action, reason = ALONE[case]
    assert why(row, demand) == (action, reason)


def test_every_reason_that_is_planned_is_in_the_table() -> None:
    found_on_the_way = {Reason.NOT_READ, Reason.NOT_LISTED, Reason.GATEWAY_GONE}
    assert {reason for *_, reason in ALONE.values()} == set(Reason) - found_on_the_way
    assert len(CHECKS) == len(set(CHECKS))


def test_only_what_can_wait_is_staged() -> None:
    staged = {name for name, (row, demand, *_) in ALONE.items() if decide(row, demand, ALWAYS, NOW).staged}
    live = {"another owned it", "another gateway's, adopted", "neither key signs it, adopted"}
    assert staged == {"the other key", "its key is due for rotation", "in another form", *live}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("c2VjcmV0LWtleS1vZi1hLWdhdGV3YXktd2l0aC1tYW55LWJ5dGVzLWluLWl0LTEyMzQ1Njc4OTA=", "a gateway key"),
        ("hello", "a value that is not a token"),
        ("https://contoso.example/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p", "a value that is not a token"),
    ],
)
def test_what_is_not_a_token_is_told_by_its_kind_and_never_quoted(text: str, kind: str) -> None:
    message = decide(garbage(text), PLAIN, ALWAYS, NOW).message
    assert message.startswith(kind)
    assert text not in message


def test_a_fresh_row_says_when_it_is_due_and_that_a_new_lifetime_waits() -> None:
    issued = a_row(ownership=replace(OURS, issued_at=NOW - DAY))
    assert decide(issued, PLAIN, ALWAYS, NOW).message == f"due on {DUE:%Y-%m-%d %H:%M} UTC"
    shorter = a_row(rule=GatewayRule(lifetime=20 * DAY))
    assert "counts from the next renewal" in decide(shorter, PLAIN, ALWAYS, NOW).message


@pytest.mark.parametrize(
    ("expiry", "reason"),
    [
        (NOW, Reason.EXPIRED),
        (NOW + MINUTE, Reason.FEW_RUNS_LEFT),
        (NOW + 3 * HOUR, Reason.FEW_RUNS_LEFT),
        (NOW + 3 * HOUR + MINUTE, Reason.IN_RENEWAL_WINDOW),
    ],
)
def test_a_token_with_three_pauses_left_is_renewed_whatever_its_window(
    expiry: datetime, reason: Reason
) -> None:
    assert why(a_row(expiry)) == (Action.RENEW, reason)


@pytest.mark.parametrize(
    ("left", "reason"), [(3 * DAY, Reason.FEW_RUNS_LEFT), (3 * DAY + MINUTE, Reason.FRESH)]
)
def test_few_runs_count_even_outside_a_narrow_window(left: timedelta, reason: Reason) -> None:
    assert why(a_row(NOW + left, rule=GatewayRule(renew_before=DAY)), pause=DAY)[1] is reason


@pytest.mark.parametrize(("now", "reason"), [(DUE - MINUTE, Reason.FRESH), (DUE, Reason.IN_RENEWAL_WINDOW)])
def test_a_token_is_due_from_its_own_point_on(now: datetime, reason: Reason) -> None:
    assert why(a_row(), now=now)[1] is reason


@pytest.mark.parametrize(("by", "reason"), [(FAR - MINUTE, Reason.FRESH), (FAR, Reason.FORCED)])
def test_what_expires_by_a_time_is_asked_for_up_to_that_time(by: datetime, reason: Reason) -> None:
    assert why(a_row(), Demand(NOW, expires_before=by))[1] is reason


@pytest.mark.parametrize(
    ("issued_at", "reason"),
    [(NOW - MINUTE, Reason.FORCED), (NOW, Reason.FRESH), (NOW + MINUTE, Reason.FRESH)],
)
def test_force_renews_what_was_issued_before_it_was_asked_for(issued_at: datetime, reason: Reason) -> None:
    row = a_row(ownership=replace(OURS, issued_at=issued_at))
    assert why(row, FORCE)[1] is reason


@pytest.mark.parametrize(
    ("issued_at", "reason"),
    [(NOW - CONFLICT_FOR + MINUTE, Reason.WRITE_CONFLICT), (NOW - CONFLICT_FOR, Reason.TAKEN_OVER)],
)
def test_an_older_token_that_stays_for_a_day_is_taken_over(issued_at: datetime, reason: Reason) -> None:
    row = put_back(NOW + 20 * DAY, replace(OF_ANOTHER_VALUE, issued_at=issued_at), proof=PROVED)
    assert why(row)[1] is reason


@pytest.mark.parametrize(
    ("late_at", "reason"), [(NOW + MINUTE, Reason.RESTARTING), (NOW, Reason.NOT_RESTARTED)]
)
def test_a_restart_that_takes_too_long_has_failed(late_at: datetime, reason: Reason) -> None:
    assert why(a_row(restart=Restart(Running.RESTARTING, "1 of 2 pods", late_at)))[1] is reason


def test_values_of_the_first_version_are_this_apps_own() -> None:
    token = a_token(FAR)
    ownership = replace(OURS, fingerprint=token.fingerprint)
    assert why(holding(StoredToken(token.header_value(), token, ownership)))[1] is Reason.FRESH


ALL = Demand(NOW, issued_before=NOW, expires_before=FAR, picked_up=False)
NOT_PICKED_UP = Demand(NOW, picked_up=False)
# Each row is found by its own check although every later one would find it too.
ORDER: dict[Reason, Callable[[], tuple[Observed, Demand]]] = {
    Reason.OWNED_BY_ANOTHER: lambda: (a_row(NOW - DAY, THEIRS, gateway="edge-02", exact=False), ALL),
    Reason.NOT_OWNED: lambda: (a_row(NOW - DAY, gateway="edge-02", restart=STUCK), ALL),
    Reason.WRITE_CONFLICT: lambda: (put_back(NOW - DAY, rule=SECONDARY, restart=STUCK), PLAIN),
    Reason.EXPIRED: lambda: (a_row(NOW - DAY, None, rule=SECONDARY), ALL),
    Reason.TO_BE_PROVED: lambda: (a_row(NOW + HOUR, None, exact=False), ALL),
    Reason.DEAD: lambda: (a_row(NOW + HOUR, proof=DEAD, rule=SECONDARY), ALL),
    Reason.FORCED: lambda: (a_row(NOW + HOUR, rule=SECONDARY), ALL),
    Reason.FEW_RUNS_LEFT: lambda: (a_row(NOW + HOUR, rule=SECONDARY, restart=OLD), NOT_PICKED_UP),
    Reason.IN_RENEWAL_WINDOW: lambda: (a_row(NOW + DAY, exact=False, restart=OLD), NOT_PICKED_UP),
    Reason.WRONG_KEY: lambda: (a_row(rule=SECONDARY, exact=False, restart=OLD), NOT_PICKED_UP),
    Reason.WRONG_FORM: lambda: (a_row(exact=False, restart=OLD), NOT_PICKED_UP),
    Reason.RESTART_DUE: lambda: (a_row(restart=OLD), NOT_PICKED_UP),
    Reason.NOT_PICKED_UP: lambda: (a_row(restart=Restart(Running.UNVERIFIED)), NOT_PICKED_UP),
}


@pytest.mark.parametrize("reason", ORDER)
def test_the_first_check_that_hits_decides(reason: Reason) -> None:
    row, demand = ORDER[reason]()
    assert why(row, demand)[1] is reason


def test_jitter_is_steady_and_takes_a_tenth_of_the_window_at_most() -> None:
    rule = GatewayRule(renew_before=10 * DAY)
    early = [FAR - 10 * DAY - due_at(RowId(GatewayRef("s", f"g-{n}"), "x"), rule, FAR) for n in range(200)]
    assert timedelta(0) <= min(early) < HOUR
    assert 23 * HOUR < max(early) <= DAY
    assert due_at(ROW, rule, FAR) == due_at(RowId(GatewayRef("CONTOSO", "EDGE-01"), ROW.location), rule, FAR)


def test_the_due_time_of_a_row_is_the_same_in_every_version() -> None:
    rule = GatewayRule(lifetime=30 * DAY, renew_before=10 * DAY)
    due = due_at(RowId(EDGE, "place"), rule, datetime.fromisoformat("2026-03-31T12:00:00Z"))
    assert due.isoformat() == "2026-03-21T01:41:58.554783+00:00"


def test_a_wide_window_does_not_make_a_token_due_from_birth() -> None:
    rule = GatewayRule(lifetime=30 * DAY, renew_before=29 * DAY)
    assert all(due_at(RowId(EDGE, str(n)), rule, FAR) >= FAR - 29 * DAY - 3 * HOUR for n in range(50))


def test_a_token_is_at_risk_from_the_margin_on() -> None:
    assert at_risk_from(GatewayRule(risk_margin=2 * DAY), FAR) == FAR - 2 * DAY
