"""`python -m tests.bench [cold-start|run|memory|log-lines|throttled ...]`: measure, and print a small table for each part."""

import argparse
import asyncio
import os
import platform
import time
from collections.abc import Awaitable, Callable
from itertools import product
from statistics import median
from typing import Any

from emulator.server import Emulator
from gateway_tokens.renewal.service import AT_ONCE
from tests.bench import log_lines
from tests.bench.subject import SUBSCRIPTIONS, an_estate, app_settings, child, say
from tests.stand_ins.throttle import ARM_LIMITS, Throttle

APP, MINIMAL, FUNCTIONS = "function_app", "tests.bench.minimal_app", "azure.functions"
PAIRS = 15
# Gateways, services, subscriptions: few and large services, and one subscription with many vaults.
SIZES = ((500, 4, 2), (1_000, 4, 2), (5_000, 4, 2), (1_200, 400, 1))


async def cold_start() -> None:
    """The app against the least that could do its job: the import alone, then process start to first token."""
    say("", f"Cold start: medians of {PAIRS} pairs of fresh processes, in turn")
    async with an_estate(4) as emulator:
        settings = {**app_settings(emulator), "SUBSCRIPTION": SUBSCRIPTIONS[0]}
        for what, yardstick, option in (("import", FUNCTIONS, ["--import"]), ("first token", MINIMAL, [])):
            times: dict[str, list[float]] = {APP: [], yardstick: []}
            for number, module in product(range(PAIRS + 1), times):
                begin = time.monotonic()
                times_of_child = await child(
                    "-m", "tests.bench.first_token", module, *option, settings=settings
                )
                # The first pair warms the disk's cache and counts for nothing.
                times[module] += [
                    times_of_child["import"] if option else times_of_child["done"] - begin
                ] * bool(number)
            mine, theirs = map(median, times.values())
            difference = median(a - b for a, b in zip(*times.values(), strict=True))
            say(
                f"{what:<12}{APP:<14}{mine * 1000:>6.0f} ms   {yardstick:<26}{theirs * 1000:>6.0f} ms   "
                f"ratio {mine / theirs:.2f}, difference {difference * 1000:+.0f} ms"
            )


async def _run(emulator: Emulator) -> Any:  # noqa: ANN401 - JSON
    return await child("-m", "tests.bench.one_run", settings=app_settings(emulator))


async def run(gateways: int = 1_000, latency: float = 0.05) -> None:
    """A run that renews everything and one that finds everything fresh, against the limit of latency and concurrency.

    ARM's budget, for tokens in one subscription 200 at once and then 10 a second, is the other limit.
    """
    for services, subscriptions in ((4, 2), (40, 4)):
        say(
            "",
            f"Run: {gateways:,} gateways in {services} services over {subscriptions} subscriptions, {latency * 1000:.0f} ms a call",
            f"{'':<10}{'seconds':>9}{'CPU s':>7}{'calls':>8}{'limit s':>9}{'ratio':>7}{'peak calls':>12}{'peak MiB':>10}",
        )
        async with an_estate(gateways, services, subscriptions, latency) as emulator:
            for name in ("all due", "all fresh"):
                before = emulator.azure.arrived
                result = await _run(emulator)
                calls = emulator.azure.arrived - before
                budget = max(gateways / subscriptions - 200, 0) / 10 if name == "all due" else 0.0
                limit = max(calls * latency / AT_ONCE, budget)
                say(
                    f"{name:<10}{result['seconds']:>9.1f}{result['cpu']:>7.1f}{calls:>8,}{limit:>9.1f}"
                    f"{result['seconds'] / limit:>7.2f}{emulator.azure.peak:>12}{result['peak']:>10.0f}   {result['rows']}"
                )
    say(f"limit = calls x latency / {AT_ONCE} at a time, or ARM's budget, whichever is longer")


async def memory() -> None:
    """The peak of a fresh process that runs everything due, then of one that finds everything fresh, with no latency."""
    say("", "Memory: peak of the app's process, MiB")
    say(f"{'gateways':>10}{'services':>10}{'before':>9}{'all due':>9}{'all fresh':>11}{'seconds':>9}")
    for size, services, subscriptions in SIZES:
        async with an_estate(size, services, subscriptions) as emulator:
            due, fresh = await _run(emulator), await _run(emulator)
        say(
            f"{size:>10,}{services:>10}{due['before']:>9.0f}{due['peak']:>9.0f}{fresh['peak']:>11.0f}{due['seconds']:>9.1f}"
            f"   {due['rows']}"
        )


async def throttled(gateways: int = 10_000) -> None:
    """A run in real time while ARM throttles; none may be lost, none may come back before its Retry-After."""
    size, refill = ARM_LIMITS["write"]
    limit = max(gateways / len(SUBSCRIPTIONS) - size, 0) / refill
    say(
        "",
        f"Throttled: {gateways:,} gateways, each subscription {size} writes at once, then {refill} a second",
    )
    throttle = Throttle()
    async with an_estate(gateways, throttle=throttle) as emulator:
        result = await _run(emulator)
    say(
        f"seconds            {result['seconds']:.0f}",
        f"limit by throttle  {limit:.0f}" + (f" (ratio {result['seconds'] / limit:.2f})" if limit else ""),
        f"rows               {result['rows']}",
        f"refused with 429   {throttle.refused}",
        f"came back early    {throttle.early}",
        f"CPU s, peak MiB    {result['cpu']:.0f}, {result['peak']:.0f}",
    )


PARTS: dict[str, Callable[[], Awaitable[None]]] = {
    "cold-start": cold_start,
    "run": run,
    "memory": memory,
    "log-lines": log_lines.main,
    "throttled": throttled,
}


async def main(parts: list[str]) -> None:
    """Measure the parts, one after the other."""
    say(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()}")
    for part in parts:
        await PARTS[part]()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    usual = [name for name in PARTS if name != "throttled"]  # 10,000 gateways in real time, eight minutes
    parser.add_argument("parts", nargs="*", metavar="part", default=usual, help=", ".join(PARTS))
    asyncio.run(main(parser.parse_args().parts))
