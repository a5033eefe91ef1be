"""The timer and the queue function of this app in the real worker runtime, against the emulator."""

import base64
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from emulator.faults import Fault
from emulator.server import Emulator
from tests.http.renewal_app import RenewalApp, renewal_app
from tests.renewal_estate import CONTOSO, lines
from tests.worker_messages import Result
from tests.worker_runtime import WorkerRuntime

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
async def app(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RenewalApp]:
    async with renewal_app(emulator, monkeypatch) as made:
        yield made


@pytest.fixture
async def worker(app: RenewalApp) -> AsyncIterator[WorkerRuntime]:
    del app  # its settings must be there first
    async with WorkerRuntime.load(ROOT) as loaded:
        yield loaded


def expired(gateway: str = "edge-01") -> str:
    """The event of a token that ended just now."""
    now = datetime.now(UTC).isoformat()
    return json.dumps(
        {
            "id": "1",
            "source": str(CONTOSO),
            "subject": f"/gateways/{gateway}/pod-1",
            "type": "Microsoft.ApiManagement.GatewayTokenExpired",
            "time": now,
            "specversion": "1.0",
            "data": {
                "gatewayInfo": {"gatewayId": gateway, "instanceId": "pod-1"},
                "tokenInfo": {"expiredAtUtc": now},
            },
        }
    )


class TestTheTimer:
    async def test_runs_on_the_schedule_setting_is_monitored_and_not_run_on_start_up(
        self, worker: WorkerRuntime
    ) -> None:
        function = worker.functions["renew_on_schedule"]
        assert function.trigger == {
            "direction": "IN",
            "type": "timerTrigger",
            "name": "timer",
            "schedule": "%RENEWAL_SCHEDULE%",
            "runOnStartup": False,
            "useMonitor": True,
        }
        assert function.retry_options is None

    @pytest.mark.parametrize("past_due", [False, True])
    async def test_asks_for_runs_that_renew_the_estate(
        self,
        worker: WorkerRuntime,
        app: RenewalApp,
        past_due: bool,  # noqa: FBT001 - a table's column
    ) -> None:
        result = await worker.invoke_timer("renew_on_schedule", past_due=past_due)
        assert (result.ok, len(result.messages)) == (True, 2)
        assert app.writes() == []
        for message in result.messages:
            assert (await worker.invoke_queue("reconcile_subscription", message)).ok
        assert app.stored("edge-01").startswith("GatewayKey edge-01&")
        assert app.stored("plant-a", "fabrikam").startswith("GatewayKey plant-a&")
        assert app.report()["completedAt"]

    async def test_says_which_settings_are_wrong_and_works_once_they_are_right(
        self, worker: WorkerRuntime, app: RenewalApp
    ) -> None:
        app.configure(GATEWAY_TOKENS="")
        result = await worker.invoke_timer("renew_on_schedule")
        assert not result.ok
        assert result.exception_text.startswith("SettingsInvalid: The settings are invalid: GATEWAY_TOKENS")
        app.configure()
        assert (await worker.invoke_timer("renew_on_schedule")).ok


class TestARun:
    async def test_listens_to_the_queue_that_the_setting_names_and_both_who_ask_write_to_it(
        self, worker: WorkerRuntime
    ) -> None:
        trigger = worker.functions["reconcile_subscription"].trigger
        assert (trigger["queueName"], trigger["connection"]) == ("%RENEWALS_QUEUE%", "AzureWebJobsStorage")
        for name in ("renew_on_schedule", "run_renewals"):
            (output,) = (b for b in worker.functions[name].raw_bindings if b["type"] == "queue")
            assert (output["queueName"], output["direction"]) == ("%RENEWALS_QUEUE%", "OUT")

    async def test_that_ended_has_succeeded_failed_rows_included(
        self, worker: WorkerRuntime, app: RenewalApp
    ) -> None:
        old = app.hold("plant-a", timedelta(days=8), "fabrikam")
        app.emulator.azure.faults.add(
            Fault(host="vault", instance="fabrikam", method="PUT", status=403, times=None)
        )
        for message in (await worker.invoke_timer("renew_on_schedule")).messages:
            assert (await worker.invoke_queue("reconcile_subscription", message)).ok
        assert (app.stored("edge-01") != "", app.stored("plant-a", "fabrikam")) == (True, old)
        assert {row["outcome"] for row in app.report("fabrikam")["rows"]} == {"failed"}

    async def test_that_nobody_can_read_fails_so_that_it_ends_in_the_poison_queue(
        self, worker: WorkerRuntime, app: RenewalApp
    ) -> None:
        result = await worker.invoke_queue("reconcile_subscription", "{}")
        assert not result.ok
        assert result.exception_text.startswith("MessageInvalid: The queue message does not ask for a run:")
        assert app.emulator.azure.calls == []


class TestEvents:
    async def test_listens_to_the_queue_of_events(self, worker: WorkerRuntime) -> None:
        trigger = worker.functions["take_event"].trigger
        assert (trigger["queueName"], trigger["connection"]) == ("%EVENTS_QUEUE%", "AzureWebJobsStorage")

    @pytest.mark.parametrize("form", ["text", "bytes", "base64"])
    async def test_renews_the_gateway_of_an_event(
        self, worker: WorkerRuntime, app: RenewalApp, form: str
    ) -> None:
        body = expired()
        sent: dict[str, str | bytes] = {
            "text": body,
            "bytes": body.encode(),
            "base64": base64.b64encode(body.encode()).decode(),
        }
        assert await worker.invoke_queue("take_event", sent[form]) == Result(ok=True)
        assert app.stored("edge-01").startswith("GatewayKey edge-01&")
        assert app.stored("edge-02") == ""

    @pytest.mark.parametrize("dequeue_count", [1, 5])
    async def test_fails_on_a_malformed_message_with_a_line_so_that_it_ends_in_the_poison_queue(
        self,
        worker: WorkerRuntime,
        app: RenewalApp,
        dequeue_count: int,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        with caplog.at_level(logging.INFO):
            result = await worker.invoke_queue("take_event", '{"hello": 1}', dequeue_count)
        assert not result.ok
        assert result.exception_text == (
            "EventInvalid: The queue message is not an API Management event: it has no type."
        )
        (line,) = lines(caplog, "message.poisoned" if dequeue_count == 5 else "message.failed")
        assert (line["code"], line["dequeueCount"]) == ("event_invalid", dequeue_count)
        assert app.emulator.azure.calls == []


@pytest.mark.usefixtures("app")
async def test_the_http_functions_run_in_the_same_worker(worker: WorkerRuntime) -> None:
    url = "https://app.example/api/renewals"
    planned = await worker.invoke_http("plan_renewals", "GET", url)
    asked = await worker.invoke_http("run_renewals", "POST", url)
    shown = await worker.invoke_http("show_run", "GET", url, params={"run": json.loads(asked.body)["run"]})
    renewed = await worker.invoke_http(
        "renew_gateway", "POST", url, params={"service": "contoso", "gatewayId": "edge-01"}
    )
    listed = await worker.invoke_http("list_gateways", "GET", url, params={"service": "contoso"})
    answers = (planned, asked, shown, renewed, listed, await worker.invoke_http("health", "GET", url))
    assert [answer.status for answer in answers] == [200, 202, 200, 200, 200, 503]
    assert json.loads(planned.body)["counts"] == {"renew": 3}
    assert [json.loads(message)["askedBy"] for message in asked.messages] == ["function-key"] * 2
