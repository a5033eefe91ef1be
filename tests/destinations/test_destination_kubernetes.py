"""A Kubernetes Secret: its keys, its ownership, and each way in which a cluster says no."""

import asyncio
import json
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest

from emulator.cluster_workloads import Manifest
from emulator.faults import Fault
from emulator.tls import throw_away_tls
from gateway_tokens import errors
from gateway_tokens.destinations import open_destination
from gateway_tokens.destinations.kubernetes import Layout
from gateway_tokens.formats import SecretName, kubernetes_secret
from gateway_tokens.stored import Destination
from gateway_tokens.tokens import GatewayRef, GatewayToken
from tests import samples
from tests.destinations.destination_places import (
    NEWER,
    NOW,
    OWNERSHIP,
    REF,
    SUBSCRIPTION,
    TOKEN,
    Surroundings,
    a_kubernetes_spec,
    stored_in,
)
from tests.stand_ins.aks import PROVIDER

NAME = "edge-01-token"
CLUSTER = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/edge/providers/{PROVIDER}/edge"
JSON = {"Content-Type": "application/json"}


class Cluster:
    """The cluster as the emulator has it, and the destination in it."""

    def __init__(self, around: Surroundings) -> None:
        self.around, self.azure, self.edge = around, around.emulator.azure, around.cluster
        self.objects, self.destination = around.cluster.objects, self.opened()

    def opened(self, **more: object) -> Destination:
        return open_destination(a_kubernetes_spec(self.around, **more), REF, self.around.azure)

    async def write(self, token: GatewayToken = TOKEN) -> None:
        await self.destination.write(token, OWNERSHIP, await self.destination.read())

    def put(self, data: Mapping[str, str], **more: object) -> None:
        self.objects.add_secret("default", NAME, dict(data), **more)

    def change(self, data: Mapping[str, str], manager: str = "kubectl") -> None:
        """Change the Secret's data, given in base64, as somebody else would."""
        self.objects.put("secrets", "default", NAME, self.secret | {"data": data}, manager)

    def value(self, key: str = "gateway-key") -> str | None:
        return self.objects.secret_value("default", NAME, key)

    @property
    def secret(self) -> Manifest:
        return self.objects.stored("secrets", "default", NAME)

    def store(self, token: str) -> dict[str, str]:
        """Keep a service account's token in a vault; the `signIn` that names it."""
        self.azure.vault("contoso").set("edge-account", token, NOW)
        return {"vault": self.around.emulator.vault_url("contoso"), "secret": "edge-account"}


@pytest.fixture
def cluster(around: Surroundings) -> Cluster:
    return Cluster(around)


# What is in the Secret


@pytest.mark.parametrize(
    ("layout", "key"),
    [(Layout.HELM, "gateway-key"), (Layout.PORTAL, "value"), (Layout.ENV_FROM, "config.service.auth.key")],
)
async def test_each_layout_has_its_key_and_all_have_the_ownership_as_annotations_and_the_owner_as_a_label(
    cluster: Cluster, layout: Layout, key: str
) -> None:
    await cluster.opened(layout=layout).write(TOKEN, OWNERSHIP, None)
    assert cluster.value(key) == TOKEN.header_value().reveal()
    tags, metadata = OWNERSHIP.of(TOKEN.header_value()).tags(), cluster.secret["metadata"]
    assert cluster.secret["type"] == "Opaque"
    assert metadata["labels"] == {"app.kubernetes.io/managed-by": "gateway-tokens"}
    assert metadata["annotations"] == {f"gateway-tokens/{name}": text for name, text in tags.items()}


async def test_one_made_with_the_http_apis_manifest_is_taken_for_the_apps_own(cluster: Cluster) -> None:
    manifest = json.loads(kubernetes_secret(TOKEN, OWNERSHIP, SecretName()).reveal())
    assert manifest["metadata"]["name"] == NAME
    cluster.put(manifest["stringData"], metadata=manifest["metadata"])
    stored = await stored_in(cluster.destination)
    assert (stored.token, stored.owned) == (TOKEN, OWNERSHIP.of(TOKEN.header_value()))


