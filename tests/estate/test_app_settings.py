"""The app settings: defaults, every setting's faults, and the pause between two runs of a schedule."""

import json
import ssl
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from emulator.tls import throw_away_tls
from gateway_tokens.errors import SettingsInvalid
from gateway_tokens.estate.app_settings import SETTINGS, read_settings
from gateway_tokens.estate.schema import AppSettings
from gateway_tokens.sign_in import CredentialKind, SignIn, function_keys_allowed
from tests.samples import DESIGN_EXAMPLE, document, estate

CONTAINER = "https://contoso.blob.core.windows.net/gateway-tokens"
VAULT = {"kind": "keyVault", "vault": "https://edge.vault.azure.net"}
TENANT, API, CALLER, OTHER = (f"{digit * 8}-1111-4111-8111-111111111111" for digit in "1abc")
NEEDED = {"GATEWAY_TOKENS": json.dumps(document()), "RENEWAL_SCHEDULE": "0 0 * * * *"}
LEAST = {**NEEDED, "ALLOW_FUNCTION_KEYS": "true"}
AUDIENCES = (API, f"api://{API}")
SIGN_IN = {"SIGN_IN_TENANT": TENANT, "SIGN_IN_AUDIENCES": ",".join(AUDIENCES), "SIGN_IN_APPLICATIONS": CALLER}
WHO = SignIn("https://login.microsoftonline.com", TENANT, AUDIENCES, frozenset({CALLER}))
NO_SIGN_IN = dict.fromkeys(SIGN_IN, "")
RENEWING = {**SIGN_IN, "GATEWAY_TOKENS": json.dumps(DESIGN_EXAMPLE), "STATE_CONTAINER_URL": CONTAINER}
NOBODY_SIGNS_IN = f"nobody can sign in until {', '.join(SIGN_IN)} are set"
NOT_ALLOWED = "ALLOW_FUNCTION_KEYS is not true"
NOT_LISTED = "SIGN_IN_APPLICATIONS does not list it"
CLIENT_IDS = "must be client ids (GUIDs), separated by commas"
HTTPS = "must be an https:// address"
WHITE_SPACE = "has a tab, a line break or another white space: separate the fields by spaces"
INSTEAD = (
    "is not a setting any more. For 'entra' remove it; for 'functionKey' or 'entraAndFunctionKey' write "
    "ALLOW_FUNCTION_KEYS=true in its place"
)
OPTIONAL = [name for name, default in SETTINGS.items() if default is not None and name not in LEAST]


def read(**changes: str) -> AppSettings:
    return read_settings({**LEAST, **changes})


def faults_of(**changes: str) -> list[tuple[str, str]]:
    with pytest.raises(SettingsInvalid) as refused:
        read(**changes)
    return [(fault.path, fault.message) for fault in refused.value.faults]


DEFAULTS = AppSettings(
    estate=estate(document()),
    schedule="0 0 * * * *",
    state_container_url="",
    log_fresh_rows=False,
    function_keys=True,
    sign_in=None,
    credential=CredentialKind.MANAGED_IDENTITY,
    client_id="",
    arm_endpoint="https://management.azure.com",
    arm_scope="https://management.azure.com/.default",
    ca_file="",
)


def test_the_least_that_must_be_set_is_the_estate_the_schedule_and_who_may_call() -> None:
    assert [name for name, default in SETTINGS.items() if default is None] == [*NEEDED]
    assert read_settings(LEAST) == DEFAULTS


def test_every_setting_is_read() -> None:
    china, scope, ca_file = "https://login.a.cn", "https://a.cn/.default", throw_away_tls().ca_file
    spelled = {
        "SIGN_IN_TENANT": OTHER.upper(),
        "SIGN_IN_AUDIENCES": f" {API} , api://{API} ,",
        "SIGN_IN_APPLICATIONS": f"{CALLER.upper()}, {OTHER}",
        "SIGN_IN_ENDPOINT": china + "/",
    }
    there = replace(WHO, endpoint=china, tenant=OTHER, applications=frozenset({CALLER, OTHER}))
    for environ, changes in (
        ({"STATE_CONTAINER_URL": CONTAINER + "/"}, {"state_container_url": CONTAINER}),
        ({"LOG_FRESH_ROWS": " True"}, {"log_fresh_rows": True}),
        ({"ALLOW_FUNCTION_KEYS": "false", **SIGN_IN}, {"function_keys": False, "sign_in": WHO}),
        ({"ALLOW_FUNCTION_KEYS": " True\n", **spelled}, {"sign_in": there}),
        ({"AZURE_CREDENTIAL": "azureCli"}, {"credential": CredentialKind.AZURE_CLI}),
        ({"AZURE_CLIENT_ID": " c-1\n"}, {"client_id": "c-1"}),
        ({"ARM_SCOPE": scope}, {"arm_scope": scope}),
        ({"ARM_ENDPOINT": "https://a.cn/"}, {"arm_endpoint": "https://a.cn", "arm_scope": scope}),
        ({"CA_FILE": ca_file}, {"ca_file": ca_file}),
        (dict.fromkeys(OPTIONAL, ""), {}),
        (dict.fromkeys(OPTIONAL, "\t\n"), {}),
    ):
        assert read(**environ) == replace(DEFAULTS, **changes)


