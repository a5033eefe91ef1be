"""The app's settings: what the code reads, what Bicep writes, what the sample shows and the README explains."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from gateway_tokens.app_settings import SETTINGS, read_settings
from tests.infra.bicep_tree import ROOT, at, declarations, properties, read_sources
from tests.infra.bicep_values import call, example_parameters, functions_of, value_of
from tests.infra.facts import PUBLIC_CLOUD, US_GOVERNMENT

SOURCES = read_sources()
MODULE = "modules/functionApp.bicep"
# Read by the Functions host and by App Service, not by the code.
OF_THE_PLATFORM = re.compile(r"AzureWebJobsStorage(__\w+)?|APPLICATIONINSIGHTS_\w+|FUNCTIONS_\w+|WEBSITE_\w+")
# https://learn.microsoft.com/azure/azure-functions/functions-app-settings: deprecated or refused on this plan.
REFUSED_ON_FLEX = re.compile(
    r"FUNCTIONS_\w+|WEBSITE_(RUN_FROM_PACKAGE|CONTENT\w+|TIME_ZONE|LOAD_CERTIFICATES|NODE_DEFAULT_VERSION)|TZ"
    r"|SCM_DO_BUILD_DURING_DEPLOYMENT|ENABLE_ORYX_BUILD|PYTHON_ISOLATE_WORKER_DEPENDENCIES"
)
README = ROOT / "README.md"
TENANT, API, CALLER = (f"{digit * 8}-1111-4111-8111-111111111111" for digit in "123")
SIGN_IN = {"clientId": API, "allowedApplications": [CALLER]}


def in_bicep(sources: dict[str, str] = SOURCES) -> list[str]:
    settings = next(d for d in declarations({MODULE: sources[MODULE]}, "resource") if d.name == "settings")
    node = at(settings.body, "properties")
    assert node is not None
    return [p.name for p in properties(node)]


def of_the_app(names: list[str]) -> set[str]:
    return {name for name in names if not OF_THE_PLATFORM.fullmatch(name)}


def sample() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((ROOT / "local.settings.sample.json").read_text())
    return document


def in_readme(readme: str) -> list[str]:
    return re.findall(r"^\| `([A-Z][A-Z_]+)` \|", readme, re.MULTILINE)


def written(cloud: dict[str, Any] = PUBLIC_CLOUD, **given: object) -> dict[str, str]:
    """What Bicep writes for the example's estate in a cloud."""
    document = call(
        functions_of(SOURCES, "estate.bicep"),
        "settingsDocument",
        example_parameters()["estate"],
        cloud["suffixes"]["keyvaultDns"],
    )
    parameters = {
        "document": json.dumps(document),
        "renewalSchedule": "0 0 * * * *",
        "noRunAfterHours": 3,
        "blobEndpoint": "https://st.blob.example/",
        "queueEndpoint": "https://st.queue.example/",
        "stateContainer": "gateway-tokens",
        "clientId": "55555555-5555-5555-5555-555555555555",
        "applicationInsightsConnectionString": "InstrumentationKey=0",
        "signIn": SIGN_IN,
        "allowFunctionKeys": False,
        "caFile": None,
    }
    known = {**parameters, **given, "environment": lambda: cloud, "tenant": lambda: {"tenantId": TENANT}}
    scope = functions_of(SOURCES, MODULE).with_values(**known)
    for variable in declarations({MODULE: SOURCES[MODULE]}, "var"):
        scope = scope.with_values(**{variable.name: value_of(variable.value, scope)})
    settings = next(d for d in declarations({MODULE: SOURCES[MODULE]}, "resource") if d.name == "settings")
    node = at(settings.body, "properties")
    assert node is not None
    values: dict[str, str] = value_of(node, scope)
    return values


def test_bicep_writes_every_setting_that_the_code_reads_and_no_other() -> None:
    assert of_the_app(in_bicep()) == SETTINGS.keys()


def test_a_setting_missing_from_bicep_would_be_noticed() -> None:
    without = SOURCES[MODULE].replace("    AZURE_CLIENT_ID: clientId\n", "")

    assert of_the_app(in_bicep({MODULE: without})) == SETTINGS.keys() - {"AZURE_CLIENT_ID"}


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
    assert [name for name in in_bicep() if REFUSED_ON_FLEX.fullmatch(name)] == []


def test_no_setting_is_a_connection_string_with_a_key() -> None:
    assert "AzureWebJobsStorage" not in in_bicep()
    assert written()["AzureWebJobsStorage__credential"] == "managedidentity"


def test_the_app_accepts_what_bicep_writes() -> None:
    settings = read_settings(written())

    assert settings.client_id == "55555555-5555-5555-5555-555555555555"
    assert settings.state_container_url == "https://st.blob.example/gateway-tokens"


@pytest.mark.parametrize(
    ("cloud", "endpoint", "scope"),
    [
        (PUBLIC_CLOUD, "https://management.azure.com", "https://management.azure.com/.default"),
        (
            US_GOVERNMENT,
            "https://management.usgovcloudapi.net",
            "https://management.core.usgovcloudapi.net/.default",
        ),
    ],
    ids=["public", "US Government"],
)
def test_the_address_and_scope_of_azure_resource_manager_follow_the_cloud(
    cloud: dict[str, Any], endpoint: str, scope: str
) -> None:
    settings = read_settings(written(cloud))

    assert (settings.arm_endpoint, settings.arm_scope) == (endpoint, scope)


def test_who_may_sign_in_follows_the_parameter() -> None:
    settings = read_settings(written())

    assert settings.sign_in is not None
    assert settings.sign_in.tenant == TENANT
    assert set(settings.sign_in.audiences) == {API, f"api://{API}"}
    assert settings.sign_in.applications == {CALLER}
    assert not settings.function_keys


def test_audiences_may_be_given() -> None:
    settings = read_settings(written(signIn={**SIGN_IN, "audiences": ["api://gateway-tokens"]}))

    assert settings.sign_in is not None
    assert settings.sign_in.audiences == ("api://gateway-tokens",)


def test_function_keys_may_be_allowed_beside_sign_in_or_in_its_place() -> None:
    assert read_settings(written(allowFunctionKeys=True)).function_keys
    by_key = [{"caller": {"functionKey": True}, "gateways": ["*/*"], "allow": ["read"]}]
    document = json.dumps({**json.loads(written()["GATEWAY_TOKENS"]), "access": by_key})
    settings = read_settings(written(allowFunctionKeys=True, signIn=None, document=document))

    assert (settings.function_keys, settings.sign_in) == (True, None)


def test_signing_in_follows_the_cloud() -> None:
    settings = read_settings(written(US_GOVERNMENT))

    assert settings.sign_in is not None
    assert settings.sign_in.keys_address == f"https://login.microsoftonline.us/{TENANT}/discovery/v2.0/keys"


def test_application_insights_is_written_to_with_the_identity() -> None:
    said = written()["APPLICATIONINSIGHTS_AUTHENTICATION_STRING"]

    assert said == "ClientId=55555555-5555-5555-5555-555555555555;Authorization=AAD"
