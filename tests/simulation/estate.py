"""The simulated estate: four services, gateways of several lifetimes and windows, one or two destinations each."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from gateway_tokens.estate.app_settings import AppSettings, read_settings


@dataclass(frozen=True)
class Profile:
    """How some gateways are kept, in the simulation's own words: the judge knows no other."""

    name: str
    lifetime: timedelta
    window: timedelta
    margin: timedelta
    rule: dict[str, Any]
    night: tuple[str, int, int, str] = ("MonTueWedThuFriSatSun", 0, 24, "UTC")

    def may_wait(self, expiry: datetime, at: datetime) -> bool:
        """Whether what is due, or a restart, may wait at that moment: for the night, or for the end of the freeze."""
        days, begins, ends, zone = self.night
        local = at.astimezone(ZoneInfo(zone))
        # The hours after midnight are those of the night before.
        day = local - timedelta(days=1) if ends < begins and local.hour < ends else local
        hour = local.hour + 24 * (day != local)
        opened = f"{day:%a}" in days and begins <= hour < (ends if begins < ends else ends + 24)
        frozen = FREEZE[0] <= at < FREEZE[1]
        return (frozen or not opened) and at < expiry - max(self.margin, timedelta(hours=3))


FREEZE = datetime(2026, 3, 10, tzinfo=UTC), datetime(2026, 3, 24, tzinfo=UTC)


def _profile(
    name: str,
    lifetime: float,
    window: float,
    margin: float,
    rule: dict[str, Any],
    *,
    night: tuple[str, int, int, str] | None = None,
) -> Profile:
    times = timedelta(days=lifetime), timedelta(hours=window), timedelta(hours=margin)
    if night is None:
        return Profile(name, *times, rule)
    days, begins, ends, zone = night
    named = ",".join(days[at : at + 3] for at in range(0, len(days), 3))
    one = {"days": named, "from": f"{begins:02}:00", "to": f"{ends:02}:00", "timeZone": zone}
    return Profile(name, *times, {**rule, "windows": [one]}, night)


_DAILY = "MonTueWedThuFriSatSun"


PROFILES = (
    _profile("day", 1, 8, 4, {"lifetime": "P1D"}),
    _profile("days", 3, 24, 12, {"lifetime": "P3D", "renewBefore": "P1D"}),
    _profile("week", 7, 56, 28, {"lifetime": "P7D"}, night=(_DAILY, 22, 4, "Asia/Kolkata")),
    _profile("late", 7, 2, 1, {"lifetime": "P7D", "renewBefore": "PT2H"}),
    _profile("short", 14, 36, 6, {"lifetime": "P14D", "renewBefore": "PT36H", "riskMargin": "PT6H"}),
    _profile("month", 30, 240, 120, {"lifetime": "P30D"}, night=("MonTueWedThu", 22, 5, "Europe/Berlin")),
    _profile(
        "early",
        30,
        480,
        24,
        {"lifetime": "P30D", "renewBefore": "P20D", "riskMargin": "P1D"},
        night=("Sun", 6, 12, "America/Chicago"),
    ),
)
_VAULTS = ("north", "south")
_CLUSTER = "https://cluster.example"
_RESOURCE = "/subscriptions/{}/resourceGroups/rg/providers/Microsoft.ApiManagement/service/{}-apim"
SUBSCRIPTIONS = ("11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222")


@dataclass(frozen=True)
class Estate:
    """The settings, and which gateways exist in Azure, by service. `named` are those the settings name one by one."""

    settings: AppSettings
    gateways: dict[str, list[str]]
    named: frozenset[str]

    def subscription(self, service: str) -> str:
        """The subscription of a service."""
        return self.settings.estate.services[service].resource_id.subscription_id

    def gateways_of(self, subscription: str) -> list[str]:
        """The gateways of a subscription's services."""
        services = [name for name in self.gateways if self.subscription(name) == subscription]
        return [gateway for service in services for gateway in self.gateways[service]]


def profile_of(gateway: str) -> Profile:
    """A gateway's profile, told by its name."""
    return next(profile for profile in PROFILES if profile.name == gateway.partition("-")[0])


def estate_of(count: int) -> Estate:
    """So many gateways, every fifth of them named one by one in the settings."""
    gateways: dict[str, list[str]] = {f"svc{number}": [] for number in range(4)}
    rules: dict[str, dict[str, Any]] = {service: {} for service in gateways}
    named = set()
    for number in range(count):
        profile, variant = PROFILES[number % len(PROFILES)], number % 3
        service, gateway = f"svc{number % 4}", f"{profile.name}-{variant}-{number:03}"
        gateways[service].append(gateway)
        alone = number % 5 == 0
        if alone:
            named.add(gateway)
        rules[service][gateway if alone else f"{profile.name}-{variant}-*"] = {
            **profile.rule,
            "destinations": _destinations(variant),
        }
    services = {
        service: {"resourceId": _RESOURCE.format(SUBSCRIPTIONS[number % 2], service), "gateways": kept}
        for number, (service, kept) in enumerate(rules.items())
        if kept
    }
    return Estate(_settings(services), gateways, frozenset(named))


def _destinations(variant: int) -> list[dict[str, Any]]:
    """One vault; two vaults; a vault and a cluster whose workload is restarted."""
    vaults = [
        {"kind": "keyVault", "vault": f"https://{vault}.example", "secret": "{service}-{gateway}"}
        for vault in _VAULTS
    ]
    workload = {"name": "{service}-{gateway}"}
    cluster: dict[str, Any] = {
        "kind": "kubernetes",
        "server": _CLUSTER,
        "secret": "{service}-{gateway}",
        "restart": workload,
    }
    return [vaults[:1], vaults, [vaults[1], cluster]][variant]


def _settings(services: dict[str, Any]) -> AppSettings:
    freeze = {"from": FREEZE[0].isoformat(), "to": FREEZE[1].isoformat(), "reason": "simulated"}
    return read_settings(
        {
            "GATEWAY_TOKENS": json.dumps({"services": services, "freeze": [freeze]}),
            "RENEWAL_SCHEDULE": "0 0 * * * *",
            "ALLOW_FUNCTION_KEYS": "true",
            "STATE_CONTAINER_URL": "https://state.example/container",
        }
    )
