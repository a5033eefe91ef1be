"""The part of Microsoft.ContainerService that tells where an AKS cluster's API is, as a route of ARM."""

from base64 import b64encode
from pathlib import Path

from aiohttp import web

from emulator.arm import GROUP, check_group, resource_not_found
from emulator.azure import Azure
from emulator.endpoint import Route
from emulator.kubernetes import Cluster
from emulator.tls import throw_away_tls

PROVIDER = "Microsoft.ContainerService/managedClusters"
KUBECONFIG = """\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {authority}
    server: {server}
  name: {name}
contexts:
- context:
    cluster: {name}
    user: clusterUser_{group}_{name}
  name: {name}
current-context: {name}
kind: Config
preferences: {{}}
users:
- name: clusterUser_{group}_{name}
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1beta1
      command: kubelogin
"""


class ManagedClusters:
    """AKS clusters by name, whatever their subscription and group."""

    def __init__(self, clusters: dict[str, Cluster]) -> None:
        self.clusters = clusters

    def routes(self) -> list[Route]:
        """Return the one operation, at ids as they are and in lower case: Azure takes both."""
        path = f"{GROUP}/providers/{PROVIDER}/{{name}}/listClusterUserCredential"
        action = f"{PROVIDER}/listClusterUserCredential/action"
        paths = (path, f"{path.rpartition('/')[0].lower()}/listClusterUserCredential")
        return [Route("POST", each, self._credential, action, ("2024-09-01",)) for each in paths]

    async def _credential(self, azure: Azure, request: web.Request) -> web.Response:
        _, group = check_group(azure, request)
        name = request.match_info["name"]
        if name not in self.clusters:
            raise resource_not_found(PROVIDER, name, group)
        text = KUBECONFIG.format(
            name=name,
            group=group,
            server=self.clusters[name].url,
            authority=b64encode(Path(throw_away_tls().ca_file).read_bytes()).decode(),  # noqa: ASYNC240 - a small file
        )
        value = b64encode(text.encode()).decode()
        return web.json_response({"kubeconfigs": [{"name": "clusterUser", "value": value}]})
