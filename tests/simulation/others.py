"""What others do between runs: regenerate keys, make gateways anew, apply manifests, write tokens, answer the brake."""

from datetime import datetime, timedelta
from random import Random

from gateway_tokens.estate.schema import Service
from gateway_tokens.renewal.queues import EventKind, GatewayEvent, react
from gateway_tokens.renewal.run import Runs, run_requests
from tests.renewal_estate import DAY, HOUR
from tests.simulation.estate import SUBSCRIPTIONS
from tests.simulation.sky import SimulatedPlace, Sky

_TICK = timedelta(minutes=10)
# One on the average in so many days: for each gateway, for each location, for each subscription.
_REGENERATED, _MADE_ANEW, _BY_HAND, _PUT_BACK, _SECOND_WRITER, _EVERY_KEY = 60, 100, 30, 20, 60, 40
_EVENT_LOST = 0.4
_HAND_DAYS = 29  # the longest life that a person asks for


class Others:
    """Everybody but the app; `act` is what they do in ten minutes."""

    def __init__(self, sky: Sky, seed: int) -> None:
        self._sky = sky
        self._dice = Random(f"{seed}|others")  # noqa: S311 - it must be foreseeable
        self._services = sky.app.settings.estate.services
        self._spells: dict[tuple[str, str], datetime] = {}
        self._put_back: dict[str, str] = {}
        self._stopped_since: dict[str, datetime] = {}
        self._runs = Runs()

    async def act(self) -> None:
        """Keys first, then values and workloads."""
        await self._change_keys()
        for (_, location), holder in sorted(self._sky.locations.items(), key=lambda item: str(item[0])):
            self._write(location, holder)

    async def answer_the_brake(self, stopped: set[str]) -> None:
        """A person who is told for a day that the check was stopped asks for new tokens of everything."""
        self._stopped_since = {
            subscription: self._stopped_since.get(subscription, self._sky.now) for subscription in stopped
        }
        app = self._sky.app
        for request in run_requests(app.settings.estate, self._sky.now, force=True, asked_by="a person"):
            since = self._stopped_since.get(request.subscription)
            if since and self._sky.now - since >= DAY:
                self._stopped_since.pop(request.subscription)
                self._sky.forced |= {
                    (name, self._sky.now) for name in self._sky.estate.gateways_of(request.subscription)
                }
                await self._runs.reconcile(app, request)

    async def _change_keys(self) -> None:
        for name, service in self._services.items():
            for gateway in self._sky.estate.gateways[name]:
                if self._happens(_REGENERATED):
                    self._sky.regenerate(gateway, "primary")
                if self._happens(_MADE_ANEW):
                    await self._make_anew(service, gateway)
        for subscription in SUBSCRIPTIONS:
            if self._happens(_EVERY_KEY):
                for gateway in self._sky.estate.gateways_of(subscription):
                    self._sky.regenerate(gateway, "primary")

    async def _make_anew(self, service: Service, gateway: str) -> None:
        now = self._sky.now
        self._sky.regenerate(gateway, "primary", "secondary")
        if self._dice.random() >= _EVENT_LOST:
            self._sky.forced.add((gateway, now))
            event = GatewayEvent(EventKind.CREATED, service.resource_id, gateway, "", now, now)
            await react(self._sky.app, event)

    def _write(self, location: str, holder: SimulatedPlace) -> None:
        hand, days = self._happens(_BY_HAND), self._dice.uniform(0.1, _HAND_DAYS)
        put_back, second = self._spell("put back", location), self._spell("second writer", location)
        leave_tags = self._dice.random() < 0.5
        if hand or (second and self._sky.now.minute == 10):
            token = self._sky.token(holder.ref.gateway, "primary", self._sky.now + days * DAY).value.reveal()
            holder.write_by("kubectl" if hand else "another tool", token, leave_tags=leave_tags and hand)
        if not holder.restartable:
            return
        if put_back:
            # The value in the manifest: the one before the last, when the spell began.
            tokens = list(dict.fromkeys(kept.token for kept in holder.stored))
            older = self._put_back.setdefault(location, tokens[-2] if len(tokens) > 1 else "")
            if older and holder.stored[-1].token != older:
                holder.write_by("flux", older, leave_tags=True)
        if int(holder.ref.gateway[-3:]) // 3 % 2:
            holder.apply_manifest()

    def _spell(self, what: str, location: str) -> bool:
        """Whether some hours of it are under way."""
        days, hours = (_PUT_BACK, 36) if what == "put back" else (_SECOND_WRITER, 12)
        if self._happens(days):
            self._spells[what, location] = self._sky.now + self._dice.uniform(2, hours) * HOUR
            self._put_back.pop(location, None)
        return self._spells.get((what, location), self._sky.now) > self._sky.now

    def _happens(self, days: float) -> bool:
        return self._dice.random() < _TICK / (days * DAY)
