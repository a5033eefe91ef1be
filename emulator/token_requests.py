"""What API Management accepts in a request, and how it lists what it does not."""

import json
from datetime import UTC, datetime, timedelta

from aiohttp import web

from emulator.endpoint import RefusedError
from emulator.gateways import KEY_TYPES

LONGEST = timedelta(days=30)


def count(request: web.Request, name: str, default: int) -> int:
    """Return a query parameter that counts, or refuse it."""
    text = request.query.get(name, str(default))
    if not text.isdecimal() or (name == "$top" and int(text) == 0):
        raise invalid([(name, f"The value '{text}' is not a valid count.")])
    return int(text)


async def body_of(request: web.Request) -> dict[str, object]:
    """Return the body's JSON object, or refuse it."""
    try:
        body = json.loads(await request.read())
    except ValueError:
        raise invalid([("representation", "Parsing error(s): the body is not JSON.")]) from None
    if not isinstance(body, dict):
        raise invalid([("representation", "Parsing error(s): the body is not an object.")])
    return body


def key_type_of(body: dict[str, object]) -> tuple[str, list[tuple[str, str]]]:
    """Return the key type, and what is wrong with it as (target, message)."""
    key_type = body.get("keyType")
    if isinstance(key_type, str) and key_type in KEY_TYPES:
        return key_type, []
    return "", [("keyType", "The key type must be 'primary' or 'secondary'.")]


def expiry_of(body: dict[str, object], now: datetime) -> tuple[datetime, list[tuple[str, str]]]:
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


def invalid(faults: list[tuple[str, str]]) -> RefusedError:
    """Return the refusal that lists every fault."""
    details = [
        {"code": "ValidationError", "target": target, "message": message} for target, message in faults
    ]
    message = "One or more fields contain incorrect values:"
    return RefusedError(400, "ValidationError", message, details=details)
