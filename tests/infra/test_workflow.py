"""What else is kept for deploying: the workflows, the file for azd, and the words about rights inside a cluster."""

import re
import tomllib
from typing import Any

import pytest
import yaml

from tests.infra.digests import INFRA, ROOT

WORKFLOWS = {path.stem: path for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))}


def workflow(name: str = "ci") -> dict[Any, Any]:
    document: dict[Any, Any] = yaml.safe_load(WORKFLOWS[name].read_text())
    return document


def commands(job: dict[str, Any], beginning: str = "") -> list[str]:
    scripts = [step["run"] for step in job["steps"] if "run" in step]
    return [command for command in scripts if command.startswith(beginning)]


def test_every_action_is_pinned_by_hash_with_its_version_beside_it_the_same_in_all_workflows() -> None:
    uses = {use for path in WORKFLOWS.values() for use in re.findall(r"uses: (\S+.*)", path.read_text())}
    pin = re.compile(r"[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*")
    assert [use for use in uses if not pin.fullmatch(use)] == []
    assert len(uses) == len({use.partition("@")[0] for use in uses}) > 0


def test_ci_may_only_read_and_its_look_into_azure_has_an_identity_no_secret_and_no_pull_request() -> None:
    jobs = workflow()["jobs"]
    permissions = {name: job["permissions"] for name, job in jobs.items() if "permissions" in job}
    assert permissions == {"what-if": {"contents": "read", "id-token": "write"}}
    assert jobs["what-if"]["if"] == "vars.AZURE_CLIENT_ID != '' && github.event_name != 'pull_request'"
    assert "secrets." not in WORKFLOWS["ci"].read_text()


@pytest.mark.parametrize("name", WORKFLOWS)
def test_only_jobs_without_this_projects_or_a_packages_code_may_write(name: str) -> None:
    document = workflow(name)
    assert document["permissions"] == {"contents": "read"}
    for job in document["jobs"].values():
        writes = {right for right, level in job.get("permissions", {}).items() if level == "write"}
        if writes & {"contents", "pull-requests", "attestations"}:
            assert not re.search(r"\b(make|pip|python3?|uv|npm)\b", "\n".join(commands(job)))


def test_every_script_for_real_parts_is_run_by_make_real() -> None:
    scripts = [path for path in (ROOT / "tests" / "real").glob("*.py") if "__main__" in path.read_text()]
    modules = re.findall(r"-m tests\.real\.(\w+)", (ROOT / "Makefile").read_text())
    assert sorted(modules) == sorted(path.stem for path in scripts)


def test_the_version_has_a_section_in_the_changelog() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\n## [{version}] - " in (ROOT / "CHANGELOG.md").read_text()


def test_azd_finds_the_app_by_the_tag_that_bicep_gives_it() -> None:
    services = yaml.safe_load((ROOT / "azure.yaml").read_text())["services"]
    assert services == {"app": {"project": ".", "language": "python", "host": "function"}}
    assert "appTags: { 'azd-service-name': 'app' }" in (INFRA / "main.bicep").read_text()


def test_commands_for_the_rights_in_a_cluster_name_the_namespace_and_the_file_says_what_goes_without() -> (
    None
):
    rights = (INFRA / "kubernetes-rbac.yaml").read_text()
    texts = [rights, *(path.read_text() for path in (ROOT / "docs").glob("*.md"))]
    commands = re.findall(r"kubectl (?:apply|delete)[^`\n]*kubernetes-rbac\.yaml", "\n".join(texts))
    assert {"apply", "delete"} <= {command.split()[1] for command in commands}
    assert [command for command in commands if "--namespace" not in command] == []
    advice = rights.partition("apiVersion")[0]
    assert "make the Secrets beforehand, empty" in advice
    assert "`restart_unverified`" in advice
