"""The app settings: defaults, every setting's faults, and the pause between two runs of a schedule."""

import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from emulator.tls import throw_away_tls
from gateway_tokens.errors import SettingsInvalid
from gateway_tokens.estate.app_settings import SETTINGS, AppSettings, read_settings
from gateway_tokens.estate.sign_in import CredentialKind, SignIn
from tests.unit.samples import DESIGN_EXAMPLE, document, estate

CONTAINER = "https://contoso.blob.core.windows.net/gateway-tokens"
TENANT, API, CALLER = (f"{digit * 8}-1111-4111-8111-111111111111" for digit in "123")
LEAST = {
    "GATEWAY_TOKENS": json.dumps(document()),
    "RENEWAL_SCHEDULE": "0 0 * * * *",
    "ALLOW_FUNCTION_KEYS": "true",
}
SIGN_IN = {"SIGN_IN_TENANT": TENANT, "SIGN_IN_AUDIENCES": API, "SIGN_IN_APPLICATIONS": CALLER}
RENEWING = {
    **LEAST,
    **SIGN_IN,
    "GATEWAY_TOKENS": json.dumps(DESIGN_EXAMPLE),
    "STATE_CONTAINER_URL": CONTAINER,
}


def read(**changes: str) -> AppSettings:
    return read_settings({**LEAST, **changes})


def faults_of(environ: dict[str, str]) -> list[tuple[str, str]]:
    with pytest.raises(SettingsInvalid) as refused:
        read_settings(environ)
    return [(fault.path, fault.message) for fault in refused.value.faults]


def test_the_least_that_must_be_set_is_the_estate_the_schedule_and_who_may_call() -> None:
    assert [name for name, default in SETTINGS.items() if default is None] == [
        "GATEWAY_TOKENS",
        "RENEWAL_SCHEDULE",
    ]
    settings = read_settings(LEAST)
    assert settings == AppSettings(
        estate=estate(document()),
        schedule="0 0 * * * *",
        state_container_url="",
        function_keys=True,
        sign_in=None,
        credential=CredentialKind.MANAGED_IDENTITY,
        client_id="",
        arm_endpoint="https://management.azure.com",
        arm_scope="https://management.azure.com/.default",
        ca_file="",
    )


def test_every_setting_is_taken_as_given() -> None:
    settings = read(
        STATE_CONTAINER_URL=CONTAINER + "/",
        ALLOW_FUNCTION_KEYS="false",
        **SIGN_IN,
        SIGN_IN_ENDPOINT="https://login.chinacloudapi.cn/",
        AZURE_CREDENTIAL="azureCli",
        AZURE_CLIENT_ID="c-1",
        ARM_ENDPOINT="https://management.chinacloudapi.cn/",
        ARM_SCOPE="https://management.core.chinacloudapi.cn/.default",
        CA_FILE=throw_away_tls().ca_file,
    )
    assert (settings.state_container_url, settings.arm_endpoint) == (
        CONTAINER,
        "https://management.chinacloudapi.cn",
    )
    assert settings.arm_scope == "https://management.core.chinacloudapi.cn/.default"
    assert settings.sign_in == SignIn("https://login.chinacloudapi.cn", TENANT, (API,), frozenset({CALLER}))
    assert not settings.function_keys
    assert (settings.credential, settings.client_id) == (CredentialKind.AZURE_CLI, "c-1")
    assert settings.ca_file == throw_away_tls().ca_file


def test_the_scope_follows_the_address_of_a_sovereign_cloud() -> None:
    settings = read(ARM_ENDPOINT="https://management.usgovcloudapi.net/")
    assert settings.arm_scope == "https://management.usgovcloudapi.net/.default"


@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
def test_a_blank_setting_has_its_default(blank: str) -> None:
    blanks = {name: blank for name, default in SETTINGS.items() if default is not None and name not in LEAST}
    assert read(**blanks) == read_settings(LEAST)


def test_white_space_around_a_setting_is_not_part_of_it() -> None:
    settings = read(AZURE_CLIENT_ID=" c-1\n", ALLOW_FUNCTION_KEYS=" True ")
    assert (settings.client_id, settings.function_keys) == ("c-1", True)


