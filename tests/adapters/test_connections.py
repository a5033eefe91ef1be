"""With a CA file of its own the app reads it once, and its requests share their connections."""

from collections.abc import Sequence

import pytest
from aiohttp import web

from emulator.azure import Azure
from emulator.endpoint import Route
from emulator.server import Emulator
from gateway_tokens.azure.clients import AzureAccess
from gateway_tokens.estate.app_settings import read_settings


async def _peer(azure: Azure, request: web.Request) -> web.Response:
    del azure
    assert request.transport is not None
    return web.json_response({"peer": request.transport.get_extra_info("peername")})


async def test_one_connection_serves_one_request_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Emulator(arm_routes=[Route("GET", "/peer", _peer)]) as emulator:
        settings = emulator.settings()
        for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
            monkeypatch.setenv(name, settings[name])
        made = {
            "GATEWAY_TOKENS": '{"services": {}}',
            "RENEWAL_SCHEDULE": "0 0 * * * *",
            "ALLOW_FUNCTION_KEYS": "true",
            **settings,
        }
        azure = AzureAccess(read_settings(made))
        peers = [await _ask(azure, emulator) for _ in range(3)]
        await azure.close()
    assert peers[0] == peers[1] == peers[2]


async def _ask(azure: AzureAccess, emulator: Emulator) -> Sequence[object]:
    url = f"{emulator.arm_url}/peer"
    answer = await azure.arm_request("GET", url, api_version="1", action="", scope="")
    assert answer is not None
    peer: Sequence[object] = answer["peer"]
    return peer
