"""A Kubernetes Secret: its key, its ownership, its workload's restart, and each way in which a cluster says no."""

import json
from pathlib import Path
from typing import Any

import pytest

from emulator.faults import Fault
from emulator.tls import throw_away_tls
from gateway_tokens.destinations import open_destination
from gateway_tokens.destinations.base import Destination
from gateway_tokens.destinations.kubernetes import Layout
from gateway_tokens.errors import (
    AzureError,
    AzureForbidden,
    AzureNotFound,
    AzureUnavailable,
    DestinationBlocked,
    RestartFailed,
)
from gateway_tokens.formats import SecretName, kubernetes_secret
from tests.adapters.destination_places import (
    LABEL,
    NOW,
    REF,
    SUBSCRIPTION,
    Surroundings,
    a_kubernetes_spec,
    a_token,
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
    stored = await destination.read()
    assert stored is not None
    return stored.restart_due


@pytest.mark.parametrize("body", ["<html>Sign in</html>", "[]", "{"])
@pytest.mark.parametrize("kind", ["application/json", "text/html"])
async def test_an_answer_that_is_no_object_is_azures_error(
    around: Surroundings, body: str, kind: str
) -> None:
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
    stored = await opened(around).read()
    assert stored is not None
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
        stored = await opened(around).read()
        assert stored is not None
        assert (stored.token, stored.ownership) == (None, None)

    async def test_bytes_that_are_no_text_are_no_token(self, around: Surroundings) -> None:
        around.cluster.objects.add_secret("default", NAME, {})
        manifest = around.cluster.objects.look("secrets", "default", NAME) or {}
        around.cluster.objects.put("secrets", "default", NAME, manifest | {"data": {"gateway-key": "//79"}})
        stored = await opened(around).read()
        assert stored is not None
        assert stored.token is None

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
        assert not await restart_due(destination)
        assert annotations(around, f"{kind.lower()}s") == {
            "gateway-tokens/fingerprint": TOKEN.fingerprint,
        }

    async def test_is_due_again_for_a_newer_token(self, around: Surroundings) -> None:
        destination = with_workload(around)
        await destination.write(TOKEN, LABEL, None)
        await destination.restart(TOKEN)
        await destination.write(NEWER, LABEL, await destination.read())
        assert await restart_due(destination)

    async def test_one_that_broke_off_is_waited_for_and_not_begun_again(self, around: Surroundings) -> None:
        around.cluster.objects.looks_to_roll = 4
        destination = opened(around, restart=DEPLOYMENT | {"timeout": "PT3S"})
        around.cluster.objects.add_workload("Deployment", "default", "edge-01-gateway")
        await destination.write(TOKEN, LABEL, None)
        with pytest.raises(RestartFailed):
            await destination.restart(TOKEN)
        assert await restart_due(destination)
        await destination.restart(TOKEN)
        assert len(around.emulator.azure.called("kubernetes", "PATCH")) == 1

    async def test_asked_for_when_none_is_due_begins_one(self, around: Surroundings) -> None:
        destination = with_workload(around)
        await destination.write(TOKEN, LABEL, None)
        await destination.restart(TOKEN)
        await destination.restart(TOKEN)
        # The template has the same fingerprint and, with this still clock, the same time: what counts is the call.
        assert len(around.emulator.azure.called("kubernetes", "PATCH")) == 2

    @pytest.mark.parametrize(("bound", "looks"), [("PT6S", 3), ("PT9S", 4)])
    async def test_gives_up_at_its_bound_and_counts_the_pods(
        self, around: Surroundings, bound: str, looks: int
    ) -> None:
        around.cluster.objects.stuck.add("edge-01-gateway")
        around.cluster.objects.add_workload("Deployment", "default", "edge-01-gateway", 3)
        destination = opened(around, restart=DEPLOYMENT | {"timeout": bound})
        await destination.write(TOKEN, LABEL, None)
        first = len(around.emulator.azure.called("kubernetes", "GET"))
        with pytest.raises(
            RestartFailed, match=r"Deployment default/edge-01-gateway .* \(0 of 3 pods updated"
        ):
            await destination.restart(TOKEN)
        assert len(around.emulator.azure.called("kubernetes", "GET")) - first == looks + 1

    @pytest.mark.parametrize(
        ("kind", "spec", "said"),
        [
            ("Deployment", {"paused": True}, "paused: resume it"),
            ("StatefulSet", {"updateStrategy": {"type": "OnDelete"}}, "OnDelete: delete its pods"),
        ],
    )
    async def test_a_workload_that_cannot_restart_by_itself_fails_at_once_and_stays_due(
        self, around: Surroundings, kind: str, spec: dict[str, Any], said: str
    ) -> None:
        destination = with_workload(around, kind, **spec)
        await destination.write(TOKEN, LABEL, None)
        with pytest.raises(RestartFailed, match=said):
            await destination.restart(TOKEN)
        assert around.time.elapsed <= 3
        assert await restart_due(destination)

    async def test_a_workload_without_pods_is_marked_and_done(self, around: Surroundings) -> None:
        destination = with_workload(around, replicas=0)
        await destination.write(TOKEN, LABEL, None)
        await destination.restart(TOKEN)
        assert not await restart_due(destination)

    async def test_a_missing_workload_does_not_stop_the_delivery(self, around: Surroundings) -> None:
        destination = opened(around, restart=DEPLOYMENT)
        await destination.write(TOKEN, LABEL, None)
        assert await restart_due(destination)
        with pytest.raises(RestartFailed, match="Deployment default/edge-01-gateway does not exist"):
            await destination.restart(TOKEN)

    async def test_a_workload_that_may_not_be_looked_at_does_not_stop_the_delivery(
        self, around: Surroundings
    ) -> None:
        destination = with_workload(around)
        around.emulator.azure.granted = {"get secrets", "create secrets"}
        await destination.write(TOKEN, LABEL, None)
        assert await restart_due(destination)
        with pytest.raises(AzureForbidden, match="'get deployments'"):
            await destination.restart(TOKEN)

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

    @pytest.mark.parametrize("stored", ["", "two\nlines", "späte"])
    async def test_a_service_accounts_token_that_cannot_be_one_is_refused(
        self, around: Surroundings, stored: str
    ) -> None:
        account = self.service_account(around)
        around.emulator.azure.vault("contoso").set("edge-account", stored, NOW)
        with pytest.raises(DestinationBlocked, match="edge-account: it holds no service account token"):
            await opened(around, sign_in=account).read()

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

    @pytest.mark.parametrize(
        "text", ["nonsense", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"]
    )
    async def test_a_certificate_that_is_none_blocks(self, around: Surroundings, text: str) -> None:
        with pytest.raises(DestinationBlocked, match="certificate authority"):
            await opened(around, cluster=CLUSTER, certificate_authority=text).read()

    @pytest.mark.parametrize("value", ["", "eA==", "Y2x1c3RlcnM6IFtd", "not base64", "Ojo6"])
    async def test_a_kubeconfig_that_cannot_be_read_says_so(self, around: Surroundings, value: str) -> None:
        body = f'{{"kubeconfigs": [{{"value": "{value}"}}]}}'
        headers = {"Content-Type": "application/json"}
        around.emulator.azure.faults.add(Fault(host="arm", status=200, body=body, headers=headers))
        with pytest.raises(AzureError, match="no usable kubeconfig"):
            await opened(around, cluster=CLUSTER).read()


def another_authority() -> str:
    """A certificate that signed nothing here."""
    return Path(throw_away_tls.__wrapped__().ca_file).read_text()
