"""What the tests of Azure's clients share."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from emulator.server import Emulator
from gateway_tokens.azure.clients import AzureAccess
from gateway_tokens.estate.app_settings import read_settings
from tests import served_estate


@pytest.fixture
async def opens(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., AzureAccess]]:
    """Opens the app's way into the estate, as deployed but for these settings; closes it at the end."""
    served_estate.populate(emulator)
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        monkeypatch.setenv(name, emulator.settings()[name])
    async with AsyncExitStack() as opened:

        def access(monotonic: Callable[[], float] = time.monotonic, **more: str) -> AzureAccess:
            settings = read_settings(served_estate.environment(emulator) | more)
            azure = AzureAccess(settings, monotonic=monotonic)
            opened.push_async_callback(azure.close)
            return azure

        yield access


@pytest.fixture
def azure(opens: Callable[..., AzureAccess]) -> AzureAccess:
    return opens()
