"""Rotation and revocation of one gateway's keys under whatever may happen between any two of their steps.

Whatever the app asks of the outside is a step, at which something can be put: a failure, an answer that is lost, the end
of the process, or what somebody else does in the meantime. The judge goes by the tokens, never by the app's labels.
"""

import asyncio
import itertools
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from gateway_tokens.errors import GatewayTokensError
from gateway_tokens.estate.schema import AppSettings
from gateway_tokens.renewal.keys import OTHER
from gateway_tokens.renewal.rotation import Revocation, revoke
from gateway_tokens.renewal.run import Runs, run_requests
from gateway_tokens.stored import Ownership, StoredToken, token_in
from gateway_tokens.tokens import GatewayToken, KeyType, ServiceId
from tests.fakes import MemoryDestination
from tests.renewal_estate import (
    DAY,
    HOUR,
    LOCATIONS,
    MINUTE,
    OUTAGE,
    FakeGateways,
    Log,
    MemoryReports,
    a_token,
    contoso,
)

GATEWAY = "edge-01"
Event = Callable[[], Awaitable[None]]


@dataclass
class Process:
    """A run or a call of the app, under the settings with which it began; `events` are put at its steps."""

    who: str
    names: tuple[str, ...]  # the locations of its rule
    events: Mapping[int, str | Event] = field(default_factory=dict)
    revokes: KeyType | None = None
    immediately: bool = False
    steps: int = 0
    dead: bool = False
    task: asyncio.Task[None] | None = None
    read_at: dict[str, int] = field(default_factory=dict)  # when it read each location last


_process: ContextVar[Process] = ContextVar("process")


async def step() -> None:
    """Take a step: what was put there happens, and a process that has ended does no more."""
    process = _process.get()
    process.steps += 1
    event = process.events.get(process.steps)
    await asyncio.sleep(0)
    if event == "die" and process.task:
        process.dead = True
        process.task.cancel()
    if process.dead:
        raise asyncio.CancelledError
    if event == "fail":
        raise OUTAGE
    if callable(event):
        await event()


class Location(MemoryDestination):
    """A location whose every operation is a step; after a write there is one more, at which its answer is lost."""

    def __init__(self, model: "Keys") -> None:
        super().__init__()
        self._model, self.changed_at = model, 0

    def put(self, value: str, tags: Mapping[str, str] | None = None, writer: str = "") -> None:
        super().put(value, tags, writer)
        self._model.values[self.fingerprint], self.changed_at = value, next(self._model.ticks)

    async def read(self) -> StoredToken | None:
        read_at = _process.get().read_at
        read_at.pop(self.location, None)
        stored = await super().read()
        read_at[self.location] = next(self._model.ticks)
        return stored

    async def write(self, token: GatewayToken, ownership: Ownership, stored: StoredToken | None) -> None:
        await super().write(token, ownership, stored)
        self._model.written.append((self.fingerprint, next(self._model.ticks), _process.get().who))
        await step()

    async def _call(self, method: str) -> None:
        await step()
        await super()._call(method)

    @property
    def lags(self) -> bool:
        """Whether the workload runs another value, and was not asked to restart for the one that is stored."""
        return self.restartable and not self.writer and self.fingerprint not in {self.running, self.asked}


class Azure(FakeGateways):
    """API Management, whose every answer is a step, and whose every regeneration is judged."""

    def __init__(self, model: "Keys") -> None:
        super().__init__(model.estate.gateways.estate)
        self._model = model

    async def generate_token(
        self, service: ServiceId, gateway: str, key_type: KeyType, expiry: datetime
    ) -> GatewayToken:
        assert (service in self.estate, gateway) == (True, GATEWAY)
        await step()
        return self.token(gateway, key_type, expiry)

    async def regenerate_key(self, service: ServiceId, gateway: str, key_type: KeyType) -> None:
        await step()
        try:
            self._model.judge(key_type)
        except AssertionError as wrong:  # the app catches what its own calls raise
            self._model.wrong.append(wrong)
        await super().regenerate_key(service, gateway, key_type)
        await step()


class Reported(MemoryReports):
    """Reports, whose every operation is a step."""

    async def _fail(self, method: str) -> None:
        await step()
        await super()._fail(method)


