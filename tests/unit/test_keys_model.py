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
from tests.keys_model import GATEWAY, Event, Model
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
SPANS = st.sampled_from([MINUTE, HOUR, 6 * HOUR, DAY, 3 * DAY, 9 * DAY, 20 * DAY, 31 * DAY])
# What can be put at a step of a run or a call.
EVENTS = st.dictionaries(
    st.integers(1, 40),
    st.sampled_from(["fail", "die", "later", "run"])
    | st.tuples(st.sampled_from(["hand", "regenerate", "revoke"]), KEYS),
    max_size=3,
)


class Keys(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.workers = [Runs(), Runs(), Runs()]

    @initialize(wanted=st.sampled_from(RULES), days=st.sampled_from([0, 28, 28, 60]))
    def begin(self, wanted: dict[str, object], days: int) -> None:
        self.model = Model(wanted)
        self.rotated = "rotateKeys" in wanted
        self._run()
        self.all_goes_well(days)

    @rule(span=SPANS)
    def time_passes(self, span: timedelta) -> None:
        self.model.estate.clock.now += span

    @rule(
        events=EVENTS, late=st.sampled_from([0, 0, 0, 3, 30]), again=st.booleans(), worker=st.integers(0, 1)
    )
    def a_run(self, events: dict[int, object], late: int, again: bool, worker: int) -> None:  # noqa: FBT001 - drawn
        asked_at = self.model.estate.clock.now - late * HOUR
        put = self._put(events)
        self._do(self.model.run(self.workers[worker], events=put, asked_at=asked_at, again=again))

    @rule(days=st.sampled_from([8, 20, 32, 68]))
    def all_goes_well(self, days: int) -> None:
        self._heals()
        for _ in range(0, days, 4):
            self.model.estate.clock.now += 4 * DAY
            self._run()
            self.the_workload_starts()

    @rule(first=EVENTS, second=EVENTS)
    def two_runs(self, first: dict[int, object], second: dict[int, object]) -> None:
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
    def somebody_revokes(self, key: KeyType, immediately: bool, events: dict[int, object]) -> None:  # noqa: FBT001 - drawn
        self._do(self.model.revoke(key, immediately=immediately, events=self._put(events)))

    @rule(events=EVENTS)
    def a_host_pulls(self, events: dict[int, object]) -> None:
        self._do(self.model.pull(None, self._put(events)))

    @precondition(lambda self: not self.rotated)
    @rule(key=KEYS)
    def a_host_names_its_key(self, key: KeyType) -> None:
        self._do(self.model.pull(key, {}))

    @rule(name=NAMES, key=KEYS, days=st.integers(1, 29))
    def somebody_writes(self, name: str, key: KeyType, days: int) -> None:
        self._hand(name, key, days)

    @rule(name=NAMES)
    def another_gateways_token_is_put(self, name: str) -> None:
        token = a_token(self.model.estate.clock.now + 9 * DAY, "edge-02", "secondary")
        self.model.estate.deliver(name, token, owner="contoso-apim/edge-02", key_type=KeyType.SECONDARY)
        self.model.changed_at = next(self.model.ticks)

    @rule(key=KEYS)
    def somebody_regenerates(self, key: KeyType) -> None:
        self._regenerate(key)

    @rule(name=NAMES)
    def a_label_is_lost(self, name: str) -> None:
        self.model.locations[name].tags = None

    @rule(name=NAMES)
    def a_value_is_lost(self, name: str) -> None:
        self.model.locations[name].value = None

    @rule()
    def reports_are_lost(self) -> None:
        self.model.reports.texts.clear()

    @rule(name=NAMES, method=st.sampled_from(["read", "write", "write_ownership", "restart"]))
    def a_location_breaks(self, name: str, method: str) -> None:
        self.model.locations[name].failing[method] = OUTAGE

    @rule(name=NAMES)
    def a_location_works(self, name: str) -> None:
        self.model.locations[name].failing.clear()

    @rule(slow=st.booleans())
    def the_workload_lags(self, slow: bool) -> None:  # noqa: FBT001 - drawn
        self.model.locations["b"].slow = slow

    @rule()
    def the_workload_starts(self) -> None:
        self.model.locations["b"].running = self.model.locations["b"].stored

    @rule(wanted=st.sampled_from(RULES), names=st.sampled_from([("a", "b"), ("b",), ("a", "b", "c")]))
    def the_rule_changes(self, wanted: dict[str, object], names: tuple[str, ...]) -> None:
        self.rotated |= "rotateKeys" in wanted
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

    def _hand(self, name: str, key: KeyType, days: int = 20) -> None:
        token = self.model.make(key, (self.model.estate.clock.now + days * DAY).replace(minute=0))
        location = self.model.locations[name]
        location.put(token.header_value().reveal(), location.tags, writer="kubectl")

    def _regenerate(self, key: KeyType) -> None:
        self.model.azure.new_keys.append((GATEWAY, key))
        self.model.changed_at = next(self.model.ticks)

    def _put(self, events: dict[int, object]) -> dict[int, str | Event]:
        return {step: self._event(event) for step, event in events.items()}

    def _event(self, event: object) -> str | Event:
        async def happens() -> None:
            if event == "later":
                self.model.estate.clock.now += 9 * MINUTE
            elif event == "run":
                now = self.model.estate.clock.now
                await self.model.run(self.workers[2], events={}, asked_at=now, again=False)
            elif isinstance(event, tuple) and event[0] == "hand":
                self._hand("a", event[1])
            elif isinstance(event, tuple) and event[0] == "regenerate":
                self._regenerate(event[1])
            elif isinstance(event, tuple):
                await self.model.revoke(event[1], immediately=False, events={})

        return str(event) if event in {"fail", "die"} else happens


@pytest.mark.slow
@pytest.mark.parametrize(("sequences", "steps"), [(40, 15), pytest.param(4000, 30, marks=pytest.mark.prove)])
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
