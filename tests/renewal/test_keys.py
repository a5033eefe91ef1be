"""Rotation and revocation of keys: one key signs, and the other is regenerated when nothing needs it."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gateway_tokens.errors import AzureFacts, AzureForbidden, RevokeStopped
from gateway_tokens.renewal.keys import GRACE, key_in_use
from gateway_tokens.renewal.reader import OTHER_ROWS_SECONDS
from gateway_tokens.renewal.rotation import Revocation, Revoked, revoke
from gateway_tokens.stored import Ownership
from gateway_tokens.tokens import KeyType, ServiceId
from tests.fakes import MemoryDestination
from tests.renewal_estate import DAY, HOUR, MINUTE, NOW, OUTAGE, Estate, a_token, contoso, lines

PRIMARY, SECONDARY = KeyType
HOME = "contoso-edge-01"
DENIED = AzureForbidden("Regenerating", AzureFacts(403), "regenerateKey/action", "there")


def rotating(*names: str, every: str = "P90D", **rule: object) -> Estate:
    return contoso(*names, rotateKeys={"every": every}, **rule)


def keys_in(estate: Estate) -> list[str]:
    """The key that signs each location's token, by the ownership beside it."""
    found = [Ownership.from_tags(location.tags) for location in estate.locations.values()]
    return [str(ownership.key_type) for ownership in found if ownership]


async def until(estate: Estate, end: timedelta, step: timedelta = DAY) -> None:
    """Daily runs until so long after the beginning."""
    while estate.clock.now < NOW + end:
        estate.clock.now += step
        await estate.run()


class TestTheKeyInUse:
    def test_is_the_one_that_the_rule_names_else_the_newest_that_this_app_uses_else_the_primary(self) -> None:
        named = contoso(keyType="secondary").gateway().rule
        free = contoso().gateway().rule
        older, newer = (NOW - DAY, PRIMARY), (NOW, SECONDARY)
        assert key_in_use(free, []) is PRIMARY
        assert key_in_use(free, [newer, older]) is SECONDARY
        assert key_in_use(free, [older, (NOW - 2 * DAY, SECONDARY)]) is PRIMARY
        assert key_in_use(named, [older]) is SECONDARY

    async def test_stays_in_use_without_a_key_in_the_settings(self) -> None:
        estate = contoso()
        estate.deliver(HOME, a_token(NOW + 5 * DAY, seed="secondary"), key_type=SECONDARY)
        await estate.run()
        assert keys_in(estate) == ["secondary"]

    async def test_is_not_told_by_a_token_that_somebody_else_wrote_which_moves_to_it(self) -> None:
        estate = contoso("a", "b")
        estate.deliver("a", a_token(NOW + 25 * DAY))
        estate.location("b").put(a_token(NOW + 25 * DAY, seed="secondary").header_value().reveal())
        for _ in range(3):
            estate.clock.now += 2 * HOUR
            await estate.run()
        assert keys_in(estate) == ["primary", "primary"]

    async def test_is_not_told_by_another_gateways_token(self) -> None:
        estate = contoso("a", "b")
        estate.deliver("a", a_token(NOW + 5 * DAY))
        other = a_token(NOW + 25 * DAY, "edge-02", "secondary")
        estate.deliver("b", other, owner="contoso-apim/edge-02", key_type=SECONDARY)
        tags = dict(estate.locations["b"].tags or {})
        estate.locations["b"].put(
            estate.locations["b"].value or "", tags | {"issued-at": "2026-03-01T12:00:01Z"}
        )
        await estate.run()
        assert keys_in(estate) == ["primary", "secondary"]

    async def test_is_remembered_of_a_location_that_cannot_be_read(self) -> None:
        estate = contoso("a", "b")
        estate.deliver("a", a_token(NOW + 5 * DAY))
        estate.deliver("b", a_token(NOW + 25 * DAY, seed="secondary"), key_type=SECONDARY)
        tags = dict(estate.locations["b"].tags or {})
        estate.locations["b"].put(
            estate.locations["b"].value or "", tags | {"key-since": "2026-03-01T12:00:01Z"}
        )
        estate.locations["a"].failing = {"read": OUTAGE}
        await estate.run()
        estate.locations["b"].failing, estate.locations["a"].failing = {"read": OUTAGE}, {}
        estate.clock.now += HOUR
        await estate.run()
        assert keys_in(estate) == ["secondary", "secondary"]


