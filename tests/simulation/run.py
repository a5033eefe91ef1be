"""Runs a simulation: hourly runs of the real app over a simulated estate, clock and weather, on three instances."""

import asyncio
import json
import logging
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

from gateway_tokens.renewal.run import Runs, run_requests
from tests.simulation.estate import estate_of
from tests.simulation.judge import Judge, Line, Verdict
from tests.simulation.others import Others
from tests.simulation.sky import Sky
from tests.simulation.weather import Weather

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


async def simulate(*, days: int, gateways: int, seed: int) -> Verdict:
    """So many days of hourly runs, and what others do between them."""
    sky = Sky(estate_of(gateways), Weather(seed, BEGIN, days), BEGIN)
    judge, others, log = Judge(sky), Others(sky, seed), _Log()
    instances = [Runs() for _ in range(3)]
    # The log says what happened also when a run ends with an error.
    logger = logging.getLogger("gateway_tokens")
    logger.setLevel(logging.INFO)
    with patch.multiple(logger, propagate=False, handlers=[log]):
        for hour in range(24 * days):
            at = BEGIN + timedelta(hours=hour)
            # Runs do not start to the second.
            sky.now = at + timedelta(seconds=hash((seed, hour)) % 50)
            if sky.weather.runs(sky.now):
                await _run(sky, instances)
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


async def _run(sky: Sky, instances: list[Runs]) -> None:
    """One message per subscription, each to one of the instances; some come twice, some instances die and it comes back."""
    for request in run_requests(sky.app.settings.estate, sky.now):
        fate, instance = sky.weather.message(request.subscription, sky.now)
        if fate == "killed":
            dying = asyncio.create_task(instances[instance].reconcile(sky.app, request))
            for _ in range(sky.weather.steps(request.subscription, sky.now)):
                await asyncio.sleep(0)
            dying.cancel()
            await asyncio.wait([dying])
        takers = [instances[(instance + n) % 3] for n in range(2 if fate == "twice" else 1)]
        await asyncio.gather(*(taker.reconcile(sky.app, request) for taker in takers))
        if fate:
            sky.again.add(sky.now)
            sky.faults[f"message {fate}"] += 1


class _Log(logging.Handler):
    """Collects the rows that were not simply fresh, and the services whose daily check was stopped."""

    def __init__(self) -> None:
        super().__init__()
        self._taken: tuple[list[Line], set[str]] = [], set()

    def take(self) -> tuple[list[Line], set[str]]:
        """What was said since the last time."""
        taken, self._taken = self._taken, ([], set())
        return taken

    def emit(self, record: logging.LogRecord) -> None:
        line, (lines, stopped) = json.loads(record.getMessage()), self._taken
        if line["event"] == "alive.stopped":
            stopped.update(name.partition("/")[0] for name in line["gateways"].split(", "))
        if line["event"] == "run.row" and line["reason"] != "fresh":
            name = f"{line['service']}/{line['gateway']} -> {line['destination']}"
            lines.append(Line(name, line["gateway"], line["reason"], line["outcome"]))
