"""Memory as the estate grows: the peak of a process that runs it, everything due, then everything fresh."""

from tests.bench.subject import an_estate, app_settings, child, say

SIZES = (500, 1_000, 5_000, 10_000)


async def main(sizes: tuple[int, ...] = SIZES) -> None:
    """Measure each size in a process of its own, with no latency."""
    say("", "Memory: peak of the app's process, MiB")
    say(f"{'gateways':>10}{'before':>9}{'all due':>9}{'all fresh':>11}{'seconds':>9}")
    for size in sizes:
        async with an_estate(size) as running:
            due, fresh = await child("-m", "tests.bench.one_run", "2", settings=app_settings(running))
        say(
            f"{size:>10,}{due['before']:>9.0f}{due['peak']:>9.0f}{fresh['peak']:>11.0f}{due['seconds']:>9.1f}"
            f"   {due['rows']}"
        )
    say("Repeat: python -m tests.bench memory")
