"""A Kubernetes Secret: its keys, its ownership, and each way in which a cluster says no."""

import asyncio
import json
from base64 import b64encode
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest

from emulator.faults import Fault
from emulator.tls import throw_away_tls
from gateway_tokens.destinations import open_destination
from gateway_tokens.destinations.base import Destination
from gateway_tokens.destinations.kubernetes.settings import Layout
from gateway_tokens.errors import (
    AzureError,
    AzureForbidden,
    AzureNotFound,
    AzureUnavailable,
    DestinationBlocked,
    WriteConflict,
)
from gateway_tokens.formats import SecretName, kubernetes_secret
from gateway_tokens.tokens import GatewayRef
from tests.destinations.destination_places import (
    NOW,
    OWNERSHIP,
    REF,
    SUBSCRIPTION,
    Surroundings,
    a_kubernetes_spec,
    a_token,
    stored_in,
)
from tests.stand_ins.aks import PROVIDER

TOKEN, NEWER = a_token(), a_token(seed="newer")
NAME = "edge-01-token"
CLUSTER = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/edge/providers/{PROVIDER}/edge"
JSON = {"Content-Type": "application/json"}


def opened(around: Surroundings, **more: object) -> Destination:
    return open_destination(a_kubernetes_spec(around, **more), REF, around.azure)


async def test_an_answer_that_is_no_object_is_azures_error(around: Surroundings) -> None:
    for body in ("<html>Sign in</html>", "[]", "{"):
        for kind in ("application/json", "text/html"):
            headers = {"Content-Type": kind}
            around.emulator.azure.faults.add(
                Fault(path="*/secrets/*", status=200, body=body, headers=headers)
            )
            with pytest.raises(AzureError, match="200"):
                await opened(around).read()


async def test_a_secret_made_with_the_http_apis_manifest_is_taken_for_the_apps_own(
    around: Surroundings,
) -> None:
    manifest = json.loads(kubernetes_secret(TOKEN, OWNERSHIP, SecretName()).reveal())
    name, metadata = manifest["metadata"]["name"], manifest["metadata"]
    around.cluster.objects.add_secret("default", name, manifest["stringData"], metadata=metadata)
    stored = await stored_in(opened(around))
    assert (stored.token, stored.owned) == (TOKEN, OWNERSHIP.of(TOKEN.header_value()))


