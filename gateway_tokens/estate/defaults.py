"""The estate as it holds: rules with what they inherit, destinations with the clusters that they name."""

from __future__ import annotations

from collections.abc import Mapping
from operator import is_not

from gateway_tokens.errors import Fault
from gateway_tokens.tokens import GatewayRef

from .addresses import Cluster
from .schema import Estate, GatewayRule

# A rule, its service's defaults and the estate's, by their paths: the nearest first.
_Levels = Mapping[str, GatewayRule]


def effective(estate: Estate) -> tuple[Estate, list[Fault]]:
    """The estate with nothing left to inherit or to look up, and what is wrong with it then, each fault once."""
    services, faults = {}, dict[Fault, None]()
    for name, service in estate.services.items():
        rules = {}
        for pattern, rule in service.gateways.items():
            above = {f"services.{name}.defaults": service.defaults, "defaults": estate.defaults}
            levels = {f"services.{name}.gateways.{pattern}": rule, **above}
            rules[pattern], more = _whole(rule, levels, estate.clusters, GatewayRef(name, pattern))
            faults |= dict.fromkeys(more)
        services[name] = service.model_copy(update={"gateways": rules})
    return estate.model_copy(update={"services": services}), [*faults]


def _whole(
    rule: GatewayRule, levels: _Levels, clusters: Mapping[str, Cluster], ref: GatewayRef
) -> tuple[GatewayRule, list[Fault]]:
    """The rule with each field from the nearest level that sets it."""
    given = {
        field: getattr(part, field) for part in [*levels.values()][::-1] for field in part.model_fields_set
    }
    if _stays_with_its_key([*levels.values()]):
        given.pop("rotate_keys", None)
    destinations, faults = [], []
    for index, destination in enumerate(given.get("destinations", ())):
        try:
            destinations.append(destination.on(clusters, ref))
        except KeyError:
            path = f"{_origin(levels, {'destinations'})}.destinations[{index}].cluster"
            filled = f"filled in for '{ref}' " if "{" in destination.cluster else ""
            faults.append(Fault(path, f"{filled}is neither a resource id nor a name in `clusters`"))
    if any(map(is_not, destinations, given.get("destinations", ()))):
        given["destinations"] = tuple(destinations)
    changes = {field: value for field, value in given.items() if getattr(rule, field) is not value}
    whole = rule.model_copy(update=changes) if changes else rule
    if given.keys() - {"destinations"}:  # they alone contradict nothing
        faults += [Fault(_origin(levels, fields), message) for fields, message in whole.contradictions()]
    return whole, faults


def _stays_with_its_key(levels: list[GatewayRule]) -> bool:
    """Whether a level names a key, or stops renewals, nearer than any that asks for rotation."""
    settled = (
        ("rotate_keys" in level.model_fields_set, level.key_type or not level.renew) for level in levels
    )
    return next((not rotates for rotates, stays in settled if rotates or stays), False)


def _origin(levels: _Levels, fields: set[str]) -> str:
    """The path of the nearest level that sets one of the fields."""
    return next(path for path, part in levels.items() if fields & part.model_fields_set)
