"""Reading the GATEWAY_TOKENS document: every fault at once, those within a part and those between parts."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import combinations
from operator import is_not
from typing import Any, NamedTuple

from gateway_tokens.access import overlap, specificity
from gateway_tokens.errors import Fault, SettingsInvalid
from gateway_tokens.parsing import read_json, read_model, shown_name
from gateway_tokens.tokens import GatewayRef

from .addresses import Cluster
from .schema import DestinationSettings, Estate, GatewayRule, declared_names

_ROOT = "GATEWAY_TOKENS"
# What names and patterns must be like, with an example, by field or by what holds it.
_FORMS = {
    "services.[key]": "a name of letters, digits and inner hyphens that begins with a letter, such as contoso",
    "gateways.[key]": "a gateway's name, or a pattern with *, such as edge-01 or edge-*",
    "clusters.[key]": "a name of small letters, digits, hyphens, dots, underscores and tildes, such as edge",
    "gateways": "a pattern of service and gateway, such as contoso/edge-*",
}
# One app setting as Azure takes it; a process whose environment holds 131,072 bytes in one cannot be started.
MOST_BYTES = 100_000
# A stand-in that no real name contains, so that a row's location shows whether it depends on the gateway.
_ANY = "\x01"
# Names that fit wherever their placeholder may be.
_PLAIN = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,38}[a-zA-Z0-9])?")


class _Row(NamedTuple):
    """What a row writes or restarts; `shown` names a workload, and is empty for a location."""

    path: str
    service: str
    pattern: str
    template: str
    shown: str = ""


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
    estate, invalid = _validated(document)
    faults += [*invalid, *_ties(document)]
    sound = estate or _validated(_without_faulty_rules(document))[0]
    if sound:
        sound, of_rules = effective(sound)
        faults += [*of_rules, *_misnamed(sound), *_between_rows(sound)]
    return (sound if estate else None), tuple(faults)


_WAY_OUT = (
    "leave out line breaks and indents, write what rules share into `defaults` and `clusters`, use patterns in place of single "
    "gateways, or deploy a second copy of the app for a part of the services"
)


def _validated(document: object) -> tuple[Estate | None, list[Fault]]:
    return read_model(
        Estate,
        document,
        context={"services": declared_names(document)},
        tags=DestinationSettings.kinds,
        forms=_FORMS,
    )


def _pattern_rules(document: dict[str, Any]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Each service's name, itself, and its rules by pattern, as far as the document has that shape."""
    services = document.get("services")
    for name, service in services.items() if isinstance(services, dict) else ():
        rules = service.get("gateways") if isinstance(service, dict) else None
        yield name, service, rules if isinstance(rules, dict) else {}


def _without_faulty_rules(document: dict[str, Any]) -> dict[str, Any]:
    """The document's services less the parts that do not parse, so that the rest can be compared with itself."""
    shared = {name: part for name, part in document.items() if name in {"defaults", "clusters"}}
    kept: dict[str, Any] = {}
    for name, service, rules in _pattern_rules(document):
        whole = {**service, "gateways": rules} if isinstance(service, dict) else {}
        sound = {p: r for p, r in rules.items() if _parses(name, {**whole, "gateways": {p: r}})}
        if _parses(name, {**whole, "gateways": sound}):
            kept[name] = {**whole, "gateways": sound}
    return {**shared, "services": kept}


def _parses(name: str, service: dict[str, Any]) -> bool:
    return _validated({"services": {name: service}})[0] is not None


def _ties(document: dict[str, Any]) -> Iterator[Fault]:
    for name, _, rules in _pattern_rules(document):
        for one, other in _tying(rules):
            both = f"'{shown_name(one)}' and '{shown_name(other)}'"
            message = f"{both} match the same names equally well: make one more literal"
            yield Fault(f"services.{shown_name(name)}.gateways", message)


