"""The workloads that read a Secret are restarted once for one value, whatever happens around them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from emulator.cluster_workloads import Manifest, Workload, time_text
from gateway_tokens.destinations import open_destination
from gateway_tokens.destinations.base import Destination
from gateway_tokens.destinations.kubernetes.delivery import Delivery, owners_of
from gateway_tokens.destinations.kubernetes.settings import Workload as WorkloadSettings
from gateway_tokens.destinations.kubernetes.workload import Manifest as WorkloadManifest
from gateway_tokens.errors import AzureForbidden
from gateway_tokens.stored import Restart, Running
from gateway_tokens.tokens import GatewayToken
from tests.destinations.destination_places import (
    NOW,
    OWNERSHIP,
    REF,
    Surroundings,
    a_kubernetes_spec,
    a_token,
    stored_in,
)

TOKEN, NEWER = a_token(), a_token(seed="newer")
SECRET, NAME = "edge-01-token", "edge-01-gateway"
KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Rollout")
READER = {"name": "gateway", "envFrom": [{"secretRef": {"name": SECRET}}]}
SIDECAR = {"name": "sidecar"}
HOUR = timedelta(hours=1)


@dataclass
class Cluster:
    """A cluster with a Secret and what reads it, in a time that the test moves."""

    around: Surroundings
    destination: Destination
    kind: str = "Deployment"
    now: datetime = NOW

    def __post_init__(self) -> None:
        self.objects = self.around.cluster.objects
        self.where = f"{self.kind.lower()}s", "default", NAME
        self.patched = 0  # the patches that changed the workload
        self.around.emulator.azure.clock = self.objects.clock = lambda: self.now

    def install(
        self, replicas: int = 2, containers: tuple[Manifest, ...] = (READER,), **spec: object
    ) -> Workload:
        template = {"metadata": {"labels": {"app": NAME}}, "spec": {"containers": list(containers)}}
        return self.objects.add_workload(
            self.kind, "default", NAME, replicas, **{"template": template, **spec}
        )

    async def deliver(self, token: GatewayToken = TOKEN) -> None:
        await self.destination.write(token, OWNERSHIP, await self.destination.read())

    async def with_old_pods(self, replicas: int = 2, **spec: Any) -> Workload:  # noqa: ANN401 - JSON
        """Install the workload, and deliver a token an hour later."""
        workload = self.install(replicas, **spec)
        self.now += HOUR
        await self.deliver()
        return workload

    def manifest(self) -> Manifest:
        return self.objects.stored(*self.where)

    def apply(self, change: Callable[[Manifest], object]) -> None:
        """Write the workload's manifest as somebody else."""
        manifest = self.manifest()
        change(manifest["spec"])
        self.objects.put(*self.where, manifest)

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
    spec = a_kubernetes_spec(around, restart={"kind": request.param, "name": "{gateway}-gateway"})
    return Cluster(around, open_destination(spec, REF, around.azure), request.param)


@pytest.mark.parametrize("cluster", KINDS, indirect=True)
async def test_a_delivery_restarts_what_runs_an_older_value_once(cluster: Cluster) -> None:
    cluster.install()
    cluster.now += HOUR
    for token, patched in ((TOKEN, 1), (NEWER, 2)):
        await cluster.deliver(token)
        assert await cluster.runs(4) == [Running.OLD, Running.RESTARTING, Running.CURRENT, Running.CURRENT]
        assert cluster.patched == patched


async def test_the_template_has_the_fingerprint_of_the_whole_value_and_a_rollout_of_it_needs_no_list_of_pods(
    cluster: Cluster,
) -> None:
    await cluster.with_old_pods()
    await cluster.runs()
    annotations = {"gateway-tokens/fingerprint": TOKEN.header_value().fingerprint}
    assert cluster.manifest()["spec"]["template"]["metadata"]["annotations"] == annotations
    calls = cluster.around.emulator.azure.calls
    calls.clear()
    await cluster.run()
    assert [call.path.rpartition("/")[2] for call in calls] == [SECRET, NAME]


def strip(spec: Manifest) -> None:
    spec["template"]["metadata"].pop("annotations", None)
    spec.pop("restartAt", None)


async def stripped(cluster: Cluster) -> None:
    cluster.apply(strip)


