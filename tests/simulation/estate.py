"""The simulated estate: four services, gateways of several lifetimes and windows, one or two destinations each."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from gateway_tokens.parts import App
from gateway_tokens.tokens import ServiceId
from tests import renewal_estate

FREEZE = datetime(2026, 3, 10, tzinfo=UTC), datetime(2026, 3, 24, tzinfo=UTC)
SUBSCRIPTIONS = ("11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222")
_DAILY = "Mon,Tue,Wed,Thu,Fri,Sat,Sun"


@dataclass(frozen=True)
class Profile:
    """How some gateways are kept, in the simulation's own words: hours, and the nights in which what can wait is done."""

    name: str
    lifetime: int
    window: int
    margin: int
    night: tuple[str, int, int, str] | None = None

    @property
    def rule(self) -> dict[str, Any]:
        """The same in the words of the settings."""
        hours = {"lifetime": self.lifetime, "renewBefore": self.window, "riskMargin": self.margin}
        rule: dict[str, Any] = {name: f"PT{number}H" for name, number in hours.items()}
        if self.night:
            days, begins, ends, zone = self.night
            window = {"days": days, "from": f"{begins:02}:00", "to": f"{ends:02}:00", "timeZone": zone}
            rule["windows"] = [window]
        return rule

    def may_wait(self, expiry: datetime, at: datetime) -> bool:
        """Whether what is due, or a restart, may wait at that moment: for the night, or for the end of the freeze."""
        shut = FREEZE[0] <= at < FREEZE[1]
        if self.night:
            days, begins, ends, zone = self.night
            local = at.astimezone(ZoneInfo(zone))
            # The hours after midnight are those of the night before.
            day = local - timedelta(days=1) if ends < begins and local.hour < ends else local
            hour = local.hour + 24 * (day != local)
            shut |= f"{day:%a}" not in days or not begins <= hour < (ends if begins < ends else ends + 24)
        return shut and at < expiry - timedelta(hours=max(self.margin, 3))


PROFILES = (
    Profile("day", 24, 8, 4),
    Profile("days", 72, 24, 12),
    Profile("week", 168, 56, 28, (_DAILY, 22, 4, "Asia/Kolkata")),
    Profile("late", 168, 2, 1),
    Profile("short", 336, 36, 6),
    Profile("month", 720, 240, 120, ("Mon,Tue,Wed,Thu", 22, 5, "Europe/Berlin")),
    Profile("early", 720, 480, 24, ("Sun", 6, 12, "America/Chicago")),
)


@dataclass(frozen=True)
class Estate:
    """The app under its settings, and which gateways exist in Azure, by service. `named` are those the settings name one by one."""

    app: App
    gateways: dict[str, list[str]]
    named: frozenset[str]

    def subscription(self, service: str) -> str:
        return self.app.settings.estate.services[service].resource_id.subscription_id

    def gateways_of(self, subscription: str) -> list[str]:
        services = [name for name in self.gateways if self.subscription(name) == subscription]
        return [gateway for service in services for gateway in self.gateways[service]]


def profile_of(gateway: str) -> Profile:
    """A gateway's profile, told by its name."""
    return next(profile for profile in PROFILES if profile.name == gateway.partition("-")[0])


def estate_of(count: int) -> Estate:
    """So many gateways, every fifth of them named one by one in the settings."""
    gateways, named = defaultdict[str, list[str]](list), set()
    services: dict[str, dict[str, Any]] = {}
    for number in range(count):
        profile, variant, service = PROFILES[number % len(PROFILES)], number % 3, f"svc{number % 4}"
        pattern, gateway = f"{profile.name}-{variant}-*", f"{profile.name}-{variant}-{number:03}"
        gateways[service].append(gateway)
        if number % 5 == 0:
            named.add(gateway)
            pattern = gateway
        resource = str(ServiceId(SUBSCRIPTIONS[number % 2], "rg", f"{service}-apim"))
        rules = services.setdefault(service, {"resourceId": resource, "gateways": {}})["gateways"]
        rules[pattern] = {**profile.rule, "destinations": _destinations(variant)}
    freeze = {"from": FREEZE[0].isoformat(), "to": FREEZE[1].isoformat(), "reason": "simulated"}
    return Estate(renewal_estate.Estate(services, {}, freeze=[freeze]).app, gateways, frozenset(named))


def _destinations(variant: int) -> list[dict[str, Any]]:
    """One vault; two vaults; a vault and a cluster whose workload is restarted."""
    name = "{service}-{gateway}"
    north, south = (
        {"kind": "keyVault", "vault": f"https://{vault}.example", "secret": name}
        for vault in ("north", "south")
    )
    cluster = {
        "kind": "kubernetes",
        "server": "https://cluster.example",
        "secret": name,
        "restart": {"name": name},
    }
    destinations: list[list[dict[str, Any]]] = [[north], [north, south], [south, cluster]]
    return destinations[variant]
