"""API Management's gateways through the official client: issue a token, list the gateways."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from azure.core.exceptions import DecodeError, DeserializationError

from .azure_errors import translated
from .errors import AzureError, AzureFacts, TokenUnusable
from .model import GatewayToken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from .azure_access import AzureAccess
    from .model import KeyType, ServiceId

ISSUE_ACTION = "Microsoft.ApiManagement/service/gateways/generateToken/action"
READ_ACTION = "Microsoft.ApiManagement/service/gateways/read"


class ArmGateways:
    """The port `Gateways` on Azure Resource Manager."""

    def __init__(self, azure: AzureAccess) -> None:
        self._azure = azure

    async def generate_token(
        self, service: ServiceId, gateway: str, key_type: KeyType, expiry: datetime
    ) -> GatewayToken:
        """The token that Azure answers with. Raises AzureError, or TokenUnusable when there is none in the answer."""
        from azure.mgmt.apimanagement.models import GatewayTokenRequestContract

        client = self._azure.api_management(service.subscription_id)
        request = GatewayTokenRequestContract(key_type=key_type.value, expiry=expiry)
        async with translated(f"Issuing a token for '{gateway}'", action=ISSUE_ACTION, scope=str(service)):
            try:
                answer = await client.gateway.generate_token(
                    service.resource_group, service.name, gateway, request
                )
            except DecodeError as error:
                if error.status_code != HTTPStatus.OK:
                    raise
                raise TokenUnusable("it is not JSON") from None
            except DeserializationError:
                raise TokenUnusable("it has another form") from None
        # An empty answer is None to the SDK, and its `value` may be missing: the types promise neither.
        return _token(getattr(answer, "value", None))

    async def names(self, service: ServiceId) -> AsyncIterator[str]:
        """Every self-hosted gateway's name, page by page. Raises AzureError."""
        client = self._azure.api_management(service.subscription_id)
        operation = f"Listing the gateways of '{service.name}'"
        async with translated(operation, action=READ_ACTION, scope=str(service)):
            try:
                async for gateway in client.gateway.list_by_service(service.resource_group, service.name):
                    yield _name(gateway.name)
            except (DeserializationError, AttributeError, TypeError):
                # The SDK takes every 200 for a list, and trips over one that is none.
                advice = "Azure's answer is not a list of gateways."
                raise AzureError(operation, AzureFacts(HTTPStatus.OK), advice) from None


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
