"""The real worker runtime indexes a sample app through the harness; how it calls functions, the tests of the app itself show."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.worker_messages import IndexingError, Result
from tests.worker_runtime import WorkerRuntime

APP = """
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route("things/{thing}", methods=["POST"])
async def make(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("made")


@app.timer_trigger("timer", "%SCHEDULE%")
@app.retry(strategy="fixed_delay", max_retry_count="3", delay_interval="00:00:30")
async def hourly(timer: func.TimerRequest) -> None:
    pass
"""


async def test_the_worker_lists_bindings_and_retry_policies_and_has_one_app_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "function_app.py").write_text(APP)
    async with WorkerRuntime.load(tmp_path) as worker:
        assert set(worker.functions) == {"make", "hourly"}
        make, hourly = (worker.functions[name] for name in ("make", "hourly"))
        assert make.trigger["route"] == "things/{thing}"
        assert make.retry_options is None
        assert hourly.raw_bindings == [
            {"direction": "IN", "type": "timerTrigger", "name": "timer", "schedule": "%SCHEDULE%"}
        ]
        assert (hourly.retry_options or {})["delay_interval"] == timedelta(seconds=30)
        with pytest.raises(RuntimeError, match="already has an app"):
            async with WorkerRuntime.load(tmp_path):
                pass
        assert await worker.invoke_timer("hourly") == Result(ok=True)


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
