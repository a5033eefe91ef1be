"""The shipped roles. `test_shipped_roles_suffice` runs the app with them and without each of their actions."""

import re
from typing import get_args

import pytest
import yaml

from gateway_tokens.destinations.kubernetes import Workload
from gateway_tokens.errors import ROLES as CODE
from tests.infra.digests import INFRA, accepted, grants, roles
from tools.digest import BUILT_IN_ROLES

ROLES = roles("every-destination")
BUILT_IN = set(BUILT_IN_ROLES.values())


def test_the_code_knows_each_role_with_the_actions_that_the_deployment_gives_it() -> None:
    shipped = {name: role.actions | role.data_actions for name, role in ROLES.items()}
    assert {name: frozenset(actions) for name, actions in CODE.items() if name in shipped} == shipped
    assert CODE.keys() - shipped.keys() <= BUILT_IN


def test_a_role_over_data_grants_nothing_over_resources_and_the_other_way_round() -> None:
    over_data = {name for name, role in ROLES.items() if role.data_actions}
    assert over_data == {"Gateway token secret writer"}
    assert {name for name, role in ROLES.items() if role.actions} == ROLES.keys() - over_data


def test_keys_are_never_read() -> None:
    everything = set().union(*(role.actions | role.data_actions for role in ROLES.values()))
    assert not [action for action in everything if re.search(r"(?i)listKeys|/keys/|\*", action)]


def test_inside_a_cluster_the_app_may_touch_one_namespace_and_each_kind_of_workload_alike() -> None:
    documents = list(yaml.safe_load_all((INFRA / "kubernetes-rbac.yaml").read_text()))
    assert {d["kind"] for d in documents} == {"Role", "RoleBinding", "ServiceAccount", "Secret"}
    rules = [rule for d in documents for rule in d.get("rules", ())]
    granted = {resource: rule["verbs"] for rule in rules for resource in rule["resources"]}
    kinds = get_args(Workload.model_fields["kind"].annotation)
    workloads = {f"{kind.lower()}s": ["get", "patch"] for kind in kinds}
    assert granted == {"secrets": ["get", "create", "patch"], "pods": ["list"], **workloads}
    groups = {resource: rule["apiGroups"] for rule in rules for resource in rule["resources"]}
    assert groups.pop("rollouts") == ["argoproj.io"]
    assert groups == {name: ["apps"] if name in workloads else [""] for name in groups}


@pytest.mark.parametrize("case", [case for case in accepted() if case != "existing"])
def test_every_role_is_one_of_ours_or_one_that_azure_publishes(case: str) -> None:
    assert {role for role, _ in grants(case)} <= BUILT_IN | ROLES.keys()


def test_a_custom_role_is_the_same_wherever_it_is_defined() -> None:
    for case in accepted():
        assert roles(case).items() <= ROLES.items()


def test_the_cluster_user_role_which_is_an_administrators_on_clusters_without_entra_is_never_granted() -> (
    None
):
    text = "".join(path.read_text() for path in INFRA.rglob("*.bicep"))
    assert "4abbcc35-e782-43d8-92c5-2d3f1bd2253f" not in text
