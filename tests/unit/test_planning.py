"""What to do with one row: every reason, in its order, one minute either side of each boundary."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from gateway_tokens.estate.schema import GatewayRule
from gateway_tokens.renewal.checks import CHECKS, Action, Observed, Reason, decide, due_at
from gateway_tokens.stored import Ownership, StoredToken
from gateway_tokens.tokens import KeyType
from tests.renewal_estate import DAY, EDGE, HOUR, MINUTE, NOW, a_token

OURS = Ownership("contoso-apim/edge-01", KeyType.PRIMARY, NOW - 10 * DAY)
THEIRS = replace(OURS, owner="fabrikam-apim/edge-01")
FAR = NOW + 29 * DAY


def a_row(expiry: datetime = FAR, ownership: Ownership | None = OURS, **more: Any) -> Observed:  # noqa: ANN401 - Observed's
    """A row that holds this app's own token of that expiry; anything else by name."""
    usual: dict[str, Any] = {
        "ref": EDGE,
        "row": "contoso/edge-01 -> location",
        "rule": GatewayRule(),
        "owner": "contoso-apim/edge-01",
        "adopt": False,
        "stored": StoredToken(a_token(expiry), ownership),
        "interval": HOUR,
    }
    return Observed(**{**usual, **more})


def why(row: Observed, now: datetime = NOW) -> tuple[Action, Reason]:
    decision = decide(row, now)
    return decision.action, decision.reason


STRANGE = StoredToken(None, OURS)
ANOTHERS = StoredToken(a_token(FAR, "edge-02"), OURS)
DUE = due_at("contoso/edge-01 -> location", GatewayRule(), FAR)


class TestEveryReason:
    @pytest.mark.parametrize(
        ("row", "action", "reason"),
        [
            (a_row(stored=None), Action.RENEW, Reason.NOT_STORED),
            (a_row(ownership=None), Action.REFUSE, Reason.NOT_OWNED),
            (a_row(stored=StoredToken(None, None)), Action.REFUSE, Reason.NOT_OWNED),
            (a_row(ownership=THEIRS), Action.REFUSE, Reason.OWNED_BY_ANOTHER),
            (a_row(ownership=None, adopt=True), Action.RENEW, Reason.ADOPTED),
            (a_row(ownership=THEIRS, adopt=True), Action.RENEW, Reason.ADOPTED),
            (a_row(adopt=True), Action.KEEP, Reason.FRESH),
            (a_row(stored=STRANGE), Action.RENEW, Reason.UNREADABLE),
            (a_row(stored=ANOTHERS), Action.RENEW, Reason.OTHER_GATEWAYS_TOKEN),
            (a_row(stored=StoredToken(a_token(FAR, "EDGE-01"), OURS)), Action.KEEP, Reason.FRESH),
            (a_row(NOW - DAY), Action.RENEW, Reason.EXPIRED),
            (a_row(rule=GatewayRule(key_type=KeyType.SECONDARY)), Action.RENEW, Reason.WRONG_KEY),
            (a_row(renew_by=FAR), Action.RENEW, Reason.FORCED),
            (a_row(NOW + HOUR), Action.RENEW, Reason.LITTLE_LEFT),
            (a_row(NOW + 8 * DAY), Action.RENEW, Reason.IN_RENEWAL_WINDOW),
            (
                a_row(stored=StoredToken(a_token(FAR), OURS, restart_due=True)),
                Action.RESTART,
                Reason.NOT_RESTARTED,
            ),
            (a_row(picked_up=False), Action.RESTART, Reason.NOT_PICKED_UP),
            (a_row(), Action.KEEP, Reason.FRESH),
        ],
    )
    def test_is_found_alone(self, row: Observed, action: Action, reason: Reason) -> None:
        assert why(row) == (action, reason)

    def test_has_a_check_of_its_own_unless_it_comes_from_elsewhere(self) -> None:
        checked = {check.__name__.removeprefix("_") for check in CHECKS}
        assert checked == set(Reason) - {
            Reason.NOT_OBSERVED,
            Reason.NOT_LISTED,
            Reason.GATEWAY_GONE,
        }

    def test_says_what_is_due_when_without_naming_the_token(self) -> None:
        said = decide(a_row(), NOW).message
        assert said == f"due on {DUE:%Y-%m-%d %H:%M} UTC"


