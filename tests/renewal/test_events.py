"""API Management's events as Event Grid delivers them: both schemas, every published spelling."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway_tokens.errors import EventInvalid
from gateway_tokens.renewal.queues import EventKind, GatewayEvent, read_events
from tests.renewal_estate import CONTOSO, DAY

OFFICIAL = Path(__file__).parent.parent / "official" / "eventgrid" / "2018-01-01"
SCHEMAS = ("cloud-events-schema", "event-grid-schema")
EXPIRES = datetime(2026, 3, 31, 11, 55, tzinfo=UTC)
AT = datetime(2026, 3, 24, 11, 55, tzinfo=UTC)


def official(schema: str, name: str) -> dict[str, Any]:
    """Azure's own example, with its placeholders filled in."""
    text = (OFFICIAL / schema / f"{name}.json").read_text()
    for placeholder, value in {
        "{subscription-id}": CONTOSO.subscription_id,
        "{your-rg}": CONTOSO.resource_group,
        "{your-APIM-instance}": CONTOSO.name,
        "{gateway-name}": "edge-01",
    }.items():
        text = text.replace(placeholder, value)
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
    event = cloud()
    return {
        "id": event["id"],
        "topic": event["source"],
        "subject": event["subject"],
        "data": event["data"],
        "eventType": event["type"],
        "dataVersion": "1",
        "metadataVersion": "1",
        "eventTime": event["time"],
        **change,
    }


def read(document: object) -> list[GatewayEvent]:
    return read_events(json.dumps(document).encode())


def only(document: object) -> GatewayEvent:
    (event,) = read(document)
    return event


NEAR = GatewayEvent(EventKind.TOKEN_NEAR_EXPIRY, CONTOSO, "edge-01", "pod-7f9c", AT, EXPIRES)


class TestAzuresOwnExamples:
    @pytest.mark.parametrize("schema", SCHEMAS)
    @pytest.mark.parametrize(
        ("name", "kind"), [("gatewayCreated", EventKind.CREATED), ("gatewayDeleted", EventKind.DELETED)]
    )
    def test_tell_which_gateway_came_or_went(self, schema: str, name: str, kind: EventKind) -> None:
        event = only(official(schema, name))
        assert (event.kind, event.service, event.gateway, event.instance) == (kind, CONTOSO, "edge-01", "")

    @pytest.mark.parametrize(
        ("schema", "time"),
        [
            ("cloud-events-schema", datetime(2021, 7, 2, 0, 47, 47, 853653, UTC)),
            ("event-grid-schema", datetime(2021, 7, 2, 0, 47, 48, 826976, UTC)),
        ],
    )
    def test_have_seven_digits_of_a_second(self, schema: str, time: datetime) -> None:
        assert only(official(schema, "gatewayCreated")).time == time

    @pytest.mark.parametrize("schema", SCHEMAS)
    @pytest.mark.parametrize("name", ["gatewayUpdated", "apiUpdated"])
    def test_that_are_about_something_else_are_ignored(self, schema: str, name: str) -> None:
        assert read(official(schema, name)) == []


def about(gateway: object = None, token: object = None, **change: object) -> dict[str, Any]:
    """A token's event whose data are these."""
    usual = {"gatewayId": "edge-01", "instanceId": "pod-7f9c"}
    return cloud(data={"gatewayInfo": gateway or usual, "tokenInfo": token}, **change)


