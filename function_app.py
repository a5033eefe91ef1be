"""Keeps the access tokens of Azure API Management self-hosted gateways fresh.

The front door: triggers only. Where each rule lives:

    what a caller may ask            gateway_tokens/requests.py, documents.py
    who is calling, who may do what  gateway_tokens/callers.py, access.py
    how long a token may live        gateway_tokens/policy.py
    issuing a token                  gateway_tokens/issuing.py, on Azure through arm.py
    the estate and the app settings  gateway_tokens/settings.py, destination_settings.py, app_settings.py
    answers, statuses, problems      gateway_tokens/http_answers.py, errors.py

Importing this file reads one setting that cannot fail (SIGN_IN) and loads no SDK: an exception here would leave the
host without any function, and every cold start pays for every import.
"""

import azure.functions as func

from gateway_tokens import wiring

app = func.FunctionApp(
    http_auth_level=func.AuthLevel.FUNCTION if wiring.key_needed() else func.AuthLevel.ANONYMOUS
)


@app.route("services/{service}/gateways/{gatewayId}/generateToken", methods=["POST"])
async def generate_token(req: func.HttpRequest) -> func.HttpResponse:
    """Issue a token to an authorised caller."""
    return await wiring.http_api().generate_token(req)


@app.route("services/{service}/gateways", methods=["GET"])
async def list_gateways(req: func.HttpRequest) -> func.HttpResponse:
    """Show a service's self-hosted gateways."""
    return await wiring.http_api().list_gateways(req)


@app.route("health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def health(req: func.HttpRequest) -> func.HttpResponse:
    """Say whether the app can do its job."""
    return await wiring.http_api().health(req)


@app.route("openapi.json", methods=["GET"])
async def openapi(req: func.HttpRequest) -> func.HttpResponse:
    """Describe this API."""
    return await wiring.http_api().openapi(req)