def _tying(patterns: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The pairs of patterns of which neither is more literal. A name ties only with itself, in another case."""
    names: dict[str, str] = {}
    wild: list[str] = []
    for pattern in patterns:
        if "*" in pattern:
            wild.append(pattern)
        elif names.setdefault(pattern.casefold(), pattern) != pattern:
            yield names[pattern.casefold()], pattern
    for one, other in combinations(wild, 2):
        if specificity(one) == specificity(other) and overlap(one, other):
            yield one, other


def _destinations(estate: Estate) -> Iterator[tuple[str, str, str, DestinationSettings]]:
    for name, service in estate.services.items():
        for pattern, rule in service.gateways.items():
            for index, destination in enumerate(rule.destinations if rule.renew else ()):
                path = f"services.{name}.gateways.{pattern}.destinations[{index}]"
                yield path, name, pattern, destination


def _rows(estate: Estate) -> Iterator[_Row]:
    for path, name, pattern, destination in _destinations(estate):
        yield _Row(path, name, pattern, destination.location(GatewayRef(name, _ANY)))


def _restarts(estate: Estate) -> Iterator[_Row]:
    for path, name, pattern, destination in _destinations(estate):
        for template in destination.restarted(GatewayRef(name, _ANY)):
            yield _Row(path, name, pattern, template, template.replace(_ANY, "{gateway}"))


def _between_rows(estate: Estate) -> Iterator[Fault]:
    """Rows that could write the same location or restart the same workload, and names that differ in case only."""
    for one, other in combinations(estate.services, 2):
        if one.casefold() == other.casefold():
            yield Fault("services", f"'{one}' and '{other}' differ in case only")
    for rows in (list(_rows(estate)), list(_restarts(estate))):
        for row in rows:
            if "*" in row.pattern and _ANY not in row.template:
                what = f"restart {row.shown}" if row.shown else "write the same location"
                yield Fault(row.path, f"every gateway of '{row.pattern}' would {what}: add {{gateway}}")
        for row, later in _colliding(rows):
            yield Fault(later.path, _in_common(row, later))


def _in_common(row: _Row, later: _Row) -> str:
    if not row.shown:
        return f"can write the same location as {row.path}: set them apart"
    if row.path == later.path:
        return f"restarts {row.shown} twice: name it once"
    return f"can restart {row.shown}, as {row.path} can: let one row restart it"


def _colliding(rows: Iterable[_Row]) -> Iterator[tuple[_Row, _Row]]:
    """Rows with one template that different gateways, or one gateway twice, can fill in alike: the first and each later one."""
    by_template: dict[str, list[_Row]] = {}
    for row in rows:
        by_template.setdefault(row.template, []).append(row)
    for template, alike in by_template.items():
        first: dict[str, _Row] = {}
        for row in alike:
            key = row.pattern.casefold() if _ANY in template else ""
            if first.setdefault(key, row) is not row:
                yield first[key], row
        yield from _meeting([*first.values()])


def _misnamed(estate: Estate) -> Iterator[Fault]:
    """What a row's kind refuses once the names are in place, whatever a wildcard stands for."""
    for path, name, pattern, destination in _destinations(estate):
        names = name, pattern.replace("*", "0")
        for fault in [] if all(map(_PLAIN.fullmatch, names)) else destination.at(GatewayRef(*names))[1]:
            yield Fault(f"{path}.{fault.path}", f"as '{name}/{pattern}' fills it in: {fault.message}")


def _meeting(rows: list[_Row]) -> Iterator[tuple[_Row, _Row]]:
    """Rows of different services, one of which has a wildcard, whose patterns have a name in common; in their order."""
    wild = [number for number, row in enumerate(rows) if "*" in row.pattern]
    for number in wild:
        for other, row in enumerate(rows):
            seen = other == number or ("*" in row.pattern and other < number)
            if (
                not seen
                and row.service != rows[number].service
                and overlap(row.pattern, rows[number].pattern)
            ):
                first, later = sorted((number, other))
                yield rows[first], rows[later]


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
