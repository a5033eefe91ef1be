"""The log lines of a day in which 1,000 gateways stay fresh: each row logged in each run, and summed per service."""

import logging
from dataclasses import replace
from datetime import timedelta

from tests.bench.subject import say
from tests.renewal_estate import CONTOSO, DAY, HOUR, NOW, Estate, a_token, kept

_SERVICES, _RUNS = 4, 24


async def main(gateways: int = 1_000) -> None:
    """Count the lines and bytes of 24 runs after the first, either way."""
    say("", f"Log lines: {gateways:,} fresh gateways in {_SERVICES} services, {_RUNS} runs a day")
    for title, every_row in (("each row logged", True), ("summed per service", False)):
        lines, size = await measured(gateways, log_fresh_rows=every_row)
        say(f"{title:<20}{lines:>8,} lines{size / 1e6:>8.2f} MB")


async def measured(gateways: int, *, log_fresh_rows: bool) -> tuple[int, int]:
    """How many lines a day's runs write, and the bytes of their messages."""
    estate = _estate(gateways)
    settings = replace(estate.app.settings, log_fresh_rows=log_fresh_rows)
    estate.app = replace(estate.app, settings=settings)
    await estate.run()
    counted, logger = _Counted(), logging.getLogger("gateway_tokens")
    before = logger.level, logger.propagate
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(counted)
    try:
        for _ in range(_RUNS):
            estate.clock.now += HOUR
            await estate.run()
    finally:
        logger.removeHandler(counted)
        logger.level, logger.propagate = before
    return counted.lines, counted.size


def _estate(gateways: int) -> Estate:
    names = [f"plant-{number:04}" for number in range(gateways // _SERVICES)]
    ids = {f"contoso-{n}": replace(CONTOSO, name=f"contoso-apim-{n}") for n in range(_SERVICES)}
    services = {name: {"resourceId": str(where), "gateways": {"*": kept()}} for name, where in ids.items()}
    estate = Estate(services, dict.fromkeys(ids.values(), names))
    for service, where in ids.items():
        for number, name in enumerate(names):
            token = a_token(NOW + 15 * DAY + timedelta(hours=number), name)
            estate.deliver(f"{service}-{name}", token, service=where.name)
    return estate


class _Counted(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines = self.size = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += 1
        self.size += len(record.getMessage().encode())
