"""Regenerate a gateway's key: the idle one at the end of a rotation, or one that somebody revokes.

Proof before the deed: every location is read again, and Azure is asked whether each token there is the other key's. A
revoke first delivers tokens of that key everywhere, verifies, and asks for the restarts. Asked again, it goes on from
where it was, and regenerates a key that nothing needs once more, which harms nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gateway_tokens.azure.api_management import gateway_missing
from gateway_tokens.errors import (
    AzureFacts,
    AzureNotFound,
    AzureUnavailable,
    GatewayTokensError,
    RevokeStopped,
)
from gateway_tokens.estate.schema import GatewayRule
from gateway_tokens.logs import log_line, log_unexpected
from gateway_tokens.parts import App
from gateway_tokens.stored import Running
from gateway_tokens.tokens import GatewayRef, KeyType, ServiceId

from .gateway import GatewayRun
from .keys import OTHER, Phase
from .reader import RunOptions
from .rows import Demand, ManagedGateway, Observed, Proof, Row, RowId, why
from .service import ServiceRun

# What is not delivered by then stops a revoke before the regeneration; a caller waits a minute at most.
DELIVER_SECONDS = 45.0


async def reconcile(service: ServiceRun, gateways: Iterable[ManagedGateway]) -> None:
    """Bring every row of the gateways up to date, and then their keys. Raises nothing but the end of its time."""
    await service.reconcile(gateways)
    for run in service.rotating:
        for row in await _rotate(run):
            service.finish(row)
        service.note_regenerated(run)


async def _rotate(run: GatewayRun) -> list[Row]:
    """Regenerate the idle key if the rotation is that far; the rows that had to be repaired. Raises nothing."""
    options, ref, now = run.options, run.gateway.ref, run.options.app.clock()
    waits = run.gateway.rule.paused(now) or options.calendar.freeze(now)
    if run.key_state().phase is not Phase.REGENERATE or waits:
        return []
    try:
        rows = await run.read_all()
        state = run.key_state()
        if state.phase is Phase.REGENERATE and await _proved(run, filter(None, rows), state.active):
            await _end_key(run, state.idle, "rotation")
            return await _settle(run, state.active)
    except Exception as error:  # noqa: BLE001 - a rotation that fails must not stop its neighbours; the next run asks again
        if not isinstance(error, GatewayTokensError):
            log_unexpected(error, str(ref))
        log_line("key.not_regenerated", logging.ERROR, service=ref.service, gateway=ref.gateway, **why(error))
    return []


@dataclass(frozen=True, slots=True)
class Revocation:
    """What somebody asks for: the key to end, why, and whether it is to end before the gateway has tokens of the other."""

    key_type: KeyType
    reason: str
    immediately: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Revoked:
    """What became of it: the gateway's rows, what stopped it, and whether the key was regenerated (None: nobody knows)."""

    rows: list[Row]
    stopped: GatewayTokensError | None = None
    regenerated: bool | None = False


async def revoke(
    app: App, gateway: ManagedGateway, wanted: Revocation, caller: str, seconds: float = DELIVER_SECONDS
) -> Revoked:
    """What became of it. Raises AzureError and NotFound when nothing was delivered before."""
    options = RunOptions(app, Demand(app.clock(), key_type=OTHER[wanted.key_type]), caller)
    service = await ServiceRun.begun(gateway.ref.service, options)
    if wanted.dry_run:
        await service.plan([gateway])
        return Revoked(list(service.rows.values()))
    run = service.of(gateway)
    if wanted.immediately:
        await _end_revoked(run, wanted)
    async with service.reported(seconds):
        await reconcile(service, [gateway])
        for row in await _repair(run):
            service.finish(row)
    if wanted.immediately:
        return Revoked(list(service.rows.values()), regenerated=True)
    return await _ended(run, wanted, service.rows)


async def _ended(run: GatewayRun, wanted: Revocation, rows: Mapping[RowId, Row]) -> Revoked:
    """The key regenerated, if every location has a token of the other one."""
    kept, delivered = OTHER[wanted.key_type], list(rows.values())
    try:
        if left := await _left(run, kept):
            return Revoked(delivered, RevokeStopped(wanted.key_type, left))
    except GatewayTokensError as error:
        return Revoked(delivered, error)
    try:
        await _end_revoked(run, wanted)
    except GatewayTokensError as error:
        # A request whose answer is lost may have been carried out.
        return Revoked(delivered, error, None if isinstance(error, AzureUnavailable) else False)
    repaired = {row.id: row for row in await _settle(run, kept)}
    return Revoked(list({**rows, **repaired}.values()), regenerated=True)


