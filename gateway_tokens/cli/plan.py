"""What the app would do with every gateway and destination now, and why: read with your own sign-in, never written."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from rich.box import HORIZONTALS
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from gateway_tokens.app import put_together
from gateway_tokens.estate.app_settings import read_settings
from gateway_tokens.estate.schema import Estate, GatewayRule, Service
from gateway_tokens.http.answers import row_shown
from gateway_tokens.parts import App
from gateway_tokens.renewal.rows import Action, Reason
from gateway_tokens.renewal.run import planned
from gateway_tokens.renewal.service import ServiceRun
from gateway_tokens.sign_in import CredentialKind

from .documents import EstateFile

Rows = list[dict[str, Any]]
_T = TypeVar("_T")
_LEFT_ALONE = "left_alone"
_OF_THE_FILE = {"RENEWAL_SCHEDULE", "ARM_ENDPOINT", "ARM_SCOPE", "CA_FILE"}
# An estate without services, callers and reports, whose place the file's takes.
_NO_ESTATE = {"GATEWAY_TOKENS": '{"services": {}}', "ALLOW_FUNCTION_KEYS": "true"}


async def signed_in(file: EstateFile, estate: Estate, work: Callable[..., Awaitable[_T]]) -> _T:
    """What the work returns for an app of the file's estate, with the sign-in of the Azure CLI. Raises IdentityUnavailable.

    DefaultAzureCredential would take the first identity that it finds, a service principal in the environment perhaps.
    What `az account show` prints is who reads here, on a laptop and in a pipeline.
    """
    given = {name: v for name, v in {**os.environ, **file.settings}.items() if name in _OF_THE_FILE}
    settings = read_settings({**given, **_NO_ESTATE, "AZURE_CREDENTIAL": CredentialKind.AZURE_CLI})
    app, azure = put_together(replace(settings, estate=estate))
    try:
        await azure.identity_works()
        return await work(app, azure)
    finally:
        await azure.close()


async def read_plan(app: App) -> Rows:
    """Every row of the estate as `GET renewals` shows it, and every gateway that is left alone."""
    console, services = Console(stderr=True), app.settings.estate.services
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Reading services", total=len(services))
        runs = await planned(app, services, "command line", lambda _: True, lambda: bar.advance(task))
    return [row for run in runs for row in _rows_of(run, services[run.name], app.clock())]


def _rows_of(run: ServiceRun, service: Service, now: datetime) -> Iterator[dict[str, Any]]:
    listed = {gateway.casefold(): gateway for gateway in run.listed or ()}
    alone = listed.keys() - {row.id.ref.gateway.casefold() for row in run.rows.values()}
    rows = [(r.id.ref.gateway, _described(row_shown(r, run.report, now))) for r in run.rows.values()]
    rows += [(listed[gateway], _left_alone(service.rule_for(gateway))) for gateway in sorted(alone)]
    for gateway, row in rows:
        known = run.listed is None or gateway.casefold() in listed
        yield {"service": run.name, "gatewayId": gateway, "listed": known, **row}


def _left_alone(rule: GatewayRule | None) -> dict[str, Any]:
    message = "its rule has no destination" if rule else "no rule names it"
    return {"destination": "", "action": Action.KEEP, "reason": _LEFT_ALONE, "message": message}


def _described(row: dict[str, Any]) -> dict[str, Any]:
    stored, whose = "a token" if row["expiry"] else "a value that is not a token", "somebody else's"
    if row["action"] is None:
        stored, whose = "not read", ""
    elif row["reason"] == Reason.NOT_STORED:
        stored, whose = "nothing", ""
    elif row["keyType"] and row["reason"] not in {Reason.OWNED_BY_ANOTHER, Reason.ADOPTED}:
        whose = "this app's"
    return {**row, "error": of_a_person(row["error"] or "") or None, "stored": stored, "whose": whose}


def of_a_person(error: str) -> str:
    """The text of an error of the app's, whose identity is a person's here."""
    return error.replace("The app's identity", "Your sign-in").replace("(infra/ does)", "(infra/: the app's)")


def is_bad(row: dict[str, Any]) -> bool:
    """Whether a run would not bring the row up to date: it cannot be read, or must not be written."""
    return row["action"] in {None, Action.REFUSE}


def print_plan(rows: Rows, console: Console) -> None:
    """The rows as a table that fits the console."""
    columns = (Column(n, overflow="fold") for n in ("Gateway and destination", "Stored", "The app would"))
    table, counts = Table(*columns, box=HORIZONTALS, show_lines=True), Counter[str]()
    for row in rows:
        until = f"until {row['expiry'][:16].replace('T', ' ')}" if row.get("expiry") else ""
        stored = (row.get("stored"), until, row.get("whose"))
        would, why = row["action"] or "not known", f"{row['reason']}: {row['message']}"
        decided = (would, why if row["action"] else f"{row['code']}: {row['error']}")
        row_name = (f"{row['service']}/{row['gatewayId']}", row["destination"])
        cells = ("\n".join(filter(None, cell)) for cell in (row_name, stored, decided))
        table.add_row(*cells, style="red" if is_bad(row) else "")
        counts[_LEFT_ALONE if row["reason"] == _LEFT_ALONE else would] += 1
    done = ", ".join(f"{n} {action}" for action, n in sorted(counts.items()))
    console.print(table, done, "Times are in UTC. Nothing was written.", sep="\n")
