"""The stand-in host treats an app the way the Functions host does."""

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from emulator.host import Host
from emulator.host_app import AppError

APP = """
import json
import threading

import azure.functions as func
from stand_in_neighbour import WORD

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
bp = func.Blueprint()
seen = []


@bp.route("gateways/{gatewayId}/token", methods=["POST"])
async def echo(req: func.HttpRequest) -> func.HttpResponse:
    body = json.dumps({
        "method": req.method, "url": req.url, "agent": req.headers["X-Agent"], "params": dict(req.params),
        "route": dict(req.route_params), "body": req.get_body().decode(),
    })
    return func.HttpResponse(body, status_code=201, mimetype="application/json", headers={"Cache-Control": "no-store"})


@bp.route("gateways/{gatewayId}", methods=["GET"])
def any_gateway(req: func.HttpRequest) -> str:
    return req.route_params["gatewayId"]


@bp.route("gateways/mine", methods=["GET"])
def my_gateway(req: func.HttpRequest, context: func.Context) -> str:
    return f"{context.function_name} {threading.current_thread() is not threading.main_thread()} {WORD}"


@bp.route("guarded", auth_level=func.AuthLevel.FUNCTION)
async def guarded(req: func.HttpRequest) -> str:
    return "open"


@bp.route("broken")
async def broken(req: func.HttpRequest) -> func.HttpResponse:
    raise ValueError("the reason")


@bp.route("nothing")
async def nothing(req: func.HttpRequest) -> func.HttpResponse:
    return None


@bp.route("cookies")
async def cookies(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(status_code=204, headers={"Set-Cookie": "a=b; Path=/"})


@bp.timer_trigger("timer", "%SCHEDULE%")
async def sweep(timer: func.TimerRequest) -> None:
    seen.append(timer.past_due)


@bp.queue_trigger("msg", "events", "Storage")
async def listen(msg: func.QueueMessage) -> None:
    seen.append((msg.get_json(), msg.dequeue_count, msg.id))
    if msg.get_json() == "poison" or msg.dequeue_count < msg.get_json():
        raise ValueError("not yet")


app.register_functions(bp)
"""
KEY = "sample-key"
ENVIRON = {"SCHEDULE": "0 0 * * * *"}


@pytest.fixture
def app_root(tmp_path: Path) -> Path:
    (tmp_path / "function_app.py").write_text(APP)
    (tmp_path / "stand_in_neighbour.py").write_text("WORD = 'neighbour'")
    extensions = {"http": {"routePrefix": "v1"}, "queues": {"maxDequeueCount": 3}}
    (tmp_path / "host.json").write_text(json.dumps({"version": "2.0", "extensions": extensions}))
    return tmp_path


@pytest.fixture
async def host(app_root: Path) -> AsyncIterator[Host]:
    loaded = await Host.load(app_root, key=KEY, environ=ENVIRON)
    yield loaded
    await loaded.stop()
    assert str(app_root) not in sys.path


@pytest.fixture
async def http(host: Host) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(await host.start()) as session:
        yield session


def seen(host: Host) -> list[Any]:
    """What the sample app's functions noted down."""
    kept: list[Any] = host.functions["listen"].call.__globals__["seen"]
    return kept


