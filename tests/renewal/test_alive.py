"""What Azure is asked about stored tokens: once a day whether each is alive, and whose it is that somebody else wrote."""

from unittest.mock import AsyncMock

import pytest

from gateway_tokens.errors import WriteConflict
from gateway_tokens.renewal import alive
from gateway_tokens.renewal.alive import is_stopped
from gateway_tokens.renewal.run import SCHEDULE
from gateway_tokens.stored import Ownership
from gateway_tokens.tokens import KeyType, written
from tests.fakes import MemoryDestination
from tests.renewal_estate import (
    DAY,
    HOME,
    HOUR,
    IN_30_DAYS,
    NOW,
    OUTAGE,
    Estate,
    Log,
    Patch,
    a_token,
    contoso,
    fleet,
    lines,
)

FAR = NOW + 29 * DAY
FIRST = "contoso-edge-000"


def many(count: int, rule: dict[str, object] | None = None, **more: object) -> Estate:
    """So many gateways, each with a token of its own that is a day old and far from due."""
    estate = fleet(count, rule, **more)
    for n in range(count):
        estate.deliver(f"contoso-edge-{n:03}", a_token(FAR, f"edge-{n:03}"))
    estate.clock.now += DAY
    return estate


def regenerate(estate: Estate, count: int) -> None:
    """Give so many gateways another key, and the others the one that they had."""
    estate.gateways.new_keys = [(f"edge-{n:03}", KeyType.PRIMARY) for n in range(count)]


async def by_schedule(estate: Estate) -> int:
    """A run of the timer, an hour later; how many tokens it asked Azure for."""
    before = len(estate.gateways.issued)
    await estate.run(HOUR, asked_by=SCHEDULE)
    return len(estate.gateways.issued) - before


class TestOnceADay:
    async def test_every_stored_token_is_asked_about_once_in_twenty_hours(self) -> None:
        estate = many(3)
        assert [await by_schedule(estate) for _ in range(22)] == [3, *[0] * 20, 3]

    async def test_a_lost_report_costs_a_question_and_a_time_ahead_in_it_is_taken_for_now(self) -> None:
        estate = many(1)
        await by_schedule(estate)
        estate.reports.texts.clear()
        assert await by_schedule(estate) == 1
        name, asked_at = "reports/contoso.json", f'"askedAt": "{written(estate.clock.now)}"'
        ahead = estate.reports.texts[name].replace(asked_at, '"askedAt": "2999-01-01T00:00:00Z"')
        assert ahead != estate.reports.texts[name]
        estate.reports.texts[name] = ahead
        assert [await by_schedule(estate) for _ in range(22)].count(1) == 1

    async def test_only_a_run_of_the_schedule_asks_unless_it_is_switched_off(self) -> None:
        estate = many(3)
        await estate.run()
        assert estate.gateways.issued == []
        assert await by_schedule(many(3, checkAlive=False)) == 0

    async def test_a_run_asks_about_the_oldest_first_and_no_more_than_its_share(
        self, monkeypatch: Patch
    ) -> None:
        monkeypatch.setattr(alive, "MOST_ASKED", 2)
        estate = many(3)
        assert [await by_schedule(estate) for _ in range(3)] == [2, 1, 0]

    async def test_what_azure_does_not_answer_is_asked_again_at_the_next_run(self) -> None:
        estate = many(1)
        estate.gateways.refused["edge-000"] = OUTAGE
        await by_schedule(estate)
        assert estate.reasons == ["fresh"]
        estate.gateways.refused.clear()
        assert await by_schedule(estate) == 1

    async def test_a_value_that_is_refused_is_not_asked_about(self) -> None:
        estate = many(1)
        location = estate.locations[FIRST]
        location.tags = {**(location.tags or {}), "gateway": "fabrikam-apim/edge-01"}
        assert await by_schedule(estate) == 0
        assert [row.code for row in estate.rows()] == ["not_owned"]

    async def test_a_token_that_another_run_replaced_meanwhile_is_left_and_not_asked_about(self) -> None:
        estate = many(1)
        estate.clock.now = FAR - 2 * DAY

        async def write_too_late(*_: object) -> None:
            estate.deliver(FIRST, a_token(FAR + 20 * DAY, "edge-000"))
            raise WriteConflict(FIRST, "another run was faster.")

        estate.locations[FIRST].write = write_too_late  # type: ignore[method-assign, assignment]
        await by_schedule(estate)
        assert estate.reasons == ["fresh"]
        assert [expiry for *_, expiry in estate.gateways.issued] == [estate.clock.now + 30 * DAY - HOUR]

    async def test_a_check_that_is_cut_off_is_told(self, monkeypatch: Patch, caplog: Log) -> None:
        monkeypatch.setattr(alive.AliveCheck, "carry_out", AsyncMock(side_effect=TimeoutError))
        await by_schedule(many(1))
        assert len(lines(caplog, "alive.cut_off")) == len(lines(caplog, "run.completed")) == 1


