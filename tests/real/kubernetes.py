"""A Kubernetes cluster for the scripts: the one that KUBECONFIG names, or one of kind's own."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.real.parts import require

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "gateway-tokens-test"


def kubectl(*arguments: str, given: str = "") -> str:
    """What kubectl prints. Raises CalledProcessError."""
    command = ["kubectl", "--namespace", NAMESPACE, *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=True).stdout


@contextmanager
def a_cluster() -> Iterator[None]:
    """The one that KUBECONFIG names, or one of kind's own."""
    with ExitStack() as stack:
        if "KUBECONFIG" in os.environ:
            require("kubectl")
        else:
            require("docker", "kind", "kubectl")
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            os.environ["KUBECONFIG"] = f"{folder}/config"
            _kind("create", "--wait", "120s")
            stack.callback(_kind, "delete")
        kubectl("create", "namespace", NAMESPACE)
        stack.callback(kubectl, "delete", "namespace", NAMESPACE, "--wait=false")
        yield


def _kind(does: str, *options: str) -> None:
    subprocess.run(["kind", does, "cluster", "--name", "gateway-tokens", *options], check=True)