class TestSecret:
    @pytest.mark.parametrize(
        ("layout", "key"),
        [("helm", "gateway-key"), ("portal", "value"), ("envFrom", "config.service.auth.key")],
    )
    async def test_each_layout_has_its_key(self, around: Surroundings, layout: str, key: str) -> None:
        await opened(around, layout=Layout(layout)).write(TOKEN, OWNERSHIP, None)
        stored = around.cluster.objects.secret_value("default", NAME, key)
        assert stored == TOKEN.header_value().reveal()

    async def test_carries_the_ownership_as_annotations_and_the_owner_as_a_label(
        self, around: Surroundings
    ) -> None:
        await opened(around).write(TOKEN, OWNERSHIP, None)
        secret = around.cluster.objects.stored("secrets", "default", NAME)
        tags = OWNERSHIP.of(TOKEN.header_value()).tags()
        assert secret["type"] == "Opaque"
        assert secret["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "gateway-tokens"}
        assert secret["metadata"]["annotations"] == {f"gateway-tokens/{k}": v for k, v in tags.items()}

    async def test_forgets_what_an_earlier_value_replaced(self, around: Surroundings) -> None:
        destination, urgent = opened(around), replace(OWNERSHIP, replaced_expiry=TOKEN.expiry, urgent=True)
        for ownership in (urgent, OWNERSHIP):
            await destination.write(TOKEN, ownership, await destination.read())
            assert (await stored_in(destination)).ownership == ownership.of(TOKEN.header_value())

    async def test_leaves_other_keys_labels_and_annotations_alone(self, around: Surroundings) -> None:
        metadata = {"labels": {"team": "edge"}, "annotations": {"reloader": "on"}}
        objects, destination = around.cluster.objects, opened(around)
        objects.add_secret("default", NAME, {"other": "kept"}, metadata=metadata)
        await destination.write(TOKEN, OWNERSHIP, await destination.read())
        kept = objects.stored("secrets", "default", NAME)["metadata"]
        assert objects.secret_value("default", NAME, "other") == "kept"
        assert (kept["labels"]["team"], kept["annotations"]["reloader"]) == ("edge", "on")

    async def test_a_secret_without_the_key_holds_nothing_and_its_version_guards_the_first_value(
        self, around: Surroundings
    ) -> None:
        around.cluster.objects.add_secret("default", NAME, {"other": "kept"})
        destination = opened(around)
        stored = await stored_in(destination)
        assert (stored.value, stored.token, stored.ownership, stored.writer) == (None, None, None, "")
        around.cluster.objects.add_secret("default", NAME, {"other": "changed"})
        with pytest.raises(WriteConflict):
            await destination.write(TOKEN, OWNERSHIP, stored)
        await destination.write(TOKEN, OWNERSHIP, await stored_in(destination))
        assert (await stored_in(destination)).token == TOKEN

    async def test_bytes_that_are_no_text_are_a_value_that_is_no_token(self, around: Surroundings) -> None:
        around.cluster.objects.add_secret("default", NAME, {})
        manifest = around.cluster.objects.stored("secrets", "default", NAME)
        around.cluster.objects.put("secrets", "default", NAME, manifest | {"data": {"gateway-key": "//79"}})
        stored = await stored_in(opened(around))
        assert (stored.value is None, stored.token) == (False, None)

    async def test_who_wrote_the_value_is_told_unless_it_was_this_app(self, around: Surroundings) -> None:
        objects, destination = around.cluster.objects, opened(around)
        await destination.write(TOKEN, OWNERSHIP, None)
        writers = [(await stored_in(destination)).writer]
        manifest = objects.stored("secrets", "default", NAME)
        for manager, token in (("argocd-controller", NEWER), ("helm", TOKEN), ("another", TOKEN)):
            data = {"gateway-key": b64encode(token.header_value().reveal().encode()).decode()}
            objects.put("secrets", "default", NAME, manifest | {"data": data}, manager)
            manifest = objects.stored("secrets", "default", NAME)
            writers.append((await stored_in(destination)).writer)
        assert writers == ["", "argocd-controller", "helm", "helm"]

    async def test_an_ownership_does_not_move_the_time_of_the_value_and_another_value_does(
        self, around: Surroundings
    ) -> None:
        destination, now = opened(around), NOW
        around.emulator.azure.clock = lambda: now
        await destination.write(TOKEN, OWNERSHIP, None)
        times = []
        for write in ("write_ownership", "same", "other", "same under two keys"):
            now += timedelta(hours=1)
            if write == "same under two keys":
                manifest = around.cluster.objects.stored("secrets", "default", NAME)
                data = {**manifest["data"], "value": manifest["data"]["gateway-key"]}
                around.cluster.objects.put("secrets", "default", NAME, {**manifest, "data": data})
            stored, ownership = await stored_in(destination), replace(OWNERSHIP, issued_at=now)
            if write == "write_ownership":
                await destination.write_ownership(ownership, stored)
            else:
                await destination.write(TOKEN if write == "same" else NEWER, ownership, stored)
            metadata = around.cluster.objects.stored("secrets", "default", NAME)["metadata"]
            times.append({entry["manager"]: entry["time"][11:13] for entry in metadata["managedFields"]})
        assert times == [
            {"gateway-tokens": "12", "gateway-tokens-label": "13"},
            {"gateway-tokens": "12", "gateway-tokens-label": "14"},
            {"gateway-tokens": "15"},
            {"gateway-tokens": "15", "gateway-tokens-label": "16", "kubectl": "16"},
        ]

    async def test_other_keys_with_a_token_of_this_gateway_are_written_too_each_in_its_form(
        self, around: Surroundings
    ) -> None:
        held, other = (
            a_token(seed="old").value.reveal(),
            "edge-02" + TOKEN.value.reveal().removeprefix("edge-01"),
        )
        forms = {"value": "GatewayKey {}", "config.service.auth.key": '"{}"\n'}
        kept = {"another-gateway": other, "text": "not a token"}
        data = {key: form.format(held) for key, form in forms.items()} | kept
        around.cluster.objects.add_secret("default", NAME, data)
        destination = opened(around)
        stored = await stored_in(destination)
        assert (stored.value, sorted(stored.also)) == (None, sorted(forms))
        await destination.write(TOKEN, OWNERSHIP, stored)
        values = {
            key: around.cluster.objects.secret_value("default", NAME, key) for key in (*data, "gateway-key")
        }
        new = TOKEN.value.reveal()
        renewed = {key: form.format(new) for key, form in forms.items()}
        assert values == {**renewed, **kept, "gateway-key": f"GatewayKey {new}"}

    async def test_a_write_to_a_secret_with_one_token_is_one_request(self, around: Surroundings) -> None:
        destination = opened(around)
        await destination.write(TOKEN, OWNERSHIP, None)
        stored = await stored_in(destination)
        await destination.write(NEWER, OWNERSHIP, stored)
        methods = [call.method for call in around.emulator.azure.called("kubernetes")]
        assert methods == ["POST", "GET", "PATCH"]

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
            await destination.write(TOKEN, OWNERSHIP, None)

    async def test_a_missing_permission_is_named_as_the_cluster_names_it(self, around: Surroundings) -> None:
        destination = opened(around)
        await destination.write(TOKEN, OWNERSHIP, None)
        stored = await stored_in(destination)
        around.emulator.azure.granted = {"get secrets", "create secrets"}
        for attempt in (
            destination.write(NEWER, OWNERSHIP, stored),
            destination.write_ownership(OWNERSHIP, stored),
        ):
            with pytest.raises(AzureForbidden) as caught:
                await attempt
            assert (caught.value.action, caught.value.scope) == ("patch secrets", destination.location)

    async def test_nothing_that_the_cluster_says_is_repeated(self, around: Surroundings) -> None:
        around.emulator.azure.faults.add(refusal(400, "near: GatewayKey edge&secret", reason="BadRequest"))
        with pytest.raises(AzureError) as caught:
            await opened(around).write(TOKEN, OWNERSHIP, None)
        assert "GatewayKey" not in f"{caught.value} {caught.value.facts} {caught.getrepr(style='short')}"
        assert caught.value.facts.code == "BadRequest"


def refusal(status: int, message: str, reason: str = "Forbidden") -> Fault:
    """The API server's answer to a creation."""
    said = {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": status}
    return Fault(
        host="kubernetes", method="POST", status=status, body=json.dumps(said), headers=JSON, times=None
    )


WEBHOOK = 'admission webhook "policy.example" denied the request: GatewayKey secret'
CALLING = 'Internal error occurred: failed calling webhook "policy.example": timeout'
POLICY = "ValidatingAdmissionPolicy 'no-secrets' with binding 'b' denied request"
QUOTA = 'secrets "x" is forbidden: exceeded quota: small, requested: secrets=1'
ENDING = "unable to create in namespace edge because it is being terminated"


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "message", "text"),
        [
            (403, WEBHOOK, "'policy.example' denied the request"),
            (400, WEBHOOK, "'policy.example' denied the request"),
            (500, CALLING, "'policy.example' did not answer"),
            (422, POLICY, "'no-secrets' denied the request"),
            (403, QUOTA, "quota 'small' is used up"),
            (403, ENDING, "namespace is being deleted"),
        ],
    )
    async def test_a_cause_of_its_own_is_told_by_its_name_and_nothing_is_quoted(
        self, around: Surroundings, status: int, message: str, text: str
    ) -> None:
        around.emulator.azure.faults.add(refusal(status, message))
        with pytest.raises(DestinationBlocked, match=text) as caught:
            await opened(around).write(TOKEN, OWNERSHIP, None)
        assert "GatewayKey" not in str(caught.value)

    async def test_a_row_is_read_below_its_servers_path_where_its_names_lead(
        self, around: Surroundings
    ) -> None:
        server = f"{around.cluster.url}/k8s/clusters/c-1/"
        spec = a_kubernetes_spec(around, server=server, namespace="{service}", secret="{gateway}")
        assert await open_destination(spec, GatewayRef("Contoso", "EDGE.01"), around.azure).read() is None
        (call,) = around.emulator.azure.called("kubernetes")
        assert call.path == "/k8s/clusters/c-1/api/v1/namespaces/contoso/secrets/edge.01"

    def test_a_gateway_whose_name_kubernetes_refuses_is_told_by_it_and_asks_nothing(
        self, around: Surroundings
    ) -> None:
        with pytest.raises(
            DestinationBlocked, match=r"/edge_01-token: secret: must be a name of small letters"
        ):
            open_destination(a_kubernetes_spec(around), GatewayRef("contoso", "edge_01"), around.azure)
        assert around.emulator.azure.calls == []

    @pytest.mark.parametrize(
        "server", ["https://[fd00::1]:6443", "https://rancher.example/k8s/clusters/c-1", "https://10.0.0.1"]
    )
    def test_servers_may_have_a_path_or_an_ipv6_address(self, around: Surroundings, server: str) -> None:
        assert a_kubernetes_spec(around, server=server).depends_on(REF) == server


