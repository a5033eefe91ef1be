"""The files that describe an estate: the JSON document itself, local.settings.json, and Bicep's parameter files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import gateway_tokens.destinations  # noqa: F401 - defines the kinds
from gateway_tokens.errors import Fault, SettingsInvalid
from gateway_tokens.estate.app_settings import SETTINGS, read_settings, schedule_faults
from gateway_tokens.estate.faults import read_estate
from gateway_tokens.estate.schema import Estate
from gateway_tokens.parsing import read_json

from .bicep import HOURLY, NAMES, Unusable, parameters_of, settings_of
from .lines import Lines

_DOCUMENT = "GATEWAY_TOKENS"


class Finding(NamedTuple):
    """One thing that is wrong with a file, as one line of output."""

    file: str
    line: int | None
    path: str
    message: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(filter(None, (where, self.path, self.message)))


Settings = Mapping[str, str]
Place = Callable[[Fault], Finding]


@dataclass(slots=True)
class EstateFile:
    """What a file says: app settings and the estate, which is None where it cannot be read."""

    settings: Settings = field(default_factory=dict)
    estate: Estate | None = None
    findings: list[Finding] = field(default_factory=list)


def read_file(path: Path) -> EstateFile:
    """The file, judged as the app judges its settings. Raises Unusable."""
    if path.is_dir():
        raise Unusable("is a folder. Name a file")
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise Unusable(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        return EstateFile(findings=[Finding(str(path), 1, "", "is not UTF-8 text")])
    return _parameter_file(path, text) if path.suffix == ".bicepparam" else _json_file(str(path), text)


def _json_file(name: str, text: str) -> EstateFile:
    value, faults = read_json(text, "")
    lines = Lines("" if value is None else text)

    def finding(fault: Fault) -> Finding:
        return Finding(name, lines.of(fault), fault.path if fault.path != _DOCUMENT else "", fault.message)

    if not isinstance(value, dict):
        return EstateFile(findings=[finding(f) for f in faults or [Fault("", "must be an object")]])
    if "Values" not in value or "services" in value:
        compact = json.dumps(value, separators=(",", ":"))  # a setting needs no line breaks
        return _judged({_DOCUMENT: compact, "RENEWAL_SCHEDULE": HOURLY}, finding, faults, complete=False)
    values = value["Values"] if isinstance(value["Values"], dict) else {}

    def in_values(fault: Fault) -> Finding:
        path = fault.path if fault.path in SETTINGS or fault.path in values else f"{_DOCUMENT}.{fault.path}"
        place = Fault(path, fault.message.replace(" at line ", " "))  # of the document, not of the file
        return Finding(name, lines.of(place, "Values."), path, fault.message)

    texts = [in_values(Fault(n, "must be a string")) for n, v in values.items() if not isinstance(v, str)]
    if faults or texts:
        return EstateFile(findings=[*map(finding, faults), *texts])
    return _judged(values, in_values, [], complete=True)


def _parameter_file(path: Path, text: str) -> EstateFile:
    parameters, errors = parameters_of(path)
    if parameters is None:
        return EstateFile(findings=[Finding(str(path), line, "", message) for line, message in errors])
    settings, faults = settings_of(parameters)

    def finding(fault: Fault) -> Finding:
        shown = NAMES.get(fault.path) or ("estate" if fault.path == _DOCUMENT else f"estate.{fault.path}")
        before, found, _ = f"\n{text}".partition(f"\nparam {shown.split('.')[0]} ")
        line = before.count("\n") + 1 if found else None
        return Finding(str(path), line, shown, fault.message)

    return _judged(settings, finding, faults, complete=False)


def _judged(settings: Settings, finding: Place, faults: list[Fault], *, complete: bool) -> EstateFile:
    """The settings with what is wrong, beside what is known already. Only a complete set can be judged as a whole."""
    made = EstateFile(settings)
    try:
        made.estate = read_settings(settings).estate if complete else read_estate(settings[_DOCUMENT])
    except SettingsInvalid as error:
        faults += error.faults
    if made.estate and not complete:
        faults += schedule_faults(settings, made.estate)
    made.findings = sorted(map(finding, faults), key=lambda found: found.line or 0)
    return made
