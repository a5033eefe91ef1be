"""A stand-in for the Azure Functions host: serves an unmodified function app on a machine without Core Tools."""

import asyncio
import os
import sys
import uuid
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from aiohttp import web

from emulator.host_app import QUEUE, TIMER, HostedFunction, HostSettings, load_functions, read_host_settings
from emulator.host_invocation import invoke, queue_message, timer_request
from emulator.host_server import HostServer


class Host:
    """One function app, served on 127.0.0.1.

    HTTP functions answer at their own addresses; `POST /admin/functions/<name>` runs a timer or queue function once,
    answering before the run ends. Timers never run by themselves, and retry policies are not followed. `poison`
    keeps the bodies no queue function could take, by queue name.
    """

    def __init__(
        self, app_root: Path, settings: HostSettings, functions: dict[str, HostedFunction], server: HostServer
    ) -> None:
        self.functions = functions
        self.poison: defaultdict[str, list[bytes]] = defaultdict(list)
        self._app_root = app_root
        self._settings = settings
        self._server = server
        self._under_way: set[asyncio.Task[bool]] = set()
        self._free = asyncio.Semaphore(settings.batch_size + settings.new_batch_threshold)
        server.enqueue = self.send

    @classmethod
    async def load(
        cls,
        app_root: Path,
        *,
        key: str | None,
        enforce_keys: bool = True,
        environ: Mapping[str, str] | None = None,
    ) -> Self:
        """The host with the app loaded, `app_root` first on `sys.path` until `stop`. Raises AppError.

        `key` opens every function and the admin address. Keys are enforced as in Azure unless `enforce_keys` is
        off, which is what `func start` does on a developer's machine. `environ` resolves `%SETTING%` in triggers;
        the process's own when None.

        Every load runs function_app.py afresh, but what it imports stays loaded: two apps that have modules of the
        same name need two processes.
        """
        sys.path.insert(0, str(app_root))
        try:
            settings = read_host_settings(app_root)
            functions = load_functions(app_root, os.environ if environ is None else environ)
            server = HostServer(functions, settings.route_prefix, key, enforce_keys=enforce_keys)
        except BaseException:
            sys.path.remove(str(app_root))
            raise
        return cls(app_root, settings, functions, server)

    def application(self) -> web.Application:
        """The app as an aiohttp application."""
        return self._server.application()

    async def start(self, port: int = 0) -> str:
        """Serves on this port, a free one when 0. Returns the address, without a slash at its end."""
        return await self._server.start(port)

    async def stop(self) -> None:
        """Stops serving, waits for what runs and takes the app's directory off `sys.path`. Once only."""
        await self.idle()
        await self._server.stop()
        sys.path.remove(str(self._app_root))

    async def fire(self, name: str, *, past_due: bool = False) -> None:
        """Runs this timer function to its end. Raises what it raises, and LookupError for any other name."""
        await invoke(self._function(name, TIMER), timer_request(past_due=past_due), self.send)

    def send(self, queue: str, body: str) -> None:
        """Put a message into a queue; a function that listens takes it in its own time, few at once."""
        task = asyncio.create_task(self._deliver(queue, body))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def idle(self) -> None:
        """Return when every queue is empty."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def _deliver(self, queue: str, body: str) -> bool:
        async with self._free:
            return await self.enqueue(queue, body)

    async def enqueue(self, target: str, body: str | bytes) -> bool:
        """Gives the message to a queue function, named by itself or its queue; returns whether it was taken.

        A failing function gets the message again at once, up to host.json's `maxDequeueCount` times in all; after
        that the body goes to `poison`. Raises LookupError when nothing listens.
        """
        function = self._function(target, QUEUE)
        message_id = str(uuid.uuid4())
        for attempt in range(1, self._settings.max_dequeue_count + 1):
            if await self._taken(function, body, message_id, attempt):
                return True
        self.poison[function.trigger["queueName"]].append(body.encode() if isinstance(body, str) else body)
        return False

    def _function(self, name: str, kind: str) -> HostedFunction:
        for function in self.functions.values():
            if function.kind == kind and name in {function.name, function.trigger.get("queueName")}:
                return function
        raise LookupError(f"The app has no {kind} '{name}'.")

    async def _taken(
        self, function: HostedFunction, body: str | bytes, message_id: str, attempt: int
    ) -> bool:
        try:
            await invoke(function, queue_message(body, message_id, attempt), self.send)
        except Exception:  # noqa: BLE001 - whatever a function raises brings the message back; `invoke` logged it
            return False
        return True
