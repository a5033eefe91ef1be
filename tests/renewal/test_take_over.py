"""Whose value it is: a live token of this very gateway is kept, whoever wrote it; changes that can wait are staged."""

from collections import Counter
from datetime import timedelta

import pytest

from gateway_tokens.renewal.reader import RunOptions, Slots
from gateway_tokens.renewal.report import ServiceReport
from gateway_tokens.renewal.rows import Demand, Observed
from gateway_tokens.renewal.service import ServiceRun
from gateway_tokens.stored import Ownership, Restart, Running, StoredToken
from gateway_tokens.tokens import KeyType
from tests.fakes import MemoryDestination
from tests.renewal_estate import (
    CONTOSO,
    DAY,
    FABRIKAM,
    HOME,
    HOUR,
    IN_30_DAYS,
    MINUTE,
    NOW,
    OUTAGE,
    Estate,
    a_token,
    contoso,
    kept,
)

FAR = NOW + 25 * DAY


def written_by_hand(seed: str = "primary", **rule: object) -> tuple[Estate, MemoryDestination]:
    """One gateway whose location holds a token that a person wrote."""
    estate = contoso(**rule)
    location = estate.location(HOME, restartable=True)
    location.put(a_token(FAR, seed=seed).header_value().reveal(), writer="kubectl")
    return estate, location


async def outcome(estate: Estate) -> tuple[str, str]:
    """One more run, an hour later: how the row ended, and why."""
    (row,) = await estate.run(HOUR)
    return str(row.outcome), str(row.decision.reason)


async def planned(estate: Estate) -> ServiceRun:
    """A plan of contoso."""
    run = ServiceRun("contoso", RunOptions(estate.app, Demand(estate.clock()), "caller"), ServiceReport())
    await run.plan(await run.gateways(estate.app.settings.estate.services["contoso"], lambda _: True))
    return run


class TestALiveToken:
    @pytest.mark.parametrize("key_type", KeyType)
    async def test_is_kept_labelled_with_the_key_that_signs_it_and_restarts_nothing(
        self, key_type: KeyType
    ) -> None:
        estate, location = written_by_hand(key_type, keyType=key_type)
        before = location.value
        assert await outcome(estate) == ("fresh", "taken_over")
        assert (location.value, location.restarts_begun) == (before, 0)
        ownership = Ownership.from_tags(location.tags)
        assert ownership is not None
        assert (ownership.key_type, ownership.taken_over) == (key_type, True)
        asked = len(estate.gateways.issued)
        assert await outcome(estate) == ("fresh", "fresh")
        assert len(estate.gateways.issued) == asked

    async def test_of_a_gateway_of_that_name_in_another_service_is_refused_and_asked_about_once_a_day(
        self,
    ) -> None:
        estate, location = written_by_hand("fabrikam's key")
        before = location.value
        for runs, questions in ((20, 2), (20, 4)):
            assert {await outcome(estate) for _ in range(runs)} == {("failed", "not_proved")}
            assert (len(estate.gateways.issued), location.value) == (questions, before)

    async def test_is_left_while_azure_does_not_answer(self) -> None:
        estate, location = written_by_hand()
        estate.gateways.refused["edge-01"] = OUTAGE
        assert await outcome(estate) == ("failed", "to_be_proved")
        assert location.tags is None

    async def test_in_another_form_is_written_in_the_right_one_and_not_issued_anew(self) -> None:
        estate, location = written_by_hand()
        right = str(location.value)
        location.put(f"{right.removeprefix('GatewayKey ')}\n", writer="kubectl")
        assert await outcome(estate) == ("fresh", "taken_over")
        assert await outcome(estate) == ("restarting", "wrong_form")
        assert location.value == right
        assert await outcome(estate) == ("fresh", "fresh")
        assert {expiry for _, _, expiry in estate.gateways.issued} == {FAR}

    async def test_is_planned_to_be_proved_without_a_question(self) -> None:
        estate, location = written_by_hand()
        run = await planned(estate)
        assert [row.decision.action for row in run.rows.values()] == ["prove"]
        assert (location.calls, estate.gateways.issued) == (["read"], [])


