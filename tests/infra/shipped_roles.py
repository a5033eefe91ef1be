"""The custom roles that the Bicep files define, for checks and for runs under exactly their rights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.infra.bicep_tree import at, declarations, properties, read_sources, strings_below

if TYPE_CHECKING:
    from tests.infra.bicep_tree import Declaration, Sources


@dataclass(frozen=True, slots=True)
class RoleActions:
    """What a role grants."""

    actions: frozenset[str]
    data_actions: frozenset[str]


def actions_of_shipped_roles(sources: Sources | None = None) -> dict[str, RoleActions]:
    """What each custom role grants, read from the Bicep files, by the stable label in the role's name."""
    found = declarations(sources if sources is not None else read_sources(), "resource")
    roles = [d for d in found if d.type_name.startswith("Microsoft.Authorization/roleDefinitions@")]
    return {_label(role): _granted(role) for role in roles if not role.existing}


def _label(role: Declaration) -> str:
    name = at(role.body, "name")
    return strings_below(name)[-1] if name else role.name


def _granted(role: Declaration) -> RoleActions:
    permissions = at(role.body, "properties.permissions")
    groups: dict[str, set[str]] = {"actions": set(), "dataActions": set()}
    for permission in permissions.named_children if permissions else ():
        for entry in properties(permission):
            groups[entry.name] |= set(strings_below(entry.value))
    return RoleActions(frozenset(groups["actions"]), frozenset(groups["dataActions"]))
