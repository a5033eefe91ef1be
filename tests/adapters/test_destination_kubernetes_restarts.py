"""The workloads that read a Secret are restarted once for one value, whatever happens around them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
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
from tests.adapters.destination_places import (
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


@dataclass
class Cluster:
    """A cluster with a Secret and what reads it, in a time that the test moves."""

    around: Surroundings
    destination: Destination
    kind: str = "Deployment"
    now: datetime = NOW
    patched: int = field(default=0, init=False)  # the patches that changed the workload

    def install(
        self, replicas: int = 2, containers: tuple[Manifest, ...] = (READER,), **spec: object
    ) -> Workload:
        template = {"metadata": {"labels": {"app": NAME}}, "spec": {"containers": list(containers)}}
        objects = self.around.cluster.objects
        return objects.add_workload(self.kind, "default", NAME, replicas, **{"template": template, **spec})

    def manifest(self) -> Manifest:
        return self.around.cluster.objects.stored(f"{self.kind.lower()}s", "default", NAME)

    def apply(self, change: Callable[[Manifest], object]) -> None:
        """Write the workload's manifest as somebody else."""
        manifest = self.manifest()
        change(manifest["spec"])
        self.around.cluster.objects.put(f"{self.kind.lower()}s", "default", NAME, manifest)

    async def deliver(self, token: GatewayToken = TOKEN) -> None:
        await self.destination.write(token, OWNERSHIP, await self.destination.read())

    async def run(self, after: timedelta = timedelta(hours=1)) -> Restart | None:
        """What a run does about the restart, some time after the last one; the restart as it found it."""
        self.now += after
        stored = await stored_in(self.destination)
        if stored.restart and stored.restart.old:
            generation = self.manifest()["metadata"]["generation"]
            await self.destination.restart(stored)
            self.patched += self.manifest()["metadata"]["generation"] - generation
        return stored.restart

    async def runs(self, number: int = 3) -> list[Running | None]:
        restarts = [await self.run() for _ in range(number)]
        return [restart.running if restart else None for restart in restarts]


@pytest.fixture(params=["Deployment"])
def cluster(around: Surroundings, request: pytest.FixtureRequest) -> Cluster:
    spec = a_kubernetes_spec(around, restart={"kind": request.param, "name": "{gateway}-gateway"})
    made = Cluster(around, open_destination(spec, REF, around.azure), request.param)
    around.emulator.azure.clock = around.cluster.objects.clock = lambda: made.now
    return made


@pytest.mark.parametrize("cluster", KINDS, indirect=True)
async def test_a_delivery_restarts_what_runs_an_older_value_once(cluster: Cluster) -> None:
    cluster.install()
    cluster.now += timedelta(hours=1)
    for token, patched in ((TOKEN, 1), (NEWER, 2)):
        await cluster.deliver(token)
        assert await cluster.runs(4) == [Running.OLD, Running.RESTARTING, Running.CURRENT, Running.CURRENT]
        assert cluster.patched == patched


async def test_the_template_has_the_fingerprint_of_the_whole_value_and_a_rollout_of_it_needs_no_list_of_pods(
    cluster: Cluster,
) -> None:
    cluster.install()
    cluster.now += timedelta(hours=1)
    await cluster.deliver()
    await cluster.runs()
    fingerprint = TOKEN.header_value().fingerprint
    assert cluster.manifest()["spec"]["template"]["metadata"]["annotations"] == {
        "gateway-tokens/fingerprint": fingerprint
    }
    calls = cluster.around.emulator.azure.calls
    calls.clear()
    await cluster.run()
    assert [call.path.rpartition("/")[2] for call in calls] == [SECRET, NAME]


def strip(spec: Manifest) -> None:
    spec["template"]["metadata"].pop("annotations", None)
    spec.pop("restartAt", None)


async def write_ownership(cluster: Cluster) -> None:
    stored = await stored_in(cluster.destination)
    await cluster.destination.write_ownership(replace(OWNERSHIP, issued_at=cluster.now), stored)


async def stripped(cluster: Cluster) -> None:
    cluster.apply(strip)


