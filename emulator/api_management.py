"""The part of Microsoft.ApiManagement that concerns self-hosted gateways, as routes of ARM."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from aiohttp import web

from emulator.arm import GROUP, check_group, resource_not_found
from emulator.azure import Azure
from emulator.endpoint import RefusedError, Route, Work
from emulator.gateways import KEY_TYPES, Gateway, Service

PROVIDER = "Microsoft.ApiManagement/service"
VERSIONS = ("2022-08-01", "2024-05-01")
LONGEST = timedelta(days=30)


def routes() -> list[Route]:
    """Return the operations on gateways."""
    every = f"{GROUP}/providers/{PROVIDER}/{{service}}/gateways"
    of_one = f"{every}/{{gateway}}"
    actions = f"{PROVIDER}/gateways"
    return [
        _route("GET", every, _list, f"{actions}/read"),
        _route("POST", f"{of_one}/generateToken", _generate_token, f"{actions}/generateToken/action"),
        _route("POST", f"{of_one}/regenerateKey", _regenerate_key, f"{actions}/regenerateKey/action"),
    ]


def _route(method: str, path: str, work: Work, action: str) -> Route:
    return Route(method, path, work, action, VERSIONS)


async def _list(azure: Azure, request: web.Request) -> web.Response:
    service = _service(azure, request)
    skip = int(request.query.get("$skip", "0"))
    gateways = list(service.gateways.values())
    after = skip + azure.page_size
    body = {
        "value": [_contract(service, gateway) for gateway in gateways[skip:after]],
        "count": len(gateways),
        "nextLink": _next_link(request, after) if after < len(gateways) else "",
    }
    return web.json_response(body)


def _next_link(request: web.Request, skip: int) -> str:
    query = urlencode({**request.query, "$skip": str(skip)}, safe="$")
    return f"{request.url.origin()}{request.rel_url.raw_path}?{query}"


async def _generate_token(azure: Azure, request: web.Request) -> web.Response:
    body = await _body_of(request)
    key_type, faults = _key_type_of(body)
    expiry, late = _expiry_of(body, azure.clock())
    faults += late
    if request.match_info["gateway"].lower() == "managed":
        faults.append(("gatewayId", "The gateway identifier must not be 'managed'."))
    if faults:
        raise _invalid(faults)
    gateway = _gateway(azure, request)
    return web.json_response({"value": gateway.token(key_type, expiry)})


async def _regenerate_key(azure: Azure, request: web.Request) -> web.Response:
    key_type, faults = _key_type_of(await _body_of(request))
    if faults:
        raise _invalid(faults)
    gateway = _gateway(azure, request)
    gateway.regenerate(key_type)
    return web.Response(status=204)


def _service(azure: Azure, request: web.Request) -> Service:
    subscription, group = check_group(azure, request)
    name = request.match_info["service"]
    service = azure.services.get((subscription, group, name.lower()))
    if service is None:
        raise resource_not_found(PROVIDER, name, request.match_info["group"])
    return service


def _gateway(azure: Azure, request: web.Request) -> Gateway:
    gateway = _service(azure, request).gateway(request.match_info["gateway"])
    if gateway is None:
        raise RefusedError(404, "ResourceNotFound", "Gateway not found.")
    return gateway


def _contract(service: Service, gateway: Gateway) -> dict[str, object]:
    return {
        "id": f"{service.resource_id}/gateways/{gateway.name}",
        "type": f"{PROVIDER}/gateways",
        "name": gateway.name,
        "properties": {"description": gateway.description, "locationData": {"name": gateway.location}},
    }


async def _body_of(request: web.Request) -> dict[str, object]:
    """Return the body's JSON object, or refuse it."""
    try:
        body = json.loads(await request.read())
    except ValueError:
        raise _invalid([("representation", "Parsing error(s): the body is not JSON.")]) from None
    if not isinstance(body, dict):
        raise _invalid([("representation", "Parsing error(s): the body is not an object.")])
    return body


def _key_type_of(body: dict[str, object]) -> tuple[str, list[tuple[str, str]]]:
    """Return the key type, and what is wrong with it as (target, message)."""
    key_type = body.get("keyType")
    if isinstance(key_type, str) and key_type in KEY_TYPES:
        return key_type, []
    return "", [("keyType", "The key type must be 'primary' or 'secondary'.")]


def _expiry_of(body: dict[str, object], now: datetime) -> tuple[datetime, list[tuple[str, str]]]:
    """Return the expiry, and what is wrong with it as (target, message)."""
    text = body.get("expiry")
    try:
        expiry = datetime.fromisoformat(text) if isinstance(text, str) and "T" in text else None
    except ValueError:
        expiry = None
    if expiry is None:
        return now, [("expiry", "The expiry must be a date and time of the form yyyy-MM-ddTHH:mm:ssZ.")]
    expiry = expiry if expiry.tzinfo else expiry.replace(tzinfo=UTC)
    if expiry <= now:
        return expiry, [("expiry", "The expiry must be in the future.")]
    if expiry > now + LONGEST:
        return expiry, [("expiry", "The expiry must be at most 30 days from now.")]
    return expiry, []


def _invalid(faults: list[tuple[str, str]]) -> RefusedError:
    """Return the refusal that lists every fault."""
    details = [
        {"code": "ValidationError", "target": target, "message": message} for target, message in faults
    ]
    message = "One or more fields contain incorrect values:"
    return RefusedError(400, "ValidationError", message, details=details)
