"""Keeping one gateway's token fresh: observe, plan, issue, check, push, read back, restart."""

import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway_tokens.errors import (
    AzureError,
    AzureFacts,
    AzureForbidden,
    AzureNotFound,
    GatewayTokensError,
    NotVerified,
    RestartFailed,
    TokenUnusable,
)
from gateway_tokens.renewal.checks import Action, Reason
from gateway_tokens.renewal.gateway import keep, look
from gateway_tokens.renewal.report import Outcome, Row
from gateway_tokens.stored import Ownership, StoredToken
from gateway_tokens.tokens import GatewayToken, KeyType
from tests.fakes import MemoryDestination
from tests.renewal_estate import (
    DAY,
    EDGE,
    HOUR,
    IN_30_DAYS,
    MINUTE,
    NOW,
    OUTAGE,
    PLACES,
    Estate,
    a_token,
    a_trouble,
    contoso,
    lines,
)

FRESH, DUE, GONE_BY = a_token(NOW + 20 * DAY), a_token(NOW + 8 * DAY), a_token(NOW - DAY)
NEW = a_token(IN_30_DAYS)
FOREVER = datetime.max.replace(tzinfo=UTC)


@pytest.fixture
def estate() -> Estate:
    """One gateway, one location."""
    return contoso("a")


async def kept(estate: Estate, **terms: Any) -> Row:  # noqa: ANN401 - Terms' own
    (row,) = await keep(estate.unit(), estate.terms(**terms))
    return row


def ended(row: Row) -> tuple[Reason, Outcome | None, str]:
    return row.reason, row.outcome, row.code


class Intruder(MemoryDestination):
    """A location at which somebody else acts just before each of the next `times` writes, or just after."""

    def __init__(self, before: GatewayToken | None = None, after: str = "", times: int = 1) -> None:
        super().__init__("a")
        self.before, self.after, self.times = before, after, times

    async def write(self, token: GatewayToken, ownership: Ownership, stored: StoredToken | None) -> None:
        acts = self.times > 0
        self.times -= 1
        if acts and self.before:
            theirs = Ownership(ownership.owner, ownership.key_type, NOW)
            self.put(self.before.header_value().reveal(), theirs.tags(self.before))
        await super().write(token, ownership, stored)
        if acts and self.after:
            self.put(self.after, self.tags)


