"""What every kind of destination has: the operations, and the form of what is stored."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from gateway_tokens.stored import Ownership, StoredToken, token_in
from gateway_tokens.tokens import GatewayToken, Secret


class StoredForm(StrEnum):
    """What is stored: `header` is `GatewayKey <token>`, as every gateway setting wants it; `token` is bare."""

    HEADER = "header"
    TOKEN = "token"

    def of(self, token: GatewayToken) -> Secret:
        """What is stored for the token."""
        return token.header_value() if self is StoredForm.HEADER else token.value

    def read(self, value: str | None, ownership: Ownership | None, version: str = "") -> StoredToken:
        """What a location holds whose value is this; empty counts as nothing."""
        token = token_in(value)
        exact = token is not None and self.of(token).reveal() == value
        return StoredToken(Secret(value) if value else None, token, ownership, version, exact=exact)


class Destination(Protocol):
    """A location from which a gateway reads its token.

    Every method raises AzureError when the location cannot be reached or refuses, and DestinationError when what is
    there forbids the operation. None of them repeats what the client's own retry policy gave up.
    """

    @property
    def location(self) -> str:
        """Where it is, for people: logs, reports, errors."""

    async def read(self) -> StoredToken | None:
        """What is there, or None when nothing is."""

    async def write(self, token: GatewayToken, ownership: Ownership, stored: StoredToken | None) -> None:
        """Replace what `stored` says was read (None: nothing was there) by the token in its form, and its ownership.

        The old value stays in place when this fails. Raises WriteConflict when somebody wrote in between, where the
        location can tell.
        """

    async def write_ownership(self, ownership: Ownership, stored: StoredToken) -> None:
        """Write the ownership beside the value that was read, which stays as it is. Raises WriteConflict as `write` does."""

    async def restart(self, stored: StoredToken) -> None:
        """Ask the workloads `stored.restart.old` to restart for the stored value, and do not wait.

        Asking twice for one value restarts once. Where the pods may not be listed, the ownership remembers that it was
        asked for.
        """
