"""Acting on API Management's events: renew what is old, restart what did not pick up, adopt, retire."""

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gateway_tokens.errors import AzureUnavailable
from gateway_tokens.renewal.background import FOLD, Reactions
from gateway_tokens.renewal.events import EventKind, GatewayEvent
from gateway_tokens.renewal.record import SweepRecord
from tests.renewal_estate import (
    CONTOSO,
    DAY,
    FABRIKAM,
    HOUR,
    IN_30_DAYS,
    MINUTE,
    NOW,
    OUTAGE,
    PLACES,
    Estate,
    a_token,
    a_trouble,
    contoso,
    kept,
    lines,
)

PLACE = "contoso-edge-01"
OLD, NEWER = a_token(NOW + 7 * DAY), a_token(NOW + 25 * DAY)
TOKEN_EVENTS = [EventKind.TOKEN_NEAR_EXPIRY, EventKind.TOKEN_EXPIRED]


def an_event(kind: EventKind = EventKind.TOKEN_NEAR_EXPIRY, **more: Any) -> GatewayEvent:  # noqa: ANN401 - GatewayEvent's
    """An instance of edge-01 runs a token that ends in seven days, or has just ended."""
    expiry = NOW + 7 * DAY if kind is EventKind.TOKEN_NEAR_EXPIRY else NOW
    return replace(GatewayEvent(kind, CONTOSO, "edge-01", "pod-1", NOW, expiry), **more)


async def react(estate: Estate, *events: GatewayEvent) -> None:
    reactions = Reactions()
    for event in events or (an_event(),):
        await reactions.react(estate.app, event)


