"""What goes wrong on purpose: each fault names the calls it strikes, how often, and how."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from aiohttp import web

Proceed = Callable[[], Awaitable[web.StreamResponse]]
Kind = Literal["answer", "drop", "drop_after", "truncate", "delay", "call", "call_after"]


@dataclass
class Fault:
    """One way in which calls go wrong.

    `host` is `arm`, `vault`, `identity`, `blob` or another endpoint's; `instance` narrows it, to one vault say.
    `method`, `path` and `instance` are shell patterns. The first `skip` calls that match pass unharmed, the
    next `times` are struck (None: for ever). Kinds: `answer` (status, headers, body in place of the work),
    `drop` (close the connection instead), `drop_after` (do the work, then close), `truncate` (do the work, close
    half-way through the body), `delay` (`seconds`, then the work), `call` and `call_after` (run `action`, which
    may be a coroutine function, before or after the work).
    """

    host: str = "*"
    method: str = "*"
    path: str = "*"
    instance: str = "*"
    kind: Kind = "answer"
    times: int | None = 1
    skip: int = 0
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | bytes = ""
    seconds: float = 0.0
    action: Callable[[], object] | None = None
    struck: int = field(default=0, init=False)

    def strikes(self, host: str, instance: str, method: str, path: str) -> bool:
        """Tell whether this call is struck, and count it."""
        wanted = ((host, self.host), (instance, self.instance), (method, self.method), (path, self.path))
        if not all(fnmatchcase(value, pattern) for value, pattern in wanted):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is not None and self.struck >= self.times:
            return False
        self.struck += 1
        return True

    async def strike(self, request: web.Request, proceed: Proceed) -> web.StreamResponse:
        """Answer the call in this fault's way."""
        if self.kind == "answer":
            return web.Response(status=self.status, headers=self.headers, body=self.body)
        if self.kind == "drop":
            return _drop(request)
        if self.kind == "delay":
            await asyncio.sleep(self.seconds)
        if self.kind == "call":
            await self._act()
        response = await proceed()
        if self.kind == "call_after":
            await self._act()
        if self.kind == "drop_after":
            return _drop(request)
        if self.kind == "truncate":
            return await _truncate(request, response)
        return response

    async def _act(self) -> None:
        result = self.action() if self.action else None
        if inspect.isawaitable(result):
            await result


class Faults:
    """The faults in force; of several that match a call, the one added first strikes."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Put a fault in force and return it."""
        self._faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """Take a fault back."""
        self._faults.remove(fault)

    def clear(self) -> None:
        """Take every fault back."""
        self._faults.clear()

    def take(self, host: str, instance: str, method: str, path: str) -> Fault | None:
        """Return the fault that strikes this call, if any."""
        return next((fault for fault in self._faults if fault.strikes(host, instance, method, path)), None)


def _drop(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _truncate(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    body = response.body if isinstance(response, web.Response) else b""
    whole = bytes(body) if isinstance(body, bytes | bytearray) else b""
    cut = web.StreamResponse(status=response.status, headers=response.headers)
    cut.content_length = len(whole)
    await cut.prepare(request)
    await cut.write(whole[: len(whole) // 2])
    # Closed, not aborted: what was written so far must reach the client.
    if request.transport is not None:
        request.transport.close()
    return cut
