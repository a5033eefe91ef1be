"""The app's identity: one access token per audience, fetched once and awaited by all who need it.

The SDK's credential repeats a failing request, but does not share it: twenty callers make twenty requests, each with
its repeats. It also raises many types over unexpected answers of the endpoint, all of which mean the same here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .errors import NoAccessToken

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken
    from azure.core.credentials_async import AsyncTokenCredential


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

    The SDK's credential caches what it detected, so one that failed is created again for the next request.
    """

    def __init__(self, make: Callable[[], AsyncTokenCredential]) -> None:
        self._make, self._credential = make, make()
        self._fetching: dict[tuple[str, ...], asyncio.Task[AccessToken]] = {}

    async def get_token(
        self, *scopes: str, claims: str | None = None, tenant_id: str | None = None, **options: Any
    ) -> AccessToken:
        """An access token for the scopes. Raises NoAccessToken within 20 seconds."""
        key = (*scopes, claims or "", tenant_id or "")
        fetching = self._fetching.get(key)
        if fetching is None:
            work = self._fetch(*scopes, claims=claims, tenant_id=tenant_id, **options)
            fetching = self._fetching[key] = asyncio.create_task(work)
            fetching.add_done_callback(lambda task: self._forget(key, task))
        return await asyncio.shield(fetching)

    async def _fetch(self, *scopes: str, **options: Any) -> AccessToken:
        try:
            async with asyncio.timeout(IDENTITY_SECONDS):
                return await self._credential.get_token(*scopes, **options)
        except Exception:  # noqa: BLE001 - its texts may hold an access token, and its type says nothing more
            failed, self._credential = self._credential, self._make()
            await failed.close()
            raise NoAccessToken(
                f"The app's identity gives no token for '{' '.join(scopes)}'. AZURE_CLIENT_ID must be the client id (not the "
                "object id) of an identity that the app has, and the tenant must know the audience."
            ) from None

    def _forget(self, key: tuple[str, ...], task: asyncio.Task[AccessToken]) -> None:
        del self._fetching[key]
        if not task.cancelled():
            task.exception()  # seen, though everybody who waited for it may have left

    async def close(self) -> None:
        """Close the credential."""
        await self._credential.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.close()
