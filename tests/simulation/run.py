"""Runs a simulation: hourly runs of the real app over a simulated estate, clock and weather, on three instances."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway_tokens.renewal.messages import run_requests
from gateway_tokens.renewal.run import Runs
from tests.simulation.estate import estate_of
from tests.simulation.judge import Judge, Line, Verdict
from tests.simulation.sky import Sky
from tests.simulation.weather import Weather

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Simulated:
    """What a simulation found."""

    verdict: Verdict
    faults: Counter[str]
    reasons: Counter[str]
    runs: int
    missed: int
    rows: int


async def simulate(*, days: int, gateways: int, seed: int) -> Simulated:
    """So many days of hourly runs."""
    weather = Weather(seed, BEGIN, days)
    sky = Sky(estate_of(gateways), weather, BEGIN)
    judge, reasons, runs = Judge(sky), Counter[str](), 0
    instances = [Runs() for _ in range(3)]
    for hour in range(24 * days):
        # Runs do not start to the second.
        sky.now = BEGIN + timedelta(hours=hour, seconds=hash((seed, hour)) % 50)
        if not weather.runs(sky.now):
            continue
        runs += 1
        with _listening() as log:
            await _run(sky, weather, instances)
        judge.hear(log.lines)
        reasons.update(line.reason for line in log.lines if line.outcome == "renewed")
    sky.now = BEGIN + timedelta(days=days)
    return Simulated(judge.judge(), sky.faults, reasons, runs, 24 * days - runs, len(sky.locations))


async def _run(sky: Sky, weather: Weather, instances: list[Runs]) -> None:
    """One message per subscription, each to one of the instances; some come twice, some instances die and it comes back."""
    for request in run_requests(sky.estate.settings.estate, sky.now):
        fate, instance = weather.message(request.subscription, sky.now)
        if fate == "killed":
            dying = asyncio.create_task(instances[instance].reconcile(sky.app(), request))
            for _ in range(weather.steps(request.subscription, sky.now)):
                await asyncio.sleep(0)
            dying.cancel()
            await asyncio.wait([dying])
            sky.again.add(sky.now)
        again = fate == "twice"
        if again:
            sky.again.add(sky.now)
        await asyncio.gather(
            *(instances[(instance + n) % 3].reconcile(sky.app(), request) for n in range(1 + again))
        )
        if fate:
            sky.faults[f"message {fate}"] += 1


class _Log(logging.Handler):
    """Collects the rows that were not simply fresh."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Line] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if not text.startswith('{"event": "run.row"') or '"outcome": "fresh"' in text:
            return
        line = json.loads(text)
        expiry = datetime.fromisoformat(line["oldExpiry"]) if "oldExpiry" in line else None
        name = f"{line['service']}/{line['gateway']} -> {line['destination']}"
        self.lines.append(Line(name, line["reason"], line["outcome"], expiry))


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