class TestRotation:
    async def test_switches_waits_31_days_and_regenerates_the_key_that_was_left(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = rotating("a", "b")
        await until(estate, GRACE + 2 * DAY)
        # The idle key is new before it is used.
        assert estate.gateways.new_keys == [("edge-01", SECONDARY)]
        await until(estate, 89 * DAY)
        assert keys_in(estate) == ["primary", "primary"]
        await until(estate, 91 * DAY)
        assert keys_in(estate) == ["secondary", "secondary"]
        switched = lines(caplog, "key.switched")
        assert [(line["keyType"], line["reason"]) for line in switched] == [("secondary", "key_due")] * 2
        assert {line["fingerprint"] for line in switched} <= {
            line["fingerprint"] for line in lines(caplog, "token.issued")
        }
        (regenerated,) = lines(caplog, "key.regenerated")
        assert (regenerated["caller"], regenerated["keyType"], regenerated["reason"]) == (
            "caller",
            "secondary",
            "rotation",
        )
        await until(estate, 91 * DAY + GRACE - 2 * DAY)
        assert len(estate.gateways.new_keys) == 1
        await until(estate, 91 * DAY + GRACE + 2 * DAY)
        assert estate.gateways.new_keys == [("edge-01", SECONDARY), ("edge-01", PRIMARY)]
        await until(estate, 190 * DAY)
        assert keys_in(estate) == ["primary", "primary"]
        assert {row["outcome"] for row in estate.rows()} == {"fresh"}

    @pytest.mark.parametrize("trouble", ["unreadable", "missing", "by hand", "of another key", "not running"])
    async def test_regenerates_nothing_while_one_location_is_not_as_it_should_be(self, trouble: str) -> None:
        estate = rotating("a", "b")
        estate.location("b", restartable=True)
        await until(estate, GRACE - DAY)
        location = estate.locations["b"]
        await self.upset(estate, location, trouble)
        for _ in range(5):
            estate.clock.now += DAY
            await self.upset(estate, location, trouble)
            await estate.run()
        assert estate.gateways.new_keys == []

    async def upset(self, estate: Estate, location: MemoryDestination, trouble: str) -> None:
        good = a_token(estate.clock.now + 20 * DAY)
        match trouble:
            case "unreadable":
                location.failing = {"read": OUTAGE}
            case "missing":
                location.value, location.failing = None, {"write": OUTAGE}
            case "by hand":
                location.put(good.header_value().reveal(), writer="kubectl")
            case "of another key":
                location.put(a_token(good.expiry, seed="secondary").header_value().reveal(), writer="kubectl")
                location.failing = {"label": OUTAGE}
            case _:
                location.running, location.slow = "another", True
                location.asked = str((location.tags or {})["fingerprint"])

    async def test_regenerates_nothing_that_azure_does_not_prove(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = rotating()
        await until(estate, GRACE - DAY)
        # Somebody regenerated the key in use in the meantime.
        estate.gateways.new_keys.append(("edge-01", PRIMARY))
        estate.clock.now += 2 * DAY
        await estate.run()
        assert estate.gateways.new_keys == [("edge-01", PRIMARY)]
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
        estate.clock.now += 2 * DAY
        await estate.run()
        (row,) = estate.rows()
        assert (keys_in(estate), row["outcome"]) == (["secondary"], "renewed")
        alive = a_token(estate.clock.now + 30 * DAY - HOUR, seed="secondary'")
        assert estate.locations["a"].value == alive.header_value().reveal()

    async def test_a_refused_regeneration_is_told_and_tried_again(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = rotating()
        await until(estate, GRACE - DAY)
        estate.gateways.refused_keys["edge-01"] = DENIED
        estate.clock.now += 2 * DAY
        await estate.run()
        (line,) = lines(caplog, "key.not_regenerated")
        assert (line["level"], line["code"]) == ("ERROR", "azure_forbidden")
        estate.gateways.refused_keys.clear()
        estate.clock.now += HOUR
        await estate.run()
        assert estate.gateways.new_keys == [("edge-01", SECONDARY)]

    @pytest.mark.parametrize(("report_is_lost", "regenerations"), [(False, 1), (True, 2)])
    async def test_a_note_that_is_lost_with_the_report_costs_one_regeneration_more_of_the_key_that_nobody_uses(
        self, *, report_is_lost: bool, regenerations: int
    ) -> None:
        estate = rotating("a")
        await until(estate, GRACE + DAY)
        tags = dict(estate.locations["a"].tags or {})
        del tags["regenerated-at"]
        estate.locations["a"].put(estate.locations["a"].value or "", tags)
        if report_is_lost:
            estate.reports.texts.clear()
        await until(estate, GRACE + 3 * DAY)
        assert estate.gateways.new_keys == [("edge-01", SECONDARY)] * regenerations

    async def test_a_note_that_cannot_be_written_is_in_the_report_until_the_next_switch(self) -> None:
        estate = rotating("a", "b")
        for name in "ab":
            estate.location(name).failing["write_ownership"] = OUTAGE
        await until(estate, 89 * DAY)
        assert (keys_in(estate), estate.gateways.new_keys) == (["primary"] * 2, [("edge-01", SECONDARY)])
        await until(estate, (90 + 31 + 10) * DAY)
        assert keys_in(estate) == ["secondary"] * 2
        assert estate.gateways.new_keys == [("edge-01", SECONDARY), ("edge-01", PRIMARY)]

    async def test_that_begins_counts_from_the_first_renewal_under_it(self) -> None:
        estate = contoso()
        await until(estate, 40 * DAY)
        # Until now a caller may have named the other key; its token is alive for 30 days.
        estate.app = replace(estate.app, settings=rotating().app.settings)
        await until(estate, 71 * DAY)
        assert estate.gateways.new_keys == []
        await until(estate, (40 + 20 + 31 + 1) * DAY)
        assert estate.gateways.new_keys == [("edge-01", SECONDARY)]

    async def test_never_moves_to_a_key_that_was_not_regenerated_since_it_was_left(self) -> None:
        estate = rotating("a")
        estate.gateways.refused_keys["edge-01"] = DENIED
        await until(estate, 100 * DAY)
        assert (keys_in(estate), estate.gateways.new_keys) == (["primary"], [])
        estate.gateways.refused_keys.clear()
        # The run that regenerates the key may have a twin, which is late: for an hour nothing moves to it.
        for passed, key in ((timedelta(), "primary"), (HOUR - MINUTE, "primary"), (MINUTE, "secondary")):
            estate.clock.now += passed
            await estate.run()
            assert (keys_in(estate), estate.gateways.new_keys) == ([key], [("edge-01", SECONDARY)])

    async def test_leaves_the_regeneration_to_a_person_where_others_use_the_keys(self) -> None:
        estate = rotating(otherConsumers=True)
        await until(estate, 130 * DAY)
        assert (keys_in(estate), estate.gateways.new_keys) == (["secondary"], [])

    async def test_a_key_that_is_kept_for_too_long_is_told(self) -> None:
        estate = rotating("a", "b")
        await until(estate, 89 * DAY)
        estate.locations["b"].failing = {"read": OUTAGE}
        await until(estate, 91 * DAY)
        assert estate.report().summary(estate.clock())["keyslate"] == "0"
        await until(estate, 92 * DAY)
        assert estate.report().summary(estate.clock())["keyslate"] == "1"
        await until(estate, 121 * DAY)
        assert estate.report().summary(estate.clock())["keyslate"] == "2"


class TestRevoke:
    async def revoke(self, estate: Estate, key_type: KeyType = PRIMARY, **more: Any) -> Revoked:  # noqa: ANN401 - of Revocation
        wanted = Revocation(key_type, "a leak", **more)
        return await revoke(estate.app, estate.gateway(), wanted, "caller")

    def delivered(self, *names: str) -> Estate:
        estate = contoso(*names)
        for name in names:
            estate.deliver(name, a_token(NOW + 25 * DAY))
        return estate

    async def test_reads_the_locations_at_the_same_time(self) -> None:
        estate = self.delivered("a", "b")
        async with asyncio.timeout(OTHER_ROWS_SECONDS / 2):
            assert (await self.revoke(estate)).stopped is None

    async def test_moves_every_location_to_the_other_key_and_then_regenerates(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = self.delivered("a", "b")
        revoked = await self.revoke(estate)
        assert revoked.stopped is None
        assert ({row.outcome for row in revoked.rows}, keys_in(estate)) == ({"renewed"}, ["secondary"] * 2)
        assert estate.gateways.new_keys == [("edge-01", PRIMARY)]
        (line,) = lines(caplog, "key.revoked")
        assert (line["caller"], line["reason"], line["keyType"]) == ("caller", "a leak", "primary")
        issued = [line["fingerprint"] for line in lines(caplog, "token.issued")]
        assert line["fingerprints"] == ", ".join(issued)
        assert [line["reason"] for line in lines(caplog, "key.switched")] == ["revoked"] * 2
        await estate.run()
        assert keys_in(estate) == ["secondary", "secondary"]

    async def test_regenerates_nothing_while_a_delivery_fails_and_goes_on_from_there(self) -> None:
        estate = self.delivered("a", "b")
        estate.locations["b"].failing = {"write": OUTAGE}
        revoked = await self.revoke(estate)
        assert isinstance(revoked.stopped, RevokeStopped)
        assert [location.rpartition("/")[2] for location in revoked.stopped.locations] == ["b"]
        assert (estate.gateways.new_keys, keys_in(estate)) == ([], ["secondary", "primary"])
        estate.locations["b"].failing = {}
        assert (await self.revoke(estate)).stopped is None
        assert estate.gateways.new_keys == [("edge-01", PRIMARY)]
        assert estate.locations["a"].calls.count("write") == 1

    async def test_whose_regeneration_fails_tells_what_was_delivered(self) -> None:
        estate = self.delivered("a")
        estate.gateways.refused_keys["edge-01"] = DENIED
        revoked = await self.revoke(estate)
        assert (revoked.stopped, [row.outcome for row in revoked.rows]) == (DENIED, ["renewed"])

    async def test_whose_proof_gets_no_answer_is_known_to_have_regenerated_nothing(self) -> None:
        estate = self.delivered("a")
        estate.deliver("a", a_token(NOW + 25 * DAY, seed="secondary"), key_type=SECONDARY)
        estate.gateways.refused["edge-01"] = OUTAGE
        revoked = await self.revoke(estate)
        assert (revoked.stopped, revoked.regenerated, estate.gateways.new_keys) == (OUTAGE, False, [])

    async def test_keeps_a_token_of_the_other_key_that_a_person_delivered(self) -> None:
        estate = self.delivered("a")
        token = a_token(NOW + 26 * DAY, seed="secondary")
        estate.locations["a"].put(token.header_value().reveal(), estate.locations["a"].tags)
        revoked = await self.revoke(estate)
        assert [row.decision.reason for row in revoked.rows] == ["taken_over"]
        assert "write" not in estate.locations["a"].calls
        assert estate.gateways.new_keys == [("edge-01", PRIMARY)]

    async def test_that_is_repeated_regenerates_once_more_and_leaves_the_key_in_use_alone(self) -> None:
        estate = self.delivered("a")
        for _ in range(2):
            await self.revoke(estate)
        assert estate.gateways.new_keys == [("edge-01", PRIMARY)] * 2
        assert estate.locations["a"].calls.count("write") == 1

    async def test_of_the_idle_key_writes_nothing(self) -> None:
        estate = self.delivered("a")
        await self.revoke(estate, SECONDARY)
        assert (estate.gateways.new_keys, estate.locations["a"].calls.count("write")) == (
            [("edge-01", SECONDARY)],
            0,
        )

    async def test_immediately_regenerates_first(self) -> None:
        estate = self.delivered("a")
        estate.locations["a"].failing = {"write": OUTAGE}
        revoked = await self.revoke(estate, immediately=True)
        assert [row.outcome for row in revoked.rows] == ["failed"]
        assert estate.gateways.new_keys == [("edge-01", PRIMARY)]

    async def test_dry_touches_nothing(self) -> None:
        estate = self.delivered("a")
        revoked = await self.revoke(estate, dry_run=True)
        assert [row.decision.reason for row in revoked.rows] == ["revoked"]
        assert (estate.gateways.new_keys, estate.gateways.issued) == ([], [])

    async def test_that_takes_too_long_stops_before_the_regeneration(self) -> None:
        estate = self.delivered("a")

        async def never(*_: object) -> None:
            await asyncio.Event().wait()

        estate.locations["a"].write = never  # type: ignore[method-assign, assignment]
        wanted = Revocation(PRIMARY, "a leak")
        revoked = await revoke(estate.app, estate.gateway(), wanted, "caller", seconds=0.05)
        assert revoked.stopped
        assert ([row.outcome for row in revoked.rows], estate.gateways.new_keys) == (["not_reached"], [])

    async def test_regenerates_nothing_while_a_location_holds_another_gateways_token(self) -> None:
        estate = self.delivered("a", "b")
        token = a_token(NOW + 25 * DAY, "edge-02", "secondary")
        estate.deliver("b", token, owner="contoso-apim/edge-02", key_type=SECONDARY)
        assert (await self.revoke(estate)).stopped
        assert estate.gateways.new_keys == []

    async def test_renews_a_token_of_the_other_key_that_is_dead_before_the_regeneration(self) -> None:
        estate = self.delivered("a")
        estate.deliver("a", a_token(NOW + 25 * DAY, seed="secondary"), key_type=SECONDARY)
        estate.gateways.new_keys.append(("edge-01", SECONDARY))
        estate.locations["a"].failing = {"write": OUTAGE}
        assert (await self.revoke(estate)).stopped
        estate.locations["a"].failing = {}
        revoked = await self.revoke(estate)
        assert [(row.decision.reason, row.outcome) for row in revoked.rows] == [("dead", "renewed")]
        assert estate.gateways.new_keys == [("edge-01", SECONDARY), ("edge-01", PRIMARY)]

    async def test_asks_for_restarts_and_does_not_wait_for_them(self) -> None:
        estate = self.delivered("a")
        location = estate.location("a", restartable=True)
        location.slow = True
        revoked = await self.revoke(estate)
        assert [row.outcome for row in revoked.rows] == ["restarting"]
        assert (location.restarts_begun, estate.gateways.new_keys) == (1, [("edge-01", PRIMARY)])

    async def test_regenerates_nothing_before_every_restart_was_asked_for(self) -> None:
        estate = self.delivered("a")
        location = estate.location("a", restartable=True)
        location.failing = {"restart": OUTAGE}
        assert (await self.revoke(estate)).stopped
        assert estate.gateways.new_keys == []