def test_function_keys_are_allowed_by_true_only() -> None:
    for environ in ({}, *({"ALLOW_FUNCTION_KEYS": text} for text in ("", "false", "1", "yes"))):
        assert not function_keys_allowed(environ)


def test_sign_in_must_be_set_as_a_whole_and_may_be_left_out_only_with_function_keys() -> None:
    missing = "must be set: it is needed to verify bearer tokens"
    assert faults_of(ALLOW_FUNCTION_KEYS="false") == [(name, missing) for name in SIGN_IN]
    for name, nothing, allowed in product(SIGN_IN, ("", " , "), ("true", "false")):
        assert (name, missing) in faults_of(**{**SIGN_IN, "ALLOW_FUNCTION_KEYS": allowed, name: nothing})


@pytest.mark.parametrize(
    ("caller", "changes", "fault"),
    [
        ({"functionKey": True}, {"ALLOW_FUNCTION_KEYS": "false"}, (".functionKey", NOT_ALLOWED)),
        ({"appRole": "Issuer"}, NO_SIGN_IN, ("", NOBODY_SIGNS_IN)),
        ({"clientId": CALLER.upper()}, NO_SIGN_IN, ("", NOBODY_SIGNS_IN)),
        ({"clientId": CALLER.upper()}, {"SIGN_IN_APPLICATIONS": OTHER}, (".clientId", NOT_LISTED)),
    ],
)
def test_an_access_rule_for_a_caller_who_can_never_call_is_a_fault(
    caller: dict[str, object], changes: dict[str, str], fault: tuple[str, str]
) -> None:
    access = [{"caller": caller, "gateways": ["*/*"], "allow": ["read"]}]
    whole = {**SIGN_IN, "GATEWAY_TOKENS": json.dumps({**document(), "access": access})}
    read(**whole)
    at, message = fault
    assert faults_of(**{**whole, **changes}) == [(f"access[0].caller{at}", f"can never match: {message}")]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("ALLOW_FUNCTION_KEYS", ["yes", "1", "truе"], "must be true or false"),  # noqa: RUF001 - one e is Cyrillic
        ("LOG_FRESH_ROWS", ["yes", "1"], "must be true or false"),
        ("SIGN_IN_TENANT", ["common", TENANT[1:], f"{TENANT}/"], "must be the tenant's id, a GUID"),
        ("SIGN_IN_APPLICATIONS", ["*", f"{CALLER} {OTHER}", f"{CALLER},a", f"{CALLER};{OTHER}"], CLIENT_IDS),
        ("SIGN_IN_ENDPOINT", ["login.microsoftonline.us"], HTTPS),
        ("AZURE_CREDENTIAL", ["cli"], "must be one of managedIdentity, default, azureCli"),
        ("ARM_ENDPOINT", ["http://management.azure.com"], HTTPS),
        ("ARM_SCOPE", ["api://scope"], HTTPS),
        ("STATE_CONTAINER_URL", ["http://contoso.blob.core.windows.net/a"], HTTPS),
        ("GATEWAY_TOKENS", ["", " "], "is not set: it describes the estate, see docs/settings.md"),
        ("NO_RUN_AFTER_HOURS", ["0", "49", "-1", "1.5"], "must be a whole number of hours from 1 to 48"),
        ("SIGN_IN", ["functionKey"], INSTEAD),
        ("RENEWAL_SCHEDULE", ["0 0 * * * *\t"], WHITE_SPACE),  # taken as it is set
    ],
)
def test_a_faulty_setting_is_named(name: str, values: list[str], message: str) -> None:
    for value in values:
        assert faults_of(**{**SIGN_IN, name: value}) == [(name, message)]


