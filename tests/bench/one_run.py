"""A child process: the app as its environment describes it makes a run, and says what it took, as JSON."""

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


async def run() -> dict[str, object]:
    """Make a run and measure it."""
    app, before, wall, cpu = gateway_app.current(), peak_mib(), time.monotonic(), time.process_time()
    requests = run_requests(app.settings.estate, app.clock())
    await asyncio.gather(*(Runs().reconcile(app, request) for request in requests))
    took, used, peak = time.monotonic() - wall, time.process_time() - cpu, peak_mib()
    reports = [await load_report(app, name) for name in app.settings.estate.services]
    rows = Counter(str(row.outcome) for report in reports for row in report.rows.values())
    await gateway_app.forget()
    return {"seconds": took, "cpu": used, "before": before, "peak": peak, "rows": dict(rows)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(run())) + "\n")
