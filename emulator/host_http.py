"""HTTP as the Functions host speaks it: which function a request reaches, whether its key opens it, and the wire forms."""

import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

import azure.functions as func
from aiohttp import web
from azure.functions.http import HttpRequest, HttpResponseConverter
from multidict import CIMultiDict, MultiMapping

from emulator.host_app import HTTP, AppError, HostedFunction

_PARAMETER = re.compile(r"\{([A-Za-z_]\w*)\}")


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
    """Every HTTP function's route; where two match, the one that spells more out comes first."""
    found = [_route(function, prefix) for function in functions if function.kind == HTTP]
    return sorted(found, key=lambda route: [bool(_PARAMETER.fullmatch(part)) for part in route.segments])


def _route(function: HostedFunction, prefix: str) -> Route:
    address = f"{prefix}/{function.trigger.get('route') or function.name}".strip("/")
    segments = tuple(address.split("/"))
    if any("{" in part and not _PARAMETER.fullmatch(part) for part in segments):
        raise AppError(f"Function '{function.name}': this host knows only whole-segment {{name}} parameters.")
    methods = frozenset(
        str(getattr(method, "value", method)) for method in function.trigger.get("methods", ())
    )
    return Route(segments, methods, function)


def path_segments(raw_path: str) -> tuple[str, ...]:
    """A raw path's segments, decoded; an encoded slash stays encoded, as the host's web server leaves it."""
    return tuple(_decoded(segment) for segment in raw_path.strip("/").split("/"))


def _decoded(segment: str) -> str:
    # Every odd part is the separator itself.
    parts = re.split("(%2[fF])", segment)
    return "".join(part if odd % 2 else unquote(part) for odd, part in enumerate(parts))


def opens(request: web.Request, key: str | None) -> bool:
    """Whether the request brings the key. The header counts before the query, even when it is wrong."""
    presented = request.headers.get("x-functions-key", request.query.get("code", ""))
    return key is not None and hmac.compare_digest(presented.encode(), key.encode())


async def function_request(request: web.Request, route_params: Mapping[str, str]) -> func.HttpRequest:
    """The request as the worker hands it to a function: joined repeats, no empty query values."""
    query = {name: value for name, value in _joined(request.query, ",").items() if value}
    return HttpRequest(
        method=request.method,
        url=f"{request.scheme}://{request.host}{request.raw_path}",
        headers=_joined(request.headers, ", "),
        params=query,
        route_params=route_params,
        body_type="bytes",
        body=await request.read(),
    )


def _joined(pairs: MultiMapping[str], separator: str) -> dict[str, str]:
    return {name: separator.join(pairs.getall(name)) for name in pairs}


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
