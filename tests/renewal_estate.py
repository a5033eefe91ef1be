"""An estate in memory for the tests of renewal: gateways, locations, reports and a clock that stands still."""

import asyncio
import hashlib
import hmac
import json
import logging
from base64 import b64encode
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import gateway_tokens.destinations  # noqa: F401 - defines the kinds
from gateway_tokens.azure.api_management import ArmGateways
from gateway_tokens.azure.clients import CallersBudget
from gateway_tokens.azure.reports import Entry, Reports
from gateway_tokens.errors import AzureFacts, AzureNotFound, AzureUnavailable
from gateway_tokens.estate.app_settings import read_settings
from gateway_tokens.parts import App
from gateway_tokens.renewal.reader import RunOptions
from gateway_tokens.renewal.report import ServiceReport, problems_of, read_report
from gateway_tokens.renewal.rows import Demand, ManagedGateway, Row
from gateway_tokens.renewal.run import Runs, reconcile_gateway, run_requests
from gateway_tokens.renewal.service import ServiceRun, managed
from gateway_tokens.stored import Ownership
from gateway_tokens.tokens import GatewayRef, GatewayToken, KeyType, ServiceId
from tests.fakes import MemoryDestination

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)
CONTOSO = ServiceId("11111111-1111-1111-1111-111111111111", "rg-apis", "contoso-apim")
FABRIKAM = ServiceId("22222222-2222-2222-2222-222222222222", "rg-apis", "fabrikam-apim")
EDGE = GatewayRef("contoso", "edge-01")
HOME = "contoso-edge-01"
OUTAGE = AzureUnavailable("Writing", AzureFacts(503, "ServiceUnavailable"))
Log = pytest.LogCaptureFixture
Patch = pytest.MonkeyPatch
# Stands for a location in memory, whose name follows.
VAULT = "https://memory.example"
LOCATIONS = f"{VAULT}/secrets/"
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
    `refused` gateways that get no token, `refused_keys` those whose keys are not regenerated, each with its error. `answer` replaces the token of every answer;
    `unsteady`: no answer repeats. `most` is the highest number of requests at the same time, each of which takes a few turns of the loop.
    """

    def __init__(self, estate: Mapping[ServiceId, Iterable[str]]) -> None:
        self.estate = {service: tuple(names) for service, names in estate.items()}
        self.issued: list[tuple[str, KeyType, datetime]] = []
        self.unlisted: dict[ServiceId, Exception] = {}
        self.refused: dict[str, Exception] = {}
        self.refused_keys: dict[str, Exception] = {}
        self.answer: GatewayToken | None = None
        self.unsteady = False
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
        return self.answer or self.token(gateway, key_type, expiry)

    def token(self, gateway: str, key_type: KeyType, expiry: datetime) -> GatewayToken:
        """What a key of a gateway signs now."""
        more = str(len(self.issued)) if self.unsteady else ""
        return a_token(expiry, gateway, key_type + "'" * self.new_keys.count((gateway, key_type)) + more)

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
        await self._fail("read")
        await asyncio.sleep(0)
        return (self.texts[name], str(self._etag(name))) if name in self.texts else (None, "")

    async def write(self, name: str, text: str, etag: str, metadata: Mapping[str, str]) -> bool:
        await self._fail("write")
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
        await self._fail("entries")
        return list(self._entries.values())

    def _etag(self, name: str) -> str:
        return self._entries[name].metadata["n"] if name in self._entries else "put"

    async def _fail(self, method: str) -> None:
        if method in self.failing:
            raise self.failing[method]


class Estate:
    """Everything in one place; `app` is what the use cases get. Locations come to be when they are first opened."""

    def __init__(
        self,
        services: Mapping[str, Any],
        gateways: Mapping[ServiceId, Iterable[str]],
        schedule: str = "0 0 * * * *",
        /,
        **more: object,
    ) -> None:
        environ = {
            "GATEWAY_TOKENS": json.dumps({"services": services, **more}),
            "RENEWAL_SCHEDULE": schedule,
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
            destination=lambda spec, ref: self.location(spec.location(ref).removeprefix(LOCATIONS)),
            reports=self.reports,
            pause=HOUR,
            identity_works=self._nothing,
            signing_key=self._nothing,
        )

    def location(self, name: str, *, restartable: bool = False) -> MemoryDestination:
        """The location of that name; it has a workload from the first time on that this is said."""
        self.locations[name].location = LOCATIONS + name
        self.locations[name].restartable |= restartable
        return self.locations[name]

    def deliver(
        self,
        name: str,
        token: GatewayToken,
        key_type: KeyType = KeyType.PRIMARY,
        issued_at: datetime = NOW,
        service: str = "contoso-apim",
        **ownership: Any,  # noqa: ANN401 - fields of Ownership
    ) -> MemoryDestination:
        """Put a token into a location as this app would have, for its gateway of that service."""
        value, owner = token.header_value(), f"{service}/{token.gateway_id}"
        ours = Ownership(owner, key_type, issued_at, token.expiry, **ownership).of(value)
        self.location(name).put(value.reveal(), ours.tags())
        return self.locations[name]

    def gateway(self, gateway: str = "edge-01", service: str = "contoso") -> ManagedGateway:
        """A gateway with its rule."""
        gateway_managed = managed(service, self.app.settings.estate.services[service], gateway)
        assert gateway_managed is not None
        return gateway_managed

    async def run(self, after: timedelta = timedelta(), **more: Any) -> list[Row]:  # noqa: ANN401 - whatever a request takes
        """A run of the whole estate that a caller asks for, so much later; every row of the reports."""
        self.clock.now += after
        for request in run_requests(self.app.settings.estate, self.clock(), **{"asked_by": "caller", **more}):
            await self.runs.reconcile(self.app, request)
        return self.rows()

    async def outcomes(self, after: timedelta = timedelta(), **more: Any) -> list[str]:  # noqa: ANN401 - the same
        """How the rows of a run ended."""
        await self.run(after, **more)
        return self.ended

    @property
    def ended(self) -> list[str]:
        """How every row of the reports ended."""
        return [str(row.outcome) for row in self.rows()]

    @property
    def reasons(self) -> list[str]:
        """What every row of the reports was found to be."""
        return [str(row.decision.reason) for row in self.rows()]

    @property
    def problems(self) -> list[str]:
        """What health would tell of contoso."""
        now = self.clock()
        entries = [Entry("runs/x", now, {}), Entry("reports/contoso.json", now, self.report().summary(now))]
        return [problem.code for problem in problems_of(self.app.settings.estate, entries, HOUR, now)]

    @property
    def home(self) -> MemoryDestination:
        """The location of the only gateway."""
        return self.location(HOME)

    async def renew(self, demand: Demand | None = None) -> Row:
        """The only row of the first gateway, reconciled."""
        wanted = demand or Demand(self.clock())
        (row,) = await reconcile_gateway(self.app, self.gateway(), wanted, "caller", 60)
        return row

    async def plan(self) -> list[Row]:
        """The rows of contoso, read, with what is to be done."""
        options = RunOptions(self.app, Demand(self.clock()), "caller")
        run = ServiceRun("contoso", options, ServiceReport())
        await run.plan(await run.gateways(self.app.settings.estate.services["contoso"], lambda _: True))
        return list(run.rows.values())

    def report(self, service: str = "contoso") -> ServiceReport:
        """A service's report."""
        return read_report(self.reports.texts.get(f"reports/{service}.json"), self.clock())

    def rows(self) -> list[Row]:
        """Every row of every report."""
        return [row for name in self.app.settings.estate.services for row in self.report(name).rows.values()]

    async def _nothing(self, *_: str) -> None:
        return None


