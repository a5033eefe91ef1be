"""What the settings say of destinations: names and addresses, their placeholders, clusters, and what every kind has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self, Union, get_args

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler

from gateway_tokens.errors import Fault
from gateway_tokens.parsing import Form, StrictModel, read_model
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


# Kinds of the first version, and the section of docs/recipes.md that says what to use instead.
_RECIPES_INSTEAD = {"containerApp": "Container Apps with a Key Vault reference", "file": "Docker"}


def _still_supported(destination: object) -> object:
    for kind, recipe in _RECIPES_INSTEAD.items():
        if isinstance(destination, dict) and destination.get("kind") == kind:
            raise ValueError(f"the kind {kind} is not supported any more: see '{recipe}' in docs/recipes.md")
    return destination


class DestinationSettings(StrictModel):
    """What the settings say of one destination. Each kind is a subclass with a literal `kind` of its own.

    The kinds are those of `gateway_tokens.destinations`, which must be imported before a document is read. Names and
    addresses may hold `{service}` and `{gateway}`.
    """

    kinds: ClassVar[dict[str, type[DestinationSettings]]] = {}  # every kind by its name
    role: ClassVar[str]  # the Azure role that the app needs for this kind
    kind: str
    adopt: bool = Field(default=False, description="Take over a value that this app did not write.")

    @classmethod
    def __pydantic_init_subclass__(cls, **_: object) -> None:
        for kind in get_args(cls.model_fields["kind"].annotation):
            DestinationSettings.kinds[kind] = cls

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type, handler: GetCoreSchemaHandler) -> Any:  # noqa: ANN401 - a core schema, of a package that is pydantic's own business
        if cls is not DestinationSettings:
            return handler(source)
        if not cls.kinds:
            raise RuntimeError(
                "import gateway_tokens.destinations first: it defines the kinds of destinations"
            )
        union: Any = Union[tuple(cls.kinds.values())]  # noqa: UP007 - of the kinds that there are
        kind = Field(discriminator="kind")
        return handler.generate_schema(Annotated[union, kind, BeforeValidator(_still_supported)])

    def at(self, ref: GatewayRef) -> tuple[Self | None, list[Fault]]:
        """These settings with the row's service and gateway in place, or what is wrong with them then."""
        return read_model(type(self), json.loads(filled_in(self.model_dump_json(by_alias=True), ref)))

    def on(self, clusters: Mapping[str, Cluster], ref: GatewayRef) -> Self:  # noqa: ARG002 - for kinds in clusters
        """These settings with what they name in `clusters` in place. Raises KeyError with a name that is not there."""
        return self

    def depends_on(self, ref: GatewayRef) -> str:
        """What a row shares with others of this kind, and fails with together: a vault, a cluster."""
        raise NotImplementedError

    def location(self, ref: GatewayRef) -> str:
        """Where a gateway's row writes: two rows must not share it."""
        raise NotImplementedError

    def restarted(self, ref: GatewayRef) -> tuple[str, ...]:  # noqa: ARG002 - most kinds restart nothing
        """The workloads that a gateway's row restarts: two rows must not share one."""
        return ()