async def recreated(cluster: Cluster) -> None:
    cluster.objects.remove(*cluster.where)
    cluster.install()


async def scaled(cluster: Cluster) -> None:
    cluster.apply(lambda spec: spec.update(replicas=3))


async def write_ownership(cluster: Cluster) -> None:
    ownership = replace(OWNERSHIP, issued_at=cluster.now)
    await cluster.destination.write_ownership(ownership, await stored_in(cluster.destination))


@pytest.mark.parametrize("cluster", ["Deployment", "Rollout"], indirect=True)
@pytest.mark.parametrize("disturb", [stripped, recreated, scaled, write_ownership, Cluster.deliver])
async def test_nothing_that_others_do_restarts_it_again(
    cluster: Cluster, disturb: Callable[[Cluster], Awaitable[None]]
) -> None:
    await cluster.with_old_pods()
    await cluster.runs()
    for _ in range(3):
        await disturb(cluster)
        await cluster.runs()
    assert cluster.patched == 1


async def test_two_instances_that_ask_for_one_value_restart_it_once(cluster: Cluster) -> None:
    await cluster.with_old_pods()
    stored = await stored_in(cluster.destination)
    for _ in range(2):
        await cluster.destination.restart(stored)
        assert cluster.manifest()["metadata"]["generation"] == 2


async def test_a_value_that_was_replaced_since_it_was_read_restarts_nothing(cluster: Cluster) -> None:
    await cluster.with_old_pods()
    stored = await stored_in(cluster.destination)
    await cluster.deliver(NEWER)
    await cluster.destination.restart(stored)
    assert cluster.manifest()["metadata"]["generation"] == 1


async def test_a_value_that_somebody_else_wrote_restarts_nothing_even_under_our_ownership(
    cluster: Cluster,
) -> None:
    await cluster.with_old_pods()
    cluster.objects.add_secret("default", SECRET, {"gateway-key": NEWER.header_value().reveal()})
    for owned in (None, OWNERSHIP.of(NEWER.header_value())):
        stored = await stored_in(cluster.destination)
        assert (stored.owned, stored.restart, stored.writer) == (owned, None, "kubectl")
        await cluster.destination.write_ownership(OWNERSHIP, stored)


async def test_a_value_without_its_ownership_restarts_nothing_until_it_is_taken_over(
    cluster: Cluster,
) -> None:
    await cluster.with_old_pods()
    manifest = cluster.objects.stored("secrets", "default", SECRET)
    bare = {"managedFields": manifest["metadata"]["managedFields"]}
    cluster.objects.put("secrets", "default", SECRET, {**manifest, "metadata": bare})
    stored = await stored_in(cluster.destination)
    assert (stored.ownership, stored.restart, stored.writer) == (None, None, "")
    await cluster.destination.write_ownership(OWNERSHIP, stored)
    assert (await cluster.runs())[-1] is Running.CURRENT
    assert cluster.patched == 1


def started(**seconds: int) -> Callable[[Manifest], None]:
    """Change when each container of a pod started, from our write on."""

    def change(pod: Manifest) -> None:
        pod["status"]["containerStatuses"] = [
            {"name": name, "state": {"running": {"startedAt": time_text(NOW + timedelta(seconds=after))}}}
            for name, after in seconds.items()
        ]

    return change


