"""An estate in memory for the tests of renewal: gateways, locations, a sweep record and a clock that stands still."""

import asyncio
import hashlib
import hmac
import json
import logging
from base64 import b64encode
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway_tokens.access import Caller, Scope
from gateway_tokens.azure.budget import CallersBudget
from gateway_tokens.errors import AzureFacts, AzureUnavailable, GatewayTokensError
from gateway_tokens.estate.app_settings import read_settings
from gateway_tokens.estate.schema import DestinationSettings, Permission
from gateway_tokens.renewal.gateway import Terms, Unit
from gateway_tokens.renewal.parts import App
from gateway_tokens.renewal.record import SweepRecord, Trouble
from gateway_tokens.renewal.service import unit_of
from gateway_tokens.stored import Ownership
from gateway_tokens.tokens import GatewayRef, GatewayToken, KeyType, ServiceId
from tests.fakes import MemoryDestination

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)
CONTOSO = ServiceId("11111111-1111-1111-1111-111111111111", "rg-apis", "contoso-apim")
FABRIKAM = ServiceId("22222222-2222-2222-2222-222222222222", "rg-apis", "fabrikam-apim")
EDGE = GatewayRef("contoso", "edge-01")
OUTAGE = AzureUnavailable("Writing", AzureFacts(503, "ServiceUnavailable"))
# Stands for a location in memory, whose name follows.
VAULT = "https://memory.example"
PLACES = f"{VAULT}/secrets/"
# What a token issued now for 30 days ends at: five minutes before Azure's limit.
IN_30_DAYS = NOW + 30 * DAY - 5 * MINUTE


def a_token(expiry: datetime, gateway: str = "edge-01", seed: str = "primary") -> GatewayToken:
    """The one token of a gateway, a minute and a seed, as Azure's signatures are."""
    head = f"{gateway}&{expiry:%Y%m%d%H%M}"
    signature = b64encode(hmac.digest(b"key", f"{head}{seed}".encode(), hashlib.sha512)).decode()
    return GatewayToken.parse(f"{head}&{signature}")


def kept(*names: str, **rule: object) -> dict[str, Any]:
    """A rule that delivers to the locations of these names."""
    names = names or ("{service}-{gateway}",)
    return {
        "destinations": [{"kind": "keyVault", "vault": VAULT, "secret": name} for name in names],
        **rule,
    }


