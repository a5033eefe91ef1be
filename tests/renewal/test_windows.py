"""Windows, freezes and pauses: what waits for them, what never does, and which windows are accepted."""

import json
from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from itertools import pairwise, takewhile
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway_tokens.errors import SettingsInvalid
from gateway_tokens.estate.app_settings import AppSettings, read_settings
from gateway_tokens.estate.schedule import (
    FEW_RUNS,
    Calendar,
    Window,
    is_open,
    longest_for,
    longest_gap,
    longest_pause,
    next_run,
)
from gateway_tokens.estate.schema import ManagedGateway
from gateway_tokens.renewal.checks import at_risk_from, decide, due_at
from gateway_tokens.renewal.queues import EventKind, GatewayEvent, react
from gateway_tokens.renewal.rows import Action, Demand, Observed
from gateway_tokens.stored import Ownership, StoredToken
from gateway_tokens.tokens import KeyType, renewal_expiry
from tests.fakes import MemoryDestination
from tests.renewal_estate import CONTOSO, DAY, EDGE, HOUR, MINUTE, NOW, OUTAGE, Estate, a_token, contoso, kept
from tests.samples import occurrences

HOURLY = "0 0 * * * *"
HOME = "contoso-edge-01"
# NOW is a Sunday at noon: this one is shut until ten in the evening.
NIGHT = {"from": "22:00", "to": "23:30"}
DUE, AT_RISK = NOW + 9 * DAY, NOW + 4 * DAY
OPENS = NOW + 10 * HOUR
FREEZE = {"from": "2026-02-27T00:00:00Z", "to": "2026-03-13T00:00:00Z", "reason": "Year end"}


def window(days: str = "Mon-Sun", begins: str = "22:00", ends: str = "05:00", zone: str = "UTC") -> Window:
    document = {"days": days, "from": begins, "to": ends, "timeZone": zone}
    return Window.model_validate_json(json.dumps(document))


def configured(schedule: str = HOURLY, freeze: object = (), **rule: object) -> AppSettings:
    services = {"contoso": {"resourceId": str(CONTOSO), "gateways": {"edge-01": kept(**rule)}}}
    return read_settings(
        {
            "GATEWAY_TOKENS": json.dumps({"services": services, "freeze": freeze}),
            "RENEWAL_SCHEDULE": schedule,
            "ALLOW_FUNCTION_KEYS": "true",
            "STATE_CONTAINER_URL": "https://state.example/app",
        }
    )


def faults_of(schedule: str = HOURLY, freeze: object = (), **rule: object) -> list[tuple[str, str]]:
    with pytest.raises(SettingsInvalid) as raised:
        configured(schedule, freeze, **rule)
    return [(fault.path, fault.message) for fault in raised.value.faults]


