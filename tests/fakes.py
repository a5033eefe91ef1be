"""Stand-ins for the ports, in memory, and for time."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from gateway_tokens.errors import GatewayTokensError, WriteConflict
from gateway_tokens.stored import MANAGED_BY, Ownership, Restart, Running, StoredForm, StoredToken
from gateway_tokens.tokens import GatewayToken, Secret


class MemoryDestination:
    """A destination that forgets. It keeps the contract that the real ones keep.

    `value` and `tags` are what it stores, `writer` who wrote the value if it was not the app. `failing` names methods
    (`read`, `write`, `write_ownership`, `restart`) and the error that each raises instead of its work, `failing_once` but one time. `calls` are the methods
    called. `restartable`: it has a workload, which runs the value with the fingerprint `running`; when `slow`, pods stay
    as they are. `restarts_begun` counts what changed its template.
    """

    def __init__(self, location: str = "memory", *, restartable: bool = False) -> None:
        self.location = location
        self.restartable = restartable
        self.value: str | None = None
        self.tags: Mapping[str, str] | None = None
        self.writer = self.running = self.asked = ""
        self.slow = False
        self.late_at: datetime | None = None
        self.restarts_begun = 0
        self.failing: dict[str, GatewayTokensError] = {}
        self.failing_once: dict[str, GatewayTokensError] = {}
        self.calls: list[str] = []
        self._version = 0

    @property
    def fingerprint(self) -> str:
        """That of what is stored; empty when nothing is."""
        return Secret(self.value).fingerprint if self.value else ""

    def put(self, value: str, tags: Mapping[str, str] | None = None, writer: str = "") -> None:
        """Store something as somebody else would."""
        self.value, self.tags, self.writer = value, tags, writer
        self._version += 1

    async def read(self) -> StoredToken | None:
        await self._call("read")
        if self.value is None:
            return None
        stored = StoredForm.HEADER.read(self.value, Ownership.from_tags(self.tags), str(self._version))
        judged = self.restartable and not self.writer and stored.owned and stored.value
        restart = self._restart_for(stored.value.fingerprint) if judged and stored.value else None
        return replace(stored, writer=self.writer, restart=restart)

    async def write(self, token: GatewayToken, ownership: Ownership, stored: StoredToken | None) -> None:
        await self._call("write")
        self._guard(stored)
        value = token.header_value()
        self.put(value.reveal(), self._beside(ownership.of(value)))

    async def write_ownership(self, ownership: Ownership, stored: StoredToken) -> None:
        await self._call("write_ownership")
        self._guard(stored)
        self.tags = self._beside(ownership.of(Secret(self.value or "")))

    async def restart(self, stored: StoredToken) -> None:
        await self._call("restart")
        fingerprint = stored.value.fingerprint if stored.value else ""
        if self.restartable and self.asked != fingerprint:
            self.asked, self.restarts_begun = fingerprint, self.restarts_begun + 1
            if not self.slow:
                self.running = fingerprint

    def _beside(self, ownership: Ownership) -> Mapping[str, str]:
        """Only a destination with workloads keeps what their restart depends on."""
        kept = ownership.annotations() if self.restartable else ownership.tags()
        return {name.removeprefix(f"{MANAGED_BY}/"): text for name, text in kept.items()}

    def _guard(self, stored: StoredToken | None) -> None:
        if (stored.version if stored else "") != (str(self._version) if self.value is not None else ""):
            raise WriteConflict(self.location, "another writer changed it")

    def _restart_for(self, fingerprint: str) -> Restart:
        if self.running == fingerprint:
            return Restart(Running.CURRENT)
        if self.asked == fingerprint:
            return Restart(Running.RESTARTING, "0 of 1 pods updated", self.late_at, holds_slot=True)
        return Restart(Running.OLD, "1 pod runs an older value", holds_slot=True, old=("memory",))

    async def _call(self, method: str) -> None:
        self.calls.append(method)
        with suppress(KeyError):
            raise self.failing_once.pop(method, None) or self.failing[method]


class FakeTime:
    """Time moves only when somebody sleeps; `slept` lists every pause in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        """The seconds on this clock."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Let that much time pass at once."""
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)
