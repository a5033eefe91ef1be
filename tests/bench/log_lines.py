"""The log lines of a day in which 1,000 gateways stay fresh: each row logged in each run, and summed per service."""

import logging
from dataclasses import replace
from unittest.mock import patch

from tests.bench.subject import say
from tests.renewal_estate import CONTOSO, DAY, HOUR, NOW, Estate, a_token, kept

_SERVICES, _RUNS = 4, 24


async def main(gateways: int = 1_000) -> None:
    """Count the lines and bytes of 24 runs after the first, either way."""
    say("", f"Log lines: {gateways:,} fresh gateways in {_SERVICES} services, {_RUNS} runs a day")
    for title, every_row in (("each row logged", True), ("summed per service", False)):
        estate, counted = _estate(gateways), _Counted()
        settings = replace(estate.app.settings, log_fresh_rows=every_row)
        estate.app = replace(estate.app, settings=settings)
        logger = logging.getLogger("gateway_tokens")
        logger.setLevel(logging.INFO)
        await estate.run()
        with patch.multiple(logger, propagate=False, handlers=[counted]):
            for _ in range(_RUNS):
                await estate.run(HOUR)
        say(f"{title:<20}{counted.lines:>8,} lines{counted.size / 1e6:>8.2f} MB")


def _estate(gateways: int) -> Estate:
    names = [f"plant-{number:04}" for number in range(gateways // _SERVICES)]
    ids = {f"contoso-{n}": replace(CONTOSO, name=f"contoso-apim-{n}") for n in range(_SERVICES)}
    services = {name: {"resourceId": str(where), "gateways": {"*": kept()}} for name, where in ids.items()}
    estate = Estate(services, dict.fromkeys(ids.values(), names))
    for service, where in ids.items():
        for number, name in enumerate(names):
            token = a_token(NOW + 15 * DAY + number * HOUR, name)
            estate.deliver(f"{service}-{name}", token, service=where.name)
    return estate


class _Counted(logging.Handler):
    lines = size = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += 1
        self.size += len(record.getMessage().encode())
