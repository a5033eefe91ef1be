"""`make run SETTINGS=file`: the services, gateways, vaults and clusters that a document names, made up to suit it."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulator.directory import CALLER_ID, CALLER_OBJECT_ID, Application
from emulator.kubernetes import Cluster
from gateway_tokens import destinations  # noqa: F401 - it defines the kinds of destinations
from gateway_tokens.estate.faults import read_estate
from gateway_tokens.tokens import GatewayRef

if TYPE_CHECKING:
    from emulator.server import Emulator

_Settings = dict[str, Any]


class OwnEstate:
    """A document with a rule for each made-up gateway, and what has to be in the emulator so that every row can be renewed."""

    def __init__(self, text: str) -> None:
        self._estate, self._access = read_estate(text), json.loads(text).get("access", [])
        self._destinations: dict[GatewayRef, list[_Settings]] = {}
        for name, service in self._estate.services.items():
            for pattern, rule in service.gateways.items():
                for ref in (GatewayRef(name, gateway) for gateway in _made_up(pattern)):
                    filled = [destination.at(ref)[0] for destination in rule.destinations]
                    self._destinations[ref] = [_document(settings) for settings in filled if settings]
        addresses = (destination["vault"] for destination in self._all() if "vault" in destination)
        self._vaults = {address: _host(address) for address in addresses}
        self._clusters = {
            _cluster(destination): Cluster(
                _host(_cluster(destination)), knows_entra="signIn" not in destination
            )
            for destination in self._all()
            if destination.get("kind") == "kubernetes"
        }
        self.vaults = tuple(dict.fromkeys(self._vaults.values()))
        self.clusters = tuple(self._clusters.values())
        self.function_keys = any(rule.caller.function_key for rule in self._estate.access)

    @classmethod
    def read(cls, path: Path) -> "OwnEstate":
        """The document in this file. Raises OSError, and SettingsInvalid with its faults."""
        return cls(path.read_text("utf-8-sig"))

    @property
    def gateways(self) -> list[tuple[str, str]]:
        """Every gateway, as service and name: those that a rule names, and two for a pattern."""
        return [(ref.service, ref.gateway) for ref in self._destinations]

    def populate(self, emulator: "Emulator") -> None:
        """Put services, gateways, workloads and sign-in secrets into the emulator, which must have this estate's vaults and clusters."""
        roles = {rule.caller.app_role for rule in self._estate.access if rule.caller.app_role}
        application = Application(CALLER_ID, CALLER_OBJECT_ID, tuple(sorted(roles)))
        emulator.azure.directory.applications = {CALLER_ID: application}
        for name, service in self._estate.services.items():
            at = service.resource_id
            added = emulator.azure.add_service(at.subscription_id, at.resource_group, at.name)
            for ref, rows in self._destinations.items():
                if ref.service == name:
                    added.add_gateway(ref.gateway)
                    for destination in (
                        destination for destination in rows if destination["kind"] == "kubernetes"
                    ):
                        self._add_workloads(emulator, destination)

    def app_settings(self, emulator: "Emulator") -> dict[str, str]:
        """Every app setting, with the document pointing at the emulator."""
        services: dict[str, Any] = {}
        for name, service in self._estate.services.items():
            rules = {}
            for pattern, rule in service.gateways.items():
                kept = _document(rule) | {"destinations": []}
                for ref in (GatewayRef(name, gateway) for gateway in _made_up(pattern)):
                    rows = [self._emulated(emulator, destination) for destination in self._destinations[ref]]
                    rules[ref.gateway] = {**kept, "destinations": rows}
            services[name] = {"resourceId": str(service.resource_id), "gateways": rules}
        return {
            **emulator.settings(),
            "GATEWAY_TOKENS": json.dumps({"services": services, "access": self._access}),
            "RENEWAL_SCHEDULE": "0 0 * * * *",
            "LOG_FRESH_ROWS": "true",
            "ALLOW_FUNCTION_KEYS": str(self.function_keys).lower(),
        }

    def _all(self) -> Iterator[_Settings]:
        """Every destination, and the sign-ins within them."""
        for destination in (destination for rows in self._destinations.values() for destination in rows):
            yield destination
            if "signIn" in destination:
                yield destination["signIn"]

    def _emulated(self, emulator: "Emulator", destination: _Settings) -> _Settings:
        moved = {name: value for name, value in destination.items() if name != "cluster"}
        if destination.get("kind") == "kubernetes":
            authority = Path(emulator.ca_file).read_text("utf-8")
            moved |= {"server": self._clusters[_cluster(destination)].url, "certificateAuthority": authority}
        if "signIn" in destination:
            moved["signIn"] = self._emulated(emulator, destination["signIn"])
        if "vault" in destination:
            moved["vault"] = emulator.vault_url(self._vaults[destination["vault"]])
        return moved

    def _add_workloads(self, emulator: "Emulator", destination: _Settings) -> None:
        cluster, namespace = self._clusters[_cluster(destination)], destination.get("namespace", "default")
        cluster.objects.namespaces.add(namespace)
        if sign_in := destination.get("signIn"):
            vault, token = self._vaults[sign_in["vault"]], cluster.service_account_token(emulator.azure)
            emulator.azure.vault(vault).set(sign_in["secret"], token, emulator.azure.clock())
        restart = destination.get("restart") or []
        for workload in restart if isinstance(restart, list) else [restart]:
            kind = workload.get("kind", "Deployment")
            added = cluster.objects.add_workload(kind, namespace, workload["name"])
            added.age(emulator.azure.clock() - timedelta(days=20))


def _document(settings: Any) -> _Settings:  # noqa: ANN401 - a part of the settings
    """A part of the settings as it stands in a document, less what is as it is by default."""
    kept: _Settings = settings.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return kept | ({"kind": settings.kind} if hasattr(settings, "kind") else {})


def _cluster(destination: _Settings) -> str:
    return str(destination.get("server") or destination["cluster"])


def _host(address: str) -> str:
    """A name for the vault or cluster: the first part of its host, or the last of its resource id."""
    if address.startswith("/"):
        return address.rpartition("/")[2]
    return address.removeprefix("https://").partition("/")[0].partition(".")[0].partition(":")[0]


def _made_up(pattern: str) -> list[str]:
    if "*" not in pattern:
        return [pattern]
    return [(f"gateway-{n}" if pattern == "*" else pattern.replace("*", n)) for n in ("01", "02")]
