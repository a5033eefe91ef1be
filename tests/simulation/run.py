"""Runs a simulation: hourly sweeps of the real app over a simulated estate, clock and weather."""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway_tokens.errors import AzureError
from gateway_tokens.renewal.run import sweep
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
    sweeps: int
    missed: int
    rows: int


async def simulate(*, days: int, gateways: int, seed: int) -> Simulated:
    """So many days of hourly sweeps."""
    weather = Weather(seed, BEGIN, days)
    sky = Sky(estate_of(gateways), weather, BEGIN)
    judge, reasons, sweeps = Judge(sky), Counter[str](), 0
    for hour in range(24 * days):
        # Sweeps do not start to the second.
        sky.now = BEGIN + timedelta(hours=hour, seconds=hash((seed, hour)) % 50)
        if not weather.runs(sky.now):
            continue
        sweeps += 1
        with _listening() as log, suppress(AzureError):
            await sweep(sky.app())
        judge.hear(log.lines)
        reasons.update(line.reason for line in log.lines if line.outcome == "renewed")
    sky.now = BEGIN + timedelta(days=days)
    return Simulated(judge.judge(), sky.faults, reasons, sweeps, 24 * days - sweeps, len(sky.locations))


class _Log(logging.Handler):
    """Collects the rows that were not simply fresh."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Line] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if not text.startswith('{"event": "sweep.row"') or '"outcome": "fresh"' in text:
            return
        said = json.loads(text)
        expiry = datetime.fromisoformat(said["oldExpiry"]) if "oldExpiry" in said else None
        name = f"{said['service']}/{said['gateway']} -> {said['destination']}"
        self.lines.append(Line(name, said["reason"], said["outcome"], said["consecutiveFailures"], expiry))


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
