"""Every right and every reach that an estate needs, tried without side effects."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import defaultdict
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import urlopen

from gateway_tokens.access import matches
from gateway_tokens.azure.clients import AzureAccess, trust_in
from gateway_tokens.azure.errors import operation
from gateway_tokens.destinations.kubernetes.api import WARN_AHEAD, Address, address_of, expiry_of
from gateway_tokens.errors import ROLES, GatewayTokensError
from gateway_tokens.estate.destination import DestinationSettings, filled_in
from gateway_tokens.parsing import read_json
from gateway_tokens.parts import App
from gateway_tokens.tokens import GatewayRef

from .plan import Rows, of_a_person, read_plan

GOOD, LACKING, NOT_JUDGED = "good", "lacking", "not judged"
_ISSUER, _READER = "Gateway token issuer", "Key Vault Secrets User"
_DATA = "Microsoft.KeyVault/vaults/secrets/"  # operations on data, which Azure keeps apart from those on resources
_CHANGING = ("generateToken/action", "setSecret/action", "update/action")  # what nobody needs who only looks


class Check(NamedTuple):
    """One thing that was tried; `command` grants what is lacking."""

    what: str
    about: str
    verdict: str
    message: str
    command: str = ""


async def examine(app: App, azure: AzureAccess, principal: str) -> list[Check]:
    """All checks of the app's estate; `principal` is the object id of the deployed app's identity, if it is known."""
    services, now, rows = app.settings.estate.services, app.clock(), await read_plan(app)
    refs = {GatewayRef(row["service"], row["gatewayId"]) for row in rows}
    refs |= {GatewayRef(name, pattern) for name, service in services.items() for pattern in service.gateways}
    rules = ((ref, services[ref.service].rule_for(ref.gateway)) for ref in refs)
    pairs = [(ref, d) for ref, rule in rules if rule and rule.renew for d in rule.destinations]
    addresses = {at: d for ref, d in pairs if "*" not in (at := d.depends_on(ref))}
    sign_ins = [(ref, sign_in) for ref, d in pairs if (sign_in := getattr(d, "sign_in", None))]
    secrets = {filled_in(f"{s.vault.rstrip('/').lower()}/secrets/{s.secret}", ref) for ref, s in sign_ins}
    needs = {(str(s.resource_id), _ISSUER) for s in services.values()} | {(at, _READER) for at in secrets}
    needs |= {(at, d.role) for at, d in addresses.items() if d.kind == "keyVault" or at[0] == "/"}
    rights = _Rights(azure, await _vaults(azure), principal)
    tried = await asyncio.gather(
        *(_expiring("certificate", at, _certificate(app, azure, at, d), now) for at, d in addresses.items()),
        *(_expiring("sign-in", at, _sign_in(azure, at), now) for at in sorted(secrets)),
        *(rights.at(address, role) for address, role in sorted(needs)),
    )
    return [*_readable(rows), *(check for checks in tried for check in checks)]


class _Rights:
    def __init__(self, azure: AzureAccess, vaults: Mapping[str, str], principal: str) -> None:
        self._azure, self._vaults, self._principal = azure, vaults, principal

    async def at(self, address: str, role: str) -> list[Check]:
        vault, slash, secret = address.partition("/secrets/")
        scope = address if vault[0] == "/" else self._vaults.get(vault, vault) + slash + secret
        if scope[0] != "/":
            return [Check("right", address, NOT_JUDGED, "Your sign-in sees no such vault in Azure.")]
        try:
            return await self._at(scope, role)
        except GatewayTokensError as error:
            return [Check("right", scope, NOT_JUDGED, of_a_person(str(error)))]

    async def _at(self, scope: str, role: str) -> list[Check]:
        who, needed, rbac = self._principal, ROLES[role], f"{scope}/providers/Microsoft.Authorization"
        looking = [action for action in needed if not (who and action.endswith(_CHANGING))]
        granted = await _every(self._azure, f"{rbac}/permissions")
        checks = [await self._check("Your sign-in", scope, role, _lacking(granted, looking))]
        if who:
            only = f"atScope() and assignedTo('{who}')"
            assigned = await _every(self._azure, f"{rbac}/roleAssignments", only)
            ids = {entry["roleDefinitionId"] for entry in assigned if not entry.get("condition")}
            roles = await asyncio.gather(*(_every(self._azure, each) for each in sorted(ids)))
            granted = [permission for [definition] in roles for permission in definition["permissions"]]
            check = await self._check("The app", scope, role, _lacking(granted, needed))
            if check.verdict == LACKING and any(entry.get("condition") for entry in assigned):
                message = f"{check.message} A role with a condition is not judged."
                check = check._replace(verdict=NOT_JUDGED, message=message)
            checks.append(check)
        if denied := await _every(self._azure, f"{rbac}/denyAssignments", "atScope()"):
            names = ", ".join(str(entry.get("denyAssignmentName")) for entry in denied)
            checks.append(Check("deny assignment", scope, NOT_JUDGED, f"May take rights away: {names}"))
        return checks

    async def _check(self, who: str, scope: str, role: str, lacking: list[str]) -> Check:
        """With what grants the role under the name that it has there, and defines it before where there is none."""
        if not lacking:
            return Check("right", scope, GOOD, f"{who} has what '{role}' grants.")
        there = await _every(self._azure, f"{scope}/providers/Microsoft.Authorization/roleDefinitions")
        names = [n for entry in there if (n := str(entry["roleName"])) == role or n.startswith(f"{role} (")]
        whom = f"--assignee-object-id {self._principal} --assignee-principal-type ServicePrincipal"
        whom = whom if self._principal else "--assignee <name or object id>"
        kind, group = "DataActions" if ROLES[role][0].startswith(_DATA) else "Actions", scope.split("/")[:5]
        name = [*names, f"{role} ({group[4]})"][0]  # names of roles are unique in a tenant
        assign = f"az role assignment create {whom} --role '{name}' --scope '{scope}'"
        definition = {"Name": name, kind: ROLES[role], "AssignableScopes": ["/".join(group)]}
        define = f"az role definition create --role-definition '{json.dumps(definition)}' && "
        message = f"{who} lacks {' and '.join(lacking)} at {scope}. The role '{role}' grants it."
        return Check("right", scope, LACKING, message, assign if names else define + assign)


def _lacking(permissions: Rows, actions: Sequence[str]) -> list[str]:
    def grants(permission: dict[str, Any], action: str) -> bool:
        names = ("dataActions", "notDataActions") if action.startswith(_DATA) else ("actions", "notActions")
        allowed, refused = (any(matches(p, action) for p in permission.get(n) or []) for n in names)
        return allowed and not refused

    return [action for action in actions if not any(grants(permission, action) for permission in permissions)]


async def _every(azure: AzureAccess, path: str, only: str = "", version: str = "2022-04-01") -> Rows:
    """All entries of a list, page by page, with their properties; of anything else itself."""
    entries, more = Rows(), f"{path}?$filter={quote(only)}" if only else path
    read = f"{path.rpartition('/')[2]}/read"
    while more:
        answer = await azure.arm_request("GET", more, api_version=version, action=read, scope=path) or {}
        entries += ({**entry, **entry.get("properties", {})} for entry in answer.get("value", [answer]))
        link = urlsplit(answer.get("nextLink") or "")
        more = f"{link.path}?{link.query}" if link.path else ""
    return entries


async def _vaults(azure: AzureAccess) -> dict[str, str]:
    """The resource ids of all vaults that your sign-in sees, by address."""
    ids = [entry["id"] for entry in await _every(azure, "/subscriptions", version="2022-12-01")]
    paths = (f"{each}/providers/Microsoft.KeyVault/vaults" for each in ids)
    lists = await asyncio.gather(*(_every(azure, path, version="2023-07-01") for path in paths))
    return {vault["vaultUri"].rstrip("/").lower(): vault["id"] for vaults in lists for vault in vaults}


def _readable(rows: Rows) -> Iterator[Check]:
    addresses = defaultdict[str, Rows](list)
    for row in rows:
        if row["destination"]:
            addresses[row["destination"].partition("/secrets/")[0].partition("/namespaces/")[0]].append(row)
        if not row["listed"]:
            message = "The service has no such gateway. Correct the rule's name, or create the gateway."
            yield Check("name", f"{row['service']}/{row['gatewayId']}", LACKING, message)
    for address, there in addresses.items():
        failed = [row["error"] for row in there if row["action"] is None]
        message = f"{len(failed)} of {len(there)} not read. {failed[0]}" if failed else f"{len(there)} read."
        yield Check("reach", address, LACKING if failed else GOOD, message)


async def _expiring(what: str, about: str, expiry: Awaitable[datetime | None], now: datetime) -> list[Check]:
    try:
        ends = await expiry
    except GatewayTokensError as error:
        return [Check(what, about, LACKING, of_a_person(str(error)))]
    except (OSError, ValueError) as error:
        verdict = LACKING if isinstance(error, ssl.SSLError) else NOT_JUDGED  # a proxy may be between
        return [Check(what, about, verdict, f"No direct connection from here: {type(error).__name__}.")]
    message = f"Expires on {ends:%Y-%m-%d %H:%M} UTC." if ends else "Has no expiry."
    soon = ends is not None and ends <= now + WARN_AHEAD
    return [Check(what, about, LACKING if soon else GOOD, f"{message} Replace it." if soon else message)]


async def _certificate(app: App, azure: AzureAccess, address: str, settings: DestinationSettings) -> datetime:
    server = await address_of(azure, address) if address.startswith("/") else Address(address, None)
    authority = getattr(settings, "certificate_authority", None) or server.certificate_authority
    return await certificate_end(server.server, trust_in(authority, app.settings.ca_file))


async def certificate_end(url: str, trust: ssl.SSLContext) -> datetime:
    """When the certificate of the server at the address ends. Raises OSError, of which SSLError is one, and ValueError."""
    address = urlsplit(url)
    async with asyncio.timeout(10):
        _, writer = await asyncio.open_connection(address.hostname, address.port or 443, ssl=trust)
    ends = writer.get_extra_info("peercert")["notAfter"]
    # Closed at once: a server that is slow to answer a close would outlive the event loop of the command.
    writer.transport.abort()
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC)


async def _sign_in(azure: AzureAccess, location: str) -> datetime | None:
    async with operation(f"Reading {location}", action=ROLES[_READER][0], scope=location):
        vault, _, secret = location.partition("/secrets/")
        answer = await azure.secret_client(vault).get_secret(secret)
    return min(filter(None, (answer.properties.expires_on, expiry_of(answer.value or ""))), default=None)


def health_of(url: str) -> Check:
    """The status and the codes of the app's health, which need no sign-in."""
    try:
        with urlopen(f"{url.rstrip('/')}/api/health", timeout=30) as answer:  # noqa: S310 - the user's own app
            text = answer.read()
    except HTTPError as error:
        text = error.read()
    except (OSError, ValueError):
        text = b""
    document = read_json(text, "")[0]
    document = document if isinstance(document, dict) else {}
    problems = [*document.get("problems", []), *document.get("warnings", [])]
    codes = [str(problem.get("code")) for problem in problems]
    good = document.get("status") == "healthy" and not codes
    status = document.get("status", "not there, or does not answer")
    return Check("health", url, GOOD if good else LACKING, " ".join([f"The app is {status}.", *codes]))
