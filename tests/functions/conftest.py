"""The app's functions against the emulator."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from tests import estate
from tests.estate import Opens


@pytest.fixture
async def app(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Opens]:
    """The app with the tests' estate. Called with other rules or settings, it is configured so from then on."""
    estate.populate(emulator)

    def configure(access: Sequence[Mapping[str, Any]] = estate.KEY_HOLDER, **more: str) -> None:
        estate.set_environment(monkeypatch, estate.environment(emulator, access, **more))

    configure()
    await gateway_app.forget()
    yield configure
    await gateway_app.forget()
