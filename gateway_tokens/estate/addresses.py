"""Names and addresses in the settings: what each kind may hold, their placeholders, and clusters that have a name."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gateway_tokens.parsing import Form, StrictModel
from gateway_tokens.tokens import GatewayRef

_ANY = r"\{(service|gateway)\}"
_HOST, _PORT = f"([a-zA-Z0-9.-]|{_ANY})+", "(:[0-9]{1,5})?"
_LABEL = f"([a-z0-9]|{_ANY})(([a-z0-9-]|{_ANY})*([a-z0-9]|{_ANY}))?"
_IN_ID = rf"([^/{{}}\s]|{_ANY})+"


def resource_id(kind: str, group: str, name: str) -> str:
    """A pattern of the ids, in any case, of resources of that type, such as `Microsoft.KeyVault/vaults`."""
    subscription = f"{_any_case('/subscriptions/')}[0-9a-fA-F-]{{36}}"
    return f"{subscription}{_any_case('/resourceGroups/')}{group}{_any_case(f'/providers/{kind}/')}{name}"


def _any_case(text: str) -> str:
    return "".join(f"[{c.lower()}{c.upper()}]" if c.isalpha() else c.replace(".", r"\.") for c in text)


def filled_in(template: str, ref: GatewayRef) -> str:
    """The template with the row's service and gateway in place."""
    return template.replace("{service}", ref.service).replace("{gateway}", ref.gateway)


def _form(words: str, pattern: str, longest: int) -> Form:
    rule = f"{words}, {longest} characters at most; it may hold {{service}} and {{gateway}}"
    return Form(rule, f"^{pattern}$", longest)


_AKS = resource_id("Microsoft.ContainerService/managedClusters", _IN_ID, _IN_ID)
_VAULT_ADDRESS = "the address of a vault, such as https://contoso.vault.azure.net"
_VAULT_SECRET = "a name of letters, digits and hyphens, such as {gateway}-token"  # noqa: S105 - a rule for names
_SERVER = rf"https://({_HOST}|\[[0-9a-fA-F:.]+\]){_PORT}(/([a-zA-Z0-9._~-]|{_ANY})+)*/?"
_SERVER_ADDRESS = "the https:// address of an API server, such as https://edge.contoso.example:6443"
_CLUSTER = "the resource id of an AKS cluster, or a name in `clusters`"
# DNS-1123: https://kubernetes.io/docs/concepts/overview/working-with-objects/names
_OF_KUBERNETES = "a name of small letters, digits and inner hyphens"
_WITH_DOTS = f"{_OF_KUBERNETES}, and of dots between these, such as {{gateway}}-token"
VaultAddress = Annotated[str, _form(_VAULT_ADDRESS, f"https://{_HOST}{_PORT}/?", 255)]
VaultSecretName = Annotated[str, _form(_VAULT_SECRET, f"([0-9a-zA-Z-]|{_ANY})+", 127)]
ServerAddress = Annotated[str, _form(_SERVER_ADDRESS, _SERVER, 255)]
ClusterReference = Annotated[str, _form(_CLUSTER, f"({_AKS}|([a-z0-9._~-]|{_ANY})+)", 300)]
KubernetesLabel = Annotated[str, _form(f"{_OF_KUBERNETES}, such as edge", _LABEL, 63)]
KubernetesName = Annotated[str, _form(_WITH_DOTS, rf"{_LABEL}(\.{_LABEL})*", 253)]


class ServiceAccountToken(StrictModel):
    """A Kubernetes service account's token, kept in Key Vault, for clusters that do not know Entra."""

    vault: VaultAddress
    secret: VaultSecretName


class Cluster(StrictModel):
    """A cluster that destinations name by its key in `clusters`."""

    server: ServerAddress
    certificate_authority: str | None = Field(default=None, description="The API server's CA, in PEM.")
    sign_in: ServiceAccountToken | None = Field(
        default=None, description="Left out: the app's managed identity signs in, as AKS with Entra expects."
    )
