"""An estate in memory for the tests of renewal: gateways, locations, reports and a clock that stands still."""

import asyncio
import hashlib
import hmac
import json
import logging
from base64 import b64encode
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway_tokens.azure.api_management import ArmGateways
from gateway_tokens.azure.clients import CallersBudget
from gateway_tokens.azure.reports import Entry, Reports
from gateway_tokens.errors import AzureFacts, AzureNotFound, AzureUnavailable
from gateway_tokens.estate.app_settings import read_settings
from gateway_tokens.estate.schema import DestinationSettings, ManagedGateway
from gateway_tokens.parts import App
from gateway_tokens.renewal.report import Row, ServiceReport, read_report
from gateway_tokens.renewal.rows import Demand
from gateway_tokens.renewal.run import Runs, reconcile_gateway, run_requests
from gateway_tokens.renewal.service import managed
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
# What a token renewed now for 30 days ends at: on the hour, five minutes or more before Azure's limit.
IN_30_DAYS = NOW + 30 * DAY - HOUR


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


class FakeGateways(ArmGateways):
    """API Management without a wire.

    `estate` are the gateways by service; `issued` what was asked for, `new_keys` the keys that were regenerated. `unlisted` are services that cannot be listed,
    `refused` gateways that get no token, `refused_keys` those whose keys are not regenerated, each with its error. `answer` replaces the token of every answer. `most` is
    the highest number of requests at the same time, each of which takes a few turns of the loop.
    """

    def __init__(self, estate: Mapping[ServiceId, Sequence[str]]) -> None:
        self.estate = dict(estate)
        self.issued: list[tuple[str, KeyType, datetime]] = []
        self.unlisted: dict[ServiceId, Exception] = {}
        self.refused: dict[str, Exception] = {}
        self.refused_keys: dict[str, Exception] = {}
        self.answer: GatewayToken | None = None
        self.new_keys: list[tuple[str, KeyType]] = []
        self.most = self._now = 0

    async def generate_token(
        self, service: ServiceId, gateway: str, key_type: KeyType, expiry: datetime
    ) -> GatewayToken:
        if gateway.casefold() not in {name.casefold() for name in self.estate[service]}:
            raise AzureNotFound("Issuing", AzureFacts(404, "ResourceNotFound"))
        self.issued.append((gateway, key_type, expiry))
        self._now += 1
        self.most = max(self.most, self._now)
        for _ in range(50):
            await asyncio.sleep(0)
        self._now -= 1
        if gateway in self.refused:
            raise self.refused[gateway]
        age = self.new_keys.count((gateway, key_type))
        return self.answer or a_token(expiry, gateway, key_type + "'" * age)

    async def regenerate_key(self, service: ServiceId, gateway: str, key_type: KeyType) -> None:
        if gateway.casefold() not in {name.casefold() for name in self.estate[service]}:
            raise AzureNotFound("Regenerating", AzureFacts(404, "ResourceNotFound"))
        if error := self.refused.get(gateway) or self.refused_keys.get(gateway):
            raise error
        self.new_keys.append((gateway, key_type))

    async def names(self, service: ServiceId) -> AsyncIterator[str]:
        for name in self.estate[service]:
            await asyncio.sleep(0)
            yield name
        if service in self.unlisted:
            raise self.unlisted[service]


class MemoryReports(Reports):
    """Blobs in memory. `failing` names methods and the error that each raises; `texts` is what they hold."""

    def __init__(self, clock: StandingClock) -> None:
        self._clock = clock
        self.texts: dict[str, str] = {}
        self.failing: dict[str, Exception] = {}
        self._entries: dict[str, Entry] = {}
        self._writes = 0

    async def read(self, name: str) -> tuple[str | None, str]:
        self._fail("read")
        await asyncio.sleep(0)
        return (self.texts[name], str(self._etag(name))) if name in self.texts else (None, "")

    async def write(self, name: str, text: str, etag: str, metadata: Mapping[str, str]) -> bool:
        self._fail("write")
        await asyncio.sleep(0)
        if etag != (str(self._etag(name)) if name in self.texts else ""):
            return False
        before = self._entries.get(name)
        created = before.created if before else self._clock()
        self.texts[name] = text
        self._writes += 1
        self._entries[name] = Entry(name, created, {**metadata, "n": str(self._writes)})
        return True

    async def entries(self) -> list[Entry]:
        self._fail("entries")
        return list(self._entries.values())

    def _etag(self, name: str) -> str:
        return self._entries[name].metadata["n"] if name in self._entries else "put"

    def _fail(self, method: str) -> None:
        if method in self.failing:
            raise self.failing[method]


