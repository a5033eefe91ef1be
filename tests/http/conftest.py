"""The app's functions against the emulator."""

from collections.abc import AsyncIterator

import pytest

from emulator.server import Emulator
from tests.http.renewal_app import RenewalApp, renewal_app


@pytest.fixture
async def estate(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RenewalApp]:
    """The app with tokens to keep."""
    async with renewal_app(emulator, monkeypatch) as app:
        yield app
