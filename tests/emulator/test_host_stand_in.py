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

APP = """
import asyncio
import json
from collections import defaultdict

import azure.functions as func
from stand_in_neighbour import WORD

app, bp = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS), func.Blueprint()
seen, gates = [], defaultdict(asyncio.Event)


@bp.route("gateways/{gatewayId}/token", methods=["POST"])
async def echo(req):
    body = json.dumps({
        "method": req.method, "url": req.url, "agent": req.headers["X-Agent"], "params": dict(req.params),
        "route": dict(req.route_params), "body": req.get_body().decode(),
    })
    return func.HttpResponse(body, status_code=201, mimetype="application/json", headers={"Cache-Control": "no-store"})


@bp.route("gateways/{gatewayId}", methods=["GET"])
async def any_gateway(req):
    return func.HttpResponse(req.route_params["gatewayId"])


@bp.route("gateways/mine", methods=["GET"])
async def not_reached(req):
    return func.HttpResponse("not reached")


@bp.route("gateways/first", methods=["GET"])
async def aa_spelled_out(req):
    return func.HttpResponse(f"spelled out {WORD}")


@bp.route("guarded", auth_level=func.AuthLevel.FUNCTION)
async def guarded(req):
    return func.HttpResponse("open")


@bp.route("broken")
async def broken(req):
    raise ValueError("the reason")


@bp.route("nothing")
async def nothing(req):
    return None


@bp.timer_trigger("timer", "%SCHEDULE%")
async def hourly(timer):
    seen.append("hour")


@bp.queue_trigger("msg", "events", "Storage")
async def listen(msg):
    seen.append((msg.get_json(), msg.dequeue_count, msg.id))
    if msg.dequeue_count < msg.get_json():
        raise ValueError("not yet")


@bp.queue_trigger("msg", "slow", "Storage")
async def slow(msg):
    seen.append(msg.get_json())
    await gates[msg.get_json()].wait()


@bp.queue_trigger("msg", "beside", "Storage")
async def beside(msg):
    seen.append("beside")


app.register_functions(bp)
"""
KEY = "sample-key"


class Serves:
    """Serves the app with this threshold; `pauses` are the seconds for which messages were not to be seen."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.pauses, self.hosts = folder, list[float](), list[Host]()
        (folder / "stand_in_neighbour.py").write_text("WORD = 'neighbour'")
        (folder / "function_app.py").write_text(APP)

    async def __call__(self, threshold: int = 1) -> Host:
        queues = {"maxDequeueCount": 3, "visibilityTimeout": "00:01:30", "batchSize": 2}
        extensions = {"http": {"routePrefix": "v1"}, "queues": {**queues, "newBatchThreshold": threshold}}
        (self.folder / "host.json").write_text(json.dumps({"version": "2.0", "extensions": extensions}))
        environ = {"SCHEDULE": "0 0 * * * *"}
        self.hosts.append(await Host.load(self.folder, key=KEY, environ=environ, pause=self.pause))
        return self.hosts[-1]

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.fixture
async def serves(tmp_path: Path) -> AsyncIterator[Serves]:
    serves = Serves(tmp_path)
    yield serves
    for host in serves.hosts:
        await host.stop()
        await host.queues.idle()
    assert str(tmp_path) not in sys.path


@pytest.fixture
async def host(serves: Serves) -> Host:
    return await serves()


@pytest.fixture
async def http(host: Host) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(await host.start()) as session:
        yield session


def seen(host: Host) -> list[Any]:
    """What the sample app's functions noted down."""
    kept: list[Any] = host.functions["listen"].call.__globals__["seen"]
    return kept