async def recreated(cluster: Cluster) -> None:
    cluster.around.cluster.objects.remove(f"{cluster.kind.lower()}s", "default", NAME)
    cluster.install()


async def scaled(cluster: Cluster) -> None:
    cluster.apply(lambda spec: spec.update(replicas=3))


async def written_again(cluster: Cluster) -> None:
    await cluster.destination.write(TOKEN, OWNERSHIP, await stored_in(cluster.destination))


@pytest.mark.parametrize("cluster", ["Deployment", "Rollout"], indirect=True)
@pytest.mark.parametrize("disturb", [stripped, recreated, scaled, write_ownership, written_again])
async def test_nothing_that_others_do_restarts_it_again(
    cluster: Cluster, disturb: Callable[[Cluster], Awaitable[None]]
) -> None:
    cluster.install()
    cluster.now += timedelta(hours=1)
    await cluster.deliver()
    await cluster.runs()
    for _ in range(4):
        await disturb(cluster)
        await cluster.runs()
    assert cluster.patched == 1


async def test_two_instances_that_ask_for_one_value_restart_it_once(cluster: Cluster) -> None:
    cluster.install()
    cluster.now += timedelta(hours=1)
    await cluster.deliver()
    stored = await stored_in(cluster.destination)
    generations = []
    for _ in range(3):
        await cluster.destination.restart(stored)
        generations.append(cluster.manifest()["metadata"]["generation"])
    assert generations == [2, 2, 2]


async def test_a_value_that_was_replaced_since_it_was_read_restarts_nothing(cluster: Cluster) -> None:
    cluster.install()
    cluster.now += timedelta(hours=1)
    await cluster.deliver()
    stored = await stored_in(cluster.destination)
    await cluster.deliver(NEWER)
    await cluster.destination.restart(stored)
    assert cluster.manifest()["metadata"]["generation"] == 1


async def test_a_value_that_somebody_else_wrote_restarts_nothing_even_under_our_ownership(
    cluster: Cluster,
) -> None:
    cluster.install()
    await cluster.deliver()
    cluster.around.cluster.objects.add_secret(
        "default", SECRET, {"gateway-key": NEWER.header_value().reveal()}
    )
    stored = await stored_in(cluster.destination)
    assert (stored.owned, stored.restart, stored.writer) == (None, None, "kubectl")
    await cluster.destination.write_ownership(OWNERSHIP, stored)
    stored = await stored_in(cluster.destination)
    assert (stored.owned, stored.restart, stored.writer) == (
        OWNERSHIP.of(NEWER.header_value()),
        None,
        "kubectl",
    )


