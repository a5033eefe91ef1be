"""Messages in Azurite's queues, over REST: the app has no client for queues, for the host writes and reads them."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from email.utils import format_datetime
from html import escape

import aiohttp

# The account that every Azurite has: https://learn.microsoft.com/azure/storage/common/storage-connect-azurite
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_URL = f"http://127.0.0.1:10001/{_ACCOUNT}"


async def put(http: aiohttp.ClientSession, queue: str, body: str) -> None:
    """Put a message into a queue, which is made if it is not there."""
    await _call(http, "PUT", f"/{queue}")
    message = f"<QueueMessage><MessageText>{escape(body)}</MessageText></QueueMessage>"
    await _call(http, "POST", f"/{queue}/messages", message)


async def peek(http: aiohttp.ClientSession, queue: str, body: str) -> bool:
    """Whether a message with this text is in the queue."""
    return f">{escape(body)}<" in await _call(http, "GET", f"/{queue}/messages", query="peekonly=true")


async def _call(http: aiohttp.ClientSession, method: str, path: str, body: str = "", query: str = "") -> str:
    date, version = format_datetime(datetime.now(UTC), usegmt=True), "2021-08-06"
    length, kind = (str(len(body)), "text/xml") if body else ("", "")
    signed = f"{method}\n\n\n{length}\n\n{kind}\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{version}\n"
    signed += f"/{_ACCOUNT}/{_ACCOUNT}{path}" + (f"\n{query.replace('=', ':')}" if query else "")
    digest = hmac.digest(base64.b64decode(_KEY), signed.encode(), hashlib.sha256)
    signature = f"SharedKey {_ACCOUNT}:{base64.b64encode(digest).decode()}"
    headers = {"x-ms-date": date, "x-ms-version": version, "Authorization": signature}
    if body:
        headers["Content-Type"] = kind
    url, never = f"{_URL}{path}?{query}", ["Content-Type"]
    async with http.request(
        method, url, data=body or None, headers=headers, skip_auto_headers=never
    ) as answer:
        return await answer.text()
