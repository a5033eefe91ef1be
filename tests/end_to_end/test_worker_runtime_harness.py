"""The real worker runtime indexes a sample app and calls its functions through the harness."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.worker_answers import IndexingError, InvocationError, Result
from tests.worker_runtime import WorkerRuntime

APP = """
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route("things/{thing}", methods=["POST"])
async def make(req: func.HttpRequest) -> func.HttpResponse:
    text = f"{req.route_params['thing']} {req.params['as']} {req.headers['X-Agent']} {req.get_json()}"
    return func.HttpResponse(text, status_code=201, headers={"Cache-Control": "no-store"})


@app.route("plain")
def plain(req: func.HttpRequest, context: func.Context) -> str:
    return f"{context.function_name} {len(req.get_body())}"


@app.route("broken")
async def broken(req: func.HttpRequest) -> func.HttpResponse:
    raise ValueError("no answer")


@app.timer_trigger("timer", "%SCHEDULE%")
@app.retry(strategy="fixed_delay", max_retry_count="3", delay_interval="00:00:30")
async def hourly(timer: func.TimerRequest, context: func.Context) -> None:
    retry = context.retry_context
    if timer.past_due:
        raise ValueError(f"late, attempt {retry.retry_count} of {retry.max_retry_count}")


@app.queue_trigger("msg", "events", "Storage")
async def listen(msg: func.QueueMessage) -> None:
    if msg.dequeue_count < 2:
        raise ValueError(f"{msg.get_json()['word']} {msg.expiration_time - msg.insertion_time}")
"""


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[WorkerRuntime]:
    (tmp_path / "function_app.py").write_text(APP)
    async with WorkerRuntime.load(tmp_path) as loaded:
        yield loaded


async def test_the_worker_lists_each_function_with_its_bindings_and_retry_policy(
    worker: WorkerRuntime,
) -> None:
    assert set(worker.functions) == {"make", "plain", "broken", "hourly", "listen"}
    assert worker.functions["make"].trigger["route"] == "things/{thing}"
    assert worker.functions["make"].retry_options is None
    hourly = worker.functions["hourly"]
    assert hourly.raw_bindings == [
        {"direction": "IN", "type": "timerTrigger", "name": "timer", "schedule": "%SCHEDULE%"}
    ]
    assert hourly.retry_options == {
        "max_retry_count": 3,
        "retry_strategy": "fixed_delay",
        "delay_interval": timedelta(seconds=30),
    }


async def test_an_http_function_receives_the_request_and_answers(worker: WorkerRuntime) -> None:
    answer = await worker.invoke_http(
        "make",
        "POST",
        "http://localhost/api/things/a?as=b",
        headers={"x-agent": "curl"},
        params={"thing": "a"},
        body=b"[1]",
    )
    assert answer.status == 201
    assert answer.headers == {"cache-control": "no-store", "content-type": "text/plain; charset=utf-8"}
    assert answer.body == b"a b curl [1]"


async def test_a_plain_function_may_answer_with_text(worker: WorkerRuntime) -> None:
    answer = await worker.invoke_http("plain", "GET", "http://localhost/api/plain")
    assert (answer.status, answer.body) == (200, b"plain 0")


async def test_a_failing_http_function_gives_telemetry_its_exception_text(worker: WorkerRuntime) -> None:
    with pytest.raises(InvocationError, match=r"^ValueError: no answer$") as failure:
        await worker.invoke_http("broken", "GET", "http://localhost/api/broken")
    assert "in broken" in failure.value.stack_trace


async def test_a_timer_function_runs(worker: WorkerRuntime) -> None:
    assert await worker.invoke_timer("hourly") == Result(ok=True)


async def test_a_failing_timer_function_tells_why_and_knows_its_attempt(worker: WorkerRuntime) -> None:
    result = await worker.invoke_timer("hourly", past_due=True, retry_count=2)
    assert (result.ok, result.exception_text) == (False, "ValueError: late, attempt 2 of 3")


@pytest.mark.parametrize("body", ['{"word": "hello"}', b'{"word": "hello"}'])
async def test_a_queue_function_sees_the_body_and_how_often_it_came(
    worker: WorkerRuntime, body: str | bytes
) -> None:
    first = await worker.invoke_queue("listen", body)
    assert (first.ok, first.exception_text) == (False, "ValueError: hello 7 days, 0:00:00")
    assert await worker.invoke_queue("listen", body, dequeue_count=2) == Result(ok=True)


async def test_an_app_the_worker_refuses_raises_the_workers_own_words(tmp_path: Path) -> None:
    (tmp_path / "function_app.py").write_text(
        APP.replace("(timer: func.TimerRequest,", "(clock: func.TimerRequest,")
    )
    with pytest.raises(IndexingError, match="cannot load the hourly function"):
        async with WorkerRuntime.load(tmp_path):
            pass


async def test_a_directory_without_an_app_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IndexingError, match=r"no function_app\.py"):
        async with WorkerRuntime.load(tmp_path):
            pass


async def test_a_second_app_has_to_wait_for_the_first_to_leave(worker: WorkerRuntime, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="already has an app"):
        async with WorkerRuntime.load(tmp_path):
            pass
    assert await worker.invoke_timer("hourly") == Result(ok=True)
