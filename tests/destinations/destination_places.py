"""One location of each kind for the contract suite, with the means to disturb it from outside."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from emulator.azure import Azure
from emulator.endpoint import Route
from emulator.faults import Fault
from emulator.kubernetes import Cluster
from emulator.server import Emulator
from gateway_tokens.azure.clients import AzureAccess
from gateway_tokens.destinations import open_destination
from gateway_tokens.destinations.key_vault import KeyVaultSecret
from gateway_tokens.destinations.kubernetes import KubernetesSecret
from gateway_tokens.errors import AzureFacts, AzureForbidden, AzureUnavailable
from gateway_tokens.estate.app_settings import read_settings
from gateway_tokens.stored import Destination, Ownership, StoredToken
from gateway_tokens.tokens import GatewayRef, KeyType
from tests import served_estate
from tests.fakes import FakeTime, MemoryDestination
from tests.samples import token
from tests.stand_ins.aks import ManagedClusters

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
REF = GatewayRef("contoso", "edge-01")
SUBSCRIPTION = "00000000-0000-4000-8000-000000000001"
TOKEN, NEWER = token(), token(stamp="202604010000")
OWNERSHIP = Ownership("contoso-apim/edge-01", KeyType.PRIMARY, NOW, TOKEN.expiry)


async def stored_in(destination: Destination) -> StoredToken:
    """What the destination reads; it must be there."""
    stored = await destination.read()
    assert stored is not None
    return stored


@dataclass
class Surroundings:
    """What a location may be made of."""

    emulator: Emulator
    cluster: Cluster
    time: FakeTime
    azure: AzureAccess


@asynccontextmanager
async def surroundings_of(more_routes: Sequence[Route] = ()) -> AsyncIterator[Surroundings]:
    """An emulated Azure with a cluster, and the app's access to it."""
    time, cluster = FakeTime(), Cluster("edge")
    routes = [*ManagedClusters({"edge": cluster}).routes(), *more_routes]
    running = Emulator(vaults=("contoso", "fabrikam"), arm_routes=routes, endpoints=[cluster])
    with pytest.MonkeyPatch.context() as environment:
        async with running as emulator:
            emulator.azure.add_group(SUBSCRIPTION, "edge")
            settings = served_estate.app_settings(emulator, {"services": {}})
            for name, value in settings.items():
                environment.setenv(name, value)
            azure = AzureAccess(read_settings(settings), monotonic=time.monotonic)
            yield Surroundings(emulator, cluster, time, azure)
            await azure.close()


@dataclass
class Location:
    """A destination and what an outsider can see of it and do to it.

    `fail` makes every later call fail: it is `forbidden` for want of the right, `out of reach`, or `broken off` when it
    writes.
    """

    destination: Destination
    stored: Callable[[], str | None]
    put: Callable[[str], object]
    fail: Callable[[str], object]
    right: str


def memory(around: Surroundings, ref: GatewayRef = REF) -> Location:
    del around, ref
    destination, right = MemoryDestination(), "memory/write"
    unavailable = AzureUnavailable("Reading memory", AzureFacts())
    forbidden = AzureForbidden("Reading memory", AzureFacts(403), right, "memory")

    def fail(how: str) -> None:
        methods = ("write", "write_ownership") if how == "broken off" else ("read", "write")
        destination.failing = dict.fromkeys(methods, forbidden if how == "forbidden" else unavailable)

    return Location(destination, lambda: destination.value, destination.put, fail, right)


def failing(azure: Azure, host: str, writes: str) -> Callable[[str], object]:
    def fail(how: str) -> None:
        if how == "forbidden":
            azure.granted = set()
        else:
            method = writes if how == "broken off" else "*"
            azure.faults.add(Fault(host=host, method=method, kind="drop", times=None))

    return fail


def key_vault(around: Surroundings, ref: GatewayRef = REF) -> Location:
    azure = around.emulator.azure
    spec = KeyVaultSecret.model_validate({"kind": "keyVault", "vault": around.emulator.vault_url("contoso")})
    vault = azure.vault("contoso")

    def stored() -> str | None:
        secret = vault.secret("edge-01-token")
        return secret.latest.value if secret else None

    return Location(
        open_destination(spec, ref, around.azure),
        stored,
        lambda value: vault.set("edge-01-token", value, NOW),
        failing(azure, "vault", "P*"),
        "Microsoft.KeyVault/vaults/secrets/getSecret/action",
    )


def kubernetes(around: Surroundings, ref: GatewayRef = REF) -> Location:
    objects = around.cluster.objects
    return Location(
        open_destination(a_kubernetes_spec(around), ref, around.azure),
        lambda: objects.secret_value("default", "edge-01-token", "gateway-key"),
        lambda value: objects.add_secret("default", "edge-01-token", {"gateway-key": value}),
        failing(around.emulator.azure, "kubernetes", "PATCH"),
        "get secrets",
    )


def a_kubernetes_spec(around: Surroundings, **more: object) -> KubernetesSecret:
    """A row of settings for the emulated cluster, found by its address unless told otherwise."""
    authority = Path(around.emulator.ca_file).read_text()
    where = {} if "cluster" in more else {"server": around.cluster.url, "certificate_authority": authority}
    return KubernetesSecret.model_validate({"kind": "kubernetes", **where, **more})


# Each opens one row; what an outsider sees and does concerns the row of REF.
KINDS: dict[str, Callable[..., Location]] = {
    "memory": memory,
    "keyVault": key_vault,
    "kubernetes": kubernetes,
}