async def test_a_function_receives_the_whole_request(http: aiohttp.ClientSession) -> None:
    path = "/v1/gateways/edge%2001/token?format=a&format=b&empty="
    async with http.post(URL(path, encoded=True), data="hello", headers={"x-agent": "curl"}) as answer:
        assert (answer.status, answer.headers["Cache-Control"]) == (201, "no-store")
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
        # A function without an answer, or with an error, fails.
        ("GET", "/v1/nothing", 500, ""),
        ("GET", "/v1/broken", 500, ""),
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
    ("line", "headers", "count", "refused"), [(8 * 1024, 0, 0, 414), (0, 32 * 1024, 0, 431), (0, 0, 100, 431)]
)
async def test_a_request_may_have_a_line_of_8_kilobytes_and_100_headers_of_32_kilobytes(
    http: aiohttp.ClientSession, line: int, headers: int, count: int, refused: int
) -> None:
    path = "/v1/gateways/a?x="
    async with http.get(path) as answer:
        usual = answer.request_info.headers
    size = sum(len(f"{name}: {value}\r\n") for name, value in usual.items())
    for over, status in ((0, 200), (1, refused)):
        long = path + "a" * (line + over - len(f"GET {path} HTTP/1.1\r\n"))
        more = {f"X-{number}": "a" for number in range(count + over - len(usual))}
        if headers:
            more["X-Big"] = "a" * (headers + over - size - len("X-Big: \r\n"))
        async with http.get(long, headers=more) as answer:
            assert answer.status == status


@pytest.mark.parametrize(
    ("header", "path", "status"),
    [
        (None, "/v1/guarded", 401),
        (KEY, "/v1/guarded", 200),
        (None, f"/v1/guarded?code={KEY}", 200),
        (None, "/v1/guarded?code=wrong", 401),
        ("wrong", f"/v1/guarded?code={KEY}", 401),
        (KEY, "/v1/guarded?code=wrong", 200),
        (None, f"/v1/guarded?CODE={KEY}", 200),
        (None, "/admin/functions/hourly", 401),
        (KEY, "/ADMIN/functions/hourly", 403),
    ],
)
async def test_a_guarded_function_opens_to_its_key_in_the_header_first_and_the_admin_address_to_none(
    host: Host, http: aiohttp.ClientSession, header: str | None, path: str, status: int
) -> None:
    headers = {"x-functions-key": header} if header else {}
    async with http.post(path, json={}, headers=headers) as answer:
        assert (answer.status, await answer.text()) == (status, "open" if status == 200 else "")
    assert seen(host) == []


async def test_a_failed_message_is_not_seen_for_a_while_and_comes_back(serves: Serves, host: Host) -> None:
    host.queues.send("events", "3")
    await host.queues.idle()
    assert [(body, count) for body, count, _ in seen(host)] == [(3, 1), (3, 2), (3, 3)]
    assert len({message_id for *_, message_id in seen(host)}) == 1
    assert serves.pauses == [90, 90]
    assert not host.queues.poison


async def test_a_message_that_no_try_takes_is_poison_one_that_cannot_be_read_as_well(host: Host) -> None:
    for body in ("4", "not JSON"):
        host.queues.send("events", body)
    await host.queues.idle()
    assert len(seen(host)) == 3
    assert host.queues.poison == {"events": ["4", "not JSON"]}
    with pytest.raises(LookupError, match="'events-poison'"):
        host.queues.send("events-poison", "4")


async def sent(host: Host, queue: str, *numbers: int) -> list[Any]:
    """What the functions noted down after these messages."""
    for number in numbers:
        host.queues.send(queue, str(number))
    for _ in range(20):
        await asyncio.sleep(0)
    return seen(host)


# With a threshold of 0, nothing is fetched until the slowest of a batch has ended.
@pytest.mark.parametrize(("threshold", "taken"), [(0, [0, 1]), (1, [0, 1, 2, 3])])
async def test_a_batch_is_fetched_when_no_more_than_the_threshold_run(
    serves: Serves, threshold: int, taken: list[int]
) -> None:
    host = await serves(threshold)
    gates = host.functions["slow"].call.__globals__["gates"]
    assert await sent(host, "slow", *range(6)) == [0, 1]
    gates[1].set()
    assert await sent(host, "slow") == taken
    # The numbers count for each function by itself.
    assert await sent(host, "beside", 0) == [*taken, "beside"]
    gates[0].set()
    assert [number for number in await sent(host, "slow") if number != "beside"] == [0, 1, 2, 3]
