"""Reading the GATEWAY_TOKENS document: every fault at once, those within a part and those between parts."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import chain, combinations, product
from typing import Any, NamedTuple

from gateway_tokens.access import overlap, specificity
from gateway_tokens.errors import Fault, SettingsInvalid
from gateway_tokens.parsing import Errors, faults_of, read_json, shown_name, validated
from gateway_tokens.tokens import GatewayRef

from .destination import Cluster, DestinationSettings
from .schema import Estate, GatewayRule

_ROOT = "GATEWAY_TOKENS"
# One app setting as Azure takes it; a process whose environment holds 131,072 bytes in one cannot be started.
MOST_BYTES = 100_000
_WAY_OUT = (
    "leave out line breaks and indents, write what rules share into `defaults` and `clusters`, use patterns in place of single "
    "gateways, or deploy a second copy of the app for a part of the services"
)
# A stand-in that no real name contains, so that a row's location shows whether it depends on the gateway.
_ANY = "\x01"
# Names that fit wherever their placeholder may be.
_PLAIN = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,38}[a-zA-Z0-9])?")
# A rule, its service's defaults and the estate's, by their paths: the nearest first.
_Levels = Mapping[str, GatewayRule]


def read_estate(text: str) -> Estate:
    """The document as frozen types. Raises SettingsInvalid with every fault and its path in the document."""
    gc.disable()  # A collection would walk all that is loaded: half of the time that 1,000 names take.
    try:
        estate, faults = _read(text)
    finally:
        gc.enable()
    if faults or estate is None:
        raise SettingsInvalid(faults)
    return estate


@lru_cache(maxsize=1)
def _read(text: str) -> tuple[Estate | None, tuple[Fault, ...]]:
    """The last text's document or its faults: a faulty one is asked for with every call."""
    document, faults = read_json(text, _ROOT)
    if not isinstance(document, dict):
        return None, tuple(faults or [Fault(_ROOT, "must be an object")])
    if (size := len(text.encode(errors="surrogatepass"))) > MOST_BYTES:
        faults.append(Fault(_ROOT, f"holds {size:,} bytes, and an app setting {MOST_BYTES:,}: {_WAY_OUT}"))
    services = document.get("services")
    context = {"services": list(services) if isinstance(services, dict) else []}
    estate, errors = validated(Estate, document, context)
    faults += [*faults_of(errors, Estate, DestinationSettings.kinds), *_ties(document)]
    sound = estate or validated(Estate, _without(errors, document), context)[0]
    if sound:
        sound, of_rules = effective(sound)
        faults += [*of_rules, *_misnamed(sound), *_between_rows(sound)]
    return (sound if estate else None), tuple(faults)


def _without(errors: Errors, document: dict[str, Any]) -> dict[str, Any]:
    """The services and what they share less each rule, or whole service, that has an error: the rest is compared with itself."""
    kept: dict[str, Any] = {n: document[n] for n in ("defaults", "clusters", "services") if n in document}
    for error in errors:
        match error["loc"]:
            case ("services", name, "gateways", pattern, *_):
                kept["services"].get(name, {}).get("gateways", {}).pop(pattern, None)
            case ("services", name, *_):
                kept["services"].pop(name, None)
    return kept


def _ties(document: dict[str, Any]) -> Iterator[Fault]:
    """Two patterns of a service of which neither is more literal, as far as the document has that shape."""
    services = document.get("services")
    for name, service in services.items() if isinstance(services, dict) else ():
        rules = service.get("gateways") if isinstance(service, dict) else None
        alike = dict[object, list[str]]()
        for pattern in rules if isinstance(rules, dict) else ():
            # A name ties only with itself, in another case.
            key = specificity(pattern) if "*" in pattern else pattern.casefold()
            alike.setdefault(key, []).append(pattern)
        for pattern, other in chain.from_iterable(combinations(patterns, 2) for patterns in alike.values()):
            if overlap(pattern, other):
                both = f"'{shown_name(pattern)}' and '{shown_name(other)}'"
                message = f"{both} match the same names equally well: make one more literal"
                yield Fault(f"services.{shown_name(name)}.gateways", message)


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
    parts = [*levels.values()]
    given = {field: getattr(part, field) for part in reversed(parts) for field in part.model_fields_set}
    if _stays_with_its_key(parts):
        given.pop("rotate_keys", None)
    destinations, faults = [], []
    for index, destination in enumerate(given.get("destinations", ())):
        try:
            destinations.append(destination.on(clusters, ref))
        except KeyError:
            destinations.append(destination)
            path = f"{_origin(levels, {'destinations'})}.destinations[{index}].cluster"
            filled = f"filled in for '{ref}' " if "{" in destination.cluster else ""
            faults.append(Fault(path, f"{filled}is neither a resource id nor a name in `clusters`"))
    if destinations != [*given.get("destinations", ())]:
        given["destinations"] = tuple(destinations)
    # Most rules of a long document are as they are.
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


