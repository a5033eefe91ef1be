"""Who may do what with which gateways, as the settings say it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, model_validator

from gateway_tokens.parsing import Duration, StrictModel, within
from gateway_tokens.tokens import MAX_LIFETIME, MIN_LIFETIME

from .patterns import overlap


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
