"""The settings document: the design's example reads, and a sound document decides one rule for each gateway."""

import json
from datetime import timedelta

import pytest

from gateway_tokens.destinations.base import StoredForm, filled_in
from gateway_tokens.destinations.key_vault import KeyVaultSecret
from gateway_tokens.destinations.kubernetes import KubernetesSecret, Layout
from gateway_tokens.errors import NotFound
from gateway_tokens.estate.schema import declared_names
from gateway_tokens.tokens import GatewayRef, KeyType
from tests.unit.samples import DESIGN_EXAMPLE, SERVICE, SUBSCRIPTION, VAULT, document, estate

EDGE = GatewayRef("contoso", "edge-01")
CLUSTER = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/r/providers/Microsoft.ContainerService/managedClusters/c"
)


def test_the_designs_example_reads() -> None:
    read = estate(DESIGN_EXAMPLE)
    found = read.find("contoso")
    assert found is not None
    name, service = found
    assert (name, str(service.resource_id)) == ("contoso", SERVICE)
    every, edge, lab = (service.gateways[pattern] for pattern in ("*", "edge-01", "lab-*"))
    assert (every.lifetime, every.window, every.key_type) == (
        timedelta(days=30),
        timedelta(days=10),
        KeyType.PRIMARY,
    )
    assert every.destinations == (KeyVaultSecret(kind="keyVault", vault=VAULT, secret="{gateway}-token"),)
    assert edge.lifetime == timedelta(days=7)
    assert (lab.renew, lab.destinations) == (False, ())
    assert [rule.max_lifetime for rule in read.access] == [timedelta(days=1), None, None]


def test_the_smallest_document_has_no_services_and_no_access() -> None:
    read = estate({"services": {}})
    assert (read.services, read.access) == ({}, ())


def test_a_rule_that_says_nothing_keeps_gateways_the_usual_way() -> None:
    rule = estate(document(any_gateway={})).find("contoso")[1].rule_for(EDGE.gateway)
    assert rule is not None
    assert (rule.renew, rule.lifetime, rule.key_type, rule.destinations) == (
        True,
        timedelta(days=30),
        KeyType.PRIMARY,
        (),
    )
    assert (rule.window, rule.margin) == (timedelta(days=10), timedelta(days=5))


def test_the_window_follows_the_lifetime_and_the_margin_follows_the_window() -> None:
    rule = estate(
        document(
            a={"lifetime": "P9D"}, b={"renewBefore": "P4D"}, c={"renewBefore": "P4D", "riskMargin": "P1D"}
        )
    )
    windows = {
        name: (found.window, found.margin)
        for name in "abc"
        if (found := rule.find("contoso")[1].rule_for(name)) is not None
    }
    day = timedelta(days=1)
    assert windows == {"a": (3 * day, 1.5 * day), "b": (4 * day, 2 * day), "c": (4 * day, day)}


@pytest.mark.parametrize(
    ("gateway", "pattern"),
    [
        ("edge-01", "edge-01"),
        ("EDGE-01", "edge-01"),
        ("edge-02", "edge-*"),
        ("edge-eu-1", "edge-eu-*"),
        ("lab", "*"),
        ("edge-", "edge-*"),
    ],
)
def test_the_most_literal_matching_pattern_wins(gateway: str, pattern: str) -> None:
    names = ["*", "edge-*", "edge-eu-*", "edge-01"]
    days = {name: f"P{index + 2}D" for index, name in enumerate(names)}
    read = estate(document(**{name: {"lifetime": days[name]} for name in names}))
    rule = read.find("contoso")[1].rule_for(gateway)
    assert rule is not None
    assert rule.lifetime == timedelta(days=names.index(pattern) + 2)


def test_a_gateway_that_no_pattern_names_has_no_rule() -> None:
    assert estate(document(**{"edge-*": {}})).find("contoso")[1].rule_for("lab-1") is None


def test_a_service_is_found_whatever_the_case_under_its_declared_name() -> None:
    found = estate(document()).find("CONTOSO")
    assert found is not None
    assert found[0] == "contoso"


@pytest.mark.parametrize("name", ["contos", "contoso2", "", "*"])
def test_an_undeclared_service_is_not_found(name: str) -> None:
    with pytest.raises(NotFound):
        estate(document()).find(name)


def test_the_document_may_name_its_schema_for_editors() -> None:
    assert estate({"$schema": "./gateway-tokens.schema.json", "services": {}}).services == {}


@pytest.mark.parametrize(
    ("broken", "names"),
    [
        ({"services": {"a": 5, "b b": {}}}, ["a", "b b"]),
        ({"services": []}, []),
        ([], []),
        (None, []),
        ({}, []),
    ],
)
def test_services_are_declared_by_name_even_in_a_faulty_document(broken: object, names: list[str]) -> None:
    assert declared_names(broken) == names


def test_each_kind_of_destination_reads_with_its_defaults() -> None:
    rule = (
        estate(
            document(
                any_gateway={
                    "destinations": [
                        {"kind": "keyVault", "vault": VAULT},
                        {"kind": "kubernetes", "cluster": CLUSTER, "restart": {"name": "{gateway}"}},
                    ]
                }
            )
        )
        .find("contoso")[1]
        .rule_for(EDGE.gateway)
    )
    assert rule is not None
    vault, kubernetes = rule.destinations
    assert isinstance(vault, KeyVaultSecret)
    assert (vault.secret, vault.form, vault.adopt) == ("{gateway}-token", StoredForm.HEADER, False)
    assert isinstance(kubernetes, KubernetesSecret)
    assert (kubernetes.namespace, kubernetes.layout, kubernetes.sign_in) == ("default", Layout.HELM, None)
    assert kubernetes.restart is not None
    assert (kubernetes.restart.kind, kubernetes.restart.timeout) == ("Deployment", timedelta(minutes=3))


@pytest.mark.parametrize(
    ("destination", "location"),
    [
        (
            KeyVaultSecret(kind="keyVault", vault="https://A.vault.azure.net/"),
            "https://a.vault.azure.net/secrets/edge-01-token",
        ),
        (
            KubernetesSecret(
                kind="kubernetes", server="https://K.example:6443/", secret="{service}.{gateway}"
            ),
            "https://k.example:6443/namespaces/default/secrets/contoso.edge-01",
        ),
        (
            KubernetesSecret(kind="kubernetes", cluster=CLUSTER, namespace="apim"),
            f"{CLUSTER.lower()}/namespaces/apim/secrets/edge-01-token",
        ),
    ],
)
def test_a_destinations_place_is_where_it_writes(
    destination: KeyVaultSecret | KubernetesSecret, location: str
) -> None:
    assert destination.location(EDGE) == location


def test_a_template_is_filled_in_wherever_its_placeholders_stand() -> None:
    filled = filled_in("{service}-{gateway}-{gateway}", EDGE)
    assert filled == "contoso-edge-01-edge-01"


def test_the_document_reads_the_same_from_any_order_of_names() -> None:
    turned = json.dumps(dict(reversed(DESIGN_EXAMPLE.items())))
    assert estate(json.loads(turned)) == estate(DESIGN_EXAMPLE)
