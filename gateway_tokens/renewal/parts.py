"""The parts of the app, which `app.py` puts together once per worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from gateway_tokens.azure.budget import CallersBudget
from gateway_tokens.destinations.base import Destination
from gateway_tokens.estate.app_settings import AppSettings
from gateway_tokens.estate.schema import DestinationSettings
from gateway_tokens.issuing import Gateways
from gateway_tokens.renewal.record import Sweeps
from gateway_tokens.tokens import Clock, GatewayRef

if TYPE_CHECKING:
    from jwt import PyJWK


@dataclass(frozen=True, slots=True)
class App:
    """Everything that a use case or a route may need from outside, put together by wiring."""

    settings: AppSettings
    clock: Clock
    gateways: Gateways
    callers_gateways: Gateways  # the same, within the callers' share of ARM's budget
    callers_budget: CallersBudget
    destination: Callable[[DestinationSettings, GatewayRef], Destination]
    sweeps: Sweeps
    interval: timedelta  # the longest pause between two scheduled sweeps
    identity_works: Callable[[], Awaitable[None]]  # raises AzureError when the app's identity yields no token
    # The key of an id in the key set at an address, or None. Raises SigningKeysUnavailable.
    signing_key: Callable[[str, str], Awaitable[PyJWK | None]]