class TestAnOldLedger:
    @pytest.mark.parametrize("kind", TOKEN_EVENTS)
    async def test_is_renewed(self, kind: EventKind) -> None:
        estate = contoso()
        event = an_event(kind)
        # Not yet due by the plan alone.
        estate.deliver(PLACE, a_token(NOW + 20 * DAY))
        await react(estate, replace(event, expiry=NOW + 20 * DAY))
        assert estate.gateways.issued
        assert estate.locations[PLACE].value == a_token(IN_30_DAYS).header_value().reveal()

    async def test_is_renewed_with_a_line_that_says_an_event_asked(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = contoso()
        estate.deliver(PLACE, OLD)
        with caplog.at_level("INFO"):
            await react(estate)
        assert [line["caller"] for line in lines(caplog, "token.issued")] == ["event"]

    async def test_is_renewed_though_its_row_failed_before(self) -> None:
        estate = contoso()
        estate.deliver(PLACE, OLD)
        estate.sweeps.record = SweepRecord(troubles={f"contoso/edge-01 -> {PLACES}{PLACE}": a_trouble(6)})
        await react(estate)
        assert estate.sweeps.record.troubles == {}

    async def test_raises_no_alarm_of_its_own(self, caplog: pytest.LogCaptureFixture) -> None:
        estate = contoso()
        estate.deliver(PLACE, OLD)
        with caplog.at_level(logging.INFO):
            await react(estate)
        assert lines(caplog, "gateway.not_picked_up") == []
        (line,) = lines(caplog, "sweep.row")
        assert (line["outcome"], line["reason"]) == ("renewed", "forced")

    async def test_that_cannot_be_renewed_is_remembered_and_is_not_called_unheard(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = contoso()
        estate.deliver(PLACE, OLD).failing = {"write": OUTAGE}
        with caplog.at_level(logging.INFO):
            await react(estate)
        assert estate.sweeps.record.troubles[f"contoso/edge-01 -> {PLACES}{PLACE}"].failures == 1
        assert lines(caplog, "gateway.not_picked_up") == []


class TestANewerLedger:
    @pytest.mark.parametrize("kind", TOKEN_EVENTS)
    async def test_means_a_restart_and_no_new_token(
        self, kind: EventKind, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = contoso()
        location = estate.deliver(PLACE, NEWER)
        location.restartable, location.running = True, NEWER.fingerprint
        with caplog.at_level(logging.INFO):
            await react(estate, an_event(kind))
        assert (location.calls, estate.gateways.issued) == (["read", "restart"], [])
        (line,) = lines(caplog, "gateway.not_picked_up")
        assert line == {
            "event": "gateway.not_picked_up",
            "level": "ERROR",
            "service": "contoso",
            "gateway": "edge-01",
            "instance": "pod-1",
            "destination": PLACES + PLACE,
            "outcome": "restarted",
        }

    async def test_is_reported_where_nothing_can_be_restarted(self, caplog: pytest.LogCaptureFixture) -> None:
        estate = contoso()
        estate.deliver(PLACE, NEWER)
        with caplog.at_level(logging.INFO):
            await react(estate)
        (line,) = lines(caplog, "gateway.not_picked_up")
        assert (line["outcome"], line["level"]) == ("not_picked_up", "ERROR")

    async def test_is_reported_where_the_restart_fails(self, caplog: pytest.LogCaptureFixture) -> None:
        estate = contoso()
        location = estate.deliver(PLACE, NEWER)
        location.restartable, location.failing = True, {"restart": OUTAGE}
        with caplog.at_level(logging.INFO):
            await react(estate)
        assert lines(caplog, "gateway.not_picked_up")[0]["outcome"] == "not_restarted"

    @pytest.mark.parametrize(("newer", "issued"), [(-MINUTE, 1), (timedelta(0), 1), (MINUTE, 0)])
    async def test_begins_one_minute_after_the_events_token(self, newer: timedelta, issued: int) -> None:
        estate = contoso(renewBefore="P7D", lifetime="P30D")
        estate.deliver(PLACE, a_token(NOW + 20 * DAY + newer))
        await react(estate, an_event(expiry=NOW + 20 * DAY))
        assert len(estate.gateways.issued) == issued


class TestWindowsShorterThanTheNotice:
    """Their tokens are near expiry while they are healthy: acting on every notice would renew them needlessly."""

    @pytest.mark.parametrize(
        ("rule", "issued"),
        [
            ({"lifetime": "P7D"}, 0),
            ({"lifetime": "P8D"}, 0),
            ({"lifetime": "P20D"}, 0),
            ({"lifetime": "P30D", "renewBefore": "P6DT23H59M"}, 0),
            ({"lifetime": "P21D"}, 1),
            ({"lifetime": "P30D", "renewBefore": "P7D"}, 1),
        ],
        ids=str,
    )
    async def test_leave_a_near_expiry_to_the_plan(self, rule: dict[str, str], issued: int) -> None:
        estate = contoso(**rule)
        # Nine days: before every one of these windows, its jitter included.
        token = a_token(NOW + 9 * DAY)
        estate.deliver(PLACE, token)
        await react(estate, an_event(time=NOW, expiry=token.expiry))
        assert len(estate.gateways.issued) == issued

    async def test_do_not_loop(self) -> None:
        estate = contoso(lifetime="P2D")
        for hour in range(24):
            estate.clock.now = NOW + hour * HOUR
            await react(estate, an_event(time=estate.clock.now, expiry=NOW + 2 * DAY))
        assert len(estate.gateways.issued) == 1

    async def test_are_renewed_when_their_token_expired(self) -> None:
        estate = contoso(lifetime="P2D")
        estate.deliver(PLACE, a_token(NOW + 30 * HOUR))
        await react(estate, an_event(EventKind.TOKEN_EXPIRED, expiry=NOW + 30 * HOUR))
        assert len(estate.gateways.issued) == 1


class TestBursts:
    async def test_of_many_instances_are_one_reaction(self, caplog: pytest.LogCaptureFixture) -> None:
        estate = contoso()
        estate.deliver(PLACE, OLD)
        reactions = Reactions()
        with caplog.at_level(logging.INFO):
            events = [an_event(instance=f"pod-{number}") for number in range(20)]
            await asyncio.gather(*(reactions.react(estate.app, event) for event in events))
        assert len(estate.gateways.issued) == 1
        assert (len(lines(caplog, "event.taken")), len(lines(caplog, "event.folded"))) == (1, 19)

    @pytest.mark.parametrize(("later", "taken"), [(FOLD - MINUTE, 1), (FOLD, 1), (FOLD + MINUTE, 2)])
    async def test_end_an_hour_after_the_reaction(
        self, later: timedelta, taken: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = contoso()
        with caplog.at_level(logging.INFO):
            await react(estate, an_event(), an_event(time=NOW + later))
        assert len(lines(caplog, "event.taken")) == taken

    async def test_are_folded_by_other_workers_too(self, caplog: pytest.LogCaptureFixture) -> None:
        estate = contoso()
        with caplog.at_level(logging.INFO):
            await react(estate)
            await react(estate, an_event(gateway="EDGE-01"))
        assert len(lines(caplog, "event.folded")) == 1

    async def test_of_one_gateway_leave_the_others_alone(self) -> None:
        services = {"contoso": {"resourceId": str(CONTOSO), "gateways": {"*": kept()}}}
        estate = Estate(services, {CONTOSO: ("edge-01", "edge-02")})
        await react(estate, an_event(), an_event(gateway="edge-02"))
        assert set(estate.sweeps.record.reactions) == {"contoso/edge-01", "contoso/edge-02"}

    async def test_are_forgotten_once_they_fold_nothing_any_more(self) -> None:
        estate = contoso()
        estate.sweeps.record = SweepRecord(
            reactions={"contoso/recent": NOW - FOLD, "contoso/past": NOW - FOLD - MINUTE}
        )
        await react(estate)
        assert set(estate.sweeps.record.reactions) == {"contoso/edge-01", "contoso/recent"}


class TestGatewaysThatComeAndGo:
    async def test_a_created_one_gets_its_token(self) -> None:
        estate = contoso()
        await react(estate, an_event(EventKind.CREATED, instance=""))
        assert estate.locations[PLACE].value == a_token(IN_30_DAYS).header_value().reveal()

    async def test_a_created_one_that_has_a_fresh_token_keeps_it(self) -> None:
        estate = contoso()
        location = estate.deliver(PLACE, NEWER)
        await react(estate, an_event(EventKind.CREATED, instance=""))
        assert location.calls == ["read"]

    async def test_a_deleted_one_is_forgotten_and_its_secret_left_where_it_is(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = contoso()
        location = estate.deliver(PLACE, NEWER)
        others = {"contoso/edge-010 -> x": a_trouble()}
        troubles = {"contoso/edge-01 -> a": a_trouble(), "contoso/edge-01 -> b": a_trouble(), **others}
        estate.sweeps.record = SweepRecord(troubles=troubles)
        with caplog.at_level(logging.INFO):
            await react(estate, an_event(EventKind.DELETED, gateway="Edge-01", instance=""))
        assert estate.sweeps.record.troubles == others
        assert (location.calls, location.value) == ([], NEWER.header_value().reveal())
        assert lines(caplog, "gateway.retired")[0]["level"] == "WARNING"

    async def test_a_sweep_is_not_counted_as_complete_by_a_reaction(self) -> None:
        estate = contoso()
        await react(estate)
        assert estate.sweeps.record.completed_at is None


class TestWhichGateways:
    @pytest.mark.parametrize(
        "change", [{"gateway": "lab-01"}, {"service": FABRIKAM}], ids=["gateway", "service"]
    )
    async def test_unmanaged_ones_are_ignored_with_a_line(
        self, change: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = contoso()
        with caplog.at_level(logging.INFO):
            await react(estate, an_event(**change))
        (line,) = lines(caplog)
        assert (line["event"], line["reason"]) == ("event.ignored", "not_managed")
        assert estate.sweeps.record == SweepRecord()

    async def test_a_service_is_known_in_any_case(self) -> None:
        estate = contoso()
        await react(estate, an_event(service=replace(CONTOSO, resource_group="RG-APIS", name="Contoso-APIM")))
        assert len(estate.gateways.issued) == 1

    async def test_a_service_under_two_names_is_kept_under_both(self) -> None:
        services = {
            name: {"resourceId": str(CONTOSO), "gateways": {"*": kept()}} for name in ("contoso", "alias")
        }
        estate = Estate(services, {CONTOSO: ("edge-01",)})
        await react(estate)
        assert set(estate.locations) == {PLACE, "alias-edge-01"}
        assert all(location.value for location in estate.locations.values())


class TestTheRecord:
    async def test_that_cannot_be_read_stops_nothing(self) -> None:
        estate = contoso()
        estate.sweeps.failing = {"load": OUTAGE}
        await react(estate)
        assert len(estate.gateways.issued) == 1

    async def test_that_cannot_be_written_fails_the_reaction_after_it_is_done(self) -> None:
        estate = contoso()
        estate.sweeps.failing = {"update": OUTAGE}
        with pytest.raises(AzureUnavailable):
            await react(estate)
        assert estate.locations[PLACE].value
