"""Alive, not merely unexpired: once a day Azure is asked for each stored token again, and not believed when too many differ."""

import asyncio
from datetime import datetime

import pytest

from gateway_tokens.azure.reports import Entry
from gateway_tokens.errors import WriteConflict
from gateway_tokens.renewal import alive
from gateway_tokens.renewal.alive import is_stopped
from gateway_tokens.renewal.health import problems_of
from gateway_tokens.renewal.run import SCHEDULE
from gateway_tokens.tokens import GatewayToken, KeyType, ServiceId, written
from tests.renewal_estate import CONTOSO, DAY, HOUR, NOW, OUTAGE, Estate, FakeGateways, a_token, kept, lines

FAR = NOW + 29 * DAY


class RegeneratedKeys(FakeGateways):
    """API Management where the keys of `regenerated` gateways are others now; `form` changes every answer."""

    regenerated: frozenset[str] = frozenset()
    form = ""

    async def generate_token(
        self, service: ServiceId, gateway: str, key_type: KeyType, expiry: datetime
    ) -> GatewayToken:
        await super().generate_token(service, gateway, key_type, expiry)
        self.form = f"{self.form}." if self.form else ""
        seed = "new" if gateway in self.regenerated else ""
        return a_token(expiry, gateway, f"{key_type}{seed}{self.form}")


def many(count: int, rule: dict[str, object] | None = None, **more: object) -> Estate:
    """One service of so many gateways, each with a token of its own that is far from due."""
    names = [f"edge-{n:03}" for n in range(count)]
    service = {"resourceId": str(CONTOSO), "gateways": {"*": kept(**(rule or {}))}}
    estate = Estate({"contoso": service}, {CONTOSO: names}, **more)
    estate.gateways.__class__ = RegeneratedKeys
    for name in names:
        estate.deliver(f"contoso-{name}", a_token(FAR, name), f"contoso-apim/{name}")
    estate.clock.now += DAY
    return estate


def regenerate(estate: Estate, count: int) -> None:
    assert isinstance(estate.gateways, RegeneratedKeys)
    estate.gateways.regenerated = frozenset(f"edge-{n:03}" for n in range(count))


async def by_schedule(estate: Estate) -> int:
    """A run of the timer, an hour later; how many tokens it asked Azure for."""
    estate.clock.now += HOUR
    before = len(estate.gateways.issued)
    await estate.run(asked_by=SCHEDULE)
    return len(estate.gateways.issued) - before


def reasons(estate: Estate) -> dict[str, str]:
    return {row.id.ref.gateway: str(row.decision.reason) for row in estate.report().rows.values()}


