"""The app's settings: what the code reads, what Bicep writes, what the sample shows and the README explains."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from gateway_tokens.estate.app_settings import SETTINGS, read_settings
from tests.infra.digests import ROOT, document, read, settings

CASE = "cloud-public"
TENANT = "99999999-9999-9999-9999-999999999999"
API, CALLER = "44444444-4444-4444-4444-444444444444", "77777777-7777-7777-7777-777777777777"
# Read by the Functions host and by App Service, not by the code.
OF_THE_PLATFORM = re.compile(r"AzureWebJobsStorage(__\w+)?|APPLICATIONINSIGHTS_\w+|FUNCTIONS_\w+|WEBSITE_\w+")
# https://learn.microsoft.com/azure/azure-functions/functions-app-settings: deprecated or refused on this plan.
REFUSED_ON_FLEX = re.compile(
    r"FUNCTIONS_\w+|WEBSITE_(RUN_FROM_PACKAGE|CONTENT\w+|TIME_ZONE|LOAD_CERTIFICATES|NODE_DEFAULT_VERSION)|TZ"
    r"|SCM_DO_BUILD_DURING_DEPLOYMENT|ENABLE_ORYX_BUILD|PYTHON_ISOLATE_WORKER_DEPENDENCIES"
)
README = ROOT / "README.md"


def of_the_app(names: list[str]) -> set[str]:
    return {name for name in names if not OF_THE_PLATFORM.fullmatch(name)}


def sample() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((ROOT / "local.settings.sample.json").read_text())
    return document


def in_readme(readme: str) -> list[str]:
    return re.findall(r"^\| `([A-Z][A-Z_]+)` \|", readme, re.MULTILINE)


def test_bicep_writes_every_setting_that_the_code_reads_and_no_other() -> None:
    assert of_the_app(list(settings(CASE))) == SETTINGS.keys()


def test_the_sample_shows_every_setting_that_the_code_reads_and_no_other() -> None:
    assert of_the_app(list(sample()["Values"])) == SETTINGS.keys()


def test_the_sample_is_read_unencrypted_and_holds_strings_only() -> None:
    assert sample()["IsEncrypted"] is False
    assert {type(value) for value in sample()["Values"].values()} == {str}


def test_the_sample_is_accepted_by_the_app() -> None:
    assert read_settings(sample()["Values"]).estate.services


def test_the_readme_explains_every_setting_that_the_code_reads_and_no_other() -> None:
    assert sorted(in_readme(README.read_text())) == sorted(SETTINGS)


def test_a_row_of_the_readme_is_recognised() -> None:
    assert in_readme("| `ARM_SCOPE` | how |\n| `sign` | no |\ntext `CA_FILE` |\n") == ["ARM_SCOPE"]


def test_nothing_is_set_that_flex_consumption_refuses() -> None:
    assert [name for name in settings(CASE) if REFUSED_ON_FLEX.fullmatch(name)] == []


def test_no_setting_is_a_connection_string_with_a_key() -> None:
    assert "AzureWebJobsStorage" not in settings(CASE)
    assert settings(CASE)["AzureWebJobsStorage__credential"] == "managedidentity"


def test_the_app_accepts_what_bicep_writes() -> None:
    accepted = read_settings(settings(CASE))

    assert accepted.client_id == "55555555-5555-5555-5555-555555555555"
    assert accepted.state_container_url == "https://stgatewaytokens.blob.example/gateway-tokens"


@pytest.mark.parametrize(
    ("case", "endpoint", "scope"),
    [
        ("cloud-public", "https://management.azure.com", "https://management.azure.com/.default"),
        (
            "cloud-us-government",
            "https://management.usgovcloudapi.net",
            "https://management.core.usgovcloudapi.net/.default",
        ),
    ],
)
def test_the_address_and_scope_of_azure_resource_manager_follow_the_cloud(
    case: str, endpoint: str, scope: str
) -> None:
    accepted = read_settings(settings(case))

    assert (accepted.arm_endpoint, accepted.arm_scope) == (endpoint, scope)


def test_who_may_sign_in_follows_the_parameter() -> None:
    accepted = read_settings(settings(CASE))

    assert accepted.sign_in is not None
    assert accepted.sign_in.tenant == TENANT
    assert set(accepted.sign_in.audiences) == {API, f"api://{API}"}
    assert accepted.sign_in.applications == {CALLER}
    assert not accepted.function_keys


def test_the_schedule_is_held_to_the_alert_for_runs_where_there_is_one() -> None:
    assert settings(CASE)["NO_RUN_AFTER_HOURS"] == "3"
    assert settings("every-destination")["NO_RUN_AFTER_HOURS"] == ""
    assert settings("existing")["NO_RUN_AFTER_HOURS"] == "3"


def test_tenant_and_audiences_may_be_given_beside_function_keys() -> None:
    written = settings("keys-and-sign-in")

    assert written["ALLOW_FUNCTION_KEYS"] == "true"
    assert written["SIGN_IN_TENANT"] == "88888888-8888-4888-8888-888888888888"
    assert written["SIGN_IN_AUDIENCES"] == "api://gateway-tokens"


def test_function_keys_may_stand_in_the_place_of_sign_in() -> None:
    written = {name: value for name, value in settings("function-keys").items() if "[" not in value}
    accepted = read_settings(
        settings(CASE) | written | {"GATEWAY_TOKENS": json.dumps(document("function-keys"))}
    )

    assert (accepted.function_keys, accepted.sign_in) == (True, None)


def test_the_keys_of_tokens_follow_the_cloud() -> None:
    accepted = read_settings(settings("cloud-us-government"))

    assert accepted.sign_in is not None
    assert accepted.sign_in.keys_address == f"https://login.microsoftonline.us/{TENANT}/discovery/v2.0/keys"


def test_who_signs_in_follows_the_cloud() -> None:
    issuers = {
        re.findall(r"openIdIssuer=(https://[^/]+)/", " ".join(read(case)["sign-in"]))[0]
        for case in ("cloud-public", "cloud-us-government")
    }

    assert issuers == {"https://login.microsoftonline.com", "https://login.microsoftonline.us"}


def test_application_insights_is_written_to_with_the_identity() -> None:
    told = settings(CASE)["APPLICATIONINSIGHTS_AUTHENTICATION_STRING"]

    assert told == "ClientId=55555555-5555-5555-5555-555555555555;Authorization=AAD"
