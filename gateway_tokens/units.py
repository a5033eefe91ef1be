"""What a run works on, one gateway at a time, and the terms it works under."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .ledger import owner_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime, timedelta

    from .destination_settings import Destination as DestinationSettings
    from .model import GatewayRef, ServiceId
    from .ports import Clock, Destination, Gateways
    from .settings import GatewayRule
    from .sweep_record import Trouble

# Callers that are nobody's: see `Terms.caller`.
SCHEDULE, EVENT = "schedule", "event"


@dataclass(frozen=True, slots=True)
class Unit:
    """One gateway to be kept, and the rule that says how and where."""

    ref: GatewayRef
    service: ServiceId
    rule: GatewayRule

    @property
    def owner(self) -> str:
        """What labels say of this gateway."""
        return owner_of(self.service, self.ref.gateway)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a run works under."""

    clock: Clock
    gateways: Gateways
    destination: Callable[[DestinationSettings, GatewayRef], Destination]
    interval: timedelta  # between sweeps
    troubles: Mapping[str, Trouble]
    renew_by: datetime | None = None  # renew whatever expires by then, due or not
    caller: str = SCHEDULE  # who gets it done, for the log
    picked_up: bool = True  # False: Azure says that the gateway still runs an older token
