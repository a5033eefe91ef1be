"""Azure and the destinations as the simulation has them: they work, but for what the weather says of the moment."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from gateway_tokens.azure.api_management import ArmGateways
from gateway_tokens.errors import (
    AzureFacts,
    AzureForbidden,
    AzureRejected,
    AzureUnavailable,
    NotRestarted,
    WriteConflict,
)
from gateway_tokens.estate.destination import DestinationSettings
from gateway_tokens.stored import Ownership, StoredToken
from gateway_tokens.tokens import GatewayRef, GatewayToken, KeyType, Secret, ServiceId
from tests.fakes import MemoryDestination
from tests.renewal_estate import MemoryReports, StandingClock, a_token
from tests.simulation.estate import Estate
from tests.simulation.weather import Slip, Weather

_NOWHERE = AzureFacts()
_ITS_OWN = AzureFacts(500)  # an answer to one row's request
# Azure's clock is this much behind ours, and it refuses what is more than 30 days ahead of its own.
_BEHIND, _LONGEST = timedelta(minutes=3), timedelta(days=30)


@dataclass
class Kept:
    """A value that a location held from `at` on.

    `by` is who wrote it, empty for the app; `beside` the app's ownership that somebody else left beside another value;
    `owned_at` since when the ownership beside it is its own.
    """

    at: datetime
    token: str
    by: str = ""
    beside: Ownership | None = None
    owned_at: datetime | None = None


def expiry_in(token: str) -> datetime:
    """When a token ends, by its own text."""
    return datetime.strptime(token.split("&")[1], "%Y%m%d%H%M").replace(tzinfo=UTC)


class SimulatedPlace(MemoryDestination):
    """A destination under the weather. `stored` tells what was there, `ran` what its pods ran since when and by whom."""

    def __init__(self, ref: GatewayRef, location: str, sky: "Sky", *, restartable: bool) -> None:
        super().__init__(location, restartable=restartable)
        self.ref, self.name = ref, f"{ref} -> {location}"
        self._sky = sky
        self.stored: list[Kept] = []
        self.ran: list[tuple[datetime, Kept, str]] = []
        self._slips: dict[datetime, Slip | None] = {}
        self._before: StoredToken | None = None
        self._after_write = False

    async def read(self) -> StoredToken | None:
        stored = await super().read()
        slip, self._after_write = self._slip() if self._after_write else None, False
        if slip is Slip.READ_BACK_FAILS:
            raise self._sky.failing(AzureUnavailable("reading back", _ITS_OWN), slip)
        if slip is Slip.READ_BACK_STALE:
            self._forgive(slip)
            return self._before
        self._before = stored
        return stored

    async def write(self, token: GatewayToken, ownership: Ownership, stored: StoredToken | None) -> None:
        slip = self._slip()
        if slip is Slip.NOT_WRITTEN:
            raise self._sky.failing(AzureUnavailable("writing", _ITS_OWN), slip)
        if slip in {Slip.CONFLICT, Slip.LOST}:
            self._forgive(slip)
            if slip is Slip.CONFLICT:
                raise WriteConflict(self.location, "simulated")
            return
        await super().write(token, ownership, stored)
        self.stored.append(Kept(self._sky.now, token.value.reveal(), owned_at=self._sky.now))
        if slip is Slip.WRITTEN_THEN_ERROR:
            raise self._sky.failing(AzureUnavailable("writing", _ITS_OWN), slip)
        self._after_write = True

    async def restart(self, stored: StoredToken) -> None:
        before = self.restarts_begun
        await super().restart(stored)
        if self.restarts_begun > before:
            self.ran.append((self._sky.now, self.stored[-1], ""))

    async def write_ownership(self, ownership: Ownership, stored: StoredToken) -> None:
        await super().write_ownership(ownership, stored)
        self.stored[-1].owned_at = self._sky.now

    def write_by(self, writer: str, token: str, *, leave_tags: bool) -> None:
        """Somebody else stores a token, and leaves what is beside it or not."""
        tags = self.tags if leave_tags else None
        self.put(f"GatewayKey {token}", tags, writer)
        self.stored.append(Kept(self._sky.now, token, writer, Ownership.from_tags(tags)))

    def apply_manifest(self) -> None:
        """The workload's manifest is applied again: an annotation that it does not have goes, and new pods come for it."""
        if self.asked and self.value:
            self.asked, self.running = "", Secret(self.value).fingerprint
            self.ran.append((self._sky.now, self.stored[-1], "flux"))

    async def _call(self, method: str) -> None:
        weather, now = self._sky.weather, self._sky.now
        if method == "restart":
            if self.restartable and not weather.restarts(now):
                raise self._sky.failing(NotRestarted(self.location, "simulated"), "restart fails")
        elif not weather.opens(self.location, now):
            error = AzureForbidden(method, AzureFacts(403), "secrets", self.location)
            raise self._sky.failing(error, "location forbidden")

    def _forgive(self, slip: Slip | None) -> None:
        """These happen once in a run: its second look must do."""
        self._slips[self._sky.now] = None
        self._sky.faults[str(slip)] += 1

    def _slip(self) -> Slip | None:
        now = self._sky.now
        return self._slips.setdefault(now, self._sky.weather.slip(self.location, now))