class StandingClock:
    """A clock that moves only when told to."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


class FakeGateways:
    """API Management without a wire.

    `estate` are the gateways by service; `issued` what was asked for. `unlisted` are services that cannot be listed,
    `refused` gateways that get no token, each with its error. `answer` replaces the token of every answer. `most` is
    the highest number of requests at the same time, each of which takes a few turns of the loop.
    """

    def __init__(self, estate: Mapping[ServiceId, Sequence[str]]) -> None:
        self.estate = dict(estate)
        self.issued: list[tuple[str, KeyType, datetime]] = []
        self.unlisted: dict[ServiceId, Exception] = {}
        self.refused: dict[str, Exception] = {}
        self.answer: GatewayToken | None = None
        self.most = self._now = 0

    async def generate_token(
        self, service: ServiceId, gateway: str, key_type: KeyType, expiry: datetime
    ) -> GatewayToken:
        assert gateway.casefold() in {name.casefold() for name in self.estate[service]}
        self.issued.append((gateway, key_type, expiry))
        self._now += 1
        self.most = max(self.most, self._now)
        for _ in range(50):
            await asyncio.sleep(0)
        self._now -= 1
        if gateway in self.refused:
            raise self.refused[gateway]
        return self.answer or a_token(expiry, gateway, key_type)

    async def names(self, service: ServiceId) -> AsyncIterator[str]:
        for name in self.estate[service]:
            await asyncio.sleep(0)
            yield name
        if service in self.unlisted:
            raise self.unlisted[service]


class MemorySweeps:
    """A sweep record that forgets; `failing` names methods (`load`, `update`) and the error that each raises."""

    def __init__(self) -> None:
        self.record = SweepRecord()
        self.failing: dict[str, GatewayTokensError] = {}

    async def load(self) -> SweepRecord:
        if "load" in self.failing:
            raise self.failing["load"]
        return self.record

    async def update(self, change: Callable[[SweepRecord], SweepRecord]) -> None:
        if "update" in self.failing:
            raise self.failing["update"]
        self.record = change(self.record)


class Estate:
    """Everything in one location; `app` is what the use cases get. Places come to be when they are first opened."""

    def __init__(
        self, services: Mapping[str, Any], gateways: Mapping[ServiceId, Sequence[str]], **more: object
    ) -> None:
        document = {"services": services, **more}
        environ = {
            "GATEWAY_TOKENS": json.dumps(document),
            "RENEWAL_SCHEDULE": "0 0 * * * *",
            "ALLOW_FUNCTION_KEYS": "true",
            "STATE_CONTAINER_URL": "https://state.example/app",
        }
        self.clock = StandingClock()
        self.gateways = FakeGateways(gateways)
        self.sweeps = MemorySweeps()
        self.locations: defaultdict[str, MemoryDestination] = defaultdict(MemoryDestination)
        self.app = App(
            settings=read_settings(environ),
            clock=self.clock,
            gateways=self.gateways,
            callers_gateways=self.gateways,
            callers_budget=CallersBudget(),
            destination=self._open,
            sweeps=self.sweeps,
            interval=HOUR,
            identity_works=self._signed_in,
            signing_key=self._no_key,
        )

    def location(self, name: str, *, restartable: bool = False) -> MemoryDestination:
        """The location of that name."""
        self.locations[name].location = PLACES + name
        self.locations[name].restartable = restartable
        return self.locations[name]

    def deliver(
        self, name: str, token: GatewayToken, owner: str = "contoso-apim/edge-01"
    ) -> MemoryDestination:
        """Put a token into a location as this app would have, for the gateway of a service that owns it."""
        ownership = Ownership(owner, KeyType.PRIMARY, NOW)
        self.location(name).put(token.header_value().reveal(), ownership.tags(token))
        return self.locations[name]

    def unit(self, gateway: str = "edge-01") -> Unit:
        """A gateway of contoso as a unit of work."""
        unit = unit_of("contoso", self.app.settings.estate.services["contoso"], gateway)
        assert unit is not None
        return unit

    def terms(self, **more: Any) -> Terms:  # noqa: ANN401 - whatever Terms takes
        """What a run here works under."""
        made = {"troubles": {}, "interval": HOUR, **more}
        return Terms(self.clock, self.gateways, self._open, **made)

    def _open(self, spec: DestinationSettings, ref: GatewayRef) -> MemoryDestination:
        name = spec.location(ref).removeprefix(PLACES)
        self.locations[name].location = PLACES + name
        return self.locations[name]

    async def _signed_in(self) -> None:
        return None

    async def _no_key(self, _address: str, _key_id: str) -> None:
        return None


class Only(Scope):
    """A scope over the gateways that a question picks; every service may have some."""

    def __init__(self, picks: Callable[[GatewayRef], bool]) -> None:
        super().__init__((), Caller(), Permission.RENEW)
        object.__setattr__(self, "picks", picks)

    picks: Callable[[GatewayRef], bool]

    def covers(self, ref: GatewayRef) -> bool:
        return self.picks(ref)

    def covers_some(self, service: str = "*") -> bool:
        return bool(service)


def contoso(*names: str, **rule: object) -> Estate:
    """An estate of one service with one gateway, delivered to these locations or else to `contoso-edge-01`."""
    service = {"resourceId": str(CONTOSO), "gateways": {"edge-01": kept(*names, **rule)}}
    return Estate({"contoso": service}, {CONTOSO: ("edge-01",)})


def a_trouble(failures: int = 1, at: datetime = NOW, **more: Any) -> Trouble:  # noqa: ANN401 - Trouble's own
    """What is remembered of a row that failed."""
    return Trouble(
        **{
            "failures": failures,
            "last_failure": at,
            "outcome": "failed",
            "code": "azure_error",
            "at_risk": False,
            **more,
        }
    )


def lines(caplog: pytest.LogCaptureFixture, event: str = "") -> list[dict[str, Any]]:
    """The structured log lines, of one event or of all, with their level."""
    found = [
        {**json.loads(record.getMessage()), "level": logging.getLevelName(record.levelno)}
        for record in caplog.records
        if record.name == "gateway_tokens"
    ]
    return [line for line in found if not event or line["event"] == event]
