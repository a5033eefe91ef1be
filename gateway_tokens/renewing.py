"""Use case: keep one gateway's token fresh at its destinations. Observe, plan, issue, check, push, read back, restart.

Rows are independent: one that fails leaves its neighbours alone. A gateway's due rows share one new token. Whatever
interrupts it, the next run sees in the destination itself what is left to do.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .delivery import Delivery
from .errors import AzureNotFound
from .issuing import Issued, gateway_missing, issue_checked, log_issued
from .ledger import Label
from .policy import expiry_after

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .model import GatewayToken
    from .report import Row
    from .units import Terms, Unit


async def keep(unit: Unit, terms: Terms) -> list[Row]:
    """Bring every destination of a gateway up to date. Never raises: what failed is in its row."""
    token = _once(lambda: _issue(unit, terms))
    rows = [Delivery(unit, spec, terms, token) for spec in unit.rule.destinations]
    return await asyncio.gather(*(row.keep() for row in rows))


async def look(unit: Unit, terms: Terms) -> list[Row]:
    """What `keep` would do, and why; nothing is executed. Never raises."""

    async def nothing() -> GatewayToken:
        raise AssertionError("a look issues no token")

    rows = [Delivery(unit, spec, terms, nothing) for spec in unit.rule.destinations]
    return await asyncio.gather(*(row.look() for row in rows))


async def _issue(unit: Unit, terms: Terms) -> GatewayToken:
    now = terms.clock()
    expiry = expiry_after(unit.rule.lifetime, now)
    try:
        token = await issue_checked(
            terms.gateways, unit.service, unit.ref.gateway, unit.rule.key_type, expiry
        )
    except AzureNotFound as error:
        raise gateway_missing(error, unit.ref) from None
    log_issued(Issued(unit.ref, Label(unit.owner, unit.rule.key_type, now), token), terms.caller)
    return token


def _once(make: Callable[[], Awaitable[GatewayToken]]) -> Callable[[], Awaitable[GatewayToken]]:
    """Calls `make` at the first await only; all share its result or its error."""
    made: list[asyncio.Task[GatewayToken]] = []

    async def shared() -> GatewayToken:
        if not made:
            made.append(asyncio.ensure_future(make()))
        return await asyncio.shield(made[0])

    return shared