def test_rules_that_can_never_match_are_told_with_their_path() -> None:
    assert faults_of({**RENEWING, "ALLOW_FUNCTION_KEYS": "false"}) == [
        ("access[2].caller.functionKey", "can never match: ALLOW_FUNCTION_KEYS is not true")
    ]
    without = dict.fromkeys(SIGN_IN, "")
    assert [path for path, _ in faults_of({**RENEWING, **without})] == [
        "access[0].caller",
        "access[1].caller",
    ]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ALLOW_FUNCTION_KEYS", "maybe", "must be true or false"),
        ("SIGN_IN_ENDPOINT", "login.microsoftonline.us", "must be an https:// address"),
        ("AZURE_CREDENTIAL", "cli", "must be one of managedIdentity, default, azureCli"),
        ("ARM_ENDPOINT", "http://management.azure.com", "must be an https:// address"),
        ("ARM_ENDPOINT", "management.azure.com", "must be an https:// address"),
        ("ARM_SCOPE", "api://scope", "must be an https:// address"),
        ("STATE_CONTAINER_URL", "http://contoso.blob.core.windows.net/a", "must be an https:// address"),
        (
            "RENEWAL_SCHEDULE",
            "0 60 * * * *",
            "minute '60' is not a value, list, range or step of 0 to 59: write for example 0, 5,35 or */15",
        ),
    ],
)
def test_a_faulty_setting_is_named(name: str, value: str, said: str) -> None:
    assert faults_of({**LEAST, **SIGN_IN, name: value}) == [(name, said)]


def test_a_ca_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    said = "names a file that cannot be read: No such file or directory"
    assert faults_of({**LEAST, "CA_FILE": str(tmp_path / "ca.pem")}) == [("CA_FILE", said)]


def test_a_ca_file_that_is_a_folder_is_named(tmp_path: Path) -> None:
    said = "names a file that cannot be read: Is a directory"
    assert faults_of({**LEAST, "CA_FILE": str(tmp_path)}) == [("CA_FILE", said)]


