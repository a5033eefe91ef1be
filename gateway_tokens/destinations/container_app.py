"""A Container App's own secret: all secrets are written at once, with a new revision that reads them."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from gateway_tokens.destination_settings import filled_in
from gateway_tokens.errors import (
    AzureError,
    AzureFacts,
    AzureUnavailable,
    DestinationBlocked,
    RestartFailed,
    WriteConflict,
)
from gateway_tokens.ledger import Held, Label

from .container_app_template import change_of, label_in, revision_ready, secrets_with, unreadable, version_of

if TYPE_CHECKING:
    from gateway_tokens.azure_access import AzureAccess
    from gateway_tokens.destination_settings import ContainerAppSecret
    from gateway_tokens.model import GatewayRef, GatewayToken

_API_VERSION = "2024-03-01"
_ACTIONS = "Microsoft.App/containerApps"
_BETWEEN_LOOKS = 3.0  # seconds

# A write sends every secret back, so two rows of this worker must not write one app at a time.
_writing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()


class ContainerAppDestination:
    """One secret of one app.

    With several active revisions, the new one runs beside the others: traffic and retirement stay with the operator.
    """

    restarts = True

    def __init__(self, spec: ContainerAppSecret, ref: GatewayRef, azure: AzureAccess) -> None:
        self.place = spec.place(ref)
        self._app_id = filled_in(spec.resource_id, ref).rstrip("/")
        self._secret = filled_in(spec.secret, ref).lower()
        self._form, self._timeout = spec.form, spec.timeout.total_seconds()
        self._azure = azure
        self._written = ""
        self._lock = _writing.setdefault(self._app_id.lower(), asyncio.Lock())

    async def read(self) -> Held | None:
        """The secret's value, and whether the newest revision is not ready yet."""
        app, secrets = await self._observe()
        value = self._value(secrets)
        if value is None:
            return None
        token, label = self._form.token_in(value), label_in(app, self._secret)
        due = token is not None and label is not None and not _latest_is_ready(app)
        return Held(token, label, version_of(app, self._secret, value), due)

    async def write(self, token: GatewayToken, label: Label, held: Held | None) -> None:
        """Send all secrets back with this one changed, and begin a revision, in one call."""
        async with self._lock:
            app, secrets = await self._observe()
            value = self._value(secrets)
            version = "" if value is None else version_of(app, self._secret, value)
            if version != (held.version if held else ""):
                raise WriteConflict(
                    self.place, "somebody changed the app's secret. The next sweep looks at it."
                )
            if lost := unreadable(secrets):
                names = ", ".join(lost)
                raise DestinationBlocked(
                    self.place, f"cannot be written: the values of {names} cannot be read."
                )
            sent = secrets_with(secrets, self._secret, self._form.of(token))
            await self._patch(change_of(app, sent, self._secret, label, token))
            self._written = token.fingerprint

    async def restart(self, token: GatewayToken) -> None:
        """Wait for the revision that the write began, or restart the newest one. Raises RestartFailed."""
        app = await self._app()
        revision = app["properties"].get("latestRevisionName", "")
        begun = self._written == token.fingerprint or not _latest_is_ready(app)
        if not begun:
            await self._call("POST", "revisions/restart/action", f"/revisions/{revision}/restart")
        await self._wait_for(revision)

    async def _wait_for(self, revision: str) -> None:
        deadline = self._azure.monotonic() + self._timeout
        while True:
            found = await self._call("GET", "revisions/read", f"/revisions/{revision}") or {}
            ready, said = revision_ready(found)
            if ready:
                return
            if ready is None or self._azure.monotonic() >= deadline:
                why = "failed" if ready is None else f"was not running within {self._timeout:.0f} s"
                raise RestartFailed(
                    self.place,
                    f"revision {revision} {why} ({said}). Look at its logs. The secret holds the new token.",
                )
            await self._azure.sleep(_BETWEEN_LOOKS)

    async def _patch(self, change: dict[str, Any]) -> None:
        try:
            await self._call("PATCH", "write", body=change)
        except AzureError as error:
            if error.facts.status == HTTPStatus.CONFLICT:
                raise WriteConflict(
                    self.place, "somebody is changing the app. The next sweep tries again."
                ) from None
            raise
        operation, deadline = f"Updating {self._app_id}", self._azure.monotonic() + self._timeout
        while (state := (await self._app())["properties"].get("provisioningState")) != "Succeeded":
            if state in {"Failed", "Canceled"}:
                raise AzureError(operation, AzureFacts(code=f"Provisioning{state}"))
            if self._azure.monotonic() >= deadline:
                raise AzureUnavailable(operation, AzureFacts(code=f"Provisioning{state}"))
            await self._azure.sleep(_BETWEEN_LOOKS)

    def _value(self, secrets: list[dict[str, Any]]) -> str | None:
        for secret in secrets:
            if secret["name"] == self._secret:
                if secret.get("keyVaultUrl"):
                    raise DestinationBlocked(
                        self.place,
                        "is a reference to Key Vault. Deliver to that vault, or name another secret.",
                    )
                return str(secret.get("value", ""))
        return None

    async def _observe(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        app = await self._app()
        answer = await self._call("POST", "listSecrets/action", "/listSecrets")
        return app, (answer or {}).get("value") or []

    async def _app(self) -> dict[str, Any]:
        return await self._call("GET", "read") or {}

    async def _call(
        self, method: str, action: str, path: str = "", body: dict[str, Any] | None = None
    ) -> dict[str, Any] | None:
        return await self._azure.arm_request(
            method,
            self._app_id + path,
            api_version=_API_VERSION,
            action=f"{_ACTIONS}/{action}",
            scope=self._app_id,
            body=body,
        )


def _latest_is_ready(app: dict[str, Any]) -> bool:
    properties = app["properties"]
    return bool(properties.get("latestRevisionName") == properties.get("latestReadyRevisionName"))
