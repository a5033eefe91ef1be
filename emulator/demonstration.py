"""What `make run` shows: a token issued in each mode of sign-in, then a run over an estate in mixed condition."""

import json
import logging
import ssl
import sys
import time
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import aiohttp

from emulator import sample
from emulator.directory import API_ID, TENANT_ID
from emulator.host import Host
from emulator.server import Emulator

KEY = {"x-functions-key": sample.FUNCTION_KEY}
_OK = 200
_COLUMNS = {"gateway": 18, "destination": 34, "reason": 18, "outcome": 10, "oldExpiry": 17, "newExpiry": 17}


class RunLines(logging.Handler):
    """Gathers a run's rows from the app's own log lines; shows progress on a terminal when a run takes longer."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []
        self._told = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Take one log line."""
        line = json.loads(record.getMessage())
        if line["event"] == "run.row":
            self.rows.append(line)
            if sys.stderr.isatty() and time.monotonic() - self._told > 1:
                self._told = time.monotonic()
                print(f"  ... {len(self.rows)} rows so far", file=sys.stderr)


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


async def renew_all(host: Host, url: str) -> bool:
    """Renew the sample estate as the timer does, then ask for a run; return whether every row ended as the sample means it to."""
    print("3. The timer renews what is due: one message per subscription\n")
    rows = await _rows_of(host, host.fire("renew_on_schedule"))
    _print_table(rows)
    for row in (row for row in rows if row["outcome"] == "failed"):
        print(f"\n{row['gateway']} failed, and its neighbours did not:\n  {row['code']}: {row['error']}")
    address = f"{url}/api/renewals"
    print(f"\n4. Ask for a run over HTTP: all that could be renewed is fresh by now\n\nPOST {address}\n")
    again = await _rows_of(host, _ask_for_a_run(address))
    counts = Counter(row["outcome"] for row in again)
    print(f"\n{json.dumps(counts)}\n")
    ended = {row["gateway"]: row["outcome"] for row in rows if row["gateway"] in sample.EXPECTED}
    return ended == sample.EXPECTED and set(counts) <= {"fresh", "restarting", "failed"}


async def _rows_of(host: Host, asking: Coroutine[Any, Any, None]) -> list[dict[str, Any]]:
    lines, log = RunLines(), logging.getLogger("gateway_tokens")
    log.addHandler(lines)
    try:
        await asking
        await host.idle()
    finally:
        log.removeHandler(lines)
    return lines.rows


async def _ask_for_a_run(address: str) -> None:
    async with aiohttp.ClientSession(headers=KEY) as session, session.post(address) as answer:
        print(f"{answer.status} {answer.reason}  {json.dumps(await answer.json())}")


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
