"""`validate`: every fault of a file at once, each in one line with its place."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from gateway_tokens.cli.commands import app
from gateway_tokens.cli.documents import Lines, parameters_of, settings_of
from gateway_tokens.errors import Fault
from tests.docs.documentation_reading import names, sections
from tests.infra.digests import CASES, INFRA, ROOT, settings
from tests.infra.digests import document as deployed
from tests.samples import DESIGN_EXAMPLE, VAULT, document

COMPILER = shutil.which(os.environ.get("BICEP") or "bicep") or ""
needs_compiler = pytest.mark.skipif(not COMPILER, reason="no Bicep compiler on PATH or in BICEP")

RULE = "services.contoso.gateways.*"
SOUND = json.dumps(DESIGN_EXAMPLE, indent=2)
LIFETIME, RENEW = '"lifetime": "P30D"', '"renew": false'
# Texts of it, each with what takes its place and how the fault begins.
SEEDS = {
    LIFETIME: ('"lifetime": "P31D"', f"{RULE}.lifetime: must be between one day (P1D) and 30 days (P30D)"),
    '"renewBefore"': ('"renewbefore"', f"{RULE}.renewbefore: unknown field. Did you mean 'renewBefore'?"),
    '"https://contoso.vault.azure.net"': (
        '"a"',
        f"{RULE}.destinations[0].vault: must be the address of a vault",
    ),
    RENEW: ('"renew": "no"', "services.contoso.gateways.lab-*.renew: must be true or false"),
    '"GatewayToken.Issue"': ('""', "access[0].caller.appRole: must have at least 1 character"),
}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["validate", *map(str, arguments)])


def seeded(*seeds: str) -> str:
    text = SOUND
    for seed in seeds:
        text = text.replace(seed, SEEDS[seed][0])
    return text


def line_of(seed: str) -> int:
    return SOUND[: SOUND.index(seed)].count("\n") + 1


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_sound_document_has_no_fault(tmp_path: Path) -> None:
    for content in (SOUND, SOUND.replace("\n", "\r\n"), json.dumps(DESIGN_EXAMPLE)):
        done = run(written(tmp_path / "estate.json", content))
        assert (done.exit_code, done.output) == (0, "No fault in 1 file.\n")


def test_all_faults_of_a_file_are_told_with_file_line_and_path_in_the_order_of_their_lines(
    tmp_path: Path,
) -> None:
    path = written(tmp_path / "estate.json", seeded(*SEEDS).replace("\n", "\r\n"))
    done = run(path)
    assert done.exit_code == 1
    for line, (seed, (_, fault)) in zip(done.output.splitlines(), SEEDS.items(), strict=True):
        assert line.startswith(f"{path}:{line_of(seed)}: {fault}")


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b'{\n  // a comment\n  "services": {}}', 2, "comment"),
        (b"\x89PNG\xff\xfe\x00", 1, "is not UTF-8 text"),
        (b"[]", 1, "must be an object"),
    ],
)
def test_a_file_that_is_not_a_document_gets_one_clear_line(
    tmp_path: Path, content: bytes, line: int, message: str
) -> None:
    path = written(tmp_path / "estate.json", content)
    done = run(path)
    assert done.exit_code == 1
    assert len(done.output.splitlines()) == 1
    assert done.output.startswith(f"{path}:{line}: ")
    assert message in done.output


NAMES = st.text("abc-*~_", min_size=1, max_size=3)
LEAVES = st.text(max_size=5) | st.integers() | st.booleans()
VALUES = st.recursive(LEAVES, lambda v: st.lists(v, max_size=3) | st.dictionaries(NAMES, v, max_size=3))


def leaves_of(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        for name, member in value.items():
            yield from leaves_of(member, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from leaves_of(entry, f"{path}[{index}]")
    else:
        yield path, value


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=3))
def test_the_line_of_each_value_is_found(whole: dict[str, Any]) -> None:
    text = json.dumps(whole, indent=1)
    lines, numbered = text.splitlines(), Lines(text)
    for path, leaf in leaves_of(whole):
        assert lines[numbered.of(Fault(path, "")) - 1].rstrip(",").endswith(json.dumps(leaf))
        assert numbered.of(Fault(f"{path}.more[0]", "")) == numbered.of(Fault(path, ""))


def test_a_name_that_is_given_twice_is_told_at_its_second_line() -> None:
    for text, line in (('\n{"b": {"a": 1},\n"a": 1, "a": 2}', 3), ('{"a": 1,\n"a": 2}', 2)):
        assert Lines(text).of(Fault("", "'a' is given twice")) == line


def test_what_cannot_be_read_is_wrong_usage_and_does_not_hide_the_faults_of_other_files(
    tmp_path: Path,
) -> None:
    faulty = written(tmp_path / "estate.json", seeded(RENEW))
    done = run(tmp_path, tmp_path / "none.json", faulty)
    assert done.exit_code == 2
    folder, missing, fault = done.output.splitlines()
    assert folder == f"{tmp_path}: is a folder. Name a file"
    assert missing.startswith(f"{tmp_path / 'none.json'}: cannot be read: ")
    assert fault.startswith(f"{faulty}:{line_of(RENEW)}: ")
    assert run().exit_code == run(faulty, "--format", "xml").exit_code == 2


def local_settings(path: Path, **values: object) -> Path:
    """The sample of local settings with these values in place of its own, each in a line."""
    sample = json.loads((ROOT / "local.settings.sample.json").read_text())
    return written(path, json.dumps(sample | {"Values": sample["Values"] | values}, indent=2))


def test_settings_as_the_functions_host_keeps_them_locally_are_checked_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "local.settings.json"
    assert run(local_settings(path)).exit_code == 0
    faulty = {"GATEWAY_TOKENS": seeded(LIFETIME), "RENEWAL_SCHEDULE": "0 0 * * *  * *"}
    [finding] = run(local_settings(path, **faulty, PORT=5)).output.splitlines()
    assert '"PORT"' in path.read_text().splitlines()[int(finding.split(":")[1]) - 1]
    done = run(local_settings(path, **faulty))
    named = [text.split(":")[2].strip() for text in done.output.splitlines()]
    assert named == [f"GATEWAY_TOKENS.{RULE}.lifetime", "RENEWAL_SCHEDULE"]
    assert f"{path}:6: GATEWAY_TOKENS" in done.output


def test_rules_are_held_to_the_schedule(tmp_path: Path) -> None:
    declared = json.dumps(
        document(any_gateway={"lifetime": "P2D", "destinations": [{"kind": "keyVault", "vault": VAULT}]})
    )
    assert (
        run(written(tmp_path / "estate.json", declared)).exit_code == 0
    )  # hourly, unless the file says otherwise
    daily = {"RENEWAL_SCHEDULE": "0 0 0 * * *", "NO_RUN_AFTER_HOURS": ""}
    path = local_settings(tmp_path / "local.settings.json", GATEWAY_TOKENS=declared, **daily)
    done = run(path)
    assert done.exit_code == 1
    assert f"{path}:6: GATEWAY_TOKENS.{RULE}: a new token would be renewed again" in done.output
    assert "lives for 1 day 23 hours at least" in done.output


def test_faults_are_printed_as_data_and_as_annotations(tmp_path: Path) -> None:
    path = written(tmp_path / "a,b.json", seeded(RENEW))
    where, message = "services.contoso.gateways.lab-*.renew", "must be true or false"
    finding = {"file": str(path), "line": line_of(RENEW), "path": where, "message": message}
    assert json.loads(run(path, "--json").output) == [finding]
    annotated = run(path, "--format", "github").output
    name = str(path).replace(",", "%2C")
    assert annotated == f"::error file={name},line={line_of(RENEW)}::{where}: {message}\n"
    assert json.loads(run(written(path, SOUND), "--json").output) == []


def test_a_parameter_file_without_a_compiler_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BICEP", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("HOME", "/nowhere")
    done = run(INFRA / "main.bicepparam")
    assert done.exit_code == 2
    assert "needs the Bicep compiler, which is not found. Install it (az bicep install)" in done.output


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("case", ["every-destination", "key-vault"])
def test_a_parameter_file_gives_the_settings_that_its_deployment_writes(case: str) -> None:
    [path] = [*CASES.glob(f"{case}.bicepparam"), *(INFRA / "examples").glob(f"{case}.bicepparam")]
    assert run(path).output == "No fault in 1 file.\n"
    parameters, _ = parameters_of(path)
    assert parameters is not None
    settings_read, faults = settings_of(parameters)
    assert faults == []
    for name in ("RENEWAL_SCHEDULE", "NO_RUN_AFTER_HOURS"):
        assert settings_read[name] == settings(case)[name]
    whole, expected = json.loads(settings_read["GATEWAY_TOKENS"]), deployed(case)
    assert without_nulls({name: whole.get(name) for name in expected}) == without_nulls(expected)


def without_nulls(part: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(part, dict):
        return {n: without_nulls(m) for n, m in part.items() if m not in (None, [], {})}
    return [without_nulls(entry) for entry in part] if isinstance(part, list) else part


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("'keyVault'", "'keyVault', vault: 'https://a'", f"estate.{RULE}.destinations[0].vault: "),
        ("param newVaultName", "// param", f"estate.{RULE}.destinations[0].vault: required"),
        ("param tags", "param tag", "BCP259"),
    ],
)
def test_a_fault_of_a_parameter_file_is_told_by_its_path_in_the_estate(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    shutil.copytree(INFRA, tmp_path / "infra")
    path = tmp_path / "infra" / "main.bicepparam"
    written(path, path.read_text().replace(old, new))
    done = run(path)
    assert (done.exit_code, len(done.output.splitlines())) == (1, 1), done.output
    assert message in done.output
    lines = path.read_text().splitlines()
    [line] = [number for number, text in enumerate(lines, 1) if text.startswith("param estate")]
    assert f"{path}:{line}: " in done.output or "BCP" in message


def test_the_documentation_has_every_command_and_option() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        section = next(part for title, part in sections(text).items() if title.startswith(f"`{name} "))
        options = {opt for p in command.params for opt in p.opts if opt.startswith("--")}
        assert set(names(section, "Option")) == options, name
