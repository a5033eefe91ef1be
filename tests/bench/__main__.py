"""`python -m tests.bench [cold-start|run|memory|log-lines|throttled ...]`: measure, and print a small table for each part."""

import argparse
import asyncio
import os
import platform
from collections.abc import Awaitable, Callable

from tests.bench import cold_start, log_lines, memory, run, subject, throttled

PARTS: dict[str, Callable[[], Awaitable[None]]] = {
    "cold-start": cold_start.main,
    "run": run.main,
    "memory": memory.main,
    "log-lines": log_lines.main,
    "throttled": throttled.main,
}
USUAL = ("cold-start", "run", "memory", "log-lines")


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
