"""The keys by which Microsoft Entra signs tokens: fetched when they are needed, kept while they can be trusted.

PyJWT's own client of keys is not used: it blocks the event loop, and it refuses keys that it knows while the endpoint
is away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway_tokens.errors import AzureFacts, SigningKeysUnavailable
from gateway_tokens.logs import log_line

if TYPE_CHECKING:
    import aiohttp
    from jwt import PyJWK


# All in seconds.
FETCH_TIMEOUT = 5.0
REFRESH_AFTER = 3600.0
KEEP_FOR = 24 * 3600.0
UNKNOWN_KEY_PAUSE = 60.0  # a caller makes up key ids at no cost
FAILURE_PAUSE = 30.0
_NEVER = float("-inf")


class SigningKeys:
    """The keys of the JSON Web Key Set at an address."""

    def __init__(self, session: aiohttp.ClientSession, address: str, monotonic: Callable[[], float]) -> None:
        self._session, self._address, self._monotonic = session, address, monotonic
        self._keys: dict[str, PyJWK] = {}
        self._fetched_at = self._failed_at = _NEVER
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, key_id: str) -> PyJWK | None:
        """The key of that id, None if Entra has none. Raises SigningKeysUnavailable when that cannot be told."""
        key = self._kept().get(key_id)
        if key is not None:
            if self._since(self._fetched_at) >= REFRESH_AFTER:
                self._begin()
            return key
        if not self._kept() or self._since(self._fetched_at) >= UNKNOWN_KEY_PAUSE:
            fetching = self._begin()
            if fetching is not None:
                # Shielded: a caller who gives up must not end the fetch that others wait for.
                await asyncio.shield(fetching)
        key = self._kept().get(key_id)
        if key is None and self._failed_at > self._fetched_at:
            facts = AzureFacts(retry_after=FAILURE_PAUSE)
            raise SigningKeysUnavailable("Fetching the signing keys of Microsoft Entra", facts)
        return key

    async def close(self) -> None:
        """End a fetch that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def _kept(self) -> dict[str, PyJWK]:
        return self._keys if self._since(self._fetched_at) < KEEP_FOR else {}

    def _since(self, moment: float) -> float:
        return self._monotonic() - moment

    def _begin(self) -> asyncio.Task[None] | None:
        """The fetch that is under way, begun now unless one failed a moment ago."""
        if self._fetching is None and self._since(self._failed_at) >= FAILURE_PAUSE:
            self._fetching = asyncio.create_task(self._refresh())
        return self._fetching

    async def _refresh(self) -> None:
        from jwt import PyJWKSet

        try:
            async with asyncio.timeout(FETCH_TIMEOUT):
                text = await self._fetch()
            keys = PyJWKSet.from_json(text).keys
            self._keys = {key.key_id: key for key in keys if isinstance(key.key_id, str)}
            self._fetched_at = self._monotonic()
        except Exception as error:  # noqa: BLE001 - whatever comes back, the keys that are known go on working
            self._failed_at = self._monotonic()
            log_line("signing_keys.failed", logging.WARNING, error=type(error).__name__)
        finally:
            self._fetching = None

    async def _fetch(self) -> str:
        plain = {"Accept-Encoding": "identity"}  # the app's session does not decompress
        async with self._session.get(self._address, headers=plain, allow_redirects=False) as response:
            response.raise_for_status()
            return await response.text()
