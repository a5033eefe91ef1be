"""What the timer and the queues bring: messages for every subscription, and API Management's events."""

import json
from datetime import timedelta
from typing import Any

import pytest

from gateway_tokens.errors import EventInvalid, MessageInvalid, SettingsInvalid
from gateway_tokens.renewal.queues import EventKind, GatewayEvent, Queues, react
from gateway_tokens.renewal.rows import Demand
from tests.renewal_estate import CONTOSO, DAY, FABRIKAM, HOUR, NOW, Estate, a_token, contoso, kept, lines

HOME, OLD = "contoso-edge-01", NOW + 7 * DAY


def an_event(kind: EventKind = EventKind.TOKEN_NEAR_EXPIRY, **more: Any) -> GatewayEvent:  # noqa: ANN401 - the event's own
    expiry = OLD if kind is EventKind.TOKEN_NEAR_EXPIRY else NOW
    usual = {
        "kind": kind,
        "service": CONTOSO,
        "gateway": "edge-01",
        "instance": "pod-1",
        "time": NOW,
        "expiry": expiry,
    }
    return GatewayEvent(**{**usual, **more})


def as_message(kind: str = "GatewayTokenExpired") -> bytes:
    return json.dumps(
        {
            "type": f"Microsoft.ApiManagement.{kind}",
            "source": str(CONTOSO),
            "subject": "/gateways/edge-01/pod-1",
            "time": "2026-03-01T12:00:00Z",
            "data": {
                "gatewayInfo": {"gatewayId": "edge-01"},
                "tokenInfo": {"expiredAtUtc": "2026-03-01T12:00:00Z"},
            },
        }
    ).encode()


def estate_of_two() -> Estate:
    services = {
        "contoso": {"resourceId": str(CONTOSO), "gateways": {"edge-01": kept()}},
        "fabrikam": {"resourceId": str(FABRIKAM), "gateways": {"*": kept()}},
    }
    return Estate(services, {CONTOSO: ("edge-01",), FABRIKAM: ("plant-a",)})


class TestTheTimer:
    def test_asks_for_a_run_of_every_subscription(self) -> None:
        requests = [json.loads(message) for message in Queues(lambda: estate_of_two().app).due()]
        assert [r["subscription"] for r in requests] == [CONTOSO.subscription_id, FABRIKAM.subscription_id]
        assert {(r["askedBy"], r["askedAt"]) for r in requests} == {("schedule", "2026-03-01T12:00:00Z")}

    def test_fails_when_the_settings_cannot_be_read(self) -> None:
        def broken() -> Any:  # noqa: ANN401 - it returns nothing
            raise SettingsInvalid([])

        with pytest.raises(SettingsInvalid):
            Queues(broken).due()


class TestTheQueueOfRenewals:
    async def test_brings_a_run(self) -> None:
        estate = contoso()
        queues = Queues(lambda: estate.app)
        for message in queues.due():
            await queues.reconcile(message.encode(), 1)
        assert estate.locations[HOME].value

    @pytest.mark.parametrize(("count", "event"), [(4, "message.failed"), (5, "message.poisoned")])
    async def test_a_message_that_cannot_be_read_is_told_at_every_try_and_as_poisoned_at_the_last(
        self, caplog: pytest.LogCaptureFixture, count: int, event: str
    ) -> None:
        with pytest.raises(MessageInvalid):
            await Queues(lambda: contoso().app).reconcile(b"{}", count)
        (line,) = lines(caplog, event)
        assert (line["kind"], line["code"], line["dequeueCount"], line["level"]) == (
            "run",
            "message_invalid",
            count,
            "ERROR",
        )


class TestTheQueueOfEvents:
    async def test_renews_the_gateway(self) -> None:
        estate = contoso()
        await Queues(lambda: estate.app).take(as_message(), 1)
        assert estate.locations[HOME].value

    async def test_refuses_what_is_not_an_event(self, caplog: pytest.LogCaptureFixture) -> None:
        with pytest.raises(EventInvalid):
            await Queues(lambda: contoso().app).take(b"odd", 5)
        assert [line["kind"] for line in lines(caplog, "message.poisoned")] == ["event"]


