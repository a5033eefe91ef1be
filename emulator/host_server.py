"""The host's HTTP front: functions at their routes, and the admin address that runs a function now."""

import asyncio
import json

import azure.functions as func
from aiohttp import web

from emulator.host_app import HTTP, HostedFunction
from emulator.host_http import function_request, opens, path_segments, routes, wire_response
from emulator.host_invocation import Enqueue, invoke, logger, sample_argument

_BODY_LIMIT = 100 * 1024 * 1024


class HostServer:
    """Serves these functions on 127.0.0.1; `key` opens every door unless `enforce_keys` is off."""

    def __init__(
        self, functions: dict[str, HostedFunction], prefix: str, key: str | None, *, enforce_keys: bool
    ) -> None:
        self._functions = functions
        self._key = key
        self._enforce_keys = enforce_keys
        self._routes = routes(functions.values(), prefix)
        self._runs: set[asyncio.Task[object]] = set()
        self._runner: web.AppRunner | None = None
        self.enqueue: Enqueue = lambda _queue, _message: None

    def application(self) -> web.Application:
        """The functions as an aiohttp application."""
        application = web.Application(client_max_size=_BODY_LIMIT)
        application.router.add_post("/admin/functions/{name}", self._run_now)
        application.router.add_route("*", "/{path:.*}", self._serve)
        return application

    async def start(self, port: int) -> str:
        """Serves on this port, a free one when 0. Returns the address, without a slash at its end."""
        self._runner = web.AppRunner(self.application(), access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stops serving and waits for what runs."""
        if self._runner is not None:
            await self._runner.cleanup()
        await asyncio.gather(*self._runs, return_exceptions=True)

    async def _serve(self, request: web.Request) -> web.Response:
        path = path_segments(request.rel_url.raw_path)
        for route in self._routes:
            if (parameters := route.match(request.method, path)) is None:
                continue
            if route.function.trigger["authLevel"] != func.AuthLevel.ANONYMOUS and not self._opens(request):
                return web.Response(status=401)
            return await _answer(route.function, request, parameters, self.enqueue)
        # A known address with another method is not found either: the host never answers 405.
        return web.Response(status=404)

    async def _run_now(self, request: web.Request) -> web.Response:
        if not self._opens(request):
            return web.Response(status=401)
        function = self._functions.get(request.match_info["name"])
        if function is None or function.kind == HTTP:
            return web.Response(status=404)
        text = json.loads(await request.read() or b"{}").get("input") or ""
        run = asyncio.create_task(invoke(function, sample_argument(function, text), self.enqueue))
        self._runs.add(run)
        run.add_done_callback(self._finished)
        return web.Response(status=202)

    def _finished(self, run: asyncio.Task[object]) -> None:
        self._runs.discard(run)
        # `invoke` logged the failure; asking for it keeps asyncio from calling it unseen.
        _ = run.cancelled() or run.exception()

    def _opens(self, request: web.Request) -> bool:
        return not self._enforce_keys or opens(request, self._key)


async def _answer(
    function: HostedFunction, request: web.Request, parameters: dict[str, str], enqueue: Enqueue
) -> web.Response:
    try:
        answer = await invoke(function, await function_request(request, parameters), enqueue)
    except Exception:  # noqa: BLE001 - whatever a function raises is an empty 500; `invoke` logged it
        return web.Response(status=500)
    try:
        return wire_response(answer)
    except NotImplementedError:
        logger.exception("Function '%s' returned neither HttpResponse nor text.", function.name)
        return web.Response(status=500)
