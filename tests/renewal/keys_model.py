"""One gateway with its keys, locations, workload and people, for the model of rotation and revocation.

Whatever the app asks of the outside is a step, at which something can be put: a failure, an answer that is lost, the end
of the process, or what somebody else does in the meantime. The judge goes by the tokens, never by the app's labels.
"""

import asyncio
import itertools
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Any

from gateway_tokens.errors import GatewayTokensError
from gateway_tokens.estate.app_settings import AppSettings
from gateway_tokens.renewal.keys import OTHER, KeyState
from gateway_tokens.renewal.reader import RunOptions
from gateway_tokens.renewal.report import ServiceReport
from gateway_tokens.renewal.rotation import Revocation, active_key, revoke
from gateway_tokens.renewal.rows import Demand
from gateway_tokens.renewal.run import Runs, run_requests
from gateway_tokens.renewal.service import ServiceRun
from gateway_tokens.stored import Ownership, StoredToken
from gateway_tokens.tokens import GatewayToken, KeyType, Secret, ServiceId, expiry_after
from tests.fakes import MemoryDestination
from tests.renewal_estate import DAY, OUTAGE, PLACES, FakeGateways, MemoryReports, a_token, contoso

GATEWAY = "edge-01"
Event = Callable[[], Awaitable[None]]


@dataclass
class Process:
    """A run or a call of the app, under the settings with which it began; `events` are put at its steps."""

    who: str = "nobody"
    names: tuple[str, ...] = ()  # the locations of its rule
    revokes: KeyType | None = None
    immediately: bool = False
    events: dict[int, str | Event] = field(default_factory=dict)
    steps: int = 0
    dead: bool = False
    task: asyncio.Task[None] | None = None
    read_at: dict[str, int] = field(default_factory=dict)  # when it read each location last

    async def step(self) -> None:
        """Take a step: what was put there happens, and a process that has ended does no more."""
        self.steps += 1
        event = self.events.get(self.steps)
        await asyncio.sleep(0)
        if event == "die" and self.task:
            self.dead = True
            self.task.cancel()
        if self.dead:
            raise asyncio.CancelledError
        if event == "fail":
            raise OUTAGE
        if callable(event):
            await event()


_process: ContextVar[Process] = ContextVar("process")


@dataclass(frozen=True)
class Made:
    """A token that Azure made: with which key, and how often that key had been regenerated before."""

    key: KeyType
    age: int
    expiry: datetime


class Location(MemoryDestination):
    """A location whose every operation is two steps: one before it, and one at which its answer is lost."""

    def __init__(self, model: "Model") -> None:
        super().__init__()
        self._model, self.changed_at = model, 0

    def put(self, value: str, tags: Mapping[str, str] | None = None, writer: str = "") -> None:
        super().put(value, tags, writer)
        self.changed_at = next(self._model.ticks)

    async def read(self) -> StoredToken | None:
        _process.get().read_at.pop(self.location, None)
        await _process.get().step()
        stored = await super().read()
        _process.get().read_at[self.location] = next(self._model.ticks)
        return stored

    async def write(self, token: GatewayToken, ownership: Ownership, stored: StoredToken | None) -> None:
        await _process.get().step()
        await super().write(token, ownership, stored)
        self._model.hand_out(token)
        await _process.get().step()

    async def write_ownership(self, ownership: Ownership, stored: StoredToken) -> None:
        await _process.get().step()
        await super().write_ownership(ownership, stored)
        await _process.get().step()

    async def restart(self, stored: StoredToken) -> None:
        await _process.get().step()
        await super().restart(stored)
        await _process.get().step()

    @property
    def stored(self) -> str:
        """The fingerprint of what is stored."""
        return Secret(self.value).fingerprint if self.value else ""

    @property
    def lags(self) -> bool:
        """Whether the workload runs another value, and was not asked to restart for the one that is stored."""
        return self.restartable and not self.writer and self.stored not in {self.running, self.asked}


class Azure(FakeGateways):
    """API Management, whose every answer is a step, and whose every regeneration is judged."""

    def __init__(self, model: "Model") -> None:
        super().__init__(model.estate.gateways.estate)
        self._model = model

    async def generate_token(
        self, service: ServiceId, gateway: str, key_type: KeyType, expiry: datetime
    ) -> GatewayToken:
        assert service in self.estate
        await _process.get().step()
        return self._model.make(key_type, expiry, gateway)

    async def regenerate_key(self, service: ServiceId, gateway: str, key_type: KeyType) -> None:
        await _process.get().step()
        try:
            self._model.judge(key_type)
        except AssertionError as wrong:  # the app catches what its own calls raise
            self._model.wrong.append(wrong)
        await super().regenerate_key(service, gateway, key_type)
        await _process.get().step()


class Reported(MemoryReports):
    """Reports, whose every operation is a step."""

    async def read(self, name: str) -> tuple[str | None, str]:
        await _process.get().step()
        return await super().read(name)

    async def write(self, name: str, text: str, etag: str, metadata: Mapping[str, str]) -> bool:
        await _process.get().step()
        return await super().write(name, text, etag, metadata)


