"""The recipes' two sides: what a destination writes, and what the files beside it read."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from gateway_tokens import formats
from gateway_tokens.destinations.key_vault import KeyVaultSecret
from gateway_tokens.destinations.kubernetes import KubernetesSecret
from gateway_tokens.estate.destination import DestinationSettings, filled_in
from gateway_tokens.estate.faults import read_estate
from gateway_tokens.formats import HELM_SECRET_KEY
from gateway_tokens.tokens import GatewayRef
from tests.docs.documentation_reading import sections, snippets

REF = GatewayRef("contoso", "edge-01")
_SERVICE = (
    "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-apis"
    "/providers/Microsoft.ApiManagement/service/contoso-apim"
)


class Location(NamedTuple):
    """A value's location: a Secret and its key, a secret in a vault."""

    kind: str
    name: str
    key: str = ""


def whole_document(part: dict[str, Any]) -> dict[str, Any]:
    """A settings snippet as a document: it may be a destination, a rule, an access rule, or whole already."""
    if "services" in part:
        return part
    if "caller" in part:
        services = {name: {"resourceId": _SERVICE} for name in ("contoso", "fabrikam")}
        return {"services": services, "access": [part]}
    rule = {"destinations": [part]} if "kind" in part else part
    return {"services": {REF.service: {"resourceId": _SERVICE, "gateways": {REF.gateway: rule}}}}


def unread(text: str) -> list[str]:
    """What the recipes write that nothing in them reads, or read where nothing is written."""
    wrong = []
    for title, recipe in sections(text).items():
        for destination in _destinations(recipe):
            location, workload = _written(destination)
            if workload and workload not in _workloads(recipe):
                wrong.append(f"{title}: no workload is called {workload}")
            if "az keyvault secret show" in recipe:
                vault, name = re.findall(r"--vault-name (\S+) --name (\S+)", recipe)[0]
                read = {Location("vault", f"https://{vault}.vault.azure.net/secrets/{name}")}
            else:
                location = _carried(recipe).get(location, location)
                read = {
                    location_read for manifest in manifests(recipe) for location_read in _read_by(manifest)
                }
            if read != {location}:
                wrong.append(f"{title}: it reads {sorted(read)} where {location} is written")
    return wrong


def _destinations(text: str) -> Iterator[DestinationSettings]:
    """The destinations of a recipe's settings snippets."""
    for snippet in snippets(text, "json"):
        estate = read_estate(json.dumps(whole_document(json.loads(snippet))))
        rule = estate.find(REF.service)[1].rule_for(REF.gateway)
        yield from rule.destinations if rule else ()


def _written(destination: DestinationSettings) -> tuple[Location, str]:
    """Where the app writes the gateway's token, and the workload that it restarts (empty: none)."""
    match destination:
        case KubernetesSecret():
            name = filled_in(destination.secret, REF).lower()
            workload = next((filled_in(each.name, REF).lower() for each in destination.workloads), "")
            return Location("secret", name, destination.layout.key), workload
        case KeyVaultSecret():
            return Location("vault", destination.location(REF)), ""
        case _:
            raise TypeError(destination.kind)


def manifests(text: str) -> Iterator[dict[str, Any]]:
    """The documents of a recipe's YAML."""
    for snippet in snippets(text, "yaml"):
        yield from yaml.safe_load_all(snippet)


def _parts(value: object) -> Iterator[dict[str, Any]]:
    """Every object of a manifest, itself included."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _parts(part)


def _workloads(text: str) -> set[str]:
    """The names of the workloads that run the gateway: the chart's, and those of Deployments."""
    deployments = {
        manifest["metadata"]["name"] for manifest in manifests(text) if manifest.get("kind") == "Deployment"
    }
    return deployments | {
        manifest["fullnameOverride"] for manifest in manifests(text) if "fullnameOverride" in manifest
    }


def _carried(text: str) -> dict[Location, Location]:
    """What a recipe's files copy: the new location by the location that it is copied from."""
    carried: dict[Location, Location] = {}
    parts = [part for manifest in manifests(text) for part in _parts(manifest)]
    vault = next((part["vaultUrl"] for part in parts if "vaultUrl" in part), "")
    for part in parts:
        match part:
            case {"target": {"name": name}, "data": data}:
                for item in data:
                    origin = f"{vault}/secrets/{item['remoteRef']['key']}"
                    carried[Location("vault", origin)] = Location("secret", name, item["secretKey"])
            case {"parameters": {"keyvaultName": of, "objects": objects}, "secretObjects": copies}:
                mounted = [
                    yaml.safe_load(manifest)["objectName"] for manifest in yaml.safe_load(objects)["array"]
                ]
                for name, item in ((copy["secretName"], item) for copy in copies for item in copy["data"]):
                    assert item["objectName"] in mounted
                    origin = f"https://{of}.vault.azure.net/secrets/{item['objectName']}"
                    carried[Location("vault", origin)] = Location("secret", name, item["key"])
            case {"name": name, "keyVaultUrl": origin}:
                carried[Location("vault", origin)] = Location("app", name)
    return carried


def _read_by(manifest: dict[str, Any]) -> Iterator[Location]:
    for part in _parts(manifest):
        match part:
            case {"createSecret": False, "existingSecretName": name}:
                yield Location("secret", name, HELM_SECRET_KEY)
            case {"name": formats.AUTH_SETTING, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}:
                yield Location("secret", name, key)
            case {"name": formats.AUTH_SETTING, "secretRef": name}:
                yield Location("app", name)
            case {"secretRef": {"name": name}}:
                yield Location("secret", name, f"{formats.AUTH_SETTING}.key")
