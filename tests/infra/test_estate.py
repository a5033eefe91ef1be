"""The estate parameter: the same words as the settings document, and every right that follows from it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gateway_tokens.settings import Estate
from gateway_tokens.settings_faults import read_estate
from tests.infra.bicep_tree import INFRA, at, declarations, read_sources, written
from tests.infra.bicep_values import call, example_parameters, functions_of, parameters_of, value_of
from tests.infra.shapes import differences, shape_of_schema, shape_of_type

if TYPE_CHECKING:
    from tree_sitter import Node

SOURCES = read_sources()
SCOPE = functions_of(SOURCES, "estate.bicep")
ONE, TWO = "/subscriptions/1/resourceGroups/rg-One", "/subscriptions/2/resourceGroups/two"
VAULT = f"{ONE}/providers/Microsoft.KeyVault/vaults/contoso-kv"
SERVICE = f"{ONE}/providers/Microsoft.ApiManagement/service/contoso-apim"


def estate(*destinations: dict[str, Any], pattern: str = "edge-01", **rule: object) -> dict[str, Any]:
    gateways = {pattern: {"destinations": list(destinations), **rule}}
    return {"services": {"contoso": {"resourceId": SERVICE, "gateways": gateways}}}


def key_vault(vault: str = VAULT) -> dict[str, Any]:
    return {"kind": "keyVault", "vault": vault}


def kubernetes(**more: object) -> dict[str, Any]:
    return {"kind": "kubernetes", **more}


def test_the_estate_type_has_the_properties_of_the_settings_document() -> None:
    in_bicep = shape_of_type(SOURCES, "estate.bicep", "estateType")

    assert differences(in_bicep, shape_of_schema(Estate.model_json_schema())) == []


@pytest.mark.parametrize(
    ("old", "new", "reported"),
    [
        ("riskMargin: string?", "margin: string?", ".riskMargin?"),
        ("  adopt: bool?", "  adopt: string?", ".adopt?: string is not boolean"),
        ("'helm' | 'portal'", "'helm'", ".layout?: envFrom|helm is not envFrom|helm|portal"),
        ("lifetime: string?", "lifetime: string", ".lifetime?"),
        (" | kubernetesSecretType", "", ".kind=kubernetes"),
    ],
)
def test_a_type_that_differs_from_the_document_is_reported(old: str, new: str, reported: str) -> None:
    changed = {"estate.bicep": SOURCES["estate.bicep"].replace(old, new, 1)}

    found = differences(
        shape_of_type(changed, "estate.bicep", "estateType"), shape_of_schema(Estate.model_json_schema())
    )

    assert any(difference.endswith(reported) for difference in found)


def test_the_example_becomes_a_settings_document_that_the_app_accepts() -> None:
    example = example_parameters()["estate"]

    document = call(SCOPE, "settingsDocument", example, ".vault.azure.net")

    accepted = read_estate(json.dumps(document))
    assert accepted.services.keys() == example["services"].keys()
    kinds = {d.kind for s in accepted.services.values() for r in s.gateways.values() for d in r.destinations}
    assert kinds == {"keyVault", "kubernetes"}


def test_a_defect_in_the_example_is_not_accepted() -> None:
    faulty = (INFRA / "main.bicepparam").read_text().replace("'P10D'", "'P31D'")

    document = call(SCOPE, "settingsDocument", parameters_of(faulty)["estate"], ".vault.azure.net")

    with pytest.raises(Exception, match="renewBefore"):
        read_estate(json.dumps(document))


def test_the_document_gets_the_address_of_each_vault_in_the_cloud_of_the_deployment() -> None:
    document = call(
        SCOPE,
        "settingsDocument",
        estate(key_vault(), kubernetes(signIn={"vault": VAULT, "secret": "sa"})),
        ".vault.azure.cn",
    )

    destinations = document["services"]["contoso"]["gateways"]["edge-01"]["destinations"]
    assert destinations[0]["vault"] == "https://contoso-kv.vault.azure.cn"
    assert destinations[1]["signIn"] == {"vault": "https://contoso-kv.vault.azure.cn", "secret": "sa"}


def test_the_document_is_otherwise_the_estate() -> None:
    given = {
        **estate(kubernetes(server="https://k8s"), renew=True, lifetime="P7D"),
        "access": [{"allow": ["issue"]}],
    }

    assert call(SCOPE, "settingsDocument", given, ".vault.azure.net") == given


def test_every_service_is_granted_once_however_it_is_spelled() -> None:
    services = {"a": {"resourceId": SERVICE}, "b": {"resourceId": SERVICE.upper()}, "c": {"resourceId": TWO}}

    assert call(SCOPE, "apiManagementIds", {"services": services}) == [SERVICE.lower(), TWO.lower()]


def test_a_vault_is_granted_once_however_many_gateways_use_it() -> None:
    assert call(SCOPE, "vaultIds", estate(key_vault(), key_vault(VAULT.upper()))) == [VAULT.lower()]


def test_nothing_is_granted_for_gateways_that_are_left_alone() -> None:
    assert call(SCOPE, "vaultIds", estate(key_vault(), renew=False)) == []


def test_a_vault_that_only_holds_a_sign_in_is_not_granted_as_a_whole() -> None:
    given = estate(kubernetes(server="https://k8s", signIn={"vault": VAULT, "secret": "Plant"}))

    assert call(SCOPE, "vaultIds", given) == []
    assert call(SCOPE, "signInSecretIds", given) == [f"{VAULT}/secrets/plant".lower()]


def test_a_cluster_is_asked_only_where_the_document_names_one() -> None:
    cluster = f"{TWO}/providers/Microsoft.ContainerService/managedClusters/edge"

    assert call(SCOPE, "clusterIds", estate(kubernetes(cluster=cluster))) == [cluster.lower()]
    assert call(SCOPE, "clusterIds", estate(kubernetes(server="https://k8s"))) == []


def test_rights_are_given_group_by_group_across_subscriptions() -> None:
    ids = [
        f"{ONE}/providers/p/t/a".lower(),
        f"{TWO}/providers/p/t/b".lower(),
        f"{ONE}/providers/p/t/c".lower(),
    ]

    groups = call(SCOPE, "resourceGroupsOf", ids)

    assert groups == [ONE.lower(), TWO.lower()]
    assert [call(SCOPE, "namesIn", group, ids) for group in groups] == [["a", "c"], ["b"]]


def test_secrets_are_granted_beside_their_vault() -> None:
    ids = [f"{VAULT}/secrets/plant".lower()]

    assert call(SCOPE, "secretsIn", ONE.lower(), ids) == [{"vault": "contoso-kv", "secret": "plant"}]
    assert call(SCOPE, "secretsIn", TWO.lower(), ids) == []


def grants() -> dict[str, list[tuple[str, Any]]]:
    """What main.bicep grants for the example: by module, each resource group and the places in it."""
    main = {"main.bicep": SOURCES["main.bicep"]}
    values = {"estate": example_parameters()["estate"]}
    for variable in declarations(main, "var"):
        if variable.name in {"services", "vaults", "clusters", "signInSecrets"}:
            values[variable.name] = value_of(variable.value, SCOPE.with_values(**values))
    modules = {m.name: m for m in declarations(main, "module") if m.name.endswith("Access")}
    return {name: _places(module.node, module.body, values) for name, module in modules.items()}


def _places(module: Node, body: Node, values: dict[str, Any]) -> list[tuple[str, Any]]:
    loop = next(child for child in module.named_children if child.type == "for_statement")
    params = at(body, "params")
    assert params is not None
    scope = SCOPE.with_values(**values)
    found = []
    for place in value_of(loop.named_children[1], scope):
        within = scope.with_values(place=place)
        names = value_of(params.named_children[0].named_children[-1], within)
        subscription, group = place.split("/")[2], place.split("/")[4]
        found.append((f"{subscription[0]}/{group}", names))
    return found


def test_every_right_of_the_example_follows_from_its_estate() -> None:
    assert grants() == {
        "apiManagementAccess": [("1/rg-apim", ["contoso-apim"]), ("2/rg-fabrikam", ["fabrikam-apim"])],
        "vaultAccess": [("1/rg-vaults", ["contoso-gateways"])],
        "secretAccess": [("1/rg-vaults", [{"vault": "contoso-clusters", "secret": "plant-service-account"}])],
        "clusterAccess": [("2/rg-edge", ["edge-aks"])],
    }


def test_rights_are_given_in_the_resource_group_of_what_they_open() -> None:
    modules = [m for m in declarations(SOURCES, "module") if m.name.endswith("Access")]

    scopes = {m.name: written(at(m.body, "scope")) for m in modules}

    assert set(scopes.values()) == {"resourceGroup(split(place, '/')[2], split(place, '/')[4])"}


def test_the_app_gets_the_document_that_these_tests_look_at() -> None:
    module = next(m for m in declarations(SOURCES, "module") if m.name == "functionApp")

    handed_over = written(at(module.body, "params.document"))

    assert handed_over == "string(settingsDocument(estate, environment().suffixes.keyvaultDns))"
