"""Who may do what with which gateways: the rules of the settings, patterns of names, and what a caller may do by them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from .errors import AccessDenied
from .parsing import Duration, Form, StrictModel, within
from .sign_in import Caller
from .tokens import MAX_LIFETIME, MIN_LIFETIME, GatewayRef

# fnmatch knows two more wildcards, which mean themselves here.
_LITERAL = str.maketrans({"[": "[[]", "?": "[?]"})


def matches(pattern: str, name: str) -> bool:
    """Whether the whole name fits the pattern, in any case."""
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


_PATTERN = r"^[a-zA-Z0-9*-]{1,50}/[a-zA-Z0-9._~*-]{1,80}$"
_PATTERN_FORM = Form("a pattern of service and gateway, such as contoso/edge-*", _PATTERN)
AccessPattern = Annotated[str, _PATTERN_FORM, AfterValidator(_of_a_declared_service)]
GrantedLifetime = Annotated[
    Duration, within(MIN_LIFETIME, MAX_LIFETIME, "must be between one minute (PT1M) and 30 days (P30D)")
]
Trait = Annotated[str, Field(min_length=1)]


class CallerMatch(StrictModel):
    """Who a rule is about: every trait named must hold."""

    app_role: Trait | None = Field(default=None, description="An app role in the caller's token.")
    object_id: Trait | None = Field(default=None, description="The caller's object id in Entra.")
    client_id: Trait | None = Field(default=None, description="The calling application's client id.")
    function_key: bool = Field(
        default=False,
        description="Every caller with a key of the function app and without a bearer token; alone.",
    )

    @model_validator(mode="after")
    def _somebody(self) -> CallerMatch:
        signed_in = bool(self.app_role or self.object_id or self.client_id)
        if not (signed_in or self.function_key):
            raise ValueError("must name an appRole, objectId, clientId or functionKey: true")
        if signed_in and self.function_key:
            raise ValueError(
                "functionKey must be alone: a caller who sends a bearer token is identified by the token only"
            )
        return self

    def is_about(self, caller: Caller) -> bool:
        """Whether the caller has every trait that is named. Without any it would be about nobody."""
        traits = (
            (self.app_role, self.app_role in caller.app_roles),
            (self.object_id, (self.object_id or "").casefold() == caller.object_id.casefold()),
            (self.client_id, (self.client_id or "").casefold() == caller.client_id.casefold()),
            (self.function_key, caller.function_key),
        )
        named = [holds for trait, holds in traits if trait]
        return bool(named) and all(named)


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
    """The gateways with which a caller may do one thing: none unless a rule opens."""

    rules: Sequence[AccessRule]
    caller: Caller
    permission: Permission

    def _opening(self) -> Iterator[tuple[str, AccessRule]]:
        """Each pattern that opens, with its rule."""
        for rule in self.rules:
            if self.permission in rule.allow and rule.caller.is_about(self.caller):
                yield from ((pattern, rule) for pattern in rule.gateways)

    def _granted(self, ref: GatewayRef) -> list[timedelta]:
        fitting = (rule for pattern, rule in self._opening() if matches(pattern, str(ref)))
        return [rule.max_lifetime or MAX_LIFETIME for rule in fitting]

    def covers(self, ref: GatewayRef) -> bool:
        """Whether it covers this gateway."""
        return bool(self._granted(ref))

    def covers_some(self, service: str = "*") -> bool:
        """Whether it may cover some gateway of the service; of any service: `*`."""
        return any(overlap(pattern, f"{service}/*") for pattern, _ in self._opening())

    def narrowed(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """The wanted patterns as far as it covers them: those within its own, and its own within those.

        Raises AccessDenied when it covers none of them.
        """
        own = [pattern for pattern, _ in self._opening()]
        inside = {name for name in wanted if any(matches(pattern, name) for pattern in own)}
        inside |= {pattern for pattern in own if any(matches(name, pattern) for name in wanted)}
        if not inside:
            raise AccessDenied(self.permission, ", ".join(wanted))
        return tuple(sorted(inside))

    def require(self, ref: GatewayRef) -> timedelta:
        """The longest lifetime that a rule grants for the gateway. Raises AccessDenied when no rule covers it."""
        if not (granted := self._granted(ref)):
            raise AccessDenied(self.permission, str(ref))
        return max(granted)

    def require_some(self, service: str = "*") -> None:
        """Raise AccessDenied unless it may cover some gateway of the service."""
        if not self.covers_some(service):
            raise AccessDenied(self.permission, f"{service}/*")
