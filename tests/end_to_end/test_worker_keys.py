"""Rotating and revoking keys in the real worker runtime, against an emulator whose keys really change."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from emulator.faults import Fault
from emulator.kubernetes import Cluster
from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from gateway_tokens.tokens import GatewayToken
from tests.functions.edge_estate import ALL, DAY, Edge
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


async def revoke(
    worker: WorkerRuntime, gateway: str = "edge-01", **more: object
) -> tuple[int, dict[str, Any]]:
    answer = await worker.invoke_http(
        "revoke_key",
        "POST",
        f"http://localhost/api/services/contoso/gateways/{gateway}/revoke",
        params={"service": "contoso", "gatewayId": gateway},
        body=json.dumps({"keyType": "primary", "reason": "a leak", **more}).encode(),
    )
    return answer.status, json.loads(answer.body)


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
    answers = [await revoke(worker, name) for name in MANY]
    assert {(status, body["regenerated"]) for status, body in answers} == {(200, True)}
    assert edge.regenerated() == MANY
    assert {edge.accepted(name)[0] for name in MANY} == {True}
    now = datetime.now(UTC)
    assert not [name for name in MANY if edge.gateways[name].accepts(before[name], now)]


async def test_a_revoke_stops_at_a_failing_destination_goes_on_from_there_and_may_be_repeated(
    edge: Edge, worker: WorkerRuntime
) -> None:
    edge.emulator.azure.faults.add(Fault(host="kubernetes", method="POST", status=403, times=None))
    status, body = await revoke(worker)
    assert (status, body["code"], edge.regenerated()) == (503, "revoke_stopped", [])
    edge.emulator.azure.faults.clear()
    for times in (1, 2):
        status, body = await revoke(worker)
        assert (status, body["regenerated"], edge.accepted()) == (200, True, [True, True])
        assert edge.regenerated() == ["edge-01"] * times
    assert signing(edge) == {"secondary"}


async def test_a_revoke_may_come_before_the_delivery_and_needs_its_own_permission(
    edge: Edge, worker: WorkerRuntime
) -> None:
    edge.configure([{**ALL[0], "allow": ["issue", "read", "renew"]}])
    status, body = await revoke(worker, immediately=True)
    assert (status, body["code"], edge.regenerated()) == (403, "access_denied", [])
    edge.configure()
    await gateway_app.forget()
    (leaked,) = edge.stored()
    status, body = await revoke(worker, immediately=True)
    assert (status, body["regenerated"], edge.accepted()) == (200, True, [True, True])
    assert not edge.gateways["edge-01"].accepts(leaked, datetime.now(UTC))
