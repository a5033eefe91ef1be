"""The app in the real Functions worker: what the host gets to know of it, and a call of every function."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import pytest

from emulator.faults import Fault
from emulator.server import Emulator
from tests.http.renewal_app import RenewalApp, renewal_app
from tests.http_calls import ROUTES
from tests.renewal_estate import CONTOSO, lines
from tests.worker_runtime import Answer, InvocationError, WorkerRuntime, worker_runtime

EDGE = {"service": "contoso", "gatewayId": "edge-01"}


@pytest.fixture
async def app(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RenewalApp]:
    async with renewal_app(emulator, monkeypatch) as renewal:
        yield renewal


@pytest.fixture
async def worker(app: RenewalApp) -> AsyncIterator[WorkerRuntime]:
    del app  # its settings must be there first
    async with worker_runtime() as loaded:
        yield loaded


async def called(
    worker: WorkerRuntime, name: str, route: Mapping[str, str] = MappingProxyType({}), body: bytes = b""
) -> Answer:
    method, path = ROUTES[name].split()
    return await worker.call(name, method, path.format(**route), route=route, body=body)


def of_kind(worker: WorkerRuntime, kind: str) -> dict[str, dict[str, Any]]:
    """The bindings of this type by the function's name."""
    return {
        name: binding
        for name, bindings in worker.functions.items()
        for binding in bindings
        if binding["type"] == kind
    }


async def test_the_worker_lists_every_function_with_what_calls_it_and_where_it_writes(
    worker: WorkerRuntime,
) -> None:
    routes = of_kind(worker, "httpTrigger")
    assert {name: f"{route['methods'][0]} {route['route']}" for name, route in routes.items()} == ROUTES
    assert {len(route["methods"]) for route in routes.values()} == {1}
    assert of_kind(worker, "timerTrigger") == {
        "renew_on_schedule": {
            "direction": "IN",
            "type": "timerTrigger",
            "name": "timer",
            "schedule": "%RENEWAL_SCHEDULE%",
            "runOnStartup": False,
            "useMonitor": True,
        }
    }
    queues = {
        kind: {
            name: (route["queueName"], route["connection"]) for name, route in of_kind(worker, kind).items()
        }
        for kind in ("queueTrigger", "queue")
    }
    renewals = ("%RENEWALS_QUEUE%", "AzureWebJobsStorage")
    assert queues == {
        "queueTrigger": {
            "reconcile_subscription": renewals,
            "take_event": ("%EVENTS_QUEUE%", "AzureWebJobsStorage"),
        },
        "queue": {"renew_on_schedule": renewals, "run_renewals": renewals},
    }
    assert worker.retried == []


@pytest.mark.parametrize(
    ("allowed", "wanted"),
    [("true", "FUNCTION"), ("True", "FUNCTION"), ("false", "ANONYMOUS"), ("", "ANONYMOUS")],
)
async def test_every_http_function_but_health_asks_for_a_key_where_function_keys_are_allowed(
    monkeypatch: pytest.MonkeyPatch, allowed: str, wanted: str
) -> None:
    monkeypatch.setenv("ALLOW_FUNCTION_KEYS", allowed)
    async with worker_runtime() as worker:
        routes = of_kind(worker, "httpTrigger")
    levels = {name: str(route["authLevel"]).rpartition(".")[2].upper() for name, route in routes.items()}
    assert levels.pop("health") == "ANONYMOUS"
    assert set(levels.values()) == {wanted}


async def test_broken_settings_leave_every_function_loaded_and_repaired_ones_work_at_once(
    app: RenewalApp,
) -> None:
    app.configure(GATEWAY_TOKENS="{")
    async with worker_runtime() as worker:
        assert (await called(worker, "health")).status == 503
        with pytest.raises(InvocationError, match=r"^SettingsInvalid: The settings are invalid: GATEWAY_"):
            await worker.fire("renew_on_schedule")
        app.configure()
        assert len(await worker.fire("renew_on_schedule")) == 2


async def test_a_token_comes_out_of_the_worker_in_each_form(worker: WorkerRuntime) -> None:
    answer = await called(worker, "generate_token", EDGE, b'{"lifetime": "P1D"}')
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.headers["content-type"].startswith("application/json")
    assert json.loads(answer.body)["value"].startswith("edge-01&")
    answer = await called(worker, "generate_token_in_format", {**EDGE, "format": "envFile"})
    assert answer.body.startswith(b"config.service.auth=GatewayKey edge-01&")


async def test_the_timer_and_a_caller_ask_for_runs_which_succeed_failed_rows_included(
    worker: WorkerRuntime, app: RenewalApp
) -> None:
    fault = Fault(host="vault", instance="fabrikam", method="PUT", status=403, times=None)
    app.emulator.azure.faults.add(fault)
    requested = await called(worker, "run_renewals")
    assert (requested.status, app.writes()) == (202, [])
    for messages, caller in (
        (await worker.fire("renew_on_schedule"), "schedule"),
        (requested.messages, "function-key"),
    ):
        assert [json.loads(message)["askedBy"] for message in messages] == [caller] * 2
        for message in messages:
            await worker.bring("reconcile_subscription", message)
    assert app.stored().startswith("GatewayKey edge-01&")
    assert (app.stored("plant-a", "fabrikam"), fault.struck > 0) == ("", True)


@pytest.mark.parametrize("in_bytes", [False, True])
async def test_an_event_renews_its_gateway(worker: WorkerRuntime, app: RenewalApp, *, in_bytes: bool) -> None:
    now = datetime.now(UTC).isoformat()
    event = {
        "id": "1",
        "source": str(CONTOSO),
        "subject": "/gateways/edge-01/pod-1",
        "type": "Microsoft.ApiManagement.GatewayTokenExpired",
        "time": now,
        "specversion": "1.0",
        "data": {
            "gatewayInfo": {"gatewayId": "edge-01", "instanceId": "pod-1"},
            "tokenInfo": {"expiredAtUtc": now},
        },
    }
    body = json.dumps(event)
    await worker.bring("take_event", body.encode() if in_bytes else body)
    assert app.stored().startswith("GatewayKey edge-01&")
    assert app.stored("edge-02") == ""


@pytest.mark.parametrize(
    ("name", "code"), [("reconcile_subscription", "message_invalid"), ("take_event", "event_invalid")]
)
async def test_a_message_that_nobody_can_read_fails_with_a_line_so_that_it_ends_in_the_poison_queue(
    worker: WorkerRuntime, app: RenewalApp, caplog: pytest.LogCaptureFixture, name: str, code: str
) -> None:
    for dequeue_count, event in ((1, "message.failed"), (5, "message.poisoned")):
        with pytest.raises(InvocationError, match=r"^(Message|Event)Invalid: The queue message"):
            await worker.bring(name, '{"hello": 1}', dequeue_count)
        [line] = lines(caplog, event)
        assert (line["code"], line["dequeueCount"]) == (code, dequeue_count)
    assert app.emulator.azure.calls == []
