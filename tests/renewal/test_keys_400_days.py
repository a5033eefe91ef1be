"""Four hundred days of a rotation every 70 days, with faults drawn from a seed."""

from random import Random

import pytest

from gateway_tokens.stored import Ownership
from gateway_tokens.tokens import KeyType
from tests.renewal_estate import CONTOSO, DAY, HOUR, NOW, OUTAGE, Estate, a_token, kept

GATEWAYS = tuple(f"edge-0{number}" for number in range(1, 6))
NAMES = tuple(
    f"{place}-{gateway}" for n, gateway in enumerate(GATEWAYS) for place in ("ab" if n % 2 else "a")
)
# A note that cannot be written costs one more regeneration at every run, which is another matter.
METHODS = ("read", "write", "restart")


def the_estate() -> Estate:
    """Five gateways, two of them with a second location, whose name begins with b and which has a workload."""
    rules = {
        gateway: kept(*(name for name in NAMES if name[2:] == gateway), rotateKeys={"every": "P70D"})
        for gateway in GATEWAYS
    }
    estate = Estate({"contoso": {"resourceId": str(CONTOSO), "gateways": rules}}, {CONTOSO: GATEWAYS})
    for name in NAMES:
        estate.location(name, restartable=name.startswith("b"))
    return estate


def faults(estate: Estate, draw: Random, hours: int) -> None:
    """An outage begins every 40 days at each location, and lasts three days or so."""
    for name in NAMES:
        if draw.random() < hours / (3 * 24):
            estate.locations[name].failing.clear()
        if draw.random() < hours / (40 * 24):
            estate.locations[name].failing[draw.choice(METHODS)] = OUTAGE


def valid(estate: Estate, name: str) -> bool:
    """Whether the token in a location is alive, by what Azure would answer."""
    location, gateway = estate.locations[name], name[2:]
    ownership = Ownership.from_tags(location.tags)
    if ownership is None or ownership.expiry <= estate.clock.now:
        return False
    age = estate.gateways.new_keys.count((gateway, ownership.key_type))
    token = a_token(ownership.expiry, gateway, ownership.key_type + "'" * age)
    return location.value == token.header_value().reveal()


@pytest.mark.slow
@pytest.mark.parametrize(("days", "hours"), [(115, 12), pytest.param(400, 6, marks=pytest.mark.prove)])
async def test_a_rotation_every_70_days_leaves_no_gateway_without_a_valid_token(
    days: int, hours: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL", "gateway_tokens")
    estate, draw = the_estate(), Random(15)  # noqa: S311 - faults are not secrets
    switches, keys = 0, dict.fromkeys(NAMES, KeyType.PRIMARY)
    while estate.clock.now < NOW + days * DAY:
        await estate.run(asked_by="schedule")
        for name in NAMES:
            assert valid(estate, name), (name, estate.clock.now)
            ownership = Ownership.from_tags(estate.locations[name].tags)
            if ownership and ownership.key_type is not keys[name]:
                switches, keys[name] = switches + 1, ownership.key_type
        estate.clock.now += hours * HOUR
        faults(estate, draw, hours)
    # One every 70 days; the idle key is new before the first of them, and 31 days after each.
    expected = (1, 2) if days < 400 else (5, 6)
    assert (switches, len(estate.gateways.new_keys)) == (
        expected[0] * len(NAMES),
        expected[1] * len(GATEWAYS),
    )
