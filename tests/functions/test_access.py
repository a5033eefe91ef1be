"""Who gets in, and what those outside can learn."""

import base64
from typing import Any

import pytest

from emulator.server import Emulator
from tests.callers import ALICE, CLIENT_ID, ENTRA, OBJECT_ID, principal, rule
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
    app(**ENTRA)
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


async def test_with_function_keys_whoever_is_let_in_by_the_host_is_the_key_holder() -> None:
    assert (await generate_token()).status_code == 200


async def test_with_function_keys_a_principal_header_counts_for_nothing(app: Opens) -> None:
    app([rule({"objectId": OBJECT_ID})])
    assert (await generate_token(headers=ALICE)).status_code == 403


async def test_with_function_keys_a_principal_counts_for_nothing_even_where_the_platform_signs_in(
    app: Opens,
) -> None:
    app([rule({"objectId": OBJECT_ID})], WEBSITE_AUTH_ENABLED="True")
    assert (await generate_token(headers=ALICE)).status_code == 403


# Entra

CALLERS: dict[str, dict[str, str]] = {
    "app role": {"appRole": "GatewayToken.Issue"},
    "object id": {"objectId": OBJECT_ID.upper()},
    "client id": {"clientId": CLIENT_ID},
    "all of them": {"appRole": "GatewayToken.Issue", "objectId": OBJECT_ID, "clientId": CLIENT_ID},
}


@pytest.mark.parametrize("caller", CALLERS.values(), ids=CALLERS)
async def test_with_entra_a_caller_is_known_by(app: Opens, caller: dict[str, str]) -> None:
    app([rule(caller)], **ENTRA)
    assert (await generate_token(headers=ALICE)).status_code == 200


@pytest.mark.parametrize(
    "caller",
    [{"appRole": "Other"}, {"objectId": CLIENT_ID}, {"clientId": OBJECT_ID}, {"functionKey": True}],
    ids=str,
)
async def test_with_entra_a_rule_for_somebody_else_does_not_open(app: Opens, caller: dict[str, Any]) -> None:
    app([rule(caller)], **ENTRA)
    assert (await generate_token(headers=ALICE)).status_code == 403


async def test_with_entra_every_trait_that_a_rule_names_must_hold(app: Opens) -> None:
    app([rule({"objectId": OBJECT_ID, "appRole": "Other"})], **ENTRA)
    assert (await generate_token(headers=ALICE)).status_code == 403


DOUBTFUL: dict[str, dict[str, str]] = {
    "none": {},
    "empty": {"X-MS-CLIENT-PRINCIPAL": ""},
    "not base64": {"X-MS-CLIENT-PRINCIPAL": "!!"},
    "not JSON": {"X-MS-CLIENT-PRINCIPAL": base64.b64encode(b"{").decode()},
    "no object": {"X-MS-CLIENT-PRINCIPAL": base64.b64encode(b"[]").decode()},
    "not Entra's": principal(("oid", OBJECT_ID), kind="github"),
    "another header": {"X-MS-CLIENT-PRINCIPAL-ID": OBJECT_ID},
}


@pytest.mark.parametrize("headers", DOUBTFUL.values(), ids=DOUBTFUL)
@pytest.mark.parametrize("mode", ["entra", "entraAndFunctionKey"])
async def test_with_entra_a_doubtful_principal_is_nobody(
    app: Opens, mode: str, headers: dict[str, str]
) -> None:
    app([rule({"objectId": OBJECT_ID}), rule({"functionKey": True})], **{**ENTRA, "SIGN_IN": mode})
    for answer in (await generate_token(headers=headers), await list_gateways(headers=headers)):
        assert (answer.status_code, document(answer)["code"]) == (401, "sign_in_required")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("flag", ["", "False", "false", "0", "no", "maybe"])
@pytest.mark.parametrize("mode", ["entra", "entraAndFunctionKey"])
async def test_a_forged_principal_is_refused_while_the_platform_does_not_sign_in(
    app: Opens, emulator: Emulator, mode: str, flag: str
) -> None:
    app([rule({"objectId": OBJECT_ID})], SIGN_IN=mode, WEBSITE_AUTH_ENABLED=flag)
    answer = await generate_token(headers=ALICE)
    assert answer.status_code == 401
    assert "switched off" in document(answer)["detail"]
    assert emulator.azure.called("arm") == []


# Both


async def test_with_both_a_rule_may_ask_for_the_principal_and_the_key_together(app: Opens) -> None:
    caller = {"objectId": OBJECT_ID, "functionKey": True}
    app([rule(caller)], **{**ENTRA, "SIGN_IN": "entraAndFunctionKey"})
    assert (await generate_token(headers=ALICE)).status_code == 200


async def test_with_entra_alone_no_caller_counts_as_holding_the_key(app: Opens) -> None:
    app([rule({"objectId": OBJECT_ID, "functionKey": True})], **ENTRA)
    assert (await generate_token(headers=ALICE)).status_code == 403
