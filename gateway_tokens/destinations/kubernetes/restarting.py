"""The restart of the workloads that read a Secret: what they run, judged from the cluster; and asking for it."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from gateway_tokens.errors import AzureForbidden
from gateway_tokens.stored import Restart, Running
from gateway_tokens.tokens import GatewayRef

from .api import ClusterApi, ClusterSettings
from .pods import runs, serving
from .workload import Manifest, Workload
from .written import VALUE_MANAGER, Delivery


class KubernetesWorkload:
    """One workload that reads the Secret."""

    def __init__(self, settings: Workload, spec: ClusterSettings, ref: GatewayRef, api: ClusterApi) -> None:
        self.name = settings.named(spec.namespace, ref)
        self._settings, self._api, self._resource = settings, api, settings.resource
        self._pods = f"/api/v1/namespaces/{spec.namespace}/pods"
        directory = f"/apis/{settings.group}/namespaces/{spec.namespace}/{self._resource}"
        self._path = f"{directory}/{self.name.rpartition('/')[2]}"
        self._cluster = (spec.server or spec.cluster or "").rstrip("/")

    async def judged(self, delivery: Delivery, *, asked: bool) -> Restart:
        """What its pods run. Where that may not be read, `asked` is whether a restart was asked for."""
        try:
            return await self._judged(delivery)
        except AzureForbidden as error:
            if asked:
                message = (
                    f"{self.name}: a restart was asked for, and the app cannot see whether it ended. {error}"
                )
                return Restart(Running.UNVERIFIED, message)
            return Restart(
                Running.OLD,
                f"{self.name}: the app cannot see which token its pods run. {error}",
                old=(self.name,),
                blind=True,
            )

    async def ask(self, delivery: Delivery) -> None:
        """Ask for a restart; a second time changes nothing. One that is no longer there needs none."""
        path = f"{self._path}?fieldManager={VALUE_MANAGER}"
        await self._call("PATCH", path, f"patch {self._resource}", self._settings.patch(delivery))

    async def _judged(self, delivery: Delivery) -> Restart:
        answer = await self._call("GET", self._path, f"get {self._resource}")
        if answer is None:
            return Restart(Running.WAITING, f"{self.name} does not exist yet")
        manifest = Manifest(self._settings, answer, delivery)
        if manifest.settled:
            return Restart(Running.CURRENT)
        pods = serving(await self._selected(manifest.selector))
        old = [pod for pod in pods if not runs(pod, delivery)]
        return manifest.judged(self.name, len(old), len(pods))

    async def _selected(self, selector: str) -> list[dict[str, Any]]:
        if not selector:
            return []
        path = f"{self._pods}?labelSelector={quote(selector)}"
        answer = await self._call("GET", path, "list pods")
        return list((answer or {}).get("items") or [])

    async def _call(
        self, method: str, path: str, action: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any] | None:
        location = self._cluster + path.partition("?")[0]
        return await self._api.call(
            method, path, action=action, location=location, body=body, expected={HTTPStatus.NOT_FOUND}
        )


def worst(restarts: Sequence[Restart]) -> Restart:
    """The restarts of all workloads that read one Secret as one."""
    order = list(Running)
    late = [restart.late_at for restart in restarts if restart.late_at]
    return Restart(
        max((restart.running for restart in restarts), key=order.index),
        "; ".join(restart.message for restart in restarts if restart.message),
        min(late, default=None),
        holds_place=any(restart.holds_place for restart in restarts),
        old=tuple(name for restart in restarts for name in restart.old),
        blind=any(restart.blind for restart in restarts),
    )
