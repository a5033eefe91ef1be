"""The app against a real Kubernetes cluster: `python -m tests.real.cluster`.

Applies the shipped RBAC, delivers tokens to Secrets, and restarts a Deployment and a StatefulSet, each once.

Needs the commands `docker`, `kind` and `kubectl`; with KUBECONFIG set, `kubectl` and that cluster, in a namespace of its own. Azure is
the emulator. Takes two minutes.
"""

import asyncio
import base64
import json
import logging
import os
import subprocess
import sys
from typing import Any

from emulator import sample
from emulator.command import serving
from emulator.demonstration import renew_what_is_due
from emulator.server import Emulator, without_proxy_for_loopback
from tests.real.kubernetes import NAMESPACE, ROOT, a_cluster, kubectl

WORKLOADS = {"edge-01": "Deployment", "edge-02": "StatefulSet"}


def pods_of(gateway: str, kind: str) -> str:
    """A workload that reads the Secret, of a program that only waits. IMAGE names another image."""
    container = {
        "name": "gateway",
        "image": os.environ.get("IMAGE", "busybox:1.37"),
        "command": ["sleep", "infinity"],
        "envFrom": [{"secretRef": {"name": f"{gateway}-token", "optional": True}}],
    }
    labels = {"app": gateway}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec: dict[str, Any] = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    if kind == "StatefulSet":
        spec["serviceName"] = gateway
    return json.dumps({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": gateway}, "spec": spec})


def settings_of(emulator: Emulator) -> dict[str, str]:
    """The sample's settings with these gateways delivered to the cluster of kubectl's context."""
    kubeconfig = json.loads(kubectl("config", "view", "--raw", "--minify", "--output", "json"))
    cluster = kubeconfig["clusters"][0]["cluster"]
    destination = {
        "kind": "kubernetes",
        "server": cluster["server"],
        "certificateAuthority": base64.b64decode(cluster["certificate-authority-data"]).decode(),
        "namespace": NAMESPACE,
        "signIn": {"vault": emulator.vault_url("contoso"), "secret": "cluster-sign-in"},
    }
    rules = {
        gateway: {"destinations": [{**destination, "restart": {"kind": kind, "name": gateway}}]}
        for gateway, kind in WORKLOADS.items()
    }
    document = {"services": {"contoso": {"resourceId": sample.resource_id("contoso"), "gateways": rules}}}
    return {**sample.app_settings(emulator, function_keys=True), "GATEWAY_TOKENS": json.dumps(document)}


async def deliver() -> None:
    """Raise AssertionError at the first thing that is not as it should be."""
    async with Emulator(vaults=sample.VAULTS, endpoints=[sample.CLUSTER]) as emulator:
        sample.populate(emulator)
        token = value_of("gateway-tokens", "token")
        emulator.azure.vault("contoso").set("cluster-sign-in", token, emulator.azure.clock())
        async with serving(settings_of(emulator), 0) as (host, _):

            async def outcomes() -> set[str]:
                return {row["outcome"] for row in await renew_what_is_due(host, "", {})}

            kubectl("delete", "rolebinding", "gateway-tokens-service-account")
            expect("without the shipped RoleBinding", await outcomes(), {"failed"})
            apply_rbac()
            expect("with it", await outcomes(), {"restarting"})
            for gateway, kind in WORKLOADS.items():
                kubectl("rollout", "status", f"{kind}/{gateway}", "--timeout=90s")
                value = value_of(f"{gateway}-token", "gateway-key")
                expect("the Secret", value.partition("&")[0], f"GatewayKey {gateway}")
            before = templates()
            expect("restarted once", {template.split()[0] for template in before}, {"2"})
            for _ in range(2):
                expect("after the rollouts", await outcomes(), {"fresh"})
            expect("no further restart", templates(), before)


def value_of(secret: str, key: str) -> str:
    """What is under this key of the Secret."""
    value = kubectl("get", "secret", secret, "--output", f"jsonpath={{.data.{key}}}")
    return base64.b64decode(value).decode()


def templates() -> list[str]:
    """The pod templates' generations and annotations."""
    path = "jsonpath={.metadata.generation} {.spec.template.metadata.annotations}"
    return [kubectl("get", kind, gateway, "--output", path) for gateway, kind in WORKLOADS.items()]


def apply_rbac() -> None:
    """As infra/kubernetes-rbac.yaml says."""
    kubectl("apply", "--filename", str(ROOT / "infra" / "kubernetes-rbac.yaml"))


def expect(what: str, actual: object, wanted: object) -> None:
    assert actual == wanted, f"{what}: {actual}, not {wanted}"
    print(f"ok  {what}: {actual}")


def main() -> int:
    """Check, and leave nothing behind."""
    without_proxy_for_loopback()
    logging.getLogger("gateway_tokens").setLevel(logging.INFO)
    with a_cluster():
        try:
            apply_rbac()
            for gateway, kind in WORKLOADS.items():
                kubectl("apply", "--filename", "-", given=pods_of(gateway, kind))
            asyncio.run(deliver())
        except (AssertionError, subprocess.CalledProcessError) as error:
            print(f"FAILED  {error}\n{getattr(error, 'stderr', '')}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
