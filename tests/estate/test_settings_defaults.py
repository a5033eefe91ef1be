"""What rules share: defaults, named clusters, and names that follow from service and gateway."""

import gc
import json
from datetime import timedelta
from typing import Any

import pytest

from gateway_tokens.destinations.kubernetes import KubernetesSecret
from gateway_tokens.estate.destination import DestinationSettings
from gateway_tokens.estate.faults import MOST_BYTES, read_estate
from gateway_tokens.estate.schema import GatewayRule
from gateway_tokens.tokens import GatewayRef, KeyType
from tests.samples import CLUSTER, SERVICE, VAULT, document, estate, faults_of

DAY = timedelta(days=1)
BY_SERVICE = {"kind": "keyVault", "vault": "https://kv-{service}.vault.azure.net"}
PLANT = {
    "server": "https://plant.example:6443",
    "certificateAuthority": "PEM",
    "signIn": {"vault": VAULT, "secret": "sa"},
}
AT_PLANT = {"kind": "kubernetes", "cluster": "plant"}
KUBERNETES = {"kind": "kubernetes", "server": "https://k"}
KEEPS = "has `keyType` and `rotateKeys`: a gateway that keeps to one key rotates none"
NO_CLUSTER = "is neither a resource id nor a name in `clusters`"


def written(
    *, of_estate: object = None, of_service: object = None, clusters: object = None, **rules: dict[str, Any]
) -> dict[str, Any]:
    """A document of one service with these defaults, clusters and rules; what is None is written as null."""
    whole = document(**rules)
    whole["services"]["contoso"]["defaults"] = of_service
    return {**whole, "defaults": of_estate, "clusters": clusters}


def rule_of(value: object, pattern: str = "*") -> GatewayRule:
    return estate(value).services["contoso"].gateways[pattern]


def destination_of(value: object, pattern: str = "*") -> DestinationSettings:
    (destination,) = rule_of(value, pattern).destinations
    return destination


def messages_of(value: object) -> list[str]:
    return [f"{path}: {message}" for path, message in faults_of(value)]


def test_a_rule_inherits_each_field_that_it_leaves_out_from_the_nearest_defaults() -> None:
    value = written(
        of_estate={"lifetime": "P20D", "renewBefore": "P9D", "keyType": "secondary", "riskMargin": "P1D"},
        of_service={"renewBefore": "P8D", "lifetime": None},
        any_gateway={"riskMargin": "P2D"},
        edge={"lifetime": "P10D", "renewBefore": "P4D", "keyType": "primary", "riskMargin": "P3D"},
    )
    every, edge = rule_of(value), rule_of(value, "edge")
    assert (every.lifetime, every.window, every.margin) == (20 * DAY, 8 * DAY, 2 * DAY)
    assert (edge.lifetime, edge.window, edge.margin) == (10 * DAY, 4 * DAY, 3 * DAY)
    assert (every.key_type, edge.key_type) == (KeyType.SECONDARY, KeyType.PRIMARY)
    assert rule_of(written(of_estate={"renew": False}, any_gateway={})).renew is False


def test_destinations_are_inherited_as_a_whole_and_an_empty_list_inherits_none() -> None:
    fixed = {**KUBERNETES, "secret": "edge"}
    value = written(
        of_estate={"destinations": [BY_SERVICE, KUBERNETES]},
        any_gateway={},
        edge={"destinations": [fixed]},
        idle={"destinations": []},
    )
    ref = GatewayRef("contoso", "a")
    assert [destination.location(ref) for destination in rule_of(value).destinations] == [
        "https://kv-contoso.vault.azure.net/secrets/a-token",
        "https://k/namespaces/default/secrets/a-token",
    ]
    assert destination_of(value, "edge").location(ref) == "https://k/namespaces/default/secrets/edge"
    assert rule_of(value, "idle").destinations == ()


WINDOW = "renewBefore must be longer than zero and shorter than lifetime"
EVERY: dict[str, Any] = {"any_gateway": {}, "edge": {}}


