"""What the documents say of settings, calls and errors, compared with the code. Each check lists what is wrong."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from gateway_tokens import errors
from gateway_tokens.destinations.key_vault import KeyVaultSecret
from gateway_tokens.destinations.kubernetes import KubernetesSecret, Layout
from gateway_tokens.estate import access_rules, windows
from gateway_tokens.estate import schema as settings
from gateway_tokens.estate.addresses import Cluster
from gateway_tokens.estate.app_settings import SETTINGS
from gateway_tokens.http.answers import status_of
from gateway_tokens.http.requests import SECRET_NAMES, TokenRequestBody
from gateway_tokens.issuing import TokenFormat
from tests.unit.documentation_reading import ROOT, anchors, codes, difference, links, names, rows, section

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway_tokens.parsing import StrictModel

_PARTS: dict[str, type[StrictModel]] = {
    "The whole document": settings.Estate,
    "A service": settings.Service,
    "A gateway rule": settings.GatewayRule,
    "A maintenance window": windows.Window,
    "A pause": windows.Pause,
    "A freeze": windows.Freeze,
    "A named cluster": Cluster,
    "`keyVault`": KeyVaultSecret,
    "`kubernetes`": KubernetesSecret,
    "An access rule": access_rules.AccessRule,
}
_OF_EVERY_DESTINATION = {"kind", "adopt"}


def that_app_settings_are_explained(documents: Mapping[str, str]) -> list[str]:
    table = {
        codes(row["Setting"])[0]: row["Default"] for row in rows(documents["docs/settings.md"], "Setting")
    }
    wrong = difference("settings.md, app settings", set(table), set(SETTINGS))
    for name, default in SETTINGS.items():
        said = table.get(name, "")
        true = "must be set" if default is None else f"`{default}`" if default else "empty"
        if name != "ARM_SCOPE" and said != true:
            wrong.append(f"settings.md, app settings: the default of {name} is {true}, not {said}")
    return wrong


def that_document_fields_are_explained(documents: Mapping[str, str]) -> list[str]:
    text = documents["docs/settings.md"]
    wrong = []
    for title, part in _PARTS.items():
        said = set(names(section(text, title), "Field")) | _common(part)
        wrong += difference(f"settings.md, {title}", said, _fields(part))
    wrong += difference("settings.md, traits", set(names(text, "Trait")), _fields(access_rules.CallerMatch))
    said = {
        f"{codes(row['Layout'])[0]}: {codes(row['Key in the Secret'])[0]}" for row in rows(text, "Layout")
    }
    true = {f"{layout}: {layout.key}" for layout in Layout}
    return wrong + difference("settings.md, layouts", said, true)


def _fields(part: type[StrictModel]) -> set[str]:
    return {field.alias or name for name, field in part.model_fields.items()}


def _common(part: type[StrictModel]) -> set[str]:
    return _OF_EVERY_DESTINATION & _fields(part) if "adopt" in part.model_fields else set()


def that_sign_in_modes_are_explained(documents: Mapping[str, str]) -> list[str]:
    return difference("api.md, sign-in", set(names(documents["docs/api.md"], "Mode")), {"false", "true"})


def that_routes_are_explained(documents: Mapping[str, str]) -> list[str]:
    true = set(_routes())
    headings = set(re.findall(r"^## `([A-Z]+ /api/.+)`$", documents["docs/api.md"], re.MULTILINE))
    said = set(names(documents["docs/api.md"], "Call"))
    return [*difference("api.md, table", said, true), *difference("api.md, calls", headings, true)]


def _routes() -> Iterator[str]:
    """`METHOD /api/route` of every function with a route."""
    tree = ast.parse((ROOT / "function_app.py").read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "route":
            methods = next(word.value for word in node.keywords if word.arg == "methods")
            for method in ast.literal_eval(methods):
                yield f"{method} /api/{ast.literal_eval(node.args[0])}"


def that_requests_are_explained(documents: Mapping[str, str]) -> list[str]:
    text = documents["docs/api.md"]
    title = "`POST /api/services/{service}/gateways/{gatewayId}/generateToken`"
    return [
        *difference("api.md, body", set(names(section(text, title), "Field")), _fields(TokenRequestBody)),
        *difference("api.md, query", set(names(text, "Query parameter")), {"api-version", *SECRET_NAMES}),
        *difference("api.md, formats", set(names(text, "Format")), set(TokenFormat)),
    ]


def that_errors_are_explained(documents: Mapping[str, str]) -> list[str]:
    said = {
        f"{codes(row['Code'])[0]}: {row['HTTP status']}"
        for row in rows(section(documents["docs/errors.md"], "Codes"), "Code")
    }
    true = {f"{kind.code}: {_status(kind)}" for kind in error_classes()} | {"internal_error: 500"}
    return difference("errors.md", said, true)


def error_classes() -> set[type[errors.GatewayTokensError]]:
    """Every error that has a code of its own."""
    return {
        kind for kind in vars(errors).values() if _is_error(kind) and kind is not errors.GatewayTokensError
    }


def _is_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, errors.GatewayTokensError) and "code" in vars(kind)


def _status(kind: type[errors.GatewayTokensError]) -> str:
    """What a caller sees, or a dash for what only rows and runs can hold."""
    never_answered = (errors.DestinationError, errors.EventInvalid, errors.MessageInvalid)
    return "–" if issubclass(kind, never_answered) else str(int(status_of(kind.__new__(kind))))


def that_links_lead_somewhere(documents: Mapping[str, str]) -> list[str]:
    wrong = []
    for path, text in documents.items():
        for link in links(text):
            target, _, anchor = link.partition("#")
            if "://" in link or (not target and not anchor):
                continue
            file = ((ROOT / path).parent / target).resolve() if target else ROOT / path
            location = file.relative_to(ROOT).as_posix()
            known = file.exists() or location in documents
            if not known or (anchor and location in documents and anchor not in anchors(documents[location])):
                wrong.append(f"{path}: {link} leads nowhere")
    return wrong


def that_decisions_are_listed(documents: Mapping[str, str]) -> list[str]:
    said = {link for link in links(documents["docs/adr/README.md"]) if link.endswith(".md")}
    true = {path.rpartition("/")[2] for path in documents if re.match(r"docs/adr/\d", path)}
    return difference("adr/README.md", said, true)


def that_the_plain_commands_are_those_of_make(documents: Mapping[str, str]) -> list[str]:
    wanted = {"$(VENV)/bin/python", "$(VENV)/.app", "$(VENV)/.dev", "lint", "types", "unit"}
    plain = {
        "$(PIP)": "$(BIN)/python -m pip",
        "$(BIN)": "$(VENV)/bin",
        "$(PYTHON)": "python3",
        "$(VENV)": ".venv",
    }
    commands, target = [], ""
    for line in (ROOT / "Makefile").read_text("utf-8").splitlines():
        target = line.partition(":")[0] if not line.startswith("\t") else target
        if line.startswith("\t") and not line.startswith("\t@") and target in wanted:
            for name, text in plain.items():
                line = line.replace(name, text)  # noqa: PLW2901 - one command, name by name
            commands.append(line.strip())
    shown = re.sub(r"\s+#.*", "", documents["CONTRIBUTING.md"])
    return [f"CONTRIBUTING: {command} is not shown" for command in commands if f"$ {command}" not in shown]
