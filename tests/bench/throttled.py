"""A run of 10,000 gateways while ARM throttles as it does in Azure, in real time: about eight minutes."""

from tests.bench.subject import SUBSCRIPTIONS, an_estate, app_settings, child, say
from tests.stand_ins.throttle import ARM_LIMITS


async def main(gateways: int = 10_000) -> None:
    """Measure a run that renews everything; none may be lost, none may come back before its Retry-After."""
    size, refill = ARM_LIMITS["write"]
    limit = max(gateways / len(SUBSCRIPTIONS) - size, 0) / refill
    say(
        "",
        f"Throttled: {gateways:,} gateways, each subscription {size} writes at once, then {refill} a second",
    )
    async with an_estate(gateways, throttle=True) as running:
        (found,) = await child("-m", "tests.bench.one_run", "1", settings=app_settings(running))
        counters = await running.counters()
    say(
        f"seconds            {found['seconds']:.0f}",
        f"limit by throttle  {limit:.0f} (ratio {found['seconds'] / limit:.2f})" if limit else "no limit",
        f"rows               {found['rows']}",
        f"refused with 429   {counters['refused']}",
        f"came back early    {counters['early']}",
        f"CPU s, peak MiB    {found['cpu']:.0f}, {found['peak']:.0f}",
        "Repeat: python -m tests.bench throttled",
    )
