"""Rotation and revocation of keys: one key signs, and the other is regenerated when nothing needs it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gateway_tokens.errors import AzureFacts, AzureForbidden, RevokeStopped
from gateway_tokens.renewal.keys import GRACE
from gateway_tokens.renewal.reader import OTHER_ROWS_SECONDS
from gateway_tokens.renewal.rotation import Revocation, Revoked, revoke
from gateway_tokens.stored import Ownership
from gateway_tokens.tokens import KeyType, ServiceId
from tests.fakes import MemoryDestination
from tests.renewal_estate import (
    DAY,
    HOUR,
    LOCATIONS,
    MINUTE,
    NOW,
    OUTAGE,
    Estate,
    Log,
    a_token,
    contoso,
    holding,
    lines,
)

PRIMARY, SECONDARY = KeyType
ENDED = {key: ("edge-01", key) for key in KeyType}
DENIED = AzureForbidden("Regenerating", AzureFacts(403), "regenerateKey/action", "there")
FAR, DUE = NOW + 25 * DAY, NOW + 5 * DAY


def rotating(*names: str, **rule: object) -> Estate:
    return contoso(*names, rotateKeys={"every": "P90D"}, **rule)


def keys_in(estate: Estate) -> list[str]:
    """The key that signs each location's token, by the ownership beside it."""
    ownerships = [Ownership.from_tags(location.tags) for location in estate.locations.values()]
    return [str(ownership.key_type) for ownership in ownerships if ownership]


async def until(estate: Estate, end: timedelta) -> None:
    """Daily runs until so long after the beginning."""
    while estate.clock.now < NOW + end:
        await estate.run(DAY)


class TestTheKeyInUse:
    async def test_is_not_told_by_a_token_that_somebody_else_wrote_which_moves_to_it(self) -> None:
        estate = contoso("a", "b")
        estate.deliver("a", a_token(FAR))
        estate.location("b").put(a_token(FAR, seed="secondary").header_value().reveal())
        for _ in range(3):
            await estate.run(2 * HOUR)
        assert keys_in(estate) == ["primary", "primary"]

    async def test_is_not_told_by_another_gateways_token(self) -> None:
        estate = contoso("a", "b")
        estate.deliver("a", a_token(DUE))
        estate.deliver("b", a_token(FAR, "edge-02", "secondary"), SECONDARY, NOW + MINUTE)
        await estate.run()
        assert keys_in(estate) == ["primary", "secondary"]

    async def test_is_remembered_of_a_location_that_cannot_be_read(self) -> None:
        estate = contoso("a", "b")
        estate.deliver("a", a_token(DUE))
        estate.deliver("b", a_token(FAR, seed="secondary"), SECONDARY, key_since=NOW + MINUTE)
        for unread, after in (("a", timedelta()), ("b", HOUR)):
            for name, location in estate.locations.items():
                location.failing = {"read": OUTAGE} if name == unread else {}
            await estate.run(after)
        assert keys_in(estate) == ["secondary", "secondary"]


# What may be wrong with a location for which this is a good token.
TROUBLES: dict[str, Callable[[MemoryDestination, str], object]] = {
    "unreadable": lambda at, _: at.failing.update(read=OUTAGE),
    "missing": lambda at, _: vars(at).update(value=None, failing={"write": OUTAGE}),
    "by hand": lambda at, good: at.put(good, writer="kubectl"),
    "not running": lambda at, _: vars(at).update(asked=at.fingerprint, running="another", slow=True),
}


