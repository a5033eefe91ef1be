"""The settings of sign-in: the two modes, what each needs, and rules that could never match."""

from typing import Any

import pytest

from gateway_tokens.estate.app_settings import SETTINGS, rules_that_match_nobody
from gateway_tokens.estate.schema import AccessRule
from gateway_tokens.estate.sign_in import SignIn, function_keys_allowed, read_sign_in
from tests.unit.samples import document, estate

TENANT, API, ONE, OTHER = (f"{digit * 8}-1111-4111-8111-111111111111" for digit in "1abc")
COMPLETE = {
    "SIGN_IN_TENANT": TENANT,
    "SIGN_IN_AUDIENCES": f"{API},api://{API}",
    "SIGN_IN_APPLICATIONS": ONE,
}
KEYS = {"ALLOW_FUNCTION_KEYS": "true"}
MISSING = "must be set: it is needed to verify bearer tokens"


def read(*settings: dict[str, str]) -> SignIn | None:
    sign_in, faults = _read(*settings)
    assert faults == []
    return sign_in


def faults_of(*settings: dict[str, str]) -> list[tuple[str, str]]:
    return _read(*settings)[1]


def _read(*settings: dict[str, str]) -> tuple[SignIn | None, list[tuple[str, str]]]:
    values = {name: default or "" for name, default in SETTINGS.items()} | {"SIGN_IN": ""}
    for more in settings:
        values |= more
    sign_in, faults = read_sign_in(values)
    return sign_in, [(fault.path, fault.message) for fault in faults]


def rules(*callers: dict[str, Any]) -> tuple[AccessRule, ...]:
    access = [{"caller": caller, "gateways": ["*/*"], "allow": ["read"]} for caller in callers]
    return estate({**document(), "access": access}).access


@pytest.mark.parametrize("text", ["true", "True", "TRUE", " true\n"])
def test_function_keys_are_allowed_by_one_word(text: str) -> None:
    assert function_keys_allowed({"ALLOW_FUNCTION_KEYS": text})


@pytest.mark.parametrize(
    "environ", [{}, *({"ALLOW_FUNCTION_KEYS": text} for text in ("", "false", "1", "yes"))]
)
def test_nothing_else_allows_them(environ: dict[str, str]) -> None:
    assert not function_keys_allowed(environ)


def test_a_tenant_audiences_and_applications_are_who_may_sign_in() -> None:
    assert read(COMPLETE) == SignIn(
        "https://login.microsoftonline.com", TENANT, (API, f"api://{API}"), frozenset({ONE})
    )


def test_ids_are_read_in_any_case_and_lists_with_spaces() -> None:
    spelled = {
        "SIGN_IN_TENANT": TENANT.upper(),
        "SIGN_IN_AUDIENCES": f" {API} , api://{API} ,",
        "SIGN_IN_APPLICATIONS": f"{ONE.upper()}, {OTHER}",
        "SIGN_IN_ENDPOINT": "https://login.microsoftonline.us/",
    }
    assert read(spelled) == SignIn(
        "https://login.microsoftonline.us", TENANT, (API, f"api://{API}"), frozenset({ONE, OTHER})
    )


def test_with_function_keys_sign_in_may_be_left_out_or_set() -> None:
    assert read(KEYS) is None
    assert read(KEYS, COMPLETE) == read(COMPLETE)


def test_without_function_keys_somebody_must_be_able_to_sign_in() -> None:
    assert faults_of() == [(name, MISSING) for name in COMPLETE]


@pytest.mark.parametrize("name", COMPLETE)
@pytest.mark.parametrize("mode", [{}, KEYS], ids=["sign-in", "function keys"])
@pytest.mark.parametrize("nothing", ["", ",", " , "])
def test_a_part_that_is_missing_is_named_in_either_mode(
    name: str, mode: dict[str, str], nothing: str
) -> None:
    assert (name, MISSING) in faults_of(COMPLETE, mode, {name: nothing})


@pytest.mark.parametrize("tenant", ["contoso.onmicrosoft.com", "common", TENANT[:-1], f"{TENANT}/"])
def test_a_tenant_is_named_by_its_id(tenant: str) -> None:
    found = faults_of(COMPLETE, {"SIGN_IN_TENANT": tenant})
    assert found == [("SIGN_IN_TENANT", "must be the tenant's id, a GUID")]


@pytest.mark.parametrize("applications", ["*", f"{ONE} {OTHER}", f"{ONE},portal", f"{ONE};{OTHER}"])
def test_applications_are_named_by_their_client_ids(applications: str) -> None:
    found = faults_of(COMPLETE, {"SIGN_IN_APPLICATIONS": applications})
    assert found == [("SIGN_IN_APPLICATIONS", "must be client ids (GUIDs), separated by commas")]


@pytest.mark.parametrize("text", ["yes", "1", "truе"])  # noqa: RUF001 - one e is Cyrillic
def test_allowing_function_keys_is_true_or_false(text: str) -> None:
    assert faults_of(COMPLETE, {"ALLOW_FUNCTION_KEYS": text}) == [
        ("ALLOW_FUNCTION_KEYS", "must be true or false")
    ]


@pytest.mark.parametrize("mode", ["functionKey", "entra", "entraAndFunctionKey", "x"])
def test_the_setting_that_named_the_mode_is_refused_with_what_to_write(mode: str) -> None:
    ((path, message),) = faults_of(COMPLETE, {"SIGN_IN": mode})
    assert path == "SIGN_IN"
    assert "ALLOW_FUNCTION_KEYS=true" in message


def test_a_rule_for_function_keys_needs_function_keys() -> None:
    given = rules({"appRole": "Issuer"}, {"functionKey": True})
    assert list(rules_that_match_nobody(given, read(COMPLETE), function_keys=True)) == []
    (fault,) = rules_that_match_nobody(given, read(COMPLETE), function_keys=False)
    assert fault.path == "access[1].caller.functionKey"
    assert "can never match: ALLOW_FUNCTION_KEYS is not true" in fault.message


@pytest.mark.parametrize("caller", [{"appRole": "Issuer"}, {"objectId": ONE}, {"clientId": ONE}], ids=str)
def test_a_rule_for_somebody_who_signs_in_needs_sign_in(caller: dict[str, str]) -> None:
    given = rules(caller, {"functionKey": True})
    assert list(rules_that_match_nobody(given, read(COMPLETE), function_keys=True)) == []
    (fault,) = rules_that_match_nobody(given, None, function_keys=True)
    assert fault.path == "access[0].caller"
    assert "SIGN_IN_TENANT" in fault.message


def test_a_rule_for_an_application_needs_it_listed() -> None:
    given = rules({"clientId": ONE.upper()}, {"clientId": OTHER, "appRole": "Issuer"})
    (fault,) = rules_that_match_nobody(given, read(COMPLETE), function_keys=False)
    assert fault.path == "access[1].caller.clientId"
    assert "SIGN_IN_APPLICATIONS does not list it" in fault.message