class TestBoundaries:
    @pytest.mark.parametrize(
        ("expiry", "reason"),
        [
            (NOW - MINUTE, Reason.EXPIRED),
            (NOW, Reason.EXPIRED),
            (NOW + MINUTE, Reason.LITTLE_LEFT),
            (NOW + 3 * HOUR, Reason.LITTLE_LEFT),
            (NOW + 3 * HOUR + MINUTE, Reason.IN_RENEWAL_WINDOW),
        ],
    )
    def test_of_expiry_and_of_the_last_sweeps(self, expiry: datetime, reason: Reason) -> None:
        assert why(a_row(expiry)) == (Action.RENEW, reason)

    @pytest.mark.parametrize(
        ("now", "reason"),
        [
            (DUE - MINUTE, Reason.FRESH),
            (DUE, Reason.IN_RENEWAL_WINDOW),
            (DUE + MINUTE, Reason.IN_RENEWAL_WINDOW),
        ],
    )
    def test_of_the_renewal_window(self, now: datetime, reason: Reason) -> None:
        assert why(a_row(), now)[1] is reason

    @pytest.mark.parametrize(
        ("renew_by", "reason"),
        [
            (FAR - MINUTE, Reason.FRESH),
            (FAR, Reason.FORCED),
            (FAR + MINUTE, Reason.FORCED),
        ],
    )
    def test_of_what_was_asked_for(self, renew_by: datetime, reason: Reason) -> None:
        assert why(a_row(renew_by=renew_by))[1] is reason

    @pytest.mark.parametrize(
        ("left", "reason"), [(3 * DAY, Reason.LITTLE_LEFT), (3 * DAY + MINUTE, Reason.FRESH)]
    )
    def test_a_few_sweeps_count_even_outside_a_narrow_window(self, left: timedelta, reason: Reason) -> None:
        rule = GatewayRule(renew_before=DAY)
        assert why(a_row(NOW + left, rule=rule, interval=DAY))[1] is reason


class TestPrecedence:
    """Each row meets its own check and every later one that can hold beside it; its own must win."""

    EVERYTHING = a_row(
        NOW - DAY,
        THEIRS,
        rule=GatewayRule(key_type=KeyType.SECONDARY),
        renew_by=FAR,
        picked_up=False,
    )

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"stored": None, "adopt": True}, Reason.NOT_STORED),
            ({"stored": StoredToken(None, None, restart_due=True)}, Reason.NOT_OWNED),
            ({"stored": StoredToken(None, THEIRS, restart_due=True)}, Reason.OWNED_BY_ANOTHER),
            ({"stored": StoredToken(None, THEIRS, restart_due=True), "adopt": True}, Reason.ADOPTED),
            ({"stored": StoredToken(None, OURS, restart_due=True)}, Reason.UNREADABLE),
            (
                {"stored": StoredToken(a_token(NOW - DAY, "edge-02"), OURS, restart_due=True)},
                Reason.OTHER_GATEWAYS_TOKEN,
            ),
            ({"stored": StoredToken(a_token(NOW - DAY), OURS, restart_due=True)}, Reason.EXPIRED),
            ({"stored": StoredToken(a_token(NOW + HOUR), OURS, restart_due=True)}, Reason.WRONG_KEY),
            (
                {"stored": StoredToken(a_token(NOW + HOUR), OURS, restart_due=True), "rule": GatewayRule()},
                Reason.FORCED,
            ),
            (
                {
                    "stored": StoredToken(a_token(NOW + HOUR), OURS, restart_due=True),
                    "rule": GatewayRule(),
                    "renew_by": None,
                },
                Reason.LITTLE_LEFT,
            ),
            (
                {
                    "stored": StoredToken(a_token(NOW + DAY), OURS, restart_due=True),
                    "rule": GatewayRule(),
                    "renew_by": None,
                },
                Reason.IN_RENEWAL_WINDOW,
            ),
            (
                {
                    "stored": StoredToken(a_token(FAR), OURS, restart_due=True),
                    "rule": GatewayRule(),
                    "renew_by": None,
                },
                Reason.NOT_RESTARTED,
            ),
            (
                {"stored": StoredToken(a_token(FAR), OURS), "rule": GatewayRule(), "renew_by": None},
                Reason.NOT_PICKED_UP,
            ),
        ],
    )
    def test_the_first_check_wins(self, change: dict[str, Any], reason: Reason) -> None:
        assert why(replace(self.EVERYTHING, **change))[1] is reason