async def test_one_without_the_key_holds_nothing_and_keeps_what_else_is_in_it(cluster: Cluster) -> None:
    metadata = {"labels": {"team": "edge"}, "annotations": {"reloader": "on"}}
    cluster.put({"other": "kept"}, metadata=metadata)
    stored = await stored_in(cluster.destination)
    assert (stored.value, stored.token, stored.ownership, stored.writer) == (None, None, None, "")
    cluster.put({"other": "changed"})
    with pytest.raises(errors.WriteConflict):
        await cluster.destination.write(TOKEN, OWNERSHIP, stored)
    await cluster.write()
    assert (cluster.value(), cluster.value("other")) == (TOKEN.header_value().reveal(), "changed")
    kept = cluster.secret["metadata"]
    assert (kept["labels"]["team"], kept["annotations"]["reloader"]) == ("edge", "on")


async def test_bytes_that_are_no_text_are_a_value_that_is_no_token(cluster: Cluster) -> None:
    cluster.put({})
    cluster.change({"gateway-key": "//79"})
    stored = await stored_in(cluster.destination)
    assert (stored.value is None, stored.token) == (False, None)


async def test_who_wrote_the_value_is_told_unless_it_was_this_app(cluster: Cluster) -> None:
    await cluster.write()
    writers = [(await stored_in(cluster.destination)).writer]
    for manager, token in (("argocd-controller", NEWER), ("helm", TOKEN), ("another", TOKEN)):
        text = token.header_value().reveal()
        cluster.change({"gateway-key": b64encode(text.encode()).decode()}, manager)
        writers.append((await stored_in(cluster.destination)).writer)
    assert writers == ["", "argocd-controller", "helm", "helm"]


async def test_another_value_moves_the_time_of_the_value_and_an_ownership_does_not(cluster: Cluster) -> None:
    now, times = NOW, []
    cluster.azure.clock = lambda: now
    await cluster.write()
    for token in (None, TOKEN, NEWER, "the same under two keys"):
        now += timedelta(hours=1)
        if isinstance(token, str):
            data = cluster.secret["data"]
            cluster.change({**data, "value": data["gateway-key"]})
        stored, ownership = await stored_in(cluster.destination), replace(OWNERSHIP, issued_at=now)
        if token is None:
            await cluster.destination.write_ownership(ownership, stored)
        else:
            await cluster.destination.write(TOKEN if token == TOKEN else NEWER, ownership, stored)
        entries = cluster.secret["metadata"]["managedFields"]
        times.append({entry["manager"]: entry["time"][11:13] for entry in entries})
    assert times == [
        {"gateway-tokens": "12", "gateway-tokens-label": "13"},
        {"gateway-tokens": "12", "gateway-tokens-label": "14"},
        {"gateway-tokens": "15"},
        {"gateway-tokens": "15", "gateway-tokens-label": "16", "kubectl": "16"},
    ]


async def test_other_keys_with_the_gateways_token_are_written_too_each_in_its_form(cluster: Cluster) -> None:
    before, new = samples.token(stamp="202603010000").value.reveal(), TOKEN.value.reveal()
    forms = {"value": "GatewayKey {}", "config.service.auth.key": '"{}"\n'}
    kept = {"another-gateway": "edge-02" + new.removeprefix("edge-01"), "text": "not a token"}
    cluster.put({key: form.format(before) for key, form in forms.items()} | kept)
    stored = await stored_in(cluster.destination)
    assert (stored.value, sorted(stored.also)) == (None, sorted(forms))
    await cluster.destination.write(TOKEN, OWNERSHIP, stored)
    renewed = {key: form.format(new) for key, form in forms.items()} | kept
    assert {key: cluster.value(key) for key in renewed} == renewed
    assert cluster.value() == f"GatewayKey {new}"


async def test_a_write_to_a_secret_with_one_token_is_one_request(cluster: Cluster) -> None:
    await cluster.destination.write(TOKEN, OWNERSHIP, None)
    await cluster.write(NEWER)
    assert [call.method for call in cluster.azure.called("kubernetes")] == ["POST", "GET", "PATCH"]


# How a cluster says no

