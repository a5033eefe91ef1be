"""HTTP as the Functions host speaks it: which function a request reaches, whether its key opens it, and what the host says by itself."""

import codecs
import hmac
import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

import azure.functions as func
from aiohttp import web
from azure.functions.http import HttpRequest, HttpResponseConverter
from multidict import CIMultiDict, MultiMapping

from emulator.host_app import HTTP, AppError, HostedFunction
from emulator.host_invocation import Enqueue, invoke, logger

_PARAMETER = re.compile(r"\{([A-Za-z_]\w*)\}")
# A slash stays as it was sent, or it would separate segments.
_ESCAPES = re.compile(r"(?:%(?!2[fF])[0-9A-Fa-f]{2})+")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_BODY_LIMIT = 100 * 1024 * 1024
# Above the host's own bounds: what exceeds those is answered as the host does.
_AIOHTTP_BOUND = 256 * 1024
_HOME = "<!DOCTYPE html><title>Your Azure Function App is up and running.</title>"
_LONGEST_LINE, _MOST_HEADERS, _LARGEST_HEADERS = 8 * 1024, 100, 32 * 1024


@dataclass(frozen=True)
class Route:
    """One HTTP function's address under the route prefix."""

    segments: tuple[str, ...]
    methods: frozenset[str]
    function: HostedFunction

    def match(self, method: str, path: tuple[str, ...]) -> dict[str, str] | None:
        """The route's parameters, or None when method or path is not this route's."""
        if len(path) != len(self.segments) or (self.methods and method not in self.methods):
            return None
        parameters = {}
        for pattern, segment in zip(self.segments, path, strict=True):
            if parameter := _PARAMETER.fullmatch(pattern):
                parameters[parameter[1]] = segment
            elif pattern.casefold() != segment.casefold():
                return None
        return parameters if all(parameters.values()) else None


class HostServer:
    """Serves these functions on 127.0.0.1; `key` opens every function. The admin address opens to the master key, which nobody has."""

    def __init__(self, functions: dict[str, HostedFunction], prefix: str, key: str, enqueue: Enqueue) -> None:
        self._key = key
        self._routes = _routes(functions.values(), prefix)
        self._enqueue = enqueue
        self._runner: web.AppRunner | None = None

    async def start(self, port: int, tls: ssl.SSLContext | None) -> str:
        """Serves on this port, a free one when 0. Returns the address, without a slash at its end."""
        application = web.Application(client_max_size=_BODY_LIMIT)
        application.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            shutdown_timeout=0.5,
            max_line_size=_AIOHTTP_BOUND,
            max_field_size=_AIOHTTP_BOUND,
            max_headers=_AIOHTTP_BOUND,
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=tls).start()
        return f"http{'s' if tls else ''}://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stops serving; calls under way have half a second to end."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.Response:
        if status := _too_large(request):
            return web.Response(status=status)
        try:
            path = _decoded_path(request)
        except ValueError:
            return web.Response(status=400)
        segments = tuple(path[1:].removesuffix("/").split("/"))
        if path == "/":
            return web.Response(text=_HOME, content_type="text/html")
        if segments[0].casefold() == "admin" and segments[1:]:
            return web.Response(status=403 if _opens(request, self._key) else 401)
        return await self._routed(request, path, segments)

    async def _routed(self, request: web.Request, path: str, segments: tuple[str, ...]) -> web.Response:
        for route in self._routes:
            if (parameters := route.match(request.method, segments)) is None:
                continue
            guarded = route.function.trigger["authLevel"] != func.AuthLevel.ANONYMOUS
            if guarded and not _opens(request, self._key):
                return web.Response(status=401)
            return await self._answer(route.function, await _function_request(request, path, parameters))
        # A known address with another method is not found either: the host never answers 405.
        return web.Response(status=404)

    async def _answer(self, function: HostedFunction, request: func.HttpRequest) -> web.Response:
        try:
            answer = await invoke(function, request, self._enqueue)
        except Exception:  # noqa: BLE001 - whatever a function raises is an empty 500; `invoke` logged it
            return web.Response(status=500)
        try:
            return _wire_response(answer)
        except NotImplementedError:
            logger.exception("Function '%s' returned no HttpResponse.", function.name)
            return web.Response(status=500)


