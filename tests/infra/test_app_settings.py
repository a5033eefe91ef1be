"""The app's settings: what the code reads, what Bicep writes, and what the sample shows."""

import json
import re

import pytest

from gateway_tokens.estate.app_settings import SETTINGS, read_settings
from gateway_tokens.sign_in import SignIn
from tests.infra.digests import ROOT, document, read, settings

CASE, LOGIN = "cloud-public", "login.microsoftonline.com"
TENANT = "99999999-9999-9999-9999-999999999999"
API, CALLER = "44444444-4444-4444-4444-444444444444", "77777777-7777-7777-7777-777777777777"
# Read by the Functions host and by App Service, not by the code.
OF_THE_PLATFORM = re.compile(r"AzureWebJobsStorage(__\w+)?|APPLICATIONINSIGHTS_\w+|FUNCTIONS_\w+|WEBSITE_\w+")
# https://learn.microsoft.com/azure/azure-functions/functions-app-settings: deprecated or refused on this plan.
REFUSED_ON_FLEX = re.compile(
    r"FUNCTIONS_\w+|WEBSITE_(RUN_FROM_PACKAGE|CONTENT\w+|TIME_ZONE|LOAD_CERTIFICATES|NODE_DEFAULT_VERSION)|TZ"
    r"|SCM_DO_BUILD_DURING_DEPLOYMENT|ENABLE_ORYX_BUILD|PYTHON_ISOLATE_WORKER_DEPENDENCIES"
)
SAMPLE = json.loads((ROOT / "local.settings.sample.json").read_text())


@pytest.mark.parametrize("names", [list(settings(CASE)), list(SAMPLE["Values"])], ids=["Bicep", "the sample"])
def test_every_setting_that_the_code_reads_is_there_once_and_no_other(names: list[str]) -> None:
    assert sorted(name for name in names if not OF_THE_PLATFORM.fullmatch(name)) == sorted(SETTINGS)


def test_nothing_is_set_that_flex_consumption_refuses_and_no_key_is_among_the_settings() -> None:
    written = settings(CASE)
    assert [name for name in written if REFUSED_ON_FLEX.fullmatch(name)] == []
    assert "AzureWebJobsStorage" not in written
    assert written["AzureWebJobsStorage__credential"] == "managedidentity"
    setting = written["APPLICATIONINSIGHTS_AUTHENTICATION_STRING"]
    assert setting == "ClientId=55555555-5555-5555-5555-555555555555;Authorization=AAD"


def test_the_app_accepts_what_bicep_writes() -> None:
    accepted = read_settings(settings(CASE))
    assert accepted.client_id == "55555555-5555-5555-5555-555555555555"
    assert accepted.state_container_url == "https://stgatewaytokens.blob.example/gateway-tokens"
    audiences = (f"api://{API}", API)
    assert accepted.sign_in == SignIn(f"https://{LOGIN}", TENANT, audiences, frozenset({CALLER}))
    assert not accepted.function_keys


US = "management.usgovcloudapi.net"
CLOUDS = {
    CASE: ("management.azure.com", "management.azure.com", LOGIN),
    "cloud-us-government": (US, US.replace("management.", "management.core."), "login.microsoftonline.us"),
}


@pytest.mark.parametrize("case", CLOUDS)
def test_the_addresses_follow_the_cloud(case: str) -> None:
    accepted, (endpoint, scope, login) = read_settings(settings(case)), CLOUDS[case]
    assert (accepted.arm_endpoint, accepted.arm_scope) == (f"https://{endpoint}", f"https://{scope}/.default")
    assert accepted.sign_in is not None
    assert accepted.sign_in.keys_address == f"https://{login}/{TENANT}/discovery/v2.0/keys"
    assert f"openIdIssuer=https://{login}/" in " ".join(read(case)["sign-in"])


def test_the_schedule_is_held_to_the_alert_for_missing_runs_where_there_is_one() -> None:
    hours = {case: settings(case)["NO_RUN_AFTER_HOURS"] for case in (CASE, "every-destination", "existing")}
    assert hours == {CASE: "3", "every-destination": "", "existing": "3"}


def test_function_keys_may_replace_sign_in_or_be_beside_it() -> None:
    written = settings("keys-and-sign-in")
    assert (written["ALLOW_FUNCTION_KEYS"], written["SIGN_IN_AUDIENCES"]) == ("true", "api://gateway-tokens")
    assert written["SIGN_IN_TENANT"] == "88888888-8888-4888-8888-888888888888"
    known = {name: value for name, value in settings("function-keys").items() if "[" not in value}
    known |= {"GATEWAY_TOKENS": json.dumps(document("function-keys"))}
    accepted = read_settings(settings(CASE) | known)
    assert (accepted.function_keys, accepted.sign_in) == (True, None)
