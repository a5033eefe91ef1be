"""The JSON Schema that editors use: that of the code. `test_settings_faults` holds its verdicts to those of the app."""

import json
import subprocess
import sys
from pathlib import Path

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from tests.docs.documentation_reading import read_documents, snippets
from tests.docs.documentation_recipes import whole_document
from tests.samples import DESIGN_EXAMPLE, faults_of
from tools.schema import PATH, schema, text


def test_the_schema_in_the_repository_is_current() -> None:
    assert PATH.read_text() == text(), "run `make schema`"
    Draft202012Validator.check_schema(schema())


def ecma_262(documents: list[object], folder: Path) -> str:
    """What a validator says of the documents that compiles patterns as editors do, and Python does not."""
    for number, value in enumerate(documents):
        (folder / f"{number}.json").write_text(json.dumps(value))
    command = [sys.executable, "-m", "check_jsonschema", "--schemafile", str(PATH)]
    return subprocess.run(
        [*command, *map(str, folder.glob("*.json"))], capture_output=True, text=True, check=False
    ).stdout


def test_every_example_of_the_documentation_is_sound_to_the_app_and_to_editors(tmp_path: Path) -> None:
    texts = [snippet for text in read_documents().values() for snippet in snippets(text, "json")]
    examples: list[object] = [whole_document(json.loads(text)) for text in texts]
    assert len(examples) >= 10
    assert [faults_of(example) for example in examples] == [[]] * len(examples)
    assert ecma_262([*examples, DESIGN_EXAMPLE], tmp_path) == "ok -- validation done\n"
    broken = {"services": {}, "clusters": {"plant": {"server": "https://plant/{gatway}"}}}
    assert "does not match" in ecma_262([broken], tmp_path)


def test_no_pattern_means_another_thing_to_editors_than_to_the_app() -> None:
    # `\\w` and `\\d` are ASCII in ECMA-262 and Unicode in pydantic.
    text = json.dumps(schema())
    assert '"pattern": ' in text
    assert [word for word in (r"\\w", r"\\d", r"\\b", "(?i", "(?P") if word in text] == []
