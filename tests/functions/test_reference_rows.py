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
from tests import estate
from tests.estate import Opens
from tests.http_calls import document, generate_token

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


async def sent(recorder: Recorder, app: Opens, body: object = None, gateway: str = "edge-01") -> Sent:
    """What goes to ARM for this request of a caller's."""
    app(ARM_ENDPOINT=recorder.url)
    await generate_token(gateway, body)
    [only] = recorder.sent
    return only


# URI parameters


async def test_uri_gateway_id_is_in_the_path(recorder: Recorder, app: Opens) -> None:
    assert (await sent(recorder, app)).path.endswith("/gateways/edge-01/generateToken")


async def test_uri_gateway_id_must_not_be_managed(emulator: Emulator) -> None:
    assert (await generate_token("managed")).status_code == 400
    assert emulator.azure.called("arm") == []


async def test_uri_resource_group_name_is_in_the_path(recorder: Recorder, app: Opens) -> None:
    assert "/resourceGroups/rg-apis/" in (await sent(recorder, app)).path


async def test_uri_service_name_is_in_the_path(recorder: Recorder, app: Opens) -> None:
    path = (await sent(recorder, app)).path
    assert "/providers/Microsoft.ApiManagement/service/contoso-apim/" in path


@pytest.mark.parametrize(
    ("name", "status"), [("a", 403), ("a-1", 403), ("1a", 400), ("a-", 400), ("-a", 400), ("a_b", 400)]
)
async def test_uri_service_name_keeps_to_its_regex_pattern(name: str, status: int) -> None:
    # 403: well formed, but no service that this caller has access to.
    assert (await generate_token(service=name)).status_code == status


async def test_uri_subscription_id_is_in_the_path(recorder: Recorder, app: Opens) -> None:
    path = (await sent(recorder, app)).path
    assert path.startswith(f"/subscriptions/{estate.CONTOSO.subscription_id}/")


async def test_uri_api_version_is_sent(recorder: Recorder, app: Opens) -> None:
    query = (await sent(recorder, app)).query
    assert re.fullmatch(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}", query["api-version"])
    assert query["api-version"] >= "2022-08-01"


# Request body: GatewayTokenRequestContract


async def test_body_expiry_is_required_by_azure_and_always_sent(recorder: Recorder, app: Opens) -> None:
    assert "expiry" in (await sent(recorder, app)).body


async def test_body_expiry_conforms_to_the_format(recorder: Recorder, app: Opens) -> None:
    expiry = (await sent(recorder, app, {"lifetime": "P1D"})).body["expiry"]
    assert re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:00(\.0+)?Z", expiry)


async def test_body_expiry_is_at_most_30_days_ahead(recorder: Recorder, app: Opens) -> None:
    expiry = datetime.fromisoformat((await sent(recorder, app, {"lifetime": "P30D"})).body["expiry"])
    assert timedelta(days=29, hours=23) < expiry - datetime.now(UTC) < timedelta(days=30)


async def test_body_expiry_more_than_30_days_ahead_is_refused() -> None:
    late = datetime.now(UTC) + timedelta(days=30, minutes=1)
    answer = await generate_token(body={"expiry": late.strftime("%Y-%m-%dT%H:%M:%SZ")})
    assert answer.status_code == 400
    assert document(answer)["faults"] == [{"path": "expiry", "message": "is more than 30 days ahead"}]


async def test_body_key_type_is_required_by_azure_and_primary_by_default(
    recorder: Recorder, app: Opens
) -> None:
    assert (await sent(recorder, app)).body["keyType"] == "primary"


@pytest.mark.parametrize("key_type", ["primary", "secondary"])
async def test_key_type_has_the_values_primary_and_secondary(
    recorder: Recorder, app: Opens, key_type: str
) -> None:
    assert (await sent(recorder, app, {"keyType": key_type})).body["keyType"] == key_type


async def test_key_type_has_no_other_value(emulator: Emulator) -> None:
    assert (await generate_token(body={"keyType": "tertiary"})).status_code == 400
    assert emulator.azure.called("arm") == []


async def test_the_body_has_nothing_else(recorder: Recorder, app: Opens) -> None:
    assert set((await sent(recorder, app, {"lifetime": "P1D"})).body) == {"expiry", "keyType"}


# Responses


async def test_200_ok_gateway_token_contract_value_is_handed_on(emulator: Emulator) -> None:
    body = document(await generate_token(body={"lifetime": "P1D"}))
    contoso = estate.CONTOSO
    service = emulator.azure.services[contoso.subscription_id, contoso.resource_group, contoso.name]
    gateway = service.gateway("edge-01")
    assert gateway is not None
    assert body["value"] == gateway.token("primary", datetime.fromisoformat(body["expiry"]))


async def test_other_status_codes_error_response_error_code_is_carried_over(emulator: Emulator) -> None:
    refuse(emulator, {"code": "ServiceBusy", "message": "m"}, 409)
    assert document(await generate_token())["azure"]["code"] == "ServiceBusy"


async def test_other_status_codes_error_response_error_message_is_carried_over(emulator: Emulator) -> None:
    refuse(emulator, {"code": "ValidationError", "message": "Some fields are wrong."})
    assert document(await generate_token())["azure"]["message"] == "Some fields are wrong."


async def test_other_status_codes_error_response_error_details_are_carried_over(emulator: Emulator) -> None:
    details = [
        {"code": "TooLate", "message": "At most 30 days.", "target": "expiry"},
        {"code": "Unknown", "message": "No such key.", "target": "keyType"},
    ]
    refuse(emulator, {"code": "ValidationError", "message": "m", "details": details})
    assert len(document(await generate_token())["azure"]["details"]) == 2


@pytest.mark.parametrize("member", ["code", "message", "target"])
async def test_error_field_contract_is_carried_over(emulator: Emulator, member: str) -> None:
    field = {"code": "TooLate", "message": "At most 30 days.", "target": "expiry"}
    refuse(emulator, {"code": "ValidationError", "message": "m", "details": [field]})
    [said] = document(await generate_token())["azure"]["details"]
    assert field[member] in json.dumps(said)


async def test_error_field_contract_names_its_target_as_the_path(emulator: Emulator) -> None:
    field = {"code": "TooLate", "message": "At most 30 days.", "target": "expiry"}
    refuse(emulator, {"code": "ValidationError", "message": "m", "details": [field]})
    [said] = document(await generate_token())["azure"]["details"]
    assert said["path"] == "expiry"


def refuse(emulator: Emulator, error: dict[str, Any], status: int = 400) -> None:
    body, headers = json.dumps({"error": error}), {"Content-Type": "application/json"}
    emulator.azure.faults.add(Fault(host="arm", times=None, status=status, body=body, headers=headers))


# Security


async def test_azure_auth_is_a_bearer_token_of_the_apps_identity(
    emulator: Emulator, recorder: Recorder, app: Opens
) -> None:
    scheme, _, token = (await sent(recorder, app)).authorization.partition(" ")
    assert scheme == "Bearer"
    assert token in emulator.azure.bearers


# Examples


async def test_the_sample_request_is_a_post_to_generate_token(recorder: Recorder, app: Opens) -> None:
    only = await sent(recorder, app)
    assert (only.method, only.path) == ("POST", f"{estate.CONTOSO}/gateways/edge-01/generateToken")


async def test_the_sample_response_has_the_form_of_every_token() -> None:
    value = document(await generate_token())["value"]
    assert re.fullmatch(r"edge-01&[0-9]{12}&[A-Za-z0-9+/]{86}==", value)