class TestWhoRunsTheValue:
    """The Secret was there before our write at NOW; the pod was made an hour before."""

    @staticmethod
    async def judged(
        cluster: Cluster, change: Callable[[Manifest], object], *, first: bool = False
    ) -> Running | None:
        cluster.now = NOW - timedelta(hours=1)
        workload = cluster.install(1, (READER, SIDECAR))
        if not first:
            cluster.around.cluster.objects.add_secret("default", SECRET, {"gateway-key": ""})
        cluster.now = NOW
        await cluster.deliver()
        change(workload.pods[0])
        stored = await stored_in(cluster.destination)
        return stored.restart.running if stored.restart else None

    @pytest.mark.parametrize(
        ("seconds", "runs"), [(-3600, False), (0, False), (60, False), (61, True), (3600, True)]
    )
    async def test_a_container_counts_once_it_started_more_than_a_minute_after_the_write(
        self,
        cluster: Cluster,
        seconds: int,
        runs: bool,  # noqa: FBT001
    ) -> None:
        assert await self.judged(cluster, started(gateway=seconds)) is expected(runs)

    @pytest.mark.parametrize(
        ("seconds", "runs"), [(-61, False), (-60, False), (-59, True), (0, True), (90, True)]
    )
    async def test_where_our_write_made_the_secret_a_container_that_started_a_minute_before_has_read_it(
        self,
        cluster: Cluster,
        seconds: int,
        runs: bool,  # noqa: FBT001
    ) -> None:
        assert await self.judged(cluster, started(gateway=seconds), first=True) is expected(runs)

    @pytest.mark.parametrize(("seconds", "runs"), [(-1, False), (0, True), (1, True)])
    async def test_within_the_minute_a_pod_counts_that_was_made_in_or_after_the_second_of_the_write(
        self,
        cluster: Cluster,
        seconds: int,
        runs: bool,  # noqa: FBT001
    ) -> None:
        def change(pod: Manifest) -> None:
            started(gateway=-20, sidecar=-20)(pod)
            pod["metadata"]["creationTimestamp"] = time_text(NOW + timedelta(seconds=seconds))

        assert await self.judged(cluster, change) is expected(runs)

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
        def reading(name: str, **seconds: int) -> Callable[[Manifest], None]:
            def change(pod: Manifest) -> None:
                started(**seconds)(pod)
                pod["spec"] = {
                    "containers": [{"name": other} | (reads if other == name else {}) for other in seconds],
                    "volumes": [
                        {"name": "whole", "secret": {"secretName": SECRET}},
                        {"name": "projected", "projected": {"sources": [{"secret": {"name": SECRET}}]}},
                    ],
                }

            return change

        assert await self.judged(cluster, reading("gateway", gateway=-9, sidecar=99)) is Running.OLD
        assert await self.judged(cluster, reading("gateway", gateway=99, sidecar=-9)) is Running.CURRENT

    async def test_where_none_can_be_told_every_container_counts_but_not_those_that_start_first(
        self, cluster: Cluster
    ) -> None:
        def unknown(**seconds: int) -> Callable[[Manifest], None]:
            def change(pod: Manifest) -> None:
                started(**seconds)(pod)
                pod["spec"] = {
                    "containers": [{"name": "gateway"}, SIDECAR],
                    "initContainers": [{"name": "proxy", "restartPolicy": "Always"}],
                }
                pod["status"]["initContainerStatuses"] = [
                    {
                        "name": "proxy",
                        "state": {"running": {"startedAt": time_text(NOW - timedelta(hours=1))}},
                    }
                ]

            return change

        assert await self.judged(cluster, unknown(gateway=99, sidecar=-9)) is Running.OLD
        assert await self.judged(cluster, unknown(gateway=99, sidecar=99)) is Running.CURRENT

    async def test_what_an_initial_container_read_stays(self, cluster: Cluster) -> None:
        def change(pod: Manifest) -> None:
            started(gateway=99)(pod)
            pod["spec"] = {
                "containers": [{"name": "gateway"}],
                "initContainers": [{**READER, "name": "copy"}],
            }
            ended = {"terminated": {"startedAt": time_text(NOW - timedelta(hours=1))}}
            pod["status"]["initContainerStatuses"] = [{"name": "copy", "state": ended}]

        assert await self.judged(cluster, change) is Running.OLD

    @pytest.mark.parametrize(
        "state",
        [
            {"waiting": {"reason": "CreateContainerConfigError"}},
            {"waiting": {"reason": "CrashLoopBackOff"}},
            {"terminated": {"startedAt": time_text(NOW - timedelta(hours=1))}},
            {},
        ],
    )
    async def test_a_container_that_does_not_run_takes_the_value_when_it_starts(
        self, cluster: Cluster, state: Manifest
    ) -> None:
        def change(pod: Manifest) -> None:
            pod["status"]["containerStatuses"][0]["state"] = state

        assert await self.judged(cluster, change) is Running.CURRENT

    @pytest.mark.parametrize(
        ("metadata", "status"),
        [
            ({"deletionTimestamp": time_text(NOW)}, {}),
            ({}, {"phase": "Succeeded"}),
            ({}, {"phase": "Failed"}),
            ({"annotations": {"gateway-tokens/fingerprint": TOKEN.header_value().fingerprint}}, {}),
        ],
    )
    async def test_a_pod_that_ends_or_that_was_restarted_for_the_value_is_no_reason(
        self, cluster: Cluster, metadata: Manifest, status: Manifest
    ) -> None:
        def change(pod: Manifest) -> None:
            pod["metadata"] |= metadata
            pod["status"] |= status

        assert await self.judged(cluster, change) is Running.CURRENT

    @pytest.mark.parametrize("ahead", [-30, 30])
    async def test_a_node_clock_that_is_off_by_half_a_minute_brings_no_second_restart(
        self, cluster: Cluster, ahead: int
    ) -> None:
        workload = cluster.install()
        workload.node_clock = timedelta(seconds=ahead)
        cluster.now += timedelta(hours=1)
        await cluster.deliver()
        assert (await cluster.runs())[-1] is Running.CURRENT
        await stripped(cluster)
        assert (await cluster.runs())[-1] is Running.CURRENT
        assert cluster.patched == 1


