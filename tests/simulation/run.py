"""Runs a simulation: hourly runs of the real app over a simulated estate, clock and weather, on three instances."""

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from gateway_tokens.renewal.run import Runs, run_requests
from tests.simulation.estate import estate_of
from tests.simulation.judge import Judge, Line, Verdict
from tests.simulation.others import Others
from tests.simulation.sky import Sky
from tests.simulation.weather import Weather

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


async def simulate(*, days: int, gateways: int, seed: int) -> Verdict:
    """So many days of hourly runs, and what others do between them."""
    weather = Weather(seed, BEGIN, days)
    sky = Sky(estate_of(gateways), weather, BEGIN)
    judge, others = Judge(sky), Others(sky, seed)
    instances = [Runs() for _ in range(3)]
    with _listening() as log:
        for hour in range(24 * days):
            at = BEGIN + timedelta(hours=hour)
            # Runs do not start to the second.
            sky.now = at + timedelta(seconds=hash((seed, hour)) % 50)
            if weather.runs(sky.now):
                await _run(sky, weather, instances)
                stopped = judge.hear_run(*log.take())
                sky.now = at + timedelta(minutes=5)
                await others.answer_the_brake(stopped)
                judge.hear(log.take()[0])
            for minute in range(10, 60, 10):
                sky.now = at + timedelta(minutes=minute)
                await others.act()
                judge.hear(log.take()[0])
    sky.now = BEGIN + timedelta(days=days)
    return judge.judge()


async def _run(sky: Sky, weather: Weather, instances: list[Runs]) -> None:
    """One message per subscription, each to one of the instances; some come twice, some instances die and it comes back."""
    for request in run_requests(sky.app.settings.estate, sky.now):
        fate, instance = weather.message(request.subscription, sky.now)
        if fate == "killed":
            dying = asyncio.create_task(instances[instance].reconcile(sky.app, request))
            for _ in range(weather.steps(request.subscription, sky.now)):
                await asyncio.sleep(0)
            dying.cancel()
            await asyncio.wait([dying])
        again = fate == "twice"
        await asyncio.gather(
            *(instances[(instance + n) % 3].reconcile(sky.app, request) for n in range(1 + again))
        )
        if fate:
            sky.again.add(sky.now)
            sky.faults[f"message {fate}"] += 1


class _Log(logging.Handler):
    """Collects the rows that were not simply fresh, and the services whose daily check was stopped."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[Line] = []
        self._stopped: set[str] = set()

    def take(self) -> tuple[list[Line], set[str]]:
        """What was said since the last time."""
        taken = self._lines, self._stopped
        self._lines, self._stopped = [], set()
        return taken

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text.startswith('{"event": "alive.stopped"'):
            self._stopped |= {name.partition("/")[0] for name in json.loads(text)["gateways"].split(", ")}
        if not text.startswith('{"event": "run.row"') or '"reason": "fresh"' in text:
            return
        line = json.loads(text)
        name = f"{line['service']}/{line['gateway']} -> {line['destination']}"
        self._lines.append(Line(name, line["gateway"], line["reason"], line["outcome"]))


@contextmanager
def _listening() -> Iterator[_Log]:
    """The app's log, for ourselves: it says what happened also when a run ends with an error."""
    logger, log = logging.getLogger("gateway_tokens"), _Log()
    before = logger.level, logger.propagate
    logger.addHandler(log)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield log
    finally:
        logger.level, logger.propagate = before
        logger.removeHandler(log)