@pytest.mark.parametrize(
    ("value", "messages"),
    [
        (written(of_estate={"keyType": 1}, **EVERY), ["defaults.keyType: must be 'primary' or 'secondary'"]),
        (written(of_estate={"renewBefore": "P30D"}, **EVERY), [f"defaults: {WINDOW}"]),
        (
            written(of_estate={"renewBefore": "P9D"}, of_service={"lifetime": "P9D"}, **EVERY),
            [f"services.contoso.defaults: {WINDOW}"],
        ),
        (
            written(of_estate={"renewBefore": "P9D"}, any_gateway={}, edge={"lifetime": "P9D"}),
            [f"services.contoso.gateways.edge: {WINDOW}"],
        ),
        (written(of_estate={"renewBefore": "P30D"}), []),
        (written(of_estate={"renewBefore": "P12D"}, any_gateway={"riskMargin": "P11D"}), []),
    ],
)
def test_a_fault_of_what_is_inherited_is_told_once_at_the_nearest_path(
    value: object, messages: list[str]
) -> None:
    assert messages_of(value) == messages


def at_cluster(**fields: object) -> KubernetesSecret:
    """A destination of edge-01 in a cluster, of which three names are described."""
    rule = {"destinations": [{**AT_PLANT, **fields}]}
    clusters = dict.fromkeys(("plant", "contoso", "edge-01"), PLANT)
    destination = destination_of(written(clusters=clusters, **{"Edge-01": rule}), "Edge-01")
    assert isinstance(destination, KubernetesSecret)
    return destination


def test_a_destination_takes_server_authority_and_sign_in_of_the_cluster_that_it_names() -> None:
    plant = at_cluster()
    assert (plant.cluster, plant.server, plant.certificate_authority) == (None, PLANT["server"], "PEM")
    assert plant.sign_in is not None
    assert (plant.sign_in.vault, plant.sign_in.secret) == (VAULT, "sa")
    assert at_cluster(certificateAuthority="other").certificate_authority == "other"
    for name in ("{service}", "{gateway}"):
        assert at_cluster(cluster=name).server == PLANT["server"]
    assert at_cluster(cluster=CLUSTER).cluster == CLUSTER


def test_a_cluster_that_nobody_describes_is_a_fault_where_it_is_named() -> None:
    of_plant = {"destinations": [AT_PLANT]}
    everywhere = written(of_estate=of_plant, clusters={"plants": PLANT}, any_gateway={}, edge={})
    assert messages_of(everywhere) == [f"defaults.destinations[0].cluster: {NO_CLUSTER}"]
    of_edge = "services.contoso.gateways.edge-*.destinations[0].cluster: "
    rotating = {**of_plant, "rotateKeys": {"every": "P90D"}}
    assert messages_of(written(**{"edge-*": rotating})) == [f"{of_edge}{NO_CLUSTER}"]
    by_gateway = {"destinations": [{**AT_PLANT, "cluster": "{gateway}"}]}
    filled_in = f"{of_edge}filled in for 'contoso/edge-*' {NO_CLUSTER}"
    assert messages_of(written(clusters={"plant": PLANT}, **{"edge-*": by_gateway})) == [filled_in]


def test_every_name_and_address_may_hold_placeholders() -> None:
    sign_in = {"vault": BY_SERVICE["vault"], "secret": "{service}"}
    plant = {**PLANT, "server": "https://{gateway}.example", "signIn": sign_in}
    row = {**AT_PLANT, "namespace": "{service}", "restart": {"name": "{service}-{gateway}"}}
    value = written(clusters={"plant": plant}, any_gateway={"destinations": [row]})
    filled, faults = destination_of(value).at(GatewayRef("Contoso", "Edge-01"))
    assert faults == []
    assert isinstance(filled, KubernetesSecret)
    assert filled.sign_in is not None
    assert (filled.sign_in.vault, filled.sign_in.secret) == ("https://kv-contoso.vault.azure.net", "contoso")
    assert [workload.name for workload in filled.workloads] == ["contoso-edge-01"]
    assert (
        filled.location(GatewayRef("a", "b"))
        == "https://edge-01.example/namespaces/contoso/secrets/edge-01-token"
    )


STATEFUL_SET = {**KUBERNETES, "restart": {"name": "{gateway}", "kind": "StatefulSet"}}


