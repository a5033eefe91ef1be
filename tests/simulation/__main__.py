"""`python -m tests.simulation --days 90 --gateways 50 --seed 1`: the whole simulation, printed."""

import argparse
import asyncio
import sys
from collections import Counter

from tests.simulation.run import simulate


def main() -> int:
    """Run it; return 0 when nothing was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    for name, default in (("--days", 90), ("--gateways", 50), ("--seed", 1)):
        parser.add_argument(name, type=int, default=default)
    given = vars(parser.parse_args())
    faults = asyncio.run(simulate(**given))
    lines = [f"{given}"]
    for name, value in vars(faults).items():
        if isinstance(value, Counter):
            lines += [
                f"{name}: {value.total()}",
                *(f"{count:>9} {what}" for what, count in value.most_common()),
            ]
        else:
            lines.append(f"{name}: {value}")
    sys.stdout.write("\n".join([*lines, ""]))
    return 1 if faults.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
