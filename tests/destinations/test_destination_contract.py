"""What every kind of destination promises, the in-memory one included."""

import asyncio
import logging
from base64 import b64encode
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from gateway_tokens.errors import AzureForbidden, AzureUnavailable, GatewayTokensError, WriteConflict
from gateway_tokens.tokens import GatewayRef, KeyType, Secret
from tests.destinations.destination_places import (
    KINDS,
    NEWER,
    OWNERSHIP,
    TOKEN,
    Location,
    Surroundings,
    stored_in,
)

STRANGE = "not a token at all"


@pytest.fixture(params=KINDS)
def location(request: pytest.FixtureRequest, around: Surroundings) -> Location:
    return KINDS[request.param](around)


async def test_holds_the_token_as_the_gateway_reads_it_and_its_ownership(location: Location) -> None:
    assert await location.destination.read() is None
    ownership = replace(OWNERSHIP, owner="others-apim/edge-01", key_type=KeyType.SECONDARY, taken_over=True)
    await location.destination.write(TOKEN, ownership, None)
    stored = await stored_in(location.destination)
    assert location.stored() == f"GatewayKey {TOKEN.value.reveal()}"
    assert (stored.value, stored.token, stored.exact) == (TOKEN.header_value(), TOKEN, True)
    assert stored.owned == stored.ownership == ownership.of(TOKEN.header_value())
    assert location.destination.location
    assert TOKEN.gateway_id + "&" not in location.destination.location


@pytest.mark.parametrize("form", ["GatewayKey {}", '"GatewayKey {}"\n', " {}\r\n", "{}", "GatewayKey  {}"])
async def test_somebody_elses_token_is_read_in_whatever_form_without_ownership_or_reason_for_a_restart(
    location: Location, form: str
) -> None:
    location.put(form.format(TOKEN.value.reveal()))
    stored = await stored_in(location.destination)
    assert (stored.token, stored.exact) == (TOKEN, form == "GatewayKey {}")
    assert (stored.ownership, stored.restart) == (None, None)


@pytest.mark.parametrize(("value", "read"), [("", None), (STRANGE, Secret(STRANGE))])
async def test_a_value_that_is_no_token_holds_none_and_is_replaced_and_an_empty_one_counts_as_nothing(
    location: Location, value: str, read: Secret | None
) -> None:
    location.put(value)
    stored = await stored_in(location.destination)
    assert (stored.value, stored.token) == (read, None)
    await location.destination.write(TOKEN, OWNERSHIP, stored)
    stored = await stored_in(location.destination)
    assert (stored.token, stored.owned) == (TOKEN, OWNERSHIP.of(TOKEN.header_value()))


async def test_an_ownership_is_written_beside_somebody_elses_value_which_stays(location: Location) -> None:
    value = f" {TOKEN.value.reveal()}\n"
    location.put(value)
    taken_over = replace(OWNERSHIP, taken_over=True, restart_asked="a")
    await location.destination.write_ownership(taken_over, await stored_in(location.destination))
    assert (await stored_in(location.destination)).owned == taken_over.of(Secret(value))
    assert location.stored() == value


async def test_an_ownership_keeps_nothing_of_the_one_before(location: Location) -> None:
    urgent = replace(OWNERSHIP, taken_over=True, urgent=True, replaced_expiry=TOKEN.expiry, restart_asked="a")
    destination = location.destination
    for change in (partial(destination.write, NEWER), destination.write_ownership):
        await destination.write(TOKEN, urgent, await destination.read())
        await change(OWNERSHIP, await stored_in(destination))
        stored = await stored_in(destination)
        assert stored.value is not None
        assert stored.owned == OWNERSHIP.of(stored.value)


async def test_a_write_in_between_is_a_conflict_and_stays(location: Location) -> None:
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


async def test_a_refusal_says_what_is_lacking_and_a_place_out_of_reach_that_it_is(location: Location) -> None:
    location.fail("forbidden")
    with pytest.raises(AzureForbidden, match=location.right) as refused:
        await location.destination.read()
    assert refused.value.scope == location.destination.location
    location.fail("out of reach")
    with pytest.raises(AzureUnavailable):
        await location.destination.read()


async def test_neither_a_delivery_nor_a_refused_one_leaves_the_token_in_errors_and_logs(
    location: Location, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await location.destination.write(TOKEN, OWNERSHIP, None)
    stored = await stored_in(location.destination)
    await location.destination.write_ownership(OWNERSHIP, stored)
    await location.destination.restart(stored)
    location.fail("forbidden")
    with pytest.raises(GatewayTokensError) as caught:
        await location.destination.write(TOKEN, OWNERSHIP, stored)
    texts = f"{caught.value} {caught.value!r} {caught.getrepr()} {caplog.text}"
    assert TOKEN.value.reveal().rpartition("&")[2] not in texts
    assert b64encode(TOKEN.header_value().reveal().encode()).decode() not in texts


async def test_a_failed_write_leaves_the_old_value(location: Location) -> None:
    await location.destination.write(TOKEN, OWNERSHIP, None)
    before = await stored_in(location.destination)
    location.fail("broken off")
    for attempt in (
        location.destination.write(NEWER, OWNERSHIP, before),
        location.destination.write_ownership(OWNERSHIP, before),
    ):
        with pytest.raises(GatewayTokensError):
            await attempt
    assert await location.destination.read() == before


@pytest.mark.parametrize("kind", KINDS)
async def test_many_rows_share_their_connections_and_leave_none_open_after_close(
    around: Surroundings, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections: list[asyncio.BaseTransport] = []
    loop = asyncio.get_running_loop()
    connect = loop.create_connection

    async def create_connection(*args: Any, **named: Any) -> tuple[asyncio.BaseTransport, Any]:  # noqa: ANN401 - asyncio's own
        transport, protocol = await connect(*args, **named)
        connections.append(transport)
        return transport, protocol

    monkeypatch.setattr(loop, "create_connection", create_connection)
    opened = []
    for row in range(20):
        destination = KINDS[kind](around, GatewayRef("contoso", f"edge-{row}")).destination
        await destination.write(TOKEN, OWNERSHIP, None)
        await destination.restart(await stored_in(destination))
        opened.append(len(connections))
    assert opened[-1] == opened[0]
    assert opened[0] > 0 or kind == "memory"
    await around.azure.close()
    assert all(connection.is_closing() for connection in connections)
