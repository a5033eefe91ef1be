"""The REST reference of Gateway - Generate Token, row by row, where the wire is needed to keep it.

https://learn.microsoft.com/rest/api/apimanagement/gateway/generate-token
"""

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from emulator.azure import Azure
from emulator.endpoint import Endpoint, Route
from emulator.faults import Fault
from emulator.server import Emulator
from tests import served_estate
from tests.http_calls import document, generate_token
from tests.served_estate import Opens

pytestmark = pytest.mark.usefixtures("app")


class Sent(NamedTuple):
    """One request as Azure Resource Manager received it."""

    method: str
    path: str
    query: dict[str, str]
    authorization: str
    body: dict[str, Any]


class Recorder(Endpoint):
    """An ARM that keeps what it is sent, and has no token for anybody."""

    host = "recorder"
    anonymous = True

    def __init__(self) -> None:
        self.sent: list[Sent] = []

    def routes(self) -> list[Route]:
        return [Route("POST", "/{path:.*}", self._keep)]

    async def _keep(self, _: Azure, request: web.Request) -> web.Response:
        authorization = request.headers.get("Authorization", "")
        sent = Sent(request.method, request.path, dict(request.query), authorization, await request.json())
        self.sent.append(sent)
        return web.json_response({"value": ""})


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def emulator(recorder: Recorder) -> AsyncIterator[Emulator]:
    async with Emulator(endpoints=[recorder]) as running:
        yield running


async def sent(recorder: Recorder, app: Opens, body: object = None) -> Sent:
    """What goes to ARM for this request of a caller's."""
    app(ARM_ENDPOINT=recorder.url)
    await generate_token(body=body)
    return recorder.sent.pop()


async def test_the_request_has_the_uri_parameters_the_method_and_the_security_of_the_reference(
    emulator: Emulator, recorder: Recorder, app: Opens
) -> None:
    only = await sent(recorder, app)
    group = f"/subscriptions/{served_estate.CONTOSO.subscription_id}/resourceGroups/rg-apis"
    service = f"{group}/providers/Microsoft.ApiManagement/service/contoso-apim"
    assert (only.method, only.path) == ("POST", f"{service}/gateways/edge-01/generateToken")
    assert re.fullmatch(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}", only.query["api-version"])
    assert only.query["api-version"] >= "2022-08-01"
    scheme, _, token = only.authorization.partition(" ")
    assert scheme == "Bearer"
    assert token in emulator.azure.bearers


async def test_the_body_is_a_gateway_token_request_contract_of_which_azure_requires_both_fields(
    recorder: Recorder, app: Opens
) -> None:
    assert set((await sent(recorder, app)).body) == {"expiry", "keyType"}
    body = (await sent(recorder, app, {"lifetime": "P30D"})).body
    assert set(body) == {"expiry", "keyType"}
    assert re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:00(\.0+)?Z", body["expiry"])
    ahead = datetime.fromisoformat(body["expiry"]) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < ahead < timedelta(days=30)


async def test_key_type_is_primary_by_default_and_has_the_values_primary_and_secondary(
    recorder: Recorder, app: Opens
) -> None:
    for asked, key_type in ((None, "primary"), ("primary", "primary"), ("secondary", "secondary")):
        assert (await sent(recorder, app, {"keyType": asked})).body["keyType"] == key_type


@pytest.mark.parametrize(
    ("gateway", "body", "path", "message"),
    [
        ("managed", {}, "gatewayId", "'managed' is Azure's own gateway"),
        ("edge-01", {"keyType": "tertiary"}, "keyType", "must be 'primary' or 'secondary'"),
        ("edge-01", {"expiry": timedelta(days=30, minutes=1)}, "expiry", "is more than 30 days ahead"),
    ],
)
async def test_what_azure_would_refuse_is_refused_before_it_is_asked(
    emulator: Emulator, gateway: str, body: dict[str, Any], path: str, message: str
) -> None:
    if "expiry" in body:
        body = {"expiry": (datetime.now(UTC) + body["expiry"]).strftime("%Y-%m-%dT%H:%M:%SZ")}
    answer = await generate_token(gateway, body)
    assert answer.status_code == 400
    [fault] = document(answer)["faults"]
    assert fault["path"] == path
    assert message in fault["message"]
    assert emulator.azure.called("arm") == []


async def test_a_service_name_keeps_to_its_regex_pattern() -> None:
    # 403: well formed, but no service that this caller has access to.
    for status, names in {403: ("a", "a-1"), 400: ("1a", "a-", "-a", "a_b")}.items():
        for name in names:
            assert (await generate_token(service=name)).status_code == status


async def test_200_ok_hands_the_value_of_the_gateway_token_contract_on(emulator: Emulator) -> None:
    body = document(await generate_token(body={"lifetime": "P1D"}))
    contoso = served_estate.CONTOSO
    service = emulator.azure.services[contoso.subscription_id, contoso.resource_group, contoso.name]
    gateway = service.gateway("edge-01")
    assert gateway is not None
    assert body["value"] == gateway.token("primary", datetime.fromisoformat(body["expiry"]))
    assert re.fullmatch(r"edge-01&[0-9]{12}&[A-Za-z0-9+/]{86}==", body["value"])


async def test_other_status_codes_carry_code_message_and_details_of_the_error_response_over(
    emulator: Emulator,
) -> None:
    refuse(emulator, {"code": "ServiceBusy", "message": "m"}, 409)
    assert document(await generate_token())["azure"]["code"] == "ServiceBusy"
    emulator.azure.faults.clear()
    details = [
        {"code": "TooLate", "message": "At most 30 days.", "target": "expiry"},
        {"code": "Unknown", "message": "No such key.", "target": "keyType"},
    ]
    refuse(emulator, {"code": "ValidationError", "message": "Some fields are wrong.", "details": details})
    azure = document(await generate_token())["azure"]
    assert (azure["code"], azure["message"]) == ("ValidationError", "Some fields are wrong.")
    assert azure["details"] == [
        {"path": "expiry", "message": "TooLate: At most 30 days."},
        {"path": "keyType", "message": "Unknown: No such key."},
    ]


def refuse(emulator: Emulator, error: dict[str, Any], status: int = 400) -> None:
    body, headers = json.dumps({"error": error}), {"Content-Type": "application/json"}
    emulator.azure.faults.add(Fault(host="arm", times=None, status=status, body=body, headers=headers))
