"""What every Bicep file of this project must satisfy. Each check takes sources and returns its findings."""

from __future__ import annotations

import re

from tests.infra.bicep_tree import (
    Declaration,
    Sources,
    at,
    declarations,
    described,
    parse,
    parse_errors,
    properties,
    strings_below,
    text,
    walk,
    written,
)
from tests.infra.facts import HARDENING, OLDEST_API_VERSIONS, PUBLISHED_ROLES, SHIPPED_ROLES
from tests.infra.shipped_roles import actions_of_shipped_roles

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ENDPOINT = re.compile(
    r"(?i)\b(management\.azure|core\.windows\.net|vault\.azure|microsoftonline|windows\.net|azurewebsites"
    r"|chinacloudapi|usgovcloudapi|azure\.cn|azure\.us|applicationinsights)\b"
)
_PARAMETER_TYPES = ("estate.bicep", "types.bicep")
_SIGN_IN = {
    "properties.platform.enabled": "signIn != null",
    "properties.globalValidation.requireAuthentication": "!allowFunctionKeys",
    "properties.globalValidation.unauthenticatedClientAction": "allowFunctionKeys ? 'AllowAnonymous' : 'Return401'",
    "properties.globalValidation.excludedPaths": "['/api/health']",
}
_SECRET_NAME = re.compile(r"(?i)(key|secret|password|token|connectionstring|sas|credential)s?$")
_ANYTHING_SECRET = re.compile(
    r"(?i)\blist[A-Za-z]*\(|\.(key1|keys|primaryKey|sharedKeys)\b|InstrumentationKey"
)


def that_every_file_parses(sources: Sources) -> list[str]:
    """No node of error."""
    return [
        f"{path}: line {line}" for path, source in sources.items() for line in parse_errors(parse(source))
    ]


def that_descriptions_open_with_the_need(sources: Sources) -> list[str]:
    """Params, and properties of types, say Required, Optional or Conditional first, and truly."""
    described_things = [
        (p.place, p.description, _may_be_left_out(text(p.node))) for p in declarations(sources, "param")
    ]
    for kind in declarations(sources, "type"):
        for node in (n for n in walk(kind.node) if n.type == "object"):
            described_things += [
                (f"{kind.place}.{p.name}", described(p.decorators), text(p.value).endswith("?"))
                for p in properties(node)
            ]
    return [place for place, said, optional in described_things if not _says(said, optional=optional)]


def _may_be_left_out(param: str) -> bool:
    return "=" in param or param.rstrip().endswith("?")


def _says(description: str, *, optional: bool) -> bool:
    opening = description.split(" ", 1)[0]
    return opening in ({"Optional.", "Conditional."} if optional else {"Required."})


def that_everything_is_described(sources: Sources) -> list[str]:
    """Outputs and exported things have a description, files their metadata."""
    missing = [
        d.place
        for d in declarations(sources, "output", "type", "func")
        if not d.description and (d.kind == "output" or "export" in d.decorators)
    ]
    return missing + [path for path, source in sources.items() if not source.startswith("metadata name = ")]


def that_parameters_take_no_unknown_property(sources: Sources) -> list[str]:
    """Objects of the parameter file are sealed: a misspelt property stops the deployment, not the first sweep."""
    return [
        d.place
        for d in declarations({p: s for p, s in sources.items() if p in _PARAMETER_TYPES}, "type")
        if d.value.type in {"type", "object"}
        and any(p.name != "*" for n in walk(d.value) if n.type == "object" for p in properties(n))
        and "sealed" not in d.decorators
    ]


def that_api_versions_are_stable_and_recent(sources: Sources) -> list[str]:
    """Every resource names a stable version that is not older than the table's."""
    return [
        f"{resource.place} {resource.type_name}"
        for resource in declarations(sources, "resource")
        if not _recent(*resource.type_name.partition("@")[::2])
    ]


def _recent(kind: str, version: str) -> bool:
    oldest = OLDEST_API_VERSIONS.get(kind)
    return oldest is not None and re.fullmatch(r"\d{4}-\d\d-\d\d", version) is not None and version >= oldest


def that_role_ids_are_the_published_ones(sources: Sources) -> list[str]:
    """An id stands only in a variable that is named after its role."""
    findings = []
    for path, source in sources.items():
        named = {
            d.name: written(d.value) for d in declarations({path: source}, "var") if d.value.type == "string"
        }
        for literal in strings_below(parse(source)):
            names = [name for name, value in named.items() if value == literal]
            if _GUID.fullmatch(literal) and not any(PUBLISHED_ROLES.get(n) == literal for n in names):
                findings.append(f"{path}: {literal}")
    return findings


