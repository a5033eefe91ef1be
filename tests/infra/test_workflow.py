"""What else is kept for deploying: the workflows, the file for azd, and the rights inside a cluster."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.infra.digests import INFRA, ROOT

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOWS = ROOT / ".github" / "workflows"
WORKFLOW = WORKFLOWS / "ci.yml"
EVERY = pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.yml")), ids=lambda path: path.stem)


def workflow(path: Path = WORKFLOW) -> dict[Any, Any]:
    document: dict[Any, Any] = yaml.safe_load(path.read_text())
    return document


def commands(job: dict[str, Any]) -> list[str]:
    return [step.get("run", "") for step in job["steps"]]


def actions(job: dict[str, Any]) -> list[str]:
    return [step["uses"].partition("@")[0] for step in job["steps"] if "uses" in step]


def unpinned(source: str) -> list[str]:
    uses = re.findall(r"uses: (\S+.*)", source)
    return [use for use in uses if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*", use)]


@EVERY
def test_every_action_is_pinned_by_hash_with_its_version_beside_it(path: Path) -> None:
    assert "uses:" in path.read_text()
    assert unpinned(path.read_text()) == []


def test_one_action_has_one_version_in_all_workflows() -> None:
    every = "".join(path.read_text() for path in WORKFLOWS.glob("*.yml"))
    uses = set(re.findall(r"uses: (\S+)@(\S+)", every))

    assert len(uses) == len({action for action, _ in uses})


def test_an_action_named_by_a_tag_would_be_noticed() -> None:
    assert unpinned("- uses: actions/checkout@v6 # v6.0.2") == ["actions/checkout@v6 # v6.0.2"]


def test_the_tests_run_on_every_python_that_is_promised() -> None:
    job = workflow()["jobs"]["test"]

    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert {"run": "make test"} in job["steps"]


def test_the_workflow_may_read_and_nothing_else_but_for_the_identity_of_its_look_into_azure() -> None:
    asked = {name: job["permissions"] for name, job in workflow()["jobs"].items() if "permissions" in job}

    assert workflow()["permissions"] == {"contents": "read"}
    assert asked == {"what-if": {"contents": "read", "id-token": "write"}}


def test_the_look_into_azure_needs_no_secret_and_is_out_of_reach_of_pull_requests() -> None:
    job = workflow()["jobs"]["what-if"]

    assert job["if"] == "vars.AZURE_CLIENT_ID != '' && github.event_name != 'pull_request'"
    assert "secrets." not in WORKFLOW.read_text()


def writing_jobs_with_code(document: dict[Any, Any]) -> list[str]:
    """Jobs that may change the repository or sign for it, and run this project's code or a package's."""
    return [
        name
        for name, job in document["jobs"].items()
        if {"contents", "pull-requests", "attestations"}
        & {right for right, level in job.get("permissions", {}).items() if level == "write"}
        and any(re.search(r"\b(make|pip|python3?|uv|npm)\b", command) for command in commands(job))
    ]


@EVERY
def test_only_jobs_without_foreign_code_may_write(path: Path) -> None:
    assert workflow(path)["permissions"] == {"contents": "read"}
    assert writing_jobs_with_code(workflow(path)) == []


def test_a_job_that_tests_and_writes_would_be_noticed() -> None:
    job = {"permissions": {"contents": "write"}, "steps": [{"run": "make test"}]}

    assert writing_jobs_with_code({"jobs": {"publish": job}}) == ["publish"]


def test_a_release_is_tested_built_and_attested_with_what_it_installs() -> None:
    jobs = workflow(WORKFLOWS / "release.yml")["jobs"]
    attested = [
        s["with"] for s in jobs["publish"]["steps"] if s.get("uses", "").startswith("actions/attest@")
    ]

    assert [c for c in commands(jobs["build"]) if c.startswith("make")] == ["make test", "make package sbom"]
    assert jobs["publish"]["needs"] == "build"
    assert attested == [{"subject-path": "app.zip"}, {"subject-path": "app.zip", "sbom-path": "app.cdx.json"}]
    assert actions(jobs["publish"])[0] == "actions/download-artifact"


def test_the_version_has_a_section_in_the_changelog() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert re.search(rf"^## \[{re.escape(version)}\] - ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_new_pins_are_tested_each_month_before_they_are_proposed() -> None:
    document = workflow(WORKFLOWS / "update.yml")
    jobs = document["jobs"]

    # YAML 1.1 reads the word `on` as true.
    assert document[True]["schedule"] == [{"cron": "0 5 1 * *"}]
    assert [c for c in commands(jobs["pins"]) if c.startswith("make")] == [
        "make requirements UPGRADE=1",
        "make test",
        "make test PYTHON=python3.13 VENV=.venv313",
    ]
    assert jobs["propose"]["needs"] == "pins"


def test_new_actions_are_proposed_each_month() -> None:
    [update] = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]

    assert (update["package-ecosystem"], update["schedule"]) == ("github-actions", {"interval": "monthly"})


def test_the_digests_are_checked_by_one_version_of_the_compiler() -> None:
    commands = [step["run"] for job in workflow()["jobs"].values() for step in job["steps"] if "run" in step]
    installs = [command for command in commands if "az bicep install" in command]

    assert re.fullmatch(r"v\d+\.\d+\.\d+", workflow()["env"]["BICEP_VERSION"])
    assert set(installs) == {'az bicep install --version "$BICEP_VERSION"'}
    assert 'make infra CHECK=1 BICEP="$HOME/.azure/bin/bicep"' in commands


def test_only_the_script_for_ci_looks_for_a_compiler_outside_the_repository() -> None:
    files = [path for path in ROOT.rglob("*") if path.suffix in {".py", ".md", ".yml", ".toml", ".json"}]
    kept = [*files, ROOT / "Makefile"]
    outside = "../" + "shared"

    assert outside in (ROOT / ".ci" / "run").read_text()
    assert [path for path in kept if _ours(path) and outside in path.read_text(encoding="utf-8")] == []


def _ours(path: Path) -> bool:
    return not any(part.startswith(".") and part != ".github" for part in path.relative_to(ROOT).parts)


def test_azd_finds_the_app_by_the_tag_that_bicep_gives_it() -> None:
    services = yaml.safe_load((ROOT / "azure.yaml").read_text())["services"]
    assert list(services) == ["app"]
    assert "appTags: { 'azd-service-name': 'app' }" in (INFRA / "main.bicep").read_text()
    assert services["app"] == {"project": ".", "language": "python", "host": "function"}


def test_the_app_may_touch_secrets_and_workloads_of_one_namespace_and_nothing_else() -> None:
    documents = list(yaml.safe_load_all((INFRA / "kubernetes-rbac.yaml").read_text()))
    rules = [rule for d in documents for rule in d.get("rules", ())]

    assert {d["kind"] for d in documents} == {"Role", "RoleBinding", "ServiceAccount", "Secret"}
    assert rules == [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create", "patch"]},
        {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": ["get", "patch"]},
    ]


def test_taking_the_rights_in_a_cluster_back_names_the_namespace() -> None:
    texts = [path.read_text() for path in (INFRA / "kubernetes-rbac.yaml", *(ROOT / "docs").glob("*.md"))]
    commands = re.findall(r"kubectl (?:apply|delete)[^`\n]*kubernetes-rbac\.yaml", "\n".join(texts))

    assert {"apply", "delete"} <= {command.split()[1] for command in commands}
    assert [command for command in commands if "--namespace" not in command] == []


def test_secrets_that_somebody_makes_beforehand_are_said_to_need_adoption() -> None:
    advice = (INFRA / "kubernetes-rbac.yaml").read_text().partition("apiVersion")[0]

    assert "make the Secrets beforehand" in advice
    assert "`adopt: true`" in advice