class TestRotation:
    async def test_switches_waits_31_days_and_regenerates_the_key_that_was_left(self, caplog: Log) -> None:
        estate = rotating("a", "b")
        await until(estate, GRACE + 2 * DAY)
        # The idle key is new before it is used.
        assert estate.gateways.new_keys == [ENDED[SECONDARY]]
        await until(estate, 89 * DAY)
        assert keys_in(estate) == ["primary", "primary"]
        await until(estate, 91 * DAY)
        assert keys_in(estate) == ["secondary", "secondary"]
        switched = lines(caplog, "key.switched")
        assert [(line["keyType"], line["reason"]) for line in switched] == [("secondary", "key_due")] * 2
        issued = {line["fingerprint"] for line in lines(caplog, "token.issued")}
        assert {line["fingerprint"] for line in switched} <= issued
        (regenerated,) = lines(caplog, "key.regenerated")
        shown = [regenerated[name] for name in ("caller", "keyType", "reason")]
        assert shown == ["caller", "secondary", "rotation"]
        await until(estate, 91 * DAY + GRACE - 2 * DAY)
        assert len(estate.gateways.new_keys) == 1
        await until(estate, 91 * DAY + GRACE + 2 * DAY)
        assert estate.gateways.new_keys == [ENDED[SECONDARY], ENDED[PRIMARY]]
        await until(estate, 190 * DAY)
        assert keys_in(estate) == ["primary", "primary"]
        assert {row.outcome for row in estate.rows()} == {"fresh"}

    @pytest.mark.parametrize("hindrance", TROUBLES)
    async def test_regenerates_nothing_while_one_location_is_not_as_it_should_be(
        self, hindrance: str
    ) -> None:
        estate = rotating("a", "b")
        location = estate.location("b", restartable=True)
        await until(estate, GRACE - DAY)
        for _ in range(5):
            TROUBLES[hindrance](location, a_token(estate.clock.now + 20 * DAY).header_value().reveal())
            await estate.run(DAY)
        assert estate.gateways.new_keys == []

    async def test_regenerates_nothing_that_azure_does_not_prove(self, caplog: Log) -> None:
        estate = rotating()
        await until(estate, GRACE - DAY)
        # Somebody regenerated the key in use in the meantime.
        estate.gateways.new_keys.append(ENDED[PRIMARY])
        await estate.run(2 * DAY)
        assert estate.gateways.new_keys == [ENDED[PRIMARY]]
        assert len(lines(caplog, "key.not_proved")) == 1

    async def test_repairs_at_once_what_somebody_moved_to_the_idle_key_in_the_meantime(self) -> None:
        estate = rotating("a")
        await until(estate, GRACE - DAY)
        regenerate = estate.gateways.regenerate_key

        async def late(service: ServiceId, gateway: str, key_type: KeyType) -> None:
            estate.gateways.regenerate_key = regenerate  # type: ignore[method-assign]
            await revoke(estate.app, estate.gateway(), Revocation(PRIMARY, "a leak"), "caller")
            await regenerate(service, gateway, key_type)

        estate.gateways.regenerate_key = late  # type: ignore[method-assign]
        assert await estate.outcomes(2 * DAY) == ["renewed"]
        alive = a_token(estate.clock.now + 30 * DAY - HOUR, seed="secondary'")
        assert estate.locations["a"].value == alive.header_value().reveal()

    async def test_a_note_is_in_the_report_too_and_lost_with_it_costs_one_regeneration_more(self) -> None:
        estate = rotating("a", "b")
        for name in "ab":
            estate.location(name).failing["write_ownership"] = OUTAGE
        await until(estate, 60 * DAY)
        assert (keys_in(estate), estate.gateways.new_keys) == (["primary"] * 2, [ENDED[SECONDARY]])
        estate.reports.texts.clear()
        await until(estate, 89 * DAY)
        assert (keys_in(estate), estate.gateways.new_keys) == (["primary"] * 2, [ENDED[SECONDARY]] * 2)
        await until(estate, (90 + 31 + 10) * DAY)
        assert keys_in(estate) == ["secondary"] * 2
        assert estate.gateways.new_keys == [ENDED[SECONDARY], ENDED[SECONDARY], ENDED[PRIMARY]]

    async def test_that_begins_counts_from_the_first_renewal_under_it(self) -> None:
        estate = contoso()
        await until(estate, 40 * DAY)
        # Until now a caller may have named the other key; its token is alive for 30 days.
        estate.app = replace(estate.app, settings=rotating().app.settings)
        await until(estate, 71 * DAY)
        assert estate.gateways.new_keys == []
        await until(estate, (40 + 20 + 31 + 1) * DAY)
        assert estate.gateways.new_keys == [ENDED[SECONDARY]]

    async def test_never_moves_to_a_key_that_could_not_be_regenerated_which_is_told(
        self, caplog: Log
    ) -> None:
        estate = rotating("a")
        estate.gateways.refused_keys["edge-01"] = DENIED
        await until(estate, 100 * DAY)
        assert (keys_in(estate), estate.gateways.new_keys) == (["primary"], [])
        (line, *_) = lines(caplog, "key.not_regenerated")
        assert (line["level"], line["code"]) == ("ERROR", "azure_forbidden")
        estate.gateways.refused_keys.clear()
        # The run that regenerates the key may have a twin, which is late: for an hour nothing moves to it.
        for passed, key in ((timedelta(), "primary"), (HOUR - MINUTE, "primary"), (MINUTE, "secondary")):
            await estate.run(passed)
            assert (keys_in(estate), estate.gateways.new_keys) == ([key], [ENDED[SECONDARY]])

    async def test_leaves_the_regeneration_to_a_person_where_others_use_the_keys(self) -> None:
        estate = rotating(otherConsumers=True)
        await until(estate, 130 * DAY)
        assert (keys_in(estate), estate.gateways.new_keys) == (["secondary"], [])

    async def test_a_key_that_is_kept_for_too_long_is_told(self) -> None:
        estate = rotating("a", "b")
        await until(estate, 89 * DAY)
        estate.locations["b"].failing = {"read": OUTAGE}
        for days, late in ((91, "0"), (92, "1"), (121, "2")):
            await until(estate, days * DAY)
            assert estate.report().summary(estate.clock())["keyslate"] == late
        assert "key_rotation_late" in estate.problems


