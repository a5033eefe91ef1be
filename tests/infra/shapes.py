"""The JSON Schema of the settings document in the notation of the digest of the estate's type: a line for each field."""

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

_NULL = {"type": "null"}


def fields_of_schema(schema: Schema) -> set[str]:
    """The fields of a JSON Schema document. `$schema` is for editors of JSON and is left out."""
    return {line for line in _fields(schema, "", schema["$defs"]) if not line.startswith(".$schema")}


def _fields(schema: Schema, path: str, defs: Schema) -> Iterator[str]:
    schema = _plain(schema, defs)
    if "oneOf" in schema:
        for one in schema["oneOf"]:
            kind = _plain(one, defs)["properties"]["kind"]["const"]
            yield from _fields(one, f"{path}({kind})", defs)
    elif schema.get("type") == "array":
        yield from _fields(schema["items"], f"{path}[]", defs)
    elif schema.get("type") == "object":
        for name, part in _parts(schema).items():
            yield from _fields(part, f"{path}{name}", defs)
    else:
        words = schema.get("enum") or ([schema["const"]] if "const" in schema else [schema["type"]])
        yield f"{path}: {'|'.join(sorted({'boolean': 'bool'}.get(word, word) for word in words))}"


def _parts(schema: Schema) -> dict[str, Schema]:
    if "properties" not in schema:
        values = [*schema.get("patternProperties", {}).values()] or [schema["additionalProperties"]]
        return {".*": values[0]}
    required = schema.get("required", [])
    return {f".{n}" if n in required else f".{n}?": part for n, part in schema["properties"].items()}


def _plain(schema: Schema, defs: Schema) -> Schema:
    while "$ref" in schema or "anyOf" in schema:
        if "$ref" in schema:
            schema = defs[schema["$ref"].rsplit("/", 1)[1]]
        else:
            schema = next(one for one in schema["anyOf"] if one != _NULL)
    return schema
