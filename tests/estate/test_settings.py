"""The settings document: the design's example reads, and a sound document decides one rule for each gateway."""

from datetime import timedelta
from typing import Any

import pytest

from gateway_tokens.destinations.key_vault import KeyVaultSecret
from gateway_tokens.destinations.kubernetes import KubernetesSecret, Layout
from gateway_tokens.errors import NotFound
from gateway_tokens.estate.schema import GatewayRule
from gateway_tokens.stored import StoredForm
from gateway_tokens.tokens import GatewayRef, KeyType
from tests.samples import CLUSTER, DESIGN_EXAMPLE, SERVICE, VAULT, document, estate

DAY = timedelta(days=1)
EDGE = GatewayRef("contoso", "edge-01")


def rule_for(value: object, gateway: str = "edge-01") -> GatewayRule:
    rule = estate(value).find("contoso")[1].rule_for(gateway)
    assert rule is not None
    return rule


def test_the_designs_example_reads() -> None:
    read = estate(DESIGN_EXAMPLE)
    name, service = read.find("CONTOSO")
    assert (name, str(service.resource_id)) == ("contoso", SERVICE)
    every, edge, lab = (service.gateways[pattern] for pattern in ("*", "edge-01", "lab-*"))
    assert (every.lifetime, every.window, every.key_type) == (30 * DAY, 10 * DAY, KeyType.PRIMARY)
    assert every.destinations == (KeyVaultSecret(kind="keyVault", vault=VAULT, secret="{gateway}-token"),)
    assert edge.lifetime == 7 * DAY
    assert (lab.renew, lab.destinations) == (False, ())
    assert [rule.max_lifetime for rule in read.access] == [DAY, None, None]


def test_a_service_is_not_found_under_another_name() -> None:
    for name in ("contos", "contoso2", "", "*"):
        with pytest.raises(NotFound):
            estate(document()).find(name)
    with pytest.raises(NotFound, match="'fabrikam/edge-01'"):
        estate(document()).find("fabrikam", "edge-01")


def test_what_is_left_out_has_its_default() -> None:
    rule = rule_for(document(any_gateway={}))
    assert (rule.renew, rule.key_type, rule.destinations, rule.lifetime) == (True, None, (), 30 * DAY)
    read = estate({"services": {}})
    assert (read.services, read.access) == ({}, ())


def test_the_window_follows_the_lifetime_and_the_margin_follows_the_window() -> None:
    rules: tuple[tuple[dict[str, Any], timedelta, timedelta], ...] = (
        ({"lifetime": "P9D"}, 3 * DAY, 1.5 * DAY),
        ({"renewBefore": "P4D"}, 4 * DAY, 2 * DAY),
        ({"renewBefore": "P4D", "riskMargin": "P1D"}, 4 * DAY, DAY),
    )
    for rule, window, margin in rules:
        read = rule_for(document(any_gateway=rule))
        assert (read.window, read.margin) == (window, margin)


def test_the_most_literal_matching_pattern_wins() -> None:
    patterns = {"*": "P2D", "edge-*": "P3D", "edge-eu-*": "P4D", "edge-01": "P5D"}
    value = document(**{name: {"lifetime": days} for name, days in patterns.items()})
    expected = {"lab": 2, "edge-": 3, "edge-eu-1": 4, "edge-01": 5, "EDGE-01": 5}
    assert {name: rule_for(value, name).lifetime // DAY for name in expected} == expected
    assert estate(document(**{"edge-*": {}})).find("contoso")[1].rule_for("lab-1") is None


def test_each_kind_of_destination_reads_with_its_defaults() -> None:
    given = [
        {"kind": "keyVault", "vault": VAULT},
        {"kind": "kubernetes", "cluster": CLUSTER, "restart": {"name": "{gateway}"}},
    ]
    vault, kubernetes = rule_for(document(any_gateway={"destinations": given})).destinations
    assert isinstance(vault, KeyVaultSecret)
    assert (vault.secret, vault.form, vault.adopt) == ("{gateway}-token", StoredForm.HEADER, False)
    assert isinstance(kubernetes, KubernetesSecret)
    assert (kubernetes.namespace, kubernetes.layout, kubernetes.sign_in) == ("default", Layout.HELM, None)
    assert [(workload.kind, workload.timeout) for workload in kubernetes.workloads] == [
        ("Deployment", timedelta(minutes=3))
    ]


@pytest.mark.parametrize(
    ("restart", "kinds"),
    [(None, []), ([{"name": "a{gateway}"}, {"kind": "Rollout", "name": "b"}], ["Deployment", "Rollout"])],
)
def test_a_secret_may_have_no_workload_or_several(restart: object, kinds: list[str]) -> None:
    row = {"kind": "kubernetes", "cluster": CLUSTER, "restart": restart}
    (destination,) = rule_for(document(edge={"destinations": [row]}), "edge").destinations
    assert isinstance(destination, KubernetesSecret)
    assert [workload.kind for workload in destination.workloads] == kinds


def test_the_place_of_a_destination_is_where_it_writes() -> None:
    vault = KeyVaultSecret(kind="keyVault", vault="https://A.vault.azure.net/")
    server = KubernetesSecret(kind="kubernetes", server="https://K:6443/", secret="{service}.{gateway}")
    cluster = KubernetesSecret(kind="kubernetes", cluster=CLUSTER, namespace="{gateway}-{gateway}")
    assert vault.location(EDGE) == "https://a.vault.azure.net/secrets/edge-01-token"
    assert server.location(EDGE) == "https://k:6443/namespaces/default/secrets/contoso.edge-01"
    assert cluster.location(EDGE) == f"{CLUSTER.lower()}/namespaces/edge-01-edge-01/secrets/edge-01-token"