def _destinations(estate: Estate) -> Iterator[tuple[str, str, str, DestinationSettings]]:
    """The path of each destination, its service, its pattern, and itself."""
    for name, service in estate.services.items():
        for pattern, rule in service.gateways.items():
            for index, destination in enumerate(rule.destinations if rule.renew else ()):
                path = f"services.{name}.gateways.{pattern}.destinations[{index}]"
                yield path, name, pattern, destination


def _misnamed(estate: Estate) -> Iterator[Fault]:
    """What a row's kind refuses once the names are in place, whatever a wildcard stands for."""
    for path, name, pattern, destination in _destinations(estate):
        names = name, pattern.replace("*", "0")
        for fault in [] if all(map(_PLAIN.fullmatch, names)) else destination.at(GatewayRef(*names))[1]:
            yield Fault(f"{path}.{fault.path}", f"as '{name}/{pattern}' fills it in: {fault.message}")


class _Row(NamedTuple):
    """What a row writes or restarts; `shown` names a workload, and is empty for a location."""

    path: str
    service: str
    pattern: str
    template: str
    shown: str = ""


def _rows(estate: Estate) -> Iterator[_Row]:
    for path, name, pattern, destination in _destinations(estate):
        ref = GatewayRef(name, _ANY)
        yield _Row(path, name, pattern, destination.location(ref))
        for template in destination.restarted(ref):
            yield _Row(path, name, pattern, template, template.replace(_ANY, "{gateway}"))


def _between_rows(estate: Estate) -> Iterator[Fault]:
    """Rows that could write the same location or restart the same workload, and names that differ in case only."""
    for name, other in combinations(estate.services, 2):
        if name.casefold() == other.casefold():
            yield Fault("services", f"'{name}' and '{other}' differ in case only")
    by_template: dict[str, list[_Row]] = {}
    for row in _rows(estate):
        by_template.setdefault(row.template, []).append(row)
        if "*" in row.pattern and _ANY not in row.template:
            what = f"restart {row.shown}" if row.shown else "write the same location"
            yield Fault(row.path, f"every gateway of '{row.pattern}' would {what}: add {{gateway}}")
    for row, later in chain.from_iterable(map(_colliding, by_template.values())):
        yield Fault(later.path, _in_common(row, later))


def _in_common(row: _Row, later: _Row) -> str:
    if not row.shown:
        return f"can write the same location as {row.path}: set them apart"
    if row.path == later.path:
        return f"restarts {row.shown} twice: name it once"
    return f"can restart {row.shown}, as {row.path} can: let one row restart it"


def _colliding(alike: list[_Row]) -> Iterator[tuple[_Row, _Row]]:
    """Of rows with one template those that different gateways, or one gateway twice, can fill in alike: the earlier and the later."""
    first: dict[str, _Row] = {}
    for row in alike:
        key = row.pattern.casefold() if _ANY in row.template else ""
        if first.setdefault(key, row) is not row:
            yield first[key], row
    rows = [*first.values()]
    wild = [row for row in rows if "*" in row.pattern]
    names = [row for row in rows if "*" not in row.pattern]
    # Of the rules of one service only the most literal one holds for a gateway.
    for row, other in chain(combinations(wild, 2), product(wild, names)):
        if row.service != other.service and overlap(row.pattern, other.pattern):
            earlier, later = sorted((row, other), key=rows.index)
            yield earlier, later