class TestSignIn:
    @pytest.fixture
    def account(self, around: Surroundings) -> dict[str, str]:
        """A service account's token in a vault, as `signIn` names it."""
        self.keep(around, around.cluster.service_account_token(around.emulator.azure))
        return {"vault": around.emulator.vault_url("contoso"), "secret": "edge-account"}

    @staticmethod
    def keep(around: Surroundings, token: str) -> None:
        around.emulator.azure.vault("contoso").set("edge-account", token, NOW)

    @staticmethod
    def reads(around: Surroundings) -> int:
        """How often the vault gave the token."""
        return len([call for call in around.emulator.azure.called("vault", "GET") if call.status == 200])

    async def test_rows_of_one_cluster_share_one_sign_in(self, around: Surroundings) -> None:
        await opened(around).read()
        await opened(around, secret="another").read()
        assert len(around.emulator.azure.called("identity")) == 1

    async def test_a_cluster_that_does_not_know_entra_takes_a_service_accounts_token(
        self, around: Surroundings, account: dict[str, str]
    ) -> None:
        around.cluster.knows_entra = False
        with pytest.raises(DestinationBlocked, match="does not accept the app's sign-in"):
            await opened(around).read()
        await opened(around, sign_in=account).write(TOKEN, OWNERSHIP, None)
        assert around.emulator.azure.called("kubernetes")[-1].status == 201

    async def test_a_service_accounts_token_is_read_again_after_an_hour_and_when_refused(
        self, around: Surroundings, account: dict[str, str]
    ) -> None:
        azure, destination = around.emulator.azure, opened(around, sign_in=account)
        for seconds, reads in ((0.0, 1), (3599.0, 1), (1.0, 2)):
            await around.time.sleep(seconds)
            await destination.read()
            assert self.reads(around) == reads
        azure.bearers.pop(azure.vault("contoso").secrets["edge-account"].latest.value)
        self.keep(around, around.cluster.service_account_token(azure))
        assert await destination.read() is None
        assert self.reads(around) == 3

    async def test_a_service_accounts_token_that_cannot_be_one_is_refused(
        self, around: Surroundings, account: dict[str, str]
    ) -> None:
        said = "edge-account: the secret does not hold a service account token"
        for stored in ("", "two\nlines", "späte"):
            self.keep(around, stored)
            with pytest.raises(DestinationBlocked, match=said):
                await opened(around, sign_in=account).read()

    @pytest.mark.parametrize(("days", "lines"), [(6.9, 1), (7.1, 0), (-1, 1), (None, 0)])
    async def test_a_service_accounts_token_that_ends_within_seven_days_is_told(
        self,
        around: Surroundings,
        account: dict[str, str],
        caplog: pytest.LogCaptureFixture,
        days: float | None,
        lines: int,
    ) -> None:
        claims = {} if days is None else {"exp": int((datetime.now(UTC) + timedelta(days=days)).timestamp())}
        token = jwt.encode({"sub": "system:serviceaccount:a:b", **claims}, "k" * 32, algorithm="HS256")
        self.keep(around, token)
        with suppress(DestinationBlocked):  # the cluster does not know this token
            await opened(around, sign_in=account).read()
        written = [json.loads(one.getMessage()) for one in caplog.records if one.name == "gateway_tokens"]
        told = [line for line in written if line["event"] == "sign_in.expiring"]
        assert len(told) == lines
        assert token not in caplog.text
        for line in told:
            assert line["secret"].endswith("/secrets/edge-account")
            assert line["hoursLeft"] == pytest.approx((days or 0) * 24, abs=0.2)

    async def test_a_service_accounts_token_in_a_closed_vault_names_the_vaults_permission(
        self, around: Surroundings, account: dict[str, str]
    ) -> None:
        around.emulator.azure.granted = {"get secrets"}
        with pytest.raises(AzureForbidden) as caught:
            await opened(around, sign_in=account).read()
        assert caught.value.action == "Microsoft.KeyVault/vaults/secrets/getSecret/action"
        assert caught.value.scope.endswith("/secrets/edge-account")


