"""The host's HTTP front: functions at their routes, and what the host answers by itself."""

import azure.functions as func
from aiohttp import web

from emulator.host_app import HostedFunction
from emulator.host_http import decoded_path, function_request, opens, routes, too_large, wire_response
from emulator.host_invocation import Enqueue, invoke, logger

_BODY_LIMIT = 100 * 1024 * 1024
# Above the host's own bounds: what exceeds those is answered as the host does.
_AIOHTTP_BOUND = 256 * 1024
_HOME = "<!DOCTYPE html><title>Your Azure Function App is up and running.</title>"


class HostServer:
    """Serves these functions on 127.0.0.1; `key` opens every function. The admin address opens to the master key, which nobody has."""

    def __init__(self, functions: dict[str, HostedFunction], prefix: str, key: str, enqueue: Enqueue) -> None:
        self._key = key
        self._routes = routes(functions.values(), prefix)
        self._enqueue = enqueue
        self._runner: web.AppRunner | None = None

    async def start(self, port: int) -> str:
        """Serves on this port, a free one when 0. Returns the address, without a slash at its end."""
        self._runner = web.AppRunner(
            self.application(),
            access_log=None,
            shutdown_timeout=0.5,
            max_line_size=_AIOHTTP_BOUND,
            max_field_size=_AIOHTTP_BOUND,
            max_headers=_AIOHTTP_BOUND,
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def application(self) -> web.Application:
        """The application that answers, for whoever serves it in another way."""
        application = web.Application(client_max_size=_BODY_LIMIT)
        application.router.add_route("*", "/{path:.*}", self._serve)
        return application

    async def stop(self) -> None:
        """Stops serving; calls under way have half a second to end."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.Response:
        if status := too_large(request):
            return web.Response(status=status)
        try:
            path = decoded_path(request)
        except ValueError:
            return web.Response(status=400)
        segments = tuple(path[1:].removesuffix("/").split("/"))
        if path == "/":
            return web.Response(text=_HOME, content_type="text/html")
        if segments[0].casefold() == "admin" and segments[1:]:
            return web.Response(status=403 if opens(request, self._key) else 401)
        return await self._routed(request, path, segments)

    async def _routed(self, request: web.Request, path: str, segments: tuple[str, ...]) -> web.Response:
        for route in self._routes:
            if (parameters := route.match(request.method, segments)) is None:
                continue
            guarded = route.function.trigger["authLevel"] != func.AuthLevel.ANONYMOUS
            if guarded and not opens(request, self._key):
                return web.Response(status=401)
            return await self._answer(route.function, await function_request(request, path, parameters))
        # A known address with another method is not found either: the host never answers 405.
        return web.Response(status=404)

    async def _answer(self, function: HostedFunction, request: func.HttpRequest) -> web.Response:
        try:
            answer = await invoke(function, request, self._enqueue)
        except Exception:  # noqa: BLE001 - whatever a function raises is an empty 500; `invoke` logged it
            return web.Response(status=500)
        try:
            return wire_response(answer)
        except NotImplementedError:
            logger.exception("Function '%s' returned neither HttpResponse nor text.", function.name)
            return web.Response(status=500)
