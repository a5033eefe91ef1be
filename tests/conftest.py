"""What all tests share."""

from collections.abc import AsyncIterator

import pytest
from azure.core.pipeline.transport import AioHttpTransport
from hypothesis import HealthCheck, settings

from emulator.server import Emulator, without_proxy_for_loopback
from gateway_tokens.azure import errors as azure_calls
from gateway_tokens.azure import identity
from gateway_tokens.logs import correlation

without_proxy_for_loopback()
# How long an example takes depends on what else the machine does, and proves nothing.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses of the SDK's clients before they repeat a request, in seconds; none of them passes real time."""
    durations: list[float] = []

    async def sleep(_: AioHttpTransport, seconds: float) -> None:
        durations.append(seconds)

    monkeypatch.setattr(AioHttpTransport, "sleep", sleep, raising=False)
    return durations


@pytest.fixture(autouse=True)
def _no_call_is_under_way() -> None:
    correlation.set("")


@pytest.fixture(autouse=True)
def _info_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


@pytest.fixture
def short_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits on one operation that a test can wait for."""
    monkeypatch.setattr(azure_calls, "OPERATION_SECONDS", 0.2)
    monkeypatch.setattr(identity, "IDENTITY_SECONDS", 0.1)


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """Azure on the wire, empty but for two vaults and a storage container."""
    async with Emulator(vaults=("contoso", "fabrikam")) as running:
        yield running
