"""The estate parameter: the same words as the settings document, every right that follows from it, and the way of its events."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

import gateway_tokens.destinations  # noqa: F401 - defines the kinds
from gateway_tokens.estate.faults import read_estate
from gateway_tokens.estate.schema import Estate
from gateway_tokens.tokens import GatewayRef
from tests.infra.digests import INFRA, ROOT, accepted, document, grants, read, resources, settings, text_of

CASE = "every-destination"
WITH_DOCUMENT = [
    case for case in accepted() if "GATEWAY_TOKENS services" in " ".join(read(case).get("settings", []))
]
Schema = Mapping[str, Any]


def fields_of_schema(schema: Schema) -> set[str]:
    """The fields of a JSON Schema document. `$schema` is for editors of JSON and is left out."""
    return {line for line in _fields(schema, "", schema["$defs"]) if not line.startswith(".$schema")}


def _fields(schema: Schema, path: str, defs: Schema) -> Iterator[str]:
    schema = _plain(schema, defs)
    if "oneOf" in schema:
        for one in schema["oneOf"]:
            kind = _plain(one, defs)["properties"]["kind"]["const"]
            yield from _fields(one, f"{path}({kind})", defs)
    elif schema.get("type") == "array":
        yield from _fields(schema["items"], f"{path}[]", defs)
    elif schema.get("type") == "object":
        for name, part in _parts(schema).items():
            yield from _fields(part, f"{path}{name}", defs)
    else:
        words = schema.get("enum") or ([schema["const"]] if "const" in schema else [schema["type"]])
        yield f"{path}: {'|'.join(sorted({'boolean': 'bool'}.get(word, word) for word in words))}"


def _parts(schema: Schema) -> dict[str, Schema]:
    if "properties" not in schema:
        values = [*schema.get("patternProperties", {}).values()] or [schema["additionalProperties"]]
        return {".*": values[0]}
    required = schema.get("required", [])
    return {f".{n}" if n in required else f".{n}?": part for n, part in schema["properties"].items()}


def _plain(schema: Schema, defs: Schema) -> Schema:
    while "$ref" in schema or "anyOf" in schema:
        if "$ref" in schema:
            schema = defs[schema["$ref"].rsplit("/", 1)[1]]
        else:
            schema = next(one for one in schema["anyOf"] if one != {"type": "null"})
    return schema


def test_the_type_of_the_estate_has_the_fields_of_the_settings_document() -> None:
    in_bicep = set(text_of("estate-type").splitlines()[1:])
    # In Bicep a type cannot be an object or an array: several workloads have a field of their own.
    several = {line for line in in_bicep if ".restarts?[]." in line}
    assert {line.replace(".restarts?[].", ".restart?.") for line in several} < in_bicep
    # In Bicep a destination may leave its vault out: it gets the one that newVaultName makes.
    of_app = fields_of_schema(Estate.model_json_schema())
    assert in_bicep - several == {
        line.replace("(keyVault).vault: ", "(keyVault).vault?: ") for line in of_app
    }


@pytest.mark.parametrize("case", WITH_DOCUMENT)
def test_the_app_accepts_the_settings_document_of_every_case_which_holds_no_null(case: str) -> None:
    assert read_estate(json.dumps(document(case))).services
    assert "null" not in json.dumps(document(case))


def test_the_document_has_vaults_by_their_address_and_workloads_as_they_are_given() -> None:
    gateways = document(CASE)["services"]["contoso"]["gateways"]
    every, edge, plant = (gateways[name]["destinations"][0] for name in ("*", "edge-01", "plant-*"))
    clusters = "https://contoso-clusters.vault.azure.net"
    assert every["vault"] == "https://contoso-gateways.vault.azure.net"
    assert plant["signIn"] == {"vault": clusters, "secret": "plant-service-account"}
    assert edge["restart"] == {"name": "{gateway}"}
    canary = {"kind": "Rollout", "name": "{gateway}-canary"}
    assert plant["restart"] == [{"kind": "DaemonSet", "name": "{gateway}"}, canary]
    assert "restarts" not in json.dumps(document(CASE))


def granted(case: str) -> list[tuple[str, str]]:
    """The grants outside the app's own resource group."""
    return [grant for grant in grants(case) if "/rg-gateway-tokens/" not in grant[1]]


def test_every_right_follows_from_the_estate_and_is_granted_once_at_one_resource() -> None:
    sign_in = "11111111/rg-vaults/vaults/contoso-clusters/secrets/plant-service-account"
    assert granted(CASE) == [
        ("Gateway token issuer", "11111111/rg-apim/service/contoso-apim"),
        ("Gateway key regenerator", "11111111/rg-apim/service/contoso-apim"),
        ("Gateway token issuer", "22222222/rg-fabrikam/service/fabrikam-apim"),
        ("Gateway token secret writer", "11111111/rg-vaults/vaults/contoso-gateways"),
        ("Key Vault Secrets User", sign_in),
        ("Gateway token cluster reader", "22222222/rg-edge/managedClusters/edge-aks"),
    ]
    assert "not-granted" in json.dumps(document(CASE)), "of gateways that are left alone"


def test_rights_follow_from_what_rules_inherit_and_from_the_names_that_are_filled_in() -> None:
    assert granted("inherited") == [
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


def test_a_cluster_that_does_not_use_entra_gets_no_assignment() -> None:
    (line,) = (line for line in read(CASE)["grants"] if "managedClusters" in line)
    assert "to [if(equals(tryGet({edge-aks}, 'aadProfile'), null()), fail(" in line


def test_events_about_gateways_are_sent_whatever_the_spelling_of_their_kind() -> None:
    assert {one["filter"] for one in resources(CASE, "eventSubscriptions").values()} == {
        "{subjectBeginsWith:/gateways/}"
    }


def test_the_queue_that_is_delivered_to_is_the_one_that_the_app_listens_to() -> None:
    listening = re.findall(
        r'queue_trigger\("\w+", "%(EVENTS\w+)%", "([^"]+)"\)', (ROOT / "function_app.py").read_text()
    )
    delivered = {one["queueName"] for one in resources(CASE, "eventSubscriptions").values()}
    assert listening == [("EVENTS_QUEUE", "AzureWebJobsStorage")]
    assert delivered == {settings("cloud-public")["EVENTS_QUEUE"]}


def test_the_identity_of_every_topic_may_send_to_that_queue_and_nowhere_else() -> None:
    senders = [scope for role, scope in grants(CASE) if role == "Storage Queue Data Message Sender"]
    assert len(senders) == len(resources(CASE, "systemTopics"))
    assert {scope.rpartition("/")[2] for scope in senders} == {"gateway-events"}


def test_a_subscription_waits_until_its_topics_identity_may_send() -> None:
    source = (INFRA / "modules" / "events.bicep").read_text()
    assert "dependsOn: [senders]" in source.partition("module subscriptions ")[2]