async def test_a_function_receives_the_whole_request_and_its_answer_goes_out_unchanged(
    http: aiohttp.ClientSession,
) -> None:
    path = "/v1/gateways/edge%2001/token?format=a&format=b&empty="
    async with http.post(URL(path, encoded=True), data="hello", headers={"x-agent": "curl"}) as answer:
        assert answer.status == 201
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"
        assert await answer.json() == {
            "method": "POST",
            "url": f"http://127.0.0.1:{answer.url.port}{path}",
            "agent": "curl",
            "params": {"format": "a,b"},
            "route": {"gatewayId": "edge 01"},
            "body": "hello",
        }


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        # A spelled-out route wins over a parameter, and a plain function runs in a thread.
        ("GET", "/v1/Gateways/mine", 200, "my_gateway True neighbour"),
        # A route parameter is decoded except for slashes.
        ("GET", "/v1/gateways/a%2Fb", 200, "a%2Fb"),
        ("GET", "/v1/gateways/a%252Fb", 200, "a%2Fb"),
        ("GET", "/v1/gateways/%C3%A9+%26", 200, "é+&"),
        ("GET", "/v1/gateways/edge-01/", 200, "edge-01"),
        # An unknown address or method is not found.
        ("GET", "/v1/nowhere", 404, ""),
        ("GET", "/api/gateways/mine", 404, ""),
        ("GET", "/v1/gateways/", 404, ""),
        ("DELETE", "/v1/gateways/mine", 404, ""),
        ("HEAD", "/v1/gateways/mine", 404, ""),
        # A function without an answer fails.
        ("GET", "/v1/nothing", 500, ""),
    ],
)
async def test_an_address_leads_to_its_function(
    http: aiohttp.ClientSession, method: str, path: str, status: int, text: str
) -> None:
    async with http.request(method, URL(path, encoded=True)) as answer:
        assert (answer.status, await answer.text()) == (status, text)


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({}, {}, 401),
        ({"x-functions-key": KEY}, {}, 200),
        ({}, {"code": KEY}, 200),
        ({}, {"code": "wrong"}, 401),
        ({"x-functions-key": "wrong"}, {"code": KEY}, 401),
        ({"x-functions-key": KEY}, {"code": "wrong"}, 200),
    ],
)
async def test_a_guarded_function_opens_to_its_key_and_the_header_counts_first(
    http: aiohttp.ClientSession, headers: dict[str, str], query: dict[str, str], status: int
) -> None:
    async with http.patch("/v1/guarded", headers=headers, params=query) as answer:
        assert (answer.status, await answer.text()) == (status, "open" if status == 200 else "")


@pytest.mark.parametrize(("enforce_keys", "status"), [(True, 401), (False, 200)])
async def test_without_a_key_a_guarded_function_opens_only_when_keys_are_not_enforced(
    app_root: Path, *, enforce_keys: bool, status: int
) -> None:
    host = await Host.load(app_root, key=None, enforce_keys=enforce_keys, environ=ENVIRON)
    async with aiohttp.ClientSession(await host.start()) as http, http.get("/v1/guarded") as answer:
        assert answer.status == status
    await host.stop()


async def test_a_failing_function_answers_an_empty_500_and_is_logged(
    http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with http.get("/v1/broken") as answer:
        assert (answer.status, await answer.read()) == (500, b"")
    assert "Executed 'Functions.broken' (Failed" in caplog.text
    assert "the reason" in caplog.text


async def test_a_cookie_goes_out(http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/cookies") as answer:
        assert (answer.status, answer.headers["Set-Cookie"]) == (204, "a=b; Path=/")


@pytest.mark.parametrize(
    ("name", "key", "status"),
    [("sweep", KEY, 202), ("sweep", "wrong", 401), ("nothing", KEY, 404), ("echo", KEY, 404)],
)
async def test_the_admin_address_runs_a_timer_for_who_has_the_key(
    host: Host, http: aiohttp.ClientSession, name: str, key: str, status: int
) -> None:
    async with http.post(f"/admin/functions/{name}", json={}, headers={"x-functions-key": key}) as answer:
        assert (answer.status, await answer.read()) == (status, b"")
    await host._server.stop()
    assert seen(host) == ([False] if status == 202 else [])


async def test_a_timer_can_be_fired_late(host: Host) -> None:
    await host.fire("sweep", past_due=True)
    assert seen(host) == [True]
    assert host.functions["sweep"].trigger["schedule"] == "0 0 * * * *"


async def test_a_message_comes_back_until_it_is_taken(host: Host) -> None:
    assert await host.enqueue("events", "3")
    assert [(body, count) for body, count, _ in seen(host)] == [(3, 1), (3, 2), (3, 3)]
    assert len({message_id for *_, message_id in seen(host)}) == 1
    assert not host.poison


async def test_a_message_that_no_attempt_takes_is_kept_as_poison(host: Host) -> None:
    assert not await host.enqueue("listen", '"poison"')
    assert len(seen(host)) == 3
    assert host.poison == {"events": [b'"poison"']}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (APP, r"'sweep': '%SCHEDULE%' does not resolve to a value"),
        (
            "import azure.functions as f\na, b = f.FunctionApp(), f.FunctionApp()\n",
            "exactly one FunctionApp, not 2",
        ),
    ],
    ids=["a missing setting", "two apps in one file"],
)
async def test_the_start_fails_for(app_root: Path, source: str, said: str) -> None:
    (app_root / "function_app.py").write_text(source)
    with pytest.raises(AppError, match=said):
        await Host.load(app_root, key=KEY, environ={"SCHEDULE": ""})
    assert str(app_root) not in sys.path