def expected(runs: bool) -> Running:  # noqa: FBT001
    return Running.CURRENT if runs else Running.OLD


def started(**seconds: int) -> Callable[[Manifest], None]:
    """Change when each container of a pod started, from our write on."""

    def change(pod: Manifest) -> None:
        pod["status"]["containerStatuses"] = [
            {"name": name, "state": {"running": {"startedAt": time_text(NOW + timedelta(seconds=after))}}}
            for name, after in seconds.items()
        ]

    return change


class TestStates:
    async def test_a_workload_that_is_not_there_is_waited_for_and_runs_the_value_when_it_comes(
        self, cluster: Cluster
    ) -> None:
        await cluster.deliver()
        restart = await cluster.run()
        assert restart == Restart(Running.WAITING, f"Deployment default/{NAME} does not exist yet")
        cluster.install()
        assert await cluster.runs() == [Running.CURRENT] * 3

    async def test_one_that_went_away_before_it_was_asked_is_no_failure(self, cluster: Cluster) -> None:
        cluster.install()
        cluster.now += timedelta(hours=1)
        await cluster.deliver()
        stored = await stored_in(cluster.destination)
        cluster.around.cluster.objects.remove("deployments", "default", NAME)
        await cluster.destination.restart(stored)

    async def test_one_without_pods_is_current(self, cluster: Cluster) -> None:
        cluster.install(0)
        cluster.now += timedelta(hours=1)
        await cluster.deliver()
        assert await cluster.runs() == [Running.CURRENT] * 3

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
        workload = cluster.install(**spec)
        workload.stuck = True
        cluster.now += timedelta(hours=1)
        await cluster.deliver()
        assert await cluster.runs() == [Running.OLD, Running.STUCK, Running.STUCK]
        restart = await cluster.run()
        assert restart is not None
        assert advice in restart.failure(cluster.now)
        assert (restart.holds_place, cluster.patched) == (False, 1)
        workload.stuck = False
        cluster.apply(lambda spec: [spec.pop(name, None) for name in ("paused", "updateStrategy")])
        assert (await cluster.runs())[-1] is Running.CURRENT
        assert cluster.patched == 1

    async def test_one_that_hangs_fails_once_its_time_is_over_and_holds_its_place(
        self, cluster: Cluster
    ) -> None:
        cluster.install(3).stuck = True
        cluster.now += timedelta(hours=1)
        await cluster.deliver()
        await cluster.run(timedelta(seconds=10))
        asked_at = cluster.now
        await cluster.run(timedelta(seconds=10))
        restart = await cluster.run(timedelta(seconds=10))
        assert restart is not None
        assert restart.late_at == asked_at + timedelta(minutes=3)
        assert restart.failure(restart.late_at - timedelta(seconds=1)) == ""
        message = f"Deployment default/{NAME}: 3 of 4 pods run an older value and are being replaced"
        assert restart.failure(restart.late_at).startswith(message)
        assert (restart.running, restart.holds_place) == (Running.RESTARTING, True)

    async def test_one_that_exceeded_its_deadline_is_stuck_and_holds_its_place(
        self, cluster: Cluster
    ) -> None:
        workload = cluster.install()
        workload.stuck = True
        cluster.now += timedelta(hours=1)
        await cluster.deliver()
        await cluster.runs(2)
        workload.conditions = [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]
        restart = await cluster.run()
        assert restart is not None
        assert (restart.running, restart.holds_place) == (Running.STUCK, True)
        assert "progress deadline" in restart.failure(cluster.now)

    @pytest.mark.parametrize("cluster", ["Deployment", "Rollout"], indirect=True)
    async def test_while_somebody_elses_rollout_is_under_way_nothing_is_asked_for(
        self, cluster: Cluster
    ) -> None:
        workload = cluster.install()
        workload.looks = 4
        cluster.now += timedelta(hours=1)
        cluster.apply(lambda spec: spec["template"]["spec"].update(priorityClassName="high"))
        await cluster.deliver()
        restart = await cluster.run(timedelta(seconds=10))
        assert restart is not None
        assert restart.running is Running.RESTARTING
        assert restart.late_at == NOW + timedelta(hours=1, minutes=3)
        assert (await cluster.runs(5))[-1] is Running.CURRENT
        assert cluster.patched == 0

    async def test_a_first_installation_whose_pods_waited_for_the_secret_is_not_restarted(
        self, cluster: Cluster
    ) -> None:
        workload = cluster.install()
        for pod in workload.pods:
            pod["status"]["containerStatuses"][0]["state"] = {
                "waiting": {"reason": "CreateContainerConfigError"}
            }
        cluster.now += timedelta(hours=1)
        await cluster.deliver()
        assert (await stored_in(cluster.destination)).restart == Restart(Running.CURRENT)
        for pod in workload.pods:
            started(gateway=3600 + 20)(pod)
        assert await cluster.runs() == [Running.CURRENT] * 3


