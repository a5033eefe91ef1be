"""What `make run` shows: a token issued in each mode of sign-in, then a run over an estate in mixed condition."""

import json
import logging
import shutil
import ssl
import textwrap
import time
from collections import Counter
from collections.abc import Coroutine, Mapping
from datetime import datetime
from typing import Any

import aiohttp

from emulator import sample
from emulator.directory import API_ID, TENANT_ID
from emulator.host import Host
from emulator.server import Emulator

KEY = {"x-functions-key": sample.FUNCTION_KEY}
_OK = 200
_WIDTHS = {"gateway": 17, "reason": 17, "outcome": 10, "until": 6}
_PROGRESS_SECONDS = 2


async def access_token(emulator: Emulator) -> str:
    """Return an access token for the API, got as the directory's application gets one from Entra, with its secret."""
    [application] = emulator.azure.directory.applications.values()
    form = {
        "grant_type": "client_credentials",
        "client_id": application.client_id,
        "client_secret": application.secret,
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


async def renew_all(host: Host, url: str, names: Mapping[str, str]) -> bool:
    """Renew the sample estate as the timer does, then ask for a run; return whether every row ended as the sample means it to."""
    rows = await renew_what_is_due(host, "3. ", names)
    address = f"{url}/api/renewals"
    print(f"4. Ask for a run over HTTP: all that could be renewed is fresh by now\n\nPOST {address}\n")
    again = await _shown(host, _ask_for_a_run(address), names)
    ended = {row["gateway"]: row["outcome"] for row in rows if row["gateway"] in sample.EXPECTED}
    return ended == sample.EXPECTED and {row["outcome"] for row in again} <= {"fresh", "restarting", "failed"}


async def renew_what_is_due(host: Host, number: str, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Renew as the timer does; return the rows."""
    print(f"{number}The timer renews what is due: one message per subscription\n")
    return await _shown(host, host.fire("renew_on_schedule"), names)


async def _shown(
    host: Host, asking: Coroutine[Any, Any, None], names: Mapping[str, str]
) -> list[dict[str, Any]]:
    table, log = RunTable(names), logging.getLogger("gateway_tokens")
    log.addHandler(table)
    try:
        await asking
        await host.queues.idle()
    finally:
        log.removeHandler(table)
    print(f"\n{table.summary()}\n")
    return table.rows


async def _ask_for_a_run(address: str) -> None:
    async with aiohttp.ClientSession(headers=KEY) as session, session.post(address) as answer:
        print(f"{answer.status} {answer.reason}\n\n{json.dumps(await answer.json(), indent=2)}\n")


class RunTable(logging.Handler):
    """Prints a run's rows from the app's own log lines. `names` are what the addresses of vaults and clusters are shown as.

    Of the rows that went well only `most` are printed, of those that did not every one.
    """

    def __init__(self, names: Mapping[str, str], most: int = 20) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []
        self.troubles: list[dict[str, Any]] = []
        self._names, self._most = names, most
        self._columns = shutil.get_terminal_size((80, 24)).columns
        self._told = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Take one log line."""
        line = json.loads(record.getMessage())
        if line["event"] != "run.row":
            return
        if not self.rows:
            self._print({**{name: name for name in _WIDTHS}, "destination": "destination"})
        self.rows.append(line)
        if record.levelno > logging.INFO:
            self.troubles.append(line)
        if record.levelno > logging.INFO or len(self.rows) <= self._most:
            self._print(self._shown(line))
        elif time.monotonic() - self._told > _PROGRESS_SECONDS:
            print(f"... {len(self.rows)} rows so far")
            self._told = time.monotonic()

    def summary(self) -> str:
        """What failed and why, before how many rows there were of each outcome."""
        counts = Counter(row["outcome"] or "kept" for row in self.rows)
        by_count = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in by_count)
        causes = [
            self._wrapped(
                ": ".join(
                    filter(None, [f"{row['gateway']} {row['outcome']}", row.get("code"), row.get("error")])
                )
            )
            for row in self.troubles[: self._most]
        ]
        return "\n".join([*causes, f"{len(self.rows)} rows: {outcomes}."])

    def _wrapped(self, text: str) -> str:
        return textwrap.fill(
            text, self._columns, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )

    def _print(self, shown: Mapping[str, str]) -> None:
        cells = [_fitted(shown[name], width).ljust(width) for name, width in _WIDTHS.items()]
        rest = self._columns - sum(_WIDTHS.values()) - len(_WIDTHS)
        print(" ".join([*cells, _fitted(shown["destination"], rest)]).rstrip())

    def _shown(self, line: dict[str, Any]) -> dict[str, str]:
        until = line.get("newExpiry") or line.get("oldExpiry")
        return {
            "gateway": f"{line['service']}/{line['gateway']}",
            "reason": line["reason"],
            "outcome": line.get("outcome", ""),
            "until": f"{datetime.fromisoformat(until):%d %b}" if until else "-",
            "destination": self._named(line["destination"]),
        }

    def _named(self, location: str) -> str:
        for address, name in self._names.items():
            if location.startswith(address):
                return f"{name}/{location.rpartition('/')[2]}"
        return location.removeprefix("https://")


def _fitted(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
