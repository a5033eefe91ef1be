"""What to do with one row: every reason, in its order, one minute either side of each boundary."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from gateway_tokens.destinations.key_vault import KeyVaultSecret
from gateway_tokens.estate.schema import GatewayRule
from gateway_tokens.renewal.checks import (
    CHECKS,
    Action,
    Demand,
    ManagedGateway,
    Observed,
    Reason,
    RowId,
    at_risk_from,
    decide,
    due_at,
)
from gateway_tokens.stored import Ownership, Restart, StoredToken
from gateway_tokens.tokens import GatewayRef, KeyType
from tests.renewal_estate import CONTOSO, DAY, EDGE, HOUR, MINUTE, NOW, a_token

OURS = Ownership("contoso-apim/edge-01", KeyType.PRIMARY, NOW - 10 * DAY)
THEIRS = replace(OURS, owner="fabrikam-apim/edge-01")
FAR = NOW + 29 * DAY
ROW = RowId(EDGE, "https://vault.example/secrets/edge-01-token")
DUE = due_at(ROW, GatewayRule(), FAR)
PLAIN = Demand(NOW)
BEGUN, FAILED = Restart(begun=True), Restart(begun=True, stuck="it is paused", counts="1 of 2 pods updated")
SECONDARY: dict[str, Any] = {"rule": GatewayRule(key_type=KeyType.SECONDARY)}


def a_row(
    expiry: datetime = FAR,
    ownership: Ownership | None = OURS,
    *,
    adopt: bool = False,
    rule: GatewayRule | None = None,
    gateway: str = "edge-01",
    restart: Restart | None = None,
) -> Observed:
    """A row that holds this app's own token of that expiry."""
    stored = StoredToken(a_token(expiry, gateway), ownership, restart=restart)
    return holding(stored, adopt=adopt, rule=rule)


def holding(stored: StoredToken | None, *, adopt: bool = False, rule: GatewayRule | None = None) -> Observed:
    settings = KeyVaultSecret(kind="keyVault", vault="https://vault.example", adopt=adopt)
    return Observed(ManagedGateway(EDGE, CONTOSO, rule or GatewayRule()), settings, stored)


def why(
    row: Observed, demand: Demand = PLAIN, now: datetime = NOW, pause: timedelta = HOUR
) -> tuple[Action, Reason]:
    decision = decide(row, demand, pause, now)
    return decision.action, decision.reason


ALONE: dict[str, tuple[Observed, Demand, Action, Reason]] = {
    "nothing is stored": (holding(None), PLAIN, Action.RENEW, Reason.NOT_STORED),
    "nobody owns it": (a_row(ownership=None), PLAIN, Action.REFUSE, Reason.NOT_OWNED),
    "nobody owns what is not a token": (
        holding(StoredToken(None, None)),
        PLAIN,
        Action.REFUSE,
        Reason.NOT_OWNED,
    ),
    "another owns it": (a_row(ownership=THEIRS), PLAIN, Action.REFUSE, Reason.OWNED_BY_ANOTHER),
    "taken over from nobody": (a_row(ownership=None, adopt=True), PLAIN, Action.RENEW, Reason.ADOPTED),
    "taken over from another": (a_row(ownership=THEIRS, adopt=True), PLAIN, Action.RENEW, Reason.ADOPTED),
    "our own is not taken over": (a_row(adopt=True), PLAIN, Action.KEEP, Reason.FRESH),
    "not a token": (holding(StoredToken(None, OURS)), PLAIN, Action.RENEW, Reason.UNREADABLE),
    "another gateway's token": (a_row(gateway="edge-02"), PLAIN, Action.RENEW, Reason.OTHER_GATEWAYS_TOKEN),
    "the same gateway in another case": (a_row(gateway="EDGE-01"), PLAIN, Action.KEEP, Reason.FRESH),
    "expired": (a_row(NOW - DAY), PLAIN, Action.RENEW, Reason.EXPIRED),
    "the other key": (a_row(**SECONDARY), PLAIN, Action.RENEW, Reason.WRONG_KEY),
    "forced": (a_row(), Demand(NOW, force=True), Action.RENEW, Reason.FORCED),
    "asked for by expiry": (a_row(), Demand(NOW, expires_before=FAR), Action.RENEW, Reason.FORCED),
    "few runs are left": (a_row(NOW + HOUR), PLAIN, Action.RENEW, Reason.FEW_RUNS_LEFT),
    "in its window": (a_row(NOW + 8 * DAY), PLAIN, Action.RENEW, Reason.IN_RENEWAL_WINDOW),
    "not picked up": (a_row(), Demand(NOW, picked_up=False), Action.RESTART, Reason.NOT_PICKED_UP),
    "to be restarted": (a_row(restart=Restart(begun=False)), PLAIN, Action.RESTART, Reason.RESTART_DUE),
    "restarting": (a_row(restart=BEGUN), PLAIN, Action.WAIT, Reason.RESTARTING),
    "did not restart": (a_row(restart=FAILED), PLAIN, Action.WAIT, Reason.NOT_RESTARTED),
    "restarted": (a_row(restart=Restart(begun=True, done=True)), PLAIN, Action.KEEP, Reason.FRESH),
    "fresh": (a_row(), PLAIN, Action.KEEP, Reason.FRESH),
}


