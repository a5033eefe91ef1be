"""Who gets in, and what a caller without access can learn."""

import pytest

from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from tests.callers import OBJECT_ID, SIGN_IN_MODE, bearer, rule
from tests.http_calls import Answer, code_of, document, generate_token, list_gateways, text
from tests.served_estate import Opens

pytestmark = pytest.mark.usefixtures("app")


def without(answer: Answer, *names: str) -> tuple[int, str, dict[str, str]]:
    """What an answer says apart from the names asked for and its correlation id."""
    said = text(answer).replace(answer.headers["x-correlation-id"], "*")
    for name in names:
        said = said.replace(name, "*")
    headers = {name: value for name, value in answer.headers.items() if name != "x-correlation-id"}
    return answer.status_code, said, headers


async def test_what_exists_and_what_does_not_look_alike_to_a_caller_without_access(
    emulator: Emulator,
) -> None:
    for service, gateway, other_service, other_gateway in (
        ("contoso", "lab-01", "contoso", "lab-99"),
        ("fabrikam", "plant-a", "fabrikam", "plant-z"),
        ("fabrikam", "plant-a", "northwind", "plant-a"),
    ):
        there = await generate_token(gateway, service=service)
        not_there = await generate_token(other_gateway, service=other_service)
        assert there.status_code == 403
        assert without(there, f"{service}/{gateway}") == without(
            not_there, f"{other_service}/{other_gateway}"
        )
    there, not_there = await list_gateways("fabrikam"), await list_gateways("northwind")
    assert there.status_code == 403
    assert without(there, "fabrikam") == without(not_there, "northwind")
    # Nothing was looked up: the time taken tells nothing either.
    assert emulator.azure.called("arm") == emulator.azure.called("identity") == []


async def test_every_gateway_looks_alike_to_a_caller_who_has_not_signed_in(
    app: Opens, emulator: Emulator
) -> None:
    app([rule({"objectId": OBJECT_ID})], **SIGN_IN_MODE)
    answers = [
        without(await generate_token(gateway, service=service))
        for service, gateway in (("contoso", "edge-01"), ("contoso", "edge-99"), ("northwind", "x"))
    ]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0] == 401
    assert emulator.azure.called("arm") == []


async def test_a_403_says_which_permission_is_missing_and_nothing_of_the_rules() -> None:
    answer = await generate_token("lab-01")
    assert "'issue'" in document(answer)["detail"]
    assert "contoso/lab-01" in document(answer)["detail"]
    for word in ("edge-", "short-", "lab-*", "P1D", "functionKey", "maxLifetime"):
        assert word not in text(answer)


async def test_a_lifetime_longer_than_that_of_the_callers_rule_is_a_403_that_says_how_long_it_may_be() -> (
    None
):
    answer = await generate_token("short-01", {"lifetime": "P1DT1M"})
    assert answer.status_code == 403
    assert "P1D" in document(answer)["detail"]


async def test_the_app_does_not_check_the_function_key_since_the_host_has_done_so() -> None:
    for headers, query in (({}, {}), ({"x-functions-key": "wrong"}, {}), ({}, {"code": "wrong"})):
        assert (await generate_token(headers=headers, query=query)).status_code == 200


async def test_a_bearer_token_beside_the_key_decides_who_is_calling(app: Opens, emulator: Emulator) -> None:
    app([rule({"objectId": OBJECT_ID}, "issue"), rule({"functionKey": True}, "read")])
    assert (await generate_token()).status_code == 403
    assert (await list_gateways()).status_code == 200
    assert (await generate_token(headers=bearer(emulator))).status_code == 200
    assert (await list_gateways(headers=bearer(emulator))).status_code == 403


async def test_a_bearer_token_is_refused_where_the_settings_name_no_tenant(
    app: Opens, emulator: Emulator
) -> None:
    app(SIGN_IN_TENANT="", SIGN_IN_AUDIENCES="", SIGN_IN_APPLICATIONS="")
    assert code_of(await generate_token(headers=bearer(emulator))) == (401, "sign_in_required")
    assert (await generate_token()).status_code == 200


# App Service's own sign-in is not read: neither its headers nor whether it is on

FORGED = {
    "X-MS-CLIENT-PRINCIPAL": "eyJhdXRoX3R5cCI6ImFhZCIsImNsYWltcyI6W3sidHlwIjoicm9sZXMiLCJ2YWwiOiJJc3N1ZXIifV19",
    "X-MS-CLIENT-PRINCIPAL-ID": OBJECT_ID,
    "X-MS-CLIENT-PRINCIPAL-IDP": "aad",
}


@pytest.mark.parametrize("flag", ["", "True", "False"])
async def test_a_principal_header_is_ignored_whatever_the_platform_says(
    app: Opens, emulator: Emulator, flag: str
) -> None:
    app([rule({"appRole": "Issuer"})], **SIGN_IN_MODE, WEBSITE_AUTH_ENABLED=flag)
    assert (await generate_token(headers=FORGED)).status_code == 401
    assert (await generate_token(headers={**FORGED, **bearer(emulator, "Reader")})).status_code == 403
    assert (await generate_token(headers=bearer(emulator, "Issuer"))).status_code == 200
    app([rule({"appRole": "Issuer"})])
    await gateway_app.forget()
    assert (await generate_token(headers=FORGED)).status_code == 403
