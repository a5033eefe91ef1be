"""The yardstick of cold start: the smallest function app with the same three packages, and no checks at all."""

import os
from datetime import UTC, datetime, timedelta

import azure.functions as func
from azure.identity.aio import ManagedIdentityCredential
from azure.mgmt.apimanagement.aio import ApiManagementClient
from azure.mgmt.apimanagement.models import GatewayTokenRequestContract

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)


@app.route("services/{service}/gateways/{gatewayId}/generateToken", methods=["POST"])
async def generate_token(req: func.HttpRequest) -> func.HttpResponse:
    """Issue a token of a day."""
    async with (
        ManagedIdentityCredential() as credential,
        ApiManagementClient(
            credential,
            os.environ["SUBSCRIPTION"],
            base_url=os.environ["ARM_ENDPOINT"],
            credential_scopes=[os.environ["ARM_SCOPE"]],
            connection_verify=os.environ["CA_FILE"],
        ) as client,
    ):
        wanted = GatewayTokenRequestContract(key_type="primary", expiry=datetime.now(UTC) + timedelta(days=1))
        service, gateway = req.route_params["service"], req.route_params["gatewayId"]
        answer = await client.gateway.generate_token("rg", service, gateway, wanted)
        return func.HttpResponse(answer.value)
