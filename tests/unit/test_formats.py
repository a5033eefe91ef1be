"""The ready-made forms of a token, as Docker, Kubernetes and the official Helm chart take them."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from gateway_tokens.formats import SecretName, default_secret_name, env_file, kubernetes_secret
from gateway_tokens.stored import Ownership
from gateway_tokens.tokens import KeyType, Secret
from tests.samples import NOW, SIGNATURE, token

OWNERSHIP = Ownership("contoso-apim/edge-01", KeyType.PRIMARY, NOW, token().expiry)

VALUE = f"GatewayKey edge-01&202603311155&{SIGNATURE}"
# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names
DNS_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"


def test_an_env_file_is_one_line_with_the_prefix_and_no_quotes() -> None:
    assert env_file(token()).reveal() == f"config.service.auth={VALUE}\n"


def test_a_manifest_suits_the_official_helm_chart_and_has_the_ownership_that_a_run_reads() -> None:
    manifest = kubernetes_secret(token(), OWNERSHIP, SecretName()).reveal()
    assert manifest.endswith("}\n")
    assert json.loads(manifest) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "edge-01-token",
            "labels": {"app.kubernetes.io/managed-by": "gateway-tokens"},
            "annotations": OWNERSHIP.of(Secret(VALUE)).annotations(),
        },
        "type": "Opaque",
        "stringData": {"gateway-key": VALUE},
    }


def test_a_manifest_takes_the_names_asked_for() -> None:
    manifest = json.loads(kubernetes_secret(token(), OWNERSHIP, SecretName("mine", "value", "apim")).reveal())
    assert (manifest["metadata"]["name"], manifest["metadata"]["namespace"]) == ("mine", "apim")
    assert manifest["stringData"] == {"value": VALUE}


def test_a_default_secret_name_is_the_gateways_in_kubernetes_letters() -> None:
    assert default_secret_name("Edge_01.EU~x") == "edge-01-eu-x-token"
    assert default_secret_name("-éclair-") == "clair-token"
    assert default_secret_name("___") == "gateway-token"
    assert default_secret_name("a" * 80) == "a" * 80 + "-token"


@given(st.text(max_size=80))
def test_a_default_secret_name_is_always_one_that_kubernetes_takes(gateway: str) -> None:
    name = default_secret_name(gateway)
    assert re.fullmatch(DNS_SUBDOMAIN, name)
    assert len(name) <= 253