class TestAWindow:
    @pytest.mark.parametrize(
        ("one", "inside", "outside"),
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
    def test_is_open_by_the_clocks_of_its_zone(self, one: tuple[str, ...], inside: str, outside: str) -> None:
        opened = [is_open([window(*one)], datetime.fromisoformat(f"{at}Z")) for at in (inside, outside)]
        assert opened == [True, False]

    def test_that_the_clocks_leave_out_does_not_come_that_day(self) -> None:
        skipped = window("Sun", "02:00", "03:00", "Europe/Berlin")
        assert next_run([skipped], HOURLY, datetime(2026, 3, 28, tzinfo=UTC)) == datetime(
            2026, 4, 5, tzinfo=UTC
        )

    @pytest.mark.parametrize(
        ("schedule", "windows"),
        [
            (HOURLY, [("Mon-Thu", "22:00", "05:00", "Europe/Berlin")]),
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
        given_, end = tuple(window(*one) for one in windows), datetime(2029, 6, 1, tzinfo=UTC)
        every = takewhile(lambda at: at < end, occurrences(schedule, datetime(2026, 1, 1, tzinfo=UTC)))
        runs = [at for at in every if is_open(given_, at)]
        assert longest_gap(given_, schedule, longest_pause(schedule)) == max(b - a for a, b in pairwise(runs))
        assert longest_for(given_, schedule, 10) >= max(b - a for a, b in zip(runs, runs[10:], strict=False))
        before = runs[7] - timedelta(microseconds=1)
        assert [next_run(given_, schedule, at) for at in (before, runs[7] + MINUTE)] == [runs[7], runs[8]]


class TestAFault:
    def test_is_a_window_that_comes_too_seldom_with_the_arithmetic(self) -> None:
        weekly = [{"days": "Sat", "from": "22:00", "to": "23:00"}]
        ((path, message),) = faults_of(windows=weekly)
        assert path == "services.contoso.gateways.edge-01"
        assert "two runs in them are up to 7 days, 0:00:00 apart" in message
        assert "due 10 days, 0:00:00 before its end, and 5 days, 0:00:00 before it" in message
        configured(windows=weekly, riskMargin="P3D")
        assert len(faults_of(windows=weekly, riskMargin="P3DT1S")) == 1

    def test_is_a_window_into_which_no_run_falls(self) -> None:
        ((_, message),) = faults_of(windows=[{"from": "22:10", "to": "22:50"}])
        assert message.startswith("no run of the schedule falls into one of its windows")

    def test_is_a_window_that_moves_a_services_keys_too_slowly(self) -> None:
        rule: dict[str, Any] = {"windows": [{"from": "22:00", "to": "23:00"}]}
        services = {"resourceId": str(CONTOSO), "gateways": {"*": kept("{gateway}", **rule)}}
        services["gateways"]["*"]["rotateKeys"] = {"every": "P100D"}  # type: ignore[index]
        Estate({"contoso": services}, {})
        services["gateways"]["*"]["rotateKeys"] = {"every": "P99D"}  # type: ignore[index]
        with pytest.raises(SettingsInvalid, match="50 runs fall into their windows within 50 days"):
            Estate({"contoso": services}, {})

    @pytest.mark.parametrize(
        ("field", "value", "said"),
        [
            ("timeZone", "Europe/Atlantis", "is not a time zone"),
            ("timeZone", "../etc/passwd", "is not a time zone"),
            ("timeZone", "Europe", "is not a time zone"),
            ("days", "Monday", "must be days of the week from Mon to Sun"),
            ("from", "24:00", "must be a time from 00:00 to 23:59"),
            ("to", "22:00", "`from` and `to` are the same time"),
        ],
    )
    def test_is_what_is_no_window(self, field: str, value: str, said: str) -> None:
        ((path, message),) = faults_of(windows=[{**NIGHT, field: value}])
        assert path.startswith("services.contoso.gateways.edge-01.windows[0]")
        assert said in message

    def test_is_a_freeze_that_ends_before_it_begins(self) -> None:
        for to in ("2026-02-26T23:59:59Z", FREEZE["from"]):
            assert faults_of(freeze=[{**FREEZE, "to": to}]) == [("freeze[0]", "`from` must be before `to`")]


async def outcome_at(estate: Estate, at: datetime) -> str:
    estate.clock.now = at
    (row,) = await estate.run()
    return str(row["outcome"])


class TestWhatIsDue:
    async def test_waits_for_the_window_and_is_delivered_and_restarted_in_it(self) -> None:
        estate = contoso(windows=[NIGHT])
        location = estate.deliver(HOME, a_token(DUE))
        estate.location(HOME, restartable=True)
        (row,) = await estate.renew()
        assert (row.decision.action, row.decision.reason, row.outcome) == (
            "wait",
            "in_renewal_window",
            "waiting",
        )
        assert "; due since 2026-02-" in row.decision.message
        assert row.decision.message.endswith("waits for the window at 2026-03-01 22:00 UTC")
        assert await outcome_at(estate, OPENS - MINUTE) == "waiting"
        assert location.calls.count("write") == location.restarts_begun == 0
        assert await outcome_at(estate, OPENS) == "restarting"
        assert location.restarts_begun == 1

    async def test_does_not_wait_once_it_is_at_risk(self) -> None:
        for expiry, outcome in ((NOW + 5 * DAY + MINUTE, "waiting"), (NOW + 5 * DAY, "renewed")):
            estate = contoso(windows=[NIGHT])
            estate.deliver(HOME, a_token(expiry))
            assert await outcome_at(estate, NOW) == outcome

    async def test_waits_for_the_end_of_a_freeze_though_the_window_is_open(self) -> None:
        estate = contoso(freeze=[FREEZE])
        estate.deliver(HOME, a_token(DUE))
        (row,) = await estate.renew()
        assert (row.decision.action, row.outcome) == ("wait", "waiting")
        assert row.decision.message.endswith("the end of the freeze (until 2026-03-13 00:00 UTC: Year end)")
        assert await outcome_at(estate, DUE - 5 * DAY - MINUTE) == "waiting"
        assert await outcome_at(estate, DUE - 5 * DAY) == "renewed"

    async def test_and_asked_for_by_a_caller_is_renewed_and_says_what_was_passed_over(self) -> None:
        for demand in (
            Demand(NOW, issued_before=NOW),
            Demand(NOW, expires_before=DUE),
            Demand(NOW, key_type=KeyType.SECONDARY),
        ):
            estate = contoso(windows=[NIGHT])
            estate.deliver(HOME, a_token(DUE)).tags = {
                **(estate.location(HOME).tags or {}),
                "issued-at": "2026-02-01T00:00:00Z",
            }
            (row,) = await estate.renew(demand)
            assert row.outcome == "renewed"
            assert row.decision.message.endswith("; does not wait for the window at 2026-03-01 22:00 UTC")

    async def test_and_asked_for_by_an_event_waits(self) -> None:
        estate = contoso(windows=[NIGHT])
        estate.deliver(HOME, a_token(NOW + 20 * DAY))
        event = GatewayEvent(EventKind.TOKEN_NEAR_EXPIRY, CONTOSO, "edge-01", "", NOW, NOW + 20 * DAY)
        await react(estate.app, event)
        assert estate.rows()[0]["outcome"] == "waiting"

    async def test_of_a_gateway_that_was_made_anew_waits_only_while_its_token_is_alive(self) -> None:
        for regenerated, outcome in ((False, "waiting"), (True, "renewed")):
            estate = contoso(windows=[NIGHT])
            estate.deliver(HOME, a_token(NOW + 20 * DAY))
            if regenerated:
                estate.gateways.new_keys.append(("edge-01", KeyType.PRIMARY))
            await react(estate.app, GatewayEvent(EventKind.CREATED, CONTOSO, "edge-01", "", NOW + HOUR, NOW))
            assert estate.rows()[0]["outcome"] == outcome

    async def test_holds_no_place_of_what_goes_two_gateways_at_a_time_while_it_waits(self) -> None:
        gateways = {
            **{f"edge-0{n}": kept(f"e{n}", keyType="secondary", windows=[NIGHT]) for n in (1, 2)},
            "edge-03": kept("e3", keyType="secondary"),
        }
        estate = Estate(
            {"contoso": {"resourceId": str(CONTOSO), "gateways": gateways}}, {CONTOSO: tuple(gateways)}
        )
        for number in (1, 2, 3):
            name = f"edge-0{number}"
            located = estate.deliver(f"e{number}", a_token(NOW + 25 * DAY, name), f"contoso-apim/{name}")
            located.tags = {**(located.tags or {}), "issued-at": "2026-02-01T00:00:00Z"}
        assert [row["outcome"] for row in await estate.run()] == ["waiting", "waiting", "renewed"]


async def delivered_without_a_restart(
    expiry: datetime, at: datetime, **rule: object
) -> tuple[Estate, MemoryDestination]:
    """A token was replaced, and the restart for it failed."""
    estate = contoso(windows=[NIGHT], **rule)
    estate.deliver(HOME, a_token(expiry))
    location = estate.location(HOME, restartable=True)
    location.failing["restart"] = OUTAGE
    assert await outcome_at(estate, at) == "failed"
    location.failing.clear()
    return estate, location


async def test_no_key_is_regenerated_in_a_freeze_or_a_pause() -> None:
    pause = {"until": "2026-03-02T12:00:00Z", "reason": "Moves"}
    for more, regenerated in (({}, 1), ({"freeze": [FREEZE]}, 0), ({"pause": pause}, 0)):
        estate = contoso(rotateKeys={"every": "P90D"}, **more)
        location = estate.deliver(HOME, a_token(NOW + 20 * DAY, seed="secondary"), key_type=KeyType.SECONDARY)
        location.tags = {**(location.tags or {}), "key-since": "2026-01-20T00:00:00Z"}
        await estate.run()
        assert len(estate.gateways.new_keys) == regenerated


class TestARestart:
    async def test_that_failed_in_a_window_waits_for_the_next_one(self) -> None:
        estate, location = await delivered_without_a_restart(DUE, OPENS)
        assert await outcome_at(estate, OPENS + 2 * HOUR) == "waiting"
        assert await outcome_at(estate, OPENS + DAY) == "restarting"
        assert location.restarts_begun == 1

    async def test_waits_no_longer_once_what_the_workload_runs_is_at_risk(self) -> None:
        estate, location = await delivered_without_a_restart(DUE, OPENS, freeze=[])
        for at, outcome, at_risk in (
            (DUE - 5 * DAY - MINUTE, "waiting", False),
            (DUE - 5 * DAY, "restarting", True),
        ):
            assert await outcome_at(estate, at) == outcome
            assert estate.report().summary(at)["atrisk"] == str(int(at_risk))
        assert await outcome_at(estate, DUE - 5 * DAY + HOUR) == "fresh"
        assert estate.report().summary(estate.clock.now)["atrisk"] == "0"
        assert location.restarts_begun == 1

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
    PAUSE: ClassVar = {"until": "2026-03-02T12:00:00Z", "reason": "Moves to another plant"}

    async def test_is_left_alone_until_then_and_says_why(self) -> None:
        estate = contoso(pause=self.PAUSE)
        estate.deliver(HOME, a_token(DUE))
        (row,) = await estate.renew(Demand(NOW, issued_before=NOW))
        assert (row.decision.reason, row.outcome) == ("paused", "paused")
        assert row.decision.message == "paused until 2026-03-02 12:00 UTC: Moves to another plant"
        assert await outcome_at(estate, NOW + DAY - MINUTE) == "paused"
        assert await outcome_at(estate, NOW + DAY) == "renewed"

    async def test_is_at_risk_near_its_expiry(self) -> None:
        estate = contoso(pause=self.PAUSE)
        estate.deliver(HOME, a_token(AT_RISK))
        assert await outcome_at(estate, NOW) == "paused"
        assert estate.report().summary(NOW)["atrisk"] == "1"


# ---------------------------------------------------------------------------------------------------------
# Over two years, with windows, zones and freezes drawn at random.
# ---------------------------------------------------------------------------------------------------------

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kathmandu",
    "Pacific/Chatham",
    "Australia/Lord_Howe",
)
SCHEDULES = (HOURLY, "0 30 */3 * * *", "0 */20 * * * *", "0 0 6-20 * * 1-5")
TIMES = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from((0, 15, 30, 59)))
DAYS = st.sampled_from(("Mon-Sun", "Mon-Thu", "Sat,Sun", "Tue,Thu", "Fri-Mon", "Sun"))
WINDOWS = st.fixed_dictionaries(
    {"days": DAYS, "from": TIMES, "to": TIMES, "timeZone": st.sampled_from(ZONES)}
)
BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
FREEZES = st.lists(st.tuples(st.integers(0, 700), st.integers(1, 20)), max_size=6)
MARGINS = st.sampled_from(("P1D", "P3D", "P5D"))


def tightest(schedule: str, freeze: object, windows: object, margin: str) -> AppSettings | None:
    """The settings with the shortest `renewBefore` that the app accepts, in hours; None when it accepts none."""

    def accepted(hours: int) -> AppSettings | None:
        try:
            return configured(schedule, freeze, windows=windows, riskMargin=margin, renewBefore=f"PT{hours}H")
        except SettingsInvalid:
            return None

    hours = bisect_left(range(24 * 24), 1, key=lambda hours: accepted(hours) is not None)
    return accepted(hours)


def shows(one: dict[str, str], at: datetime) -> bool:
    """Whether the clocks of the window's zone show a time in it: another way to ask whether it is open."""
    days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    named: set[int] = set()
    for part in one["days"].split(","):
        first, last = (days.index(name) for name in (part.split("-") * 2)[:2])
        named |= {(first + n) % 7 for n in range((last - first) % 7 + 1)}
    local = at.astimezone(ZoneInfo(one["timeZone"]))
    clock, today, yesterday = f"{local:%H:%M}", local.weekday() in named, (local.weekday() - 1) % 7 in named
    if one["from"] < one["to"]:
        return today and one["from"] <= clock < one["to"]
    return (today and clock >= one["from"]) or (yesterday and clock < one["to"])


def clocks_change_near(one: dict[str, str], at: datetime) -> bool:
    zone = ZoneInfo(one["timeZone"])
    return (at - 4 * HOUR).astimezone(zone).utcoffset() != (at + 4 * HOUR).astimezone(zone).utcoffset()


def holds(schedule: str, windows: list[dict[str, str]], freezes: list[tuple[int, int]], margin: str) -> None:
    """Nothing is renewed late or outside a window, under the tightest rule that the app accepts."""
    frozen = [(BEGIN + n * DAY, BEGIN + (n + days) * DAY) for n, days in freezes]
    freeze = [
        {"from": f"{a:%Y-%m-%dT%H:%M:%SZ}", "to": f"{b:%Y-%m-%dT%H:%M:%SZ}", "reason": "r"} for a, b in frozen
    ]
    app = tightest(schedule, freeze, windows, margin)
    assume(app is not None)
    assert app is not None
    pause = longest_pause(schedule)
    calendar = Calendar(schedule, pause, app.estate.freeze)
    service = app.estate.services["contoso"]
    gateway = ManagedGateway(EDGE, service.resource_id, service.gateways["edge-01"])
    expiry, now = BEGIN + 25 * DAY, BEGIN
    while now < END:
        row = holding(gateway, expiry)
        due = due_at(row.id, gateway.rule, expiry)
        urgent = min(at_risk_from(gateway.rule, expiry), expiry - FEW_RUNS * pause)
        for run in occurrences(schedule, max(due, now) - timedelta(seconds=1)):
            now = run
            decision = decide(row, Demand(now), calendar, now)
            in_freeze = any(a <= now < b for a, b in frozen)
            if not any(clocks_change_near(one, now) for one in windows):
                opened = any(shows(one, now) for one in windows) and not in_freeze
                assert (decision.action is Action.RENEW) == (opened or now >= urgent)
            if decision.action is Action.RENEW:
                break
            assert now < urgent
        if not any(a <= urgent and due <= b for a, b in frozen):
            assert now < urgent
        expiry = renewal_expiry(gateway.rule.lifetime, now)


@pytest.mark.slow
@pytest.mark.parametrize("examples", [15, pytest.param(200, marks=pytest.mark.prove)])
def test_nothing_is_renewed_late_or_outside_a_window_and_a_window_that_is_accepted_is_sufficient(
    examples: int,
) -> None:
    windows = st.lists(WINDOWS, min_size=1, max_size=3)
    drawn = given(schedule=st.sampled_from(SCHEDULES), windows=windows, freezes=FREEZES, margin=MARGINS)
    settings(max_examples=examples, deadline=None)(drawn(holds))()


def test_an_event_about_a_token_with_few_runs_left_waits_for_no_window() -> None:
    gateway = contoso(windows=[NIGHT], riskMargin="PT1H").gateway()
    for left, action in ((3 * HOUR, Action.RENEW), (3 * HOUR + MINUTE, Action.WAIT)):
        demand = Demand(NOW, expires_before=NOW + DAY, waits=True)
        row = holding(gateway, NOW + left)
        assert decide(row, demand, Calendar(HOURLY, HOUR), NOW).action is action


def holding(gateway: ManagedGateway, expiry: datetime) -> Observed:
    token = a_token(expiry)
    value = token.header_value()
    ownership = Ownership(gateway.owner, KeyType.PRIMARY, expiry - 30 * DAY, expiry).of(value)
    return Observed(gateway, gateway.rule.destinations[0], StoredToken(value, token, ownership))
