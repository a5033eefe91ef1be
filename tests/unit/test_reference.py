"""Gateway - Generate Token, row by row: what the reference says of each name, type and limit.

https://learn.microsoft.com/rest/api/apimanagement/gateway/generate-token (api-version 2022-08-01). The rows that need
the wire (api-version, status codes, the error response) stand in tests/adapters.
"""

import json
from datetime import UTC, datetime, timedelta

import pytest

from gateway_tokens.errors import RequestInvalid
from gateway_tokens.http.requests import TokenRequestBody, read_token_request
from gateway_tokens.issuing import TokenRequest, issue_for
from gateway_tokens.tokens import GatewayToken, KeyType, ServiceId
from tests.unit.samples import NOW, SERVICE, estate, faults_of
from tests.unit.test_issuing import ISSUER, Azure

EXAMPLE_REQUEST = {"keyType": "primary", "expiry": "2020-04-21T00:44:24.2845269Z"}
EXAMPLE_NOW = datetime(2020, 4, 1, tzinfo=UTC)
# The example's signature has a run of x where a real one was; its length and alphabet are real.
EXAMPLE_VALUE = "gw1&201904210044&9A1GR1f5WIhFvFmzQG+xxxxxxxxxxx/kBeu87DWad3tkasUXuvPL+MgzlwUHyg=="


def asked(
    body: object, *, service: str = "apimService1", gateway: str = "gw1", now: datetime = NOW
) -> TokenRequest:
    route = {"service": service, "gatewayId": gateway}
    return read_token_request(route, {}, json.dumps(body).encode(), now)


def refused(body: object, *, service: str = "apimService1", gateway: str = "gw1") -> list[str]:
    with pytest.raises(RequestInvalid) as refusal:
        asked(body, service=service, gateway=gateway)
    return [fault.path for fault in refusal.value.faults]


def test_uri_parameter_gateway_id_is_required() -> None:
    assert refused({}, gateway="") == ["gatewayId"]


@pytest.mark.parametrize("gateway", ["managed", "Managed", "MANAGED"])
def test_uri_parameter_gateway_id_must_not_be_managed(gateway: str) -> None:
    assert refused({}, gateway=gateway) == ["gatewayId"]


def test_uri_parameter_gateway_id_is_taken_as_it_is() -> None:
    assert asked({}, gateway="gw1").ref.gateway == "gw1"


def test_uri_parameter_resource_group_name_is_case_insensitive() -> None:
    assert faults_of({"services": {"a": {"resourceId": SERVICE.replace("apim-rg", "APIM-rg")}}}) == []


def test_uri_parameter_resource_group_name_is_required() -> None:
    with pytest.raises(ValueError, match="must be"):
        ServiceId.parse(SERVICE.replace("apim-rg", ""))


@pytest.mark.parametrize("service", ["a", "apimService1", "a-b", "A9"])
def test_uri_parameter_service_name_matches_its_pattern(service: str) -> None:
    assert asked({}, service=service).ref.service == service
    assert ServiceId.parse(SERVICE.replace("contoso-apim", service)).name == service


@pytest.mark.parametrize("service", ["", "1a", "-a", "a-", "a_b", "a.b", "ä"])
def test_uri_parameter_service_name_outside_its_pattern_is_refused(service: str) -> None:
    assert refused({}, service=service) == ["service"]
    with pytest.raises(ValueError, match="must be"):
        ServiceId.parse(SERVICE.replace("contoso-apim", service))


def test_uri_parameter_subscription_id_is_required() -> None:
    with pytest.raises(ValueError, match="must be"):
        ServiceId.parse(f"/subscriptions//{SERVICE.split('/', 3)[3]}")


@pytest.mark.parametrize("key_type", ["primary", "secondary"])
def test_request_body_key_type_is_primary_or_secondary(key_type: str) -> None:
    assert asked({"keyType": key_type}).key_type == key_type


@pytest.mark.parametrize("key_type", ["tertiary", "Primary", ""])
def test_request_body_key_type_is_nothing_else(key_type: str) -> None:
    assert refused({"keyType": key_type}) == ["keyType"]


async def test_request_body_key_type_is_primary_by_default() -> None:
    azure = Azure()
    rule = {"caller": {"appRole": "Issue"}, "gateways": ["*/*"], "allow": ["issue"]}
    declared = estate({"services": {"apimService1": {"resourceId": SERVICE}}, "access": [rule]})
    await issue_for(ISSUER, asked({}), declared, azure, NOW)
    assert [key_type for _, _, key_type, _ in azure.asked] == [KeyType.PRIMARY]


def test_definition_key_type_has_two_values() -> None:
    assert {key.value for key in KeyType} == {"primary", "secondary"}


@pytest.mark.parametrize("ahead", [timedelta(days=30) - timedelta(seconds=1), timedelta(days=30)])
def test_request_body_expiry_may_be_thirty_days_ahead(ahead: timedelta) -> None:
    assert asked({"expiry": f"{NOW + ahead:%Y-%m-%dT%H:%M:%SZ}"}).expiry == NOW + ahead


def test_request_body_expiry_must_not_be_more_than_thirty_days_ahead() -> None:
    too_far = NOW + timedelta(days=30, seconds=1)
    assert refused({"expiry": f"{too_far:%Y-%m-%dT%H:%M:%SZ}"}) == ["expiry"]


def test_request_body_expiry_conforms_to_the_format() -> None:
    assert asked({"expiry": "2026-03-02T13:14:15Z"}).expiry == datetime(2026, 3, 2, 13, 14, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    "expiry", ["2026-03-02", "2026-03-02T13:14:15", "03/02/2026 13:14:15", 1_772_457_255]
)
def test_request_body_expiry_in_another_format_is_refused(expiry: object) -> None:
    assert refused({"expiry": expiry}) == ["expiry"]


def test_definition_gateway_token_request_contract_has_the_two_fields_of_azure() -> None:
    aliases = {found.alias for found in TokenRequestBody.model_fields.values()}
    assert aliases == {"keyType", "expiry", "lifetime"}  # and a lifetime, which is ours


def test_example_request_is_read_on_a_day_when_its_expiry_lay_ahead() -> None:
    read = asked(EXAMPLE_REQUEST, now=EXAMPLE_NOW)
    assert read.key_type is KeyType.PRIMARY
    assert read.expiry == datetime(2020, 4, 21, 0, 44, 24, 284_526, tzinfo=UTC)


def test_example_response_has_the_three_parts_that_a_token_has() -> None:
    token = GatewayToken.parse(EXAMPLE_VALUE)
    assert (token.gateway_id, token.expiry) == ("gw1", datetime(2019, 4, 21, 0, 44, tzinfo=UTC))