class TestAks:
    async def test_azure_gives_address_and_certificate_once_for_all_rows(self, around: Surroundings) -> None:
        await opened(around, cluster=CLUSTER).write(TOKEN, OWNERSHIP, None)
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

    async def test_rows_that_fail_together_ask_azure_once_whether_their_cluster_moved(
        self, around: Surroundings
    ) -> None:
        around.cluster.url = "https://127.0.0.1:9"
        around.emulator.azure.faults.add(Fault(host="arm", skip=1, times=None, kind="delay", seconds=0.3))
        rows = [opened(around, cluster=CLUSTER, secret=f"row-{number}") for number in range(4)]
        failures = await asyncio.gather(*(row.read() for row in rows), return_exceptions=True)
        assert {type(failure) for failure in failures} == {AzureUnavailable}
        assert len(around.emulator.azure.called("arm", "POST")) == 2

    async def test_a_certificate_in_the_settings_goes_before_azures(self, around: Surroundings) -> None:
        with pytest.raises(AzureUnavailable):
            await opened(around, cluster=CLUSTER, certificate_authority=another_authority()).read()

    async def test_a_certificate_that_is_none_blocks(self, around: Surroundings) -> None:
        for text in ("nonsense", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"):
            with pytest.raises(DestinationBlocked, match="certificateAuthority"):
                await opened(around, cluster=CLUSTER, certificate_authority=text).read()

    async def test_a_kubeconfig_that_cannot_be_read_says_so(self, around: Surroundings) -> None:
        plain = b64encode(b"clusters: [{cluster: {server: http://edge.example}}]").decode()
        for value in ("", "eA==", "Y2x1c3RlcnM6IFtd", "not base64", "Ojo6", plain):
            body = f'{{"kubeconfigs": [{{"value": "{value}"}}]}}'
            around.emulator.azure.faults.add(Fault(host="arm", status=200, body=body, headers=JSON))
            with pytest.raises(AzureError, match="no usable kubeconfig"):
                await opened(around, cluster=CLUSTER).read()


def another_authority() -> str:
    """A certificate that signed nothing here."""
    return Path(throw_away_tls.__wrapped__().ca_file).read_text()
