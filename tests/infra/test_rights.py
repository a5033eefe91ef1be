"""The shipped roles: exactly the actions that the code names when Azure refuses it one."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.infra.bicep_tree import INFRA, ROOT
from tests.infra.shipped_roles import actions_of_shipped_roles

SHELL = ROOT / "gateway_tokens"
ROLES = actions_of_shipped_roles()


def named_in(module: str, pattern: str, form: str) -> set[str]:
    """The actions that a module names, filled into their full form."""
    found = re.findall(pattern, (SHELL / module).read_text())
    return {form.format(name) for name in found}


@pytest.mark.parametrize(
    ("role", "module", "pattern", "form"),
    [
        (
            "gateway-token-issuer",
            "arm.py",
            r'"Microsoft\.ApiManagement/service/(gateways/[\w/]+)"',
            "Microsoft.ApiManagement/service/{}",
        ),
        (
            "gateway-token-secret-writer",
            "destinations/key_vault.py",
            r'_speaking\("\w+", "(\w+)"\)',
            "Microsoft.KeyVault/vaults/secrets/{}/action",
        ),
    ],
)
def test_a_role_grants_what_the_code_calls_and_nothing_more(
    role: str, module: str, pattern: str, form: str
) -> None:
    granted = ROLES[role].actions | ROLES[role].data_actions

    assert granted == named_in(module, pattern, form)


def test_a_role_over_data_grants_nothing_over_resources_and_the_other_way_round() -> None:
    over_data = {name for name, role in ROLES.items() if role.data_actions}

    assert over_data == {"gateway-token-secret-writer"}
    assert {name for name, role in ROLES.items() if role.actions} == ROLES.keys() - over_data


def test_keys_are_never_read() -> None:
    everything = set().union(*(role.actions | role.data_actions for role in ROLES.values()))

    assert not [action for action in everything if re.search(r"(?i)listKeys|/keys/|\*", action)]


def test_inside_a_cluster_the_app_may_do_what_the_code_calls_and_nothing_more() -> None:
    documents = list(yaml.safe_load_all((INFRA / "kubernetes-rbac.yaml").read_text()))
    rules = [rule for d in documents for rule in d.get("rules", ())]
    granted = {(verb, resource) for r in rules for verb in r["verbs"] for resource in r["resources"]}

    secrets = named_in(
        "destinations/kubernetes.py", r'"((?:get|create|patch|list|delete|update) secrets)"', "{}"
    )
    workloads = named_in("destinations/kubernetes_workload.py", r'f"([a-z]+) \{self._resource\}"', "{}")

    called = {tuple(said.split()) for said in secrets}
    called |= {(verb, resource) for verb in workloads for resource in ("deployments", "statefulsets")}
    assert granted == called
