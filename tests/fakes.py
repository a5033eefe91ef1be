"""Stand-ins for the ports, in memory."""

from collections.abc import Mapping
from contextlib import suppress

from gateway_tokens.errors import GatewayTokensError, WriteConflict
from gateway_tokens.stored import Ownership, StoredToken, token_in
from gateway_tokens.tokens import GatewayToken


class MemoryDestination:
    """A destination that forgets. It keeps the contract that the real ones keep.

    `value` and `tags` are what it stores. `failing` names methods (`read`, `write`, `restart`) and the error that each
    raises instead of its work. `calls` are the methods called. `restartable`: it has a workload, which runs the token
    with the fingerprint `running`.
    """

    def __init__(self, location: str = "memory", *, restartable: bool = False) -> None:
        self.location = location
        self.restartable = restartable
        self.value: str | None = None
        self.tags: Mapping[str, str] | None = None
        self.running = ""
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
        due = self.restartable and token is not None and ownership is not None
        return StoredToken(
            token, ownership, str(self._version), due and self.running != (token and token.fingerprint)
        )

    async def write(self, token: GatewayToken, ownership: Ownership, stored: StoredToken | None) -> None:
        self._call("write")
        if (stored.version if stored else "") != (str(self._version) if self.value is not None else ""):
            raise WriteConflict(self.location, "somebody wrote")
        self.put(token.header_value().reveal(), ownership.tags(token))

    async def restart(self, token: GatewayToken) -> None:
        self._call("restart")
        if self.restartable:
            self.running = token.fingerprint

    def _call(self, method: str) -> None:
        self.calls.append(method)
        with suppress(KeyError):
            raise self.failing[method]