def test_a_ca_file_must_hold_authorities_in_pem(tmp_path: Path) -> None:
    authority, path = Path(throw_away_tls().ca_file).read_text(), tmp_path / "ca.pem"
    for missing, reason in ((path, "No such file or directory"), (tmp_path, "Is a directory")):
        assert faults_of(CA_FILE=str(missing)) == [("CA_FILE", f"names a file that cannot be read: {reason}")]
    half, der = authority[: len(authority) // 2].encode(), ssl.PEM_cert_to_DER_cert(authority)
    message = "names a file that does not hold certificates in PEM form (BEGIN CERTIFICATE)"
    for contents in (b"", half, der):
        path.write_bytes(contents)
        assert faults_of(CA_FILE=str(path)) == [("CA_FILE", message)]
    path.write_text(f"The proxy of the plant\n{authority}\n{authority}")
    assert read(CA_FILE=str(path)).ca_file == str(path)


def test_faults_of_settings_and_document_are_told_together() -> None:
    faults = faults_of(GATEWAY_TOKENS='{"services": 1, "x": 2}', SIGN_IN="x", RENEWAL_SCHEDULE="")
    assert [path for path, _ in faults] == ["services", "x", "SIGN_IN", "RENEWAL_SCHEDULE"]


def test_an_estate_that_renews_needs_a_place_for_its_state() -> None:
    faults = faults_of(**{**RENEWING, "STATE_CONTAINER_URL": ""})
    assert faults == [("STATE_CONTAINER_URL", "is needed to renew: the address of a blob container")]
    for rule in ({}, {"renew": False, "destinations": [VAULT]}):
        assert read(GATEWAY_TOKENS=json.dumps(document(any_gateway=rule))).state_container_url == ""


HOURLY, DAILY = "0 0 * * * *", "0 0 3 * * *"
RULE = "services.contoso.gateways.*"
DUE_AGAIN = "a new token would be renewed again within 3 runs: it lives for "


@pytest.mark.parametrize(
    ("schedule", "rule", "path", "expected"),
    [
        (HOURLY, {"lifetime": "P30D", "renewBefore": "P29DT23H"}, RULE, DUE_AGAIN),
        (HOURLY, {"lifetime": "P10D", "renewBefore": "P9DT19H35M"}, RULE, DUE_AGAIN),
        (HOURLY, {"lifetime": "P10D", "renewBefore": "P9DT19H30M"}, "", ""),
        (DAILY, {"lifetime": "P6DT1H"}, RULE, DUE_AGAIN),
        (DAILY, {"lifetime": "P6DT2H"}, "", ""),
        (DAILY, {"lifetime": "P2D", "renew": False}, "", ""),
        (HOURLY, {"rotateKeys": {"every": "P65D"}}, "", ""),
        (DAILY, {"rotateKeys": {"every": "P99D"}}, "services.contoso.gateways", "all take 50 days"),
        (DAILY, {"rotateKeys": {"every": "P100D"}}, "", ""),
    ],
)
def test_a_schedule_that_is_too_slow_for_a_rule_is_a_fault(
    schedule: str, rule: dict[str, Any], path: str, expected: str
) -> None:
    declared = json.dumps(document(any_gateway={**rule, "destinations": [VAULT]}))
    environ = {**RENEWING, "GATEWAY_TOKENS": declared, "RENEWAL_SCHEDULE": schedule}
    if path:
        ((at, message),) = faults_of(**environ)
        assert (at, expected in message) == (path, True)
    else:
        assert read(**environ).estate.services


def test_the_schedule_must_not_pause_for_longer_than_the_alert_waits() -> None:
    for schedule, hours in (("0 0 */3 * * *", "2"), ("0 0 9 * * 1-5", "48")):
        ((path, message),) = faults_of(RENEWAL_SCHEDULE=schedule, NO_RUN_AFTER_HOURS=hours)
        assert (path, f"longer than NO_RUN_AFTER_HOURS ({hours})" in message) == ("RENEWAL_SCHEDULE", True)
    for schedule, hours in (("0 0 */3 * * *", "3"), ("0 0 9 * * 1-5", ""), (HOURLY, "1"), (HOURLY, "48")):
        read(RENEWAL_SCHEDULE=schedule, NO_RUN_AFTER_HOURS=hours)
