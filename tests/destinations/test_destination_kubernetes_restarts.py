"""The workloads that read a Secret are restarted once for one value, whatever happens around them."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from emulator.cluster_workloads import Manifest, Workload, time_text
from gateway_tokens.destinations import open_destination
from gateway_tokens.destinations.kubernetes import Workload as WorkloadSettings
from gateway_tokens.destinations.kubernetes.workload import Delivery, owners_of, runs, serves
from gateway_tokens.destinations.kubernetes.workload import Manifest as WorkloadManifest
from gateway_tokens.errors import AzureForbidden
from gateway_tokens.stored import Restart, Running
from gateway_tokens.tokens import GatewayToken
from tests.destinations.destination_places import (
    NEWER,
    NOW,
    OWNERSHIP,
    REF,
    TOKEN,
    Surroundings,
    a_kubernetes_spec,
    stored_in,
)

SECRET, NAME = "edge-01-token", "edge-01-gateway"
READS = {"envFrom": [{"secretRef": {"name": SECRET}}]}
HOUR = timedelta(hours=1)
OLD, RESTARTING, CURRENT = Running.OLD, Running.RESTARTING, Running.CURRENT
STUCK, UNVERIFIED = Running.STUCK, Running.UNVERIFIED


class Cluster:
    """A cluster with a Secret and what reads it, in a time that the test moves."""

    def __init__(self, around: Surroundings, restart: object, kind: str = "Deployment") -> None:
        self.azure, self.objects, self.kind = around.emulator.azure, around.cluster.objects, kind
        spec = a_kubernetes_spec(around, restart=restart)
        self.destination = open_destination(spec, REF, around.azure)
        self.where = f"{kind.lower()}s", "default", NAME
        self.now: datetime = NOW
        self.patched = 0  # the patches that changed the workload
        self.azure.clock = self.objects.clock = lambda: self.now

    def install(self, replicas: int = 2) -> Workload:
        containers = [{"name": "gateway", **READS}]
        template = {"metadata": {"labels": {"app": NAME}}, "spec": {"containers": containers}}
        return self.objects.add_workload(self.kind, "default", NAME, replicas, template=template)

    async def deliver(self, token: GatewayToken = TOKEN) -> None:
        await self.destination.write(token, OWNERSHIP, await self.destination.read())

    async def with_old_pods(self, replicas: int = 2) -> Workload:
        """Install the workload, and deliver a token an hour later."""
        workload = self.install(replicas)
        self.now += HOUR
        await self.deliver()
        return workload

    def manifest(self) -> Manifest:
        return self.objects.stored(*self.where)

    def strip(self) -> None:
        """Take away, as somebody else, what a restart put into the manifest."""
        manifest = self.manifest()
        manifest["spec"]["template"]["metadata"].pop("annotations", None)
        manifest["spec"].pop("restartAt", None)
        self.objects.put(*self.where, manifest)

    def scale(self) -> None:
        manifest = self.manifest()
        self.objects.put(*self.where, {**manifest, "spec": {**manifest["spec"], "replicas": 3}})

    def recreate(self) -> None:
        self.objects.remove(*self.where)
        self.install()

    async def restart(self) -> Restart:
        stored = await stored_in(self.destination)
        assert stored.restart is not None
        return stored.restart

    async def run(self, after: timedelta = HOUR) -> Restart:
        """What a run does about the restart, some time after the last one; the restart as it found it."""
        self.now += after
        restart = await self.restart()
        if restart.old:
            generation = self.manifest()["metadata"]["generation"]
            await self.destination.restart(await stored_in(self.destination))
            self.patched += self.manifest()["metadata"]["generation"] - generation
        return restart

    async def runs(self, number: int = 3) -> list[Running]:
        return [(await self.run()).running for _ in range(number)]


@pytest.fixture(params=["Deployment"])
def cluster(around: Surroundings, request: pytest.FixtureRequest) -> Cluster:
    return Cluster(around, {"kind": request.param, "name": "{gateway}-gateway"}, request.param)


# Once for one value


@pytest.mark.parametrize("cluster", ["Deployment", "StatefulSet", "DaemonSet", "Rollout"], indirect=True)
async def test_a_delivery_restarts_what_runs_an_older_value_once(cluster: Cluster) -> None:
    cluster.install()
    cluster.now += HOUR
    for token, patched in ((TOKEN, 1), (NEWER, 2)):
        await cluster.deliver(token)
        assert await cluster.runs(4) == [OLD, RESTARTING, CURRENT, CURRENT]
        assert cluster.patched == patched


async def test_a_rollout_of_a_template_with_the_fingerprint_needs_no_list_of_pods(cluster: Cluster) -> None:
    await cluster.with_old_pods()
    await cluster.runs()
    annotations = {"gateway-tokens/fingerprint": TOKEN.header_value().fingerprint}
    assert cluster.manifest()["spec"]["template"]["metadata"]["annotations"] == annotations
    cluster.azure.calls.clear()
    await cluster.run()
    assert [call.path.rpartition("/")[2] for call in cluster.azure.calls] == [SECRET, NAME]


@pytest.mark.parametrize("cluster", ["Deployment", "Rollout"], indirect=True)
async def test_nothing_that_others_do_restarts_it_again(cluster: Cluster) -> None:
    await cluster.with_old_pods()
    await cluster.runs()
    for disturb in (cluster.strip, cluster.scale, cluster.recreate):
        disturb()
        await cluster.runs()
    assert cluster.patched == 1


async def test_two_instances_restart_it_once_and_a_value_that_was_replaced_never(cluster: Cluster) -> None:
    await cluster.with_old_pods()
    stored = await stored_in(cluster.destination)
    await cluster.deliver(NEWER)
    await cluster.destination.restart(stored)
    assert cluster.manifest()["metadata"]["generation"] == 1
    stored = await stored_in(cluster.destination)
    for _ in range(2):
        await cluster.destination.restart(stored)
        assert cluster.manifest()["metadata"]["generation"] == 2
    cluster.objects.remove(*cluster.where)
    await cluster.destination.restart(stored)


async def test_somebody_elses_value_restarts_nothing_even_under_our_ownership(cluster: Cluster) -> None:
    await cluster.with_old_pods()
    cluster.objects.add_secret("default", SECRET, {"gateway-key": NEWER.header_value().reveal()})
    for owned in (None, OWNERSHIP.of(NEWER.header_value())):
        stored = await stored_in(cluster.destination)
        assert (stored.owned, stored.restart, stored.writer) == (owned, None, "kubectl")
        await cluster.destination.write_ownership(OWNERSHIP, stored)


async def test_a_value_without_its_ownership_restarts_nothing_until_taken_over(cluster: Cluster) -> None:
    await cluster.with_old_pods()
    manifest = cluster.objects.stored("secrets", "default", SECRET)
    bare = {"managedFields": manifest["metadata"]["managedFields"]}
    cluster.objects.put("secrets", "default", SECRET, {**manifest, "metadata": bare})
    stored = await stored_in(cluster.destination)
    assert (stored.ownership, stored.restart, stored.writer) == (None, None, "")
    await cluster.destination.write_ownership(OWNERSHIP, stored)
    assert await cluster.runs() == [OLD, RESTARTING, CURRENT]


async def test_one_that_is_not_there_is_waited_for_and_runs_the_value_when_it_comes(cluster: Cluster) -> None:
    await cluster.deliver()
    message = f"Deployment default/{NAME} does not exist yet"
    assert await cluster.run() == Restart(Running.WAITING, message)
    cluster.install()
    assert await cluster.runs() == [CURRENT] * 3


@pytest.mark.parametrize(("before", "running"), [({"gateway-key": ""}, OLD), (None, CURRENT)])
async def test_pods_that_waited_for_the_secret_are_not_restarted_where_our_write_made_it(
    cluster: Cluster, before: dict[str, str] | None, running: Running
) -> None:
    workload = cluster.install(1)
    if before:
        cluster.objects.add_secret("default", SECRET, before)
    cluster.now += HOUR
    await cluster.deliver()
    started = {"running": {"startedAt": time_text(cluster.now + timedelta(seconds=20))}}
    for state, starts in (
        ({"waiting": {"reason": "CreateContainerConfigError"}}, CURRENT),
        (started, running),
    ):
        workload.pods[0]["status"]["containerStatuses"][0]["state"] = state
        assert (await cluster.restart()).running is starts


async def test_one_that_hangs_holds_its_place_and_fails_when_its_time_is_over(cluster: Cluster) -> None:
    workload = await cluster.with_old_pods(3)
    workload.stuck = True
    late_at = cluster.now + timedelta(seconds=10) + timedelta(minutes=3)
    await cluster.run(timedelta(seconds=10))
    await cluster.run(timedelta(seconds=10))
    restart = await cluster.restart()
    assert (restart.running, restart.late_at, restart.holds_slot) == (RESTARTING, late_at, True)
    assert restart.failure(late_at - timedelta(seconds=1)) == ""
    message = f"Deployment default/{NAME}: 3 of 4 pods run an older value and are being replaced"
    assert restart.failure(late_at).startswith(message)


async def test_of_several_only_those_that_run_an_older_value_are_asked(around: Surroundings) -> None:
    named = [{"name": "old"}, {"kind": "StatefulSet", "name": "new"}, {"kind": "DaemonSet", "name": "absent"}]
    cluster = Cluster(around, named)
    cluster.objects.add_workload("Deployment", "default", "old")
    cluster.now += HOUR
    await cluster.deliver()
    cluster.objects.add_workload("StatefulSet", "default", "new")
    old = "Deployment default/old"
    message = f"{old}: 2 of 2 pods run an older value; DaemonSet default/absent does not exist yet"
    assert await cluster.restart() == Restart(OLD, message, holds_slot=True, old=(old,))
    await cluster.destination.restart(await stored_in(cluster.destination))
    patches = [call.path.rpartition("/")[2] for call in cluster.azure.calls if call.method == "PATCH"]
    assert patches == ["old"]


class TestWithoutTheRightToSeePods:
    @pytest.fixture(autouse=True)
    def granted(self, cluster: Cluster) -> set[str]:
        verbs = {f"{verb} {resource}" for verb in ("get", "patch") for resource in ("secrets", "deployments")}
        granted = cluster.azure.granted = {*verbs, "create secrets"}
        return granted

    async def test_the_right_is_named_and_a_restart_is_asked_for_once_per_value_whoever_undoes_it(
        self, cluster: Cluster
    ) -> None:
        await cluster.with_old_pods()
        before, after = await cluster.run(), await cluster.run()
        assert all("'list pods'" in restart.message for restart in (before, after))
        assert (before.running, after.running, after.failure(cluster.now)) == (OLD, UNVERIFIED, "")
        owned = (await stored_in(cluster.destination)).owned
        assert owned is not None
        assert owned.restart_asked == TOKEN.header_value().fingerprint
        # The manifest alone tells that a rollout for the value is complete.
        assert await cluster.runs(1) == [CURRENT]
        cluster.strip()
        assert await cluster.runs(2) == [UNVERIFIED] * 2
        await cluster.deliver(NEWER)
        await cluster.runs()
        assert cluster.patched == 2

    async def test_one_that_may_not_be_read_is_asked_too(self, cluster: Cluster, granted: set[str]) -> None:
        granted -= {"get deployments"}
        await cluster.with_old_pods()
        assert await cluster.runs() == [OLD, UNVERIFIED, UNVERIFIED]
        granted -= {"patch deployments"}
        await cluster.deliver(NEWER)
        with pytest.raises(AzureForbidden, match="'patch deployments'"):
            await cluster.run()


# Which pods run the value: times are seconds after our write

VALUE = Delivery(SECRET, "new", NOW, first=False)


def ran(since: int, state: str = "running") -> Manifest:
    return {state: {"startedAt": time_text(NOW + timedelta(seconds=since))}}


def a_pod(gateway: Manifest, sidecar: Manifest, created: int = -3600, *, reads: Manifest = READS) -> Manifest:
    """A pod with a gateway, which reads the Secret, and a sidecar, which does not."""
    states = (("gateway", gateway), ("sidecar", sidecar))
    return {
        "metadata": {"creationTimestamp": time_text(NOW + timedelta(seconds=created))},
        "spec": {"containers": [{"name": "gateway", **reads}, {"name": "sidecar"}]},
        "status": {"containerStatuses": [{"name": name, "state": state} for name, state in states]},
    }


def with_initial(pod: Manifest, container: Manifest, state: Manifest) -> Manifest:
    """The pod with a container that starts first."""
    pod["spec"]["initContainers"] = [{**container, "name": "initial"}]
    pod["status"]["initContainerStatuses"] = [{"name": "initial", "state": state}]
    return pod


BEFORE, LATE = ran(-3600), ran(99)
WAITS: Manifest = {"waiting": {"reason": "CrashLoopBackOff"}}
RUNS: dict[str, tuple[Manifest, bool]] = {
    "started a minute after": (a_pod(ran(60), BEFORE), False),
    "started more than a minute after": (a_pod(ran(61), BEFORE), True),
    "made in the second before": (a_pod(ran(-20), ran(-20), -1), False),
    "made in the second of the write": (a_pod(ran(-20), ran(-20), 0), True),
    "waits": (a_pod(WAITS, BEFORE), True),
    "ended": (a_pod(ran(-3600, "terminated"), BEFORE), True),
    "in no state": (a_pod({}, BEFORE), True),
    "none is told to read it, one started before": (a_pod(LATE, BEFORE, reads={}), False),
    "none is told to read it, all started after": (a_pod(LATE, LATE, reads={}), True),
    "nor does one that starts first": (with_initial(a_pod(LATE, LATE, reads={}), {}, BEFORE), True),
    "an initial container read it": (with_initial(a_pod(LATE, LATE, reads={}), READS, ran(-9, "terminated")), False),
}  # fmt: skip


@pytest.mark.parametrize("case", RUNS)
def test_a_pod_runs_the_value_when_what_reads_the_secret_started_since(case: str) -> None:
    pod, expected = RUNS[case]
    assert runs(pod, VALUE) is expected
    restarted = {**pod["metadata"], "annotations": {"gateway-tokens/fingerprint": "new"}}
    assert runs({**pod, "metadata": restarted}, VALUE)


@pytest.mark.parametrize(("seconds", "expected"), [(-60, False), (-59, True)])
def test_where_our_write_made_the_secret_there_was_nothing_else_to_read(seconds: int, expected: bool) -> None:  # noqa: FBT001 - pytest passes it by name
    assert runs(a_pod(ran(seconds), BEFORE), replace(VALUE, first=True)) is expected


@pytest.mark.parametrize(
    "reads",
    [
        {"env": [{"name": "a", "valueFrom": {"secretKeyRef": {"name": SECRET, "key": "b"}}}]},
        {"envFrom": [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": SECRET}}]},
        {"volumeMounts": [{"name": "whole"}]},
        {"volumeMounts": [{"name": "projected"}]},
    ],
)
def test_only_the_containers_that_read_the_secret_count(reads: Manifest) -> None:
    volumes = [
        {"name": "whole", "secret": {"secretName": SECRET}},
        {"name": "projected", "projected": {"sources": [{"secret": {"name": SECRET}}]}},
    ]
    for gateway, sidecar in ((BEFORE, LATE), (LATE, BEFORE)):
        pod = a_pod(gateway, sidecar, reads=reads)
        pod["spec"]["volumes"] = volumes
        assert runs(pod, VALUE) is (gateway is LATE)


def test_a_pod_that_ends_or_has_ended_does_not_count() -> None:
    assert serves({"metadata": {}, "status": {"phase": "Running"}})
    assert not serves({"metadata": {"deletionTimestamp": time_text(NOW)}})
    for phase in ("Succeeded", "Failed"):
        assert not serves({"metadata": {}, "status": {"phase": phase}})


def test_the_managers_of_a_value_are_told_each_with_its_last_change() -> None:
    value: Manifest = {"f:data": {".": {}, "f:a": {}}}
    other: Manifest = {"f:data": {"f:b": {}}, "f:a": {}}
    entries: list[Manifest] = [
        {"manager": "gateway-tokens", "time": time_text(NOW), "fieldsV1": value},
        {"manager": "gateway-tokens", "time": time_text(NOW - HOUR), "fieldsV1": value},
        {"manager": "argocd-controller", "time": time_text(NOW + HOUR), "fieldsV1": value},
        {"manager": "kubectl", "time": time_text(NOW), "fieldsV1": other},
        {"manager": "helm", "time": None, "fieldsV1": value},
        {"manager": "helm"},
    ]
    owners = owners_of({"metadata": {"managedFields": entries}}, "data", "a")
    assert owners == {"gateway-tokens": NOW, "argocd-controller": NOW + HOUR}
    assert owners_of({"metadata": {}}, "data", "a") == {}


# What a manifest alone says for a value of NOW, one of whose three pods is old; as `kubectl rollout status` judges

NAMES = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
DAEMONS = ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")
LATE_ENOUGH = time_text(NOW + timedelta(seconds=1))
SETTLED = [
    ("Deployment", {}, True),
    ("Deployment", {"observedGeneration": 1}, False),
    ("Deployment", {"observedGeneration": 3}, True),
    ("Deployment", {"updatedReplicas": 2}, False),
    ("Deployment", {"replicas": 4}, False),
    ("Deployment", {"availableReplicas": 2}, False),
    ("Deployment", {"availableReplicas": None}, False),
    ("StatefulSet", {"availableReplicas": 2}, False),
    # An older cluster's counts those that are ready only.
    ("StatefulSet", {"availableReplicas": None}, True),
    ("StatefulSet", {"availableReplicas": None, "readyReplicas": 2}, False),
    ("DaemonSet", {}, True),
    ("DaemonSet", {"updatedNumberScheduled": 2}, False),
    ("DaemonSet", {"numberAvailable": 2}, False),
    ("Rollout", {}, False),
    ("Rollout", {"restartedAt": time_text(NOW), "phase": "Healthy"}, False),
    ("Rollout", {"restartedAt": LATE_ENOUGH, "phase": "Healthy"}, True),
    ("Rollout", {"restartedAt": LATE_ENOUGH, "phase": "Paused"}, False),
    ("Rollout", {"observedGeneration": "of an old version"}, False),
]
PARTITION = {"updateStrategy": {"rollingUpdate": {"partition": 1}}}
NO_PARTITION = {"updateStrategy": {"rollingUpdate": {"partition": 0}}}
ON_DELETE = {"updateStrategy": {"type": "OnDelete"}}
HANGS = {"updatedReplicas": 2, "conditions": [{"reason": "ProgressDeadlineExceeded"}]}
# A kind, what of its spec and status is unusual, the fingerprint of its template; what it comes to, whether it holds its
# place among those that restart, and what is said.
JUDGED = [
    ("Deployment", {}, {}, "old", OLD, True, ""),
    ("Deployment", {}, {"updatedReplicas": 2}, "old", RESTARTING, True, "and are being replaced"),
    ("Deployment", {}, {"replicas": 4}, "old", RESTARTING, True, ""),
    ("Deployment", {}, {"observedGeneration": 1}, "old", RESTARTING, True, ""),
    ("Deployment", {}, HANGS, "new", STUCK, True, "exceeded its progress deadline"),
    ("Deployment", {"paused": True}, {}, "old", OLD, False, ""),
    ("Deployment", {"paused": True}, {"updatedReplicas": 0}, "old", OLD, False, ""),
    ("Deployment", {"paused": True}, {"updatedReplicas": 0}, "new", STUCK, False, "It is paused: resume it."),
    ("StatefulSet", ON_DELETE, {}, "new", STUCK, False, "OnDelete: delete its pods."),
    ("StatefulSet", PARTITION, {}, "new", STUCK, False, "has a partition"),
    ("StatefulSet", NO_PARTITION, {}, "old", OLD, True, ""),
    ("StatefulSet", {"updateStrategy": {"rollingUpdate": None}}, {}, "old", OLD, True, ""),
    ("DaemonSet", {}, {"updatedNumberScheduled": 2}, "new", RESTARTING, True, ""),
    ("Rollout", {}, {"phase": "Progressing"}, "", RESTARTING, True, ""),
    ("Rollout", {}, {"phase": "Paused"}, "", OLD, True, ""),
    ("Rollout", {"restartAt": time_text(NOW)}, {}, "", OLD, True, ""),
    ("Rollout", {"restartAt": LATE_ENOUGH}, {}, "", RESTARTING, True, ""),
]


def manifest_of(kind: str, spec: Manifest, change: Manifest, fingerprint: str = "new") -> WorkloadManifest:
    names = DAEMONS if kind == "DaemonSet" else NAMES
    status = {"observedGeneration": 2, **dict.fromkeys(names, 3), **change}
    status = {name: value for name, value in status.items() if value is not None}
    annotations = {"gateway-tokens/fingerprint": fingerprint}
    spec = {"replicas": 3, "template": {"metadata": {"annotations": annotations}}, **spec}
    settings = WorkloadSettings.model_validate({"kind": kind, "name": NAME})
    manifest = {"metadata": {"generation": 2}, "spec": spec, "status": status}
    return WorkloadManifest(settings, manifest, VALUE)


@pytest.mark.parametrize("case", SETTLED)
def test_the_pods_need_not_be_listed_when_all_are_of_a_template_for_the_value_and_available(
    case: tuple[str, Manifest, bool],
) -> None:
    kind, change, settled = case
    assert manifest_of(kind, {}, change).settled is settled
    if kind != "Rollout":
        assert not manifest_of(kind, {}, change, "old").settled


@pytest.mark.parametrize("case", JUDGED)
def test_an_old_pod_is_replaced_waited_for_or_told(
    case: tuple[str, Manifest, Manifest, str, Running, bool, str],
) -> None:
    kind, spec, change, fingerprint, running, holds_slot, message = case
    manifest = manifest_of(kind, spec, change, fingerprint)
    restart = manifest.judged("it", 1, 3)
    assert (restart.running, restart.holds_slot, bool(restart.old)) == (running, holds_slot, running is OLD)
    assert restart.message.startswith("it: 1 of 3 pods run an older value")
    assert message in restart.message
    assert restart.late_at == (NOW + timedelta(minutes=3) if running is RESTARTING else None)
    assert manifest.judged("it", 0, 3) == Restart(CURRENT)


def test_a_workload_that_wants_no_pods_and_has_none_is_settled_whatever_its_template() -> None:
    assert manifest_of("Deployment", {"replicas": 0}, dict.fromkeys(NAMES, 0), "old").settled
    assert not manifest_of("Deployment", {"replicas": 0}, dict.fromkeys(NAMES, 1), "old").settled


def test_its_pods_are_selected_as_it_selects_them() -> None:
    expressions = [
        {"key": "a", "operator": "In", "values": ["b", "c"]},
        {"key": "d", "operator": "NotIn", "values": ["e"]},
        {"key": "f", "operator": "Exists"},
        {"key": "g", "operator": "DoesNotExist"},
    ]
    labels = {"app": "edge", "tier": "x"}
    selector = {"selector": {"matchLabels": labels, "matchExpressions": expressions}}
    assert manifest_of("Deployment", selector, {}).selector == "app=edge,tier=x,a in (b,c),d notin (e),f,!g"
    assert manifest_of("Rollout", selector, {"selector": "app=other"}).selector == "app=other"
    assert manifest_of("Rollout", selector, {}).selector == ""