class Estate:
    """Everything in one location; `app` is what the use cases get. Locations come to be when they are first opened."""

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
        self.reports = MemoryReports(self.clock)
        self.runs = Runs()
        self.locations: defaultdict[str, MemoryDestination] = defaultdict(MemoryDestination)
        self.app = App(
            settings=read_settings(environ),
            clock=self.clock,
            gateways=self.gateways,
            callers_gateways=self.gateways,
            callers_budget=CallersBudget(),
            destination=self._open,
            reports=self.reports,
            pause=HOUR,
            identity_works=self._signed_in,
            signing_key=self._no_key,
        )

    def location(self, name: str, *, restartable: bool = False) -> MemoryDestination:
        """The location of that name."""
        self.locations[name].location = PLACES + name
        self.locations[name].restartable = restartable
        return self.locations[name]

    def deliver(
        self,
        name: str,
        token: GatewayToken,
        owner: str = "contoso-apim/edge-01",
        key_type: KeyType = KeyType.PRIMARY,
    ) -> MemoryDestination:
        """Put a token into a location as this app would have, for the gateway of a service that owns it."""
        value = token.header_value()
        ownership = Ownership(owner, key_type, NOW, token.expiry).of(value)
        self.location(name, restartable=self.locations[name].restartable).put(
            value.reveal(), ownership.tags()
        )
        return self.locations[name]

    def gateway(self, gateway: str = "edge-01", service: str = "contoso") -> ManagedGateway:
        """A gateway with its rule."""
        found = managed(service, self.app.settings.estate.services[service], gateway)
        assert found is not None
        return found

    async def run(self, **more: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - whatever a request takes
        """A run of the whole estate that a caller asks for; what the reports say of each row."""
        for request in run_requests(self.app.settings.estate, self.clock(), **{"asked_by": "caller", **more}):
            await self.runs.reconcile(self.app, request)
        return self.rows()

    async def renew(self, demand: Demand | None = None, gateway: str = "edge-01") -> list[Row]:
        """One gateway, reconciled."""
        return await reconcile_gateway(
            self.app, self.gateway(gateway), demand or Demand(self.clock()), "caller", 60
        )

    def report(self, service: str = "contoso") -> ServiceReport:
        """A service's report."""
        return read_report(self.reports.texts.get(f"reports/{service}.json"), self.clock())

    def rows(self) -> list[dict[str, Any]]:
        """Every row of every report: gateway, location's name, outcome and code."""
        return [
            {
                "gateway": row.id.ref.gateway,
                "at": row.id.location.removeprefix(PLACES),
                "outcome": str(row.outcome),
                "code": row.failure.code if row.failure else "",
            }
            for service in self.app.settings.estate.services
            for row in self.report(service).rows.values()
        ]

    def _open(self, spec: DestinationSettings, ref: GatewayRef) -> MemoryDestination:
        name = spec.location(ref).removeprefix(PLACES)
        self.locations[name].location = PLACES + name
        return self.locations[name]

    async def _signed_in(self) -> None:
        return None

    async def _no_key(self, _address: str, _key_id: str) -> None:
        return None


def contoso(*names: str, **rule: object) -> Estate:
    """An estate of one service with one gateway, delivered to these locations or else to `contoso-edge-01`."""
    freeze = rule.pop("freeze", ())  # of the estate, not of the rule
    service = {"resourceId": str(CONTOSO), "gateways": {"edge-01": kept(*names, **rule)}}
    return Estate({"contoso": service}, {CONTOSO: ("edge-01",)}, freeze=freeze)


def lines(caplog: pytest.LogCaptureFixture, event: str = "") -> list[dict[str, Any]]:
    """The structured log lines, of one event or of all, with their level."""
    found = [
        {**json.loads(record.getMessage()), "level": logging.getLevelName(record.levelno)}
        for record in caplog.records
        if record.name == "gateway_tokens"
    ]
    return [line for line in found if not event or line["event"] == event]
