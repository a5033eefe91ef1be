"""The stand-in host treats an app the way the Functions host does."""

import asyncio
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
import asyncio
import json
from collections import defaultdict

import azure.functions as func
from stand_in_neighbour import WORD

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
bp = func.Blueprint()
seen = []
gates = defaultdict(asyncio.Event)


@bp.route("gateways/{gatewayId}/token", methods=["POST"])
async def echo(req: func.HttpRequest) -> func.HttpResponse:
    body = json.dumps({
        "method": req.method, "url": req.url, "agent": req.headers["X-Agent"], "params": dict(req.params),
        "route": dict(req.route_params), "body": req.get_body().decode(),
    })
    return func.HttpResponse(body, status_code=201, mimetype="application/json", headers={"Cache-Control": "no-store"})


@bp.route("gateways/{gatewayId}", methods=["GET"])
async def any_gateway(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(req.route_params["gatewayId"])


@bp.route("gateways/mine", methods=["GET"])
async def not_reached(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("not reached")


@bp.route("gateways/first", methods=["GET"])
async def aa_spelled_out(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(f"spelled out {WORD}")


@bp.route("guarded", auth_level=func.AuthLevel.FUNCTION)
async def guarded(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("open")


@bp.route("broken")
async def broken(req: func.HttpRequest) -> func.HttpResponse:
    raise ValueError("the reason")


@bp.route("nothing")
async def nothing(req: func.HttpRequest) -> func.HttpResponse:
    return None


@bp.timer_trigger("timer", "%SCHEDULE%")
async def hourly(timer: func.TimerRequest) -> None:
    seen.append("hour")


@bp.queue_trigger("msg", "events", "Storage")
async def listen(msg: func.QueueMessage) -> None:
    seen.append((msg.get_json(), msg.dequeue_count, msg.id))
    if msg.dequeue_count < msg.get_json():
        raise ValueError("not yet")


@bp.queue_trigger("msg", "slow", "Storage")
async def slow(msg: func.QueueMessage) -> None:
    seen.append(msg.get_json())
    await gates[msg.get_json()].wait()


@bp.queue_trigger("msg", "beside", "Storage")
async def beside(msg: func.QueueMessage) -> None:
    seen.append("beside")


app.register_functions(bp)
"""
KEY = "sample-key"
ENVIRON = {"SCHEDULE": "0 0 * * * *"}


@pytest.fixture
def app_root(tmp_path: Path) -> Path:
    (tmp_path / "function_app.py").write_text(APP)
    (tmp_path / "stand_in_neighbour.py").write_text("WORD = 'neighbour'")
    write_host_json(tmp_path, threshold=1)
    return tmp_path


def write_host_json(app_root: Path, threshold: int) -> None:
    queues = {
        "maxDequeueCount": 3,
        "visibilityTimeout": "00:01:30",
        "batchSize": 2,
        "newBatchThreshold": threshold,
    }
    extensions = {"http": {"routePrefix": "v1"}, "queues": queues}
    (app_root / "host.json").write_text(json.dumps({"version": "2.0", "extensions": extensions}))


@pytest.fixture
def pauses() -> list[float]:
    """The seconds for which messages were not to be seen, in order."""
    return []


@pytest.fixture
async def host(app_root: Path, pauses: list[float]) -> AsyncIterator[Host]:
    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    loaded = await Host.load(app_root, key=KEY, environ=ENVIRON, pause=pause)
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


# What the real host answered to the same requests.
@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        # Of two routes that match, the one whose function comes first by name wins.
        ("GET", "/v1/gateways/mine", 200, "mine"),
        ("GET", "/v1/Gateways/first", 200, "spelled out neighbour"),
        # A path is decoded as UTF-8 except for slashes; what is not UTF-8, or no escape, stays.
        ("GET", "/v1/gateways/a%2Fb", 200, "a%2Fb"),
        ("GET", "/v1/gateways/a%252Fb", 200, "a%2Fb"),
        ("GET", "/v1/gateways/%C3%A9+%26", 200, "é+&"),
        ("GET", "/v1/gateways/%C3%28", 200, "%C3("),
        ("GET", "/v1/gateways/%zz", 200, "%zz"),
        ("GET", "/v1/gate%77ays/a", 200, "a"),
        ("GET", "/v1/gateways/a%00b", 400, ""),
        # Dot segments are resolved, and one slash at the end is not counted.
        ("GET", "/v1/gateways/a/../b", 200, "b"),
        ("GET", "/v1/gateways/%2e%2e", 404, ""),
        ("GET", "/v1/gateways/.", 404, ""),
        ("GET", "/v1/gateways/edge-01/", 200, "edge-01"),
        ("GET", "/v1/gateways/edge-01//", 404, ""),
        ("GET", "/v1//gateways/edge-01", 404, ""),
        ("GET", "/", 200, "<!DOCTYPE html><title>Your Azure Function App is up and running.</title>"),
        # An unknown address or method is not found.
        ("GET", "/admin", 404, ""),
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


async def test_a_function_sees_the_path_escaped_anew(http: aiohttp.ClientSession) -> None:
    path = "/v1/gateways/%26%5Ba%20%zz%2F/token?x=%zz&X=2"
    async with http.post(URL(path, encoded=True), headers={"X-Agent": "a"}) as answer:
        seen_by_it = await answer.json()
    assert seen_by_it["url"].partition("/v1")[2] == "/gateways/&%5Ba%20%25zz%2F/token?x=%zz&X=2"
    assert seen_by_it["params"] == {"x": "%zz,2"}


@pytest.mark.parametrize(
    ("line", "headers", "count", "status"),
    [
        (8 * 1024, 0, 0, 200),
        (8 * 1024 + 1, 0, 0, 414),
        (0, 32 * 1024, 0, 200),
        (0, 32 * 1024 + 1, 0, 431),
        (0, 0, 100, 200),
        (0, 0, 101, 431),
    ],
)
async def test_a_request_may_have_a_line_of_8_kilobytes_and_100_headers_of_32_kilobytes(
    http: aiohttp.ClientSession, line: int, headers: int, count: int, status: int
) -> None:
    path = "/v1/gateways/a?x="
    async with http.get(path) as answer:
        usual = answer.request_info.headers
    size = sum(len(f"{name}: {value}\r\n") for name, value in usual.items())
    path += "a" * (line - len(f"GET {path} HTTP/1.1\r\n"))
    more = {f"X-{number}": "a" for number in range(count - len(usual))}
    if headers:
        more["X-Big"] = "a" * (headers - size - len("X-Big: \r\n"))
    async with http.get(path, headers=more) as answer:
        assert answer.status == status


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({}, {}, 401),
        ({"x-functions-key": KEY}, {}, 200),
        ({}, {"code": KEY}, 200),
        ({}, {"code": "wrong"}, 401),
        ({"x-functions-key": "wrong"}, {"code": KEY}, 401),
        ({"x-functions-key": KEY}, {"code": "wrong"}, 200),
        ({}, {"CODE": KEY}, 200),
    ],
)
async def test_a_guarded_function_opens_to_its_key_and_the_header_counts_first(
    http: aiohttp.ClientSession, headers: dict[str, str], query: dict[str, str], status: int
) -> None:
    async with http.patch("/v1/guarded", headers=headers, params=query) as answer:
        assert (answer.status, await answer.text()) == (status, "open" if status == 200 else "")


async def test_a_failing_function_answers_an_empty_500_and_is_logged(
    http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with http.get("/v1/broken") as answer:
        assert (answer.status, await answer.read()) == (500, b"")
    assert "Executed 'Functions.broken' (Failed" in caplog.text
    assert "the reason" in caplog.text


@pytest.mark.parametrize(("key", "status"), [({}, 401), ({"x-functions-key": KEY}, 403)])
async def test_the_admin_address_opens_to_no_function_key(
    host: Host, http: aiohttp.ClientSession, key: dict[str, str], status: int
) -> None:
    for path in ("/admin/functions/hourly", "/ADMIN/host/status"):
        async with http.post(path, json={}, headers=key) as answer:
            assert (answer.status, await answer.read()) == (status, b"")
    assert seen(host) == []


async def test_a_timer_runs_when_it_is_fired(host: Host) -> None:
    await host.fire("hourly")
    assert seen(host) == ["hour"]
    assert host.functions["hourly"].trigger["schedule"] == "0 0 * * * *"
    with pytest.raises(LookupError, match="timerTrigger 'listen'"):
        await host.fire("listen")


async def test_a_message_that_fails_is_not_seen_for_a_while_and_then_comes_back(
    host: Host, pauses: list[float]
) -> None:
    host.queues.send("events", "3")
    await host.queues.idle()
    assert [(body, count) for body, count, _ in seen(host)] == [(3, 1), (3, 2), (3, 3)]
    assert len({message_id for *_, message_id in seen(host)}) == 1
    assert pauses == [90, 90]
    assert not host.queues.poison


async def test_a_message_that_no_try_takes_is_poison_one_that_cannot_be_read_as_well(host: Host) -> None:
    for body in ("4", "not JSON"):
        host.queues.send("events", body)
    await host.queues.idle()
    assert len(seen(host)) == 3
    assert host.queues.poison == {"events": ["4", "not JSON"]}
    with pytest.raises(LookupError, match="'events-poison'"):
        host.queues.send("events-poison", "4")


@pytest.mark.parametrize(
    ("threshold", "beside_the_slow_one"),
    # With a threshold of 0, nothing is fetched until the slowest of a batch has ended.
    [(0, [0, 1]), (1, [0, 1, 2, 3])],
)
async def test_a_batch_is_fetched_when_no_more_than_the_threshold_run(
    app_root: Path, threshold: int, beside_the_slow_one: list[int]
) -> None:
    write_host_json(app_root, threshold)
    host = await Host.load(app_root, key=KEY, environ=ENVIRON)
    gates = host.functions["slow"].call.__globals__["gates"]
    for number in range(6):
        host.queues.send("slow", str(number))
    await settled()
    assert seen(host) == [0, 1]
    gates[1].set()
    await settled()
    assert seen(host) == beside_the_slow_one
    # The numbers count for each function by itself.
    host.queues.send("beside", "0")
    await settled()
    assert seen(host)[-1] == "beside"
    for number in range(6):
        gates[number].set()
    await host.queues.idle()
    assert sorted(number for number in seen(host) if number != "beside") == [0, 1, 2, 3, 4, 5]
    await host.stop()


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_stopping_ends_what_runs(app_root: Path) -> None:
    host = await Host.load(app_root, key=KEY, environ=ENVIRON)
    for number in range(6):
        host.queues.send("slow", str(number))
    await settled()
    await host.stop()
    await host.queues.idle()
    assert seen(host) == [0, 1]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (APP, r"'hourly': '%SCHEDULE%' does not resolve to a value"),
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
