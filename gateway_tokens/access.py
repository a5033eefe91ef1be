"""Who may do what: closed unless a rule opens. The one place where permission is decided."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from .errors import AccessDenied
from .model import GatewayRef
from .patterns import matches, overlap
from .policy import MAX_LIFETIME

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import timedelta

    from .settings import AccessRule, CallerMatch


class Permission(StrEnum):
    """What a caller may be allowed to do with a gateway."""

    ISSUE = "issue"
    RENEW = "renew"
    READ = "read"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling: from the claims of a verified token, or by a function key. All empty means nobody."""

    object_id: str = ""
    client_id: str = ""
    app_roles: frozenset[str] = field(default_factory=frozenset)
    function_key: bool = False

    def __str__(self) -> str:
        named = [
            f"client:{self.client_id}" if self.client_id else "",
            f"object:{self.object_id}" if self.object_id else "",
        ]
        return " ".join(filter(None, named)) or ("function-key" if self.function_key else "nobody")


@dataclass(frozen=True)
class Scope:
    """The gateways with which a caller may do one thing."""

    rules: Sequence[AccessRule]
    caller: Caller
    permission: Permission

    def longest_lifetime(self, ref: GatewayRef) -> timedelta | None:
        """The longest lifetime that any matching rule grants; None when no rule covers the gateway."""
        granted = [
            rule.max_lifetime or MAX_LIFETIME
            for rule in self._opening()
            if any(matches(pattern, str(ref)) for pattern in rule.gateways)
        ]
        return max(granted, default=None)

    def covers(self, ref: GatewayRef) -> bool:
        """Whether it covers this gateway."""
        return self.longest_lifetime(ref) is not None

    def covers_some(self, service: str = "*") -> bool:
        """Whether it may cover some gateway of the service; of any service: `*`."""
        return any(overlap(pattern, f"{service}/*") for rule in self._opening() for pattern in rule.gateways)

    def covers_all(self, service: str) -> bool:
        """Whether it covers whatever gateway the service has: `*` is a name that only a wildcard matches."""
        return self.covers(GatewayRef(service, "*"))

    def require(self, ref: GatewayRef) -> timedelta:
        """The longest lifetime granted for the gateway. Raises AccessDenied when no rule covers it."""
        lifetime = self.longest_lifetime(ref)
        if lifetime is None:
            raise AccessDenied(self.permission, str(ref))
        return lifetime

    def require_some(self, service: str = "*") -> None:
        """Raise AccessDenied unless it may cover some gateway of the service."""
        if not self.covers_some(service):
            raise AccessDenied(self.permission, f"{service}/*")

    def _opening(self) -> Iterator[AccessRule]:
        return (
            rule for rule in self.rules if self.permission in rule.allow and _is(self.caller, rule.caller)
        )


def _is(caller: Caller, wanted: CallerMatch) -> bool:
    """Whether the caller has every trait the rule names. A rule that named none would match nobody."""
    tests = [
        wanted.app_role in caller.app_roles if wanted.app_role else None,
        _same(wanted.object_id, caller.object_id) if wanted.object_id else None,
        _same(wanted.client_id, caller.client_id) if wanted.client_id else None,
        caller.function_key if wanted.function_key else None,
    ]
    asked = [test for test in tests if test is not None]
    return bool(asked) and all(asked)


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()