def delivered(*names: str) -> Estate:
    estate = contoso(*names)
    for name in names:
        estate.deliver(name, a_token(FAR))
    return estate


async def revoked(estate: Estate, key_type: KeyType = PRIMARY, **more: Any) -> Revoked:  # noqa: ANN401 - of revoke
    return await revoke(estate.app, estate.gateway(), Revocation(key_type, "a leak"), "caller", **more)


def holds_a_dead_token_of_the_other_key(estate: Estate) -> None:
    location = estate.deliver("b", a_token(FAR, seed="secondary before"), SECONDARY)
    location.failing["write"] = OUTAGE


# What keeps the location `b` from the other key.
HINDRANCES: dict[str, Callable[[Estate], object]] = {
    "takes no token": lambda estate: estate.location("b").failing.update(write=OUTAGE),
    "is not restarted": lambda estate: estate.location("b", restartable=True).failing.update(restart=OUTAGE),
    "is another gateway's": lambda estate: estate.deliver(
        "b", a_token(FAR, "edge-02", "secondary"), SECONDARY
    ),
    "holds a dead token of the other key": holds_a_dead_token_of_the_other_key,
}


class TestRevoke:
    async def test_moves_every_location_to_the_other_key_and_then_regenerates(self, caplog: Log) -> None:
        estate = delivered("a", "b")
        async with asyncio.timeout(OTHER_ROWS_SECONDS / 2):  # the locations are read at the same time
            ended = await revoked(estate)
        assert (ended.stopped, {row.outcome for row in ended.rows}) == (None, {"renewed"})
        assert estate.gateways.new_keys == [ENDED[PRIMARY]]
        (line,) = lines(caplog, "key.revoked")
        assert (line["caller"], line["reason"], line["keyType"]) == ("caller", "a leak", "primary")
        issued = [line["fingerprint"] for line in lines(caplog, "token.issued")]
        assert line["fingerprints"] == ", ".join(issued)
        assert [line["reason"] for line in lines(caplog, "key.switched")] == ["revoked"] * 2
        await estate.run()
        assert keys_in(estate) == ["secondary", "secondary"]

    @pytest.mark.parametrize("hindrance", HINDRANCES)
    async def test_regenerates_nothing_while_a_location_hinders_it_and_goes_on(self, hindrance: str) -> None:
        estate = delivered("a", "b")
        HINDRANCES[hindrance](estate)
        stopped = (await revoked(estate)).stopped
        assert isinstance(stopped, RevokeStopped)
        assert (list(stopped.locations), estate.gateways.new_keys) == ([f"{LOCATIONS}b"], [])
        estate.locations["b"].failing = {}
        if hindrance == "is another gateway's":
            estate.deliver("b", a_token(FAR))
        assert (await revoked(estate)).stopped is None
        assert (keys_in(estate), estate.gateways.new_keys) == (["secondary"] * 2, [ENDED[PRIMARY]])
        assert estate.locations["a"].calls.count("write") == 1

    @pytest.mark.parametrize("error", [OUTAGE, DENIED])
    async def test_whose_proof_or_regeneration_fails_tells_what_was_delivered(self, error: Exception) -> None:
        estate = delivered("a")
        if error is OUTAGE:
            estate.deliver("a", a_token(FAR, seed="secondary"), SECONDARY)
            estate.gateways.refused["edge-01"] = error
        estate.gateways.refused_keys["edge-01"] = error
        ended = await revoked(estate)
        assert (ended.stopped, ended.regenerated, estate.gateways.new_keys) == (error, False, [])
        assert [row.outcome for row in ended.rows] == ["fresh" if error is OUTAGE else "renewed"]

    async def test_of_a_paused_gateway_stops(self) -> None:
        estate = holding(FAR, pause={"until": "2999-01-01T00:00:00Z", "reason": "Moves"})
        ended = await revoked(estate)
        assert isinstance(ended.stopped, RevokeStopped)
        assert ([row.outcome for row in ended.rows], estate.gateways.new_keys) == (["paused"], [])

    async def test_that_takes_too_long_stops_before_the_regeneration(self) -> None:
        estate = delivered("a")
        estate.locations["a"].write = lambda *_: asyncio.Event().wait()  # type: ignore[method-assign, assignment]
        ended = await revoked(estate, seconds=0.05)
        assert ended.stopped
        assert ([row.outcome for row in ended.rows], estate.gateways.new_keys) == (["not_reached"], [])

    async def test_asks_for_restarts_and_does_not_wait_for_them(self) -> None:
        estate = delivered("a")
        location = estate.location("a", restartable=True)
        location.slow = True
        assert [row.outcome for row in (await revoked(estate)).rows] == ["restarting"]
        assert (location.restarts_begun, estate.gateways.new_keys) == (1, [ENDED[PRIMARY]])
