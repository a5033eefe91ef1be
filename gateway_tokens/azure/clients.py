"""The app's clients of Azure: one identity, one client per subscription and per vault, for the worker's life.

Requests to Azure Resource Manager wait for their turn in a budget: a leaky bucket per subscription, so that throttling is the
exception. ARM's own bucket, for one identity in one subscription:
https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling
"""

from __future__ import annotations

import math
import ssl
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.request import getproxies

import aiohttp
from aiolimiter import AsyncLimiter
from azure.core import AsyncPipelineClient
from azure.core.pipeline import policies
from azure.core.pipeline.transport import AioHttpTransport
from azure.core.rest import HttpRequest

from gateway_tokens.errors import TooManyRequests
from gateway_tokens.sign_in import AzureSettings, CredentialKind

from .errors import BUSY_STATUSES, CONNECT_SECONDS, READ_SECONDS, Retry, keep_answer, object_in, operation
from .identity import IDENTITY_RETRY, SharedCredential, SigningKeys

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.policies import AsyncHTTPPolicy
    from azure.core.rest import AsyncHttpResponse
    from azure.keyvault.secrets.aio import SecretClient
    from azure.mgmt.apimanagement.aio import ApiManagementClient
    from azure.storage.blob.aio import ContainerClient

_SECONDS_A_CALLER_WAITS = 5.0
_T = TypeVar("_T")
_TIMEOUTS: dict[str, Any] = {"connection_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS}
_KEPT_SECONDS = 0.5  # an idle connection
_STORAGE_RETRY = {"retry_total": 2, "initial_backoff": 1, "increment_base": 1}


class Cost(Enum):
    """A kind of request: so many at once, and its bucket drains within so many seconds."""

    READ = (250, 10.0)
    WRITE = (200, 20.0)


class ArmBudget:
    """The budget of runs: each request waits for its turn, in the order of arrival.

    It is a twentieth smaller than ARM's: the first requests arrive late, by a sign-in and a connection, and repeats
    take no turn. Measured with a bucket of ARM's own size: 13 of 1,600 requests were throttled.
    """

    share = 0.95

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, Cost], AsyncLimiter] = {}

    async def spend(self, subscription_id: str, cost: Cost, units: int = 1) -> None:
        """Wait until so many requests may be sent."""
        await self.bucket(subscription_id, cost).acquire(units)

    def bucket(self, subscription_id: str, cost: Cost) -> AsyncLimiter:
        """The bucket of a subscription, made inside the loop that uses it."""
        most, seconds = cost.value
        key = (subscription_id.lower(), cost)
        if key not in self._buckets:
            self._buckets[key] = AsyncLimiter(most * self.share, seconds)
        return self._buckets[key]


class CallersBudget(ArmBudget):
    """The budget of all HTTP callers together: a fifth, so that no caller can drain what renewals need."""

    share = 0.2

    def __init__(self) -> None:
        super().__init__()
        self._waiting: Counter[AsyncLimiter] = Counter()

    async def spend(self, subscription_id: str, cost: Cost, units: int = 1) -> None:
        """Wait at most five seconds. Raises TooManyRequests at once when it would take longer."""
        bucket = self.bucket(subscription_id, cost)
        units = min(units, int(bucket.max_rate))
        wait = 0.0
        if not bucket.has_capacity(units):
            wait = (self._waiting[bucket] + units) * bucket.time_period / bucket.max_rate
        if wait > _SECONDS_A_CALLER_WAITS:
            raise TooManyRequests(math.ceil(wait))
        self._waiting[bucket] += units
        try:
            await bucket.acquire(units)
        finally:
            self._waiting[bucket] -= units