WEBHOOK = 'admission webhook "policy.example" denied the request: GatewayKey secret'
REFUSALS = [
    (403, WEBHOOK, "'policy.example' denied the request"),
    (400, WEBHOOK, "'policy.example' denied the request"),
    (500, 'Internal error occurred: failed calling webhook "policy.example": timeout', "'policy.example' did not answer"),
    (422, "ValidatingAdmissionPolicy 'no-secrets' with binding 'b' denied request", "'no-secrets' denied the request"),
    (403, 'secrets "x" is forbidden: exceeded quota: small, requested: secrets=1', "quota 'small' is used up"),
    (403, "unable to create in namespace edge because it is being terminated", "namespace is being deleted"),
    (400, "near: GatewayKey edge&secret", "400 BadRequest"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "message", "text"), REFUSALS)
async def test_a_cause_of_its_own_is_told_by_its_name_and_nothing_is_quoted(
    cluster: Cluster, status: int, message: str, text: str
) -> None:
    answer = {"kind": "Status", "reason": "BadRequest", "message": message, "code": status}
    cluster.azure.faults.add(
        Fault("kubernetes", "POST", status=status, body=json.dumps(answer), headers=JSON, times=None)
    )
    with pytest.raises(errors.GatewayTokensError, match=text) as caught:
        await cluster.write()
    kind = errors.AzureError if "BadRequest" in text else errors.DestinationBlocked
    assert type(caught.value) is kind
    assert "GatewayKey" not in f"{caught.value} {caught.value!r} {caught.getrepr(style='short')}"


async def test_a_secret_of_another_kind_or_immutable_blocks(cluster: Cluster) -> None:
    for more, message in (
        ({"type": "kubernetes.io/tls"}, r"type kubernetes\.io/tls"),
        ({"immutable": True}, "immutable"),
    ):
        cluster.put({"gateway-key": "x"}, **more)
        with pytest.raises(errors.DestinationBlocked, match=message):
            await cluster.destination.read()


async def test_a_missing_namespace_is_not_made(cluster: Cluster) -> None:
    destination = cluster.opened(namespace="elsewhere")
    assert await destination.read() is None
    with pytest.raises(errors.AzureNotFound, match="namespaces/elsewhere"):
        await destination.write(TOKEN, OWNERSHIP, None)


async def test_an_answer_that_is_no_object_is_azures_error(cluster: Cluster) -> None:
    cluster.azure.faults.add(Fault(path="*/secrets/*", status=200, body="[]", headers=JSON))
    with pytest.raises(errors.AzureError, match="200"):
        await cluster.destination.read()


# Where a row leads


async def test_a_row_is_read_below_its_servers_path_where_its_names_lead(around: Surroundings) -> None:
    server = f"{around.cluster.url}/k8s/clusters/c-1/"
    spec = a_kubernetes_spec(around, server=server, namespace="{service}", secret="{gateway}")
    assert await open_destination(spec, GatewayRef("Contoso", "EDGE.01"), around.azure).read() is None
    (call,) = around.emulator.azure.called("kubernetes")
    assert call.path == "/k8s/clusters/c-1/api/v1/namespaces/contoso/secrets/edge.01"


def test_a_gateway_whose_name_kubernetes_refuses_is_told_by_it(around: Surroundings) -> None:
    message = r"/edge_01-token: secret: must be a name of small letters"
    with pytest.raises(errors.DestinationBlocked, match=message):
        open_destination(a_kubernetes_spec(around), GatewayRef("contoso", "edge_01"), around.azure)


def test_a_server_may_have_an_ipv6_address(around: Surroundings) -> None:
    server = "https://[fd00::1]:6443"
    assert a_kubernetes_spec(around, server=server).depends_on(REF) == server


# How the app signs in


async def test_a_cluster_without_entra_takes_a_service_accounts_token_for_an_hour(cluster: Cluster) -> None:
    cluster.edge.knows_entra = False
    with pytest.raises(errors.SignInRefused, match="does not accept the app's sign-in"):
        await cluster.destination.read()
    account = cluster.edge.service_account_token(cluster.azure)
    destination = cluster.opened(sign_in=cluster.store(account))

    async def reads(seconds: float) -> int:
        """How often the vault has given the token after a call so much later."""
        cluster.around.time.now += seconds
        assert await destination.read() is None
        return len([call for call in cluster.azure.called("vault", "GET") if call.status == 200])

    assert [await reads(seconds) for seconds in (0.0, 3599.0, 1.0)] == [1, 1, 2]
    del cluster.azure.bearers[account]  # refused from now on, so read again at once
    cluster.store(cluster.edge.service_account_token(cluster.azure))
    assert await reads(0) == 3