class TestWithoutTheRightToSeePods:
    @pytest.fixture(autouse=True)
    def forbidden(self, cluster: Cluster) -> None:
        verbs = {f"{verb} {resource}" for verb in ("get", "patch") for resource in ("secrets", "deployments")}
        cluster.around.emulator.azure.granted = {*verbs, "create secrets"}

    async def test_a_restart_is_asked_for_once_per_value_whoever_undoes_it(self, cluster: Cluster) -> None:
        cluster.install()
        cluster.now += timedelta(hours=1)
        await cluster.deliver()
        found = []
        for _ in range(4):
            found += await cluster.runs(2)
            cluster.apply(strip)
        assert found == [Running.OLD] + [Running.UNVERIFIED] * 7
        assert cluster.patched == 1
        await cluster.deliver(NEWER)
        await cluster.runs()
        assert cluster.patched == 2

    async def test_the_missing_right_is_named_and_what_is_asked_for_is_remembered_beside_the_value(
        self, cluster: Cluster
    ) -> None:
        cluster.install()
        cluster.now += timedelta(hours=1)
        await cluster.deliver()
        before = await cluster.run()
        stored = await stored_in(cluster.destination)
        assert before is not None
        assert stored.owned is not None
        assert stored.restart is not None
        assert all("'list pods'" in restart.message for restart in (before, stored.restart))
        assert stored.owned.restart_asked == TOKEN.header_value().fingerprint
        assert stored.restart.failure(cluster.now) == ""

    async def test_the_manifest_alone_tells_a_rollout_for_the_value_that_is_complete(
        self, cluster: Cluster
    ) -> None:
        cluster.install()
        cluster.now += timedelta(hours=1)
        await cluster.deliver()
        assert await cluster.runs() == [Running.OLD, Running.UNVERIFIED, Running.CURRENT]

    async def test_a_workload_that_may_not_be_read_is_asked_as_well(self, cluster: Cluster) -> None:
        cluster.install()
        granted = cluster.around.emulator.azure.granted
        assert granted is not None
        granted -= {"get deployments"}
        await cluster.deliver()
        assert await cluster.runs() == [Running.OLD, Running.UNVERIFIED, Running.UNVERIFIED]
        granted -= {"patch deployments"}
        await cluster.deliver(NEWER)
        with pytest.raises(AzureForbidden, match="'patch deployments'"):
            await cluster.run()


