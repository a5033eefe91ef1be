"""The parts of the app, which `app.py` puts together once per worker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from .azure.clients import CallersBudget
from .azure.reports import Reports
from .destinations.base import Destination
from .estate.app_settings import AppSettings
from .estate.schema import DestinationSettings
from .tokens import Clock, GatewayRef, GatewayToken, KeyType, ServiceId

if TYPE_CHECKING:
    from jwt import PyJWK


class Gateways(Protocol):
    """API Management's self-hosted gateways."""

    async def generate_token(
        self, service: ServiceId, gateway: str, key_type: KeyType, expiry: datetime
    ) -> GatewayToken:
        """A token from Azure, parsed but not yet compared with what was asked for.

        Raises AzureError, and TokenUnusable when the answer holds no token.
        """

    async def regenerate_key(self, service: ServiceId, gateway: str, key_type: KeyType) -> None:
        """Give the gateway another key in that one's place; asked once, never repeated. Raises AzureError."""

    def names(self, service: ServiceId) -> AsyncIterator[str]:
        """Every self-hosted gateway's name, page by page. Raises AzureError."""


@dataclass(frozen=True, slots=True)
class App:
    """Everything from outside that a run or a route may need."""

    settings: AppSettings
    clock: Clock
    gateways: Gateways
    callers_gateways: Gateways  # the same, within the callers' share of ARM's budget
    callers_budget: CallersBudget
    destination: Callable[[DestinationSettings, GatewayRef], Destination]
    reports: Reports
    pause: timedelta  # the longest between two scheduled runs
    identity_works: Callable[[], Awaitable[None]]  # raises AzureError when the app's identity yields no token
    # The key of an id in the key set at an address, or None. Raises SigningKeysUnavailable.
    signing_key: Callable[[str, str], Awaitable[PyJWK | None]]
