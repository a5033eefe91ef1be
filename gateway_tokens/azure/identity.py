"""The app's identity, and the keys by which Microsoft Entra signs callers' tokens: each fetched once, and awaited by all who need it.

The SDK's credential repeats a failing request, but does not share it: twenty callers make twenty requests, each with
its repeats. It also raises many types over unexpected answers of the endpoint, all of which mean the same here.
PyJWT's own client of keys is not used: it blocks the event loop, and it refuses keys that it knows while the endpoint
is away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from gateway_tokens.errors import AzureFacts, SigningKeysUnavailable
from gateway_tokens.logs import log_line

from .errors import NoAccessToken

if TYPE_CHECKING:
    import aiohttp
    from azure.core.credentials import AccessToken
    from azure.core.credentials_async import AsyncTokenCredential
    from jwt import PyJWK


# Less than an operation may take, so that a failure is reported as the identity's.
IDENTITY_SECONDS = 20.0
# Four tries more, after 0, 1.6, 3.2 and 6.4 seconds. A waking or freshly published instance also answers 403, 404, 410:
# https://github.com/Azure/azure-functions-host/issues/10189
IDENTITY_RETRY: dict[str, Any] = {
    **dict.fromkeys(("retry_total", "retry_connect", "retry_read", "retry_status"), 4),
    "retry_backoff_factor": 0.8,
    "read_timeout": 6.0,  # so that a request that is not answered is repeated within the 20 seconds
    "retry_on_status_codes": (403, 404, 410),
}


class SharedCredential:
    """A credential whose requests are shared by all who ask for the same audience at the same time.

    The SDK's credential caches what it detected, so one that failed is created again for the next request. Each audience has
    one of its own: one that is refused must not end a request for another.
    """

    def __init__(self, make: Callable[[], AsyncTokenCredential]) -> None:
        self._make = make
        self._credentials: dict[tuple[str, ...], AsyncTokenCredential] = {}
        self._fetching: dict[tuple[str, ...], asyncio.Task[AccessToken]] = {}

    async def get_token(
        self, *scopes: str, claims: str | None = None, tenant_id: str | None = None, **options: Any
    ) -> AccessToken:
        """An access token for the scopes. Raises NoAccessToken within 20 seconds."""
        key = (*scopes, claims or "", tenant_id or "")
        fetching = self._fetching.get(key)
        if fetching is None:
            work = self._fetch(key, *scopes, claims=claims, tenant_id=tenant_id, **options)
            fetching = self._fetching[key] = asyncio.create_task(work)
            fetching.add_done_callback(lambda task: self._forget(key, task))
        return await asyncio.shield(fetching)

    async def _fetch(self, key: tuple[str, ...], *scopes: str, **options: Any) -> AccessToken:
        if key not in self._credentials:
            self._credentials[key] = self._make()
        try:
            async with asyncio.timeout(IDENTITY_SECONDS):
                return await self._credentials[key].get_token(*scopes, **options)
        except Exception:  # noqa: BLE001 - its texts may hold an access token, and its type says nothing more
            await self._credentials.pop(key).close()
            raise NoAccessToken(
                f"The app's identity gives no token for '{' '.join(scopes)}'. AZURE_CLIENT_ID must be the client id (not the "
                "object id) of an identity that the app has, and the tenant must know the audience."
            ) from None

    def _forget(self, key: tuple[str, ...], task: asyncio.Task[AccessToken]) -> None:
        del self._fetching[key]
        if not task.cancelled():
            task.exception()  # seen, though everybody who waited for it may have left

    async def close(self) -> None:
        """Close the credentials."""
        for credential in [*self._credentials.values()]:
            await credential.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()


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
