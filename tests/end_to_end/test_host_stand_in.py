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
import threading

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
bp = func.Blueprint()
seen = []


@bp.route("gateways/{gatewayId}/token", methods=["POST"])
async def echo(req: func.HttpRequest) -> func.HttpResponse:
    import json
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
    return f"{context.function_name} {threading.current_thread() is not threading.main_thread()}"


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


def app_directory(root: Path, source: str = APP) -> Path:
    (root / "function_app.py").write_text(source)
    extensions = {"http": {"routePrefix": "v1"}, "queues": {"maxDequeueCount": 3}}
    (root / "host.json").write_text(json.dumps({"version": "2.0", "extensions": extensions}))
    return root


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    loaded = await Host.load(app_directory(tmp_path), key=KEY, environ={"SCHEDULE": "0 0 * * * *"})
    yield loaded
    await loaded.stop()


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
    ("segment", "value"),
    [("a%2Fb", "a%2Fb"), ("a%252Fb", "a%2Fb"), ("%C3%A9+%26", "é+&"), ("edge-01/", "edge-01")],
)
async def test_a_route_parameter_is_decoded_except_for_slashes(
    http: aiohttp.ClientSession, segment: str, value: str
) -> None:
    async with http.get(URL(f"/v1/gateways/{segment}", encoded=True)) as answer:
        assert (answer.status, await answer.text()) == (200, value)


async def test_a_spelled_out_route_wins_over_a_parameter_and_a_plain_function_runs_in_a_thread(
    http: aiohttp.ClientSession,
) -> None:
    async with http.get("/v1/Gateways/mine") as answer:
        assert await answer.text() == "my_gateway True"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/nowhere"),
        ("GET", "/api/gateways/mine"),
        ("GET", "/v1/gateways/"),
        ("DELETE", "/v1/gateways/mine"),
        ("HEAD", "/v1/gateways/mine"),
    ],
)
async def test_an_unknown_address_or_method_is_not_found(
    http: aiohttp.ClientSession, method: str, path: str
) -> None:
    async with http.request(method, path) as answer:
        assert (answer.status, await answer.read()) == (404, b"")


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
    tmp_path: Path, *, enforce_keys: bool, status: int
) -> None:
    app_root = app_directory(tmp_path)
    host = await Host.load(app_root, key=None, enforce_keys=enforce_keys, environ={"SCHEDULE": "0 0 * * * *"})
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


async def test_a_function_without_an_answer_fails(http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/nothing") as answer:
        assert (answer.status, await answer.read()) == (500, b"")


async def test_a_cookie_goes_out(http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/cookies") as answer:
        assert (answer.status, answer.headers["Set-Cookie"]) == (204, "a=b; Path=/")


async def test_the_admin_address_runs_a_timer_now(host: Host, http: aiohttp.ClientSession) -> None:
    async with http.post("/admin/functions/sweep", json={}, headers={"x-functions-key": KEY}) as answer:
        assert (answer.status, await answer.read()) == (202, b"")
    await host._server.stop()
    assert seen(host) == [False]


@pytest.mark.parametrize(
    ("name", "key", "status"), [("sweep", "wrong", 401), ("nothing", KEY, 404), ("echo", KEY, 404)]
)
async def test_the_admin_address_wants_the_key_and_a_function_it_can_run(
    host: Host, http: aiohttp.ClientSession, name: str, key: str, status: int
) -> None:
    async with http.post(f"/admin/functions/{name}", json={}, headers={"x-functions-key": key}) as answer:
        assert answer.status == status
    assert seen(host) == []


async def test_a_timer_can_be_fired_late(host: Host) -> None:
    await host.fire("sweep", past_due=True)
    assert seen(host) == [True]
    assert host.functions["sweep"].trigger["schedule"] == "0 0 * * * *"


async def test_a_message_comes_back_until_it_is_taken(host: Host) -> None:
    assert await host.enqueue("events", "3")
    assert [(body, count) for body, count, _ in seen(host)] == [(3, 1), (3, 2), (3, 3)]
    assert len({message_id for *_, message_id in seen(host)}) == 1
    assert not host.poison


async def test_a_message_nobody_takes_is_kept_as_poison_after_the_last_attempt(host: Host) -> None:
    assert not await host.enqueue("listen", '"poison"')
    assert len(seen(host)) == 3
    assert host.poison == {"events": [b'"poison"']}


async def test_a_missing_setting_stops_the_start_and_is_named(tmp_path: Path) -> None:
    with pytest.raises(AppError, match=r"'sweep': '%SCHEDULE%' does not resolve to a value"):
        await Host.load(app_directory(tmp_path), key=KEY, environ={"SCHEDULE": ""})
    assert str(tmp_path) not in sys.path


async def test_two_apps_in_one_file_stop_the_start(tmp_path: Path) -> None:
    two = "import azure.functions as func\na = func.FunctionApp()\nb = func.FunctionApp()\n"
    with pytest.raises(AppError, match="exactly one FunctionApp, not 2"):
        await Host.load(app_directory(tmp_path, two), key=KEY)


async def test_the_app_imports_its_neighbours_while_the_host_lives(tmp_path: Path) -> None:
    (tmp_path / "stand_in_neighbour.py").write_text("WORD = 'neighbour'")
    source = APP.replace("import threading", "import threading\nfrom stand_in_neighbour import WORD", 1)
    host = await Host.load(app_directory(tmp_path, source), key=None, environ={"SCHEDULE": "0 0 * * * *"})
    assert host.functions["sweep"].call.__globals__["WORD"] == "neighbour"
    await host.stop()
    assert str(tmp_path) not in sys.path
