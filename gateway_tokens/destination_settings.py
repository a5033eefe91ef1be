"""What the settings document says of each kind of destination.

A new kind is a class here and a word in `Destination`, its file in `destinations/`, and its line in the table there.
Templates may hold `{service}` and `{gateway}`. `place(...)` names where a row writes: two rows must not share one.
"""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from .documents import Duration, Part
from .ledger import token_in

if TYPE_CHECKING:
    from .model import GatewayRef, GatewayToken, Secret

# For whole ids: bounding each `\w` instead would take the pattern's compiler a tenth of a second at every cold start.
_LONGEST_ID = 300
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def _known_placeholders(template: str) -> str:
    unknown = [name for name in _PLACEHOLDER.findall(template) if name not in {"service", "gateway"}]
    if unknown or re.search(r"[{}]", _PLACEHOLDER.sub("", template)):
        raise ValueError("may hold the placeholders {service} and {gateway} only")
    return template


def filled_in(template: str, ref: GatewayRef) -> str:
    """The template with the row's service and gateway in place."""
    return template.replace("{service}", ref.service).replace("{gateway}", ref.gateway)


def _any_case(text: str) -> str:
    """A pattern of the text in any case. Editors' validators know no flag for it, as ECMA-262 has none in a pattern."""
    return "".join(f"[{c.lower()}{c.upper()}]" if c.isalpha() else c.replace(".", r"\.") for c in text)


_CLUSTER_ID = (
    f"^{_any_case('/subscriptions/')}[0-9a-fA-F-]{{36}}{_any_case('/resourceGroups/')}[\\w().-]+"
    f"{_any_case('/providers/Microsoft.ContainerService/managedClusters/')}[\\w-]+$"
)
# Behind each pattern, not before it: pydantic leaves a pattern that follows a function out of the JSON Schema.
_TEMPLATE = AfterValidator(_known_placeholders)
HttpsAddress = Annotated[
    str, StringConstraints(pattern=r"^https://[a-zA-Z0-9.-]+(:[0-9]{1,5})?/?$", max_length=255)
]
KubernetesNamespace = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]


class Form(StrEnum):
    """What is stored: `header` is `GatewayKey <token>`, as every gateway setting wants it; `token` is bare."""

    HEADER = "header"
    TOKEN = "token"

    def of(self, token: GatewayToken) -> Secret:
        """What is stored for the token."""
        return token.header_value() if self is Form.HEADER else token.value

    def token_in(self, stored: str | None) -> GatewayToken | None:
        """The token in a stored value; None when there is none, or in a form that its reader would not take."""
        token = token_in(stored)
        return token if token and self.of(token).reveal() == stored else None


class _Destination(Part):
    adopt: bool = Field(default=False, description="Take over a value that this app did not write.")


class KeyVaultSecret(_Destination):
    """A Key Vault secret: the hub for CSI driver, External Secrets, Container Apps and App Service references."""

    kind: Literal["keyVault"]
    vault: HttpsAddress = Field(description="The vault's address, such as https://contoso.vault.azure.net.")
    secret: Annotated[str, StringConstraints(pattern=r"^[0-9a-zA-Z{}-]{1,127}$"), _TEMPLATE] = Field(
        default="{gateway}-token", description="The secret's name; may hold {service} and {gateway}."
    )
    form: Form = Form.HEADER

    def place(self, ref: GatewayRef) -> str:
        """The secret's address."""
        return f"{self.vault.rstrip('/').lower()}/secrets/{filled_in(self.secret, ref).lower()}"


class Layout(StrEnum):
    """Which way of installing the gateway a Kubernetes Secret suits: its key, and its value's form."""

    HELM = "helm"  # key `gateway-key`: the official chart with secret.existingSecretName
    PORTAL = "portal"  # key `value`: the YAML of the portal's Deployment blade
    ENV_FROM = "envFrom"  # key `config.service.auth.key`: the documentation of 2026, loaded with envFrom

    @property
    def key(self) -> str:
        """The Secret's key that holds the token."""
        return {Layout.HELM: "gateway-key", Layout.PORTAL: "value"}.get(self, "config.service.auth.key")


class Workload(Part):
    """The Deployment or StatefulSet that reads the Secret, restarted after each change."""

    kind: Literal["Deployment", "StatefulSet"] = "Deployment"
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9{}.-]{1,253}$"), _TEMPLATE] = Field(
        description="Its name; may hold {service} and {gateway}."
    )
    timeout: Duration = Field(default=timedelta(minutes=3), description="How long to wait for the rollout.")


class ServiceAccountToken(Part):
    """A Kubernetes service account's token, kept in Key Vault, for clusters that do not know Entra."""

    vault: HttpsAddress
    secret: Annotated[str, StringConstraints(pattern=r"^[0-9a-zA-Z-]{1,127}$")]


class KubernetesSecret(_Destination):
    """A Secret in a cluster whose API the app can reach, and the workload to restart."""

    kind: Literal["kubernetes"]
    server: HttpsAddress | None = Field(
        default=None, description="The API server. Left out: asked of `cluster`."
    )
    cluster: (
        Annotated[
            str,
            StringConstraints(pattern=_CLUSTER_ID, max_length=_LONGEST_ID),
        ]
        | None
    ) = Field(default=None, description="An AKS cluster's resource id: Azure gives its address and CA.")
    certificate_authority: str | None = Field(default=None, description="The API server's CA, in PEM.")
    sign_in: ServiceAccountToken | None = Field(
        default=None, description="Left out: the app's managed identity signs in, as AKS with Entra expects."
    )
    namespace: KubernetesNamespace = "default"
    secret: Annotated[str, StringConstraints(pattern=r"^[a-z0-9{}.-]{1,253}$"), _TEMPLATE] = "{gateway}-token"
    layout: Layout = Layout.HELM
    restart: Workload | None = None

    @model_validator(mode="after")
    def _reachable(self) -> KubernetesSecret:
        if (self.server is None) == (self.cluster is None):
            raise ValueError("needs either `server` or `cluster`")
        if self.cluster and self.sign_in:
            raise ValueError("has `cluster` and `signIn`: a cluster that does not use Entra needs `server`")
        return self

    def place(self, ref: GatewayRef) -> str:
        """Cluster, namespace and Secret."""
        where = (self.server or self.cluster or "").rstrip("/").lower()
        return f"{where}/namespaces/{self.namespace}/secrets/{filled_in(self.secret, ref).lower()}"


# Kinds of the first version, and the section of docs/recipes.md that says what to use instead.
_RECIPES_INSTEAD = {"containerApp": "Container Apps with a Key Vault reference", "file": "Docker"}


def _still_supported(destination: object) -> object:
    kind = destination.get("kind") if isinstance(destination, dict) else None
    recipe = _RECIPES_INSTEAD.get(kind) if isinstance(kind, str) else None
    if recipe:
        raise ValueError(f"the kind {kind} is not supported any more: see '{recipe}' in docs/recipes.md")
    return destination


Destination = Annotated[
    KeyVaultSecret | KubernetesSecret, Field(discriminator="kind"), BeforeValidator(_still_supported)
]
KINDS = ("keyVault", "kubernetes")