@pytest.mark.parametrize(
    ("pattern", "destination", "faulty"),
    [
        ("edge.01", KUBERNETES, ""),
        ("edge_*", KUBERNETES, "secret"),
        ("-edge", KUBERNETES, "secret"),
        ("edge_01", {**KUBERNETES, "secret": "x"}, ""),
        ("edge.01", {**KUBERNETES, "namespace": "{gateway}"}, "namespace"),
        ("a" * 60, {**KUBERNETES, "namespace": "b-b-{gateway}"}, "namespace"),
        ("edge.01", {**KUBERNETES, "restart": {"name": "{gateway}"}}, ""),
        ("edge.01", STATEFUL_SET, "restart"),
        ("a" * 63, STATEFUL_SET, ""),
        ("a" * 64, STATEFUL_SET, "restart"),
        ("edge.01", {"kind": "keyVault", "vault": VAULT}, "secret"),
    ],
)
def test_a_name_that_does_not_fit_where_its_placeholder_is_is_told(
    pattern: str, destination: dict[str, object], faulty: str
) -> None:
    faults = faults_of(document(**{pattern: {"destinations": [destination]}}))
    where = f"services.contoso.gateways.{pattern}.destinations[0].{faulty}"
    assert [path for path, _ in faults] == ([where] if faulty else [])
    assert all(f"as 'contoso/{pattern}' fills it in: " in message for _, message in faults)


def test_forty_services_with_twenty_five_gateways_each_fit_into_ten_kib() -> None:
    rules = {"edge-*": {}, "plant-*": {"lifetime": "P7D"}}
    services: dict[str, Any] = {
        name: {"resourceId": SERVICE.replace("contoso", name), "gateways": rules}
        for name in (f"contoso-team-{number:02}" for number in range(40))
    }
    services["contoso-team-07"]["gateways"] = {"*": {"destinations": [AT_PLANT]}}
    defaults = {"lifetime": "P14D", "destinations": [BY_SERVICE]}
    clusters = {"plant": {**PLANT, "server": "https://{service}.example"}}
    whole = {"defaults": defaults, "clusters": clusters, "services": services}
    text = json.dumps(whole, separators=(",", ":"))
    assert len(text.encode()) <= 10 * 1024
    rows = {
        destination.location(GatewayRef(name, gateway))
        for name, service in read_estate(text).services.items()
        for gateway in [f"edge-{number}" for number in range(20)] + [f"plant-{number}" for number in range(5)]
        if (rule := service.rule_for(gateway))
        for destination in rule.destinations
    }
    assert len(rows) == 1000


def test_a_document_of_more_bytes_than_an_app_setting_holds_says_what_to_do() -> None:
    text = json.dumps(document(any_gateway={}))
    assert faults_of(text + " " * (MOST_BYTES - len(text))) == []
    ((path, message),) = faults_of(text + " " * (MOST_BYTES - len(text) - 1) + "\t\n")
    assert path == "GATEWAY_TOKENS"
    assert message.startswith("holds 100,001 bytes, and an app setting 100,000: ")
    assert "`defaults`" in message


def test_no_collection_of_garbage_slows_the_reading_of_a_thousand_names_down() -> None:
    began: list[str] = []
    rules = {f"edge-{number:04}": {"destinations": [KUBERNETES]} for number in range(1000)}
    text = json.dumps(document(**rules))
    gc.callbacks.append(lambda phase, _: began.append(phase))
    try:
        assert faults_of(text) == []
        assert len(began) <= len(("before", "start and stop of one"))
    finally:
        gc.callbacks.pop()
    for faulty in (text[1:], "{" * 2000, '{"services": {"a": {"resourceId": "\ud800"}}}'):
        assert faults_of(faulty) != []
        assert gc.isenabled()


def test_a_key_that_is_named_nearer_than_a_rotation_ends_it_for_these_gateways() -> None:
    value = written(
        of_estate={"rotateKeys": {"every": "P90D"}, "destinations": [BY_SERVICE]},
        any_gateway={},
        edge={"keyType": "secondary"},
        idle={"renew": False},
    )
    rotated = {pattern: bool(rule_of(value, pattern).rotate_keys) for pattern in ("*", "edge", "idle")}
    assert rotated == {"*": True, "edge": False, "idle": False}
    farther = {"keyType": "primary", "destinations": [BY_SERVICE]}
    [fault] = messages_of(written(of_estate=farther, any_gateway={"rotateKeys": {"every": "P65D"}}))
    assert fault == f"services.contoso.gateways.*: {KEEPS}"
    assert (
        "must be at least 65 days" in messages_of(written(any_gateway={"rotateKeys": {"every": "P64D"}}))[0]
    )
