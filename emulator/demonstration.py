"""What `make run` shows: a token issued in each mode of sign-in, then a run over an estate in mixed condition."""

import json
import logging
import ssl
from collections.abc import Coroutine, Mapping
from typing import Any

import aiohttp

from emulator import sample
from emulator.directory import API_ID, TENANT_ID
from emulator.host import Host
from emulator.server import Emulator
from emulator.table import RunTable

KEY = {"x-functions-key": sample.FUNCTION_KEY}
_OK = 200


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
