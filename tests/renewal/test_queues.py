"""What the timer and the queues bring: messages for every subscription, and API Management's events."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway_tokens.errors import EventInvalid, MessageInvalid
from gateway_tokens.renewal.queues import EventKind, GatewayEvent, Queues, react, read_events
from gateway_tokens.tokens import KeyType
from tests.renewal_estate import (
    CONTOSO,
    DAY,
    FABRIKAM,
    HOME,
    HOUR,
    MINUTE,
    NOW,
    Estate,
    Log,
    contoso,
    holding,
    kept,
    lines,
)

OLD, NEW = NOW + 7 * DAY, NOW + 25 * DAY
NEAR_EXPIRY, EXPIRED, CREATED, DELETED = EventKind


def an_event(kind: EventKind = NEAR_EXPIRY, time: datetime = NOW, expiry: datetime = OLD) -> GatewayEvent:
    return GatewayEvent(kind, CONTOSO, "edge-01", "pod-1", time, expiry)


def test_the_timer_asks_for_a_run_of_every_subscription_that_has_something_to_renew() -> None:
    gateways = {"*": kept()}
    services = {
        "contoso": {"resourceId": str(CONTOSO), "gateways": gateways},
        "contoso-2": {"resourceId": str(CONTOSO).replace("contoso-apim", "two"), "gateways": gateways},
        "fabrikam": {"resourceId": str(FABRIKAM), "gateways": gateways},
        "pulled": {"resourceId": str(CONTOSO).replace("1111", "3333"), "gateways": {}},
    }
    requests = [json.loads(message) for message in Queues(lambda: Estate(services, {}).app).due()]
    assert [r["subscription"] for r in requests] == [CONTOSO.subscription_id, FABRIKAM.subscription_id]
    assert {(r["askedBy"], r["askedAt"]) for r in requests} == {("schedule", "2026-03-01T12:00:00Z")}
    assert len({r["run"] for r in requests}) == 1


@pytest.mark.parametrize("kind", ["run", "event"])
@pytest.mark.parametrize(("count", "event"), [(4, "message.failed"), (5, "message.poisoned")])
async def test_a_message_that_cannot_be_read_is_told_at_every_try_and_as_poisoned_at_the_last(
    caplog: Log, kind: str, count: int, event: str
) -> None:
    queues = Queues(lambda: contoso().app)
    with pytest.raises((MessageInvalid, EventInvalid)):
        await (queues.reconcile if kind == "run" else queues.take)(b"{}", count)
    (line,) = lines(caplog, event)
    shown = [line[name] for name in ("kind", "code", "dequeueCount", "level")]
    assert shown == [kind, "message_invalid" if kind == "run" else "event_invalid", count, "ERROR"]


SHORT: dict[str, Any] = {"renewBefore": "P5D"}
AT_NIGHT: dict[str, Any] = {"windows": [{"from": "22:00", "to": "23:30"}]}


@pytest.mark.parametrize(
    ("stored", "event", "rule", "outcome"),
    [
        (OLD, an_event(), {}, "renewed"),
        (OLD, an_event(EXPIRED), {}, "renewed"),
        # A token whose window is shorter than the notice is left alone until it has expired.
        (OLD, an_event(), SHORT, "fresh"),
        (OLD, an_event(EXPIRED), SHORT, "renewed"),
        # What was issued before the gateway was made anew is renewed, and nothing younger.
        (NEW, an_event(CREATED, NOW + MINUTE), {}, "renewed"),
        (NEW, an_event(CREATED, NOW), {}, "fresh"),
        # What an event asks for waits for windows, unless few runs are left.
        (NEW, an_event(expiry=NEW), AT_NIGHT, "waiting"),
        (NEW, an_event(CREATED, NOW + MINUTE), AT_NIGHT, "waiting"),
        (NOW + 3 * HOUR + MINUTE, an_event(), AT_NIGHT | {"riskMargin": "PT1H"}, "waiting"),
        (NOW + 3 * HOUR, an_event(), AT_NIGHT | {"riskMargin": "PT1H"}, "renewed"),
    ],
)
async def test_an_event_renews_what_it_is_about(
    stored: datetime, event: GatewayEvent, rule: dict[str, Any], outcome: str
) -> None:
    estate = holding(stored, **rule)
    await react(estate.app, event)
    assert estate.ended == [outcome]


async def test_a_token_that_is_dead_since_its_gateway_was_made_anew_waits_for_no_window() -> None:
    estate = holding(NEW, **AT_NIGHT)
    estate.gateways.new_keys.append(("edge-01", KeyType.PRIMARY))
    await react(estate.app, an_event(CREATED, NOW + MINUTE))
    assert estate.ended == ["renewed"]


async def test_an_older_token_that_runs_is_told_until_a_day_after_its_expiry_or_a_renewal(
    caplog: Log,
) -> None:
    estate = holding(NEW)
    await react(estate.app, an_event(expiry=NOW + 2 * DAY))
    assert [line["code"] for line in lines(caplog, "run.row")] == ["not_picked_up"]
    assert await estate.outcomes(3 * DAY - MINUTE) == ["failed"]
    assert await estate.outcomes(MINUTE) == ["fresh"]
    await react(estate.app, an_event())
    await estate.run(HOUR, force=True)
    assert await estate.outcomes(HOUR) == ["fresh"]


async def test_ten_events_restart_a_workload_once() -> None:
    estate = contoso()
    location = estate.location(HOME, restartable=True)
    await estate.run()
    location.asked = location.running = "older"
    estate.clock.now += HOUR
    for _ in range(10):
        await react(estate.app, an_event())
    assert (location.restarts_begun, len(estate.gateways.issued)) == (2, 1)


async def test_a_deleted_gateway_is_told_and_one_that_is_not_managed_ignored(caplog: Log) -> None:
    estate = contoso()
    await react(estate.app, an_event(DELETED))
    assert [line["gateway"] for line in lines(caplog, "gateway.gone")] == ["edge-01"]
    await react(estate.app, replace(an_event(), gateway="other"))
    await react(estate.app, replace(an_event(), service=FABRIKAM))
    assert [line["reason"] for line in lines(caplog, "event.ignored")] == ["not_managed"] * 2
    assert estate.gateways.issued == []


# API Management's events as Event Grid delivers them: both schemas, every published spelling.

OFFICIAL = Path(__file__).parent.parent / "official" / "eventgrid" / "2018-01-01"
AT, EXPIRES = datetime(2026, 3, 24, 11, 55, tzinfo=UTC), datetime(2026, 3, 31, 11, 55, tzinfo=UTC)
NEAR = GatewayEvent(NEAR_EXPIRY, CONTOSO, "edge-01", "pod-7f9c", AT, EXPIRES)
IS_EXPIRED = {"type": "Microsoft.ApiManagement.GatewayTokenExpired"}


def official(schema: str, name: str) -> dict[str, Any]:
    """Azure's own example, with its placeholders filled in."""
    text, service = (OFFICIAL / schema / f"{name}.json").read_text(), CONTOSO
    text = text.replace("{subscription-id}", service.subscription_id).replace("{gateway-name}", "edge-01")
    text = text.replace("{your-rg}", service.resource_group).replace("{your-APIM-instance}", service.name)
    document: dict[str, Any] = json.loads(text)
    return document


