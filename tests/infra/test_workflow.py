"""What else is kept for deploying: the workflow, the file for azd, and the rights inside a cluster."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tests.infra.bicep_tree import INFRA, ROOT, declarations, read_sources, text

WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"


def workflow() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text())
    return document


def unpinned(source: str) -> list[str]:
    uses = re.findall(r"uses: (\S+.*)", source)
    return [use for use in uses if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*", use)]


def test_every_action_is_pinned_by_hash_with_its_version_beside_it() -> None:
    assert "uses:" in WORKFLOW.read_text()
    assert unpinned(WORKFLOW.read_text()) == []


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


def test_the_commands_that_the_readme_of_infra_gives_are_run() -> None:
    given = re.findall(
        r"^az (?:bicep|deployment) (?:sub )?([\w-]+)", (INFRA / "README.md").read_text(), re.MULTILINE
    )
    run = " ".join(step.get("run", "") for job in workflow()["jobs"].values() for step in job["steps"])

    assert {"lint", "what-if"} <= set(given)
    assert [command for command in given if f" {command} " not in f"{run} "] == []


def test_the_compiler_sees_the_template_and_the_parameter_file() -> None:
    commands = " ".join(step.get("run", "") for step in workflow()["jobs"]["bicep"]["steps"])

    for command in ("bicep lint --file infra/main.bicep", "bicep build --", "bicep build-params --"):
        assert command in commands


def test_azd_finds_the_app_by_the_tag_that_bicep_gives_it() -> None:
    services = yaml.safe_load((ROOT / "azure.yaml").read_text())["services"]
    module = next(d for d in declarations(read_sources(), "module") if d.name == "functionApp")

    assert list(services) == ["app"]
    assert "'azd-service-name': 'app'" in text(module.node)
    assert services["app"] == {"project": ".", "language": "python", "host": "function"}


def test_the_app_may_touch_secrets_and_workloads_of_one_namespace_and_nothing_else() -> None:
    documents = list(yaml.safe_load_all((INFRA / "kubernetes-rbac.yaml").read_text()))
    rules = [rule for d in documents for rule in d.get("rules", ())]

    assert {d["kind"] for d in documents} == {"Role", "RoleBinding", "ServiceAccount", "Secret"}
    assert rules == [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create", "patch"]},
        {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": ["get", "patch"]},
    ]
