"""What the tests of Azure's clients share."""

from collections.abc import AsyncIterator

import pytest

from emulator.server import Emulator
from gateway_tokens.azure.clients import AzureAccess
from gateway_tokens.estate.app_settings import read_settings
from tests import served_estate


@pytest.fixture
def sign_in(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The estate in the emulated Azure, and an environment that names its managed identity."""
    served_estate.populate(emulator)
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        monkeypatch.setenv(name, emulator.settings()[name])


@pytest.fixture
async def azure(emulator: Emulator, sign_in: None) -> AsyncIterator[AzureAccess]:  # noqa: ARG001 - must come first
    """The app's access to the estate, as deployed."""
    access = AzureAccess(read_settings(served_estate.environment(emulator)))
    yield access
    await access.close()
