"""The Deployment or StatefulSet that reads a Secret: restarted by its pod template, waited for to a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway_tokens.destination_settings import Workload, filled_in
from gateway_tokens.errors import RestartFailed
from gateway_tokens.timestamps import written

from .kubernetes_rollout import FINGERPRINT, Rollout, rollout_of

if TYPE_CHECKING:
    from gateway_tokens.azure_access import AzureAccess
    from gateway_tokens.destination_settings import KubernetesSecret
    from gateway_tokens.model import GatewayRef

    from .kubernetes_api import ClusterApi

_BETWEEN_LOOKS = 3.0  # seconds
_NOT_FOUND = 404


class KubernetesWorkload:
    """One workload. The token it was last restarted for stands on its pod template."""

    def __init__(
        self, restart: Workload, spec: KubernetesSecret, ref: GatewayRef, api: ClusterApi, azure: AzureAccess
    ) -> None:
        self._name = f"{restart.kind} {spec.namespace}/{filled_in(restart.name, ref).lower()}"
        self._resource = f"{restart.kind.lower()}s"
        self._path = (
            f"/apis/apps/v1/namespaces/{spec.namespace}/{self._resource}/{self._name.rpartition('/')[2]}"
        )
        self._place = (spec.server or spec.cluster or "").rstrip("/") + self._path
        self._timeout = restart.timeout.total_seconds()
        self._api, self._azure = api, azure

    async def restart_due(self, fingerprint: str) -> bool:
        """Whether not all pods have restarted for the token with that fingerprint."""
        seen = await self._look(fingerprint)
        return seen is None or not (seen.begun and seen.done)

    async def restart(self, fingerprint: str) -> None:
        """Wait for a restart that is under way, else begin one and wait for it. Raises RestartFailed."""
        seen = await self._look(fingerprint)
        if seen is None or not seen.begun or seen.done:
            await self._begin(fingerprint)
        deadline = self._azure.monotonic() + self._timeout
        while True:
            seen = await self._look(fingerprint)
            if seen and seen.done:
                return
            if seen is None or seen.stuck or self._azure.monotonic() >= deadline:
                raise self._failed(seen)
            await self._azure.sleep(_BETWEEN_LOOKS)

    async def _look(self, fingerprint: str) -> Rollout | None:
        found = await self._call("GET", f"get {self._resource}")
        return rollout_of(found, fingerprint) if found else None

    async def _begin(self, fingerprint: str) -> None:
        annotations = {
            FINGERPRINT: fingerprint,
            "kubectl.kubernetes.io/restartedAt": written(self._azure.clock()),
        }
        template = {"metadata": {"annotations": annotations}}
        if await self._call("PATCH", f"patch {self._resource}", {"spec": {"template": template}}) is None:
            raise self._failed(None)

    async def _call(
        self, method: str, action: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any] | None:
        return await self._api.call(
            method, self._path, action=action, place=self._place, body=body, expected={_NOT_FOUND}
        )

    def _failed(self, seen: Rollout | None) -> RestartFailed:
        if seen is None:
            why = "does not exist. Install the gateway, or correct `restart` in the settings."
        elif seen.stuck:
            why = f"does not restart ({seen.counts}): {seen.stuck}."
        else:
            why = f"did not restart within {self._timeout:.0f} s ({seen.counts}). Look at its pods."
        return RestartFailed(self._place, f"{self._name} {why} The Secret holds the new token.")