class TestOneRow:
    async def test_a_first_token_is_issued_delivered_and_read_back(self, estate: Estate) -> None:
        row = await kept(estate)
        assert ended(row) == (Reason.NOT_STORED, Outcome.RENEWED, "")
        assert estate.locations["a"].value == NEW.header_value().reveal()
        assert estate.locations["a"].calls == ["read", "write", "read"]

    async def test_a_token_is_asked_for_with_the_rules_key_and_lifetime(self) -> None:
        estate = contoso("a", lifetime="P7D", keyType="secondary")
        await kept(estate)
        assert estate.gateways.issued == [("edge-01", KeyType.SECONDARY, NOW + 7 * DAY)]

    async def test_the_label_tells_owner_key_and_since_when(self, estate: Estate) -> None:
        await kept(estate)
        ownership = Ownership.from_tags(estate.locations["a"].tags)
        assert ownership == Ownership("contoso-apim/edge-01", KeyType.PRIMARY, NOW)

    async def test_a_fresh_token_is_only_looked_at(self, estate: Estate) -> None:
        location = estate.deliver("a", FRESH)
        assert ended(await kept(estate)) == (Reason.FRESH, Outcome.FRESH, "")
        assert (location.calls, estate.gateways.issued) == (["read"], [])

    async def test_a_due_token_is_replaced(self, estate: Estate) -> None:
        location = estate.deliver("a", DUE)
        assert ended(await kept(estate)) == (Reason.IN_RENEWAL_WINDOW, Outcome.RENEWED, "")
        assert location.value == NEW.header_value().reveal()

    async def test_the_row_tells_both_expiries_and_when_the_new_one_is_due_and_at_risk(
        self, estate: Estate
    ) -> None:
        estate.deliver("a", DUE)
        row = await kept(estate)
        assert (row.ref, row.location, row.key_type) == (EDGE, f"{PLACES}a", KeyType.PRIMARY)
        assert (row.expiry, row.new_expiry) == (DUE.expiry, IN_30_DAYS)
        assert row.at_risk_from == IN_30_DAYS - 5 * DAY
        assert row.due is not None
        assert IN_30_DAYS - 11 * DAY <= row.due <= IN_30_DAYS - 10 * DAY

    async def test_what_was_asked_for_is_renewed_though_fresh(self, estate: Estate) -> None:
        location = estate.deliver("a", FRESH)
        assert ended(await kept(estate, renew_by=FOREVER)) == (Reason.FORCED, Outcome.RENEWED, "")
        assert location.value == NEW.header_value().reveal()

    async def test_the_very_same_token_is_not_written_again(self, estate: Estate) -> None:
        location = estate.deliver("a", NEW)
        row = await kept(estate, renew_by=FOREVER)
        assert ended(row) == (Reason.FORCED, Outcome.FRESH, "")
        assert location.calls == ["read"]

    async def test_the_same_token_is_written_where_only_the_label_is_wrong(self) -> None:
        location = (estate := contoso()).deliver("contoso-edge-01", NEW, owner="other-apim/edge-01")
        spec = estate.unit().rule.destinations[0].model_copy(update={"adopt": True})
        unit = estate.unit()
        adopting = type(unit)(unit.ref, unit.service, unit.rule.model_copy(update={"destinations": (spec,)}))
        (row,) = await keep(adopting, estate.terms())
        assert ended(row) == (Reason.ADOPTED, Outcome.RENEWED, "")
        ownership = Ownership.from_tags(location.tags)
        assert ownership is not None
        assert ownership.owner == "contoso-apim/edge-01"

    @pytest.mark.parametrize("owner", ["", "other-apim/edge-01"])
    async def test_what_is_not_ours_is_refused_and_left_alone(self, estate: Estate, owner: str) -> None:
        location = estate.deliver("a", DUE, owner) if owner else estate.location("a")
        if not owner:
            location.put("somebody's")
        before = location.value
        row = await kept(estate)
        assert (row.outcome, row.code, row.action) == (Outcome.FAILED, "not_owned", Action.REFUSE)
        assert "adopt: true" in row.error
        assert (location.value, location.calls, estate.gateways.issued) == (before, ["read"], [])

    async def test_the_owner_is_the_service_in_azure_not_its_alias(self) -> None:
        estate = contoso("a")
        estate.deliver("a", FRESH, owner="contoso-apim/edge-01")
        assert estate.unit("EDGE-01").owner == "contoso-apim/edge-01"


