"""Whose value it is: a live token of this very gateway is kept, whoever wrote it; changes that can wait are staged."""

import itertools
from collections import Counter
from datetime import timedelta

import pytest

from gateway_tokens.errors import WriteConflict
from gateway_tokens.renewal.reader import RunOptions, Slots
from gateway_tokens.renewal.report import ServiceReport
from gateway_tokens.renewal.rows import Demand, Observed
from gateway_tokens.renewal.service import ServiceRun
from gateway_tokens.stored import Ownership, Restart, Running, StoredToken
from gateway_tokens.tokens import GatewayToken, KeyType, ServiceId
from tests.fakes import MemoryDestination
from tests.renewal_estate import (
    CONTOSO,
    DAY,
    HOUR,
    IN_30_DAYS,
    NOW,
    OUTAGE,
    Estate,
    a_token,
    contoso,
    kept,
    lines,
)

HOME = "contoso-edge-01"
FAR = NOW + 25 * DAY


def written_by_hand(token: GatewayToken, **rule: object) -> tuple[Estate, MemoryDestination]:
    """One gateway whose location holds a token that a person wrote."""
    estate = contoso(**rule)
    location = estate.location(HOME, restartable=True)
    location.put(token.header_value().reveal(), writer="kubectl")
    return estate, location


async def outcome(estate: Estate, **more: object) -> tuple[str, str]:
    """One more run, an hour later: how the row ended, and why."""
    estate.clock.now += HOUR
    await estate.run(**more)
    (row,) = estate.report().rows.values()
    return str(row.outcome), str(row.decision.reason)


class TestALiveToken:
    @pytest.mark.parametrize("key_type", KeyType)
    async def test_is_kept_labelled_with_the_key_that_signs_it_and_restarts_nothing(
        self, key_type: KeyType
    ) -> None:
        token = a_token(FAR, seed=key_type)
        estate, location = written_by_hand(token, keyType=key_type)
        assert await outcome(estate) == ("fresh", "taken_over")
        assert (location.value, location.restarts_begun) == (token.header_value().reveal(), 0)
        ownership = Ownership.from_tags(location.tags)
        assert ownership is not None
        assert (ownership.key_type, ownership.taken_over) == (key_type, True)
        asked = len(estate.gateways.issued)
        assert await outcome(estate) == ("fresh", "fresh")
        assert len(estate.gateways.issued) == asked

    async def test_is_renewed_when_it_is_due(self) -> None:
        estate, location = written_by_hand(a_token(NOW + 5 * DAY))
        assert await outcome(estate) == ("restarting", "in_renewal_window")
        ownership = Ownership.from_tags(location.tags)
        assert ownership
        assert not ownership.taken_over

    async def test_of_a_gateway_of_that_name_in_another_service_is_refused_and_asked_about_once_a_day(
        self,
    ) -> None:
        estate, location = written_by_hand(a_token(FAR, seed="fabrikam's key"))
        before = location.value
        assert await outcome(estate) == ("failed", "not_proved")
        assert len(estate.gateways.issued) == 2
        for _ in range(19):
            assert await outcome(estate) == ("failed", "not_proved")
        assert len(estate.gateways.issued) == 2
        for _ in range(20):
            await outcome(estate)
        assert (len(estate.gateways.issued), location.value) == (4, before)

    async def test_that_azure_does_not_prove_is_replaced_under_adopt(self) -> None:
        rule = kept()
        rule["destinations"][0]["adopt"] = True
        service = {"resourceId": str(CONTOSO), "gateways": {"edge-01": rule}}
        estate = Estate({"contoso": service}, {CONTOSO: ("edge-01",)})
        location = estate.location(HOME, restartable=True)
        location.put(a_token(FAR, seed="fabrikam's key").header_value().reveal())
        assert await outcome(estate) == ("restarting", "adopted")

    async def test_is_left_while_azure_does_not_answer(self) -> None:
        estate, location = written_by_hand(a_token(FAR))
        estate.gateways.refused["edge-01"] = OUTAGE
        assert await outcome(estate) == ("failed", "to_be_proved")
        assert location.tags is None
        estate.gateways.refused.clear()
        assert await outcome(estate) == ("fresh", "taken_over")

    async def test_in_another_form_is_written_in_the_right_one_and_not_issued_anew(self) -> None:
        token = a_token(FAR)
        estate, location = written_by_hand(token)
        location.put(f"{token.value.reveal()}\n", writer="kubectl")
        assert await outcome(estate) == ("fresh", "taken_over")
        assert await outcome(estate) == ("restarting", "wrong_form")
        assert location.value == token.header_value().reveal()
        assert await outcome(estate) == ("fresh", "fresh")
        assert {expiry for _, _, expiry in estate.gateways.issued} == {FAR}

    async def test_is_planned_to_be_proved_without_a_question(self) -> None:
        estate, location = written_by_hand(a_token(FAR))
        run = ServiceRun("contoso", RunOptions(estate.app, Demand(estate.clock()), "caller"), ServiceReport())
        await run.plan([estate.gateway()])
        assert [row.decision.action for row in run.rows.values()] == ["prove"]
        assert (location.calls, estate.gateways.issued) == (["read"], [])