def cloud(**change: object) -> dict[str, Any]:
    """A token's event in CloudEvents 1.0, as the documentation has it."""
    return {
        "source": str(CONTOSO),
        "subject": "/gateways/edge-01/pod-7f9c",
        "type": "Microsoft.ApiManagement.GatewayTokenNearExpiry",
        "time": "2026-03-24T11:55:00Z",
        "id": "92c502f2-a966-42a7-a428-d3b319844544",
        "data": {
            "gatewayInfo": {"gatewayId": "edge-01", "instanceId": "pod-7f9c"},
            "tokenInfo": {"expiresAtUtc": "2026-03-31T11:55:00Z"},
        },
        "specversion": "1.0",
        **change,
    }


def grid(**change: object) -> dict[str, Any]:
    """The same in Event Grid's own schema."""
    names = {"source": "topic", "type": "eventType", "time": "eventTime", "specversion": "dataVersion"}
    return {names.get(name, name): value for name, value in cloud().items()} | change


def only(document: object) -> GatewayEvent:
    (event,) = read_events(json.dumps(document).encode())
    return event


@pytest.mark.parametrize(
    ("schema", "time"),
    [
        ("cloud-events-schema", datetime(2021, 7, 2, 0, 47, 47, 853653, UTC)),
        ("event-grid-schema", datetime(2021, 7, 2, 0, 47, 48, 826976, UTC)),
    ],
)
def test_azures_own_examples_tell_which_gateway_came_or_went(schema: str, time: datetime) -> None:
    created, deleted = (only(official(schema, name)) for name in ("gatewayCreated", "gatewayDeleted"))
    assert created == GatewayEvent(CREATED, CONTOSO, "edge-01", "", time, time)
    assert (deleted.kind, deleted.service, deleted.gateway) == (DELETED, CONTOSO, "edge-01")
    others = [official(schema, name) for name in ("gatewayUpdated", "apiUpdated")]
    assert read_events(json.dumps(others).encode()) == []


