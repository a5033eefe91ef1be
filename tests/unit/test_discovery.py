"""Which gateways there are to keep, and what becomes of the search when nobody listens any more."""

import asyncio

from gateway_tokens.renewal.gateway import Unit
from gateway_tokens.renewal.report import Row
from gateway_tokens.renewal.service import for_each_gateway, unit_of
from gateway_tokens.tokens import GatewayRef
from tests.renewal_estate import CONTOSO, Estate, contoso, kept


def of_many(count: int) -> Estate:
    service = {"resourceId": str(CONTOSO), "gateways": {"*": kept(), "lab-*": {"renew": False}, "bare": {}}}
    names = ["lab-01", "bare", "not a name", "managed", *(f"edge-{number:03}" for number in range(count))]
    return Estate({"contoso": service}, {CONTOSO: names})


async def found(estate: Estate) -> list[Unit | Row]:
    units: list[Unit | Row] = []

    async def one(unit: Unit | Row) -> None:
        await asyncio.sleep(0)
        units.append(unit)

    await for_each_gateway(estate.app, None, {}, one)
    return units


async def test_names_that_no_self_hosted_gateway_can_have_are_passed_over() -> None:
    units = await found(of_many(2))
    assert [str(unit.ref) for unit in units] == ["contoso/edge-000", "contoso/edge-001"]


async def test_more_gateways_than_there_are_turns_all_come() -> None:
    assert len(await found(of_many(200))) == 200


async def test_a_unit_knows_its_service_in_azure_and_its_rule() -> None:
    unit, *_ = await found(contoso(lifetime="P7D"))
    assert isinstance(unit, Unit)
    assert (unit.ref, unit.service) == (GatewayRef("contoso", "edge-01"), CONTOSO)
    assert (unit.rule.lifetime.days, unit.owner) == (7, "contoso-apim/edge-01")


async def test_cancelling_the_search_leaves_nothing_running() -> None:
    async def never(_: Unit | Row) -> None:
        await asyncio.Event().wait()

    search = asyncio.create_task(for_each_gateway(of_many(200).app, None, {}, never))
    for _ in range(300):  # until every turn is taken
        await asyncio.sleep(0)
    search.cancel()
    await asyncio.wait([search])
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_a_gateway_is_not_a_unit_of_work_unless_a_rule_delivers_its_token() -> None:
    service = of_many(1).app.settings.estate.services["contoso"]
    assert unit_of("contoso", service, "edge-001") is not None
    assert unit_of("contoso", service, "lab-01") is None
    assert unit_of("contoso", service, "bare") is None
