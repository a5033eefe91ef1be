"""The estate parameter: the same words as the settings document, every right that follows from it, and the way of its events."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

import gateway_tokens.destinations  # noqa: F401 - defines the kinds
from gateway_tokens.estate.destination import filled_in
from gateway_tokens.estate.faults import read_estate
from gateway_tokens.estate.schema import Estate
from gateway_tokens.tokens import GatewayRef
from tests.infra.digests import (
    INFRA,
    ROOT,
    accepted,
    document,
    grants,
    read,
    resources,
    roles,
    settings,
    text_of,
)

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
        for variant in schema["oneOf"]:
            kind = _plain(variant, defs)["properties"]["kind"]["const"]
            yield from _fields(variant, f"{path}({kind})", defs)
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
            schema = next(variant for variant in schema["anyOf"] if variant != {"type": "null"})
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


SHIPPED = {"Key Vault Secrets User", *roles(CASE)}
# Cases whose rights somebody else grants.
ELSEWHERE = {"cloud-public", "cloud-us-government", "existing", "grants-elsewhere", "several-teams"}


def pattern_at(at: str) -> str:
    """A resource id in small letters as digests tell it; a vault's address as its name, and nothing of another address."""
    if vault := re.match(r"https://([\w-]+)\.vault\.", at):
        return vault[1]
    match = re.fullmatch(r"/subscriptions/(.{8}).*/resourcegroups/(.+)/providers/[^/]+/(.+)", at)
    return "/".join(match.groups()) if match else ""


def needed(estate: Estate) -> Iterator[tuple[str, str]]:
    """Each role with the scope at which the app needs it, as these settings are read."""
    for name, service in estate.services.items():
        of_service = pattern_at(str(service.resource_id).lower())
        yield "Gateway token issuer", of_service
        for pattern, rule in service.gateways.items():
            if rule.renew and rule.rotate_keys:
                yield "Gateway key regenerator", of_service
            for destination in rule.destinations if rule.renew else ():
                ref = GatewayRef(name, pattern)
                yield destination.role, pattern_at(destination.depends_on(ref))
                if sign_in := getattr(destination, "sign_in", None):
                    vault, secret = filled_in(f"{sign_in.vault} {sign_in.secret}", ref).split()
                    yield "Key Vault Secrets User", f"{pattern_at(vault)}/secrets/{secret}"


@pytest.mark.parametrize("case", [case for case in WITH_DOCUMENT if case not in ELSEWHERE])
def test_every_right_follows_from_the_estate_and_is_granted_once_at_one_resource(case: str) -> None:
    granted = [(role, scope.lower().rpartition("/vaults/")[2]) for role, scope in grants(case)]
    estate = read_estate(json.dumps(document(case)))
    assert sorted(grant for grant in granted if grant[0] in SHIPPED) == sorted(
        {(role, scope) for role, scope in needed(estate) if scope}
    )


def test_a_cluster_that_does_not_use_entra_gets_no_assignment() -> None:
    (line,) = (line for line in read(CASE)["grants"] if "managedClusters" in line)
    assert "to [if(equals(tryGet({edge-aks}, 'aadProfile'), null()), fail(" in line


def test_events_about_gateways_are_sent_whatever_the_spelling_of_their_kind() -> None:
    assert {subscription["filter"] for subscription in resources(CASE, "eventSubscriptions").values()} == {
        "{subjectBeginsWith:/gateways/}"
    }


def test_the_queue_that_is_delivered_to_is_the_one_that_the_app_listens_to() -> None:
    listening = re.findall(
        r'queue_trigger\("\w+", "%(EVENTS\w+)%", "([^"]+)"\)', (ROOT / "function_app.py").read_text()
    )
    delivered = {subscription["queueName"] for subscription in resources(CASE, "eventSubscriptions").values()}
    assert listening == [("EVENTS_QUEUE", "AzureWebJobsStorage")]
    assert delivered == {settings("cloud-public")["EVENTS_QUEUE"]}


def test_the_identity_of_every_topic_may_send_to_that_queue_and_nowhere_else() -> None:
    senders = [scope for role, scope in grants(CASE) if role == "Storage Queue Data Message Sender"]
    assert len(senders) == len(resources(CASE, "systemTopics"))
    assert {scope.rpartition("/")[2] for scope in senders} == {"gateway-events"}


def test_a_subscription_waits_until_its_topics_identity_may_send() -> None:
    source = (INFRA / "modules" / "events.bicep").read_text()
    assert "dependsOn: [senders]" in source.partition("module subscriptions ")[2]
