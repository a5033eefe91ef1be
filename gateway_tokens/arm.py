"""API Management's gateways through the official client: issue a token, list the gateways."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from azure.core.exceptions import DecodeError

from .azure_errors import translated
from .errors import TokenUnusable
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
        # An empty answer is None to the SDK, and its `value` may be missing: the types promise neither.
        return _token(getattr(answer, "value", None))

    async def names(self, service: ServiceId) -> AsyncIterator[str]:
        """Every self-hosted gateway's name, page by page. Raises AzureError."""
        client = self._azure.api_management(service.subscription_id)
        async with translated(
            f"Listing the gateways of '{service.name}'", action=READ_ACTION, scope=str(service)
        ):
            async for gateway in client.gateway.list_by_service(service.resource_group, service.name):
                yield str(gateway.name)


def _token(value: object) -> GatewayToken:
    if not isinstance(value, str) or not value:
        raise TokenUnusable("it is empty")
    try:
        return GatewayToken.parse(value)
    except ValueError as error:
        raise TokenUnusable(str(error)) from None
