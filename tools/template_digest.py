"""What a compiled template takes: its parameters, what waits for what, and the shape of a parameter's type."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

Type = Mapping[str, Any]


def interface(templates: Mapping[str, Type]) -> str:
    """The parameters of each template with type and default, and what its parts wait for."""
    lines = ["# The parameters of each template, and what its parts wait for"]
    for name, template in templates.items():
        lines += [f"{name} parameters", *(f"  {line}" for line in _parameters(template))]
        lines += [f"{name} order", *(f"  {line}" for line in _order(template))]
    return "\n".join([*lines, ""])


def _parameters(template: Type) -> Iterator[str]:
    for name, parameter in template["parameters"].items():
        texts = [_kind(parameter)]
        if "defaultValue" in parameter:
            texts.append(f"= {json.dumps(parameter['defaultValue'])}")
        elif not parameter.get("nullable"):
            texts.append("required")
        texts += [f"{bound} {parameter[bound]}" for bound in _BOUNDS if bound in parameter]
        yield f"{name}: {', '.join(texts)}"


_BOUNDS = ("minValue", "maxValue", "minLength", "maxLength")


def _kind(parameter: Type) -> str:
    if "$ref" in parameter:
        return str(parameter["$ref"].rpartition("/")[2])
    if words := parameter.get("allowedValues"):
        return "|".join(str(word) for word in words)
    return str(parameter["type"])


def _order(template: Type) -> Iterator[str]:
    for name, part in template["resources"].items():
        if not part.get("existing"):
            yield f"{name} after {', '.join(part.get('dependsOn', ['nothing']))}"


def shape(template: Type, parameter: str) -> str:
    """The fields of a parameter's type, a line for each; `?` closes the name of one that may be left out."""
    lines = _fields(template["parameters"][parameter], "", template["definitions"])
    return "\n".join([f"# The type of the parameter {parameter}", *sorted(lines), ""])


def _fields(kind: Type, path: str, definitions: Mapping[str, Type]) -> Iterator[str]:
    kind = _resolved(kind, definitions)
    if "discriminator" in kind:
        for word, variant in kind["discriminator"]["mapping"].items():
            yield from _fields(variant, f"{path}({word})", definitions)
    elif kind["type"] == "array":
        words = kind.get("allowedValues")
        items = {"type": "string", "allowedValues": words} if words else kind["items"]
        yield from _fields(items, f"{path}[]", definitions)
    elif kind["type"] == "object":
        named = {f".{name}": part for name, part in kind.get("properties", {}).items()}
        others = kind.get("additionalProperties")
        for name, part in {**named, **({".*": others} if others else {})}.items():
            optional = "?" if part.get("nullable") else ""
            yield from _fields(part, f"{path}{name}{optional}", definitions)
    else:
        yield f"{path}: {'|'.join(sorted(kind.get('allowedValues', [kind['type']])))}"


def _resolved(kind: Type, definitions: Mapping[str, Type]) -> Type:
    while "$ref" in kind:
        kind = definitions[kind["$ref"].removeprefix("#/definitions/")]
    return kind