class TestOnceADay:
    async def test_every_stored_token_is_asked_about_once_in_twenty_hours(self) -> None:
        estate = many(3)
        assert [await by_schedule(estate) for _ in range(22)] == [3, *[0] * 20, 3]

    async def test_a_token_that_was_just_delivered_is_not_asked_about(self) -> None:
        estate = many(1)
        estate.clock.now += HOUR
        await estate.run(force=True)
        assert await by_schedule(estate) == 0

    async def test_a_lost_report_costs_a_question(self) -> None:
        estate = many(1)
        await by_schedule(estate)
        estate.reports.texts.clear()
        assert await by_schedule(estate) == 1

    async def test_a_time_ahead_in_the_report_is_taken_for_now(self) -> None:
        estate = many(1)
        await by_schedule(estate)
        report = estate.reports.texts["reports/contoso.json"]
        asked_at = f'"askedAt": "{written(estate.clock.now)}"'
        assert asked_at in report
        estate.reports.texts["reports/contoso.json"] = report.replace(
            asked_at, '"askedAt": "2999-01-01T00:00:00Z"'
        )
        assert [await by_schedule(estate) for _ in range(22)].count(1) == 1

    async def test_a_run_that_a_caller_asks_for_asks_nothing(self) -> None:
        estate = many(3)
        await estate.run()
        assert estate.gateways.issued == []

    async def test_a_run_asks_about_the_oldest_first_and_no_more_than_its_share(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(alive, "MOST_ASKED", 2)
        estate = many(3)
        assert [await by_schedule(estate) for _ in range(3)] == [2, 1, 0]

    async def test_what_azure_does_not_answer_is_asked_again_at_the_next_run(self) -> None:
        estate = many(1)
        estate.gateways.refused["edge-000"] = OUTAGE
        await by_schedule(estate)
        assert reasons(estate) == {"edge-000": "fresh"}
        estate.gateways.refused.clear()
        assert await by_schedule(estate) == 1

    async def test_a_value_that_is_refused_is_not_asked_about(self, caplog: pytest.LogCaptureFixture) -> None:
        estate = many(4)
        for location in estate.locations.values():
            location.tags = {**(location.tags or {}), "gateway": "fabrikam-apim/edge-01"}
        assert await by_schedule(estate) == 0
        assert {row["code"] for row in estate.rows()} == {"not_owned"}
        assert lines(caplog, "alive.stopped") == []

    async def test_a_token_that_another_run_replaced_in_the_meantime_is_not_asked_about(self) -> None:
        estate = many(1)
        estate.clock.now = FAR - 2 * DAY
        location = estate.locations["contoso-edge-000"]
        renewed = a_token(FAR + 20 * DAY, "edge-000")

        async def write_too_late(*_: object) -> None:
            estate.deliver("contoso-edge-000", renewed, "contoso-apim/edge-000")
            raise WriteConflict(location.location, "another run was faster.")

        location.write = write_too_late  # type: ignore[method-assign, assignment]
        await by_schedule(estate)
        assert [expiry for *_, expiry in estate.gateways.issued] == [estate.clock.now + 30 * DAY - HOUR]

    async def test_it_can_be_switched_off(self) -> None:
        estate = many(3, checkAlive=False)
        assert await by_schedule(estate) == 0

    async def test_a_check_that_is_cut_off_is_told(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = many(1)

        async def late(_: object) -> None:
            await asyncio.sleep(0)
            raise TimeoutError

        monkeypatch.setattr(alive.AliveCheck, "carry_out", late)
        await by_schedule(estate)
        assert len(lines(caplog, "alive.cut_off")) == len(lines(caplog, "run.completed")) == 1


class TestDead:
    async def test_a_token_whose_key_was_regenerated_is_renewed(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = many(20)
        regenerate(estate, 2)
        await by_schedule(estate)
        assert [name for name, reason in reasons(estate).items() if reason == "dead"] == [
            "edge-000",
            "edge-001",
        ]
        assert estate.locations["contoso-edge-000"].value != a_token(FAR, "edge-000").header_value().reveal()
        (line,) = lines(caplog, "alive.checked")
        assert (line["asked"], line["dead"], line["gateways"]) == (
            20,
            2,
            "contoso/edge-000, contoso/edge-001",
        )
        (run,) = lines(caplog, "run.completed")
        assert (run["rows"], run["renewed"], run["fresh"]) == (20, 2, 18)
        assert await by_schedule(estate) == 0

    async def test_is_found_though_its_workload_cannot_be_restarted(self) -> None:
        estate = many(1)
        estate.location("contoso-edge-000", restartable=True).failing["restart"] = OUTAGE
        await by_schedule(estate)
        assert reasons(estate) == {"edge-000": "restart_due"}
        regenerate(estate, 1)
        estate.clock.now += 20 * HOUR
        await by_schedule(estate)
        assert reasons(estate) == {"edge-000": "dead"}

    async def test_is_found_though_it_waits_for_a_place(self) -> None:
        estate = many(3, {"keyType": "secondary"})
        regenerate(estate, 3)
        await by_schedule(estate)
        assert sorted(reasons(estate).values()) == ["dead", "wrong_key", "wrong_key"]

    async def test_is_renewed_though_somebody_writes_in_between(self) -> None:
        estate = many(1)
        regenerate(estate, 1)
        location = estate.locations["contoso-edge-000"]
        location.failing_once["write"] = WriteConflict("memory", "another writer changed it")
        await by_schedule(estate)
        assert (reasons(estate), location.calls.count("write")) == ({"edge-000": "dead"}, 2)

    async def test_is_tried_again_at_the_next_run_when_it_could_not_be_renewed(self) -> None:
        estate = many(1)
        regenerate(estate, 1)
        location = estate.locations["contoso-edge-000"]
        location.failing_once["write"] = OUTAGE
        outcomes = []
        for _ in range(2):
            await by_schedule(estate)
            outcomes += [
                (str(row.outcome), str(row.decision.reason)) for row in estate.report().rows.values()
            ]
        assert outcomes == [("failed", "dead"), ("renewed", "dead")]

    @pytest.mark.parametrize(
        ("asked", "dead", "stopped"),
        [(3, 3, False), (4, 4, True), (40, 4, False), (39, 4, True), (1000, 100, False), (1000, 101, True)],
    )
    def test_more_than_three_and_more_than_a_tenth_are_not_believed(
        self,
        asked: int,
        dead: int,
        stopped: bool,  # noqa: FBT001
    ) -> None:
        assert is_stopped(asked, dead, steady=True) is stopped
        assert is_stopped(asked, dead, steady=False)


class TestTheBrake:
    def problems(self, estate: Estate) -> list[str]:
        now = estate.clock()
        summary = estate.report().summary(now)
        entries = [Entry("runs/x", now, {}), Entry("reports/contoso.json", now, summary)]
        return [problem.code for problem in problems_of(estate.app.settings.estate, entries, HOUR, now)]

    async def test_when_many_differ_nothing_is_renewed_and_it_is_told_until_a_check_is_well(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = many(20)
        regenerate(estate, 20)
        for _ in range(2):
            await by_schedule(estate)
            assert self.problems(estate) == ["alive_check_stopped"]
        assert [line["level"] for line in lines(caplog, "alive.stopped")] == ["ERROR"] * 2
        await estate.run()
        assert self.problems(estate) == ["alive_check_stopped"]
        assert estate.locations["contoso-edge-000"].value == a_token(FAR, "edge-000").header_value().reveal()
        regenerate(estate, 0)
        await by_schedule(estate)
        assert self.problems(estate) == []
        assert {row["outcome"] for row in estate.rows()} == {"fresh"}
        last = {line["gateway"]: line["outcome"] for line in lines(caplog, "run.row")}
        assert (len(last), set(last.values())) == (20, {"fresh"})

    async def test_somebody_who_says_force_ends_it(self) -> None:
        estate = many(20)
        regenerate(estate, 20)
        await by_schedule(estate)
        await estate.run(force=True)
        assert self.problems(estate) == []
        assert await by_schedule(estate) == 0

    async def test_answers_that_do_not_repeat_are_not_believed(self) -> None:
        estate = many(20)
        assert isinstance(estate.gateways, RegeneratedKeys)
        estate.gateways.form = "."
        await by_schedule(estate)
        assert self.problems(estate) == ["alive_check_stopped"]
        assert estate.locations["contoso-edge-000"].calls.count("write") == 0
