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


@app.route("broken")
async def broken(req: func.HttpRequest) -> func.HttpResponse:
    raise ValueError("no answer")


@app.timer_trigger("timer", "%SCHEDULE%")
@app.retry(strategy="fixed_delay", max_retry_count="3", delay_interval="00:00:30")
async def hourly(timer: func.TimerRequest) -> None:
    if timer.past_due:
        raise ValueError("late")


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
    assert set(worker.functions) == {"make", "broken", "hourly", "listen"}
    assert worker.functions["make"].trigger["route"] == "things/{thing}"
    assert worker.functions["make"].retry_options is None
    hourly = worker.functions["hourly"]
    assert hourly.raw_bindings == [
        {"direction": "IN", "type": "timerTrigger", "name": "timer", "schedule": "%SCHEDULE%"}
    ]
    assert (hourly.retry_options or {})["delay_interval"] == timedelta(seconds=30)


async def test_an_http_function_receives_the_request_and_answers_or_tells_telemetry_why_not(
    worker: WorkerRuntime,
) -> None:
    address, sent = "http://localhost/api/things/a?as=b", {"x-agent": "curl"}
    answer = await worker.invoke_http(
        "make", "POST", address, headers=sent, params={"thing": "a"}, body=b"[1]"
    )
    assert (answer.status, answer.body) == (201, b"a b curl [1]")
    assert answer.headers == {"cache-control": "no-store", "content-type": "text/plain; charset=utf-8"}
    with pytest.raises(InvocationError, match=r"^ValueError: no answer$") as failure:
        await worker.invoke_http("broken", "GET", "http://localhost/api/broken")
    assert "in broken" in failure.value.stack_trace


async def test_a_timer_function_runs_or_tells_why_not(worker: WorkerRuntime) -> None:
    assert await worker.invoke_timer("hourly") == Result(ok=True)
    result = await worker.invoke_timer("hourly", past_due=True)
    assert (result.ok, result.exception_text) == (False, "ValueError: late")


@pytest.mark.parametrize("body", ['{"word": "hello"}', b'{"word": "hello"}'])
async def test_a_queue_function_sees_the_body_and_how_often_it_came(
    worker: WorkerRuntime, body: str | bytes
) -> None:
    first = await worker.invoke_queue("listen", body)
    assert (first.ok, first.exception_text) == (False, "ValueError: hello 7 days, 0:00:00")
    assert await worker.invoke_queue("listen", body, dequeue_count=2) == Result(ok=True)


@pytest.mark.parametrize(
    ("app", "said"),
    [
        (APP.replace("(timer: func.T", "(clock: func.T"), "cannot load the hourly function"),
        (None, r"no function_app\.py"),
    ],
    ids=["an app that the worker refuses", "a directory without an app"],
)
async def test_the_workers_own_words_are_raised_for(tmp_path: Path, app: str | None, said: str) -> None:
    if app:
        (tmp_path / "function_app.py").write_text(app)
    with pytest.raises(IndexingError, match=said):
        async with WorkerRuntime.load(tmp_path):
            pass


async def test_a_second_app_has_to_wait_for_the_first_to_leave(worker: WorkerRuntime, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="already has an app"):
        async with WorkerRuntime.load(tmp_path):
            pass
    assert await worker.invoke_timer("hourly") == Result(ok=True)
