"""What every address of Azure has: routes, a way to say no, the checks before the work, and a server that listens."""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from aiohttp import web
from aiohttp.typedefs import Handler

from emulator.azure import Azure, Call

# The largest body that any real client of the app sends in one request.
LARGEST_BODY = 64 * 1024 * 1024

Work = Callable[[Azure, web.Request], Awaitable[web.StreamResponse]]


class RefusedError(Exception):
    """A call that Azure refuses; the endpoint puts it in its own words on the wire."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        inner: str = "",
        details: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.inner, self.details, self.headers = inner, details, dict(headers or {})


@dataclass(frozen=True, slots=True)
class Route:
    """One operation: an aiohttp path pattern, its work, the RBAC action it needs, the api-versions it takes.

    No action means that no permission is needed; no versions, that any or none will do.
    """

    method: str
    path: str
    work: Work
    action: str = ""
    versions: Collection[str] = ()


class Endpoint:
    """One address of Azure. Made by its subclass, started by the emulator, which sets `url` (no final slash)."""

    host: ClassVar[str]
    secure: ClassVar[bool] = True
    anonymous: ClassVar[bool] = False
    instance: str = ""
    url: str = ""

    def routes(self) -> Iterable[Route]:
        """Return the operations, the more particular paths first."""
        return ()

    def express(self, refusal: RefusedError) -> web.Response:
        """Put a refusal in this host's own form; ARM's ErrorResponse unless it has another."""
        error: dict[str, object] = {"code": refusal.code, "message": refusal.message}
        if refusal.inner:
            error["innererror"] = {"code": refusal.inner}
        if refusal.details:
            error["details"] = list(refusal.details)
        body = json.dumps({"error": error})
        return web.Response(
            status=refusal.status, text=body, content_type="application/json", headers=refusal.headers
        )

    def audiences(self) -> Collection[str]:
        """Return the audiences whose access tokens are accepted, without a final slash."""
        return ()

    def unauthenticated(self, azure: Azure) -> RefusedError:  # noqa: ARG002 - for hosts that name the tenant
        """Return what a call without a good bearer token gets."""
        return RefusedError(401, "AuthenticationFailed", "Authentication failed.")

    def forbidden(self, azure: Azure, request: web.Request, action: str) -> RefusedError:
        """Return what a call gets when the identity lacks `action`."""
        scope, _, _ = request.path.partition(f"/{action.removesuffix('/action').rpartition('/')[2]}")
        who = f"The client '{azure.client_id}' with object id '{azure.object_id}'"
        return RefusedError(
            403,
            "AuthorizationFailed",
            f"{who} does not have authorization to perform action '{action}' over scope '{scope}' or the scope is "
            "invalid. If access was recently granted, please refresh your credentials.",
        )

    def admit(self, azure: Azure, request: web.Request) -> None:
        """Raise `RefusedError` if the host has had enough of this caller."""

    def stamp(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add the headers that all of this host's answers carry."""

    async def answer(
        self,
        azure: Azure,
        route: Route | None,
        request: web.Request,
        work: Callable[[], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Check the call in Azure's order, then do its work; refusals come out in this host's form."""
        if azure.latency > 0:
            await asyncio.sleep(azure.latency)
        try:
            self._check(azure, route, request)
            return await work()
        except RefusedError as refusal:
            return self.express(refusal)
        except web.HTTPException as error:
            return self.express(RefusedError(error.status, error.reason.replace(" ", ""), error.reason))

    def _check(self, azure: Azure, route: Route | None, request: web.Request) -> None:
        if not self.anonymous and self._audience(azure, request) not in self.audiences():
            raise self.unauthenticated(azure)
        self.admit(azure, request)
        if route is None:
            return
        if route.action and azure.granted is not None and route.action not in azure.granted:
            raise self.forbidden(azure, request, route.action)
        if route.versions:
            _check_version(request, route.versions)

    @staticmethod
    def _audience(azure: Azure, request: web.Request) -> str | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return azure.bearers.get(token) if scheme == "Bearer" else None


def _check_version(request: web.Request, versions: Collection[str]) -> None:
    version = request.query.get("api-version", "")
    if not version:
        message = "The api-version query parameter (?api-version=) is required for all requests."
        raise RefusedError(400, "MissingApiVersionParameter", message)
    if version not in versions:
        known = ",".join(sorted(versions))
        message = f"The api-version '{version}' is invalid. The supported versions are '{known}'."
        raise RefusedError(400, "InvalidApiVersionParameter", message)


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
            azure.in_flight -= 1

    app = web.Application(middlewares=[around], client_max_size=LARGEST_BODY)
    for route in endpoint.routes():
        known[app.router.add_route(route.method, route.path, _bind(azure, route))] = route
    return app


async def listen(azure: Azure, endpoint: Endpoint, tls: ssl.SSLContext) -> web.AppRunner:
    """Start the endpoint on a free port of 127.0.0.1, and set its `url`."""
    # A handler that still sleeps when a test ends must not hold it up.
    runner = web.AppRunner(application(azure, endpoint), access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls if endpoint.secure else None).start()
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
    azure.arrived += 1
    azure.in_flight += 1
    azure.peak = max(azure.peak, azure.in_flight)
    if azure.record:
        azure.calls.append(call)
    return call
