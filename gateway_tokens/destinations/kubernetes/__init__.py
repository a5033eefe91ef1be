"""What the settings say of a token in a Kubernetes Secret: the cluster, the Secret, and the workloads that read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, WrapValidator, model_validator

from gateway_tokens.errors import Fault
from gateway_tokens.estate.destination import (
    Cluster,
    ClusterReference,
    DestinationSettings,
    KubernetesLabel,
    KubernetesName,
    ServerAddress,
    ServiceAccountToken,
    filled_in,
)
from gateway_tokens.parsing import Duration, StrictModel
from gateway_tokens.tokens import GatewayRef


class Layout(StrEnum):
    """Which way of installing the gateway a Kubernetes Secret suits: its key, and its value's form."""

    HELM = "helm"  # key `gateway-key`: the official chart with secret.existingSecretName
    PORTAL = "portal"  # key `value`: the YAML of the portal's Deployment blade
    ENV_FROM = "envFrom"  # key `config.service.auth.key`: the documentation of 2026, loaded with envFrom

    @property
    def key(self) -> str:
        """The Secret's key that holds the token."""
        return {Layout.HELM: "gateway-key", Layout.PORTAL: "value"}.get(self, "config.service.auth.key")


class Workload(StrictModel):
    """A workload that reads the Secret, restarted after each change."""

    kind: Literal["Deployment", "StatefulSet", "DaemonSet", "Rollout"] = "Deployment"
    name: KubernetesName = Field(description="Its name; may hold {service} and {gateway}.")
    timeout: Duration = Field(
        default=timedelta(minutes=3), description="How long a restart may take before it counts as failed."
    )

    @model_validator(mode="after")
    def _name_fits(self) -> Workload:
        # Its name is its pods' host name. https://kubernetes.io/docs/concepts/workloads/controllers/statefulset
        if self.kind == "StatefulSet" and ("." in self.name or len(self.name) > 63):  # noqa: PLR2004 - as below
            raise ValueError("the name of a StatefulSet must have no dot and at most 63 characters")
        return self

    def named(self, namespace: str, ref: GatewayRef) -> str:
        """Kind, namespace and name, as messages name it."""
        return f"{self.kind} {filled_in(f'{namespace}/{self.name}', ref).lower()}"


_Several = Annotated[tuple[Workload, ...], Field(min_length=1)]


def _one_or_several(value: object, _: Callable[[object], object]) -> object:
    """By its shape, so that a fault is reported for the form that was written: a union would report it for both."""
    if isinstance(value, list | tuple):
        return TypeAdapter(_Several).validate_python(tuple(value))
    return Workload.model_validate(value)


class KubernetesSecret(DestinationSettings):
    """A Secret in a cluster whose API the app can reach, and the workloads to restart."""

    role = "Gateway token cluster reader"
    kind: Literal["kubernetes"]
    server: ServerAddress | None = Field(
        default=None, description="The API server. Left out: asked of `cluster`."
    )
    cluster: ClusterReference | None = Field(
        default=None,
        description="An AKS cluster's resource id: Azure gives its address and CA. Or a name in `clusters`.",
    )
    certificate_authority: str | None = Field(default=None, description="The API server's CA, in PEM.")
    sign_in: ServiceAccountToken | None = Field(
        default=None, description="Left out: the app's managed identity signs in, as AKS with Entra expects."
    )
    namespace: KubernetesLabel = "default"
    secret: KubernetesName = "{gateway}-token"
    layout: Layout = Layout.HELM
    restart: Annotated[Workload | _Several, WrapValidator(_one_or_several)] | None = Field(
        default=None, description="What reads the Secret: one workload, or several."
    )

    @model_validator(mode="after")
    def _reachable(self) -> KubernetesSecret:
        if (self.server is None) == (self.cluster is None):
            raise ValueError("needs either `server` or `cluster`")
        if self.cluster and self.sign_in:
            raise ValueError("has `cluster` and `signIn`: a cluster that does not use Entra needs `server`")
        return self

    def at(self, ref: GatewayRef) -> tuple[Self | None, list[Fault]]:
        """As for every kind. Kubernetes takes small letters only."""
        return super().at(GatewayRef(ref.service.lower(), ref.gateway.lower()))

    def on(self, clusters: Mapping[str, Cluster], ref: GatewayRef) -> Self:
        """With the address, authority and sign-in of the cluster that is named."""
        if self.cluster is None or self.cluster.startswith("/"):
            return self
        named = clusters[filled_in(self.cluster, ref).lower()]
        authority = self.certificate_authority or named.certificate_authority
        return self.model_copy(update={**dict(named), "cluster": None, "certificate_authority": authority})

    def depends_on(self, ref: GatewayRef) -> str:
        """The cluster."""
        return filled_in(self.server or self.cluster or "", ref).rstrip("/").lower()

    def location(self, ref: GatewayRef) -> str:
        """Cluster, namespace and Secret."""
        path = filled_in(f"namespaces/{self.namespace}/secrets/{self.secret}", ref)
        return f"{self.depends_on(ref)}/{path.lower()}"

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """What reads the Secret, as many as there are."""
        return (self.restart,) if isinstance(self.restart, Workload) else self.restart or ()

    def restarted(self, ref: GatewayRef) -> tuple[str, ...]:
        """The cluster and name of each workload."""
        cluster = self.depends_on(ref)
        return tuple(f"{workload.named(self.namespace, ref)} in {cluster}" for workload in self.workloads)