@pytest.mark.parametrize("form", ["nothing", "text", "half a certificate", "DER"])
def test_a_ca_file_that_is_not_pem_is_named(tmp_path: Path, form: str) -> None:
    authority = Path(throw_away_tls().ca_file).read_text()
    contents = {
        "nothing": b"",
        "text": b"the authority of the proxy",
        "half a certificate": authority[: len(authority) // 2].encode(),
        "DER": ssl.PEM_cert_to_DER_cert(authority),
    }
    (tmp_path / "ca.pem").write_bytes(contents[form])
    said = "names a file that does not hold certificates in PEM form (BEGIN CERTIFICATE)"
    assert faults_of({**LEAST, "CA_FILE": str(tmp_path / "ca.pem")}) == [("CA_FILE", said)]


def test_a_ca_file_may_hold_several_authorities(tmp_path: Path) -> None:
    authority = Path(throw_away_tls().ca_file).read_text()
    (tmp_path / "ca.pem").write_text(f"The proxy of the plant\n{authority}\n{authority}")
    assert read(CA_FILE=str(tmp_path / "ca.pem")).ca_file == str(tmp_path / "ca.pem")


@pytest.mark.parametrize("value", ["", " "])
def test_a_missing_estate_is_named(value: str) -> None:
    found = faults_of({**RENEWING, "GATEWAY_TOKENS": value})
    assert found == [("GATEWAY_TOKENS", "is not set: it describes the estate, see the README")]


def test_faults_of_settings_and_document_are_told_together() -> None:
    broken = {
        "GATEWAY_TOKENS": '{"services": 1, "x": 2}',
        "ALLOW_FUNCTION_KEYS": "true",
        "SIGN_IN": "x",
        "STATE_CONTAINER_URL": CONTAINER,
    }
    paths = [path for path, _ in faults_of(broken)]
    assert paths == ["services", "x", "SIGN_IN", "RENEWAL_SCHEDULE"]


def test_an_estate_that_renews_needs_a_place_for_its_state() -> None:
    found = faults_of({**RENEWING, "STATE_CONTAINER_URL": ""})
    assert found == [("STATE_CONTAINER_URL", "is needed to renew: the address of a blob container")]
    assert read_settings(RENEWING).state_container_url == CONTAINER


@pytest.mark.parametrize(
    "rule",
    [{}, {"renew": False, "destinations": [{"kind": "keyVault", "vault": "https://edge.vault.azure.net"}]}],
)
def test_an_estate_that_delivers_nowhere_needs_no_place_for_its_state(rule: dict[str, object]) -> None:
    assert read(GATEWAY_TOKENS=json.dumps(document(any_gateway=rule))).state_container_url == ""


def scheduled(schedule: str, **rule: str) -> dict[str, str]:
    destinations = [{"kind": "keyVault", "vault": "https://a.vault.azure.net"}]
    estate = json.dumps(document(**{"*": {**rule, "destinations": destinations}}))
    return {**LEAST, "GATEWAY_TOKENS": estate, "RENEWAL_SCHEDULE": schedule, "STATE_CONTAINER_URL": CONTAINER}


HOURLY, DAILY = "0 0 * * * *", "0 0 3 * * *"


@pytest.mark.parametrize(
    ("schedule", "rule"),
    [
        (HOURLY, {"lifetime": "P30D", "renewBefore": "P29DT23H"}),
        (HOURLY, {"lifetime": "P1D", "renewBefore": "PT23H"}),
        ("0 0 */6 * * *", {"lifetime": "P1D"}),
        ("0 0 */12 * * *", {"lifetime": "P2D"}),
        (DAILY, {"lifetime": "P6DT1H"}),
        (HOURLY, {"lifetime": "P10D", "renewBefore": "P9DT20H"}),
    ],
)
def test_a_rule_whose_new_tokens_would_be_due_within_three_runs_is_a_fault(
    schedule: str, rule: dict[str, str]
) -> None:
    ((path, message),) = faults_of(scheduled(schedule, **rule))
    assert path == "services.contoso.gateways.*"
    assert "a new token would be renewed again within 3 runs: it lives for " in message


@pytest.mark.parametrize(
    ("schedule", "rule"),
    [
        (HOURLY, {"lifetime": "P1D"}),
        (DAILY, {"lifetime": "P6DT2H"}),
        (HOURLY, {"lifetime": "P10D", "renewBefore": "P9DT18H"}),
        (DAILY, {"lifetime": "P2D", "renew": False}),
    ],
)
def test_a_rule_whose_new_tokens_are_left_alone_for_three_runs_is_sound(
    schedule: str, rule: dict[str, Any]
) -> None:
    assert read_settings(scheduled(schedule, **rule)).estate.services


@pytest.mark.parametrize("hours", ["0", "49", "-1", "1.5", "three", "0x3"])
def test_hours_until_the_alert_are_a_whole_number_within_what_an_alert_can_see(hours: str) -> None:
    said = "must be a whole number of hours from 1 to 48"
    assert faults_of({**LEAST, "NO_RUN_AFTER_HOURS": hours}) == [("NO_RUN_AFTER_HOURS", said)]


@pytest.mark.parametrize(
    ("schedule", "hours", "wrong"),
    [
        ("0 0 */3 * * *", "2", True),
        ("0 0 */3 * * *", "3", False),
        ("0 0 */3 * * *", "4", False),
        ("0 0 9 * * 1-5", "48", True),
        ("0 0 9 * * 1-5", "", False),
    ],
)
def test_the_schedule_may_not_pause_for_longer_than_the_alert_waits(
    schedule: str,
    hours: str,
    wrong: bool,  # noqa: FBT001 - a table's column
) -> None:
    environ = {**LEAST, "RENEWAL_SCHEDULE": schedule, "NO_RUN_AFTER_HOURS": hours}
    if not wrong:
        read_settings(environ)
        return
    ((path, said),) = faults_of(environ)
    assert path == "RENEWAL_SCHEDULE"
    assert f"longer than NO_RUN_AFTER_HOURS ({hours})" in said


@pytest.mark.parametrize("schedule", ["0 0 * * * *\t", "0 0 * * * *\n"])
def test_white_space_that_the_host_refuses_in_a_schedule_is_a_fault(schedule: str) -> None:
    ((path, said),) = faults_of({**LEAST, "RENEWAL_SCHEDULE": schedule})
    assert (path, "separate the fields by spaces" in said) == ("RENEWAL_SCHEDULE", True)
