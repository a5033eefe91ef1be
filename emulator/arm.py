"""Azure Resource Manager: one address for many resource providers, each a list of routes."""

from collections.abc import Collection, Iterable, Sequence
from uuid import uuid4

from aiohttp import web

from emulator.azure import Azure
from emulator.endpoint import Endpoint, RefusedError, Route

GROUP = "/subscriptions/{subscription}/resourceGroups/{group}"


class Arm(Endpoint):
    """ARM with the given providers' routes."""

    host = "arm"

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes

    def routes(self) -> Iterable[Route]:
        """Return all providers' operations."""
        return self._routes

    def audiences(self) -> Collection[str]:
        """Accept the public cloud's audience, which clients ask for unless told otherwise, and this address."""
        return ("https://management.azure.com", self.url)

    def unauthenticated(self, azure: Azure) -> RefusedError:
        """Return ARM's answer to a missing or foreign access token."""
        challenge = f'Bearer authorization_uri="https://login.microsoftonline.com/{azure.tenant_id}"'
        return RefusedError(
            401,
            "AuthenticationFailed",
            "Authentication failed. The 'Authorization' header is missing or invalid.",
            headers={"WWW-Authenticate": f'{challenge}, error="invalid_token"'},
        )

    def admit(self, azure: Azure, request: web.Request) -> None:
        """Throttle each subscription as ARM does."""
        subscription = request.match_info.get("subscription", "")
        if azure.throttle is None or not subscription:
            return
        wait = azure.throttle.admit(subscription, request.method, request.path)
        if wait:
            raise RefusedError(
                429,
                "SubscriptionRequestsThrottled",
                f"Number of '{request.method}' requests for subscription '{subscription}' actor "
                f"'{azure.object_id}' exceeded. Please try again after '{wait}' seconds after additional tokens are "
                "available. Refer to https://aka.ms/arm-throttling for additional information.",
                headers={"Retry-After": str(wait)},
            )

    def stamp(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add the two ids by which Microsoft's support finds a call."""
        request_id = str(uuid4())
        response.headers.setdefault("x-ms-request-id", request_id)
        correlation = request.headers.get("x-ms-correlation-request-id", request_id)
        response.headers.setdefault("x-ms-correlation-request-id", correlation)


def check_group(azure: Azure, request: web.Request) -> tuple[str, str]:
    """Return the path's subscription and group in lower case, or refuse as ARM does if one is unknown."""
    subscription, group = request.match_info["subscription"], request.match_info["group"]
    if subscription.lower() not in {known for known, _ in azure.groups}:
        message = f"The subscription '{subscription}' could not be found."
        raise RefusedError(404, "SubscriptionNotFound", message)
    if (subscription.lower(), group.lower()) not in azure.groups:
        raise RefusedError(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.")
    return subscription.lower(), group.lower()


def resource_not_found(kind: str, name: str, group: str) -> RefusedError:
    """Return ARM's answer for a resource of `kind` (such as `Microsoft.ApiManagement/service`) that is not there."""
    return RefusedError(
        404,
        "ResourceNotFound",
        f"The Resource '{kind}/{name}' under resource group '{group}' was not found. For more details please go to "
        "https://aka.ms/ARMResourceNotFoundFix",
    )
