"""Which gateways there are to keep, and what becomes of the search when nobody listens any more."""

import asyncio
from contextlib import aclosing

from gateway_tokens.discovery import Everywhere, discover, unit_of
from gateway_tokens.model import GatewayRef
from gateway_tokens.units import Unit
from tests.renewal_estate import CONTOSO, Estate, contoso, kept


def of_many(count: int) -> Estate:
    service = {"resourceId": str(CONTOSO), "gateways": {"*": kept(), "lab-*": {"renew": False}, "bare": {}}}
    names = ["lab-01", "bare", "not a name", "managed", *(f"edge-{number:03}" for number in range(count))]
    return Estate({"contoso": service}, {CONTOSO: names})


async def found(estate: Estate) -> list[str]:
    async with aclosing(discover(estate.world, Everywhere(), {})) as units:
        return [str(unit.ref) async for unit in units]


async def test_names_that_no_self_hosted_gateway_can_have_are_passed_over() -> None:
    assert await found(of_many(2)) == ["contoso/edge-000", "contoso/edge-001"]


async def test_more_gateways_than_are_read_ahead_all_come() -> None:
    assert len(await found(of_many(200))) == 200


async def test_a_unit_knows_its_service_in_azure_and_its_rule() -> None:
    async with aclosing(discover(contoso(lifetime="P7D").world, Everywhere(), {})) as units:
        unit = await anext(units)
    assert isinstance(unit, Unit)
    assert (unit.ref, unit.service) == (GatewayRef("contoso", "edge-01"), CONTOSO)
    assert (unit.rule.lifetime.days, unit.owner) == (7, "contoso-apim/edge-01")


async def test_the_search_ends_when_nobody_listens_any_more() -> None:
    units = discover(of_many(200).world, Everywhere(), {})
    await anext(units)
    for _ in range(300):  # until the search has read ahead as far as it may
        await asyncio.sleep(0)
    await units.aclose()
    for _ in range(20):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_a_gateway_is_no_unit_of_work_unless_a_rule_delivers_its_token() -> None:
    service = of_many(1).world.settings.estate.services["contoso"]
    assert unit_of("contoso", service, "edge-001") is not None
    assert unit_of("contoso", service, "lab-01") is None
    assert unit_of("contoso", service, "bare") is None