class TestTokenEvents:
    @pytest.mark.parametrize("event", [cloud(), grid(), {n.upper(): v for n, v in cloud().items()}])
    def test_are_read_in_both_schemas_with_their_fields_in_any_case(self, event: dict[str, Any]) -> None:
        assert only(event) == NEAR

    @pytest.mark.parametrize("service", ["Microsoft.ApiManagement", "microsoft.apimanagement"])
    @pytest.mark.parametrize("separator", ["", "."])
    def test_are_known_by_every_published_spelling_of_their_type(self, service: str, separator: str) -> None:
        for name, kind in {"NearExpiry": NEAR_EXPIRY, "nearexpiry": NEAR_EXPIRY, "Expired": EXPIRED}.items():
            spelt = f"{service}.Gateway{separator}Token{name}"
            assert only(cloud(type=spelt)).kind is only(grid(eventType=spelt)).kind is kind

    @pytest.mark.parametrize("name", ["expiresAtUtc", "expiredAtUtc", "ExpiresAtUtc"])
    @pytest.mark.parametrize("clock", ["11:55:00.0000000Z", "11:55:00", "11:55:00+00:00", "13:55:00+02:00"])
    def test_tell_the_expiry_under_either_name_in_any_zone_and_without_one_in_utc(
        self, name: str, clock: str
    ) -> None:
        assert only(cloud(data={"tokenInfo": {name: f"2026-03-31T{clock}"}}, **IS_EXPIRED)).expiry == EXPIRES

    @pytest.mark.parametrize("token", [None, {"expiresAtUtc": "soon"}, {"expiresAtUtc": None}, "soon"])
    def test_without_an_expiry_imply_one(self, token: object) -> None:
        assert only(cloud(data={"tokenInfo": token})).expiry == AT + 7 * DAY
        assert only(cloud(data={"tokenInfo": token}, **IS_EXPIRED)).expiry == AT

    @pytest.mark.parametrize(
        "change",
        [
            {"data": {"gatewayInfo": {"gatewayId": f"{CONTOSO}/gateways/edge-01/"}}},
            {"source": "apim", "data": {"gatewayInfo": {"gatewayId": f"{CONTOSO}/gateways/edge-01"}}},
            *({"data": data} for data in ({}, {"gatewayInfo": {"gatewayId": ""}}, "text")),
            {"data": {"GatewayInfo": {"GatewayId": "edge-01", "InstanceId": "pod-7f9c"}}, "subject": ""},
            {"source": str(CONTOSO).replace("Groups", "groups").replace("Microsoft", "MICROSOFT")},
            {"source": str(CONTOSO).replace("/providers", "")},
            {"subject": "GATEWAYS/edge-01/pod-7f9c/", "data": {}},
        ],
        ids=str,
    )
    def test_name_service_gateway_and_instance_in_any_published_way(self, change: dict[str, object]) -> None:
        event = only(cloud(**change))
        assert (event.service, event.gateway, event.instance) == (CONTOSO, "edge-01", "pod-7f9c")


def test_a_message_may_be_encoded_in_base64_or_indented() -> None:
    plain = json.dumps(cloud(), indent=2).encode()
    for body in (base64.b64encode(plain), plain, b"\r\n" + plain):
        assert read_events(body) == [NEAR]


def test_a_message_may_hold_several_events_in_their_order_or_none() -> None:
    others = [{"type": f"{service}.GatewayTokenExpired"} for service in ("Contoso", "Microsoft.Storage")]
    events = [cloud(), *others, cloud(subject="/gateways/edge-02/pod/1", data={})]
    read = read_events(json.dumps(events).encode())
    assert [(event.gateway, event.instance) for event in read] == [
        ("edge-01", "pod-7f9c"),
        ("edge-02", "pod/1"),
    ]
    assert read_events(b"[]") == []


NO_EVENTS: dict[str, list[bytes | dict[str, Any]]] = {
    "message: is empty": [b"", b"\xff\xfe"],
    "message: is not JSON": [b"hello", base64.b64encode(b"hello")],
    "'id' is given twice": [b'{"id": 1, "id": 2}'],
    "nested too deeply": [b"[" * 100_000],
    "it has no type": [b"5", b"{}", b'[["x"]]', b'{"type": 5}'],
    "it has no time": [
        cloud(time=time) for time in (None, "yesterday", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z")
    ],
    "it names no API Management service": [
        cloud(source=None),
        cloud(source=str(CONTOSO).replace(CONTOSO.subscription_id, "x")),
        cloud(source=str(CONTOSO).replace("ApiManagement/service", "Storage/accounts")),
    ],
    "it names no gateway": [
        cloud(subject="/apis/edge-01", data={"gatewayInfo": {"gatewayId": name}})
        for name in ("", "managed", "a b")
    ],
}


@pytest.mark.parametrize("reason", NO_EVENTS)
def test_what_is_no_event_says_what_it_lacks(reason: str) -> None:
    for message in NO_EVENTS[reason]:
        with pytest.raises(EventInvalid, match=reason):
            read_events(message if isinstance(message, bytes) else json.dumps(message).encode())
