"""A child process: the app as its environment describes it makes some runs, and says what each took, as JSON."""

import asyncio
import json
import resource
import sys
import time
from collections import Counter
from pathlib import Path

from gateway_tokens import app as gateway_app
from gateway_tokens.renewal.run import Runs, run_requests
from gateway_tokens.renewal.service import load_report


def peak_mib() -> float:
    """The most memory this process has stored. Linux counts `getrusage` from before exec, so its own count first."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    own = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return (own[0] if own else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024


async def runs(count: int) -> list[dict[str, object]]:
    """Make so many runs; measure each."""
    app, found = gateway_app.current(), []
    before = peak_mib()
    for _ in range(count):
        wall, cpu = time.monotonic(), time.process_time()
        requests = run_requests(app.settings.estate, app.clock())
        await asyncio.gather(*(Runs().reconcile(app, request) for request in requests))
        took, used = time.monotonic() - wall, time.process_time() - cpu
        reports = [await load_report(app, name) for name in app.settings.estate.services]
        rows = Counter(str(row.outcome) for report in reports for row in report.rows.values())
        found.append({"seconds": took, "cpu": used, "before": before, "peak": peak_mib(), "rows": dict(rows)})
    await gateway_app.forget()
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(runs(int(sys.argv[1])))) + "\n")
