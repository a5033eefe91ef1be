"""The parts of the app, which `app.py` puts together once per worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from .azure.api_management import ArmGateways
from .azure.clients import CallersBudget
from .azure.reports import Reports
from .estate.destination import DestinationSettings
from .estate.schema import AppSettings
from .stored import Destination
from .tokens import Clock, GatewayRef

if TYPE_CHECKING:
    from jwt import PyJWK


@dataclass(frozen=True, slots=True)
class App:
    """Everything from outside that a run or a route may need."""

    settings: AppSettings
    clock: Clock
    gateways: ArmGateways
    callers_gateways: ArmGateways  # the same, within the callers' share of ARM's budget
    callers_budget: CallersBudget
    destination: Callable[[DestinationSettings, GatewayRef], Destination]
    reports: Reports
    pause: timedelta  # the longest between two scheduled runs
    identity_works: Callable[[], Awaitable[None]]  # raises AzureError when the app's identity yields no token
    # The key of an id in the key set at an address, or None. Raises SigningKeysUnavailable.
    signing_key: Callable[[str, str], Awaitable[PyJWK | None]]