async def test_a_value_without_its_ownership_restarts_nothing_until_it_is_taken_over(
    cluster: Cluster,
) -> None:
    cluster.install()
    cluster.now += timedelta(hours=1)
    await cluster.deliver()
    objects = cluster.around.cluster.objects
    manifest = objects.stored("secrets", "default", SECRET)
    objects.put(
        "secrets",
        "default",
        SECRET,
        {**manifest, "metadata": {"managedFields": manifest["metadata"]["managedFields"]}},
    )
    stored = await stored_in(cluster.destination)
    assert (stored.ownership, stored.restart, stored.writer) == (None, None, "")
    await cluster.destination.write_ownership(OWNERSHIP, stored)
    assert (await cluster.runs())[-1] is Running.CURRENT
    assert cluster.patched == 1


def test_the_managers_of_a_value_are_told_each_with_its_last_change() -> None:
    fields: Manifest = {"f:data": {".": {}, "f:a": {}}}
    other: Manifest = {"f:data": {"f:b": {}}, "f:a": {}}
    entries: list[Manifest] = [
        {"manager": "gateway-tokens", "time": time_text(NOW), "fieldsV1": fields},
        {"manager": "gateway-tokens", "time": time_text(NOW - timedelta(days=1)), "fieldsV1": fields},
        {"manager": "argocd-controller", "time": time_text(NOW + timedelta(days=2)), "fieldsV1": fields},
        {"manager": "kubectl", "time": time_text(NOW), "fieldsV1": other},
        {"manager": "helm", "time": None, "fieldsV1": fields},
        {"manager": "helm"},
    ]
    manifest = {"metadata": {"managedFields": entries}}
    expected = {"gateway-tokens": NOW, "argocd-controller": NOW + timedelta(days=2)}
    assert owners_of(manifest, "data", "a") == expected
    assert owners_of({"metadata": {}}, "data", "a") == {}


async def test_of_several_workloads_only_those_that_run_an_older_value_are_asked(
    around: Surroundings,
) -> None:
    named = [{"name": "old"}, {"kind": "StatefulSet", "name": "new"}, {"kind": "DaemonSet", "name": "absent"}]
    destination = open_destination(a_kubernetes_spec(around, restart=named), REF, around.azure)
    cluster = Cluster(around, destination)
    around.emulator.azure.clock = around.cluster.objects.clock = lambda: cluster.now
    objects = around.cluster.objects
    objects.add_workload("Deployment", "default", "old")
    cluster.now += timedelta(hours=1)
    await cluster.deliver()
    objects.add_workload("StatefulSet", "default", "new")
    stored = await stored_in(destination)
    assert stored.restart == Restart(
        Running.OLD,
        "Deployment default/old: 2 of 2 pods run an older value; DaemonSet default/absent does not exist yet",
        holds_place=True,
        old=("Deployment default/old",),
    )
    await destination.restart(stored)
    patched = around.emulator.azure.called("kubernetes", "PATCH", "s/old")
    assert len(patched) == len([call for call in around.emulator.azure.calls if call.method == "PATCH"]) == 1