class WeatheredReports(MemoryReports):
    """Blobs under the weather."""

    def __init__(self, sky: "Sky") -> None:
        super().__init__(StandingClock())
        self._sky = sky

    async def _fail(self, method: str) -> None:
        self._clock.now = self._sky.now
        fate = self._sky.weather.record(self._sky.now)
        if fate == "lost":
            self.texts.clear()
        if fate == "unreadable" or (fate == "not saved" and method == "write"):
            raise self._sky.failing(AzureUnavailable("reports", _NOWHERE), f"reports {fate}")


class Sky(ArmGateways):
    """The simulated clock, Azure Resource Manager, the destinations and the reports; `app` is the app under them."""

    def __init__(self, estate: Estate, weather: Weather, now: datetime) -> None:
        self.estate, self.weather, self.now = estate, weather, now
        self.faults: Counter[str] = Counter()
        self.issued: Counter[tuple[str, datetime]] = Counter()
        self.locations: dict[tuple[GatewayRef, str], SimulatedPlace] = {}
        # When each key of each gateway was regenerated.
        self._regenerated = defaultdict[tuple[str, str], list[datetime]](list)
        self.questions = 0  # about tokens that are stored
        self.again: set[datetime] = set()  # when a message came twice
        self.forced: set[tuple[str, datetime]] = set()  # when somebody asked for a gateway's new token
        self.app = replace(
            estate.app,
            clock=lambda: self.now,
            gateways=self,
            destination=self._destination,
            reports=WeatheredReports(self),
        )

    def failing(self, error: Exception, fault: str) -> Exception:
        """Count the fault; return the error."""
        self.faults[str(fault)] += 1
        return error

    async def generate_token(
        self, service: ServiceId, gateway: str, key_type: KeyType, expiry: datetime
    ) -> GatewayToken:
        del service
        await asyncio.sleep(0)
        if self.weather.throttles(gateway, self.now):
            raise self.failing(AzureUnavailable("issuing", _ITS_OWN), "throttled")
        if not self.weather.issues(gateway, self.now):
            raise self.failing(AzureUnavailable("issuing", _NOWHERE), "ARM down")
        if expiry > self.now - _BEHIND + _LONGEST:
            raise AzureRejected("issuing", AzureFacts(400, "ValidationError"))
        locations = [p for p in self.locations.values() if p.ref.gateway == gateway and p.stored]
        owned = [ownership for location in locations if (ownership := Ownership.from_tags(location.tags))]
        if expiry in {*(expiry_in(p.stored[-1].token) for p in locations), *(each.expiry for each in owned)}:
            self.questions += 1
        else:
            self.issued[gateway, self.now] += 1
        return self.token(gateway, key_type, expiry)

    def token(self, gateway: str, key_type: str, expiry: datetime) -> GatewayToken:
        """What a gateway's key signs now."""
        return a_token(expiry, gateway, f"{key_type}{len(self._regenerated[gateway, key_type])}")

    def regenerate(self, gateway: str, *key_types: str) -> None:
        """Give a gateway other keys."""
        for key_type in key_types:
            self._regenerated[gateway, key_type].append(self.now)

    def dead_from(self, gateway: str, token: str) -> datetime | None:
        """Since when no key of the gateway signs the token; None while one does."""
        for key_type in KeyType:
            for age, since in enumerate(self._regenerated[gateway, key_type]):
                if a_token(expiry_in(token), gateway, f"{key_type}{age}").value.reveal() == token:
                    return since
        return None

    async def names(self, service: ServiceId) -> AsyncIterator[str]:
        alias = service.name.removesuffix("-apim")
        if not self.weather.lists(alias, self.now):
            raise self.failing(AzureUnavailable("listing", _NOWHERE), "not listed")
        for name in self.estate.gateways[alias]:
            yield name

    def _destination(self, spec: DestinationSettings, ref: GatewayRef) -> SimulatedPlace:
        location = spec.location(ref)
        if (ref, location) not in self.locations:
            restartable = spec.kind == "kubernetes"
            self.locations[ref, location] = SimulatedPlace(ref, location, self, restartable=restartable)
        return self.locations[ref, location]