class TestWhoRunsTheValue:
    """The Secret was there before our write at NOW; the pod was made an hour before."""

    @staticmethod
    async def judged(
        cluster: Cluster, change: Callable[[Manifest], object], *, first: bool = False
    ) -> Running:
        cluster.now = NOW - HOUR
        workload = cluster.install(1, (READER, SIDECAR))
        if not first:
            cluster.objects.add_secret("default", SECRET, {"gateway-key": ""})
        cluster.now = NOW
        await cluster.deliver()
        change(workload.pods[0])
        return (await cluster.restart()).running

    @pytest.mark.parametrize(
        ("seconds", "first", "running"),
        [
            (60, False, Running.OLD),
            (61, False, Running.CURRENT),
            # Where our write made the Secret, there was nothing else to read.
            (-60, True, Running.OLD),
            (-59, True, Running.CURRENT),
        ],
    )
    async def test_a_container_counts_once_it_started_more_than_a_minute_after_the_write(
        self,
        cluster: Cluster,
        seconds: int,
        first: bool,  # noqa: FBT001
        running: Running,
    ) -> None:
        assert await self.judged(cluster, started(gateway=seconds), first=first) is running

    @pytest.mark.parametrize(("seconds", "running"), [(-1, Running.OLD), (0, Running.CURRENT)])
    async def test_within_the_minute_a_pod_counts_that_was_made_in_or_after_the_second_of_the_write(
        self, cluster: Cluster, seconds: int, running: Running
    ) -> None:
        def change(pod: Manifest) -> None:
            started(gateway=-20, sidecar=-20)(pod)
            pod["metadata"]["creationTimestamp"] = time_text(NOW + timedelta(seconds=seconds))

        assert await self.judged(cluster, change) is running

    @pytest.mark.parametrize(
        "reads",
        [
            {"env": [{"name": "a", "valueFrom": {"secretKeyRef": {"name": SECRET, "key": "b"}}}]},
            {"envFrom": [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": SECRET}}]},
            {"volumeMounts": [{"name": "whole"}]},
            {"volumeMounts": [{"name": "projected"}]},
        ],
    )
    async def test_only_the_containers_that_read_the_secret_count(
        self, cluster: Cluster, reads: dict[str, Any]
    ) -> None:
        volumes = [
            {"name": "whole", "secret": {"secretName": SECRET}},
            {"name": "projected", "projected": {"sources": [{"secret": {"name": SECRET}}]}},
        ]

        def reading(**seconds: int) -> Callable[[Manifest], None]:
            def change(pod: Manifest) -> None:
                started(**seconds)(pod)
                pod["spec"] = {"containers": [{"name": "gateway", **reads}, SIDECAR], "volumes": volumes}

            return change

        assert await self.judged(cluster, reading(gateway=-9, sidecar=99)) is Running.OLD
        assert await self.judged(cluster, reading(gateway=99, sidecar=-9)) is Running.CURRENT

    @pytest.mark.parametrize(("sidecar", "running"), [(-9, Running.OLD), (99, Running.CURRENT)])
    async def test_where_none_can_be_told_every_container_counts_but_not_those_that_start_first(
        self, cluster: Cluster, sidecar: int, running: Running
    ) -> None:
        def change(pod: Manifest) -> None:
            started(gateway=99, sidecar=sidecar)(pod)
            pod["spec"] = {
                "containers": [{"name": "gateway"}, SIDECAR],
                "initContainers": [{"name": "proxy", "restartPolicy": "Always"}],
            }
            state = {"running": {"startedAt": time_text(NOW - HOUR)}}
            pod["status"]["initContainerStatuses"] = [{"name": "proxy", "state": state}]

        assert await self.judged(cluster, change) is running

    async def test_what_an_initial_container_read_stays(self, cluster: Cluster) -> None:
        def change(pod: Manifest) -> None:
            started(gateway=99)(pod)
            pod["spec"] = {
                "containers": [{"name": "gateway"}],
                "initContainers": [{**READER, "name": "copy"}],
            }
            state = {"terminated": {"startedAt": time_text(NOW - HOUR)}}
            pod["status"]["initContainerStatuses"] = [{"name": "copy", "state": state}]

        assert await self.judged(cluster, change) is Running.OLD

    @pytest.mark.parametrize(
        "change",
        [
            {"status": {"containerStatuses": [{"name": "gateway", "state": state}]}}
            for state in (
                {"waiting": {"reason": "CrashLoopBackOff"}},
                {"terminated": {"startedAt": time_text(NOW - HOUR)}},
                {},
            )
        ]
        + [
            {"metadata": {"deletionTimestamp": time_text(NOW)}},
            {"status": {"phase": "Succeeded"}},
            {"status": {"phase": "Failed"}},
            {"metadata": {"annotations": {"gateway-tokens/fingerprint": TOKEN.header_value().fingerprint}}},
        ],
    )
    async def test_what_waits_ends_or_was_restarted_for_the_value_is_no_reason(
        self, cluster: Cluster, change: dict[str, Manifest]
    ) -> None:
        assert (
            await self.judged(cluster, lambda pod: [pod[part].update(new) for part, new in change.items()])
            is Running.CURRENT
        )

    @pytest.mark.parametrize("ahead", [-30, 30])
    async def test_a_node_clock_that_is_off_by_half_a_minute_brings_no_second_restart(
        self, cluster: Cluster, ahead: int
    ) -> None:
        workload = cluster.install()
        workload.node_clock = timedelta(seconds=ahead)
        cluster.now += HOUR
        await cluster.deliver()
        for _ in range(2):
            assert (await cluster.runs())[-1] is Running.CURRENT
            await stripped(cluster)
        assert cluster.patched == 1


class TestStates:
    async def test_a_workload_that_is_not_there_is_waited_for_and_runs_the_value_when_it_comes(
        self, cluster: Cluster
    ) -> None:
        await cluster.deliver()
        assert await cluster.run() == Restart(
            Running.WAITING, f"Deployment default/{NAME} does not exist yet"
        )
        cluster.install()
        assert await cluster.runs() == [Running.CURRENT] * 3

    async def test_one_that_went_away_before_it_was_asked_is_no_failure(self, cluster: Cluster) -> None:
        await cluster.with_old_pods()
        stored = await stored_in(cluster.destination)
        cluster.objects.remove(*cluster.where)
        await cluster.destination.restart(stored)

    @pytest.mark.parametrize(
        ("cluster", "spec", "advice"),
        [
            ("Deployment", {"paused": True}, "It is paused: resume it."),
            ("Rollout", {"paused": True}, "It is paused: resume it."),
            ("StatefulSet", {"updateStrategy": {"type": "OnDelete"}}, "OnDelete: delete its pods."),
            ("DaemonSet", {"updateStrategy": {"type": "OnDelete"}}, "OnDelete: delete its pods."),
            ("StatefulSet", {"updateStrategy": {"rollingUpdate": {"partition": 1}}}, "has a partition"),
        ],
        indirect=["cluster"],
    )
    async def test_one_that_does_not_roll_by_itself_is_asked_once_says_what_to_do_and_holds_no_place(
        self, cluster: Cluster, spec: Manifest, advice: str
    ) -> None:
        workload = await cluster.with_old_pods(**spec)
        workload.stuck = True
        assert await cluster.runs() == [Running.OLD, Running.STUCK, Running.STUCK]
        restart = await cluster.run()
        assert advice in restart.failure(cluster.now)
        assert (restart.holds_slot, cluster.patched) == (False, 1)
        workload.stuck = False
        cluster.apply(lambda spec: [spec.pop(name, None) for name in ("paused", "updateStrategy")])
        assert (await cluster.runs())[-1] is Running.CURRENT
        assert cluster.patched == 1

    async def test_one_that_hangs_fails_once_its_time_or_its_deadline_is_over_and_holds_its_place(
        self, cluster: Cluster
    ) -> None:
        workload = await cluster.with_old_pods(3)
        workload.stuck = True
        late_at = cluster.now + timedelta(seconds=10) + timedelta(minutes=3)
        for _ in range(2):
            await cluster.run(timedelta(seconds=10))
        restart = await cluster.run(timedelta(seconds=10))
        assert (restart.running, restart.late_at, restart.holds_slot) == (Running.RESTARTING, late_at, True)
        assert restart.failure(late_at - timedelta(seconds=1)) == ""
        message = f"Deployment default/{NAME}: 3 of 4 pods run an older value and are being replaced"
        assert restart.failure(late_at).startswith(message)
        workload.conditions = [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]
        restart = await cluster.run()
        assert (restart.running, restart.holds_slot) == (Running.STUCK, True)
        assert "progress deadline" in restart.failure(cluster.now)

    @pytest.mark.parametrize("cluster", ["Deployment", "Rollout"], indirect=True)
    async def test_while_somebody_elses_rollout_is_under_way_nothing_is_asked_for(
        self, cluster: Cluster
    ) -> None:
        workload = cluster.install()
        workload.looks = 4
        cluster.now += HOUR
        cluster.apply(lambda spec: spec["template"]["spec"].update(priorityClassName="high"))
        await cluster.deliver()
        restart = await cluster.run(timedelta(seconds=10))
        late_at = NOW + timedelta(hours=1, minutes=3)
        assert (restart.running, restart.late_at) == (Running.RESTARTING, late_at)
        assert (await cluster.runs(5))[-1] is Running.CURRENT
        assert cluster.patched == 0

    async def test_a_first_installation_whose_pods_waited_for_the_secret_is_not_restarted(
        self, cluster: Cluster
    ) -> None:
        workload = cluster.install()
        waiting = {"waiting": {"reason": "CreateContainerConfigError"}}
        for pod in workload.pods:
            pod["status"]["containerStatuses"][0]["state"] = waiting
        cluster.now += HOUR
        await cluster.deliver()
        assert await cluster.restart() == Restart(Running.CURRENT)
        for pod in workload.pods:
            started(gateway=3600 + 20)(pod)
        assert await cluster.runs() == [Running.CURRENT] * 3


class TestWithoutTheRightToSeePods:
    @pytest.fixture(autouse=True)
    def granted(self, cluster: Cluster) -> set[str]:
        verbs = {f"{verb} {resource}" for verb in ("get", "patch") for resource in ("secrets", "deployments")}
        granted = cluster.around.emulator.azure.granted = {*verbs, "create secrets"}
        return granted

    async def test_a_restart_is_asked_for_once_per_value_whoever_undoes_it(self, cluster: Cluster) -> None:
        await cluster.with_old_pods()
        found = []
        for _ in range(3):
            found += await cluster.runs(2)
            cluster.apply(strip)
        assert found == [Running.OLD] + [Running.UNVERIFIED] * 5
        assert cluster.patched == 1
        await cluster.deliver(NEWER)
        await cluster.runs()
        assert cluster.patched == 2

    async def test_the_missing_right_is_named_and_what_is_asked_for_is_remembered_beside_the_value(
        self, cluster: Cluster
    ) -> None:
        await cluster.with_old_pods()
        before, after = await cluster.run(), await cluster.restart()
        assert all("'list pods'" in restart.message for restart in (before, after))
        assert after.failure(cluster.now) == ""
        owned = (await stored_in(cluster.destination)).owned
        assert owned is not None
        assert owned.restart_asked == TOKEN.header_value().fingerprint

    async def test_the_manifest_alone_tells_a_rollout_for_the_value_that_is_complete(
        self, cluster: Cluster
    ) -> None:
        await cluster.with_old_pods()
        assert await cluster.runs() == [Running.OLD, Running.UNVERIFIED, Running.CURRENT]

    async def test_one_without_pods_is_current(self, cluster: Cluster) -> None:
        await cluster.with_old_pods(0)
        assert await cluster.runs() == [Running.CURRENT] * 3

    async def test_a_workload_that_may_not_be_read_is_asked_as_well(
        self, cluster: Cluster, granted: set[str]
    ) -> None:
        granted -= {"get deployments"}
        await cluster.with_old_pods()
        assert await cluster.runs() == [Running.OLD, Running.UNVERIFIED, Running.UNVERIFIED]
        granted -= {"patch deployments"}
        await cluster.deliver(NEWER)
        with pytest.raises(AzureForbidden, match="'patch deployments'"):
            await cluster.run()


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


async def test_of_several_workloads_only_those_that_run_an_older_value_are_asked(
    around: Surroundings,
) -> None:
    named = [{"name": "old"}, {"kind": "StatefulSet", "name": "new"}, {"kind": "DaemonSet", "name": "absent"}]
    destination = open_destination(a_kubernetes_spec(around, restart=named), REF, around.azure)
    cluster = Cluster(around, destination)
    cluster.objects.add_workload("Deployment", "default", "old")
    cluster.now += HOUR
    await cluster.deliver()
    cluster.objects.add_workload("StatefulSet", "default", "new")
    assert await cluster.restart() == Restart(
        Running.OLD,
        "Deployment default/old: 2 of 2 pods run an older value; DaemonSet default/absent does not exist yet",
        holds_slot=True,
        old=("Deployment default/old",),
    )
    await destination.restart(await stored_in(destination))
    patches = [call.path.rpartition("/")[2] for call in around.emulator.azure.calls if call.method == "PATCH"]
    assert patches == ["old"]


WITHOUT_PARTITION = {"updateStrategy": {"rollingUpdate": {"partition": 0}}}
LATE_ENOUGH = time_text(NOW + timedelta(seconds=1))


class TestManifest:
    """What a manifest alone says for a value of NOW, one of whose three pods is old; as `kubectl rollout status` judges."""

    NAMES = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    DAEMONS = ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")

    def of(self, kind: str, spec: Manifest, change: Manifest, fingerprint: str = "new") -> WorkloadManifest:
        names = self.DAEMONS if kind == "DaemonSet" else self.NAMES
        status = {"observedGeneration": 2, **dict.fromkeys(names, 3), **change}
        status = {name: value for name, value in status.items() if value is not None}
        annotations = {"gateway-tokens/fingerprint": fingerprint}
        spec = {"replicas": 3, "template": {"metadata": {"annotations": annotations}}, **spec}
        settings = WorkloadSettings.model_validate({"kind": kind, "name": NAME})
        manifest = {"metadata": {"generation": 2}, "spec": spec, "status": status}
        return WorkloadManifest(settings, manifest, Delivery(SECRET, "new", NOW, first=False))

    @pytest.mark.parametrize(
        ("kind", "change", "settled"),
        [
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
        ],
    )
    def test_the_pods_need_not_be_listed_when_all_are_of_a_template_for_the_value_and_available(
        self,
        kind: str,
        change: Manifest,
        settled: bool,  # noqa: FBT001
    ) -> None:
        assert self.of(kind, {}, change).settled is settled
        if kind != "Rollout":
            assert not self.of(kind, {}, change, "old").settled

    @pytest.mark.parametrize(
        ("kind", "spec", "change", "fingerprint", "running", "holds_slot"),
        [
            ("Deployment", {}, {}, "old", Running.OLD, True),
            ("Deployment", {}, {"updatedReplicas": 2}, "old", Running.RESTARTING, True),
            ("Deployment", {}, {"replicas": 4}, "old", Running.RESTARTING, True),
            ("Deployment", {}, {"observedGeneration": 1}, "old", Running.RESTARTING, True),
            ("Deployment", {"paused": True}, {}, "old", Running.OLD, False),
            ("Deployment", {"paused": True}, {"updatedReplicas": 0}, "old", Running.OLD, False),
            ("Deployment", {"paused": True}, {"updatedReplicas": 0}, "new", Running.STUCK, False),
            ("StatefulSet", WITHOUT_PARTITION, {}, "old", Running.OLD, True),
            ("StatefulSet", {"updateStrategy": {"rollingUpdate": None}}, {}, "old", Running.OLD, True),
            ("DaemonSet", {}, {"updatedNumberScheduled": 2}, "new", Running.RESTARTING, True),
            ("Rollout", {}, {"phase": "Progressing"}, "", Running.RESTARTING, True),
            ("Rollout", {}, {"phase": "Paused"}, "", Running.OLD, True),
            ("Rollout", {"restartAt": time_text(NOW)}, {}, "", Running.OLD, True),
            ("Rollout", {"restartAt": LATE_ENOUGH}, {}, "", Running.RESTARTING, True),
        ],
    )
    def test_an_old_pod_is_replaced_waited_for_or_told(
        self,
        *,
        kind: str,
        spec: Manifest,
        change: Manifest,
        fingerprint: str,
        running: Running,
        holds_slot: bool,
    ) -> None:
        manifest = self.of(kind, spec, change, fingerprint)
        restart = manifest.judged("it", 1, 3)
        told = (restart.running, restart.holds_slot, bool(restart.old))
        assert told == (running, holds_slot, running is Running.OLD)
        assert manifest.judged("it", 0, 3) == Restart(Running.CURRENT)

    def test_its_pods_are_selected_as_it_selects_them(self) -> None:
        expressions = [
            {"key": "a", "operator": "In", "values": ["b", "c"]},
            {"key": "d", "operator": "NotIn", "values": ["e"]},
            {"key": "f", "operator": "Exists"},
            {"key": "g", "operator": "DoesNotExist"},
        ]
        labels = {"app": "edge", "tier": "x"}
        selector = {"selector": {"matchLabels": labels, "matchExpressions": expressions}}
        assert self.of("Deployment", selector, {}).selector == "app=edge,tier=x,a in (b,c),d notin (e),f,!g"
        assert self.of("Rollout", selector, {"selector": "app=other"}).selector == "app=other"
        assert self.of("Rollout", selector, {}).selector == ""