class TestManifest:
    """What a manifest alone says for a value of NOW, one of whose three pods is old; as `kubectl rollout status` judges."""

    DELIVERY = Delivery(SECRET, "new", NOW, first=False)
    NAMES = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    DAEMONS = ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")

    def of(self, kind: str, spec: Manifest, change: Manifest, fingerprint: str = "new") -> WorkloadManifest:
        names = self.DAEMONS if kind == "DaemonSet" else self.NAMES
        status = {"observedGeneration": 2, **dict.fromkeys(names, 3), **change}
        annotations = {"gateway-tokens/fingerprint": fingerprint}
        spec = {"replicas": 3, "template": {"metadata": {"annotations": annotations}}, **spec}
        settings = WorkloadSettings.model_validate({"kind": kind, "name": NAME})
        manifest = {"metadata": {"generation": 2}, "spec": spec, "status": status}
        return WorkloadManifest(settings, manifest, self.DELIVERY)

    @pytest.mark.parametrize(
        ("kind", "change", "settled"),
        [
            ("Deployment", {}, True),
            ("Deployment", {"observedGeneration": 1}, False),
            ("Deployment", {"observedGeneration": 3}, True),
            ("Deployment", {"updatedReplicas": 2}, False),
            ("Deployment", {"replicas": 4}, False),
            ("Deployment", {"availableReplicas": 2}, False),
            ("StatefulSet", {"availableReplicas": 2}, False),
            ("DaemonSet", {}, True),
            ("DaemonSet", {"updatedNumberScheduled": 2}, False),
            ("DaemonSet", {"numberAvailable": 2}, False),
            ("Rollout", {}, False),
            ("Rollout", {"restartedAt": time_text(NOW), "phase": "Healthy"}, False),
            ("Rollout", {"restartedAt": time_text(NOW + timedelta(seconds=1)), "phase": "Healthy"}, True),
            ("Rollout", {"restartedAt": time_text(NOW + timedelta(seconds=1)), "phase": "Paused"}, False),
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

    def test_an_older_clusters_stateful_set_counts_ready_pods_and_missing_counts_are_none(self) -> None:
        for kind, settled in (("StatefulSet", True), ("Deployment", False)):
            settings = WorkloadSettings.model_validate({"kind": kind, "name": NAME})
            annotations = {"gateway-tokens/fingerprint": "new"}
            shown = {
                "metadata": {},
                "spec": {"replicas": 3, "template": {"metadata": {"annotations": annotations}}},
                "status": dict.fromkeys(self.NAMES[:3], 3),
            }
            assert WorkloadManifest(settings, shown, self.DELIVERY).settled is settled

    @pytest.mark.parametrize(
        ("kind", "spec", "change", "fingerprint", "running", "holds_place"),
        [
            ("Deployment", {}, {}, "old", Running.OLD, True),
            ("Deployment", {}, {"updatedReplicas": 2}, "old", Running.RESTARTING, True),
            ("Deployment", {}, {"replicas": 4}, "old", Running.RESTARTING, True),
            ("Deployment", {}, {"observedGeneration": 1}, "old", Running.RESTARTING, True),
            ("Deployment", {"paused": True}, {}, "old", Running.OLD, False),
            ("Deployment", {"paused": True}, {"updatedReplicas": 0}, "old", Running.OLD, False),
            ("Deployment", {"paused": True}, {"updatedReplicas": 0}, "new", Running.STUCK, False),
            (
                "StatefulSet",
                {"updateStrategy": {"rollingUpdate": {"partition": 0}}},
                {},
                "old",
                Running.OLD,
                True,
            ),
            ("StatefulSet", {"updateStrategy": {"rollingUpdate": None}}, {}, "old", Running.OLD, True),
            ("DaemonSet", {}, {"updatedNumberScheduled": 2}, "new", Running.RESTARTING, True),
            ("Rollout", {}, {"phase": "Progressing"}, "", Running.RESTARTING, True),
            ("Rollout", {}, {"phase": "Paused"}, "", Running.OLD, True),
            ("Rollout", {"restartAt": time_text(NOW)}, {}, "", Running.OLD, True),
            (
                "Rollout",
                {"restartAt": time_text(NOW + timedelta(seconds=1))},
                {},
                "",
                Running.RESTARTING,
                True,
            ),
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
        holds_place: bool,
    ) -> None:
        manifest = self.of(kind, spec, change, fingerprint)
        restart = manifest.judged("it", 1, 3)
        assert (restart.running, restart.holds_place, bool(restart.old)) == (
            running,
            holds_place,
            running is Running.OLD,
        )
        assert manifest.judged("it", 0, 3) == Restart(Running.CURRENT)

    def test_its_pods_are_selected_as_it_selects_them(self) -> None:
        expressions = [
            {"key": "a", "operator": "In", "values": ["b", "c"]},
            {"key": "d", "operator": "NotIn", "values": ["e"]},
            {"key": "f", "operator": "Exists"},
            {"key": "g", "operator": "DoesNotExist"},
        ]
        selector = {
            "selector": {"matchLabels": {"app": "edge", "tier": "x"}, "matchExpressions": expressions}
        }
        assert self.of("Deployment", selector, {}).selector == "app=edge,tier=x,a in (b,c),d notin (e),f,!g"
        assert self.of("Rollout", selector, {"selector": "app=other"}).selector == "app=other"
        assert self.of("Rollout", selector, {}).selector == ""
