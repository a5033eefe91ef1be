"""Windows over two years: windows, zones and freezes are drawn at random, under the tightest rule that the app accepts."""

import json
from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway_tokens.errors import SettingsInvalid
from gateway_tokens.estate.app_settings import read_settings
from gateway_tokens.estate.schedule import FEW_RUNS, Calendar, longest_pause
from gateway_tokens.estate.schema import AppSettings
from gateway_tokens.renewal.checks import at_risk_from, decide, due_at
from gateway_tokens.renewal.rows import Action, Demand, ManagedGateway, Observed
from gateway_tokens.stored import Ownership, StoredToken
from gateway_tokens.tokens import KeyType, renewal_expiry
from tests.renewal_estate import CONTOSO, DAY, EDGE, HOUR, a_token, kept
from tests.samples import occurrences

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kathmandu",
    "Pacific/Chatham",
    "Australia/Lord_Howe",
)
SCHEDULES = ("0 0 * * * *", "0 30 */3 * * *", "0 */20 * * * *", "0 0 6-20 * * 1-5")
TIMES = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from((0, 15, 30, 59)))
DAYS = st.sampled_from(("Mon-Sun", "Mon-Thu", "Sat,Sun", "Tue,Thu", "Fri-Mon", "Sun"))
WINDOWS = st.fixed_dictionaries(
    {"days": DAYS, "from": TIMES, "to": TIMES, "timeZone": st.sampled_from(ZONES)}
)
BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
FREEZES = st.lists(st.tuples(st.integers(0, 700), st.integers(1, 20)), max_size=6)
MARGINS = st.sampled_from(("P1D", "P3D", "P5D"))


def configured(schedule: str, freeze: object, **rule: object) -> AppSettings:
    services = {"contoso": {"resourceId": str(CONTOSO), "gateways": {"edge-01": kept(**rule)}}}
    return read_settings(
        {
            "GATEWAY_TOKENS": json.dumps({"services": services, "freeze": freeze}),
            "RENEWAL_SCHEDULE": schedule,
            "ALLOW_FUNCTION_KEYS": "true",
            "STATE_CONTAINER_URL": "https://state.example/app",
        }
    )


def tightest(schedule: str, freeze: object, windows: object, margin: str) -> AppSettings | None:
    """The settings with the shortest `renewBefore` that the app accepts, in hours; None when it accepts none."""

    def accepted(hours: int) -> AppSettings | None:
        try:
            return configured(schedule, freeze, windows=windows, riskMargin=margin, renewBefore=f"PT{hours}H")
        except SettingsInvalid:
            return None

    hours = bisect_left(range(24 * 24), 1, key=lambda hours: accepted(hours) is not None)
    return accepted(hours)


def shows(window: dict[str, str], at: datetime) -> bool:
    """Whether the clocks of the window's zone show a time in it: another way to ask whether it is open."""
    days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    named: set[int] = set()
    for part in window["days"].split(","):
        first, last = (days.index(name) for name in (part.split("-") * 2)[:2])
        named |= {(first + n) % 7 for n in range((last - first) % 7 + 1)}
    local = at.astimezone(ZoneInfo(window["timeZone"]))
    clock, today, yesterday = f"{local:%H:%M}", local.weekday() in named, (local.weekday() - 1) % 7 in named
    if window["from"] < window["to"]:
        return today and window["from"] <= clock < window["to"]
    return (today and clock >= window["from"]) or (yesterday and clock < window["to"])


def clocks_change_near(window: dict[str, str], at: datetime) -> bool:
    zone = ZoneInfo(window["timeZone"])
    return (at - 4 * HOUR).astimezone(zone).utcoffset() != (at + 4 * HOUR).astimezone(zone).utcoffset()


def holding(gateway: ManagedGateway, expiry: datetime) -> Observed:
    token = a_token(expiry)
    value = token.header_value()
    ownership = Ownership(gateway.owner, KeyType.PRIMARY, expiry - 30 * DAY, expiry).of(value)
    return Observed(gateway, gateway.rule.destinations[0], StoredToken(value, token, ownership))


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
            if not any(clocks_change_near(window, now) for window in windows):
                opened = any(shows(window, now) for window in windows) and not in_freeze
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
