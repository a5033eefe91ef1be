"""One JSON object per line: what happened, to which gateway, for whom. Never a token.

The classic Functions logging path ships only a message's text, so the text itself is what queries parse.
"""

from __future__ import annotations

import json
import logging
import traceback
from contextvars import ContextVar
from datetime import datetime

from .tokens import GatewayRef, GatewayToken, KeyType, Secret, written

# The correlation id of the call or run under way; every line carries it.
correlation: ContextVar[str] = ContextVar("correlation", default="")

_log = logging.getLogger("gateway_tokens")


def log_line(event: str, level: int = logging.INFO, **fields: object) -> None:
    """Write one line. `event` is a stable name such as `token.issued`; fields are in camelCase."""
    named = {"event": event, "correlationId": correlation.get(), **fields}
    _log.log(
        level, "%s", json.dumps({name: value for name, value in named.items() if value != ""}, default=_plain)
    )


def log_issued(ref: GatewayRef, key_type: KeyType, token: GatewayToken, caller: object) -> None:
    """Write the audit line that every issued token has; `ref` has the service's name as declared."""
    log_line(
        "token.issued",
        caller=caller,
        service=ref.service,
        gateway=ref.gateway,
        keyType=key_type,
        expiry=token.expiry,
        fingerprint=token.fingerprint,
    )


def log_unexpected(error: BaseException, what: str) -> None:
    """A line for an error that nobody expected: its type and where it was raised, never its text, which may hold anything."""
    frames = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-5:]]
    log_line(
        "unexpected_failure", logging.ERROR, what=what, error=type(error).__name__, frames=" > ".join(frames)
    )


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return written(value)
    if isinstance(value, Secret):
        raise TypeError("a secret is never logged")
    return str(value)
