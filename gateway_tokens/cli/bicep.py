"""A `.bicepparam` file as app settings, through the real compiler: what its deployment would write."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from gateway_tokens.errors import Fault

HOURLY = "0 0 * * * *"
# The parameters that app settings follow from. The template itself holds access rules to the sign-in.
NAMES = {"RENEWAL_SCHEDULE": "renewalSchedule", "NO_RUN_AFTER_HOURS": "noRunAfterHours"}
# What addresses of vaults end in, by what that of Azure Resource Manager ends in.
_DOMAINS = {"usgovcloudapi.net": "usgovcloudapi.net", "chinacloudapi.cn": "azure.cn", "": "azure.net"}
_ERROR = re.compile(r"\((?P<line>[0-9]+),[0-9]+\) : Error (?P<message>.*)")
_KEY_VAULT = "/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft.KeyVault/vaults/([^/]+)"
_NO_VAULT = "must be a vault's id: /subscriptions/{id}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{name}"


class Unusable(Exception):  # noqa: N818 - named after a state
    """A file cannot be checked at all: it is not there, or the compiler that reads it is not."""


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
