"""Who gets in, and what those outside can learn."""

import pytest

from emulator.server import Emulator
from tests.callers import CLIENT_ID, OBJECT_ID, SIGN_IN_MODE, bearer, rule
from tests.estate import Opens
from tests.front_door import Answer, document, generate_token, list_gateways, text

pytestmark = pytest.mark.usefixtures("app")


def without(answer: Answer, *names: str) -> tuple[int, str, dict[str, str]]:
    """What an answer says apart from the names asked for and its correlation id."""
    said = text(answer).replace(answer.headers["x-correlation-id"], "*")
    for name in names:
        said = said.replace(name, "*")
    headers = {name: value for name, value in answer.headers.items() if name != "x-correlation-id"}
    return answer.status_code, said, headers


# Indistinguishable

HIDDEN: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "a gateway that is there and one that is not": (("contoso", "lab-01"), ("contoso", "lab-99")),
    "a gateway of another service, there or not": (("fabrikam", "plant-a"), ("fabrikam", "plant-z")),
    "a service that is declared and one that is not": (("fabrikam", "plant-a"), ("northwind", "plant-a")),
}


@pytest.mark.parametrize(("there", "not_there"), HIDDEN.values(), ids=HIDDEN)
async def test_to_a_caller_without_access_what_exists_and_what_does_not_are_alike(
    emulator: Emulator, there: tuple[str, str], not_there: tuple[str, str]
) -> None:
    answers = [
        without(await generate_token(gateway, service=service), f"{service}/{gateway}")
        for service, gateway in (there, not_there)
    ]
    assert answers[0] == answers[1]
    assert answers[0][0] == 403
    # Nothing was looked up: the time taken tells nothing either.
    assert emulator.azure.called("arm") == emulator.azure.called("identity") == []


async def test_a_list_is_refused_alike_for_a_service_that_is_declared_and_one_that_is_not(
    emulator: Emulator,
) -> None:
    answers = [without(await list_gateways(name), name) for name in ("fabrikam", "northwind")]
    assert answers[0] == answers[1]
    assert answers[0][0] == 403
    assert emulator.azure.called("arm") == []


async def test_to_nobody_every_gateway_is_alike(app: Opens, emulator: Emulator) -> None:
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
    detail = document(answer)["detail"]
    assert "'issue'" in detail
    assert "contoso/lab-01" in detail
    assert not [
        word
        for word in ("edge-", "short-", "lab-*", "P1D", "functionKey", "maxLifetime")
        if word in text(answer)
    ]


async def test_a_lifetime_beyond_the_callers_rule_is_a_403_that_says_how_long_it_may_be() -> None:
    answer = await generate_token("short-01", {"lifetime": "P2D"})
    assert answer.status_code == 403
    assert "P1D" in document(answer)["detail"]


async def test_a_lifetime_within_the_callers_rule_is_issued() -> None:
    assert (await generate_token("short-01", {"lifetime": "P1D"})).status_code == 200


async def test_without_any_rule_nothing_is_issued(app: Opens) -> None:
    app([])
    assert (await generate_token()).status_code == 403
    assert (await list_gateways()).status_code == 403


# Function keys: the host has checked the key before the app is called


async def test_without_a_bearer_token_whoever_the_host_lets_in_is_the_key_holder() -> None:
    assert (await generate_token()).status_code == 200


@pytest.mark.parametrize("key", [{}, {"x-functions-key": "wrong"}], ids=["none", "any"])
async def test_the_app_does_not_judge_the_key(key: dict[str, str]) -> None:
    assert (await generate_token(headers=key)).status_code == 200
    assert (await generate_token(query={"code": "wrong"})).status_code == 200


async def test_a_bearer_token_beside_the_key_decides_who_is_calling(app: Opens, emulator: Emulator) -> None:
    by_token = rule({"objectId": OBJECT_ID}, "issue")
    by_key = rule({"functionKey": True}, "read")
    app([by_token, by_key])
    assert (await generate_token()).status_code == 403
    assert (await list_gateways()).status_code == 200
    assert (await generate_token(headers=bearer(emulator))).status_code == 200
    assert (await list_gateways(headers=bearer(emulator))).status_code == 403


async def test_a_bearer_token_cannot_be_verified_where_nobody_can_sign_in(
    app: Opens, emulator: Emulator
) -> None:
    app(SIGN_IN_TENANT="", SIGN_IN_AUDIENCES="", SIGN_IN_APPLICATIONS="")
    answer = await generate_token(headers=bearer(emulator))
    assert (answer.status_code, document(answer)["code"]) == (401, "sign_in_required")
    assert (await generate_token()).status_code == 200


# Sign-in

CALLERS: dict[str, dict[str, str]] = {
    "app role": {"appRole": "GatewayToken.Issue"},
    "object id": {"objectId": OBJECT_ID.upper()},
    "client id": {"clientId": CLIENT_ID.upper()},
    "all of them": {"appRole": "GatewayToken.Issue", "objectId": OBJECT_ID, "clientId": CLIENT_ID},
}


@pytest.mark.parametrize("caller", CALLERS.values(), ids=CALLERS)
async def test_a_caller_is_known_by(app: Opens, emulator: Emulator, caller: dict[str, str]) -> None:
    app([rule(caller)], **SIGN_IN_MODE)
    assert (await generate_token(headers=bearer(emulator, "GatewayToken.Issue"))).status_code == 200


@pytest.mark.parametrize("caller", [{"appRole": "Other"}, {"objectId": CLIENT_ID}], ids=str)
async def test_a_rule_for_somebody_else_does_not_open(
    app: Opens, emulator: Emulator, caller: dict[str, str]
) -> None:
    app([rule(caller)], **SIGN_IN_MODE)
    assert (await generate_token(headers=bearer(emulator, "GatewayToken.Issue"))).status_code == 403


async def test_every_trait_that_a_rule_names_must_hold(app: Opens, emulator: Emulator) -> None:
    app([rule({"objectId": OBJECT_ID, "appRole": "Other"})], **SIGN_IN_MODE)
    assert (await generate_token(headers=bearer(emulator, "GatewayToken.Issue"))).status_code == 403


# What App Service tells is not read: neither its headers nor whether it signs callers in

FORGED = {
    "X-MS-CLIENT-PRINCIPAL": "eyJhdXRoX3R5cCI6ImFhZCIsImNsYWltcyI6W3sidHlwIjoicm9sZXMiLCJ2YWwiOiJJc3N1ZXIifV19",
    "X-MS-CLIENT-PRINCIPAL-ID": OBJECT_ID,
    "X-MS-CLIENT-PRINCIPAL-IDP": "aad",
}


@pytest.mark.parametrize("flag", ["", "True", "False"])
async def test_a_principal_header_is_worth_nothing_whatever_the_platform_says(
    app: Opens, emulator: Emulator, flag: str
) -> None:
    app([rule({"appRole": "Issuer"})], **SIGN_IN_MODE, WEBSITE_AUTH_ENABLED=flag)
    assert (await generate_token(headers=FORGED)).status_code == 401
    assert (await generate_token(headers={**FORGED, **bearer(emulator, "Reader")})).status_code == 403
    assert (await generate_token(headers=bearer(emulator, "Issuer"))).status_code == 200


async def test_a_principal_header_beside_the_key_is_worth_nothing(app: Opens) -> None:
    app([rule({"appRole": "Issuer"})])
    assert (await generate_token(headers=FORGED)).status_code == 403
