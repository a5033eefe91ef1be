"""Rotating and revoking keys in the real worker runtime, against an emulator whose keys really change."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from emulator.kubernetes import Cluster
from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from gateway_tokens.tokens import GatewayToken
from tests.http.edge_estate import DAY, Edge
from tests.worker_runtime import WorkerRuntime

ROOT = Path(__file__).resolve().parents[2]
MANY = [f"many-{n + 1:02}" for n in range(25)]


@pytest.fixture
async def edge(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Edge]:
    cluster = Cluster("plant", knows_entra=False)
    async with Emulator(vaults=("contoso",), endpoints=[cluster]) as emulator:
        made = Edge(emulator, cluster, monkeypatch)
        made.configure()
        await gateway_app.forget()
        yield made
        await gateway_app.forget()


@pytest.fixture
async def worker(edge: Edge) -> AsyncIterator[WorkerRuntime]:
    del edge  # its settings must be there first
    async with WorkerRuntime.load(ROOT) as loaded:
        yield loaded


async def revoke(worker: WorkerRuntime, gateway: str) -> tuple[int, bool]:
    """The status, and whether the key was regenerated."""
    answer = await worker.invoke_http(
        "revoke_key",
        "POST",
        f"http://localhost/api/services/contoso/gateways/{gateway}/revoke",
        params={"service": "contoso", "gatewayId": gateway},
        body=b'{"keyType": "primary", "reason": "a leak"}',
    )
    return answer.status, json.loads(answer.body)["regenerated"]


async def run(worker: WorkerRuntime) -> None:
    for message in (await worker.invoke_timer("renew_on_schedule")).messages:
        assert (await worker.invoke_queue("reconcile_subscription", message)).ok


def signing(edge: Edge) -> set[str]:
    """The keys that sign what the destinations of edge-01 hold."""
    gateway = edge.gateways["edge-01"]
    return {
        key
        for token in edge.stored()
        for key in gateway.keys
        if gateway.token(key, GatewayToken.parse(token).expiry) == token
    }


@pytest.mark.slow
async def test_a_rotation_leaves_no_destination_without_a_good_token_for_130_days(
    edge: Edge, worker: WorkerRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge.configure(rotateKeys={"every": "P90D"})
    began = now = datetime.now(UTC)
    monkeypatch.setattr(gateway_app, "_clock", lambda: now)
    edge.emulator.azure.clock = lambda: now
    seen: list[tuple[set[str], int]] = []
    while now < began + 130 * DAY:
        await gateway_app.forget()  # an access token does not live for days
        await run(worker)
        assert edge.accepted() == [True, True]
        state = signing(edge), edge.regenerated().count("edge-01")
        if not seen or seen[-1] != state:
            seen.append(state)
        now += 5 * DAY
    assert seen == [
        ({"primary"}, 0),
        ({"primary"}, 1),  # the secondary key is new before it comes into use
        ({"secondary"}, 1),
        ({"secondary"}, 2),
    ]


@pytest.mark.slow
async def test_a_loop_revokes_the_keys_of_25_gateways(edge: Edge, worker: WorkerRuntime) -> None:
    edge.add(*MANY)
    before = {name: edge.stored(name)[0] for name in MANY}
    assert [await revoke(worker, name) for name in MANY] == [(200, True)] * len(MANY)
    assert edge.regenerated() == MANY
    assert {edge.accepted(name)[0] for name in MANY} == {True}
    now = datetime.now(UTC)
    assert not [name for name in MANY if edge.gateways[name].accepts(before[name], now)]
