"""The recipes' two sides: what a destination writes, and what the files beside it read."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from gateway_tokens.destinations.key_vault import KeyVaultSecret
from gateway_tokens.destinations.kubernetes import KubernetesSecret
from gateway_tokens.estate.addresses import filled_in
from gateway_tokens.estate.faults import read_estate
from gateway_tokens.estate.schema import DestinationSettings
from gateway_tokens.formats import AUTH_SETTING, HELM_SECRET_KEY
from gateway_tokens.tokens import GatewayRef
from tests.docs.documentation_reading import sections, snippets

REF = GatewayRef("contoso", "edge-01")
_SERVICE = (
    "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-apis"
    "/providers/Microsoft.ApiManagement/service/contoso-apim"
)


class Place(NamedTuple):
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
            place, workload = _written(destination)
            if workload and workload not in _workloads(recipe):
                wrong.append(f"{title}: no workload is called {workload}")
            if "az keyvault secret show" in recipe:
                vault, name = re.findall(r"--vault-name (\S+) --name (\S+)", recipe)[0]
                read = {Place("vault", f"https://{vault}.vault.azure.net/secrets/{name}")}
            else:
                place = _carried(recipe).get(place, place)
                read = {one for manifest in manifests(recipe) for one in _read_by(manifest)}
            if read != {place}:
                wrong.append(f"{title}: it reads {sorted(read)} where {place} is written")
    return wrong


def _destinations(text: str) -> Iterator[DestinationSettings]:
    """The destinations of a recipe's settings snippets."""
    for snippet in snippets(text, "json"):
        estate = read_estate(json.dumps(whole_document(json.loads(snippet))))
        rule = estate.find(REF.service)[1].rule_for(REF.gateway)
        yield from rule.destinations if rule else ()


def _written(destination: DestinationSettings) -> tuple[Place, str]:
    """Where the app writes the gateway's token, and the workload that it restarts (empty: none)."""
    match destination:
        case KubernetesSecret():
            name = filled_in(destination.secret, REF).lower()
            workload = next((filled_in(one.name, REF).lower() for one in destination.workloads), "")
            return Place("secret", name, destination.layout.key), workload
        case KeyVaultSecret():
            return Place("vault", destination.location(REF)), ""
        case _:
            raise TypeError(destination.kind)


def manifests(text: str) -> Iterator[dict[str, Any]]:
    """The documents of a recipe's YAML."""
    for snippet in snippets(text, "yaml"):
        yield from yaml.safe_load_all(snippet)


def _workloads(text: str) -> set[str]:
    """The names of the workloads that run the gateway."""
    return {
        name
        for one in manifests(text)
        for name in (one.get("fullnameOverride"), one.get("kind") == "Deployment" and one["metadata"]["name"])
        if name
    }


def _carried(text: str) -> dict[Place, Place]:
    """What a recipe's files copy: the new location by the location that it is copied from."""
    found: dict[Place, Place] = {}
    vaults = [spec["provider"]["azurekv"]["vaultUrl"] for spec in _specs(text, "SecretStore")]
    for spec in _specs(text, "ExternalSecret"):
        for item in spec["data"]:
            origin = f"{vaults[0]}/secrets/{item['remoteRef']['key']}"
            found[Place("vault", origin)] = Place("secret", spec["target"]["name"], item["secretKey"])
    for spec in _specs(text, "SecretProviderClass"):
        objects = yaml.safe_load(spec["parameters"]["objects"])["array"]
        mounted = [yaml.safe_load(one)["objectName"] for one in objects]
        for copy in spec["secretObjects"]:
            for item in copy["data"]:
                assert item["objectName"] in mounted
                origin = f"https://{spec['parameters']['keyvaultName']}.vault.azure.net/secrets/{item['objectName']}"
                found[Place("vault", origin)] = Place("secret", copy["secretName"], item["key"])
    for secret in _app_secrets(text):
        if "keyVaultUrl" in secret:
            found[Place("vault", secret["keyVaultUrl"])] = Place("app", secret["name"])
    return found


def _read_by(manifest: dict[str, Any]) -> Iterator[Place]:
    if "fullnameOverride" in manifest:
        assert manifest["secret"]["createSecret"] is False
        yield Place("secret", manifest["secret"]["existingSecretName"], HELM_SECRET_KEY)
    for container in _containers(manifest):
        for variable in container.get("env", ()):
            if variable["name"] == AUTH_SETTING and "secretRef" in variable:
                yield Place("app", variable["secretRef"])
            elif variable["name"] == AUTH_SETTING:
                reference = variable["valueFrom"]["secretKeyRef"]
                yield Place("secret", reference["name"], reference["key"])
        for source in container.get("envFrom", ()):
            if "secretRef" in source:
                yield Place("secret", source["secretRef"]["name"], f"{AUTH_SETTING}.key")


def _containers(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    if manifest.get("kind") == "Deployment":
        return list(manifest["spec"]["template"]["spec"]["containers"])
    return list(manifest.get("properties", {}).get("template", {}).get("containers", ()))


def _specs(text: str, kind: str) -> list[dict[str, Any]]:
    return [one["spec"] for one in manifests(text) if one.get("kind") == kind]


def _app_secrets(text: str) -> Iterator[dict[str, Any]]:
    for one in manifests(text):
        yield from one.get("properties", {}).get("configuration", {}).get("secrets", ())
