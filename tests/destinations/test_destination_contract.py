"""What every kind of destination promises, the in-memory one included."""

import asyncio
import logging
from base64 import b64encode
from dataclasses import replace
from functools import partial
from typing import Any

import aiohttp
import pytest

from gateway_tokens.errors import GatewayTokensError, WriteConflict
from gateway_tokens.tokens import GatewayRef, KeyType, Secret
from tests.destinations.destination_places import OWNERSHIP, PLACES, Place, Surroundings, a_token, stored_in

TOKEN, NEWER = a_token(), a_token(seed="newer")
STRANGE = "not a token at all"


@pytest.fixture(params=PLACES)
def location(request: pytest.FixtureRequest, around: Surroundings) -> Place:
    return PLACES[request.param](around)


class TestEveryDestination:
    async def test_reads_nothing_while_nothing_is_there(self, location: Place) -> None:
        assert await location.destination.read() is None

    async def test_holds_the_token_as_the_gateway_reads_it_and_its_ownership_once_written(
        self, location: Place
    ) -> None:
        ownership = replace(
            OWNERSHIP, owner="others-apim/edge-01", key_type=KeyType.SECONDARY, taken_over=True
        )
        await location.destination.write(TOKEN, ownership, None)
        stored = await stored_in(location.destination)
        assert location.stored() == f"GatewayKey {TOKEN.value.reveal()}"
        assert (stored.value, stored.token, stored.exact) == (TOKEN.header_value(), TOKEN, True)
        assert stored.owned == stored.ownership == ownership.of(TOKEN.header_value())
        assert location.destination.location
        assert TOKEN.gateway_id + "&" not in location.destination.location

    async def test_somebody_elses_value_has_no_ownership_and_is_no_reason_for_a_restart(
        self, location: Place
    ) -> None:
        location.put(TOKEN.header_value().reveal())
        stored = await stored_in(location.destination)
        assert (stored.token, stored.ownership, stored.restart) == (TOKEN, None, None)

    async def test_a_token_is_read_in_whatever_form_it_is_there(self, location: Place) -> None:
        for form in ('"GatewayKey {}"\n', " {}\r\n", "{}", "GatewayKey  {}"):
            location.put(form.format(TOKEN.value.reveal()))
            stored = await stored_in(location.destination)
            assert (stored.token, stored.exact) == (TOKEN, False), form

    async def test_a_value_that_is_no_token_is_there_but_holds_none(self, location: Place) -> None:
        location.put(STRANGE)
        stored = await stored_in(location.destination)
        assert (stored.value, stored.token) == (Secret(STRANGE), None)

    async def test_an_empty_value_counts_as_nothing_stored_and_is_filled(self, location: Place) -> None:
        location.put("")
        stored = await stored_in(location.destination)
        assert (stored.value, stored.token) == (None, None)
        await location.destination.write(TOKEN, OWNERSHIP, stored)
        assert (await stored_in(location.destination)).token == TOKEN

    async def test_somebody_elses_value_is_replaced_when_told_what_was_read(self, location: Place) -> None:
        location.put(STRANGE)
        await location.destination.write(TOKEN, OWNERSHIP, await location.destination.read())
        stored = await stored_in(location.destination)
        assert (stored.token, stored.owned) == (TOKEN, OWNERSHIP.of(TOKEN.header_value()))

    async def test_an_ownership_is_written_beside_somebody_elses_value_which_stays(
        self, location: Place
    ) -> None:
        value = f" {TOKEN.value.reveal()}\n"
        location.put(value)
        taken_over = replace(OWNERSHIP, taken_over=True, restart_asked="a")
        await location.destination.write_ownership(taken_over, await stored_in(location.destination))
        assert (await stored_in(location.destination)).owned == taken_over.of(Secret(value))
        assert location.stored() == value

    async def test_an_ownership_keeps_nothing_of_the_one_before(self, location: Place) -> None:
        before = replace(OWNERSHIP, taken_over=True, restart_asked="a")
        destination = location.destination
        for change in (partial(destination.write, NEWER), destination.write_ownership):
            await destination.write(TOKEN, before, await destination.read())
            await change(OWNERSHIP, await stored_in(destination))
            stored = await stored_in(destination)
            assert stored.value is not None
            assert stored.owned == OWNERSHIP.of(stored.value)

    async def test_a_write_in_between_is_a_conflict_and_stays(self, location: Place) -> None:
        await location.destination.write(TOKEN, OWNERSHIP, None)
        stored = await stored_in(location.destination)
        location.put(STRANGE)
        for attempt in (
            location.destination.write(NEWER, OWNERSHIP, stored),
            location.destination.write(NEWER, OWNERSHIP, None),
            location.destination.write_ownership(OWNERSHIP, stored),
        ):
            with pytest.raises(WriteConflict, match="another writer"):
                await attempt
            assert location.stored() == STRANGE

    async def test_a_refusal_says_what_is_lacking(self, location: Place) -> None:
        location.forbid()
        with pytest.raises(location.refusal, match=location.said_when_forbidden):
            await location.destination.read()

    async def test_a_place_out_of_reach_says_so(self, location: Place) -> None:
        location.cut_off()
        with pytest.raises(location.outage):
            await location.destination.read()

    async def test_a_refused_write_raises_and_keeps_the_token_out_of_errors_and_logs(
        self, location: Place, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        location.forbid()
        with pytest.raises(GatewayTokensError) as caught:
            await location.destination.write(TOKEN, OWNERSHIP, None)
        said = f"{caught.value} {caught.value!r} {caught.getrepr()} {caplog.text}"
        assert TOKEN.value.reveal().rpartition("&")[2] not in said

    async def test_a_delivery_leaves_no_token_in_the_logs(
        self, location: Place, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        await location.destination.write(TOKEN, OWNERSHIP, None)
        stored = await stored_in(location.destination)
        await location.destination.write_ownership(OWNERSHIP, stored)
        await location.destination.restart(stored)
        signature = TOKEN.value.reveal().rpartition("&")[2]
        in_base64 = b64encode(TOKEN.header_value().reveal().encode()).decode()
        assert not [secret for secret in (signature, in_base64) if secret in caplog.text]

    async def test_a_failed_write_leaves_the_old_value(self, location: Place) -> None:
        await location.destination.write(TOKEN, OWNERSHIP, None)
        before = await location.destination.read()
        with location.failing_writes():
            with pytest.raises(GatewayTokensError):
                await location.destination.write(NEWER, OWNERSHIP, before)
            with pytest.raises(GatewayTokensError):
                await location.destination.write_ownership(OWNERSHIP, await stored_in(location.destination))
            assert await location.destination.read() == before


class Opened:
    """The HTTP clients and network connections that were opened since, each kept alive by being listed here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clients: list[aiohttp.ClientSession] = []
        self.connections: list[asyncio.BaseTransport] = []
        loop = asyncio.get_running_loop()
        connect, begin = loop.create_connection, aiohttp.ClientSession.__init__

        async def create_connection(*args: Any, **named: Any) -> tuple[asyncio.BaseTransport, Any]:  # noqa: ANN401
            transport, protocol = await connect(*args, **named)
            self.connections.append(transport)
            return transport, protocol

        def init(client: aiohttp.ClientSession, *args: Any, **named: Any) -> None:  # noqa: ANN401
            begin(client, *args, **named)
            self.clients.append(client)

        monkeypatch.setattr(loop, "create_connection", create_connection)
        monkeypatch.setattr(aiohttp.ClientSession, "__init__", init)

    def still_open(self) -> list[object]:
        return [
            *(client for client in self.clients if not client.closed),
            *(connection for connection in self.connections if not connection.is_closing()),
        ]


@pytest.mark.parametrize("kind", PLACES)
async def test_many_rows_share_their_clients_and_leave_no_connection_open_after_close(
    around: Surroundings, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Opened(monkeypatch)

    async def deliver(row: int) -> tuple[int, int]:
        destination = PLACES[kind](around, GatewayRef("contoso", f"edge-{row}")).destination
        await destination.write(TOKEN, OWNERSHIP, None)
        await destination.restart(await stored_in(destination))
        return len(opened.clients), len(opened.connections)

    after_one, *_, after_many = [await deliver(row) for row in range(20)]
    assert after_many == after_one
    assert after_one > (0, 0) or kind == "memory"
    await around.azure.close()
    assert opened.still_open() == []
