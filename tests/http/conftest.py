"""The app's functions against the emulator."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from tests import served_estate
from tests.served_estate import Opens


@pytest.fixture
async def app(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Opens]:
    """The app with the tests' estate. Called with other rules or settings, it is configured so from then on."""
    served_estate.populate(emulator)

    def configure(access: Sequence[Mapping[str, Any]] = served_estate.KEY_HOLDER, **more: str) -> None:
        served_estate.set_environment(monkeypatch, served_estate.environment(emulator, access, **more))

    configure()
    await gateway_app.forget()
    yield configure
    await gateway_app.forget()
