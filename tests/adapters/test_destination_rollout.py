"""When a workload counts as restarted: the table that `kubectl rollout status` follows."""

from typing import Any

import pytest

from gateway_tokens.destinations.kubernetes.workload import rollout_of

DONE = {
    "observedGeneration": 2,
    "replicas": 3,
    "updatedReplicas": 3,
    "readyReplicas": 3,
    "availableReplicas": 3,
}


def workload(
    status: dict[str, Any], kind: str = "Deployment", fingerprint: str = "", **spec: object
) -> dict[str, Any]:
    template = {"metadata": {"annotations": {"gateway-tokens/fingerprint": fingerprint}}}
    spec = {"replicas": 3, "template": template, **spec}
    return {"kind": kind, "metadata": {"generation": 2}, "spec": spec, "status": status}


@pytest.mark.parametrize(
    ("status", "done"),
    [
        pytest.param(DONE, True, id="all pods are new and available"),
        pytest.param({}, False, id="never looked at"),
        pytest.param(DONE | {"observedGeneration": 1}, False, id="the status is about the former generation"),
        pytest.param(DONE | {"observedGeneration": 3}, True, id="observed later still"),
        pytest.param(DONE | {"updatedReplicas": 2}, False, id="one pod is old"),
        pytest.param(DONE | {"replicas": 4}, False, id="an old pod still ends"),
        pytest.param(DONE | {"availableReplicas": 2}, False, id="one new pod is not available"),
        pytest.param(
            {k: v for k, v in DONE.items() if k != "availableReplicas"}, False, id="none is available"
        ),
    ],
)
def test_is_done_when_every_pod_is_new_and_available(status: dict[str, Any], done: bool) -> None:  # noqa: FBT001
    assert rollout_of(workload(status), "").done is done


def test_an_older_clusters_stateful_set_counts_ready_pods() -> None:
    status = {name: count for name, count in DONE.items() if name != "availableReplicas"}
    assert rollout_of(workload(status, "StatefulSet"), "").done
    assert not rollout_of(workload(status | {"readyReplicas": 2}, "StatefulSet"), "").done


def test_a_workload_that_names_no_number_wants_one_pod() -> None:
    one = dict.fromkeys(DONE, 1) | {"observedGeneration": 2}
    bare = {"metadata": {"generation": 2}, "spec": {"template": {}}, "status": one}
    assert rollout_of(bare, "").done
    assert rollout_of(bare, "").counts == "1 of 1 pods updated, 1 available"


@pytest.mark.parametrize(("fingerprint", "begun"), [("new", True), ("old", False), ("", False)])
def test_is_begun_when_the_template_names_the_token(fingerprint: str, begun: bool) -> None:  # noqa: FBT001
    assert rollout_of(workload(DONE, fingerprint=fingerprint), "new").begun is begun


@pytest.mark.parametrize(
    ("kind", "spec", "conditions", "said"),
    [
        ("Deployment", {}, [], ""),
        ("Deployment", {}, [{"reason": "ReplicaSetUpdated"}], ""),
        ("Deployment", {}, [{"reason": "ProgressDeadlineExceeded"}], "progress deadline"),
        ("Deployment", {"paused": True}, [], "paused"),
        ("StatefulSet", {"updateStrategy": {"type": "OnDelete"}}, [], "OnDelete"),
        ("StatefulSet", {"updateStrategy": {"rollingUpdate": {"partition": 0}}}, [], ""),
        ("StatefulSet", {"updateStrategy": {"rollingUpdate": {"partition": 1}}}, [], "partition"),
        ("StatefulSet", {"updateStrategy": {"rollingUpdate": None}}, [], ""),
    ],
)
def test_says_why_it_will_not_finish_by_itself(
    kind: str, spec: dict[str, Any], conditions: list[dict[str, str]], said: str
) -> None:
    status = DONE | {"updatedReplicas": 1, "conditions": conditions}
    stuck = rollout_of(workload(status, kind, **spec), "").stuck
    assert said in stuck
    assert bool(stuck) is bool(said)


def test_what_is_done_is_not_stuck() -> None:
    assert rollout_of(workload(DONE, paused=True), "").stuck == ""
