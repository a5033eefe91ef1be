"""Services, gateways, keys, secrets and tokens as frozen values; how long a token may live; how moments are written."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NoReturn

Clock = Callable[[], datetime]  # the moment, as aware UTC
HEADER_PREFIX = "GatewayKey "

# The service-name pattern is ARM's own (Gateway - Generate Token, serviceName).
SERVICE_NAME = r"^[a-zA-Z](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?$"
# ARM bounds a gateway id to 1-80 characters and reserves 'managed'; these characters need no escape in an address.
GATEWAY_ID = r"^(?!\.{1,2}$)(?![mM][aA][nN][aA][gG][eE][dD]$)[a-zA-Z0-9._~-]{1,80}$"
_RESOURCE_ID = re.compile(
    r"^/subscriptions/(?P<subscription>[0-9a-fA-F-]{36})/resourceGroups/(?P<group>[\w().-]{1,90})"
    r"/providers/Microsoft\.ApiManagement/service/(?P<name>[a-zA-Z](?:[a-zA-Z0-9-]{0,48}[a-zA-Z0-9])?)$",
    re.IGNORECASE,
)
# Of other years, a lifetime more or less could not be told.
_LIKELY_YEARS = range(2000, 9000)
_SIGNATURE_MIN_BYTES, _SIGNATURE_MAX_CHARACTERS = 32, 512


def is_gateway_id(name: str) -> bool:
    """Whether a name can be a self-hosted gateway's."""
    return re.fullmatch(GATEWAY_ID, name) is not None


class KeyType(StrEnum):
    """Which of a gateway's two keys signs its token."""

    PRIMARY = "primary"
    SECONDARY = "secondary"


@dataclass(frozen=True, slots=True)
class ServiceId:
    """An API Management service in Azure Resource Manager, by its resource id."""

    subscription_id: str
    resource_group: str
    name: str

    @classmethod
    def parse(cls, resource_id: str) -> ServiceId:
        """Read a full resource id. Raises ValueError when it names anything but an APIM service."""
        match = _RESOURCE_ID.fullmatch(resource_id)
        if not match:
            raise ValueError(
                "must be /subscriptions/{id}/resourceGroups/{group}/providers/"
                "Microsoft.ApiManagement/service/{name}"
            )
        return cls(match["subscription"].lower(), match["group"], match["name"])

    def __str__(self) -> str:
        return (
            f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.ApiManagement/service/{self.name}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class GatewayRef:
    """A gateway as callers and the settings name it: `service/gateway`. Compares without case, as Azure does."""

    service: str
    gateway: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GatewayRef) and str(self).casefold() == str(other).casefold()

    def __hash__(self) -> int:
        return hash(str(self).casefold())

    def __str__(self) -> str:
        return f"{self.service}/{self.gateway}"


def owner_of(service: ServiceId, gateway: str) -> str:
    """What the ownership says of a gateway: names of APIM services are unique across Azure, aliases are not."""
    return f"{service.name}/{gateway}".lower()


class Secret:
    """A value that cannot print itself: only `reveal()` shows it, and it does not pickle."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself. Every call of this is a line to read when a leak is feared."""
        return self._value

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits of the value's SHA-256: enough to compare, nothing to sign in with."""
        return hashlib.sha256(self._value.encode()).hexdigest()[:12]

    def __repr__(self) -> str:
        return f"Secret({self.fingerprint})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret does not pickle")


@dataclass(frozen=True, slots=True)
class GatewayToken:
    """A gateway token as issued: `{gatewayId}&{yyyyMMddHHmm}&{base64 signature}`, expiry in UTC."""

    gateway_id: str
    expiry: datetime
    value: Secret

    @classmethod
    def parse(cls, text: str) -> GatewayToken:
        """Read a token, with or without `GatewayKey `. Raises ValueError, which says what is wrong and never quotes the text."""
        bare = text.strip().removeprefix(HEADER_PREFIX).strip()
        parts = bare.split("&")
        if len(parts) != 3 or not all(parts):  # noqa: PLR2004 - the three parts of the docstring
            raise ValueError("it does not have three parts")
        gateway_id, stamp, signature = parts
        return cls(gateway_id, _expiry(stamp), Secret(f"{gateway_id}&{stamp}&{_checked(signature)}"))

    @property
    def fingerprint(self) -> str:
        """Distinguishes two tokens in logs and reports."""
        return self.value.fingerprint

    def is_for(self, gateway_id: str) -> bool:
        """Whether it is this gateway's token; Azure's names ignore case."""
        return self.gateway_id.casefold() == gateway_id.casefold()

    def header_value(self) -> Secret:
        """What the gateway is configured with: the token behind `GatewayKey `, exactly once."""
        return Secret(HEADER_PREFIX + self.value.reveal())


