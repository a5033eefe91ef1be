"""What a caller may do with which gateways: the rules of the settings, patterns of names, and the judgement. Closed unless a rule opens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, model_validator

from .errors import AccessDenied
from .parsing import Duration, StrictModel, within
from .sign_in import Caller
from .tokens import MAX_LIFETIME, MIN_LIFETIME, GatewayRef

# fnmatch knows two more wildcards, which mean themselves here.
_LITERAL = str.maketrans({"[": "[[]", "?": "[?]"})


def matches(pattern: str, name: str) -> bool:
    """Whether the whole name fits the pattern."""
    if "*" not in pattern:
        return pattern.casefold() == name.casefold()
    return fnmatchcase(name.casefold(), pattern.casefold().translate(_LITERAL))


def specificity(pattern: str) -> tuple[bool, int]:
    """Orders patterns: an exact name before any wildcard, then by the number of literal characters."""
    return "*" not in pattern, len(pattern) - pattern.count("*")


def overlap(one: str, other: str) -> bool:
    """Whether some name fits both patterns: two with wildcards meet unless their first or last letters differ."""
    one, other = one.casefold(), other.casefold()
    if "*" not in one:
        return matches(other, one)
    if "*" not in other:
        return matches(one, other)
    (first, *_, last), (begin, *_, end) = one.split("*"), other.split("*")
    begins = first.startswith(begin) or begin.startswith(first)
    return begins and (last.endswith(end) or end.endswith(last))


class Permission(StrEnum):
    """What a caller may be allowed to do with a gateway."""

    ISSUE = "issue"
    RENEW = "renew"
    READ = "read"
    REVOKE = "revoke"


def _of_a_declared_service(pattern: str, info: ValidationInfo) -> str:
    declared: list[str] | None = (info.context or {}).get("services")
    if declared is not None and not any(overlap(pattern, f"{service}/*") for service in declared):
        raise ValueError(f"'{pattern}' matches no declared service")
    return pattern


AccessPattern = Annotated[
    str,
    StringConstraints(pattern=r"^[a-zA-Z0-9*-]{1,50}/[a-zA-Z0-9._~*-]{1,80}$"),
    AfterValidator(_of_a_declared_service),
]
GrantedLifetime = Annotated[
    Duration, within(MIN_LIFETIME, MAX_LIFETIME, "must be between one minute (PT1M) and 30 days (P30D)")
]


class CallerMatch(StrictModel):
    """Who a rule is about: every trait named must hold."""

    app_role: str | None = Field(default=None, min_length=1, description="An app role in the caller's token.")
    object_id: str | None = Field(default=None, min_length=1, description="The caller's object id in Entra.")
    client_id: str | None = Field(
        default=None, min_length=1, description="The calling application's client id."
    )
    function_key: bool = Field(
        default=False,
        description="Every caller with a key of the function app and without a bearer token; alone.",
    )

    @model_validator(mode="after")
    def _somebody(self) -> CallerMatch:
        if not (self.app_role or self.object_id or self.client_id or self.function_key):
            raise ValueError("must name an appRole, objectId, clientId or functionKey: true")
        if self.function_key and (self.app_role or self.object_id or self.client_id):
            raise ValueError(
                "functionKey must be alone: a caller who sends a bearer token is identified by the token only"
            )
        return self


class AccessRule(StrictModel):
    """What some caller may do with some gateways."""

    caller: CallerMatch
    gateways: tuple[AccessPattern, ...] = Field(min_length=1, description="Patterns of `service/gateway`.")
    allow: frozenset[Permission] = Field(min_length=1, description="The permissions granted.")
    max_lifetime: GrantedLifetime | None = Field(
        default=None, description="The longest token this caller may have."
    )


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

    def narrowed(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """The wanted patterns as far as it covers them: those within its own, and its own within those.

        Raises AccessDenied when it covers none of them.
        """
        own = [pattern for rule in self._opening() for pattern in rule.gateways]
        within = {name for name in wanted if any(matches(pattern, name) for pattern in own)}
        within |= {pattern for pattern in own if any(matches(name, pattern) for name in wanted)}
        if not within:
            raise AccessDenied(self.permission, ", ".join(wanted))
        return tuple(sorted(within))

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
    named = [test for test in tests if test is not None]
    return bool(named) and all(named)


def _same(name: str, other: str) -> bool:
    return name.casefold() == other.casefold()
