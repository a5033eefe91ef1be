"""How the emulator starts, and how further providers and addresses join it."""

import socket
import ssl
from collections.abc import Collection, Iterable

import aiohttp
from aiohttp import web

from emulator.arm import check_group
from emulator.azure import Azure
from emulator.endpoint import Endpoint, Route
from emulator.server import Emulator


async def hello(azure: Azure, request: web.Request) -> web.Response:
    check_group(azure, request)
    return web.json_response({"hello": "there"})


async def bye(_azure: Azure, _request: web.Request) -> web.Response:
    return web.Response(text="bye")


class Cluster(Endpoint):
    host = "cluster"
    instance = "one"

    def routes(self) -> Iterable[Route]:
        return [Route("GET", "/bye", bye, "cluster/bye")]

    def audiences(self) -> Collection[str]:
        return ("cluster-audience",)


async def get(emulator: Emulator, url: str, audience: str, version: str = "1") -> int:
    bearer = emulator.azure.issue_bearer(audience)
    tls = ssl.create_default_context(cafile=emulator.ca_file)
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {bearer}"}) as session:
        return (await session.get(url, params={"api-version": version}, ssl=tls)).status


async def test_a_further_address_has_its_own_audience_and_permissions() -> None:
    cluster = Cluster()
    async with Emulator(endpoints=[cluster]) as emulator:
        assert await get(emulator, f"{cluster.url}/bye", "cluster-audience") == 200
        assert await get(emulator, f"{cluster.url}/bye", emulator.arm_url) == 401
        emulator.azure.granted = set()
        assert await get(emulator, f"{cluster.url}/bye", "cluster-audience") == 403
        assert [call.action for call in emulator.azure.called("cluster")] == ["cluster/bye"] * 3


async def test_an_address_can_have_a_fixed_port() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with Emulator(vaults=("contoso",), ports={"vault/contoso": port}) as emulator:
        assert emulator.vault_url("contoso") == f"https://127.0.0.1:{port}"


async def test_no_secret_shows_in_the_states_own_description(emulator: Emulator) -> None:
    azure = emulator.azure
    gateway = azure.add_service("s", "g", "apim").add_gateway("edge")
    azure.vault("contoso").set("a", "secret-value", azure.clock())
    shown = repr(azure)
    hidden = [*gateway.keys.values(), "secret-value", azure.identity_header, azure.issue_bearer("x")]
    assert not [value for value in hidden if value in shown]
