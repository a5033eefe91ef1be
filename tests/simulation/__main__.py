"""`python -m tests.simulation --days 90 --gateways 50 --seed 1`: the whole simulation, printed."""

import argparse
import asyncio
import sys
import time

from tests.simulation.run import simulate


def main() -> int:
    """Run it; return 0 when everything that must hold stored."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    for name, default in (("--days", 90), ("--gateways", 50), ("--seed", 1)):
        parser.add_argument(name, type=int, default=default)
    given = parser.parse_args()
    begin = time.monotonic()
    found = asyncio.run(simulate(days=given.days, gateways=given.gateways, seed=given.seed))
    closest, where = found.closest
    lines = [
        f"{given.days} days, {given.gateways} gateways, {found.rows} rows, seed {given.seed}",
        f"runs               {found.runs}, and {24 * given.days - found.runs} missed",
        f"renewals             {found.renewals}",
        *(f"  {reason:<19}{count}" for reason, count in found.reasons.most_common() if count),
        f"by others            {dict(found.others)}",
        f"restarts             {found.restarts}, {found.overridden} of them outside windows, at risk or asked for",
        f"questions            {found.questions}, {found.questions / found.rows / given.days:.1f} a row and day",
        f"dead                 {len(found.dead)}, found after at most {max(found.dead, default=0)} runs",
        f"check stopped        {found.stopped} times",
        f"faults               {found.faults.total()}",
        *(f"  {fault:<50}{count}" for fault, count in found.faults.most_common()),
        f"closest to expiry    {closest} ({where})",
        f"expired, no path     {found.helpless}",
        f"wrong                {len(found.wrong)}",
        *(f"  {wrong}" for wrong in found.wrong[:20]),
        f"took                 {time.monotonic() - begin:.1f} s",
    ]
    sys.stdout.write("\n".join([*lines, ""]))
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