class TestAnotherWriter:
    """Somebody puts an older value back before every run, our ownership beside it."""

    async def twelve_runs(
        self, older: GatewayToken
    ) -> tuple[Estate, MemoryDestination, set[tuple[str, str]]]:
        estate = contoso()
        location = estate.location(HOME, restartable=True)
        await estate.run()
        estate.clock.now += HOUR
        await estate.run()
        ended = set()
        for _ in range(12):
            location.put(older.header_value().reveal(), location.tags, writer="flux")
            ended.add(await outcome(estate))
        return estate, location, ended

    async def test_a_live_one_is_left_and_told_with_the_writers_name(self) -> None:
        estate, location, ended = await self.twelve_runs(a_token(NOW + 20 * DAY))
        assert ended == {("failed", "write_conflict")}
        (row,) = estate.report().rows.values()
        assert row.failure
        assert row.failure.code == "write_conflict"
        assert "flux" in row.failure.text
        assert location.restarts_begun == 1

    async def test_one_at_risk_is_replaced_by_the_very_token_that_was_issued_before(self) -> None:
        estate, location, ended = await self.twelve_runs(a_token(NOW + DAY))
        assert ended == {("failed", "write_conflict")}
        assert location.restarts_begun == 1
        assert {expiry for _, _, expiry in estate.gateways.issued} == {IN_30_DAYS}

    async def test_a_write_that_comes_first_while_it_is_replaced_is_planned_anew_in_the_same_run(
        self,
    ) -> None:
        estate = contoso()
        location = estate.location(HOME)
        await estate.run()
        ours = location.value
        location.put(a_token(NOW + DAY).header_value().reveal(), location.tags, writer="flux")
        location.failing_once = {"write": WriteConflict(HOME, "somebody wrote")}
        assert await outcome(estate) == ("failed", "write_conflict")
        assert location.value == ours

    async def test_a_live_one_that_stays_is_taken_over_after_a_day(self) -> None:
        estate, location, _ = await self.twelve_runs(a_token(NOW + 20 * DAY))
        ended = {await outcome(estate) for _ in range(12)}
        assert ended == {("failed", "write_conflict"), ("fresh", "taken_over"), ("fresh", "fresh")}
        assert location.restarts_begun == 1


