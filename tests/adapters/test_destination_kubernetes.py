"""A Kubernetes Secret: its key, its ownership, its workload's restart, and each way in which a cluster says no."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import jwt
import pytest

from emulator.faults import Fault
from emulator.tls import throw_away_tls
from gateway_tokens.destinations import open_destination
from gateway_tokens.destinations.base import Destination
from gateway_tokens.destinations.kubernetes import Layout
from gateway_tokens.destinations.kubernetes.workload import FIELD_MANAGER, restart_of
from gateway_tokens.errors import (
    AzureError,
    AzureForbidden,
    AzureNotFound,
    AzureUnavailable,
    DestinationBlocked,
    NotRestarted,
)
from gateway_tokens.formats import SecretName, kubernetes_secret
from gateway_tokens.stored import Restart
from tests.adapters.destination_places import (
    LABEL,
    NOW,
    REF,
    SUBSCRIPTION,
    Surroundings,
    a_kubernetes_spec,
    a_token,
    held_in,
)
from tests.stand_ins.aks import PROVIDER

TOKEN, NEWER = a_token(), a_token(seed="newer")
NAME = "edge-01-token"
DEPLOYMENT = {"name": "{gateway}-gateway"}
STATEFUL_SET = {"kind": "StatefulSet", "name": "{gateway}-gateway"}
CLUSTER = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/edge/providers/{PROVIDER}/edge"


def opened(around: Surroundings, **more: object) -> Destination:
    return open_destination(a_kubernetes_spec(around, **more), REF, around.azure)


def with_workload(
    around: Surroundings, kind: str = "Deployment", replicas: int = 2, **spec: object
) -> Destination:
    around.cluster.objects.add_workload(kind, "default", "edge-01-gateway", replicas, **spec)
    return opened(around, restart=DEPLOYMENT if kind == "Deployment" else STATEFUL_SET)


def annotations(around: Surroundings, resource: str = "deployments") -> dict[str, str]:
    return around.cluster.objects.template_annotations(resource, "default", "edge-01-gateway")


async def restart_due(destination: Destination) -> bool:
    restart = (await held_in(destination)).restart
    return restart is not None and not (restart.begun and restart.done)


@pytest.mark.parametrize("kind", ["application/json", "text/html"])
async def test_an_answer_that_is_no_object_is_azures_error(around: Surroundings, kind: str) -> None:
    for body in ("<html>Sign in</html>", "[]", "{"):
        around.emulator.azure.faults.add(
            Fault(path="*/secrets/*", status=200, body=body, headers={"Content-Type": kind})
        )
        with pytest.raises(AzureError, match="200"):
            await opened(around).read()


async def test_a_secret_made_with_the_http_apis_manifest_is_taken_for_the_apps_own(
    around: Surroundings,
) -> None:
    manifest = json.loads(kubernetes_secret(TOKEN, LABEL, SecretName()).reveal())
    name, labelled = manifest["metadata"]["name"], manifest["metadata"]
    around.cluster.objects.add_secret("default", name, manifest["stringData"], metadata=labelled)
    stored = await held_in(opened(around))
    assert (stored.token, stored.ownership) == (TOKEN, LABEL)


class TestSecret:
    @pytest.mark.parametrize(
        ("layout", "key"),
        [("helm", "gateway-key"), ("portal", "value"), ("envFrom", "config.service.auth.key")],
    )
    async def test_each_layout_has_its_key(self, around: Surroundings, layout: str, key: str) -> None:
        await opened(around, layout=Layout(layout)).write(TOKEN, LABEL, None)
        stored = around.cluster.objects.secret_value("default", NAME, key)
        assert stored == TOKEN.header_value().reveal()

    async def test_carries_the_label_as_annotations_and_the_owner_as_label(
        self, around: Surroundings
    ) -> None:
        await opened(around).write(TOKEN, LABEL, None)
        secret = around.cluster.objects.look("secrets", "default", NAME)
        assert secret is not None
        assert secret["type"] == "Opaque"
        assert secret["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "gateway-tokens"}
        assert secret["metadata"]["annotations"] == {
            f"gateway-tokens/{name}": value for name, value in LABEL.tags(TOKEN).items()
        }

    async def test_leaves_other_keys_labels_and_annotations_alone(self, around: Surroundings) -> None:
        metadata = {"labels": {"team": "edge"}, "annotations": {"reloader": "on"}}
        around.cluster.objects.add_secret("default", NAME, {"other": "kept"}, metadata=metadata)
        destination = opened(around)
        await destination.write(TOKEN, LABEL, await destination.read())
        secret = around.cluster.objects.look("secrets", "default", NAME)
        assert secret is not None
        assert around.cluster.objects.secret_value("default", NAME, "other") == "kept"
        assert secret["metadata"]["labels"]["team"] == "edge"
        assert secret["metadata"]["annotations"]["reloader"] == "on"

    async def test_a_secret_without_the_key_is_there_but_holds_no_token(self, around: Surroundings) -> None:
        around.cluster.objects.add_secret("default", NAME, {"other": "kept"})
        stored = await held_in(opened(around))
        assert (stored.token, stored.ownership) == (None, None)

    async def test_bytes_that_are_no_text_are_no_token(self, around: Surroundings) -> None:
        around.cluster.objects.add_secret("default", NAME, {})
        manifest = around.cluster.objects.look("secrets", "default", NAME) or {}
        around.cluster.objects.put("secrets", "default", NAME, manifest | {"data": {"gateway-key": "//79"}})
        assert (await held_in(opened(around))).token is None

    @pytest.mark.parametrize(
        ("more", "said"),
        [({"type": "kubernetes.io/tls"}, r"type kubernetes\.io/tls"), ({"immutable": True}, "immutable")],
    )
    async def test_a_secret_of_another_kind_or_immutable_blocks(
        self, around: Surroundings, more: dict[str, object], said: str
    ) -> None:
        around.cluster.objects.add_secret("default", NAME, {"gateway-key": "x"}, **more)
        with pytest.raises(DestinationBlocked, match=said):
            await opened(around).read()

    async def test_a_missing_namespace_is_not_made(self, around: Surroundings) -> None:
        destination = opened(around, namespace="elsewhere")
        assert await destination.read() is None
        with pytest.raises(AzureNotFound, match="namespaces/elsewhere"):
            await destination.write(TOKEN, LABEL, None)

    async def test_a_missing_permission_is_named_as_the_cluster_names_it(self, around: Surroundings) -> None:
        destination = opened(around)
        await destination.write(TOKEN, LABEL, None)
        stored = await destination.read()
        around.emulator.azure.granted = {"get secrets", "create secrets"}
        with pytest.raises(AzureForbidden) as caught:
            await destination.write(NEWER, LABEL, stored)
        assert (caught.value.action, caught.value.scope) == ("patch secrets", destination.location)

    async def test_nothing_that_the_cluster_says_is_repeated(self, around: Surroundings) -> None:
        said = '{"kind": "Status", "reason": "BadRequest", "message": "near: GatewayKey edge&secret", "code": 400}'
        headers = {"Content-Type": "application/json"}
        around.emulator.azure.faults.add(Fault(host="kubernetes", status=400, body=said, headers=headers))
        with pytest.raises(AzureError) as caught:
            await opened(around).write(TOKEN, LABEL, None)
        assert "GatewayKey" not in f"{caught.value} {caught.value.facts} {caught.getrepr(style='short')}"


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "message", "text"),
        [
            (
                403,
                'admission webhook "policy.example" denied the request: GatewayKey secret',
                "'policy.example' denies it",
            ),
            (400, 'admission webhook "policy.example" denied the request', "'policy.example' denies it"),
            (
                500,
                'Internal error occurred: failed calling webhook "policy.example": timeout',
                "'policy.example' does not answer",
            ),
            (
                422,
                "ValidatingAdmissionPolicy 'no-secrets' with binding 'b' denied request",
                "'no-secrets' denies it",
            ),
            (
                403,
                'secrets "x" is forbidden: exceeded quota: small, requested: secrets=1',
                "quota 'small' is used up",
            ),
            (
                403,
                "unable to create in namespace edge because it is being terminated",
                "namespace is being deleted",
            ),
        ],
    )
    async def test_a_cause_of_its_own_is_told_by_its_name_and_nothing_is_quoted(
        self, around: Surroundings, status: int, message: str, text: str
    ) -> None:
        body = json.dumps(
            {"kind": "Status", "status": "Failure", "reason": "Forbidden", "message": message, "code": status}
        )
        fault = Fault(
            host="kubernetes",
            method="POST",
            status=status,
            body=body,
            headers={"Content-Type": "application/json"},
            times=None,
        )
        around.emulator.azure.faults.add(fault)
        with pytest.raises(DestinationBlocked, match=text) as caught:
            await opened(around).write(TOKEN, LABEL, None)
        assert "GatewayKey" not in str(caught.value)

    async def test_a_server_behind_a_path_keeps_the_path_exactly_once(self, around: Surroundings) -> None:
        spec = a_kubernetes_spec(around, server=f"{around.cluster.url}/k8s/clusters/c-1/")
        assert await open_destination(spec, REF, around.azure).read() is None
        paths = {call.path for call in around.emulator.azure.calls if call.host == "kubernetes"}
        assert paths == {"/k8s/clusters/c-1/api/v1/namespaces/default/secrets/edge-01-token"}

    @pytest.mark.parametrize(
        "server", ["https://[fd00::1]:6443", "https://rancher.example/k8s/clusters/c-1", "https://10.0.0.1"]
    )
    def test_servers_may_have_a_path_or_an_ipv6_address(self, around: Surroundings, server: str) -> None:
        assert a_kubernetes_spec(around, server=server).depends_on == server


class TestRestart:
    async def test_is_not_due_while_no_workload_is_named(self, around: Surroundings) -> None:
        destination = opened(around)
        await destination.write(TOKEN, LABEL, None)
        assert not await restart_due(destination)
        calls = len(around.emulator.azure.calls)
        await destination.restart(TOKEN)
        assert len(around.emulator.azure.calls) == calls

    @pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
    async def test_is_due_from_the_write_until_all_pods_are_new(
        self, around: Surroundings, kind: str
    ) -> None:
        destination = with_workload(around, kind)
        await destination.write(TOKEN, LABEL, None)
        assert await restart_due(destination)
        await destination.restart(TOKEN)
        assert [await restart_due(destination) for _ in range(2)] == [True, False]
        assert annotations(around, f"{kind.lower()}s") == {
            "gateway-tokens/fingerprint": TOKEN.fingerprint,
        }
        await destination.write(NEWER, LABEL, await destination.read())
        assert await restart_due(destination)

    async def test_asking_twice_for_one_token_restarts_once(self, around: Surroundings) -> None:
        destination = with_workload(around)
        await destination.write(TOKEN, LABEL, None)
        generations = []
        for _ in range(3):
            await destination.restart(TOKEN)
            manifest = around.cluster.objects.look("deployments", "default", "edge-01-gateway")
            assert manifest is not None
            generations.append(manifest["metadata"]["generation"])
        assert generations == [2, 2, 2]

    async def test_one_that_hangs_has_failed_once_its_time_since_the_patch_is_over(
        self, around: Surroundings
    ) -> None:
        around.cluster.objects.stuck.add("edge-01-gateway")
        around.cluster.objects.add_workload("Deployment", "default", "edge-01-gateway", 3)
        destination = opened(around, restart=DEPLOYMENT | {"timeout": "PT9S"})
        await destination.write(TOKEN, LABEL, None)
        await destination.restart(TOKEN)
        await restart_due(destination)
        restart = (await held_in(destination)).restart
        assert restart is not None
        assert restart.late_at is not None
        asked_at = around.emulator.azure.clock().replace(microsecond=0)
        assert abs(restart.late_at - timedelta(seconds=9) - asked_at) < timedelta(seconds=5)
        assert restart.failure(restart.late_at - timedelta(seconds=1)) == ""
        assert (
            restart.failure(restart.late_at)
            == "did not restart in time (1 of 3 pods updated, 3 available): check its pods"
        )

    @pytest.mark.parametrize(
        ("kind", "spec", "said"),
        [
            ("Deployment", {"paused": True}, "paused: resume it"),
            ("StatefulSet", {"updateStrategy": {"type": "OnDelete"}}, "OnDelete: delete its pods"),
        ],
    )
    async def test_a_workload_that_cannot_restart_by_itself_says_why_and_stays_due(
        self, around: Surroundings, kind: str, spec: dict[str, Any], said: str
    ) -> None:
        destination = with_workload(around, kind, **spec)
        await destination.write(TOKEN, LABEL, None)
        await destination.restart(TOKEN)
        await restart_due(destination)
        restart = (await held_in(destination)).restart
        assert restart is not None
        assert said in restart.failure(around.emulator.azure.clock())

    async def test_a_workload_without_pods_is_marked_and_done(self, around: Surroundings) -> None:
        destination = with_workload(around, replicas=0)
        await destination.write(TOKEN, LABEL, None)
        await destination.restart(TOKEN)
        assert [await restart_due(destination) for _ in range(2)] == [True, False]

    async def test_a_missing_workload_does_not_stop_the_delivery(self, around: Surroundings) -> None:
        destination = opened(around, restart=DEPLOYMENT)
        await destination.write(TOKEN, LABEL, None)
        assert await restart_due(destination)
        with pytest.raises(NotRestarted, match="Deployment default/edge-01-gateway does not exist"):
            await destination.restart(TOKEN)

    async def test_a_workload_that_may_not_be_read_does_not_stop_delivery_and_restart_and_is_told(
        self, around: Surroundings
    ) -> None:
        destination = with_workload(around)
        around.emulator.azure.granted = {"get secrets", "create secrets", "patch deployments"}
        await destination.write(TOKEN, LABEL, None)
        await destination.restart(TOKEN)
        restart = (await held_in(destination)).restart
        assert restart is not None
        assert "'get deployments'" in restart.failure(around.emulator.azure.clock())

    async def test_somebody_elses_value_restarts_nothing(self, around: Surroundings) -> None:
        destination = with_workload(around)
        around.cluster.objects.add_secret("default", NAME, {"gateway-key": TOKEN.header_value().reveal()})
        assert not await restart_due(destination)


class TestSignIn:
    async def test_rows_of_one_cluster_share_one_sign_in(self, around: Surroundings) -> None:
        await opened(around).read()
        await opened(around, secret="another").read()
        assert len(around.emulator.azure.called("identity")) == 1

    async def test_a_cluster_that_does_not_know_entra_takes_a_service_accounts_token(
        self, around: Surroundings
    ) -> None:
        around.cluster.knows_entra = False
        with pytest.raises(DestinationBlocked, match="does not accept the app's sign-in"):
            await opened(around).read()
        destination = opened(around, sign_in=self.service_account(around))
        await destination.write(TOKEN, LABEL, None)
        assert around.emulator.azure.called("kubernetes")[-1].status == 201

    async def test_a_service_accounts_token_is_read_once_and_again_when_refused(
        self, around: Surroundings
    ) -> None:
        azure = around.emulator.azure
        destination = opened(around, sign_in=self.service_account(around))
        await destination.read()
        await destination.read()
        reads = [call for call in azure.called("vault", "GET") if call.status == 200]
        assert len(reads) == 1
        azure.bearers.pop(azure.vault("contoso").secrets["edge-account"].latest.value)
        self.service_account(around)
        assert await destination.read() is None

    async def test_a_service_accounts_token_that_cannot_be_one_is_refused(self, around: Surroundings) -> None:
        account = self.service_account(around)
        for stored in ("", "two\nlines", "späte"):
            around.emulator.azure.vault("contoso").set("edge-account", stored, NOW)
            with pytest.raises(DestinationBlocked, match="edge-account: it holds no service account token"):
                await opened(around, sign_in=account).read()

    @pytest.mark.parametrize(("days", "lines"), [(6.9, 1), (7.1, 0), (-1, 1), (None, 0)])
    async def test_a_service_accounts_token_that_ends_within_seven_days_is_told(
        self, around: Surroundings, caplog: pytest.LogCaptureFixture, days: float | None, lines: int
    ) -> None:
        account = self.service_account(around)
        claims = {} if days is None else {"exp": int((datetime.now(UTC) + timedelta(days=days)).timestamp())}
        token = jwt.encode({"sub": "system:serviceaccount:a:b", **claims}, "k" * 32, algorithm="HS256")
        around.emulator.azure.vault("contoso").set("edge-account", token, NOW)
        with suppress(DestinationBlocked):  # the cluster does not know this token
            await opened(around, sign_in=account).read()
        written = [json.loads(one.getMessage()) for one in caplog.records if one.name == "gateway_tokens"]
        told = [line for line in written if line["event"] == "sign_in.expiring"]
        assert len(told) == lines
        assert token not in caplog.text
        for line in told:
            assert line["secret"].endswith("/secrets/edge-account")
            assert line["hoursLeft"] == pytest.approx((days or 0) * 24, abs=0.2)

    async def test_a_service_accounts_token_is_read_again_after_an_hour(
        self, around: Surroundings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        destination = opened(around, sign_in=self.service_account(around))
        for seconds, reads in ((0.0, 1), (3599.0, 1), (3600.0, 2)):
            monkeypatch.setattr(around.azure, "monotonic", lambda now=seconds: now)
            await destination.read()
            answered = [call for call in around.emulator.azure.called("vault", "GET") if call.status == 200]
            assert len(answered) == reads

    async def test_a_service_accounts_token_in_a_closed_vault_names_the_vaults_permission(
        self, around: Surroundings
    ) -> None:
        account = self.service_account(around)
        around.emulator.azure.granted = {"get secrets"}
        with pytest.raises(AzureForbidden) as caught:
            await opened(around, sign_in=account).read()
        assert caught.value.action == "Microsoft.KeyVault/vaults/secrets/getSecret/action"
        assert caught.value.scope.endswith("/secrets/edge-account")

    @staticmethod
    def service_account(around: Surroundings) -> dict[str, str]:
        azure = around.emulator.azure
        token = around.cluster.service_account_token(azure)
        azure.vault("contoso").set("edge-account", f"{token}", NOW)
        return {"vault": around.emulator.vault_url("contoso"), "secret": "edge-account"}


class TestAks:
    async def test_azure_gives_address_and_certificate_once_for_all_rows(self, around: Surroundings) -> None:
        await opened(around, cluster=CLUSTER).write(TOKEN, LABEL, None)
        await opened(around, cluster=CLUSTER, secret="another").read()
        assert around.cluster.objects.look("secrets", "default", NAME)
        assert len(around.emulator.azure.called("arm", "POST")) == 1

    async def test_a_missing_permission_is_asked_for_anew_the_next_time(self, around: Surroundings) -> None:
        around.emulator.azure.granted = {"get secrets"}
        destination = opened(around, cluster=CLUSTER)
        with pytest.raises(AzureForbidden) as caught:
            await destination.read()
        assert caught.value.action.endswith("/listClusterUserCredential/action")
        assert caught.value.scope == CLUSTER
        around.emulator.azure.granted = None
        assert await destination.read() is None

    async def test_a_cluster_that_moved_is_found_again(self, around: Surroundings) -> None:
        destination = opened(around, cluster=CLUSTER)
        here, around.cluster.url = around.cluster.url, "https://127.0.0.1:9"
        with pytest.raises(AzureUnavailable):
            await destination.read()
        around.cluster.url = here
        assert await destination.read() is None

    async def test_a_certificate_in_the_settings_goes_before_azures(self, around: Surroundings) -> None:
        with pytest.raises(AzureUnavailable):
            await opened(around, cluster=CLUSTER, certificate_authority=another_authority()).read()

    async def test_a_certificate_that_is_none_blocks(self, around: Surroundings) -> None:
        for text in ("nonsense", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"):
            with pytest.raises(DestinationBlocked, match="certificate authority"):
                await opened(around, cluster=CLUSTER, certificate_authority=text).read()

    async def test_a_kubeconfig_that_cannot_be_read_says_so(self, around: Surroundings) -> None:
        headers = {"Content-Type": "application/json"}
        for value in ("", "eA==", "Y2x1c3RlcnM6IFtd", "not base64", "Ojo6"):
            body = f'{{"kubeconfigs": [{{"value": "{value}"}}]}}'
            around.emulator.azure.faults.add(Fault(host="arm", status=200, body=body, headers=headers))
            with pytest.raises(AzureError, match="no usable kubeconfig"):
                await opened(around, cluster=CLUSTER).read()


def another_authority() -> str:
    """A certificate that signed nothing here."""
    return Path(throw_away_tls.__wrapped__().ca_file).read_text()


class TestRollout:
    """When a workload counts as restarted: the table that `kubectl rollout status` follows."""

    ALL = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    DONE: ClassVar = {"observedGeneration": 2, **dict.fromkeys(ALL, 3)}
    NOT_COUNTED: ClassVar = {name: count for name, count in DONE.items() if name != "availableReplicas"}

    @staticmethod
    def of(
        status: dict[str, Any], kind: str = "Deployment", fingerprint: str = "", **spec: object
    ) -> Restart:
        template = {"metadata": {"annotations": {"gateway-tokens/fingerprint": fingerprint}}}
        spec = {"replicas": 3, "template": template, **spec}
        return restart_of(
            {"kind": kind, "metadata": {"generation": 2}, "spec": spec, "status": status},
            "new",
            timedelta(minutes=3),
        )

    @pytest.mark.parametrize(
        ("change", "done"),
        [
            pytest.param({}, True, id="all pods are new and available"),
            pytest.param({"observedGeneration": 1}, False, id="the status is about the former generation"),
            pytest.param({"observedGeneration": 3}, True, id="observed later still"),
            pytest.param({"updatedReplicas": 2}, False, id="one pod is old"),
            pytest.param({"replicas": 4}, False, id="an old pod still ends"),
            pytest.param({"availableReplicas": 2}, False, id="one new pod is not available"),
        ],
    )
    def test_is_done_when_every_pod_is_new_and_available(self, change: dict[str, int], done: bool) -> None:  # noqa: FBT001
        assert self.of(self.DONE | change).done is done

    def test_missing_counts_are_zero_but_an_older_clusters_stateful_set_counts_ready_pods(self) -> None:
        assert not self.of({}).done
        assert not self.of(self.NOT_COUNTED).done
        assert self.of(self.NOT_COUNTED, "StatefulSet").done
        assert not self.of(self.NOT_COUNTED | {"readyReplicas": 2}, "StatefulSet").done

    def test_a_workload_that_names_no_number_wants_one_pod(self) -> None:
        one = {"observedGeneration": 2, **dict.fromkeys(self.ALL, 1)}
        bare = restart_of(
            {"metadata": {"generation": 2}, "spec": {"template": {}}, "status": one}, "", timedelta(0)
        )
        assert (bare.done, bare.counts) == (True, "1 of 1 pods updated, 1 available")

    def test_was_asked_for_when_this_app_last_patched_it(self) -> None:
        entries = [
            ("kubectl", "2026-03-01T12:00:00Z"),
            (FIELD_MANAGER, "2026-03-01T11:00:00Z"),
            (FIELD_MANAGER, "odd"),
        ]
        fields = [{"manager": manager, "time": time} for manager, time in entries]
        for managed, late_at in (
            (fields[:2], "2026-03-01T11:03:00+00:00"),
            (fields, None),
            (fields[:1], None),
        ):
            manifest = {"metadata": {"managedFields": managed}, "spec": {}, "status": {}}
            late = restart_of(manifest, "new", timedelta(minutes=3)).late_at
            assert (late and late.isoformat()) == late_at

    def test_is_begun_when_the_template_names_the_token(self) -> None:
        found = [self.of(self.DONE, fingerprint=named).begun for named in ("new", "old", "")]
        assert found == [True, False, False]

    @pytest.mark.parametrize(
        ("kind", "spec", "reason", "said"),
        [
            ("Deployment", {}, "", ""),
            ("Deployment", {}, "ReplicaSetUpdated", ""),
            ("Deployment", {}, "ProgressDeadlineExceeded", "progress deadline"),
            ("Deployment", {"paused": True}, "", "paused"),
            ("StatefulSet", {"updateStrategy": {"type": "OnDelete"}}, "", "OnDelete"),
            ("StatefulSet", {"updateStrategy": {"rollingUpdate": {"partition": 0}}}, "", ""),
            ("StatefulSet", {"updateStrategy": {"rollingUpdate": {"partition": 1}}}, "", "partition"),
            ("StatefulSet", {"updateStrategy": {"rollingUpdate": None}}, "", ""),
        ],
    )
    def test_says_why_it_will_not_finish_by_itself_unless_done(
        self, kind: str, spec: dict[str, Any], reason: str, said: str
    ) -> None:
        conditions = {"conditions": [{"reason": reason}] if reason else []}
        stuck = self.of(self.DONE | {"updatedReplicas": 1} | conditions, kind, **spec).stuck
        assert said in stuck
        assert bool(stuck) is bool(said)
        assert self.of(self.DONE | conditions, kind, **spec).stuck == ""
