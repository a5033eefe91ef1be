"""The app in the real Functions worker: what the host gets to know of it, and a token out of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from tests import served_estate
from tests.worker_messages import FunctionMetadata, HttpAnswer
from tests.worker_runtime import WorkerRuntime

ROOT = Path(__file__).resolve().parents[2]
ROUTES = {
    "generate_token": ("services/{service}/gateways/{gatewayId}/generateToken", ["POST"]),
    "list_gateways": ("services/{service}/gateways", ["GET"]),
    "revoke_key": ("services/{service}/gateways/{gatewayId}/revoke", ["POST"]),
    "health": ("health", ["GET"]),
}


@pytest.fixture
async def environ(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    served_estate.populate(emulator)
    served_estate.set_environment(monkeypatch, served_estate.environment(emulator))
    await gateway_app.forget()
    yield
    await gateway_app.forget()


@pytest.fixture
async def worker(environ: None) -> AsyncIterator[WorkerRuntime]:  # noqa: ARG001 - the settings come first
    async with WorkerRuntime.load(ROOT) as loaded:
        yield loaded


def level(function: FunctionMetadata) -> str:
    return str(function.trigger["authLevel"]).rpartition(".")[2].upper()


async def test_the_worker_lists_functions_with_their_routes_and_methods(worker: WorkerRuntime) -> None:
    listed = {
        name: (worker.functions[name].trigger["route"], worker.functions[name].trigger["methods"])
        for name in ROUTES
    }
    assert listed == ROUTES


@pytest.mark.parametrize(
    ("allowed", "wanted"),
    [("true", "FUNCTION"), ("True", "FUNCTION"), ("false", "ANONYMOUS"), ("", "ANONYMOUS")],
)
async def test_every_http_function_but_health_asks_for_a_key_where_function_keys_are_allowed(
    monkeypatch: pytest.MonkeyPatch, allowed: str, wanted: str
) -> None:
    monkeypatch.setenv("ALLOW_FUNCTION_KEYS", allowed)
    async with WorkerRuntime.load(ROOT) as worker:
        levels = {
            name: level(function)
            for name, function in worker.functions.items()
            if function.trigger["type"] == "httpTrigger"
        }
    assert levels.pop("health") == "ANONYMOUS"
    assert set(levels.values()) == {wanted}


async def test_broken_settings_leave_every_function_loaded(
    environ: None,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GATEWAY_TOKENS", "{")
    async with WorkerRuntime.load(ROOT) as worker:
        assert set(ROUTES) <= set(worker.functions)
        answer = await worker.invoke_http("health", "GET", "http://localhost/api/health")
        assert answer.status == 503


async def issue(worker: WorkerRuntime, body: bytes = b"", form: str = "") -> HttpAnswer:
    return await worker.invoke_http(
        "generate_token_in_format" if form else "generate_token",
        "POST",
        f"http://localhost/api/services/contoso/gateways/edge-01/generateToken/{form}".rstrip("/"),
        params={"service": "contoso", "gatewayId": "edge-01", **({"format": form} if form else {})},
        body=body,
    )


async def test_a_token_comes_out_of_the_worker_also_in_a_form_that_the_path_names(
    worker: WorkerRuntime,
) -> None:
    answer = await issue(worker, b'{"lifetime": "P1D"}')
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"].startswith("application/json")
    assert json.loads(answer.body)["value"].startswith("edge-01&")
    answer = await issue(worker, form="envFile")
    assert answer.body.startswith(b"config.service.auth=GatewayKey edge-01&")


async def test_the_worker_answers_many_calls_at_once_with_one_client(
    emulator: Emulator, worker: WorkerRuntime
) -> None:
    emulator.azure.latency = 0.05
    answers = await asyncio.gather(*(issue(worker) for _ in range(10)))
    assert {answer.status for answer in answers} == {200}
    assert emulator.azure.peak > 1
