"""The emulator: all of Azure's addresses on 127.0.0.1, started together and stopped together."""

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from emulator import api_management
from emulator.arm import Arm
from emulator.azure import Azure
from emulator.blob import BlobStorage
from emulator.directory import API_ID, TENANT_ID
from emulator.endpoint import Endpoint, Route, listen
from emulator.key_vault import KeyVault
from emulator.sign_in import Identity, Login
from emulator.tls import throw_away_tls

LOOPBACK = "127.0.0.1,localhost"


def without_proxy_for_loopback() -> None:
    """Keep a proxy that the environment names from calls to this machine."""
    before = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    # urllib reads both names; the one in small letters counts first.
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = f"{before},{LOOPBACK}" if before else LOOPBACK


class Emulator:
    """Azure in the running event loop: `async with Emulator(vaults=("contoso",)) as emulator`.

    `arm_routes` adds resource providers to ARM, `endpoints` further addresses.
    """

    def __init__(
        self,
        *,
        azure: Azure | None = None,
        vaults: Sequence[str] = (),
        arm_routes: Sequence[Route] = (),
        endpoints: Sequence[Endpoint] = (),
    ) -> None:
        self.azure = azure or Azure()
        self.ca_file = throw_away_tls().ca_file
        self._arm = Arm([*api_management.routes(), *arm_routes])
        self._identity, self._login, self._blob = Identity(), Login(), BlobStorage()
        self._vaults = {vault: KeyVault(vault) for vault in vaults}
        self._endpoints: list[Endpoint] = [
            self._identity,
            self._login,
            self._arm,
            self._blob,
            *self._vaults.values(),
            *endpoints,
        ]
        self._running = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for vault in self._vaults:
            self.azure.add_vault(vault)
        async with AsyncExitStack() as starting:
            for endpoint in self._endpoints:
                runner = await listen(self.azure, endpoint, throw_away_tls().server)
                starting.push_async_callback(runner.cleanup)
            self._running = starting.pop_all()
        self.azure.directory.endpoint = self._login.url
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.aclose()

    @property
    def arm_url(self) -> str:
        """ARM's address."""
        return self._arm.url

    @property
    def container_url(self) -> str:
        """The address of the container for the app's own state."""
        return f"{self._blob.url}/{self.azure.blobs.name}/gateway-tokens"

    def vault_url(self, vault: str) -> str:
        """Return the address of a vault that was named at the start."""
        return self._vaults[vault].url

    def names(self) -> dict[str, str]:
        """Return the names of the vaults and of what else was named at the start, by address."""
        return {endpoint.url: endpoint.instance for endpoint in self._endpoints if endpoint.instance}

    def settings(self) -> dict[str, str]:
        """Return the settings that point the app here, by the names of its environment variables."""
        return {
            "IDENTITY_ENDPOINT": f"{self._identity.url}/msi/token",
            "IDENTITY_HEADER": self.azure.identity_header,
            "ARM_ENDPOINT": self.arm_url,
            "ARM_SCOPE": f"{self.arm_url}/.default",
            "CA_FILE": self.ca_file,
            "STATE_CONTAINER_URL": self.container_url,
            "RENEWALS_QUEUE": "gateway-renewals",
            "EVENTS_QUEUE": "gateway-events",
            "SIGN_IN_ENDPOINT": self._login.url,
            "SIGN_IN_TENANT": TENANT_ID,
            "SIGN_IN_AUDIENCES": f"{API_ID},api://{API_ID}",
            "SIGN_IN_APPLICATIONS": ",".join(self.azure.directory.applications),
        }