@pytest.mark.parametrize("case", ALONE)
def test_every_reason_is_found_alone(case: str) -> None:
    row, demand, action, reason = ALONE[case]
    assert why(row, demand) == (action, reason)


def test_every_reason_that_is_planned_is_in_the_table() -> None:
    found_on_the_way = {Reason.NOT_READ, Reason.NOT_LISTED, Reason.GATEWAY_GONE}
    assert {reason for *_, reason in ALONE.values()} == set(Reason) - found_on_the_way
    assert len(CHECKS) == len(set(CHECKS))


def test_a_fresh_row_says_when_it_is_due() -> None:
    assert decide(a_row(), PLAIN, HOUR, NOW).message == f"due on {DUE:%Y-%m-%d %H:%M} UTC"


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
    assert why(row, Demand(NOW, force=True))[1] is reason


@pytest.mark.parametrize(
    ("late_at", "reason"), [(NOW + MINUTE, Reason.RESTARTING), (NOW, Reason.NOT_RESTARTED)]
)
def test_a_restart_that_takes_too_long_has_failed(late_at: datetime, reason: Reason) -> None:
    restart = Restart(begun=True, counts="1 of 2 pods updated", late_at=late_at)
    assert why(a_row(restart=restart))[1] is reason


ALL = Demand(NOW, force=True, expires_before=FAR, picked_up=False)
# Each row is found by its own check although every later one would find it too.
ORDER: dict[Reason, Callable[[], Any]] = {
    Reason.NOT_STORED: lambda: (holding(None, adopt=True, **SECONDARY), ALL),
    Reason.NOT_OWNED: lambda: (holding(StoredToken(None, None, restart=FAILED)), ALL),
    Reason.OWNED_BY_ANOTHER: lambda: (holding(StoredToken(None, THEIRS, restart=FAILED)), ALL),
    Reason.ADOPTED: lambda: (holding(StoredToken(None, THEIRS, restart=FAILED), adopt=True), ALL),
    Reason.UNREADABLE: lambda: (holding(StoredToken(None, OURS, restart=FAILED)), ALL),
    Reason.OTHER_GATEWAYS_TOKEN: lambda: (a_row(NOW - DAY, gateway="edge-02", **SECONDARY), ALL),
    Reason.EXPIRED: lambda: (a_row(NOW - DAY, **SECONDARY), ALL),
    Reason.WRONG_KEY: lambda: (a_row(NOW + HOUR, **SECONDARY), ALL),
    Reason.FORCED: lambda: (a_row(NOW + HOUR), ALL),
    Reason.FEW_RUNS_LEFT: lambda: (a_row(NOW + HOUR, restart=FAILED), Demand(NOW, picked_up=False)),
    Reason.IN_RENEWAL_WINDOW: lambda: (a_row(NOW + DAY, restart=FAILED), Demand(NOW, picked_up=False)),
    Reason.NOT_PICKED_UP: lambda: (a_row(restart=FAILED), Demand(NOW, picked_up=False)),
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
    row = RowId(EDGE, "place")
    assert (
        due_at(row, rule, datetime.fromisoformat("2026-03-31T12:00:00Z")).isoformat()
        == "2026-03-21T01:41:58.554783+00:00"
    )


def test_a_wide_window_does_not_make_a_token_due_from_birth() -> None:
    rule = GatewayRule(lifetime=30 * DAY, renew_before=29 * DAY)
    assert all(due_at(RowId(EDGE, str(n)), rule, FAR) >= FAR - 29 * DAY - 3 * HOUR for n in range(50))


def test_a_token_is_at_risk_from_the_margin_on() -> None:
    assert at_risk_from(GatewayRule(risk_margin=2 * DAY), FAR) == FAR - 2 * DAY