class TestTokenEvents:
    @pytest.mark.parametrize("event", [cloud(), grid()], ids=SCHEMAS)
    def test_are_read_in_both_schemas(self, event: dict[str, Any]) -> None:
        assert only(event) == NEAR

    @pytest.mark.parametrize("service", ["Microsoft.ApiManagement", "microsoft.apimanagement"])
    @pytest.mark.parametrize("separator", ["", "."])
    def test_are_known_by_every_published_spelling_of_their_type(self, service: str, separator: str) -> None:
        for name, kind in (
            ("NearExpiry", EventKind.TOKEN_NEAR_EXPIRY),
            ("nearexpiry", EventKind.TOKEN_NEAR_EXPIRY),
            ("Expired", EventKind.TOKEN_EXPIRED),
        ):
            spelt = f"{service}.Gateway{separator}Token{name}"
            assert only(cloud(type=spelt)).kind is kind
            assert only(grid(eventType=spelt)).kind is kind

    @pytest.mark.parametrize("name", ["expiresAtUtc", "expiredAtUtc", "ExpiresAtUtc"])
    @pytest.mark.parametrize("kind", ["GatewayTokenNearExpiry", "GatewayTokenExpired"])
    @pytest.mark.parametrize("clock", ["11:55:00.0000000Z", "11:55:00", "11:55:00+00:00", "13:55:00+02:00"])
    def test_tell_the_tokens_expiry_under_either_name_in_any_zone_and_without_one_in_utc(
        self, kind: str, name: str, clock: str
    ) -> None:
        event = about(token={name: f"2026-03-31T{clock}"}, type=f"Microsoft.ApiManagement.{kind}")
        assert only(event).expiry == EXPIRES

    @pytest.mark.parametrize("token", [None, {}, {"expiresAtUtc": "soon"}, {"expiresAtUtc": None}, "soon"])
    def test_without_an_expiry_imply_one(self, token: object) -> None:
        assert only(about(token=token)).expiry == AT + 7 * DAY
        expired = about(token=token, type="Microsoft.ApiManagement.GatewayTokenExpired")
        assert only(expired).expiry == AT

    @pytest.mark.parametrize(
        "change",
        [
            {"data": {"gatewayInfo": {"gatewayId": f"{CONTOSO}/gateways/edge-01", "instanceId": "pod-7f9c"}}},
            {"data": {"gatewayInfo": {"gatewayId": f"{CONTOSO}/gateways/edge-01/"}}},
            {"source": "apim", "data": {"gatewayInfo": {"gatewayId": f"{CONTOSO}/gateways/edge-01"}}},
            *({"data": data} for data in (None, {}, {"gatewayInfo": None}, "text")),
            {"data": {"gatewayInfo": {"gatewayId": ""}}},
            {"data": {"GatewayInfo": {"GatewayId": "edge-01", "InstanceId": "pod-7f9c"}}, "subject": ""},
            {"source": str(CONTOSO).replace("Groups", "groups").replace("Microsoft", "MICROSOFT")},
            {"source": str(CONTOSO).replace("/providers", "")},
        ],
        ids=str,
    )
    def test_name_service_gateway_and_instance_in_any_published_way(self, change: dict[str, object]) -> None:
        event = only(cloud(**change))
        assert (event.service, event.gateway, event.instance) == (CONTOSO, "edge-01", "pod-7f9c")

    @pytest.mark.parametrize("subject", ["gateways/edge-01/pod/1", "/GATEWAYS/edge-01/pod/1/"])
    def test_have_a_subject_whose_rest_is_the_instance(self, subject: str) -> None:
        event = only(cloud(subject=subject, data={}))
        assert (event.gateway, event.instance) == ("edge-01", "pod/1")

    def test_may_spell_their_fields_in_any_case(self) -> None:
        assert only({name.upper(): value for name, value in cloud().items()}) == NEAR


class TestMessages:
    def test_may_be_encoded_in_base64(self) -> None:
        assert read_events(base64.b64encode(json.dumps(cloud()).encode())) == [NEAR]

    @pytest.mark.parametrize("space", [b"", b" ", b"\r\n"])
    def test_may_be_plain_and_indented(self, space: bytes) -> None:
        assert read_events(space + json.dumps(grid(), indent=2).encode()) == [NEAR]

    def test_may_hold_several_events_in_their_order(self) -> None:
        second = cloud(subject="/gateways/edge-02", data={})
        assert [event.gateway for event in read([cloud(), official(SCHEMAS[0], "apiUpdated"), second])] == [
            "edge-01",
            "edge-02",
        ]

    def test_may_hold_none(self) -> None:
        assert read([]) == []

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (b"", "message: is empty"),
            (b"hello", "message: is not JSON"),
            (b"{", "message: is not JSON"),
            (b"\xff\xfe", "message: is empty"),
            (base64.b64encode(b"hello"), "message: is not JSON"),
            (b'{"id": 1, "id": 2}', "'id' is given twice"),
            (b"[" * 100_000, "nested too deeply"),
            (b"5", "it has no type"),
            (b"{}", "it has no type"),
            (b'[["x"]]', "it has no type"),
            (b'{"type": 5}', "it has no type"),
        ],
        ids=lambda value: repr(value)[:20],
    )
    def test_that_are_no_event_say_in_which_way(self, body: bytes, reason: str) -> None:
        with pytest.raises(EventInvalid, match=reason):
            read_events(body)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"time": None}, "it has no time"),
            ({"time": "yesterday"}, "it has no time"),
            ({"time": "0001-01-01T00:00:00+14:00"}, "it has no time"),
            ({"time": "9999-12-31T23:59:59Z"}, "it has no time"),
            ({"source": None}, "it names no API Management service"),
            (
                {"source": "/subscriptions/x/resourceGroups/rg/providers/Microsoft.ApiManagement/service/y"},
                "no API",
            ),
            (
                {"source": str(CONTOSO).replace("ApiManagement/service", "Storage/accounts")},
                "no API Management",
            ),
            ({"subject": "", "data": {}}, "it names no gateway"),
            ({"subject": "/apis/edge-01", "data": {}}, "it names no gateway"),
            ({"data": {"gatewayInfo": {"gatewayId": "managed"}}}, "it names no gateway"),
            ({"data": {"gatewayInfo": {"gatewayId": "a b"}}}, "it names no gateway"),
        ],
        ids=str,
    )
    def test_about_a_token_that_lack_a_part_say_which(self, change: dict[str, object], reason: str) -> None:
        with pytest.raises(EventInvalid, match=reason):
            read(cloud(**change))

    def test_about_something_else_are_ignored_whatever_they_lack(self) -> None:
        assert read({"type": "Microsoft.Storage.BlobCreated"}) == []
        assert read({"type": "Contoso.GatewayTokenExpired"}) == []
