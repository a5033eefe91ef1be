"""Cold start: the app against the least that could do its job, in pairs of fresh processes, medians."""

import time
from statistics import median

from tests.bench.subject import SUBSCRIPTIONS, an_estate, app_settings, child, say

APP, MINIMAL, FUNCTIONS = "function_app", "tests.bench.minimal_app", "azure.functions"


async def main(pairs: int = 15) -> None:
    """Measure the import alone, then process start to first token."""
    say("", f"Cold start: medians of {pairs} pairs of fresh processes, in turn")
    async with an_estate(4) as running:
        settings = {**app_settings(running), "SUBSCRIPTION": SUBSCRIPTIONS[0]}
        await _pairs(f"import {APP}", f"import {FUNCTIONS}", (APP, FUNCTIONS), settings, pairs, "--import")
        await _pairs("start to first token", "a minimal app", (APP, MINIMAL), settings, pairs)
    say("Repeat: python -m tests.bench cold-start")


async def _pairs(
    ours: str, theirs: str, modules: tuple[str, str], settings: dict[str, str], pairs: int, *option: str
) -> None:
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(pairs + 1):
        for module, kept in zip(modules, times, strict=True):
            begin = time.monotonic()
            found = await child("-m", "tests.bench.first_token", module, *option, settings=settings)
            # The first pair warms the disk's cache and counts for nothing.
            if number:
                kept.append(found["import"] if option else found["done"] - begin)
    mine, yardstick = (median(kept) for kept in times)
    difference = median(a - b for a, b in zip(*times, strict=True))
    say(
        f"{ours:<22}{mine * 1000:>6.0f} ms   {theirs:<22}{yardstick * 1000:>6.0f} ms   "
        f"ratio {mine / yardstick:.2f}, difference {difference * 1000:+.0f} ms"
    )
