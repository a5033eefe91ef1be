"""A stand-in for the Azure Functions host: serves an unmodified function app on a machine without Core Tools."""

import asyncio
import os
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from emulator.host_app import TIMER, HostedFunction, load_functions, read_host_settings
from emulator.host_http import HostServer
from emulator.host_invocation import Pause, Queues, invoke, timer_request


class Host:
    """One function app, served on 127.0.0.1.

    HTTP functions answer at their own addresses, messages go to the functions that listen to their `queues`. Timers never
    run by themselves, and retry policies are not followed.
    """

    def __init__(
        self, app_root: Path, functions: dict[str, HostedFunction], server: HostServer, queues: Queues
    ) -> None:
        self.functions = functions
        self.queues = queues
        self._app_root = app_root
        self._server = server

    @classmethod
    async def load(
        cls,
        app_root: Path,
        *,
        key: str,
        environ: Mapping[str, str] | None = None,
        pause: Pause = asyncio.sleep,
    ) -> Self:
        """The host with the app loaded, `app_root` first on `sys.path` until `stop`. Raises AppError.

        `key` opens every function. `environ` resolves `%SETTING%` in triggers; the process's own when None. `pause` waits
        the seconds between the tries of a message.

        Every load runs function_app.py afresh, but what it imports stays loaded: two apps that have modules of the
        same name need two processes.
        """
        sys.path.insert(0, str(app_root))
        try:
            settings = read_host_settings(app_root)
            functions = load_functions(app_root, os.environ if environ is None else environ)
            queues = Queues(functions.values(), settings, pause)
            server = HostServer(functions, settings.route_prefix, key, queues.send)
        except BaseException:
            sys.path.remove(str(app_root))
            raise
        return cls(app_root, functions, server, queues)

    async def start(self, port: int = 0, tls: ssl.SSLContext | None = None) -> str:
        """Serves on this port, a free one when 0. Returns the address, without a slash at its end."""
        return await self._server.start(port, tls)

    async def stop(self) -> None:
        """Stops serving, ends what runs and takes the app's directory off `sys.path`. Once only."""
        try:
            await self._server.stop()
            await self.queues.stop()
        finally:
            sys.path.remove(str(self._app_root))

    async def fire(self, name: str) -> None:
        """Runs this timer function to its end. Raises what it raises, and LookupError for any other name."""
        function = self.functions.get(name)
        if function is None or function.kind != TIMER:
            raise LookupError(f"The app has no {TIMER} '{name}'.")
        await invoke(function, timer_request(), self.queues.send)
