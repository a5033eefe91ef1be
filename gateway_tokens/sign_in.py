"""How callers prove who they are: the settings of it. Standard library only: every cold start imports this module."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .settings import AccessRule

# Set together: without one of them no bearer token can be verified.
_NEEDED = ("SIGN_IN_TENANT", "SIGN_IN_AUDIENCES", "SIGN_IN_APPLICATIONS")
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_INSTEAD_OF_SIGN_IN = (
    "is not a setting any more. For 'entra' remove it; for 'functionKey' or 'entraAndFunctionKey' write "
    "ALLOW_FUNCTION_KEYS=true in its place"
)


@dataclass(frozen=True, slots=True)
class SignIn:
    """Whose bearer tokens are accepted: of which tenant, for which audiences, through which applications."""

    endpoint: str
    tenant: str
    audiences: tuple[str, ...]
    applications: frozenset[str]

    @property
    def keys_address(self) -> str:
        """Where Entra publishes the keys by which it signs the tenant's tokens of both versions."""
        return f"{self.endpoint}/{self.tenant}/discovery/v2.0/keys"

    @property
    def issuers(self) -> tuple[str, str]:
        """The issuers of the tenant's v1 and v2 tokens.

        A v1 token does not name the sign-in endpoint, and in China, which has two endpoints, a v2 token names one.
        https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud
        """
        v1, v2 = "https://sts.windows.net", self.endpoint
        if self.endpoint.endswith(".cn"):
            v1, v2 = "https://sts.chinacloudapi.cn", "https://login.partner.microsoftonline.cn"
        return f"{v1}/{self.tenant}/", f"{v2}/{self.tenant}/v2.0"


def function_keys_allowed(environ: Mapping[str, str]) -> bool:
    """Whether the host asks every caller for a function key; cannot fail."""
    return environ.get("ALLOW_FUNCTION_KEYS", "").strip().casefold() == "true"


def read_sign_in(values: Mapping[str, str]) -> tuple[SignIn | None, list[Fault]]:
    """Who may sign in, None where function keys alone are in use, and the faults of these settings.

    `values` are the app settings, with their defaults where they are not set.
    """
    faults = list(_faults(values))
    if faults or not values["SIGN_IN_TENANT"]:
        return None, faults
    sign_in = SignIn(
        endpoint=values["SIGN_IN_ENDPOINT"].rstrip("/"),
        tenant=values["SIGN_IN_TENANT"].lower(),
        audiences=tuple(_listed(values["SIGN_IN_AUDIENCES"])),
        applications=frozenset(_listed(values["SIGN_IN_APPLICATIONS"].lower())),
    )
    return sign_in, []


def rules_that_match_nobody(
    rules: Sequence[AccessRule], sign_in: SignIn | None, *, function_keys: bool
) -> Iterator[Fault]:
    """A fault for each access rule that names a caller who can never call in this mode."""
    for index, rule in enumerate(rules):
        caller, path = rule.caller, f"access[{index}].caller"
        if caller.function_key and not function_keys:
            yield Fault(f"{path}.functionKey", "can never match: ALLOW_FUNCTION_KEYS is not true")
        if not caller.function_key and sign_in is None:
            yield Fault(path, f"can never match: nobody can sign in until {', '.join(_NEEDED)} are set")
        if caller.client_id and sign_in and caller.client_id.lower() not in sign_in.applications:
            yield Fault(f"{path}.clientId", "can never match: SIGN_IN_APPLICATIONS does not list it")


def _faults(values: Mapping[str, str]) -> Iterator[Fault]:
    if values["SIGN_IN"]:
        yield Fault("SIGN_IN", _INSTEAD_OF_SIGN_IN)
    if values["ALLOW_FUNCTION_KEYS"].casefold() not in {"true", "false"}:
        yield Fault("ALLOW_FUNCTION_KEYS", "must be true or false")
    listed = {name: list(_listed(values[name])) for name in _NEEDED}
    if any(listed.values()) or not function_keys_allowed(values):
        yield from (
            Fault(name, "must be set: it is needed to verify bearer tokens")
            for name in _NEEDED
            if not listed[name]
        )
    if values["SIGN_IN_TENANT"] and not _GUID.fullmatch(values["SIGN_IN_TENANT"].lower()):
        yield Fault("SIGN_IN_TENANT", "must be the tenant's id, a GUID")
    if not all(_GUID.fullmatch(client_id.lower()) for client_id in listed["SIGN_IN_APPLICATIONS"]):
        yield Fault("SIGN_IN_APPLICATIONS", "must be client ids (GUIDs), separated by commas")


def _listed(value: str) -> Iterator[str]:
    return filter(None, (part.strip() for part in value.split(",")))
