"""A run of 1,000 gateways at 50 ms a call: how close it comes to the limit that latency and concurrency set."""

from gateway_tokens.renewal.service import AT_ONCE
from tests.bench.separate import Separate
from tests.bench.subject import an_estate, app_settings, child, say


async def main(gateways: int = 1_000, latency: float = 0.05) -> None:
    """Measure a run that renews everything, and one that finds everything fresh."""
    say("", f"Run: {gateways:,} gateways in 4 services over 2 subscriptions, {latency * 1000:.0f} ms a call")
    async with an_estate(gateways, latency=latency) as running:
        say(
            f"{'':<10}{'seconds':>9}{'CPU s':>7}{'calls':>8}{'limit s':>9}{'ratio':>7}{'peak calls':>12}{'peak MiB':>10}"
        )
        for name in ("all due", "all fresh"):
            calls = await _calls(running)
            (found,) = await child("-m", "tests.bench.one_run", "1", settings=app_settings(running))
            counters = await running.counters()
            calls = sum(counters["hosts"].values()) - calls
            limit = calls * latency / AT_ONCE
            say(
                f"{name:<10}{found['seconds']:>9.1f}{found['cpu']:>7.1f}{calls:>8,}{limit:>9.1f}"
                f"{found['seconds'] / limit:>7.2f}{counters['peak']:>12}{found['peak']:>10.0f}   {found['rows']}"
            )
    say(f"limit = calls x latency / {AT_ONCE} at a time. Repeat: python -m tests.bench run")


async def _calls(running: Separate) -> int:
    counters = await running.counters()
    return sum(counters["hosts"].values())