class TestFailures:
    async def test_a_place_that_cannot_be_read_is_not_planned(self, estate: Estate) -> None:
        estate.location("a").failing = {"read": OUTAGE}
        row = await kept(estate)
        assert ended(row) == (Reason.NOT_OBSERVED, Outcome.FAILED, "azure_unavailable")
        assert (row.action, row.failures, row.last_failure, row.error) == (None, 1, NOW, str(OUTAGE))
        assert estate.gateways.issued == []

    async def test_a_failed_write_leaves_the_old_value(self, estate: Estate) -> None:
        location = estate.deliver("a", DUE)
        location.failing = {"write": OUTAGE}
        row = await kept(estate)
        assert ended(row) == (Reason.IN_RENEWAL_WINDOW, Outcome.FAILED, "azure_unavailable")
        assert (row.expiry, row.new_expiry) == (DUE.expiry, None)
        assert location.value == DUE.header_value().reveal()

    @pytest.mark.parametrize("answer", [a_token(IN_30_DAYS, "edge-02"), a_token(IN_30_DAYS - MINUTE)])
    async def test_a_token_that_was_not_asked_for_is_not_delivered(
        self, estate: Estate, answer: GatewayToken
    ) -> None:
        location = estate.deliver("a", DUE)
        estate.gateways.answer = answer
        assert ended(await kept(estate)) == (Reason.IN_RENEWAL_WINDOW, Outcome.FAILED, "token_unusable")
        assert (location.value, location.calls) == (DUE.header_value().reveal(), ["read"])

    @pytest.mark.parametrize(
        ("refusal", "code"),
        [
            (AzureForbidden("Issuing", AzureFacts(403), "action", "scope"), "azure_forbidden"),
            (AzureNotFound("Issuing", AzureFacts(404)), "not_found"),
            (TokenUnusable("it is empty"), "token_unusable"),
        ],
    )
    async def test_a_refused_token_fails_the_row_and_touches_nothing(
        self, estate: Estate, refusal: Exception, code: str
    ) -> None:
        estate.gateways.refused = {"edge-01": refusal}
        location = estate.deliver("a", DUE)
        row = await kept(estate)
        assert (row.outcome, row.code, location.calls) == (Outcome.FAILED, code, ["read"])

    async def test_an_unexpected_error_is_told_without_its_text(
        self, estate: Estate, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate.gateways.refused = {"edge-01": ValueError("edge-01&202603311155&c2lnbmF0dXJl")}
        with caplog.at_level(logging.ERROR):
            row = await kept(estate)
        assert (row.outcome, row.code, row.error) == (Outcome.FAILED, "internal_error", "ValueError")
        assert f"unexpected failure at {PLACES}a" in caplog.text

    async def test_failures_are_counted_on(self, estate: Estate) -> None:
        estate.location("a").failing = {"read": OUTAGE}
        troubles = {"contoso/edge-01 -> https://memory.example/secrets/a": a_trouble(4, NOW - DAY)}
        row = await kept(estate, troubles=troubles)
        assert (row.failures, row.last_failure) == (5, NOW)

    async def test_a_row_that_failed_before_is_tried_again(self, estate: Estate) -> None:
        location = estate.deliver("a", DUE)
        row = await kept(estate, troubles={f"contoso/edge-01 -> {PLACES}a": a_trouble(26, NOW - MINUTE)})
        assert ended(row) == (Reason.IN_RENEWAL_WINDOW, Outcome.RENEWED, "")
        assert "write" in location.calls

    @pytest.mark.parametrize("token", [DUE, FRESH])
    async def test_a_row_that_is_well_again_has_nothing_left_of_its_failures(
        self, estate: Estate, token: GatewayToken
    ) -> None:
        estate.deliver("a", token)
        row = await kept(
            estate,
            troubles={"contoso/edge-01 -> https://memory.example/secrets/a": a_trouble(4, NOW - 3 * DAY)},
        )
        assert row.outcome in {Outcome.RENEWED, Outcome.FRESH}
        assert (row.failures, row.last_failure, row.code, row.error) == (0, None, "", "")


class TestNeighbours:
    async def test_due_rows_share_one_token_issued_once(self) -> None:
        estate = contoso("a", "b", "c")
        estate.deliver("b", FRESH)
        rows = await keep(estate.unit(), estate.terms())
        assert [row.outcome for row in rows] == [Outcome.RENEWED, Outcome.FRESH, Outcome.RENEWED]
        assert estate.locations["a"].value == estate.locations["c"].value == NEW.header_value().reveal()
        assert len(estate.gateways.issued) == 1

    async def test_the_one_token_leaves_one_line_that_says_for_whom(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = contoso("a", "b")
        with caplog.at_level("INFO"):
            await keep(estate.unit(), estate.terms(caller="schedule"))
        [line] = lines(caplog, "token.issued")
        assert line == {
            "event": "token.issued",
            "level": "INFO",
            "caller": "schedule",
            "service": "contoso",
            "gateway": "edge-01",
            "keyType": "primary",
            "expiry": "2026-03-31T11:55:00Z",
            "fingerprint": NEW.fingerprint,
        }

    @pytest.mark.parametrize("method", ["read", "write"])
    async def test_one_failing_place_leaves_its_neighbours_alone(self, method: str) -> None:
        estate = contoso("a", "b", "c")
        estate.location("b").failing = {method: OUTAGE}
        rows = await keep(estate.unit(), estate.terms())
        assert [row.outcome for row in rows] == [Outcome.RENEWED, Outcome.FAILED, Outcome.RENEWED]

    async def test_a_refused_token_fails_every_due_row_and_is_asked_for_once(self) -> None:
        estate = contoso("a", "b", "c")
        estate.deliver("b", FRESH)
        estate.gateways.refused = {"edge-01": AzureError("Issuing", AzureFacts(418))}
        rows = await keep(estate.unit(), estate.terms())
        assert [row.outcome for row in rows] == [Outcome.FAILED, Outcome.FRESH, Outcome.FAILED]
        assert len(estate.gateways.issued) == 1

    async def test_the_next_run_retries_only_what_failed(self) -> None:
        estate = contoso("a", "b")
        estate.location("b").failing = {"write": OUTAGE}
        await keep(estate.unit(), estate.terms())
        estate.locations["b"].failing = {}
        rows = await keep(estate.unit(), estate.terms())
        assert [row.outcome for row in rows] == [Outcome.FRESH, Outcome.RENEWED]


class TestOthersAtWork:
    def at(self, location: MemoryDestination, stored: GatewayToken | None = DUE) -> Estate:
        estate = contoso("a")
        estate.locations["a"] = location
        if stored:
            estate.deliver("a", stored)
        return estate

    async def test_a_token_that_another_run_wrote_meanwhile_is_left_as_it_is(self) -> None:
        estate = self.at(Intruder(before=FRESH))
        assert ended(await kept(estate)) == (Reason.FRESH, Outcome.FRESH, "")
        assert estate.locations["a"].value == FRESH.header_value().reveal()

    async def test_a_useless_value_written_meanwhile_is_replaced_at_the_second_look(self) -> None:
        estate = self.at(Intruder(before=GONE_BY))
        assert ended(await kept(estate)) == (Reason.EXPIRED, Outcome.RENEWED, "")
        assert len(estate.gateways.issued) == 1

    async def test_a_row_that_is_always_crossed_fails_and_keeps_its_reason(self) -> None:
        estate = self.at(Intruder(before=DUE, times=9))
        row = await kept(estate)
        assert ended(row) == (Reason.IN_RENEWAL_WINDOW, Outcome.FAILED, "write_conflict")
        assert (row.expiry, row.failures) == (DUE.expiry, 1)
        assert estate.locations["a"].value == DUE.header_value().reveal()

    async def test_a_value_that_reads_back_differently_once_is_written_again(self) -> None:
        estate = self.at(Intruder(after="scribble"))
        assert ended(await kept(estate)) == (Reason.UNREADABLE, Outcome.RENEWED, "")
        assert estate.locations["a"].value == NEW.header_value().reveal()

    async def test_a_value_that_never_reads_back_does_not_count_as_delivered(self) -> None:
        estate = self.at(Intruder(after="scribble", times=9))
        row = await kept(estate)
        assert (row.outcome, row.code, row.new_expiry) == (Outcome.FAILED, NotVerified.code, None)

    async def test_a_write_that_the_place_takes_but_does_not_keep_does_not_count_as_delivered(self) -> None:
        class Deaf(MemoryDestination):
            async def write(
                self, token: GatewayToken, ownership: Ownership, stored: StoredToken | None
            ) -> None:
                """Say nothing, and keep the old token."""

        row = await kept(self.at(Deaf("a")))
        assert (row.outcome, row.code, row.new_expiry) == (Outcome.FAILED, "not_verified", None)
        assert row.expiry == DUE.expiry

    async def test_what_is_lost_after_the_write_does_not_count_as_delivered(self) -> None:
        class Sieve(MemoryDestination):
            async def write(
                self, token: GatewayToken, ownership: Ownership, stored: StoredToken | None
            ) -> None:
                await super().write(token, ownership, stored)
                self.value = None

        row = await kept(self.at(Sieve("a"), stored=None))
        assert (row.outcome, row.code) == (Outcome.FAILED, "not_verified")


class TestRestarts:
    async def test_a_new_token_is_followed_by_a_restart(self, estate: Estate) -> None:
        location = estate.location("a", restartable=True)
        assert ended(await kept(estate)) == (Reason.NOT_STORED, Outcome.RENEWED, "")
        assert (location.calls[-1], location.running) == ("restart", NEW.fingerprint)

    async def test_a_token_that_did_not_change_restarts_nothing(self, estate: Estate) -> None:
        location = estate.deliver("a", NEW)
        location.restartable, location.running = True, NEW.fingerprint
        await kept(estate, renew_by=FOREVER)
        assert "restart" not in location.calls

    @pytest.mark.parametrize(
        ("failure", "code"),
        [
            (RestartFailed("a", "it did not come up"), "restart_failed"),
            (AzureForbidden("Patching", AzureFacts(403), "patch", "deployment"), "azure_forbidden"),
        ],
    )
    async def test_delivered_but_not_restarted_is_its_own_outcome(
        self,
        estate: Estate,
        failure: GatewayTokensError,
        code: str,
    ) -> None:
        location = estate.location("a", restartable=True)
        location.failing = {"restart": failure}
        row = await kept(estate)
        assert ended(row) == (Reason.NOT_STORED, Outcome.NOT_RESTARTED, code)
        assert (row.new_expiry, row.failures, row.error) == (IN_30_DAYS, 1, str(failure))

    async def test_the_next_run_restarts_what_was_not_and_issues_nothing(self, estate: Estate) -> None:
        location = estate.deliver("a", FRESH)
        location.restartable = True
        assert ended(await kept(estate)) == (Reason.NOT_RESTARTED, Outcome.RESTARTED, "")
        assert (location.running, estate.gateways.issued) == (FRESH.fingerprint, [])

    async def test_a_token_that_was_not_picked_up_is_restarted_into(self, estate: Estate) -> None:
        location = estate.deliver("a", FRESH)
        location.restartable, location.running = True, FRESH.fingerprint
        assert ended(await kept(estate, picked_up=False)) == (Reason.NOT_PICKED_UP, Outcome.RESTARTED, "")
        assert location.calls == ["read", "restart"]

    async def test_a_token_that_was_not_picked_up_is_reported_where_nothing_can_be_restarted(
        self, estate: Estate
    ) -> None:
        estate.deliver("a", FRESH)
        row = await kept(estate, picked_up=False)
        assert ended(row) == (Reason.NOT_PICKED_UP, Outcome.NOT_PICKED_UP, "")


class TestLook:
    async def test_shows_what_would_be_done_and_does_nothing(self) -> None:
        estate = contoso("a", "b", "c")
        estate.deliver("a", DUE)
        estate.deliver("b", FRESH).restartable = True
        rows = await look(estate.unit(), estate.terms())
        assert [(row.action, row.reason, row.outcome) for row in rows] == [
            (Action.RENEW, Reason.IN_RENEWAL_WINDOW, None),
            (Action.RESTART, Reason.NOT_RESTARTED, None),
            (Action.RENEW, Reason.NOT_STORED, None),
        ]
        assert {call for location in estate.locations.values() for call in location.calls} == {"read"}
        assert estate.gateways.issued == []

    async def test_a_place_that_cannot_be_read_is_a_row_and_no_further_failure(self) -> None:
        estate = contoso("a", "b")
        estate.location("a").failing = {"read": OUTAGE}
        troubles = {"contoso/edge-01 -> https://memory.example/secrets/a": a_trouble(2, NOW - HOUR)}
        failed, other = await look(estate.unit(), estate.terms(troubles=troubles))
        assert ended(failed) == (Reason.NOT_OBSERVED, Outcome.FAILED, "azure_unavailable")
        assert (failed.failures, failed.last_failure) == (2, NOW - HOUR)
        assert other.reason is Reason.NOT_STORED

    async def test_tells_how_often_a_row_failed(self, estate: Estate) -> None:
        estate.deliver("a", DUE)
        troubles = {"contoso/edge-01 -> https://memory.example/secrets/a": a_trouble(2, NOW - 3 * HOUR)}
        (row,) = await look(estate.unit(), estate.terms(troubles=troubles))
        assert (row.failures, row.last_failure, row.reason) == (2, NOW - 3 * HOUR, Reason.IN_RENEWAL_WINDOW)
