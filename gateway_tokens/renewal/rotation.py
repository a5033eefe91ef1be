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
from .keys import KeyState, Phase
from .report import Row, why
from .rows import Observed, Proof


async def rotate(run: GatewayRun) -> list[Row]:
    """Regenerate the idle key if the rotation is that far; the rows that had to be repaired. Raises nothing."""
    if run.key_state().phase is not Phase.REGENERATE:
        return []
    try:
        rows = [row for row in await run.read_all() if row]
        state = run.key_state()
        if state.phase is Phase.REGENERATE and await _proved(run, rows, state):
            return await regenerate(run, rows, state.idle, reason="rotation")
    except Exception as error:  # noqa: BLE001 - a rotation that fails must not stop its neighbours; the next run asks again
        ref = run.gateway.ref
        if not isinstance(error, GatewayTokensError):
            log_unexpected(error, str(ref))
        log_line("key.not_regenerated", logging.ERROR, service=ref.service, gateway=ref.gateway, **why(error))
    return []


async def regenerate(
    run: GatewayRun, rows: Sequence[Observed], key_type: KeyType, *, reason: str
) -> list[Row]:
    """Regenerate a key that none of the rows needs, note it beside their tokens, and prove them once more.

    The rows that had to be repaired. Raises AzureError, NotFound; what follows the regeneration raises nothing.
    """
    await run.regenerate_key(key_type)
    ref = run.gateway.ref
    log_line(
        "key.regenerated",
        caller=run.options.caller,
        service=ref.service,
        gateway=ref.gateway,
        keyType=key_type,
        reason=reason,
        fingerprints=fingerprints_of(rows),
    )
    repaired = []
    for row in rows:
        await run.note_regenerated(row)
        if not await _is_alive(run, row):
            repaired.append(await run.reconcile(replace(row, proof=Proof(None))))
    return repaired


def fingerprints_of(rows: Sequence[Observed]) -> str:
    """The tokens that a gateway's locations hold, for the log."""
    return ", ".join(sorted({row.token.fingerprint for row in rows if row.token}))


async def _proved(run: GatewayRun, rows: Sequence[Observed], state: KeyState) -> bool:
    """Whether every stored token is the active key's, by Azure's own answer."""
    for row in rows:
        if row.token is None or await run.issue(row.token.expiry, state.active) != row.token:
            ref = run.gateway.ref
            log_line(
                "key.not_proved",
                logging.ERROR,
                service=ref.service,
                gateway=ref.gateway,
                destination=row.id.location,
                keyType=state.active,
            )
            return False
    return True


async def _is_alive(run: GatewayRun, row: Observed) -> bool:
    """Whether a token is still what Azure answers; without an answer the daily check will tell."""
    if row.token is None or row.key_type is None:
        return True
    try:
        return await run.issue(row.token.expiry, row.key_type) == row.token
    except Exception:  # noqa: BLE001 - the key is regenerated: nothing after it may look like its failure
        return True
