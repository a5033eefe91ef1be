"""The app over loopback in the stand-in host, with the sample estate of `make run`, for clients that block."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from emulator import sample
from emulator.host import Host
from emulator.server import Emulator
from gateway_tokens import app as gateway_app

ROOT = Path(__file__).resolve().parents[1]
KEY = sample.FUNCTION_KEY
# The description of the API, and path, method and description of each operation in it.
FILE = ROOT / "docs" / "openapi.yaml"
DOCUMENT: dict[str, Any] = yaml.safe_load(FILE.read_text("utf-8"))
OPERATIONS: list[tuple[str, str, dict[str, Any]]] = [
    (path, method, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method != "parameters"
]


class Served(NamedTuple):
    """The app's address under the prefix, and the Azure that it sees; one vault in it refuses the app."""

    url: str
    emulator: Emulator


@contextmanager
def served_app() -> Iterator[Served]:
    """The app in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def there(work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - whatever it returns
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    with pytest.MonkeyPatch.context() as patch:
        serving = _serving(patch)
        try:
            yield there(serving.__aenter__())
            there(serving.__aexit__(None, None, None))
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(30)
            loop.close()


@asynccontextmanager
async def _serving(patch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    async with Emulator(vaults=sample.VAULTS, endpoints=[sample.CLUSTER]) as emulator:
        sample.populate(emulator)
        for name, value in sample.app_settings(emulator, function_keys=True).items():
            patch.setenv(name, value)
        await gateway_app.forget()
        host = await Host.load(ROOT, key=KEY)
        try:
            yield Served(f"{await host.start()}/api", emulator)
        finally:
            await host.stop()
            await gateway_app.forget()