class TestDead:
    async def test_a_token_whose_key_was_regenerated_is_renewed(self, caplog: Log) -> None:
        estate = many(20)
        regenerate(estate, 2)
        await by_schedule(estate)
        dead = [row.id.ref.gateway for row in estate.rows() if row.decision.reason == "dead"]
        assert dead == ["edge-000", "edge-001"]
        assert estate.locations[FIRST].value != a_token(FAR, "edge-000").header_value().reveal()
        (line,) = lines(caplog, "alive.checked")
        shown = (line["asked"], line["dead"], line["gateways"])
        assert shown == (20, 2, "contoso/edge-000, contoso/edge-001")
        (run,) = lines(caplog, "run.completed")
        assert (run["rows"], run["renewed"], run["fresh"]) == (20, 2, 18)
        assert await by_schedule(estate) == 0

    async def test_is_found_though_its_workload_cannot_be_restarted(self) -> None:
        estate = many(1)
        estate.location(FIRST, restartable=True).failing["restart"] = OUTAGE
        regenerate(estate, 1)
        await by_schedule(estate)
        assert estate.reasons == ["dead"]

    async def test_is_found_though_it_waits_for_a_place(self) -> None:
        estate = many(3, {"keyType": "secondary"})
        regenerate(estate, 3)
        await by_schedule(estate)
        assert sorted(estate.reasons) == ["dead", "wrong_key", "wrong_key"]

    async def test_is_renewed_though_somebody_writes_in_between_or_at_the_next_run(self) -> None:
        for error, outcomes in (
            (WriteConflict(FIRST, "written"), ["renewed"]),
            (OUTAGE, ["failed", "renewed"]),
        ):
            estate = many(1)
            regenerate(estate, 1)
            estate.locations[FIRST].failing_once["write"] = error
            for outcome in outcomes:
                await by_schedule(estate)
                assert [(row.outcome, row.decision.reason) for row in estate.rows()] == [(outcome, "dead")]

    @pytest.mark.parametrize(
        ("checked", "dead", "stopped"),
        [(3, 3, False), (4, 4, True), (40, 4, False), (39, 4, True), (1000, 100, False), (1000, 101, True)],
    )
    def test_more_than_three_and_more_than_a_tenth_are_not_believed(
        self, checked: int, dead: int, *, stopped: bool
    ) -> None:
        assert is_stopped(checked, dead, steady=True) is stopped
        assert is_stopped(checked, dead, steady=False)


class TestTheBrake:
    async def test_when_many_differ_nothing_is_renewed_and_it_is_told_until_a_check_is_well(
        self, caplog: Log
    ) -> None:
        estate = many(20)
        regenerate(estate, 20)
        for _ in range(2):
            await by_schedule(estate)
            assert estate.problems == ["alive_check_stopped"]
        assert [line["level"] for line in lines(caplog, "alive.stopped")] == ["ERROR"] * 2
        await estate.run()
        assert estate.problems == ["alive_check_stopped"]
        assert "write" not in estate.locations[FIRST].calls
        regenerate(estate, 0)
        await by_schedule(estate)
        assert estate.problems == []
        assert {row.outcome for row in estate.rows()} == {"fresh"}
        last = {line["gateway"]: line["outcome"] for line in lines(caplog, "run.row")}
        assert (len(last), set(last.values())) == (20, {"fresh"})

    async def test_somebody_who_says_force_ends_it(self) -> None:
        estate = many(20)
        regenerate(estate, 20)
        await by_schedule(estate)
        await estate.run(force=True)
        assert estate.problems == []
        assert await by_schedule(estate) == 0

    async def test_answers_that_do_not_repeat_are_not_believed(self) -> None:
        estate = many(20)
        estate.gateways.unsteady = True
        await by_schedule(estate)
        assert estate.problems == ["alive_check_stopped"]
        assert "write" not in estate.locations[FIRST].calls


# A live token of this very gateway is kept, whoever wrote it.


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


class TestALiveToken:
    @pytest.mark.parametrize("key_type", KeyType)
    async def test_is_kept_labelled_with_its_key_and_restarts_nothing(self, key_type: KeyType) -> None:
        estate, location = written_by_hand(key_type, keyType=key_type)
        before = location.value
        assert await outcome(estate) == ("fresh", "taken_over")
        assert (location.value, location.restarts_begun) == (before, 0)
        ownership = Ownership.from_tags(location.tags)
        assert ownership is not None
        assert (ownership.key_type, ownership.taken_over) == (key_type, True)
        issued_before = len(estate.gateways.issued)
        assert await outcome(estate) == ("fresh", "fresh")
        assert len(estate.gateways.issued) == issued_before

    async def test_of_a_namesake_in_another_service_is_refused_and_asked_about_once_a_day(self) -> None:
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
        assert [row.decision.action for row in await estate.plan()] == ["prove"]
        assert (location.calls, estate.gateways.issued) == (["read"], [])


async def test_an_older_token_at_risk_that_is_put_back_is_replaced_by_the_very_one_issued_before() -> None:
    estate, older = contoso(), a_token(NOW + DAY).header_value().reveal()
    location = estate.location(HOME, restartable=True)
    await estate.run()
    for _ in range(3):
        location.put(older, location.tags, writer="flux")
        assert await outcome(estate) == ("failed", "write_conflict")
    assert (location.calls.count("write"), location.restarts_begun) == (4, 1)
    assert {expiry for _, _, expiry in estate.gateways.issued} == {IN_30_DAYS}