class AzureAccess:
    """Everything is made on first use, inside a coroutine, and kept; nothing that failed is kept."""

    def __init__(self, settings: AzureSettings, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.monotonic = monotonic
        self.budget = ArmBudget()
        self._settings = settings
        self._made: dict[tuple[object, ...], Any] = {}
        self._open = AsyncExitStack()

    def shared(self, key: tuple[object, ...], make: Callable[[], _T]) -> _T:
        """What `make` makes, made once and closed with the app's clients."""
        if key not in self._made:
            self._made[key] = make()
            self._open.push_async_callback(self._made[key].close)
        return cast("_T", self._made[key])

    @property
    def credential(self) -> AsyncTokenCredential:
        """The app's identity."""
        return self.shared(("credential",), self._credential)

    def api_management(self, subscription_id: str) -> ApiManagementClient:
        """The official client of a subscription."""
        from azure.mgmt.apimanagement.aio import ApiManagementClient

        return self.shared(
            ("apim", subscription_id),
            lambda: ApiManagementClient(
                self.credential,
                subscription_id,
                base_url=self._settings.arm_endpoint,
                credential_scopes=[self._settings.arm_scope],
                **self._options(*BUSY_STATUSES),
            ),
        )

    def secret_client(self, vault: str) -> SecretClient:
        """The official client of a vault, by its address."""
        from azure.keyvault.secrets.aio import SecretClient

        vault = vault.rstrip("/").lower()
        return self.shared(("vault", vault), lambda: SecretClient(vault, self.credential, **self._options()))

    def container(self, address: str) -> ContainerClient:
        """The official client of a container of blobs, by its address."""
        from azure.storage.blob.aio import ContainerClient

        def make() -> ContainerClient:
            # Storage's pipeline works with its own retry policy only.
            options = self._transport() | _STORAGE_RETRY
            return ContainerClient.from_container_url(address, credential=self.credential, **options)

        return self.shared(("container", address), make)

    def pipeline(
        self,
        base_url: str,
        *,
        ca: str | None,
        authentication_policy: AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse],
    ) -> AsyncPipelineClient[HttpRequest, AsyncHttpResponse]:
        """A new REST client, for the caller to close; `ca` is PEM text where the server has an authority of its own."""
        steps = [
            policies.RequestIdPolicy(),
            policies.UserAgentPolicy("gateway-tokens"),
            Retry(),
            authentication_policy,
            policies.CustomHookPolicy(raw_response_hook=keep_answer),
        ]
        return AsyncPipelineClient(base_url, policies=steps, **self._transport(ca))

    async def arm_request(
        self, method: str, path: str, *, api_version: str, action: str, scope: str
    ) -> dict[str, Any] | None:
        """One call of Azure Resource Manager: the answer's JSON, or None when it is empty. Raises AzureError.

        `path` begins with /subscriptions. The call must be one that may be repeated.
        """
        client = self.shared(("arm",), self._arm)
        request = HttpRequest(method, client.format_url(path), params={"api-version": api_version})
        await self.budget.spend("".join(path.split("/")[2:3]), Cost.READ if method == "GET" else Cost.WRITE)
        async with operation(f"{method} {path}", action=action, scope=scope):
            response = await client.send_request(request, retry_on_methods=[method])
            response.raise_for_status()
            return object_in(response) if response.content else None

    async def identity_works(self) -> None:
        """Return if the app's identity yields a token for Azure. Raises IdentityUnavailable."""
        async with operation("Signing in with the app's identity", action="", scope=""):
            await self.credential.get_token(self._settings.arm_scope)

    def signing_keys(self, address: str) -> SigningKeys:
        """The keys by which Microsoft Entra signs tokens, as published at the address."""
        return self.shared(("keys", address), lambda: SigningKeys(self._session(), address, self.monotonic))

    async def close(self) -> None:
        """Close every client."""
        await self._open.aclose()
        self._made.clear()

    def _arm(self) -> AsyncPipelineClient[HttpRequest, AsyncHttpResponse]:
        login = policies.AsyncBearerTokenCredentialPolicy(self.credential, self._settings.arm_scope)
        return self.pipeline(self._settings.arm_endpoint, ca=None, authentication_policy=login)

    def _credential(self) -> AsyncTokenCredential:
        from azure.identity import aio

        kind, client_id = self._settings.credential, self._settings.client_id or None
        if kind is CredentialKind.AZURE_CLI:
            return SharedCredential(aio.AzureCliCredential)
        if kind is CredentialKind.DEFAULT:
            return SharedCredential(lambda: aio.DefaultAzureCredential(managed_identity_client_id=client_id))
        options = {**_TIMEOUTS, **IDENTITY_RETRY}
        return SharedCredential(lambda: aio.ManagedIdentityCredential(client_id=client_id, **options))

    def _options(self, *retried_statuses: int) -> dict[str, Any]:
        """What a client of the SDK takes; these statuses are repeated too."""
        return {
            "retry_policy": Retry(*retried_statuses),
            "raw_response_hook": keep_answer,
            **self._transport(),
        }

    def _transport(self, ca: str | None = None) -> dict[str, Any]:
        """The session that all of Azure shares; one of its own for a server with an authority of its own.

        The SDK's option for an authority takes a file only, and reads it and connects anew for every request.
        """
        session = _session(ca, "") if ca else self._session()
        options = {"use_env_settings": _proxied(), **_TIMEOUTS}
        return {"transport": AioHttpTransport(session=session, session_owner=bool(ca), **options)}

    def _session(self) -> aiohttp.ClientSession:
        return self.shared(("session",), lambda: _session(None, self._settings.ca_file))


def _proxied() -> bool:
    """Whether the environment names a proxy.

    If so, aiohttp reads the environment and .netrc anew at every request: a quarter of a call's CPU time.
    """
    return bool(getproxies())


def _session(ca: str | None, ca_file: str) -> aiohttp.ClientSession:
    # Python holds 256 KiB for each TLS connection, so those to hundreds of vaults are not kept for long. There is no limit:
    # what hangs must not take the connections of its neighbours.
    trust = trust_in(ca, ca_file)
    connector = aiohttp.TCPConnector(ssl=trust, limit=0, keepalive_timeout=_KEPT_SECONDS)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=_proxied(),
    )


def trust_in(ca: str | None, ca_file: str) -> ssl.SSLContext:
    """Trust in one authority, given as text, else as a file, else in the usual ones."""
    context = ssl.create_default_context(cadata=ca, cafile=None if ca else ca_file or None)
    if ca or ca_file:
        # Clusters and old tools sign with authorities that say less about themselves than Python 3.13 insists on.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