ROTATES = {"rotateKeys": {"every": "P65D"}}
RULES: tuple[dict[str, Any], ...] = (
    ROTATES,
    {"rotateKeys": {"every": "P90D"}, "lifetime": "P7D"},
    {**ROTATES, "otherConsumers": True},
    {"keyType": "primary", "lifetime": "P2D"},
    {"keyType": "secondary"},
    {},
)
KEYS, NAMES = st.sampled_from(KeyType), st.sampled_from(["a", "b"])
SPANS = st.sampled_from([MINUTE, HOUR, DAY, 4 * DAY, 9 * DAY, 31 * DAY])
# What people, and whatever stores the tokens, do to the gateway.
DEEDS = st.one_of(
    st.tuples(st.sampled_from(["loses its note", "loses its value", "is another's", "works"]), NAMES),
    st.tuples(st.sampled_from([f"fails to {verb}" for verb in ("read", "write", "write_ownership", "restart")]), NAMES),
    st.tuples(st.sampled_from(["gets a token by hand", "'s key is regenerated"]), NAMES, KEYS),
    st.tuples(st.sampled_from(["reports are lost", "lags", "starts"]), st.just("b")),
)  # fmt: skip
# What can be put at a step of a run or a call.
EVENTS = st.dictionaries(
    st.integers(1, 40),
    st.sampled_from(["fail", "die", "later", "run"]) | st.tuples(st.just("revoke"), KEYS) | DEEDS,
    max_size=2,
)
Events = dict[int, Any]