def that_custom_roles_grant_exactly_what_is_needed(sources: Sources) -> list[str]:
    """No role more, no action more, no action less."""
    granted = {
        label: set(role.actions | role.data_actions)
        for label, role in actions_of_shipped_roles(sources).items()
    }
    return [
        f"{label}: {sorted(granted.get(label, set()) ^ SHIPPED_ROLES.get(label, set()))}"
        for label in sorted(granted.keys() | SHIPPED_ROLES.keys())
        if granted.get(label) != SHIPPED_ROLES.get(label)
    ]


def that_assignments_are_deterministic(sources: Sources) -> list[str]:
    """Names follow from scope, principal and role; the type of the principal is stated; nothing is random."""
    findings = [
        f"{path}: {found}"
        for path, source in sources.items()
        for found in re.findall(r"\b(?:newGuid|utcNow|deployment)\(", source)
    ]
    return findings + [
        d.place
        for d in _of_type(sources, "Microsoft.Authorization/roleAssignments")
        if not re.match(r"guid\(.+, principalId, .+\)$", written(at(d.body, "name")))
        or written(at(d.body, "properties.principalType")) != "ServicePrincipal"
        or not _names_its_role(
            written(at(d.body, "name")), written(at(d.body, "properties.roleDefinitionId"))
        )
    ]


def _names_its_role(name: str, role: str) -> bool:
    given, choice, _ = role.partition(" ?? ")
    return not choice or f"{given} ?? " in name


def that_nothing_is_granted_beyond_one_resource(sources: Sources) -> list[str]:
    """Every assignment names its scope."""
    return [
        d.place
        for d in _of_type(sources, "Microsoft.Authorization/roleAssignments")
        if at(d.body, "scope") is None
    ]


def that_no_secret_is_read_or_put_out(sources: Sources) -> list[str]:
    """No list call, no key, no output that is or sounds like a secret."""
    findings = [
        f"{path}: {found.group()}"
        for path, source in sources.items()
        for found in _ANYTHING_SECRET.finditer(source)
    ]
    return findings + [
        d.place
        for d in declarations(sources, "output")
        if (_SECRET_NAME.search(d.name) and d.place != "modules/monitoring.bicep: connectionString")
        or "secure" in d.decorators
        or (d.path == "main.bicep" and "connectionString" in text(d.node))
    ]


def that_no_endpoint_is_hard_coded(sources: Sources) -> list[str]:
    """Addresses come from `environment()` and from the resources themselves."""
    return [
        f"{path}: {literal}"
        for path, source in sources.items()
        for literal in strings_below(parse(source))
        if _ENDPOINT.search(literal)
    ]


def that_resources_are_hardened(sources: Sources) -> list[str]:
    """The properties of the table say what they must, on every resource of the type that is made."""
    findings = []
    for kind, path, expected in HARDENING:
        made = [d for d in _of_type(sources, kind) if not d.existing]
        findings += [
            f"{d.place}: {path} is {written(at(d.body, path))}"
            for d in made
            if written(at(d.body, path)) != expected
        ]
        findings += [] if made else [f"no {kind}"]
    return findings


def that_nothing_existing_is_created(sources: Sources) -> list[str]:
    """API Management, clusters and networks are referenced, never made."""
    foreign = (
        "Microsoft.ApiManagement/",
        "Microsoft.ContainerService/",
        "Microsoft.Network/privateDnsZones",
        "Microsoft.Network/virtualNetworks",
    )
    return [
        d.place
        for d in declarations(sources, "resource")
        if d.type_name.startswith(foreign) and not d.existing
    ]


def that_only_health_is_open(sources: Sources) -> list[str]:
    """With sign-in on, nothing but health can be called without it, unless function keys are allowed."""
    app = [d for d in _of_type(sources, "Microsoft.Web/sites/config") if d.name == "authentication"]
    findings = [] if app else ["no authentication settings"]
    findings += [f"not always made: {d.place}" for d in app if "= if (" in text(d.node)]
    return findings + [
        f"{path}: {written(at(d.body, path))}"
        for d in app
        for path, expected in _SIGN_IN.items()
        if written(at(d.body, path)) != expected
    ]


def _of_type(sources: Sources, kind: str) -> list[Declaration]:
    return [d for d in declarations(sources, "resource") if d.type_name.partition("@")[0] == kind]
