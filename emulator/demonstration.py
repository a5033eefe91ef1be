"""What `make run` shows: a token issued through the HTTP API, then a sweep of an estate in mixed condition."""

import json
import logging
import sys
import time
from typing import Any

import aiohttp

from emulator import sample

_OK = 200
_COLUMNS = {"gateway": 18, "destination": 34, "reason": 18, "outcome": 10, "oldExpiry": 17, "newExpiry": 17}


class SweepLines(logging.Handler):
    """Gathers a sweep's rows from the app's own log lines, and shows progress when it takes longer than a moment."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []
        self._began = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Take one log line."""
        line = json.loads(record.getMessage())
        if line["event"] == "sweep.row":
            self.rows.append(line)
        elif line["event"] == "sweep.progress" and time.monotonic() - self._began > 1:
            print(f"  ... {line['rows']} rows so far, {line['failed']} failed", file=sys.stderr)


async def issue_one(url: str) -> bool:
    """Issue one token, printing request and answer; return whether it worked."""
    address = f"{url}/api/services/contoso/gateways/edge-01/generateToken"
    body = {"keyType": "primary", "lifetime": "P7D"}
    print(
        f"1. Issue a token\n\nPOST {address}\nx-functions-key: {sample.FUNCTION_KEY}\n\n{json.dumps(body)}\n"
    )
    async with _session() as session, session.post(address, json=body) as answer:
        document = await answer.json()
        print(
            f"{answer.status} {answer.reason}\nx-correlation-id: {answer.headers.get('x-correlation-id')}\n"
        )
        print(json.dumps(document, indent=2), "\n")
        return answer.status == _OK and document["value"].startswith("edge-01&")


async def sweep_all(url: str) -> bool:
    """Sweep the sample estate, printing a table; return whether every row ended as the sample means it to."""
    address = f"{url}/api/renewals"
    print(f"2. Renew what is due in the whole estate\n\nPOST {address}\n")
    lines = SweepLines()
    log = logging.getLogger("gateway_tokens")
    log.addHandler(lines)
    try:
        async with _session() as session, session.post(address) as answer:
            document = await answer.json()
    finally:
        log.removeHandler(lines)
    _print_table(lines.rows)
    failing = [row for row in lines.rows if row["outcome"] == "failed"]
    for row in failing:
        print(f"\n{row['gateway']} failed, and its neighbours did not:\n  {row['code']}: {row['error']}")
    print(f"\n{answer.status} {answer.reason}  {json.dumps(document.get('report', document)['counts'])}\n")
    return {
        row["gateway"]: row["outcome"] for row in lines.rows if row["gateway"] in sample.EXPECTED
    } == sample.EXPECTED


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(headers={"x-functions-key": sample.FUNCTION_KEY})


def _print_table(rows: list[dict[str, Any]], most: int = 20) -> None:
    print("  ".join(name.ljust(width) for name, width in _COLUMNS.items()))
    for row in sorted(rows, key=lambda row: (row["service"], row["gateway"]))[:most]:
        shown = {
            **row,
            "gateway": f"{row['service']}/{row['gateway']}",
            "destination": row["destination"].removeprefix("https://")[-34:],
            "oldExpiry": row.get("oldExpiry", "-").replace("T", " ").removesuffix(":00Z"),
            "newExpiry": row.get("newExpiry", "-").replace("T", " ").removesuffix(":00Z"),
        }
        print("  ".join(str(shown[name]).ljust(width) for name, width in _COLUMNS.items()))
    if len(rows) > most:
        print(f"... and {len(rows) - most} more rows")
