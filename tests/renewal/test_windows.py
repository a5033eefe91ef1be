"""What waits, and for what: windows, freezes, pauses, and places; what never does, and which windows are accepted."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise, takewhile
from typing import Any

import pytest

from gateway_tokens.errors import SettingsInvalid
from gateway_tokens.estate.schedule import (
    Window,
    is_open,
    longest_for,
    longest_gap,
    longest_pause,
    next_run,
)
from gateway_tokens.renewal.reader import Slots
from gateway_tokens.renewal.rows import Demand, Observed
from gateway_tokens.stored import Ownership, Restart, Running, StoredToken
from gateway_tokens.tokens import KeyType
from tests.fakes import MemoryDestination
from tests.renewal_estate import (
    CONTOSO,
    DAY,
    FABRIKAM,
    HOME,
    HOUR,
    MINUTE,
    NOW,
    OUTAGE,
    Estate,
    a_token,
    contoso,
    holding,
    kept,
)
from tests.samples import occurrences

HOURLY = "0 0 * * * *"
# NOW is a Sunday at noon: this one is shut until ten in the evening.
NIGHT = {"from": "22:00", "to": "23:30"}
DUE, AT_RISK, FAR, BEFORE = NOW + 9 * DAY, NOW + 4 * DAY, NOW + 20 * DAY, NOW - 30 * DAY
OPENS, ENDS_WAIT = NOW + 10 * HOUR, DUE - 5 * DAY
FREEZE = {"from": "2026-02-27T00:00:00Z", "to": "2026-03-13T00:00:00Z", "reason": "Year end"}
PAUSE = {"until": "2026-03-02T12:00:00Z", "reason": "Moves to another plant"}


def window(days: str, begins: str, ends: str, zone: str) -> Window:
    return Window.model_validate({"days": days, "from": begins, "to": ends, "timeZone": zone})


class TestAWindow:
    @pytest.mark.parametrize(
        ("fields", "inside", "outside"),
        [
            # It begins on Thursday and ends on Friday, in winter and in summer.
            (("Mon-Thu", "22:00", "05:00", "Europe/Berlin"), "2026-01-08T21:00", "2026-01-08T20:59"),
            (("Mon-Thu", "22:00", "05:00", "Europe/Berlin"), "2026-01-09T03:59", "2026-01-09T04:00"),
            (("Mon-Thu", "22:00", "05:00", "Europe/Berlin"), "2026-07-09T20:00", "2026-07-10T03:00"),
            (("Fri-Mon", "00:00", "01:00", "UTC"), "2026-01-12T00:30", "2026-01-13T00:30"),
            (("Sat,Wed", "12:00", "00:00", "UTC"), "2026-01-07T23:59", "2026-01-08T00:00"),
            # Offsets of 5:45 and 12:45 or 13:45 hours; a change by half an hour.
            (("Mon", "00:00", "01:00", "Asia/Kathmandu"), "2026-01-04T18:15", "2026-01-04T18:14"),
            (("Mon", "00:00", "01:00", "Pacific/Chatham"), "2026-01-04T10:15", "2026-01-04T10:14"),
            (("Sun", "03:00", "04:00", "Australia/Lord_Howe"), "2026-04-04T16:30", "2026-04-04T16:29"),
            # The clocks are set forward at two, and back at three.
            (("Sun", "02:30", "04:00", "Europe/Berlin"), "2026-03-29T01:30", "2026-03-29T02:00"),
            (("Sun", "02:30", "03:30", "Europe/Berlin"), "2026-10-25T02:29", "2026-10-25T02:30"),
        ],
    )
    def test_is_open_by_the_clocks_of_its_zone(
        self, fields: tuple[str, ...], inside: str, outside: str
    ) -> None:
        opened = [is_open([window(*fields)], datetime.fromisoformat(f"{at}Z")) for at in (inside, outside)]
        assert opened == [True, False]

    def test_that_the_clocks_leave_out_does_not_come_that_day(self) -> None:
        skipped = window("Sun", "02:00", "03:00", "Europe/Berlin")
        after = datetime(2026, 3, 28, tzinfo=UTC)
        assert next_run([skipped], HOURLY, after) == datetime(2026, 4, 5, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("schedule", "windows"),
        [
            (
                HOURLY,
                [("Sat", "10:00", "10:01", "Asia/Kathmandu"), ("Sun", "02:00", "03:00", "Europe/Berlin")],
            ),
            ("0 */20 8-17 * * 1-5", [("Mon-Fri", "12:10", "12:50", "UTC"), ("Wed", "12:00", "18:00", "UTC")]),
            ("0 0 */6 * * *", [("Mon-Sun", "22:00", "07:00", "Australia/Lord_Howe")]),
            (HOURLY, [("Mon-Sun", "00:00", "13:00", "UTC"), ("Mon-Sun", "12:00", "00:30", "UTC")]),
        ],
    )
    def test_counts_the_runs_that_fall_into_it(self, schedule: str, windows: list[tuple[str, ...]]) -> None:
        given_, end = tuple(window(*fields) for fields in windows), datetime(2029, 6, 1, tzinfo=UTC)
        every = takewhile(lambda at: at < end, occurrences(schedule, datetime(2026, 1, 1, tzinfo=UTC)))
        runs = [at for at in every if is_open(given_, at)]
        assert longest_gap(given_, schedule, longest_pause(schedule)) == max(b - a for a, b in pairwise(runs))
        assert longest_for(given_, schedule, 10) >= max(b - a for a, b in zip(runs, runs[10:], strict=False))
        before = runs[7] - timedelta(microseconds=1)
        assert [next_run(given_, schedule, at) for at in (before, runs[7] + MINUTE)] == [runs[7], runs[8]]


class TestAFault:
    def only(self, **settings: Any) -> str:  # noqa: ANN401 - of `contoso`
        with pytest.raises(SettingsInvalid) as raised:
            contoso(**settings)
        (fault,) = raised.value.faults
        return f"{fault.path} {fault.message}"

    def test_is_a_window_that_comes_too_seldom_with_the_arithmetic(self) -> None:
        weekly = [{"days": "Sat", "from": "22:00", "to": "23:00"}]
        message = self.only(windows=weekly)
        assert message.startswith("services.contoso.gateways.edge-01 ")
        assert "two runs in them are up to 7 days, 0:00:00 apart" in message
        assert "due 10 days, 0:00:00 before its end, and 5 days, 0:00:00 before it" in message
        contoso(windows=weekly, riskMargin="P3D")
        assert self.only(windows=weekly, riskMargin="P3DT1S")

    def test_is_a_window_into_which_no_run_falls(self) -> None:
        assert "no run of the schedule falls into" in self.only(windows=[{"from": "22:10", "to": "22:50"}])

    def test_is_a_window_that_moves_a_services_keys_too_slowly(self) -> None:
        def rotating(every: str) -> None:
            rule = kept("{gateway}", windows=[{"from": "22:00", "to": "23:00"}], rotateKeys={"every": every})
            Estate({"contoso": {"resourceId": str(CONTOSO), "gateways": {"*": rule}}}, {})

        rotating("P100D")
        with pytest.raises(SettingsInvalid, match="50 runs fall into their windows within 50 days"):
            rotating("P99D")

    @pytest.mark.parametrize(
        ("field", "value", "expected"),
        [
            ("timeZone", "Europe/Atlantis", "is not a time zone"),
            ("timeZone", "../etc/passwd", "is not a time zone"),
            ("timeZone", "Europe", "is not a time zone"),
            ("days", "Monday", "must be days of the week from Mon to Sun"),
            ("from", "24:00", "must be a time from 00:00 to 23:59"),
            ("to", "22:00", "`from` and `to` are the same time"),
        ],
    )
    def test_is_what_is_no_window(self, field: str, value: str, expected: str) -> None:
        message = self.only(windows=[{**NIGHT, field: value}])
        assert message.startswith("services.contoso.gateways.edge-01.windows[0]")
        assert expected in message

    @pytest.mark.parametrize("to", ["2026-02-26T23:59:59Z", FREEZE["from"]])
    def test_is_a_freeze_that_ends_before_it_begins(self, to: str) -> None:
        assert self.only(freeze=[{**FREEZE, "to": to}]) == "freeze[0] `from` must be before `to`"


async def outcome_at(estate: Estate, at: datetime) -> str:
    (outcome,) = await estate.outcomes(at - estate.clock.now)
    return outcome


class TestWhatIsDue:
    async def test_waits_for_the_window_and_is_delivered_and_restarted_in_it(self) -> None:
        estate = holding(DUE, windows=[NIGHT])
        location = estate.location(HOME, restartable=True)
        row = await estate.renew()
        assert (row.decision.reason, "; due since 2026-02-" in row.decision.message) == (
            "in_renewal_window",
            True,
        )
        assert await outcome_at(estate, OPENS - MINUTE) == "waiting"
        assert location.calls.count("write") == location.restarts_begun == 0
        assert await outcome_at(estate, OPENS) == "restarting"
        assert location.restarts_begun == 1

    @pytest.mark.parametrize(
        ("rule", "awaited"),
        [
            ({"windows": [NIGHT]}, "the window at 2026-03-01 22:00 UTC"),
            ({"freeze": [FREEZE]}, "the end of the freeze (until 2026-03-13 00:00 UTC: Year end)"),
        ],
    )
    async def test_says_what_for_and_does_not_wait_at_risk(self, rule: dict[str, Any], awaited: str) -> None:
        waiting = await holding(NOW + 5 * DAY + MINUTE, **rule).renew()
        assert (waiting.decision.action, waiting.outcome) == ("wait", "waiting")
        assert waiting.decision.message.endswith(f"waits for {awaited}")
        assert await outcome_at(holding(NOW + 5 * DAY, **rule), NOW) == "renewed"

    @pytest.mark.parametrize(
        "more", [{"issued_before": OPENS}, {"expires_before": DUE}, {"key_type": KeyType.SECONDARY}]
    )
    async def test_and_asked_for_is_renewed_and_says_what_was_passed_over(self, more: dict[str, Any]) -> None:
        row = await holding(DUE, windows=[NIGHT]).renew(Demand(NOW, **more))
        assert row.outcome == "renewed"
        assert row.decision.message.endswith("; does not wait for the window at 2026-03-01 22:00 UTC")

    async def test_holds_no_place_of_what_goes_two_gateways_at_a_time_while_it_waits(self) -> None:
        names = ("edge-01", "edge-02", "edge-03")
        gateways: dict[str, Any] = {name: kept(name, keyType="secondary", windows=[NIGHT]) for name in names}
        del gateways["edge-03"]["windows"]
        estate = Estate({"contoso": {"resourceId": str(CONTOSO), "gateways": gateways}}, {CONTOSO: names})
        for name in names:
            estate.deliver(name, a_token(FAR, name), issued_at=BEFORE)
        assert await estate.outcomes() == ["waiting", "waiting", "renewed"]


async def delivered_without_a_restart(expiry: datetime, at: datetime) -> tuple[Estate, MemoryDestination]:
    """A token was replaced, and the restart for it failed."""
    estate = holding(expiry, windows=[NIGHT])
    location = estate.location(HOME, restartable=True)
    location.failing["restart"] = OUTAGE
    assert await outcome_at(estate, at) == "failed"
    location.failing.clear()
    return estate, location


class TestARestart:
    async def test_waits_no_longer_once_what_the_workload_runs_is_at_risk(self) -> None:
        estate, location = await delivered_without_a_restart(DUE, OPENS)
        for at, outcome, at_risk in (
            (ENDS_WAIT - MINUTE, "waiting", "0"),
            (ENDS_WAIT, "restarting", "1"),
            (ENDS_WAIT + HOUR, "fresh", "0"),
        ):
            assert await outcome_at(estate, at) == outcome
            assert estate.report().summary(at)["atrisk"] == at_risk
        assert (location.restarts_begun, len(estate.gateways.issued)) == (1, 1)

    async def test_for_a_value_that_was_urgent_never_waits(self) -> None:
        estate, _ = await delivered_without_a_restart(AT_RISK, NOW)
        assert await outcome_at(estate, NOW + MINUTE) == "restarting"

    async def test_for_a_second_value_is_judged_by_what_the_workload_still_runs(self) -> None:
        estate, location = await delivered_without_a_restart(DUE, OPENS)
        location.failing["restart"] = OUTAGE
        estate.clock.now = OPENS + DAY
        await estate.renew(Demand(OPENS + DAY, expires_before=NOW + 40 * DAY, waits=True))
        ownership = Ownership.from_tags(location.tags)
        assert ownership is not None
        assert (ownership.replaced_expiry, ownership.urgent) == (DUE, False)


class TestAPausedGateway:
    async def test_is_left_alone_until_then_and_says_why(self) -> None:
        estate = holding(AT_RISK, pause=PAUSE)
        row = await estate.renew(Demand(NOW, issued_before=NOW + MINUTE))
        assert (row.decision.reason, row.outcome) == ("paused", "paused")
        assert row.decision.message == "paused until 2026-03-02 12:00 UTC: Moves to another plant"
        assert await outcome_at(estate, NOW + DAY - MINUTE) == "paused"
        assert estate.report().summary(NOW)["atrisk"] == "1"
        assert await outcome_at(estate, NOW + DAY) == "renewed"

    async def test_that_is_never_renewed_is_read_and_has_not_failed_when_it_cannot_be(self) -> None:
        gateways = {"edge-01": kept(renew=False), "edge-02": kept()}
        estate = Estate({"contoso": {"resourceId": str(CONTOSO), "gateways": gateways}}, {CONTOSO: gateways})
        location = estate.deliver(HOME, a_token(FAR))
        assert await estate.outcomes() == ["paused", "renewed"]
        location.failing["read"] = OUTAGE
        assert await estate.outcomes() == ["paused", "fresh"]
        assert (location.calls, estate.report().summary(NOW)["failed"]) == (["read"] * 2, "0")


@pytest.mark.parametrize(("more", "keys"), [({}, 1), ({"freeze": [FREEZE]}, 0), ({"pause": PAUSE}, 0)])
async def test_no_key_is_regenerated_in_a_freeze_or_a_pause(more: dict[str, Any], keys: int) -> None:
    estate = contoso(rotateKeys={"every": "P90D"}, **more)
    estate.deliver(HOME, a_token(FAR, seed="secondary"), KeyType.SECONDARY, key_since=NOW - 40 * DAY)
    await estate.run()
    assert len(estate.gateways.new_keys) == keys


# Changes that can wait go two gateways of a service at a time.


class TestStaged:
    def an_estate(self) -> Estate:
        """Five gateways of each of two services, which are to take another key."""
        ids, names = {"contoso": CONTOSO, "fabrikam": FABRIKAM}, [f"edge-{n}" for n in range(5)]
        rule = kept(keyType="secondary")
        services = {
            name: {"resourceId": str(resource_id), "gateways": {"*": rule}}
            for name, resource_id in ids.items()
        }
        estate = Estate(services, dict.fromkeys(ids.values(), names))
        for service, name in ((service, name) for service in ids for name in names):
            location = estate.location(f"{service}-{name}", restartable=True)
            estate.deliver(f"{service}-{name}", a_token(FAR, name), service=f"{service}-apim")
            location.running = location.asked = location.fingerprint
            location.slow = True
        estate.clock.now += 2 * HOUR
        return estate

    async def test_another_key_is_taken_by_two_gateways_of_each_service_at_a_time(self) -> None:
        estate = self.an_estate()
        for _ in range(2):
            assert Counter(await estate.outcomes(HOUR)) == {"restarting": 4, "waiting": 6}
        for location in estate.locations.values():
            location.running = location.asked
        assert Counter(await estate.outcomes(HOUR)) == {"fresh": 4, "restarting": 4, "waiting": 2}

    async def test_one_that_waits_is_planned_to_wait_and_names_those_it_waits_for(self) -> None:
        rows = await self.an_estate().plan()
        first = [row.id.ref.gateway for row in rows if row.decision.action == "renew"]
        waiting = [row.decision.message for row in rows if row.decision.action == "wait"]
        assert (len(first), len(waiting)) == (2, 3)
        assert all(name in message for name in first for message in waiting)

    async def test_what_is_due_in_the_same_run_takes_places_before_it(self) -> None:
        estate = self.an_estate()
        for service, name in ((s, n) for s in ("contoso", "fabrikam") for n in ("edge-0", "edge-1")):
            estate.deliver(f"{service}-{name}", a_token(NOW + 5 * DAY, name), service=f"{service}-apim")
        assert Counter(await estate.outcomes(HOUR)) == {"restarting": 4, "waiting": 6}

    @pytest.mark.parametrize("restart", [None, Restart(Running.UNVERIFIED), Restart(Running.OLD, blind=True)])
    def test_where_the_reader_is_unseen_the_time_of_issue_holds_a_place(
        self, restart: Restart | None
    ) -> None:
        gateway, value = contoso().gateway(), a_token(FAR).header_value()
        ownership = Ownership(gateway.owner, KeyType.PRIMARY, NOW, FAR).of(value)
        stored = StoredToken(value, a_token(FAR), ownership, restart=restart)
        for since, holds in ((NOW - MINUTE, True), (NOW, False)):
            slots = Slots(since)
            slots.seen(Observed(gateway, gateway.rule.destinations[0], stored))
            assert bool(slots.holders) is holds