class TestStaged:
    def an_estate(self, count: int = 5, *, restartable: bool = True, **rule: object) -> Estate:
        names = [f"edge-{n}" for n in range(count)]
        service = {"resourceId": str(CONTOSO), "gateways": {"*": kept(**rule)}}
        estate = Estate({"contoso": service}, {CONTOSO: names})
        for name in names:
            location = estate.location(f"contoso-{name}", restartable=restartable)
            estate.deliver(f"contoso-{name}", a_token(FAR, name), f"contoso-apim/{name}")
            location.running = location.asked = str((location.tags or {})["fingerprint"])
            location.slow = True
        estate.clock.now += 2 * HOUR
        return estate

    async def counts(self, estate: Estate) -> dict[str, int]:
        found: dict[str, int] = {}
        for row in await estate.run():
            found[row["outcome"]] = found.get(row["outcome"], 0) + 1
        estate.clock.now += HOUR
        return found

    async def test_another_key_is_taken_by_two_gateways_at_a_time(self) -> None:
        estate = self.an_estate(keyType="secondary")
        assert await self.counts(estate) == {"restarting": 2, "waiting": 3}
        assert await self.counts(estate) == {"restarting": 2, "waiting": 3}
        for location in estate.locations.values():
            location.running = location.asked
        assert await self.counts(estate) == {"fresh": 2, "restarting": 2, "waiting": 1}

    @pytest.mark.slow
    async def test_three_hundred_gateways_take_another_key_two_of_each_service_at_a_time(self) -> None:
        ids = {f"svc{n}": ServiceId(CONTOSO.subscription_id, "rg-apis", f"svc{n}-apim") for n in range(12)}
        names = [f"edge-{n}" for n in range(25)]
        rule = {"gateways": {"*": kept(keyType="secondary")}}
        estate = Estate(
            {name: {"resourceId": str(service), **rule} for name, service in ids.items()},
            dict.fromkeys(ids.values(), names),
        )
        for service, name in itertools.product(ids, names):
            location = estate.location(f"{service}-{name}", restartable=True)
            estate.deliver(f"{service}-{name}", a_token(FAR, name), f"{service}-apim/{name}")
            location.running = location.asked = str((location.tags or {})["fingerprint"])
            location.slow = True
        estate.clock.now += 2 * HOUR
        most = 0
        for _ in range(14):
            await estate.run()
            rolling = [(at, place) for at, place in estate.locations.items() if place.running != place.asked]
            most = max(most, *Counter(at.partition("-")[0] for at, _ in rolling).values(), 0)
            for _, place in rolling:
                place.running = place.asked
            estate.clock.now += HOUR
        assert most == 2
        assert {place.restarts_begun for place in estate.locations.values()} == {1}

    async def test_what_is_due_in_the_same_run_takes_places_before_it(self) -> None:
        estate = self.an_estate(restartable=False, keyType="secondary")
        for name in ("edge-0", "edge-1"):
            estate.deliver(f"contoso-{name}", a_token(NOW + 5 * DAY, name), f"contoso-apim/{name}")
        assert await self.counts(estate) == {"renewed": 2, "waiting": 3}

    async def test_one_that_waits_is_planned_to_wait_and_names_those_it_waits_for(self) -> None:
        estate = self.an_estate(3, keyType="secondary")
        run = ServiceRun("contoso", RunOptions(estate.app, Demand(estate.clock()), "caller"), ServiceReport())
        await run.plan(await run.gateways(estate.app.settings.estate.services["contoso"], lambda _: True))
        *first, last = sorted(run.rows.values(), key=lambda row: row.decision.action == "wait")
        assert [row.decision.action for row in (*first, last)] == ["renew", "renew", "wait"]
        assert all(row.id.ref.gateway in last.decision.message for row in first)

    async def test_where_the_reader_cannot_be_seen_two_values_a_pause_are_written(self) -> None:
        estate = self.an_estate(restartable=False, keyType="secondary")
        assert await self.counts(estate) == {"renewed": 2, "waiting": 3}
        estate.clock.now -= timedelta(minutes=30)
        assert await self.counts(estate) == {"fresh": 2, "waiting": 3}
        estate.clock.now += timedelta(minutes=31)
        assert await self.counts(estate) == {"fresh": 2, "renewed": 2, "waiting": 1}

    def test_where_the_pods_may_not_be_listed_a_place_is_held_by_the_time_of_issue(self) -> None:
        gateway = contoso().gateway()
        token = a_token(FAR)
        ownership = Ownership(gateway.owner, KeyType.PRIMARY, NOW, FAR).of(token.header_value())
        for restart in (Restart(Running.UNVERIFIED), Restart(Running.OLD, blind=True)):
            stored = StoredToken(token.header_value(), token, ownership, restart=restart)
            for since, held in ((NOW - HOUR, True), (NOW, False)):
                slots = Slots(since)
                slots.seen(Observed(gateway, gateway.rule.destinations[0], stored))
                assert bool(slots.holders) is held

    async def test_what_is_due_waits_for_nobody(self) -> None:
        estate = self.an_estate(keyType="secondary")
        estate.clock.now = FAR - 5 * DAY
        assert await self.counts(estate) == {"restarting": 5}

    async def test_what_is_asked_for_waits_for_nobody(self) -> None:
        estate = self.an_estate(keyType="secondary")
        assert {row["outcome"] for row in await estate.run(force=True)} == {"restarting"}


async def test_a_paused_gateway_is_left_alone_and_told_near_its_expiry(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = {"resourceId": str(CONTOSO), "gateways": {"edge-01": kept(renew=False), "edge-02": kept()}}
    estate = Estate({"contoso": service}, {CONTOSO: ("edge-01", "edge-02")})
    location = estate.deliver(HOME, a_token(NOW + DAY))
    await estate.run()
    assert location.calls == ["read"]
    (line,) = [line for line in lines(caplog, "run.row") if line["gateway"] == "edge-01"]
    assert (line["outcome"], line["reason"], line["atRisk"]) == ("paused", "paused", True)
    location.failing = {"read": OUTAGE}
    await estate.run()
    assert estate.report().summary(NOW)["failed"] == "0"


async def test_a_gateway_made_anew_has_what_was_issued_before_renewed() -> None:
    estate = contoso()
    estate.deliver(HOME, a_token(FAR))
    estate.clock.now += 2 * HOUR
    for issued_before, outcome_ in ((NOW, "fresh"), (NOW + HOUR, "renewed")):
        (row,) = await estate.renew(Demand(estate.clock(), issued_before=issued_before))
        assert row.outcome == outcome_
