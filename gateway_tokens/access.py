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
    from collections.abc import Iterable, Sequence
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


def lifetime_ceiling(
    rules: Iterable[AccessRule], caller: Caller, permission: Permission, ref: GatewayRef
) -> timedelta:
    """The longest lifetime that any matching rule grants. Raises AccessDenied when no rule matches."""
    granted = [
        rule.max_lifetime or MAX_LIFETIME
        for rule in rules
        if permission in rule.allow
        and _is(caller, rule.caller)
        and any(matches(pattern, str(ref)) for pattern in rule.gateways)
    ]
    if not granted:
        raise AccessDenied(permission, str(ref))
    return max(granted)


def may(rules: Iterable[AccessRule], caller: Caller, permission: Permission, ref: GatewayRef) -> bool:
    """Whether any rule lets the caller do this to the gateway."""
    try:
        lifetime_ceiling(rules, caller, permission, ref)
    except AccessDenied:
        return False
    return True


def require_some(
    rules: Sequence[AccessRule], caller: Caller, permission: Permission, service: str = "*"
) -> None:
    """Raise AccessDenied unless some gateway of the service (of any service: `*`) could be permitted."""
    wanted = f"{service}/*"
    for rule in rules:
        if (
            permission in rule.allow
            and _is(caller, rule.caller)
            and any(overlap(p, wanted) for p in rule.gateways)
        ):
            return
    raise AccessDenied(permission, wanted)


@dataclass(frozen=True, slots=True)
class Reach:
    """The gateways with which a caller may do one thing."""

    rules: Sequence[AccessRule]
    caller: Caller
    permission: Permission

    def gateway(self, ref: GatewayRef) -> bool:
        """Whether it may with this one."""
        return may(self.rules, self.caller, self.permission, ref)

    def service(self, name: str) -> bool:
        """Whether it may with some gateway of the service."""
        try:
            require_some(self.rules, self.caller, self.permission, name)
        except AccessDenied:
            return False
        return True

    def whole(self, name: str) -> bool:
        """Whether it may with whatever gateway the service has: `*` is a name that only a wildcard matches."""
        return self.gateway(GatewayRef(name, "*"))


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