def contoso(*names: str, **rule: object) -> Estate:
    """An estate of one service with one gateway, delivered to these locations or else to `HOME`."""
    freeze = rule.pop("freeze", ())  # of the estate, not of the rule
    service = {"resourceId": str(CONTOSO), "gateways": {"edge-01": kept(*names, **rule)}}
    return Estate({"contoso": service}, {CONTOSO: ("edge-01",)}, freeze=freeze)


def holding(expiry: datetime, **rule: object) -> Estate:
    """The same, where that location holds a token of this app's that ends then."""
    estate = contoso(**rule)
    estate.deliver(HOME, a_token(expiry))
    return estate


def fleet(count: int, rule: Mapping[str, object] | None = None, **more: object) -> Estate:
    """An estate of one service with so many gateways, `edge-000` and so on, each with a location of its own."""
    service = {"resourceId": str(CONTOSO), "gateways": {"*": kept(**(rule or {}))}}
    return Estate({"contoso": service}, {CONTOSO: [f"edge-{n:03}" for n in range(count)]}, **more)


def lines(caplog: Log, event: str = "") -> list[dict[str, Any]]:
    """The structured log lines, of one event or of all, with their level."""
    rows = [
        {**json.loads(record.getMessage()), "level": logging.getLevelName(record.levelno)}
        for record in caplog.records
        if record.name == "gateway_tokens"
    ]
    return [line for line in rows if not event or line["event"] == event]