async def active_key(app: App, ref: GatewayRef, of: ServiceId, rule: GatewayRule) -> KeyType:
    """The key in use of a gateway, as its destinations tell. Raises AzureUnavailable when none of them can be read."""
    service = await ServiceRun.begun(ref.service, RunOptions(app, Demand(app.clock()), "caller"))
    run = service.of(ManagedGateway(ref, of, rule))
    if not any(await run.read_all()):
        raise AzureUnavailable(f"Reading which key '{ref}' uses", AzureFacts())
    return run.key_state().active


async def _end_revoked(run: GatewayRun, wanted: Revocation) -> None:
    await _end_key(run, wanted.key_type, wanted.reason)
    log_line(
        "key.revoked",
        logging.WARNING,
        caller=run.options.caller,
        service=run.gateway.ref.service,
        gateway=run.gateway.ref.gateway,
        keyType=wanted.key_type,
        reason=wanted.reason,
        immediately=wanted.immediately,
        fingerprints=run.fingerprints,
    )


async def _end_key(run: GatewayRun, key_type: KeyType, reason: str) -> None:
    """Regenerate a key: every token of it ends. Log it with the tokens that were read last. Raises AzureError, NotFound."""
    service, ref = run.gateway.service, run.gateway.ref
    try:
        await run.options.app.gateways.regenerate_key(service, ref.gateway, key_type)
    except AzureNotFound as error:
        raise gateway_missing(error, ref) from None
    run.regenerated_at = run.options.app.clock()
    log_line(
        "key.regenerated",
        caller=run.options.caller,
        service=ref.service,
        gateway=ref.gateway,
        keyType=key_type,
        reason=reason,
        fingerprints=run.fingerprints,
    )


async def _settle(run: GatewayRun, kept: KeyType) -> list[Row]:
    """After a regeneration: note it beside the tokens of the key that was kept, and prove them once more. Raises nothing."""
    for row in await run.read_all():
        if row and row.key_type is kept:
            await _note_regenerated(run, row)
    return await _repair(run)


async def _note_regenerated(run: GatewayRun, row: Observed) -> None:
    """Note beside a token that the other key was regenerated. When this and the report are lost, that is done once more."""
    if row.stored is None or row.ownership is None:
        return
    app, ownership = run.options.app, replace(row.ownership, regenerated_at=run.options.app.clock())
    try:
        await app.destination(row.settings, run.gateway.ref).write_ownership(ownership, row.stored)
    except Exception as error:  # noqa: BLE001 - whatever it was, the key is regenerated
        log_line("key.not_noted", logging.WARNING, destination=row.id.location, **why(error))


async def _repair(run: GatewayRun) -> list[Row]:
    """Read every location again and renew the tokens of this app's that are dead; their rows. Raises nothing."""
    rows = [row for row in await run.read_all() if row and row.ownership]
    return [await run.reconcile(replace(row, proof=Proof(None))) for row in rows if await _is_dead(run, row)]


async def _is_dead(run: GatewayRun, row: Observed) -> bool:
    """Whether Azure answers with another token; without an answer the daily check will tell."""
    try:
        return row.key_type is not None and not await _is_signed(run, row, row.key_type)
    except Exception:  # noqa: BLE001 - the key is regenerated: nothing after it may look like its failure
        return False


async def _is_signed(run: GatewayRun, row: Observed, key_type: KeyType) -> bool:
    """Whether the stored token is alive and that key's, by Azure's own answer. Raises AzureError, NotFound, TokenUnusable."""
    token = row.token
    if token is None or token.expiry <= run.options.app.clock():
        return False
    return await run.issue(token.expiry, key_type) == token


async def _proved(run: GatewayRun, rows: Iterable[Observed], key_type: KeyType) -> bool:
    """Whether every stored token is that key's."""
    for row in rows:
        if not await _is_signed(run, row, key_type):
            log_line(
                "key.not_proved",
                logging.ERROR,
                service=row.id.ref.service,
                gateway=row.id.ref.gateway,
                destination=row.id.location,
                keyType=key_type,
            )
            return False
    return True


async def _left(run: GatewayRun, key_type: KeyType) -> list[str]:
    """The locations, read again, that still need a token of the key, by Azure's own answer, or a restart for it."""
    left = []
    for settings, row in zip(run.gateway.rule.destinations, await run.read_all(), strict=True):
        restarted = row and (row.restart is None or row.restart.running is not Running.OLD)
        if not (row and restarted and await _is_signed(run, row, key_type)):
            left.append(settings.location(run.gateway.ref))
    return left
