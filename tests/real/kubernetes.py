"""A Kubernetes cluster for the scripts: the one that KUBECONFIG names, or one of kind's own."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.real.parts import require

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "gateway-tokens-test"


def kubectl(*arguments: str, given: str = "") -> str:
    """What kubectl prints. Raises CalledProcessError."""
    done = subprocess.run(
        ["kubectl", "--namespace", NAMESPACE, *arguments],
        input=given,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@contextmanager
def a_cluster() -> Iterator[None]:
    """The one that KUBECONFIG names, or one of kind's own."""
    if "KUBECONFIG" in os.environ:
        require("kubectl")
        with _a_namespace():
            yield
        return
    require("docker", "kind", "kubectl")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KUBECONFIG"] = f"{folder}/config"
        subprocess.run(
            ["kind", "create", "cluster", "--name", "gateway-tokens", "--wait", "120s"], check=True
        )
        try:
            with _a_namespace():
                yield
        finally:
            subprocess.run(["kind", "delete", "cluster", "--name", "gateway-tokens"], check=True)


@contextmanager
def _a_namespace() -> Iterator[None]:
    kubectl("create", "namespace", NAMESPACE)
    try:
        yield
    finally:
        kubectl("delete", "namespace", NAMESPACE, "--wait=false")
