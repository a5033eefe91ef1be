"""What all tests share."""

from collections.abc import AsyncIterator

import pytest
from azure.identity.aio import ManagedIdentityCredential

from emulator.server import Emulator


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """Azure on the wire, empty but for two vaults and a storage container."""
    async with Emulator(vaults=("contoso", "fabrikam")) as running:
        yield running


@pytest.fixture
async def credential(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ManagedIdentityCredential]:
    """The real credential of a managed identity, which finds the emulator as it would find App Service."""
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        monkeypatch.setenv(name, emulator.settings()[name])
    async with ManagedIdentityCredential() as managed:
        yield managed
