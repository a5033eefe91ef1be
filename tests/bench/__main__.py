"""`python -m tests.bench [cold-start|sweep|memory|throttled ...]`: measure, and print a small table for each part."""

import argparse
import asyncio
import os
import platform
from collections.abc import Awaitable, Callable

from tests.bench import cold_start, memory, subject, sweep, throttled

PARTS: dict[str, Callable[[], Awaitable[None]]] = {
    "cold-start": cold_start.main,
    "sweep": sweep.main,
    "memory": memory.main,
    "throttled": throttled.main,
}
USUAL = ("cold-start", "sweep", "memory")


async def main(parts: list[str]) -> None:
    """Measure the parts, one after the other."""
    subject.say(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()}")
    for part in parts or USUAL:
        await PARTS[part]()
    if not parts:
        subject.say(
            "", "Not run: python -m tests.bench throttled (10,000 gateways in real time, eight minutes)."
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    given: list[str] = parser.parse_args().parts
    if unknown := set(given) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    asyncio.run(main(given))
