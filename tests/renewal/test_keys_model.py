"""Rotation and revocation under whatever may happen between any two of their steps."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gateway_tokens.renewal import keys
from gateway_tokens.renewal.run import Runs
from gateway_tokens.tokens import KeyType
from tests.renewal.keys_model import GATEWAY, Event, Model
from tests.renewal_estate import DAY, HOUR, MINUTE, OUTAGE, a_token

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
    st.tuples(st.just("writes"), NAMES, KEYS),
    st.tuples(st.sampled_from(["loses its note", "loses its value", "is another's", "works"]), NAMES),
    st.tuples(st.just("breaks"), NAMES, st.sampled_from(["read", "write", "write_ownership", "restart"])),
    st.tuples(st.just("regenerates"), KEYS),
    st.tuples(st.sampled_from(["reports are lost", "lags", "starts"])),
)
# What can be put at a step of a run or a call.
EVENTS = st.dictionaries(
    st.integers(1, 40),
    st.sampled_from(["fail", "die", "later", "run"]) | st.tuples(st.just("revoke"), KEYS) | DEEDS,
    max_size=2,
)


class Keys(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.workers = [Runs(), Runs(), Runs()]

    @initialize(wanted=st.sampled_from([*RULES, ROTATES, ROTATES, {}]), days=st.sampled_from([28, 60, 0]))
    def begin(self, wanted: dict[str, object], days: int) -> None:
        self.model = Model(wanted)
        self.rotates = self.rotated = "rotateKeys" in wanted
        self._run()
        self.all_goes_well(days)

    @rule(span=SPANS, events=EVENTS, late=st.sampled_from([0, 0, 0, 3, 30]), again=st.booleans())
    def time_passes(self, span: timedelta, events: dict[int, Any], late: int, again: bool) -> None:  # noqa: FBT001 - drawn
        self.model.estate.clock.now += span
        asked_at = self.model.estate.clock.now - late * HOUR
        self._do(self.model.run(self.workers[0], events=self._put(events), asked_at=asked_at, again=again))

    @rule(days=st.sampled_from([8, 20, 32, 68]))
    def all_goes_well(self, days: int) -> None:
        self._heals()
        for _ in range(0, days, 4):
            self.model.estate.clock.now += 4 * DAY
            self._run()
            self.somebody(("starts",))

    @rule(first=EVENTS, second=EVENTS)
    def two_runs(self, first: dict[int, Any], second: dict[int, Any]) -> None:
        async def both() -> None:
            await asyncio.gather(
                *(
                    self.model.run(
                        worker, events=self._put(events), asked_at=self.model.estate.clock.now, again=False
                    )
                    for worker, events in zip(self.workers, (first, second), strict=False)
                )
            )

        self._do(both())

    @rule(key=KEYS, immediately=st.sampled_from([False, False, True]), events=EVENTS)
    def somebody_revokes(self, key: KeyType, immediately: bool, events: dict[int, Any]) -> None:  # noqa: FBT001 - drawn
        self._do(self.model.revoke(key, immediately=immediately, events=self._put(events)))

    # Once rotation was taken away, callers may name either key; begun again within a renewal, it does not know of them.
    @precondition(lambda self: self.rotates or not self.rotated)
    @rule(events=EVENTS)
    def a_host_pulls(self, events: dict[int, Any]) -> None:
        self._do(self.model.pull(None, self._put(events)))

    @precondition(lambda self: not self.rotated)
    @rule(key=KEYS)
    def a_host_names_its_key(self, key: KeyType) -> None:
        self._do(self.model.pull(key, {}))

    @rule(deed=DEEDS)
    def somebody(self, deed: tuple[Any, ...]) -> None:  # noqa: C901 - a case for each deed
        model, (what, *where) = self.model, deed
        location = model.locations[where[0] if where and where[0] in ("a", "b") else "b"]
        match what:
            case "writes":
                expiry = (model.estate.clock.now + 20 * DAY).replace(minute=0)
                value = model.make(where[1], expiry).header_value()
                location.put(value.reveal(), location.tags, writer="kubectl")
            case "loses its note":
                location.tags = None
            case "loses its value":
                location.value = None
            case "is another's":
                token = a_token(model.estate.clock.now + 9 * DAY, "edge-02", "secondary")
                owner, key = "contoso-apim/edge-02", KeyType.SECONDARY
                model.estate.deliver(where[0], token, owner=owner, key_type=key)
            case "breaks":
                location.failing[where[1]] = OUTAGE
            case "works":
                location.failing.clear()
            case "regenerates":
                model.azure.new_keys.append((GATEWAY, where[0]))
            case "reports are lost":
                model.reports.texts.clear()
            case "lags":
                location.slow = True
            case _:
                location.running, location.slow = location.stored, False
        model.changed_at = next(model.ticks)

    @rule(wanted=st.sampled_from(RULES), names=st.sampled_from([("a", "b"), ("b",), ("a", "b", "c")]))
    def the_rule_changes(self, wanted: dict[str, object], names: tuple[str, ...]) -> None:
        self.rotates = "rotateKeys" in wanted
        self.rotated |= self.rotates
        self.model.take_rule(names, wanted)

    def teardown(self) -> None:
        try:
            if hasattr(self, "model"):
                self._settles()
        finally:
            self.loop.close()

    def _settles(self) -> None:
        """What went wrong is over: the rotation comes to its end, and every location has a token that is alive."""
        model = self.model
        model.take_rule(("a", "b"), ROTATES)
        self._heals()
        began = model.estate.clock.now
        while True:
            self._run()
            model.locations["b"].running = model.locations["b"].stored
            state = self.loop.run_until_complete(model.state())
            days = (model.estate.clock.now - began) / DAY
            if days > 31:
                for name in "ab":
                    assert model.alive(model.locations[name].stored, state.active), f"{name} has no token"
            if days > 31 and state.phase is keys.Phase.STEADY and not state.waits_for:
                return
            assert days < 110, state
            model.estate.clock.now += 2 * HOUR if days < 1 else 3 * DAY

    def _heals(self) -> None:
        for location in self.model.locations.values():
            location.failing.clear()
            if location.stored not in self.model.made:
                location.value = None
        self.model.locations["b"].slow = False

    def _run(self) -> None:
        now = self.model.estate.clock.now
        self._do(self.model.run(self.workers[0], events={}, asked_at=now, again=False))

    def _do(self, work: object) -> None:
        self.loop.run_until_complete(work)  # type: ignore[arg-type]

    def _put(self, events: dict[int, Any]) -> dict[int, str | Event]:
        return {step: self._event(event) for step, event in events.items()}

    def _event(self, event: str | tuple[Any, ...]) -> str | Event:
        async def happens() -> None:
            if event == "later":
                self.model.estate.clock.now += 9 * MINUTE
            elif event == "run":
                now = self.model.estate.clock.now
                await self.model.run(self.workers[2], events={}, asked_at=now, again=False)
            elif event[0] == "revoke":
                await self.model.revoke(KeyType(event[1]), immediately=False, events={})
            elif isinstance(event, tuple):
                self.somebody(event)

        return str(event) if event in ("fail", "die") else happens


@pytest.mark.slow
@pytest.mark.parametrize(("sequences", "steps"), [(40, 8), pytest.param(4000, 8, marks=pytest.mark.prove)])
def test_at_no_moment_is_a_key_regenerated_that_a_live_token_needs(
    sequences: int, steps: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL", "gateway_tokens")
    run_state_machine_as_test(
        seed(15)(Keys),
        settings=settings(
            max_examples=sequences,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        ),
    )