async def test_an_older_token_at_risk_that_somebody_puts_back_is_replaced_by_the_very_one_issued_before() -> (
    None
):
    estate, older = contoso(), a_token(NOW + DAY).header_value().reveal()
    location = estate.location(HOME, restartable=True)
    await estate.run()
    for _ in range(3):
        location.put(older, location.tags, writer="flux")
        assert await outcome(estate) == ("failed", "write_conflict")
    assert (location.calls.count("write"), location.restarts_begun) == (4, 1)
    assert {expiry for _, _, expiry in estate.gateways.issued} == {IN_30_DAYS}


class TestStaged:
    def an_estate(self, *, restartable: bool) -> Estate:
        """Five gateways of each of two services, which are to take another key."""
        ids, names = {"contoso": CONTOSO, "fabrikam": FABRIKAM}, [f"edge-{n}" for n in range(5)]
        rule = kept(keyType="secondary")
        services = {name: {"resourceId": str(found), "gateways": {"*": rule}} for name, found in ids.items()}
        estate = Estate(services, dict.fromkeys(ids.values(), names))
        for service, name in ((service, name) for service in ids for name in names):
            location = estate.location(f"{service}-{name}", restartable=restartable)
            estate.deliver(f"{service}-{name}", a_token(FAR, name), service=f"{service}-apim")
            location.running = location.asked = str((location.tags or {})["fingerprint"])
            location.slow = True
        estate.clock.now += 2 * HOUR
        return estate

    async def counts(self, estate: Estate, after: timedelta = HOUR) -> dict[str, int]:
        """How the rows of the next run ended; the same in either service."""
        await estate.run(after)
        first, second = (
            Counter(str(row.outcome) for row in estate.report(name).rows.values())
            for name in ("contoso", "fabrikam")
        )
        assert first == second
        return dict(first)

    async def test_another_key_is_taken_by_two_gateways_of_each_service_at_a_time(self) -> None:
        estate = self.an_estate(restartable=True)
        for _ in range(2):
            assert await self.counts(estate) == {"restarting": 2, "waiting": 3}
        for location in estate.locations.values():
            location.running = location.asked
        assert await self.counts(estate) == {"fresh": 2, "restarting": 2, "waiting": 1}

    async def test_where_the_reader_cannot_be_seen_two_values_a_pause_are_written(self) -> None:
        estate = self.an_estate(restartable=False)
        assert await self.counts(estate) == {"renewed": 2, "waiting": 3}
        assert await self.counts(estate, HOUR - MINUTE) == {"fresh": 2, "waiting": 3}
        assert await self.counts(estate, MINUTE) == {"fresh": 2, "renewed": 2, "waiting": 1}

    async def test_what_is_due_in_the_same_run_takes_places_before_it(self) -> None:
        estate = self.an_estate(restartable=False)
        for service, name in ((s, n) for s in ("contoso", "fabrikam") for n in ("edge-0", "edge-1")):
            estate.deliver(f"{service}-{name}", a_token(NOW + 5 * DAY, name), service=f"{service}-apim")
        assert await self.counts(estate) == {"renewed": 2, "waiting": 3}

    async def test_one_that_waits_is_planned_to_wait_and_names_those_it_waits_for(self) -> None:
        run = await planned(self.an_estate(restartable=True))
        actions = [str(row.decision.action) for row in run.rows.values()]
        assert sorted(actions) == ["renew", "renew", "wait", "wait", "wait"]
        first = [row.id.ref.gateway for row in run.rows.values() if row.decision.action == "renew"]
        waiting = [row.decision.message for row in run.rows.values() if row.decision.action == "wait"]
        assert all(name in message for name in first for message in waiting)

    @pytest.mark.parametrize("restart", [Restart(Running.UNVERIFIED), Restart(Running.OLD, blind=True)])
    def test_where_the_pods_may_not_be_listed_a_place_is_held_by_the_time_of_issue(
        self, restart: Restart
    ) -> None:
        gateway, value = contoso().gateway(), a_token(FAR).header_value()
        ownership = Ownership(gateway.owner, KeyType.PRIMARY, NOW, FAR).of(value)
        stored = StoredToken(value, a_token(FAR), ownership, restart=restart)
        for since, held in ((NOW - MINUTE, True), (NOW, False)):
            slots = Slots(since)
            slots.seen(Observed(gateway, gateway.rule.destinations[0], stored))
            assert bool(slots.holders) is held
