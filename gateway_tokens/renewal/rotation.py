"""Regenerate a gateway's idle key: at the end of a rotation, or because somebody revokes it.

Proof before the deed: every location is read again, and Azure is asked whether each token there is the active key's.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from gateway_tokens.errors import GatewayTokensError
from gateway_tokens.logs import log_line, log_unexpected
from gateway_tokens.tokens import KeyType

from .gateway import GatewayRun
from .keys import OTHER, Phase
from .report import Row, why
from .rows import Observed, Proof


async def rotate(run: GatewayRun) -> list[Row]:
    """Regenerate the idle key if the rotation is that far; the rows that had to be repaired. Raises nothing."""
    rule, options = run.gateway.rule, run.options
    now = options.clock()
    if run.key_state().phase is not Phase.REGENERATE or rule.paused(now) or options.calendar.freeze(now):
        return []
    try:
        rows = await run.read_all()
        state = run.key_state()
        if state.phase is Phase.REGENERATE and await _proved(run, rows, state.active):
            return await regenerate(run, state.idle, reason="rotation")
    except Exception as error:  # noqa: BLE001 - a rotation that fails must not stop its neighbours; the next run asks again
        ref = run.gateway.ref
        if not isinstance(error, GatewayTokensError):
            log_unexpected(error, str(ref))
        log_line("key.not_regenerated", logging.ERROR, service=ref.service, gateway=ref.gateway, **why(error))
    return []


async def regenerate(run: GatewayRun, key_type: KeyType, *, reason: str) -> list[Row]:
    """Regenerate a key that no location needs, note it beside the tokens of the other one, and prove them once more.

    The rows that had to be repaired. Raises AzureError, NotFound; what follows the regeneration raises nothing.
    """
    await end_key(run, key_type, reason=reason)
    for row in await run.read_all():
        if row and row.key_type is OTHER[key_type]:
            await run.note_regenerated(row)
    return await repair(run)


async def end_key(run: GatewayRun, key_type: KeyType, *, reason: str) -> None:
    """Regenerate a key and log it, with the tokens that were read last. Raises AzureError, NotFound."""
    await run.regenerate_key(key_type)
    log_line(
        "key.regenerated",
        caller=run.options.caller,
        service=run.gateway.ref.service,
        gateway=run.gateway.ref.gateway,
        keyType=key_type,
        reason=reason,
        fingerprints=run.fingerprints,
    )


async def repair(run: GatewayRun) -> list[Row]:
    """Read every location again and renew the tokens of this app's that are dead; their rows. Raises nothing."""
    rows = [row for row in await run.read_all() if row and row.ownership]
    return [await run.reconcile(replace(row, proof=Proof(None))) for row in rows if await _is_dead(run, row)]


async def is_signed(run: GatewayRun, row: Observed, key_type: KeyType) -> bool:
    """Whether the stored token is alive and that key's, by Azure's own answer. Raises AzureError, NotFound, TokenUnusable."""
    token = row.token
    alive = token is not None and token.expiry > run.options.clock()
    return token is not None and alive and await run.issue(token.expiry, key_type) == token


async def _proved(run: GatewayRun, rows: Sequence[Observed | None], key_type: KeyType) -> bool:
    """Whether every stored token is that key's."""
    for row in filter(None, rows):
        if not await is_signed(run, row, key_type):
            ref = run.gateway.ref
            log_line(
                "key.not_proved",
                logging.ERROR,
                service=ref.service,
                gateway=ref.gateway,
                destination=row.id.location,
                keyType=key_type,
            )
            return False
    return True


async def _is_dead(run: GatewayRun, row: Observed) -> bool:
    """Whether Azure answers with another token; without an answer the daily check will tell."""
    if row.key_type is None:
        return False
    try:
        return not await is_signed(run, row, row.key_type)
    except Exception:  # noqa: BLE001 - the key is regenerated: nothing after it may look like its failure
        return False
