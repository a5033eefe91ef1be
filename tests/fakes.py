"""Stand-ins for the ports, in memory."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

from gateway_tokens.errors import GatewayTokensError, WriteConflict
from gateway_tokens.stored import Ownership, Restart, StoredToken, token_in
from gateway_tokens.tokens import GatewayToken


class MemoryDestination:
    """A destination that forgets. It keeps the contract that the real ones keep.

    `value` and `tags` are what it stores. `failing` names methods (`read`, `write`, `restart`) and the error that each
    raises instead of its work. `calls` are the methods called. `restartable`: it has a workload, which runs the token
    with the fingerprint `running`; when `slow`, pods stay as they are. `restarts_begun` counts what changed its template.
    """

    def __init__(self, location: str = "memory", *, restartable: bool = False) -> None:
        self.location = location
        self.restartable = restartable
        self.value: str | None = None
        self.tags: Mapping[str, str] | None = None
        self.running = self.asked = ""
        self.slow = False
        self.late_at: datetime | None = None
        self.restarts_begun = 0
        self.failing: dict[str, GatewayTokensError] = {}
        self.calls: list[str] = []
        self._version = 0

    def put(self, value: str, tags: Mapping[str, str] | None = None) -> None:
        """Store something as somebody else would."""
        self.value, self.tags = value, tags
        self._version += 1

    @property
    def restarts(self) -> bool:
        return self.restartable

    async def read(self) -> StoredToken | None:
        self._call("read")
        if self.value is None:
            return None
        token, ownership = token_in(self.value), Ownership.from_tags(self.tags)
        restart = self._restart_for(token) if self.restartable and token and ownership else None
        return StoredToken(token, ownership, str(self._version), restart)

    async def write(self, token: GatewayToken, ownership: Ownership, stored: StoredToken | None) -> None:
        self._call("write")
        if (stored.version if stored else "") != (str(self._version) if self.value is not None else ""):
            raise WriteConflict(self.location, "somebody wrote")
        self.put(token.header_value().reveal(), ownership.tags(token))

    async def restart(self, token: GatewayToken) -> None:
        self._call("restart")
        if self.restartable and self.asked != token.fingerprint:
            self.asked, self.restarts_begun = token.fingerprint, self.restarts_begun + 1
            if not self.slow:
                self.running = token.fingerprint

    def _restart_for(self, token: GatewayToken) -> Restart:
        begun, done = self.asked == token.fingerprint, self.running == token.fingerprint
        return Restart(begun, done, f"{int(done)} of 1 pods updated", late_at=self.late_at)

    def _call(self, method: str) -> None:
        self.calls.append(method)
        with suppress(KeyError):
            raise self.failing[method]