def _expiry(stamp: str) -> datetime:
    if not re.fullmatch(r"[0-9]{12}", stamp):
        raise ValueError("its expiry is not yyyyMMddHHmm")
    try:
        expiry = datetime.strptime(stamp, "%Y%m%d%H%M").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError("its expiry is not a date") from None
    if expiry.year not in _LIKELY_YEARS:
        raise ValueError("its expiry is not a likely date")
    return expiry


def _checked(signature: str) -> str:
    """The signature, if it is base64 of at least an HMAC-SHA256's length (today it is HMAC-SHA512's)."""
    try:
        size = len(base64.b64decode(signature, validate=True))
    except (binascii.Error, ValueError):
        raise ValueError("its signature is not base64") from None
    if size < _SIGNATURE_MIN_BYTES or len(signature) > _SIGNATURE_MAX_CHARACTERS:
        raise ValueError("its signature has an unlikely length")
    return signature


# https://learn.microsoft.com/rest/api/apimanagement/gateway/generate-token, request body, expiry
MAX_LIFETIME = timedelta(days=30)
MIN_LIFETIME = timedelta(minutes=1)
# Clocks differ: a lifetime (not an explicit expiry) ends this much before Azure's limit.
CLOCK_MARGIN = timedelta(minutes=5)
_MINUTE = timedelta(minutes=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_the_minute(moment: datetime) -> datetime:
    """The moment cut down to the minute, as a token's expiry is; never later than asked for."""
    return moment.replace(second=0, microsecond=0)


def expiry_after(lifetime: timedelta, now: datetime) -> datetime:
    """When a token issued at `now` for `lifetime` ends: to the minute, safely within Azure's limit."""
    return to_the_minute(now + min(lifetime, MAX_LIFETIME - CLOCK_MARGIN))


def renewal_expiry(lifetime: timedelta, asked_at: datetime) -> datetime:
    """When a token that a renewal issues ends: on a whole hour, counted from when the renewal was asked for.

    A token is a function of gateway, key and expiry, so a repeated renewal gets the same token.
    """
    return expiry_after(lifetime, asked_at).replace(minute=0)


def stable_expiry(lifetime: timedelta, window: timedelta, gateway: str, now: datetime) -> datetime:
    """When a token ends that stays the same until its window begins.

    It is the last point within `lifetime` of a grid that depends on nothing but the arguments before `now`, and whose
    step is the lifetime less the window: at any `now` more than the window is left, and no more than the lifetime.
    `gateway` moves the grid, so that the tokens of an estate are not due all at once.
    """
    longest = min(lifetime, MAX_LIFETIME - CLOCK_MARGIN) // _MINUTE
    # Both in whole minutes, as an expiry is: the lifetime cut down, the window rounded up.
    step = max(longest + -window // _MINUTE, 1)
    offset = int.from_bytes(hashlib.sha256(gateway.casefold().encode()).digest()) % step
    last = (now - _EPOCH) // _MINUTE + longest
    return _EPOCH + (last - (last - offset) % step) * _MINUTE


def expiry_fault(expiry: datetime, now: datetime) -> str:
    """What is wrong with an expiry asked for at `now`, or the empty string."""
    if to_the_minute(expiry) <= now:
        return "is in the past, or less than a minute ahead: tokens are cut to the minute"
    if expiry > now + MAX_LIFETIME:
        return "is more than 30 days ahead"
    return ""


def lifetime_fault(lifetime: timedelta) -> str:
    """What is wrong with a lifetime asked for, or the empty string."""
    if lifetime < MIN_LIFETIME:
        return "is shorter than one minute (PT1M)"
    if lifetime > MAX_LIFETIME:
        return "is longer than 30 days (P30D)"
    return ""


_FORM = "%Y-%m-%dT%H:%M:%SZ"


def written(moment: datetime) -> str:
    """`yyyy-MM-ddTHH:mm:ssZ`."""
    return moment.astimezone(UTC).strftime(_FORM)


def read(text: str) -> datetime:
    """What `written` wrote, as aware UTC. Raises ValueError for anything else."""
    return datetime.strptime(text, _FORM).replace(tzinfo=UTC)
