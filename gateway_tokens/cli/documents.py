"""The files that describe an estate: the JSON document itself, local.settings.json, and Bicep's parameter files.

A `.bicepparam` file is read as the app settings that its deployment would write, through the real compiler.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from bisect import bisect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import gateway_tokens.destinations  # noqa: F401 - defines the kinds
from gateway_tokens.errors import Fault, SettingsInvalid
from gateway_tokens.estate.app_settings import SETTINGS, read_settings, schedule_faults
from gateway_tokens.estate.faults import read_estate
from gateway_tokens.estate.schema import Estate
from gateway_tokens.parsing import read_json, shown_name

_DOCUMENT = "GATEWAY_TOKENS"
HOURLY = "0 0 * * * *"
# The parameters that app settings follow from. The template itself holds access rules to the sign-in.
NAMES = {"RENEWAL_SCHEDULE": "renewalSchedule", "NO_RUN_AFTER_HOURS": "noRunAfterHours"}
# What addresses of vaults end in, by what that of Azure Resource Manager ends in.
_DOMAINS = {"usgovcloudapi.net": "usgovcloudapi.net", "chinacloudapi.cn": "azure.cn", "": "azure.net"}
_ERROR = re.compile(r"\((?P<line>[0-9]+),[0-9]+\) : Error (?P<message>.*)")
_KEY_VAULT = "/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft.KeyVault/vaults/([^/]+)"
_NO_VAULT = "must be a vault's id: /subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{name}"
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_STATED = re.compile(r"at line ([0-9]+) column")


class Unusable(Exception):  # noqa: N818 - named after a state
    """A file cannot be checked at all: it is not there, or the compiler that reads it is not."""


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
Located = Callable[[Fault], Finding]


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
        in_document = Fault(path, fault.message.replace(" at line ", " "))  # not of the file
        return Finding(name, lines.of(in_document, "Values."), path, fault.message)

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
        before, parameter, _ = f"\n{text}".partition(f"\nparam {shown.split('.')[0]} ")
        line = before.count("\n") + 1 if parameter else None
        return Finding(str(path), line, shown, fault.message)

    return _judged(settings, finding, faults, complete=False)


def _judged(settings: Settings, finding: Located, faults: list[Fault], *, complete: bool) -> EstateFile:
    """The settings with what is wrong, beside what is known already. Only a complete set can be judged as a whole."""
    file = EstateFile(settings)
    try:
        file.estate = read_settings(settings).estate if complete else read_estate(settings[_DOCUMENT])
    except SettingsInvalid as error:
        faults += error.faults
    if file.estate and not complete:
        faults += schedule_faults(settings, file.estate)
    file.findings = sorted(map(finding, faults), key=lambda each: each.line or 0)
    return file


def parameters_of(path: Path) -> tuple[dict[str, Any] | None, list[tuple[int | None, str]]]:
    """The parameters with the template's defaults, or None and the compiler's errors by line. Raises Unusable."""
    of_az = str(Path.home() / ".azure" / "bin" / "bicep")
    program = shutil.which(os.environ.get("BICEP") or "bicep") or shutil.which(of_az)
    if program is None:
        message = "Install it (az bicep install), or set BICEP to its path"
        raise Unusable(f"needs the Bicep compiler, which is not found. {message}")
    command = [program, "build-params", str(path), "--stdout"]
    environment = {**os.environ, "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"}  # without ICU it runs as well
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603 - the user's compiler
    if done.returncode:
        errors = [(int(e["line"]), e["message"]) for e in _ERROR.finditer(done.stderr)]
        return None, [*errors] or [(None, f"the Bicep compiler fails: {done.stderr.strip()[:500]}")]
    built = json.loads(done.stdout)
    declared, given = (json.loads(built[part])["parameters"] for part in ("templateJson", "parametersJson"))
    defaults = {name: entry["defaultValue"] for name, entry in declared.items() if "defaultValue" in entry}
    return defaults | {name: entry.get("value") for name, entry in given.items()}, []


def settings_of(parameters: dict[str, Any]) -> tuple[dict[str, str], list[Fault]]:
    """The app settings that describe the estate and its schedule, and the faults that they do not show any more.

    The address of each vault takes the place of its resource id, as in Bicep. `grants.bicep` takes the estate alone.
    """
    faults, endpoint = list[Fault](), os.environ.get("ARM_ENDPOINT", "").rstrip("/")
    domain = next(domain for end, domain in _DOMAINS.items() if endpoint.endswith(end))

    def named(path: str, part: Any) -> Any:  # noqa: ANN401 - JSON
        if isinstance(part, list):
            return [named(f"{path}[{index}]", entry) for index, entry in enumerate(part)]
        if not isinstance(part, dict):
            return part
        changed = {name: named(f"{path}.{name}".lstrip("."), member) for name, member in part.items()}
        if restarts := changed.pop("restarts", None):  # Bicep's name for several
            changed["restart"] = restarts
        name = vault = changed.get("vault")
        if isinstance(vault, str):
            match = re.fullmatch(_KEY_VAULT, vault, re.IGNORECASE)
            faults.extend([] if match else [Fault(f"{path}.vault", _NO_VAULT)])
            name = match[1] if match else "unknown"
        elif vault is None and changed.get("kind") == "keyVault":
            name = parameters.get("newVaultName")
        return {**changed, "vault": f"https://{name}.vault.{domain}".lower()} if name else changed

    hours = parameters.get("noRunAfterHours") if parameters.get("alerts") == "all" else None
    settings = {"GATEWAY_TOKENS": json.dumps(named("", parameters.get("estate")))}
    schedule = parameters.get("renewalSchedule", HOURLY)
    return settings | {"RENEWAL_SCHEDULE": schedule, "NO_RUN_AFTER_HOURS": str(hours or "")}, faults


class Lines:
    """The lines of a JSON text by path, where paths are written as faults write them."""

    def __init__(self, text: str) -> None:
        self._by_path, self._repeated = dict[str, int](), dict[str, int]()
        ends, path = [match.start() for match in re.finditer("\n", text)], ""
        # What is open: its path, and the index of an array's next entry, or the name before an object's next value.
        holders: list[tuple[str, int | str | None]] = []
        for token in _TOKEN.finditer(text):
            word, line = token[0], bisect(ends, token.start()) + 1
            outer, member = holders[-1] if holders else ("", "")
            if word in "}]":
                holders.pop()
            elif word == ",":
                holders[-1] = outer, member + 1 if isinstance(member, int) else None
            elif member is None:
                name = shown_name(json.loads(word))
                holders[-1] = outer, name
                path = f"{outer}.{name}".lstrip(".")
                (self._repeated if path in self._by_path else {})[name] = line
                self._by_path.setdefault(path, line)
            elif word != ":":
                path = f"{outer}[{member}]" if isinstance(member, int) else f"{outer}.{member}".lstrip(".")
                self._by_path.setdefault(path, line)
                if word in "{[":
                    holders.append((path, 0 if word == "[" else None))

    def of(self, fault: Fault, within: str = "") -> int:
        """The line of the fault, or of the closest part around it that the text has; its document is at `within`."""
        if stated := _STATED.search(fault.message):
            return int(stated[1])
        for name, line in self._repeated.items():
            if fault.message == f"'{name}' is given twice":
                return line
        path = within + fault.path
        while path and path not in self._by_path:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self._by_path.get(path, 1)
