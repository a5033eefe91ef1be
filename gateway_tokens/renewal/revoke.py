"""End every token of one of a gateway's keys, now, without taking the gateway down.

Deliver tokens of the other key everywhere, verify, ask for the restarts, and only then regenerate. Asked again, it goes
on from where it was, and regenerates a key that nothing needs once more, which harms nobody.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from gateway_tokens.errors import AzureFacts, AzureUnavailable, RevokeStopped
from gateway_tokens.estate.schema import ManagedGateway
from gateway_tokens.logs import correlation, log_line
from gateway_tokens.parts import App
from gateway_tokens.stored import Running
from gateway_tokens.tokens import KeyType

from .gateway import GatewayRun
from .keys import OTHER
from .places import Places
from .report import Row, ServiceReport
from .rotation import end_key, is_signed, regenerate, repair
from .rows import Demand
from .run import load_report, options_of, save_report
from .service import ServiceRun

# What is not delivered by then stops a revoke before the regeneration; a caller waits a minute at most.
DELIVER_SECONDS = 45.0


@dataclass(frozen=True, slots=True)
class Revocation:
    """What somebody asks for: the key to end, why, and whether it is to end before the gateway has tokens of the other."""

    key_type: KeyType
    reason: str
    immediately: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Revoked:
    """What became of it: the gateway's rows, and why the key was not regenerated."""

    rows: list[Row]
    stopped: RevokeStopped | None = None


async def revoke(
    app: App, gateway: ManagedGateway, wanted: Revocation, caller: str, seconds: float = DELIVER_SECONDS
) -> Revoked:
    """The gateway's rows after it, and what kept the key from being regenerated, if anything. Raises AzureError, NotFound."""
    now, name = app.clock(), gateway.ref.service
    options = options_of(app, Demand(now, key_type=OTHER[wanted.key_type]), caller)
    run = ServiceRun(name, options, await load_report(app, name))
    if wanted.dry_run:
        await run.plan([gateway])
        return Revoked(list(run.rows.values()))
    single = GatewayRun(gateway, options, ServiceReport(), Places(now))
    if wanted.immediately:
        await end_key(single, wanted.key_type, reason=wanted.reason)
        _log(single, wanted, caller)
    try:
        async with asyncio.timeout(seconds):
            await run.reconcile([gateway])
            for row in await repair(single):
                run.finish(row)
    except TimeoutError:
        log_line("service.cut_off", logging.ERROR, service=name, rows=len(run.rows))
    rows = list(run.rows.values())
    await save_report(app, name, rows, correlation.get(), started_at=now, whole=False)
    if wanted.immediately:
        return Revoked(rows)
    if left := await _left(single, OTHER[wanted.key_type]):
        return Revoked(rows, RevokeStopped(wanted.key_type, left))
    repaired = await regenerate(single, wanted.key_type, reason=wanted.reason)
    _log(single, wanted, caller)
    return Revoked([*{row.id: row for row in (*rows, *repaired)}.values()])


async def active_key(app: App, gateway: ManagedGateway) -> KeyType:
    """The key in use of a gateway, as its destinations tell. Raises AzureUnavailable when none of them can be read."""
    options = options_of(app, Demand(app.clock()), "caller")
    report = await load_report(app, gateway.ref.service)
    run = GatewayRun(gateway, options, report, Places(app.clock()))
    if not any(await run.read_all()):
        raise AzureUnavailable(f"Reading which key '{gateway.ref}' uses", AzureFacts())
    return run.key_state().active


async def _left(run: GatewayRun, key_type: KeyType) -> list[str]:
    """The locations, read again, that still need a token of the key, by Azure's own answer, or a restart for it."""
    left = []
    for settings, row in zip(run.gateway.rule.destinations, await run.read_all(), strict=True):
        restart = row.stored.restart if row and row.stored else None
        asked = restart is None or restart.running is not Running.OLD
        if not (row and asked and await is_signed(run, row, key_type)):
            left.append(settings.location(run.gateway.ref))
    return left


def _log(run: GatewayRun, wanted: Revocation, caller: str) -> None:
    log_line(
        "key.revoked",
        logging.WARNING,
        caller=caller,
        service=run.gateway.ref.service,
        gateway=run.gateway.ref.gateway,
        keyType=wanted.key_type,
        reason=wanted.reason,
        immediately=wanted.immediately,
        fingerprints=run.fingerprints,
    )