class Model:
    """The gateway and everything around it."""

    def __init__(self, rule: dict[str, Any]) -> None:
        self.ticks: Iterator[int] = itertools.count(1)
        self.estate = contoso("a", "b", **rule)
        self.locations: defaultdict[str, Location] = defaultdict(lambda: Location(self))
        self.estate.locations = self.locations  # type: ignore[assignment] # they are more than that
        self.azure, self.reports = Azure(self), Reported(self.estate.clock)
        self.made: dict[str, Made] = {}  # by the fingerprint of the stored value
        self.handed: list[tuple[Made, int, str]] = []  # to whom the app gave tokens: when, and which process
        self.changed_at = 0  # when somebody other than a run changed what it goes by
        self.estate.app = replace(
            self.estate.app, gateways=self.azure, callers_gateways=self.azure, reports=self.reports
        )
        self.wrong: list[AssertionError] = []
        self.runs = 0
        for name in "abc":
            self.estate.location(name, restartable=name == "b")
        self.take_rule(("a", "b"), rule)

    def take_rule(self, names: tuple[str, ...], rule: dict[str, Any]) -> None:
        """Change the settings."""
        self.names = names
        self.estate.app = replace(self.estate.app, settings=_settings(names, json.dumps(rule)))
        self.changed_at = next(self.ticks)

    def make(self, key: KeyType, expiry: datetime, gateway: str = GATEWAY) -> GatewayToken:
        """Azure's token."""
        age = self.azure.new_keys.count((GATEWAY, key))
        token = a_token(expiry, gateway, key + "'" * age)
        self.made[token.header_value().fingerprint] = Made(key, age, expiry)
        return token

    def hand_out(self, token: GatewayToken) -> None:
        """Remember that the app gave somebody this token."""
        made = self.made[token.header_value().fingerprint]
        self.handed.append((made, next(self.ticks), _process.get().who))

    def alive(self, fingerprint: str, key: KeyType) -> bool:
        """Whether a value is a token that this key signs."""
        made = self.made.get(fingerprint)
        return made is not None and made.key is key and self._lives(made)

    def judge(self, key: KeyType) -> None:
        """Whether the process may regenerate the key now, by what was so when it read the locations last."""
        by = _process.get()
        if by.revokes is key and by.immediately:
            return
        unread = [name for name in by.names if PLACES + name not in by.read_at]
        assert not unread, f"{unread} could not be read"
        seen = {name: by.read_at[PLACES + name] for name in by.names}
        for name in by.names:
            location = self.locations[name]
            if max(location.changed_at, self.changed_at) > seen[name]:
                continue
            assert self.alive(location.stored, OTHER[key]), f"{name} holds no token of the other key"
            assert not location.lags, f"{name} was not asked to restart"
            if by.revokes is not key:
                assert not location.writer, f"somebody else wrote {name}"
                assert not self.alive(location.running, key), f"{name} runs a token of the key"
        if by.revokes is not key:
            for made, at, who in self.handed:
                late = at > min(seen.values()) and (who == "revoke" or self.changed_at > min(seen.values()))
                assert late or made.key is not key or not self._lives(made), f"a token of {who} is alive"

    def _lives(self, made: Made) -> bool:
        return made.expiry > self.estate.clock.now and made.age == self.azure.new_keys.count(
            (GATEWAY, made.key)
        )

    async def run(
        self, runs: Runs, *, events: dict[int, str | Event], asked_at: datetime, again: bool
    ) -> None:
        """A run of the schedule; its message may come late, and again."""
        self.runs += 1
        (request,) = run_requests(self.estate.app.settings.estate, asked_at, str(self.runs))
        app, process = self.estate.app, Process("run", self.names, events=events)

        async def work() -> None:
            for _ in range(1 + again):
                await runs.reconcile(app, request)

        await self._within(process, work)

    async def revoke(self, key: KeyType, *, immediately: bool, events: dict[int, str | Event]) -> None:
        """A call that revokes a key."""
        app, gateway = self.estate.app, self.estate.gateway()
        process = Process("revoke", self.names, key, immediately, events=events)

        async def work() -> None:
            await revoke(app, gateway, Revocation(key, "a leak", immediately=immediately), "caller")

        await self._within(process, work)

    async def pull(self, key: KeyType | None, events: dict[int, str | Event]) -> None:
        """A call for a token, which may name its key."""
        app, gateway, rule = self.estate.app, self.estate.gateway(), self.estate.gateway().rule

        async def work() -> None:
            active = key or rule.key_type or KeyType.PRIMARY
            if rule.rotate_keys:
                active = await active_key(app, gateway)
            if key in {None, active}:
                expiry = expiry_after(30 * DAY, self.estate.clock.now)
                self.hand_out(await self.azure.generate_token(gateway.service, GATEWAY, active, expiry))

        await self._within(Process("pull", self.names, events=events), work)

    async def state(self) -> KeyState:
        """Where the rotation is."""
        found: list[KeyState] = []

        async def work() -> None:
            options = RunOptions(self.estate.app, Demand(self.estate.clock.now), "caller")
            run = ServiceRun("contoso", options, ServiceReport()).of(self.estate.gateway())
            await run.read_all()
            found.append(run.key_state())

        await self._within(Process("state", self.names), work)
        return found[0]

    async def _within(self, process: Process, work: Event) -> None:
        """Work as this process until it is done, refuses, or ends."""

        async def body() -> None:
            _process.set(process)
            await work()

        process.task = asyncio.get_running_loop().create_task(body())
        await asyncio.wait([process.task])
        if self.wrong:
            raise self.wrong[0]
        if not process.task.cancelled():
            error = process.task.exception()
            if error and not isinstance(error, GatewayTokensError):
                raise error


@cache
def _settings(names: tuple[str, ...], rule: str) -> AppSettings:
    return contoso(*names, **json.loads(rule)).app.settings
