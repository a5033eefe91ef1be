"""Every manifest of the documentation before a real API server: `python -m tests.real.manifests`.

A server-side dry run: nothing is made. Those of kinds that the cluster does not know are named.

Needs the commands `docker`, `kind` and `kubectl`; with KUBECONFIG set, `kubectl` and that cluster.
"""

import re
import subprocess
import sys

from tests.real.kubernetes import ROOT, a_cluster, kubectl


def check() -> int:
    """Print what the server says of each manifest; return how many it refused."""
    refused = 0
    for page in (*sorted((ROOT / "docs").glob("*.md")), ROOT / "infra" / "kubernetes-rbac.yaml"):
        text = page.read_text("utf-8")
        if page.suffix == ".md":
            text = "\n---\n".join(re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
        for manifest in text.split("\n---\n"):
            if kind := re.search(r"^kind: (\w+)", manifest, re.MULTILINE):
                verdict = _said_of(manifest)
                refused += verdict.startswith("REFUSED")
                print(f"{verdict}  {page.name}: {kind[1]}")
    return refused


def _said_of(manifest: str) -> str:
    # Each goes into the namespace of this run, whichever it names.
    here = re.sub(r"^  namespace: .*\n", "", manifest, flags=re.MULTILINE)
    try:
        kubectl("apply", "--dry-run=server", "--validate=strict", "--filename", "-", given=here)
    except subprocess.CalledProcessError as error:
        if "no matches for kind" in error.stderr:
            return "NOT TRIED, the cluster does not know this kind"
        return f"REFUSED {error.stderr.strip()}"
    return "ok"


if __name__ == "__main__":
    with a_cluster():
        sys.exit(min(check(), 1))
