"""What to do with one row: every reason, in its order, one minute either side of each boundary."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from gateway_tokens.destinations.key_vault import KeyVaultSecret
from gateway_tokens.estate.schedule import Calendar
from gateway_tokens.estate.schema import GatewayRule
from gateway_tokens.renewal.checks import CHECKS, CONFLICT_FOR, decide, due_at
from gateway_tokens.renewal.rows import Decision, Demand, ManagedGateway, Observed, Proof, Reason, RowId
from gateway_tokens.stored import Ownership, Restart, Running, StoredToken
from gateway_tokens.tokens import GatewayRef, KeyType, Secret
from tests.renewal_estate import CONTOSO, DAY, EDGE, HOUR, MINUTE, NOW, VAULT, a_token

FAR = NOW + 29 * DAY
OURS = Ownership("contoso-apim/edge-01", KeyType.PRIMARY, NOW - HOUR, FAR)
THEIRS = replace(OURS, owner="fabrikam-apim/edge-01")
ROW = RowId(EDGE, f"{VAULT}/secrets/edge-01-token")
DUE = due_at(ROW, GatewayRule(), FAR)
PLAIN, FORCE, NOT_PICKED_UP = Demand(NOW), Demand(NOW, issued_before=NOW), Demand(NOW, picked_up=False)
REVOKE = Demand(NOW, key_type=KeyType.SECONDARY)
ALL = Demand(NOW, issued_before=NOW, expires_before=FAR, picked_up=False)
SECONDARY = GatewayRule(key_type=KeyType.SECONDARY)
PROVED, BY_OTHER, DEAD = Proof(KeyType.PRIMARY), Proof(KeyType.SECONDARY), Proof(None)
OLD, STUCK = Restart(Running.OLD, "runs an older value", old=("a",)), Restart(Running.STUCK, "is paused")


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
    settings, rule = KeyVaultSecret(kind="keyVault", vault=VAULT, adopt=adopt), rule or GatewayRule()
    gateway, wanted = ManagedGateway(EDGE, CONTOSO, rule), rule.key_type or KeyType.PRIMARY
    return Observed(gateway, settings, stored, proof, wanted, key_due)


def nobodys(expiry: datetime = FAR, **more: Any) -> Observed:  # noqa: ANN401 - of `a_row`
    return a_row(expiry, None, **more)


def garbage(text: str = "not a token", ours: Ownership | None = None, *, adopt: bool = False) -> Observed:
    return holding(StoredToken(Secret(text), None, ours, exact=False), adopt=adopt)


def put_back(expiry: datetime, ours_until: datetime = FAR, **more: Any) -> Observed:  # noqa: ANN401 - of `a_row`
    """A row where somebody put another token back beside our ownership."""
    return a_row(expiry, replace(OURS, expiry=ours_until, fingerprint="0" * 12), **more)


def running(state: Running, **more: Any) -> Observed:  # noqa: ANN401 - of Restart
    return a_row(restart=Restart(state, "1 of 2 pods", **more))


def decision(
    row: Observed, demand: Demand = PLAIN, *, now: datetime = NOW, pause: timedelta = HOUR
) -> Decision:
    return decide(row, demand, Calendar("0 0 * * * *", pause), now)


# What is found, with what is to be done for which reason, and what was asked for, if anything.
ALONE: dict[str, tuple[Observed, str] | tuple[Observed, str, Demand]] = {
    "paused": (a_row(NOW - DAY, rule=GatewayRule(renew=False)), "keep paused", FORCE),
    "nothing is stored": (holding(None), "renew not_stored"),
    "an empty value is stored": (holding(StoredToken(None, None, None)), "renew not_stored"),
    "another owns it": (a_row(ownership=THEIRS), "refuse owned_by_another"),
    "another owned it": (a_row(ownership=THEIRS, adopt=True), "renew adopted"),
    "not a token": (garbage(), "refuse not_owned", FORCE),
    "not a token, beside our ownership": (garbage(ours=OURS), "refuse not_owned", FORCE),
    "not a token, adopted": (garbage(adopt=True), "renew adopted"),
    "a token of 31 days": (nobodys(NOW + 31 * DAY), "prove to_be_proved"),
    "a token of more": (nobodys(NOW + 31 * DAY + MINUTE), "refuse not_owned"),
    "another gateway's": (nobodys(gateway="edge-02"), "refuse not_owned"),
    "another gateway's, adopted": (nobodys(gateway="edge-02", adopt=True), "renew adopted"),
    "the same gateway in another case": (a_row(gateway="EDGE-01"), "keep fresh"),
    "put back": (put_back(NOW + 20 * DAY), "prove to_be_proved"),
    "put back, alive": (put_back(NOW + 20 * DAY, proof=PROVED), "refuse write_conflict"),
    "put back, due": (put_back(NOW + 8 * DAY, proof=PROVED), "refuse write_conflict"),
    "put back, dead": (put_back(NOW + 20 * DAY, proof=DEAD), "rewrite write_conflict"),
    "put back, not at risk": (put_back(NOW + 5 * DAY + MINUTE), "prove to_be_proved"),
    "put back, at risk": (put_back(NOW + 5 * DAY), "rewrite write_conflict"),
    "put back, expired": (put_back(NOW - DAY), "rewrite write_conflict"),
    "put back, and ours is due": (put_back(NOW + HOUR, NOW + 10 * DAY, proof=PROVED), "renew few_runs_left"),
    "put back, and forced": (put_back(NOW + 20 * DAY, proof=PROVED), "renew forced", FORCE),
    "put back, and its key is revoked": (put_back(NOW + 20 * DAY, proof=PROVED), "renew revoked", REVOKE),
    "a later one": (put_back(FAR, NOW + DAY, proof=PROVED), "take_over taken_over"),
    "a later one, and its key is revoked": (put_back(FAR, NOW + DAY), "prove to_be_proved", REVOKE),
    "a later one of the key that is kept": (
        put_back(FAR, NOW + DAY, proof=BY_OTHER),
        "take_over taken_over",
        REVOKE,
    ),
    "expired": (a_row(NOW), "renew expired"),
    "expired, and nobody owns it": (nobodys(NOW - DAY), "renew expired"),
    "nobody owns it": (nobodys(), "prove to_be_proved"),
    "neither key signs it": (nobodys(proof=DEAD), "refuse not_proved"),
    "neither key signs it, adopted": (nobodys(proof=DEAD, adopt=True), "renew adopted"),
    "it is this gateway's": (nobodys(proof=PROVED), "take_over taken_over"),
    "it is this gateway's, by the other key": (nobodys(proof=PROVED, rule=SECONDARY), "take_over taken_over"),
    "it is this gateway's, and due": (nobodys(NOW + 8 * DAY, proof=PROVED), "renew in_renewal_window"),
    "dead": (a_row(proof=DEAD), "renew dead"),
    "alive": (a_row(proof=PROVED), "keep fresh"),
    "forced": (a_row(), "renew forced", FORCE),
    "forced, issued later": (a_row(ownership=replace(OURS, issued_at=NOW)), "keep fresh", FORCE),
    "asked for by expiry": (a_row(), "renew forced", Demand(NOW, expires_before=FAR)),
    "ends after what is asked for": (a_row(), "keep fresh", Demand(NOW, expires_before=FAR - MINUTE)),
    "three runs are left": (a_row(NOW + 3 * HOUR), "renew few_runs_left"),
    "in its window": (a_row(NOW + 3 * HOUR + MINUTE), "renew in_renewal_window"),
    "the other key": (a_row(rule=SECONDARY), "renew wrong_key"),
    "its key is due for rotation": (a_row(rule=SECONDARY, key_due=True), "renew key_due"),
    "its key is revoked": (a_row(), "renew revoked", REVOKE),
    "the other key is revoked": (a_row(), "keep fresh", Demand(NOW, key_type=KeyType.PRIMARY)),
    "in another form": (a_row(exact=False), "rewrite wrong_form"),
    "to be restarted": (a_row(restart=OLD), "restart restart_due"),
    "restarting": (running(Running.RESTARTING, late_at=NOW + MINUTE), "wait restarting"),
    "restarting for too long": (running(Running.RESTARTING, late_at=NOW), "wait not_restarted"),
    "does not restart": (a_row(restart=STUCK), "wait not_restarted"),
    "not picked up": (a_row(), "wait not_picked_up", NOT_PICKED_UP),
    "restart not verified": (running(Running.UNVERIFIED), "wait restart_unverified"),
    "no workload yet": (running(Running.WAITING), "wait waiting_for_workload"),
    "restarted": (running(Running.CURRENT), "keep fresh"),
    "fresh": (a_row(), "keep fresh"),
    "fresh, and adopted": (a_row(adopt=True), "keep fresh"),
}


@pytest.mark.parametrize("case", ALONE)
def test_every_reason_is_found_alone(case: str) -> None:
    row, expected, *demand = ALONE[case]
    decided = decision(row, *demand)
    assert f"{decided.action} {decided.reason}" == expected


def test_every_reason_that_is_planned_is_in_the_table() -> None:
    found_on_the_way = {Reason.NOT_READ, Reason.NOT_LISTED, Reason.GATEWAY_GONE}
    assert {expected.split()[1] for _, expected, *_ in ALONE.values()} == set(Reason) - found_on_the_way
    assert len(CHECKS) == len(set(CHECKS))


def test_only_what_can_wait_is_staged() -> None:
    staged = {name for name, (row, _, *demand) in ALONE.items() if decision(row, *demand).staged}
    live = {"another owned it", "another gateway's, adopted", "neither key signs it, adopted"}
    assert staged == {"the other key", "its key is due for rotation", "in another form", *live}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("c2VjcmV0LWtleS1vZi1hLWdhdGV3YXktd2l0aC1tYW55LWJ5dGVzLWluLWl0LTEyMzQ1Njc4OTA=", "a gateway key"),
        ("https://contoso.example/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p", "a value that is not a token"),
    ],
)
def test_what_is_not_a_token_is_told_by_its_kind_and_never_quoted(text: str, kind: str) -> None:
    message = decision(garbage(text)).message
    assert message.startswith(kind)
    assert text not in message


def test_a_fresh_row_says_when_it_is_due_and_that_a_new_lifetime_waits() -> None:
    issued = a_row(ownership=replace(OURS, issued_at=NOW - DAY))
    assert decision(issued).message == f"due on {DUE:%Y-%m-%d %H:%M} UTC"
    shorter = a_row(rule=GatewayRule(lifetime=20 * DAY))
    assert "counts from the next renewal" in decision(shorter).message


def test_few_runs_count_even_outside_a_narrow_window() -> None:
    for left, reason in ((3 * DAY, "few_runs_left"), (3 * DAY + MINUTE, "fresh")):
        row = a_row(NOW + left, rule=GatewayRule(renew_before=DAY))
        assert decision(row, pause=DAY).reason == reason


def test_a_token_is_due_from_its_own_point_on() -> None:
    assert decision(a_row(), now=DUE - MINUTE).reason is Reason.FRESH
    assert decision(a_row(), now=DUE).reason is Reason.IN_RENEWAL_WINDOW


def test_an_older_token_that_stays_for_a_day_is_taken_over() -> None:
    for later, reason in ((timedelta(), "taken_over"), (MINUTE, "write_conflict")):
        ours = replace(OURS, issued_at=NOW - CONFLICT_FOR + later, fingerprint="0" * 12)
        assert decision(a_row(NOW + 20 * DAY, ours, proof=PROVED)).reason == reason


def test_who_put_an_older_token_back_is_told() -> None:
    row = put_back(NOW + 20 * DAY, proof=PROVED)
    assert row.stored is not None
    named = replace(row, stored=replace(row.stored, writer="flux"))
    assert [decision(row_of).message.split()[0] for row_of in (row, named)] == ["somebody", "flux"]


def test_values_of_the_first_version_are_this_apps_own() -> None:
    token = a_token(FAR)
    ownership = replace(OURS, fingerprint=token.fingerprint)
    assert decision(holding(StoredToken(token.header_value(), token, ownership))).reason is Reason.FRESH


# Each row is found by its own check although every later one would find it too.
ORDER: dict[str, tuple[Observed, Demand]] = {
    "owned_by_another": (a_row(NOW - DAY, THEIRS, gateway="edge-02", exact=False), ALL),
    "not_owned": (a_row(NOW - DAY, gateway="edge-02", restart=STUCK), ALL),
    "write_conflict": (put_back(NOW - DAY, rule=SECONDARY, restart=STUCK), PLAIN),
    "expired": (a_row(NOW - DAY, None, rule=SECONDARY), ALL),
    "to_be_proved": (a_row(NOW + HOUR, None, exact=False), ALL),
    "dead": (a_row(NOW + HOUR, proof=DEAD, rule=SECONDARY), ALL),
    "forced": (a_row(NOW + HOUR, rule=SECONDARY), ALL),
    "few_runs_left": (a_row(NOW + HOUR, rule=SECONDARY, restart=OLD), NOT_PICKED_UP),
    "in_renewal_window": (a_row(NOW + DAY, exact=False, restart=OLD), NOT_PICKED_UP),
    "wrong_key": (a_row(rule=SECONDARY, exact=False, restart=OLD), NOT_PICKED_UP),
    "wrong_form": (a_row(exact=False, restart=OLD), NOT_PICKED_UP),
    "restart_due": (a_row(restart=OLD), NOT_PICKED_UP),
    "not_picked_up": (running(Running.UNVERIFIED), NOT_PICKED_UP),
}


@pytest.mark.parametrize("reason", ORDER)
def test_the_first_check_that_hits_decides(reason: str) -> None:
    row, demand = ORDER[reason]
    assert decision(row, demand).reason == reason


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
