"""`make schema`: writes the JSON Schema of the GATEWAY_TOKENS document, for editors that complete it."""

import json
from pathlib import Path
from typing import Any

import gateway_tokens.destinations  # noqa: F401 - defines the kinds of destinations
from gateway_tokens.estate.schema import Estate

PATH = Path(__file__).resolve().parent.parent / "docs" / "gateway-tokens.schema.json"


def schema() -> dict[str, Any]:
    """The schema, made from the types that read the document."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "GATEWAY_TOKENS",
        **{name: _plain(part) for name, part in Estate.model_json_schema().items() if name != "title"},
    }


def _plain(part: Any) -> Any:  # noqa: ANN401 - JSON
    """Without `discriminator`, which is a word of OpenAPI: strict validators of JSON Schema refuse it."""
    if isinstance(part, dict):
        return {name: _plain(value) for name, value in part.items() if name != "discriminator"}
    return [_plain(value) for value in part] if isinstance(part, list) else part


def text() -> str:
    """The schema as the file holds it."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    PATH.write_text(text())
    print(f"wrote {PATH.name}")