class Keys(RuleBasedStateMachine):
    """The gateway and everything around it."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.workers = [Runs(), Runs(), Runs()]
        self.ticks, self.runs = itertools.count(1), itertools.count(1)
        self.estate = contoso("a", "b")
        self.locations = defaultdict[str, Location](lambda: Location(self))
        self.estate.locations = self.locations  # type: ignore[assignment] # they are more than that
        for name in "abc":
            self.estate.location(name, restartable=name == "b")
        self.azure, self.reports = Azure(self), Reported(self.estate.clock)
        self.estate.app = replace(self.estate.app, gateways=self.azure, reports=self.reports)
        self.values: dict[str, str] = {}  # all that was ever stored, by its fingerprint
        self.written: list[tuple[str, int, str]] = []  # what the app wrote: when, and which process
        self.changed_at = 0  # when somebody other than a run changed what it goes by
        self.wrong: list[AssertionError] = []

    @initialize(wanted=st.sampled_from([*RULES, ROTATES, ROTATES, {}]), days=st.sampled_from([28, 60, 0]))
    def begin(self, wanted: dict[str, Any], days: int) -> None:
        self.the_rule_changes(wanted, ("a", "b"))
        self._do(self.run())
        self.all_goes_well(days)

    @rule(wanted=st.sampled_from(RULES), names=st.sampled_from([("a", "b"), ("b",), ("a", "b", "c")]))
    def the_rule_changes(self, wanted: dict[str, Any], names: tuple[str, ...]) -> None:
        self.names = names
        self.estate.app = replace(self.estate.app, settings=_settings(names, json.dumps(wanted)))
        self.changed_at = next(self.ticks)

    @rule(
        span=SPANS, events=EVENTS, late=st.sampled_from([0, 0, 0, 3, 30]), again=st.booleans(),
        second=st.none() | EVENTS,
    )  # fmt: skip
    def time_passes(
        self, span: timedelta, events: Events, late: int, *, again: bool, second: Events | None
    ) -> None:
        self.estate.clock.now += span

        async def run() -> None:
            also = [] if second is None else [self.run(1, second, late)]
            await asyncio.gather(self.run(0, events, late, again=again), *also)

        self._do(run())

    @rule(days=st.sampled_from([8, 20, 32, 68]))
    def all_goes_well(self, days: int) -> None:
        self._heals()
        for _ in range(0, days, 4):
            self.estate.clock.now += 4 * DAY
            self._do(self.run())
            self.somebody(("starts", "b"))

    @rule(key=KEYS, immediately=st.sampled_from([False, False, True]), events=EVENTS)
    def somebody_revokes(self, key: KeyType, *, immediately: bool, events: Events) -> None:
        self._do(self.revoke(key, events, immediately=immediately))

    @rule(deed=DEEDS)
    def somebody(self, deed: tuple[Any, ...]) -> None:  # noqa: C901 - a case for each deed
        what, name, *key = deed
        location, now = self.locations[name], self.estate.clock.now
        match what:
            case "gets a token by hand":
                token = self.azure.token(GATEWAY, key[0], (now + 20 * DAY).replace(minute=0))
                location.put(token.header_value().reveal(), location.tags, writer="kubectl")
            case "loses its note":
                location.tags = None
            case "loses its value":
                location.value = None
            case "is another's":
                self.estate.deliver(name, a_token(now + 9 * DAY, "edge-02", "secondary"), KeyType.SECONDARY)
            case "works":
                location.failing.clear()
            case "'s key is regenerated":
                self.azure.new_keys.append((GATEWAY, key[0]))
            case "reports are lost":
                self.reports.texts.clear()
            case "lags":
                location.slow = True
            case "starts":
                location.running, location.slow = location.fingerprint, False
            case _:
                location.failing[what.removeprefix("fails to ")] = OUTAGE
        self.changed_at = next(self.ticks)

    def teardown(self) -> None:
        """What went wrong is over: every location has a token that is alive, and the rotation comes to its end."""
        try:
            self.the_rule_changes(ROTATES, ("a", "b"))
            self._heals()
            regenerated = len(self.azure.new_keys)
            for hours in [2] * 12 + [72] * 36:
                self._do(self.run())
                self.locations["b"].running = self.locations["b"].fingerprint
                self.estate.clock.now += hours * HOUR
                for name in "ab" if len(self.azure.new_keys) > regenerated else ():
                    assert any(self.alive(self.locations[name].fingerprint, key) for key in KeyType), name
            assert len(self.azure.new_keys) > regenerated
        finally:
            self.loop.close()

    def _heals(self) -> None:
        for location in self.locations.values():
            location.failing.clear()
            if location.value and f" {GATEWAY}&" not in location.value:
                location.value = None
        self.locations["b"].slow = False

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(work)

    async def run(
        self, worker: int = 0, events: Events | None = None, late: int = 0, *, again: bool = False
    ) -> None:
        """A run of the schedule; its message may come late, and again."""
        app, asked_at = self.estate.app, self.estate.clock.now - late * HOUR
        (request,) = run_requests(app.settings.estate, asked_at, str(next(self.runs)))

        async def work() -> None:
            for _ in range(1 + again):
                await self.workers[worker].reconcile(app, request)

        await self._within(Process("run", self.names, self._put(events)), work)

    async def revoke(self, key: KeyType, events: Events | None = None, *, immediately: bool = False) -> None:
        """A call that revokes a key."""
        app, gateway = self.estate.app, self.estate.gateway()

        async def work() -> None:
            await revoke(app, gateway, Revocation(key, "a leak", immediately=immediately), "caller")

        await self._within(Process("revoke", self.names, self._put(events), key, immediately), work)

    def _put(self, events: Events | None) -> dict[int, str | Event]:
        return {step: self._event(event) for step, event in (events or {}).items()}

    def _event(self, event: str | tuple[Any, ...]) -> str | Event:
        async def happens() -> None:
            if event == "later":
                self.estate.clock.now += 9 * MINUTE
            elif event == "run":
                await self.run(2)
            elif event[0] == "revoke":
                await self.revoke(KeyType(event[1]))
            elif isinstance(event, tuple):
                self.somebody(event)

        return str(event) if event in ("fail", "die") else happens

    async def _within(self, process: Process, work: Event) -> None:
        """Work as this process until it is done, refuses, or ends."""

        async def body() -> None:
            _process.set(process)
            with suppress(GatewayTokensError):
                await work()

        process.task = asyncio.get_running_loop().create_task(body())
        await asyncio.wait([process.task])
        if self.wrong:
            raise self.wrong[0]
        if not process.task.cancelled():
            process.task.result()

    def alive(self, fingerprint: str, key: KeyType) -> bool:
        """Whether a value is a token that this key signs."""
        token = token_in(self.values.get(fingerprint))
        if token is None or token.expiry <= self.estate.clock.now:
            return False
        return token == self.azure.token(GATEWAY, key, token.expiry)

    def judge(self, key: KeyType) -> None:
        """Whether the process may regenerate the key now, by what was so when it read the locations last."""
        by = _process.get()
        if by.revokes is key and by.immediately:
            return
        seen = {name: by.read_at.get(LOCATIONS + name, 0) for name in by.names}
        assert all(seen.values()), f"{seen}: 0 could not be read"
        for name in by.names:
            location = self.locations[name]
            if max(location.changed_at, self.changed_at) > seen[name]:
                continue
            assert self.alive(location.fingerprint, OTHER[key]), f"{name} holds no token of the other key"
            assert not location.lags, f"{name} was not asked to restart"
            if by.revokes is not key:
                assert not location.writer, f"somebody else wrote {name}"
                assert not self.alive(location.running, key), f"{name} runs a token of the key"
        if by.revokes is not key:
            for value, at, who in self.written:
                late = at > min(seen.values()) and (who == "revoke" or self.changed_at > min(seen.values()))
                assert late or not self.alive(value, key), f"a token of a {who} is alive"


@cache
def _settings(names: tuple[str, ...], rule: str) -> AppSettings:
    return contoso(*names, **json.loads(rule)).app.settings


@pytest.mark.slow
@pytest.mark.parametrize("sequences", [40, pytest.param(4000, marks=pytest.mark.prove)])
def test_at_no_moment_is_a_key_regenerated_that_a_live_token_needs(sequences: int, caplog: Log) -> None:
    caplog.set_level("CRITICAL", "gateway_tokens")
    run_state_machine_as_test(
        seed(15)(Keys),
        settings=settings(
            max_examples=sequences,
            stateful_step_count=8,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        ),
    )
