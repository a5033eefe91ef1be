"""From an endpoint to a listening server: recording and faults around every call, TLS beneath."""

import ssl

from aiohttp import web
from aiohttp.typedefs import Handler

from emulator.azure import Azure
from emulator.calls import Call
from emulator.endpoint import Endpoint, Route

# The largest body that any real client of the app sends in one request.
LARGEST_BODY = 64 * 1024 * 1024


def application(azure: Azure, endpoint: Endpoint) -> web.Application:
    """Return the endpoint as an aiohttp application."""
    known: dict[object, Route] = {}

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        route = known.get(request.match_info.route)
        call = _begin(azure, endpoint, route, request)

        async def proceed() -> web.StreamResponse:
            return await endpoint.answer(azure, route, request, lambda: handler(request))

        try:
            fault = azure.faults.take(endpoint.host, endpoint.instance, request.method, request.path)
            response = await (fault.strike(request, proceed) if fault else proceed())
            if not response.prepared:
                endpoint.stamp(request, response)
            call.status = response.status
            return response
        finally:
            azure.counters.end(call)

    app = web.Application(middlewares=[around], client_max_size=LARGEST_BODY)
    for route in endpoint.routes():
        known[app.router.add_route(route.method, route.path, _bind(azure, route))] = route
    return app


async def listen(azure: Azure, endpoint: Endpoint, port: int, tls: ssl.SSLContext) -> web.AppRunner:
    """Start the endpoint on 127.0.0.1, on any free port if `port` is 0, and set its `url`."""
    # A handler that still sleeps when a test ends must not hold it up.
    runner = web.AppRunner(application(azure, endpoint), access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls if endpoint.secure else None).start()
    scheme = "https" if endpoint.secure else "http"
    endpoint.url = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
    return runner


def _bind(azure: Azure, route: Route) -> Handler:
    async def work(request: web.Request) -> web.StreamResponse:
        return await route.work(azure, request)

    return work


def _begin(azure: Azure, endpoint: Endpoint, route: Route | None, request: web.Request) -> Call:
    action = route.action if route else ""
    call = Call(
        endpoint.host,
        endpoint.instance,
        request.method,
        request.path,
        request.query_string,
        action,
        azure.clock(),
    )
    azure.counters.begin(call)
    if azure.record:
        azure.calls.append(call)
    return call
