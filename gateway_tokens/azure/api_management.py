"""API Management's gateways through the official client: issue a token, list the gateways."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from http import HTTPStatus
from typing import Any

from azure.core.exceptions import DecodeError, DeserializationError

from gateway_tokens.errors import AzureError, AzureFacts, AzureNotFound, NotFound, TokenUnusable
from gateway_tokens.tokens import GatewayRef, GatewayToken, KeyType, ServiceId

from .clients import ArmBudget, AzureAccess, Cost
from .errors import operation

ISSUE_ACTION = "Microsoft.ApiManagement/service/gateways/generateToken/action"
REGENERATE_ACTION = "Microsoft.ApiManagement/service/gateways/regenerateKey/action"
READ_ACTION = "Microsoft.ApiManagement/service/gateways/read"
# What Azure says when the settings name a subscription or group that does not exist, rather than the caller a gateway.
_SETTINGS_ARE_WRONG = frozenset({"SubscriptionNotFound", "ResourceGroupNotFound"})


class ArmGateways:
    """Self-hosted gateways in Azure Resource Manager; every request waits for its turn in the budget."""

    def __init__(self, azure: AzureAccess, budget: ArmBudget) -> None:
        self._azure, self._budget = azure, budget

    async def generate_token(
        self, service: ServiceId, gateway: str, key_type: KeyType, expiry: datetime
    ) -> GatewayToken:
        """The token that Azure answers with. Raises AzureError, or TokenUnusable when there is none in the answer."""
        from azure.mgmt.apimanagement.models import GatewayTokenRequestContract

        client = self._azure.api_management(service.subscription_id)
        request = GatewayTokenRequestContract(key_type=key_type.value, expiry=expiry)
        await self._budget.spend(service.subscription_id, Cost.WRITE)
        async with operation(f"Issuing a token for '{gateway}'", action=ISSUE_ACTION, scope=str(service)):
            try:
                # Issuing computes a signature and stores nothing, so it may be repeated.
                answer = await client.gateway.generate_token(
                    service.resource_group, service.name, gateway, request, retry_on_methods=["POST"]
                )
            except DecodeError as error:
                if error.status_code != HTTPStatus.OK:
                    raise
                raise TokenUnusable("it is not JSON") from None
            except DeserializationError:
                raise TokenUnusable("it does not have the form of a token") from None
        # An empty answer is None to the SDK, and its `value` may be missing: the types promise neither.
        return _token(getattr(answer, "value", None))

    async def regenerate_key(self, service: ServiceId, gateway: str, key_type: KeyType) -> None:
        """Give the gateway another key in that one's place: every token of it ends. Raises AzureError."""
        from azure.mgmt.apimanagement.models import GatewayKeyRegenerationRequestContract

        client = self._azure.api_management(service.subscription_id)
        request = GatewayKeyRegenerationRequestContract(key_type=key_type.value)
        await self._budget.spend(service.subscription_id, Cost.WRITE)
        doing = f"Regenerating the {key_type} key of '{gateway}'"
        async with operation(doing, action=REGENERATE_ACTION, scope=str(service)):
            # Never repeated: of a request whose answer is lost nobody knows whether it was carried out.
            await client.gateway.regenerate_key(
                service.resource_group, service.name, gateway, request, retry_total=0
            )

    async def names(self, service: ServiceId) -> AsyncIterator[str]:
        """Every self-hosted gateway's name, page by page. Raises AzureError."""
        client = self._azure.api_management(service.subscription_id)
        listing: Any = client.gateway.list_by_service(service.resource_group, service.name)
        pages = listing.by_page()
        more = True
        while more:
            for name in await self._next_page(service, pages):
                yield name
            more = bool(pages.continuation_token)

    async def _next_page(self, service: ServiceId, pages: AsyncIterator[Any]) -> list[str]:
        await self._budget.spend(service.subscription_id, Cost.READ)
        doing = f"Listing the gateways of '{service.name}'"
        async with operation(doing, action=READ_ACTION, scope=str(service)):
            try:
                return [_name(gateway.name) async for gateway in await anext(pages)]
            except (DeserializationError, AttributeError, TypeError):
                # The SDK takes every 200 for a list, and fails in many ways over one that is not.
                advice = "Azure's answer is not a list of gateways. Check whether a proxy answered."
                raise AzureError(doing, AzureFacts(HTTPStatus.OK), advice) from None


async def issue_checked(
    gateways: ArmGateways, service: ServiceId, gateway: str, key_type: KeyType, expiry: datetime
) -> GatewayToken:
    """A token that is what was asked for: this gateway's, ending in that very minute. Raises TokenUnusable."""
    token = await gateways.generate_token(service, gateway, key_type, expiry)
    if not token.is_for(gateway):
        raise TokenUnusable("it is for another gateway")
    if token.expiry != expiry:
        raise TokenUnusable(
            f"it expires at {token.expiry:%Y-%m-%dT%H:%MZ}, and not at {expiry:%Y-%m-%dT%H:%MZ}"
        )
    return token


def gateway_missing(error: AzureNotFound, ref: GatewayRef) -> NotFound | AzureNotFound:
    """Azure's 404 as what it means: no such gateway, unless the settings name a subscription or group that does not exist."""
    return error if error.facts.code in _SETTINGS_ARE_WRONG else NotFound(str(ref))


def _name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise TypeError("a gateway without a name")
    return name


def _token(value: object) -> GatewayToken:
    if not isinstance(value, str) or not value:
        raise TokenUnusable("it is empty")
    try:
        return GatewayToken.parse(value)
    except ValueError as error:
        raise TokenUnusable(str(error)) from None
