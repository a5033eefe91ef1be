"""Azure's published definitions and examples, and how an answer is stored to them."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft4Validator, ValidationError  # type: ignore[import-untyped]
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

__all__ = ["APIM", "VAULT", "ValidationError", "check", "document", "example", "shape"]

HERE = Path(__file__).parent
APIM = "apimanagement/2024-05-01"
VAULT = "keyvault/7.4"


@cache
def document(folder: str, name: str) -> Any:  # noqa: ANN401 - JSON as it comes
    """Return one copied file."""
    return json.loads((HERE / folder / f"{name}.json").read_text())


def example(folder: str, name: str, status: int = 200) -> tuple[dict[str, Any], Any]:
    """Return an example's parameters and its answer's body, None if it has none."""
    values = document(folder, name)
    return values["parameters"], values["responses"][str(status)].get("body")


def check(folder: str, file: str, definition: str, answer: object) -> None:
    """Raise unless the answer fits the definition and has no property that the definition does not name."""
    files = {f"{name.stem}.json": document(folder, name.stem) for name in (HERE / folder).glob("*.json")}
    resources = [
        (name, Resource.from_contents(body, default_specification=DRAFT4)) for name, body in files.items()
    ]
    registry: Registry[Any] = Registry().with_resources(resources)
    reference = {"$ref": f"{file}.json#/definitions/{definition}"}
    Draft4Validator(reference, registry=registry).validate(answer)
    unknown = _unknown(answer, reference, files, f"{file}.json")
    assert not unknown, f"not in {definition}: {unknown}"


def shape(value: object) -> object:
    """Return an answer with every leaf replaced by its type; of a list, the shape of the first element."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def _properties(
    schema: dict[str, Any], files: dict[str, Any], file: str
) -> dict[str, tuple[dict[str, Any], str]]:
    if "$ref" in schema:
        name, _, definition = schema["$ref"].partition("#/definitions/")
        return _properties(files[name or file]["definitions"][definition], files, name or file)
    own = {name: (child, file) for name, child in schema.get("properties", {}).items()}
    for parent in schema.get("allOf", []):
        own = _properties(parent, files, file) | own
    return own


def _unknown(value: object, schema: dict[str, Any], files: dict[str, Any], file: str) -> list[str]:
    if isinstance(value, list):
        return [name for item in value for name in _unknown(item, schema.get("items", {}), files, file)]
    if not isinstance(value, dict) or "additionalProperties" in schema:
        return []
    known = _properties(schema, files, file)
    nested = [
        name
        for key in value
        if key in known
        for name in _unknown(value[key], known[key][0], files, known[key][1])
    ]
    return [key for key in value if known and key not in known] + nested
