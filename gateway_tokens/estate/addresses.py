"""Names and addresses in the settings: what each kind may hold, their placeholders, and clusters that have a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from gateway_tokens.parsing import StrictModel
from gateway_tokens.tokens import GatewayRef

# Editors compile patterns as ECMA-262, pydantic as Rust does: no look-around, no flags, and no `\w`, which differs.
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


@dataclass(frozen=True, slots=True)
class _Template:
    """A text with placeholders that fits a pattern. A fault says what fits, in words and not as a pattern."""

    what: str
    pattern: str
    longest: int

    def __get_pydantic_core_schema__(self, *_: object) -> Any:  # noqa: ANN401 - as in schema.py
        text = {"type": "str", "pattern": f"^{self.pattern}$", "max_length": self.longest, "strict": True}
        rule = f"{self.what}, {self.longest} characters at most; it may hold {{service}} and {{gateway}}"
        error = {"custom_error_type": "rule", "custom_error_message": f"must be {rule}"}
        return {"type": "custom-error", "schema": text, **error}


_AKS = resource_id("Microsoft.ContainerService/managedClusters", _IN_ID, _IN_ID)
_VAULT = _Template(
    "the address of a vault, such as https://contoso.vault.azure.net", f"https://{_HOST}{_PORT}/?", 255
)
_SERVER = _Template(
    "the https:// address of an API server, such as https://edge.contoso.example:6443",
    rf"https://({_HOST}|\[[0-9a-fA-F:.]+\]){_PORT}(/([a-zA-Z0-9._~-]|{_ANY})+)*/?",
    255,
)
_CLUSTER = _Template(
    "the resource id of an AKS cluster, or a name in `clusters`", f"({_AKS}|([a-z0-9._~-]|{_ANY})+)", 300
)
# DNS-1123: https://kubernetes.io/docs/concepts/overview/working-with-objects/names
_OF_KUBERNETES = "a name of small letters, digits and inner hyphens"
VaultAddress = Annotated[str, _VAULT]
VaultSecretName = Annotated[
    str,
    _Template(
        "a name of letters, digits and hyphens, such as {gateway}-token", f"([0-9a-zA-Z-]|{_ANY})+", 127
    ),
]
ServerAddress = Annotated[str, _SERVER]
ClusterReference = Annotated[str, _CLUSTER]
KubernetesLabel = Annotated[str, _Template(f"{_OF_KUBERNETES}, such as edge", _LABEL, 63)]
KubernetesName = Annotated[
    str,
    _Template(
        f"{_OF_KUBERNETES}, and of dots between these, such as {{gateway}}-token",
        rf"{_LABEL}(\.{_LABEL})*",
        253,
    ),
]


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