def _routes(functions: Iterable[HostedFunction], prefix: str) -> list[Route]:
    """Every HTTP function's route in the order of the functions' names, as the host has them: the first that matches wins."""
    routes = [_route(function, prefix) for function in functions if function.kind == HTTP]
    return sorted(routes, key=lambda route: route.function.name.upper())


def _route(function: HostedFunction, prefix: str) -> Route:
    address = f"{prefix}/{function.trigger.get('route') or function.name}".strip("/")
    segments = tuple(address.split("/"))
    if any("{" in part and not _PARAMETER.fullmatch(part) for part in segments):
        raise AppError(f"Function '{function.name}': this host knows only whole-segment {{name}} parameters.")
    methods = frozenset(
        str(getattr(method, "value", method)) for method in function.trigger.get("methods", ())
    )
    return Route(segments, methods, function)


def _decoded_path(request: web.Request) -> str:
    """The path as the host's web server hands it on, without escapes and dot segments. Raises ValueError for a null character."""
    path = _ESCAPES.sub(_text, request.rel_url.raw_path)
    if "\0" in path:
        raise ValueError("null character")
    resolved: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            resolved[-1:] = []
        elif segment != ".":
            resolved.append(segment)
    return f"/{'/'.join(resolved)}"


def _text(escapes: re.Match[str]) -> str:
    return bytes.fromhex(escapes[0].replace("%", "")).decode("utf-8", "percent")


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(f"%{byte:02X}" for byte in error.object[error.start : error.end]), error.end


codecs.register_error("percent", _escaped)


def _too_large(request: web.Request) -> int | None:
    """The status with which the host's web server refuses a request for its size, None if it takes it."""
    if len(f"{request.method} {request.raw_path} HTTP/1.1\r\n") > _LONGEST_LINE:
        return 414
    size = sum(len(name) + len(value) + len(": \r\n") for name, value in request.raw_headers)
    return 431 if len(request.raw_headers) > _MOST_HEADERS or size > _LARGEST_HEADERS else None


def _opens(request: web.Request, key: str) -> bool:
    """Whether the request brings the key. The header counts before the query, even when it is wrong."""
    presented = request.headers.get("x-functions-key", CIMultiDict(request.query).get("code", ""))
    return hmac.compare_digest(presented.encode(), key.encode())


async def _function_request(
    request: web.Request, path: str, route_params: Mapping[str, str]
) -> func.HttpRequest:
    """The request as the worker hands it to a function: joined repeats, no empty query values, the path escaped anew."""
    query = {name: value for name, value in _joined(CIMultiDict(request.query)).items() if value}
    address = quote(_BROKEN_ESCAPE.sub("%25", path), safe="/%:@!$&'()*+,;=~")
    _, mark, rest = request.raw_path.partition("?")
    return HttpRequest(
        method=request.method,
        url=f"{request.scheme}://{request.host}{address}{mark}{rest}",
        headers=_joined(request.headers),
        params=query,
        route_params=route_params,
        body_type="bytes",
        body=await request.read(),
    )


def _joined(pairs: MultiMapping[str]) -> dict[str, str]:
    return {name: ",".join(pairs.getall(name)) for name in pairs}


def _wire_response(answer: object) -> web.Response:
    """What a function's HttpResponse looks like on the wire. Raises NotImplementedError for anything else."""
    encoded = HttpResponseConverter.encode(answer, expected_type=None).value
    headers = CIMultiDict((name, datum.value) for name, datum in encoded["headers"].items())
    headers.popall("Content-Length", None)
    return web.Response(status=int(encoded["status_code"].value), headers=headers, body=encoded["body"].value)
