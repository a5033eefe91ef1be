"""What `make run` shows: a token issued in each mode of sign-in, then a sweep of an estate in mixed condition."""

import json
import logging
import ssl
import sys
import time
from typing import Any

import aiohttp

from emulator import sample
from emulator.directory import API_ID, TENANT_ID
from emulator.server import Emulator

KEY = {"x-functions-key": sample.FUNCTION_KEY}
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


async def access_token(emulator: Emulator) -> str:
    """Return an access token for the API, got as an application with a secret gets one from Entra."""
    form = {
        "grant_type": "client_credentials",
        "client_id": sample.CALLER.client_id,
        "client_secret": sample.CALLER.secret,
        "scope": f"api://{API_ID}/.default",
    }
    address = f"{emulator.azure.directory.endpoint}/{TENANT_ID}/oauth2/v2.0/token"
    tls = ssl.create_default_context(cafile=emulator.ca_file)
    async with aiohttp.ClientSession() as session, session.post(address, data=form, ssl=tls) as answer:
        return str((await answer.json())["access_token"])


async def issue_one(url: str, title: str, headers: dict[str, str]) -> bool:
    """Issue one token to the caller of these headers, printing request and answer; return whether it worked."""
    address = f"{url}/api/services/contoso/gateways/edge-01/generateToken"
    body = {"keyType": "primary", "lifetime": "P7D"}
    shown = "\n".join(f"{name}: {value[:40]}{'...' if value[40:] else ''}" for name, value in headers.items())
    print(f"{title}\n\nPOST {address}\n{shown}\n\n{json.dumps(body)}\n")
    async with aiohttp.ClientSession(headers=headers) as session, session.post(address, json=body) as answer:
        document = await answer.json()
        print(
            f"{answer.status} {answer.reason}\nx-correlation-id: {answer.headers.get('x-correlation-id')}\n"
        )
        print(json.dumps(document, indent=2), "\n")
        return answer.status == _OK and document["value"].startswith("edge-01&")


async def sweep_all(url: str) -> bool:
    """Sweep the sample estate, printing a table; return whether every row ended as the sample means it to."""
    address = f"{url}/api/renewals"
    print(f"3. Renew what is due in the whole estate\n\nPOST {address}\n")
    lines = SweepLines()
    log = logging.getLogger("gateway_tokens")
    log.addHandler(lines)
    try:
        async with aiohttp.ClientSession(headers=KEY) as session, session.post(address) as answer:
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
