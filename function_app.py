"""Keeps the access tokens of Azure API Management self-hosted gateways fresh.

The entry point: triggers only.

Importing this file reads one setting that cannot fail (ALLOW_FUNCTION_KEYS) and loads no SDK: an exception here would leave the
host without any function, and every cold start pays for every import.
"""

from typing import List  # noqa: UP035 - the worker does not know `list[str]`

import azure.functions as func

from gateway_tokens import app as gateway_tokens

Messages = func.Out[List[str]]  # noqa: UP006 - the same
app = func.FunctionApp(
    http_auth_level=func.AuthLevel.FUNCTION if gateway_tokens.key_needed() else func.AuthLevel.ANONYMOUS
)


@app.route("services/{service}/gateways/{gatewayId}/generateToken", methods=["POST"])
async def generate_token(req: func.HttpRequest) -> func.HttpResponse:
    """Issue a token to an authorised caller."""
    return await gateway_tokens.tokens().generate_token(req)


@app.route("services/{service}/gateways/{gatewayId}/generateToken/{format}", methods=["POST"])
async def generate_token_in_format(req: func.HttpRequest) -> func.HttpResponse:
    """Issue a token in a form that Docker, Kubernetes or a gateway's setting takes as it is."""
    return await gateway_tokens.tokens().generate_token(req)


@app.route("services/{service}/gateways", methods=["GET"])
async def list_gateways(req: func.HttpRequest) -> func.HttpResponse:
    """Show a service's self-hosted gateways."""
    return await gateway_tokens.renewals().list_gateways(req)


@app.route("services/{service}/gateways/{gatewayId}/renew", methods=["POST"])
async def renew_gateway(req: func.HttpRequest) -> func.HttpResponse:
    """Renew one gateway's token now."""
    return await gateway_tokens.renewals().renew(req)


@app.route("services/{service}/gateways/{gatewayId}/revoke", methods=["POST"])
async def revoke_key(req: func.HttpRequest) -> func.HttpResponse:
    """End every token of one of a gateway's keys, after the gateway has tokens of the other."""
    return await gateway_tokens.renewals().revoke(req)


@app.route("renewals", methods=["GET"])
async def plan_renewals(req: func.HttpRequest) -> func.HttpResponse:
    """Show what is due and why; execute nothing."""
    return await gateway_tokens.renewals().plan(req)


@app.route("renewals/{run}", methods=["GET"])
async def show_run(req: func.HttpRequest) -> func.HttpResponse:
    """Show where a run is."""
    return await gateway_tokens.renewals().show_run(req)


@app.route("renewals", methods=["POST"])
@app.queue_output("messages", "%RENEWALS_QUEUE%", "AzureWebJobsStorage")
async def run_renewals(req: func.HttpRequest, messages: Messages) -> func.HttpResponse:
    """Ask for a run now, as the timer does."""
    return await gateway_tokens.renewals().run(req, messages)


@app.timer_trigger("timer", "%RENEWAL_SCHEDULE%", run_on_startup=False, use_monitor=True)
@app.queue_output("messages", "%RENEWALS_QUEUE%", "AzureWebJobsStorage")
async def renew_on_schedule(timer: func.TimerRequest, messages: Messages) -> None:  # noqa: ARG001 - the binding's name
    """Ask for a run: one message per subscription."""
    messages.set(gateway_tokens.queues().due())


# A failing message comes back up to `maxDequeueCount` times (host.json) and ends in the queue's poison queue.
@app.queue_trigger("message", "%RENEWALS_QUEUE%", "AzureWebJobsStorage")
async def reconcile_subscription(message: func.QueueMessage) -> None:
    """Renew every token of a subscription's services that is due. A run that ended has succeeded, failed rows included."""
    await gateway_tokens.queues().reconcile(message.get_body(), message.dequeue_count or 1)


@app.queue_trigger("message", "%EVENTS_QUEUE%", "AzureWebJobsStorage")
async def take_event(message: func.QueueMessage) -> None:
    """Act on an event that API Management raised about a gateway or its token."""
    await gateway_tokens.queues().take(message.get_body(), message.dequeue_count or 1)


@app.route("health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def health(req: func.HttpRequest) -> func.HttpResponse:
    """Say whether the app can do its job."""
    return await gateway_tokens.health().health(req)
