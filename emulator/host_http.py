"""HTTP as the Functions host speaks it: which function a request reaches, whether its key opens it, and the wire forms."""

import codecs
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

import azure.functions as func
from aiohttp import web
from azure.functions.http import HttpRequest, HttpResponseConverter
from multidict import CIMultiDict, MultiMapping

from emulator.host_app import HTTP, AppError, HostedFunction

_PARAMETER = re.compile(r"\{([A-Za-z_]\w*)\}")
# A slash stays as it was sent, or it would separate segments.
_ESCAPES = re.compile(r"(?:%(?!2[fF])[0-9A-Fa-f]{2})+")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
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


def routes(functions: Iterable[HostedFunction], prefix: str) -> list[Route]:
    """Every HTTP function's route in the order of the functions' names, as the host has them: the first that matches wins."""
    found = [_route(function, prefix) for function in functions if function.kind == HTTP]
    return sorted(found, key=lambda route: route.function.name.upper())


def _route(function: HostedFunction, prefix: str) -> Route:
    address = f"{prefix}/{function.trigger.get('route') or function.name}".strip("/")
    segments = tuple(address.split("/"))
    if any("{" in part and not _PARAMETER.fullmatch(part) for part in segments):
        raise AppError(f"Function '{function.name}': this host knows only whole-segment {{name}} parameters.")
    methods = frozenset(
        str(getattr(method, "value", method)) for method in function.trigger.get("methods", ())
    )
    return Route(segments, methods, function)


def decoded_path(request: web.Request) -> str:
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


def too_large(request: web.Request) -> int | None:
    """The status with which the host's web server refuses a request for its size, None if it takes it."""
    if len(f"{request.method} {request.raw_path} HTTP/1.1\r\n") > _LONGEST_LINE:
        return 414
    size = sum(len(name) + len(value) + len(": \r\n") for name, value in request.raw_headers)
    return 431 if len(request.raw_headers) > _MOST_HEADERS or size > _LARGEST_HEADERS else None


def opens(request: web.Request, key: str) -> bool:
    """Whether the request brings the key. The header counts before the query, even when it is wrong."""
    presented = request.headers.get("x-functions-key", CIMultiDict(request.query).get("code", ""))
    return hmac.compare_digest(presented.encode(), key.encode())


async def function_request(
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


def wire_response(answer: object) -> web.Response:
    """What a function's HttpResponse or text looks like on the wire. Raises NotImplementedError for anything else."""
    if isinstance(answer, str):
        return web.Response(text=answer)
    encoded = HttpResponseConverter.encode(answer, expected_type=None).value
    headers = CIMultiDict((name, datum.value) for name, datum in encoded["headers"].items())
    for cookie in encoded["cookies"] or ():
        headers.extend(("Set-Cookie", morsel.OutputString()) for morsel in cookie.values())
    headers.popall("Content-Length", None)
    return web.Response(status=int(encoded["status_code"].value), headers=headers, body=encoded["body"].value)