@pytest.mark.parametrize("stored", ["", "two\nlines", "späte"])
async def test_a_service_accounts_token_that_cannot_be_one_is_refused(cluster: Cluster, stored: str) -> None:
    message = "edge-account: the secret does not hold a service account token"
    with pytest.raises(errors.DestinationBlocked, match=message):
        await cluster.opened(sign_in=cluster.store(stored)).read()


@pytest.mark.parametrize(("days", "lines"), [(6.9, 1), (7.1, 0), (-1, 1), (None, 0)])
async def test_a_service_accounts_token_that_ends_within_seven_days_is_told(
    cluster: Cluster, caplog: pytest.LogCaptureFixture, days: float | None, lines: int
) -> None:
    claims = {} if days is None else {"exp": int((datetime.now(UTC) + timedelta(days=days)).timestamp())}
    token = jwt.encode({"sub": "system:serviceaccount:a:b", **claims}, "k" * 32, algorithm="HS256")
    with suppress(errors.SignInRefused):  # the cluster does not know this token
        await cluster.opened(sign_in=cluster.store(token)).read()
    written = [
        json.loads(record.getMessage()) for record in caplog.records if record.name == "gateway_tokens"
    ]
    expiring = [line for line in written if line["event"] == "sign_in.expiring"]
    assert len(expiring) == lines
    assert token not in caplog.text
    for line in expiring:
        assert line["secret"].endswith("/secrets/edge-account")
        assert line["hoursLeft"] == pytest.approx((days or 0) * 24, abs=0.2)


# A cluster of AKS


async def test_azure_gives_address_and_certificate_once_for_all_rows(cluster: Cluster) -> None:
    await cluster.opened(cluster=CLUSTER).write(TOKEN, OWNERSHIP, None)
    await cluster.opened(cluster=CLUSTER, secret="another").read()
    assert cluster.value() == TOKEN.header_value().reveal()
    assert len(cluster.azure.called("arm", "POST")) == 1


async def test_rows_that_fail_together_ask_azure_once_whether_their_cluster_moved(cluster: Cluster) -> None:
    here, cluster.edge.url = cluster.edge.url, "https://127.0.0.1:9"
    cluster.azure.faults.add(Fault(host="arm", skip=1, times=None, kind="delay", seconds=0.3))
    rows = [cluster.opened(cluster=CLUSTER, secret=f"row-{number}") for number in range(4)]
    failures = await asyncio.gather(*(row.read() for row in rows), return_exceptions=True)
    assert {type(failure) for failure in failures} == {errors.AzureUnavailable}
    assert len(cluster.azure.called("arm", "POST")) == 2
    cluster.edge.url = here
    assert await rows[0].read() is None


async def test_the_settings_certificate_goes_before_azures_and_must_be_one(cluster: Cluster) -> None:
    another = Path(throw_away_tls.__wrapped__().ca_file).read_text()  # noqa: ASYNC240 - a small file
    with pytest.raises(errors.AzureUnavailable):
        await cluster.opened(cluster=CLUSTER, certificate_authority=another).read()
    for text in ("nonsense", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"):
        with pytest.raises(errors.DestinationBlocked, match="certificateAuthority"):
            await cluster.opened(cluster=CLUSTER, certificate_authority=text).read()


async def test_a_kubeconfig_that_cannot_be_read_says_so(cluster: Cluster) -> None:
    plain = b64encode(b"clusters: [{cluster: {server: http://edge.example}}]").decode()
    for value in ("", "eA==", "Y2x1c3RlcnM6IFtd", "not base64", "Ojo6", plain):
        body = f'{{"kubeconfigs": [{{"value": "{value}"}}]}}'
        cluster.azure.faults.add(Fault(host="arm", status=200, body=body, headers=JSON))
        with pytest.raises(errors.AzureError, match="no usable kubeconfig"):
            await cluster.opened(cluster=CLUSTER).read()
