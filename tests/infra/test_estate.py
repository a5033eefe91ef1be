"""The estate parameter: the same words as the settings document, and every right that follows from it."""

import json

import pytest

import gateway_tokens.destinations  # noqa: F401 - defines the kinds
from gateway_tokens.estate.faults import read_estate
from gateway_tokens.estate.schema import Estate
from gateway_tokens.tokens import GatewayRef
from tests.infra.digests import accepted, document, grants, read, text_of
from tests.infra.shapes import fields_of_schema

CASE = "every-destination"
WITH_DOCUMENT = [
    case
    for case in accepted()
    if any(line.startswith("GATEWAY_TOKENS ") for line in read(case).get("settings", []))
]


def test_the_type_of_the_estate_has_the_fields_of_the_settings_document() -> None:
    lines = text_of("estate-type").splitlines()[1:]
    # In Bicep a type cannot be an object or an array: several workloads have a field of their own.
    assert {line.replace(".restarts?[].", ".restart?.") for line in lines if ".restarts?[]." in line} < {
        *lines
    }
    in_bicep = {line for line in lines if ".restarts?[]." not in line}
    # In Bicep a destination may leave its vault out: it gets the one that newVaultName makes.
    of_app = {
        field.replace("(keyVault).vault: ", "(keyVault).vault?: ")
        for field in fields_of_schema(Estate.model_json_schema())
    }
    assert in_bicep == of_app
    assert sum("(keyVault).vault?: " in field for field in in_bicep) == len(("estate", "service", "rule"))


@pytest.mark.parametrize("case", WITH_DOCUMENT)
def test_the_app_accepts_the_settings_document_of_every_case_which_holds_no_null(case: str) -> None:
    assert read_estate(json.dumps(document(case))).services
    assert "null" not in json.dumps(document(case))


def test_the_document_has_the_address_of_each_vault_in_place_of_its_resource_id() -> None:
    gateways = document(CASE)["services"]["contoso"]["gateways"]
    assert gateways["*"]["destinations"][0]["vault"] == "https://contoso-gateways.vault.azure.net"
    assert gateways["plant-*"]["destinations"][0]["signIn"] == {
        "vault": "https://contoso-clusters.vault.azure.net",
        "secret": "plant-service-account",
    }


def test_several_workloads_are_a_list_in_the_document_and_one_is_itself() -> None:
    gateways = document(CASE)["services"]["contoso"]["gateways"]
    assert [gateways[name]["destinations"][0]["restart"] for name in ("edge-01", "plant-*")] == [
        {"name": "{gateway}"},
        [{"kind": "DaemonSet", "name": "{gateway}"}, {"kind": "Rollout", "name": "{gateway}-canary"}],
    ]
    assert "restarts" not in json.dumps(document(CASE))


def test_every_right_follows_from_the_estate_and_is_granted_once_at_one_resource() -> None:
    assert [grant for grant in grants(CASE) if "/rg-gateway-tokens/" not in grant[1]] == [
        ("Gateway token issuer", "11111111/rg-apim/service/contoso-apim"),
        ("Gateway key regenerator", "11111111/rg-apim/service/contoso-apim"),
        ("Gateway token issuer", "22222222/rg-fabrikam/service/fabrikam-apim"),
        ("Gateway token secret writer", "11111111/rg-vaults/vaults/contoso-gateways"),
        (
            "Key Vault Secrets User",
            "11111111/rg-vaults/vaults/contoso-clusters/secrets/plant-service-account",
        ),
        ("Gateway token cluster reader", "22222222/rg-edge/managedClusters/edge-aks"),
    ]


def test_rights_follow_from_what_rules_inherit_and_from_the_names_that_are_filled_in() -> None:
    assert [grant for grant in grants("inherited") if "/rg-gateway-tokens/" not in grant[1]] == [
        ("Gateway token issuer", "11111111/rg-apim/service/contoso-apim"),
        ("Gateway token issuer", "22222222/rg-fabrikam/service/fabrikam-apim"),
        ("Gateway token issuer", "22222222/rg-fabrikam/service/idle-apim"),
        ("Gateway key regenerator", "22222222/rg-fabrikam/service/fabrikam-apim"),
        ("Gateway token secret writer", "11111111/rg-contoso/vaults/kv-contoso"),
        ("Gateway token secret writer", "11111111/rg-vaults/vaults/kv-edge-01"),
        ("Key Vault Secrets User", "11111111/rg-vaults/vaults/kv-contoso-clusters/secrets/contoso-plant"),
        ("Gateway token cluster reader", "22222222/rg-edge/managedClusters/aks-fabrikam"),
    ]


def test_the_app_delivers_to_the_vaults_and_clusters_that_bicep_grants() -> None:
    estate = read_estate(json.dumps(document("inherited")))
    reached = {
        destination.depends_on(GatewayRef(name, pattern)).rpartition("/")[2]
        for name, service in estate.services.items()
        for pattern, rule in service.gateways.items()
        for destination in (rule.destinations if rule.renew else ())
    }
    assert reached == {
        "kv-contoso.vault.azure.net",
        "kv-edge-01.vault.azure.net",
        "plant-*.plant.contoso.example:6443",
        "aks-fabrikam",
    }


def test_nothing_is_granted_for_gateways_that_are_left_alone() -> None:
    assert "not-granted" in json.dumps(document(CASE))
    assert not [scope for _, scope in grants(CASE) if "not-granted" in scope]


def test_a_cluster_that_does_not_use_entra_gets_no_assignment() -> None:
    (line,) = (line for line in read(CASE)["grants"] if "managedClusters" in line)
    assert "to [if(equals(tryGet({edge-aks}, 'aadProfile'), null()), fail(" in line