class TestATokenEvent:
    @pytest.mark.parametrize("kind", [EventKind.TOKEN_NEAR_EXPIRY, EventKind.TOKEN_EXPIRED])
    async def test_renews_a_stored_token_that_is_as_old(self, kind: EventKind) -> None:
        estate = contoso()
        event = an_event(kind, expiry=OLD)
        estate.deliver(HOME, a_token(OLD))
        await react(estate.app, event)
        assert estate.rows()[0]["outcome"] == "renewed"

    async def test_leaves_a_token_alone_whose_window_is_shorter_than_the_notice_until_it_has_expired(
        self,
    ) -> None:
        estate = contoso(renewBefore="P5D")
        estate.deliver(HOME, a_token(OLD))
        await react(estate.app, an_event())
        assert estate.rows()[0]["outcome"] == "fresh"
        await react(estate.app, an_event(EventKind.TOKEN_EXPIRED, expiry=OLD))
        assert estate.rows()[0]["outcome"] == "renewed"

    async def test_with_a_newer_token_stored_tells_that_it_was_not_picked_up(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = contoso()
        estate.deliver(HOME, a_token(NOW + 25 * DAY))
        await react(estate.app, an_event())
        assert (estate.rows()[0]["outcome"], estate.rows()[0]["code"]) == ("failed", "not_picked_up")
        assert [line["code"] for line in lines(caplog, "run.row")] == ["not_picked_up"]

    async def test_that_is_told_until_a_day_after_the_old_token_expired(self) -> None:
        estate = contoso()
        estate.deliver(HOME, a_token(NOW + 25 * DAY))
        await react(estate.app, an_event(expiry=NOW + 2 * DAY))
        for later, outcome in ((HOUR, "failed"), (3 * DAY - HOUR, "failed"), (3 * DAY, "fresh")):
            estate.clock.now = NOW + later
            assert [row["outcome"] for row in await estate.run()] == [outcome]

    async def test_that_is_told_until_a_renewal(self) -> None:
        estate = contoso()
        estate.deliver(HOME, a_token(NOW + 25 * DAY))
        await react(estate.app, an_event())
        estate.clock.now = NOW + HOUR
        await estate.renew(Demand(NOW + HOUR, issued_before=NOW + HOUR))
        estate.clock.now = NOW + 2 * HOUR
        assert [row["outcome"] for row in await estate.run()] == ["fresh"]

    async def test_ten_times_restarts_the_workload_once(self) -> None:
        estate = contoso()
        location = estate.location(HOME, restartable=True)
        await estate.run()
        location.asked = location.running = "older"
        estate.clock.now = NOW + HOUR
        for number in range(10):
            await react(estate.app, an_event(instance=f"pod-{number}"))
        assert location.restarts_begun == 2
        assert len(estate.gateways.issued) == 1


class TestOtherEvents:
    async def test_a_new_gateway_gets_its_token_at_once(self) -> None:
        estate = contoso()
        await react(estate.app, an_event(EventKind.CREATED))
        assert estate.locations[HOME].value

    async def test_a_gateway_made_anew_has_what_was_issued_before_renewed_and_nothing_younger(self) -> None:
        for since, tokens in ((HOUR, 1), (-HOUR, 0)):
            estate = contoso()
            estate.deliver(HOME, a_token(NOW + 25 * DAY))
            estate.clock.now += 2 * HOUR
            await react(estate.app, an_event(EventKind.CREATED, time=NOW + since))
            assert len(estate.gateways.issued) == tokens

    async def test_a_deleted_gateway_is_told(self, caplog: pytest.LogCaptureFixture) -> None:
        estate = contoso()
        await react(estate.app, an_event(EventKind.DELETED))
        assert [line["gateway"] for line in lines(caplog, "gateway.gone")] == ["edge-01"]
        assert estate.gateways.issued == []

    @pytest.mark.parametrize("more", [{"gateway": "other"}, {"service": FABRIKAM}])
    async def test_a_gateway_that_is_not_managed_is_ignored(
        self, caplog: pytest.LogCaptureFixture, more: dict[str, Any]
    ) -> None:
        await react(contoso().app, an_event(**more))
        assert [line["reason"] for line in lines(caplog, "event.ignored")] == ["not_managed"]


class TestWhatCannotBeSeen:
    """A location that cannot be read is judged by the expiry that was last seen there."""

    async def test_it_is_not_at_risk_while_the_expiry_last_seen_is_far(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = contoso()
        await estate.run()
        estate.locations[HOME].failing = {"read": OSError("away")}  # type: ignore[dict-item]
        for days, risk in ((2, False), (24, False), (26, True)):
            estate.clock.now = NOW + timedelta(days=days)
            caplog.clear()
            await estate.run()
            (row,) = lines(caplog, "run.row")
            assert (row["outcome"], row["atRisk"]) == ("failed", risk)
            assert (row["failingSince"], row["hoursLeft"]) == ("2026-03-03T12:00:00Z", (30 - days) * 24 - 1)

    async def test_without_a_report_nothing_is_known_and_nothing_is_at_risk(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = contoso()
        estate.location(HOME).failing = {"read": OSError("away")}  # type: ignore[dict-item]
        await estate.run()
        assert [row["atRisk"] for row in lines(caplog, "run.row")] == [False]

    async def test_a_gateway_that_has_no_token_and_cannot_be_given_one_is_at_risk(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        estate = contoso()
        estate.location(HOME).failing = {"write": OSError("away")}  # type: ignore[dict-item]
        await estate.run()
        assert [row["atRisk"] for row in lines(caplog, "run.row")] == [True]
