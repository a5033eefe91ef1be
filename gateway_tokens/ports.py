"""What the use cases need from the world, as protocols. Implementations live in the shell and in tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from datetime import datetime, timedelta

    from jwt import PyJWK

    from .app_settings import AppSettings
    from .arm_budget import CallersBudget
    from .destination_settings import Destination as DestinationSettings
    from .ledger import Held, Label
    from .model import GatewayRef, GatewayToken, KeyType, ServiceId
    from .sweep_record import SweepRecord


class Clock(Protocol):
    """Time: aware UTC."""

    def __call__(self) -> datetime:
        """The moment."""


class Gateways(Protocol):
    """API Management's self-hosted gateways."""

    async def generate_token(
        self, service: ServiceId, gateway: str, key_type: KeyType, expiry: datetime
    ) -> GatewayToken:
        """A token from Azure, parsed but not yet compared with what was asked for.

        Raises AzureError, and TokenUnusable when the answer holds no token.
        """

    def names(self, service: ServiceId) -> AsyncIterator[str]:
        """Every self-hosted gateway's name, page by page. Raises AzureError."""


class Destination(Protocol):
    """One place where a gateway reads its token.

    Every method raises AzureError when the place cannot be reached or refuses, and DestinationError when what is
    there forbids the operation. None of them repeats what the client's own retry policy gave up.
    """

    @property
    def place(self) -> str:
        """Where it is, for people: logs, reports, errors."""

    @property
    def restarts(self) -> bool:
        """Whether `restart` can do something here."""

    async def read(self) -> Held | None:
        """What is there, or None when nothing is."""

    async def write(self, token: GatewayToken, label: Label, held: Held | None) -> None:
        """Replace what `held` says was read (None: nothing was there) by the token and its label.

        The old value stays in place when this fails. Raises WriteConflict when somebody wrote in between, where the
        place can tell.
        """

    async def restart(self, token: GatewayToken) -> None:
        """Make the gateway pick the token up, waiting to a bound; nothing to do where the place cannot.

        Raises RestartFailed.
        """


class SweepStore(Protocol):
    """Where the sweep record lives, for every instance of the app."""

    async def load(self) -> SweepRecord:
        """The record; an empty one when there is none or it cannot be understood. Raises AzureError."""

    async def update(self, change: Callable[[SweepRecord], SweepRecord]) -> None:
        """Replace the record by what `change` makes of it; repeated when somebody wrote in between."""


@dataclass(frozen=True, slots=True)
class World:
    """Everything that a use case or a route may need from outside, put together by wiring."""

    settings: AppSettings
    clock: Clock
    gateways: Gateways
    callers_gateways: Gateways  # the same, within the callers' share of ARM's budget
    callers_budget: CallersBudget
    destination: Callable[[DestinationSettings, GatewayRef], Destination]
    sweeps: SweepStore
    interval: timedelta  # the longest pause between two scheduled sweeps
    identity_works: Callable[[], Awaitable[None]]  # raises AzureError when the app's identity yields no token
    # The key of an id in the key set at an address, or None. Raises SigningKeysUnavailable.
    signing_key: Callable[[str, str], Awaitable[PyJWK | None]]
