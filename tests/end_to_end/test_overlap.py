"""Two sweeps at once, as when the timer meets a call over HTTP or a second instance: nothing is left half-done."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from emulator.gateways import Service
from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from gateway_tokens.renewal.parts import App
from gateway_tokens.renewal.report import Outcome, SweepReport
from gateway_tokens.renewal.run import sweep
from gateway_tokens.tokens import GatewayRef
from tests.renewal_estate import Only

GATEWAYS = [f"edge-{number:02}" for number in range(8)]
WELL = {Outcome.FRESH, Outcome.RENEWED}


@pytest.fixture
def service(emulator: Emulator) -> Service:
    made = emulator.azure.add_service("11111111-1111-1111-1111-111111111111", "rg", "contoso-apim")
    for name in GATEWAYS:
        made.add_gateway(name)
    return made


@pytest.fixture
async def worlds(
    emulator: Emulator, service: Service, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[App, App]]:
    """Two instances of the app over one estate; each gateway has two vaults."""
    destinations = [
        {"kind": "keyVault", "vault": emulator.vault_url("contoso")},
        {"kind": "keyVault", "vault": emulator.vault_url("fabrikam")},
    ]
    rules = {"*": {"destinations": destinations}}
    document = {"services": {"contoso": {"resourceId": service.resource_id, "gateways": rules}}}
    settings = {
        **emulator.settings(),
        "RENEWAL_SCHEDULE": "0 0 * * * *",
        "ALLOW_FUNCTION_KEYS": "true",
        "GATEWAY_TOKENS": json.dumps(document),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    (one, its), (other, others) = gateway_app._put_together(), gateway_app._put_together()
    yield one, other
    await its.close()
    await others.close()


async def at_once(emulator: Emulator, *worlds: App) -> list[SweepReport]:
    """Sweeps that really interleave: every call takes a moment."""
    emulator.azure.latency = 0.005
    reports = await asyncio.gather(*(sweep(app) for app in worlds))
    # Each issued tokens for the same gateways: none came too late to be in the other's way.
    issues = [call.path for call in emulator.azure.called("arm", "POST")]
    assert len(issues) > len(set(issues))
    return reports


async def assert_consistent(app: App, service: Service, reports: list[SweepReport]) -> None:
    for report in reports:
        assert set(report.counts) <= WELL
        assert report.total == 2 * len(GATEWAYS)
    now = datetime.now(UTC)
    (rule,) = app.settings.estate.services["contoso"].gateways.values()
    for name in GATEWAYS:
        for spec in rule.destinations:
            stored = await app.destination(spec, GatewayRef("contoso", name)).read()
            assert stored is not None
            assert stored.token is not None
            assert stored.ownership is not None
            assert stored.ownership.owner == f"contoso-apim/{name}"
            assert service.gateways[name].accepts(stored.token.value.reveal(), now + timedelta(days=29))


async def test_two_sweeps_with_the_same_tokens(
    emulator: Emulator, service: Service, worlds: tuple[App, App]
) -> None:
    reports = await at_once(emulator, *worlds)
    await assert_consistent(worlds[0], service, reports)


async def test_two_sweeps_with_different_tokens(
    emulator: Emulator, service: Service, worlds: tuple[App, App]
) -> None:
    # Tokens of one minute are alike; these two are made minutes apart.
    one, other = worlds
    late = replace(other, clock=lambda: datetime.now(UTC) - timedelta(minutes=3))
    reports = await at_once(emulator, one, late)
    await assert_consistent(one, service, reports)


async def test_a_third_sweep_finds_everything_fresh(
    emulator: Emulator, service: Service, worlds: tuple[App, App]
) -> None:
    one, other = worlds
    late = replace(other, clock=lambda: datetime.now(UTC) - timedelta(minutes=3))
    await at_once(emulator, one, late)
    third = await sweep(one)
    assert third.counts == {Outcome.FRESH: 2 * len(GATEWAYS)}
    await assert_consistent(one, service, [third])


async def test_a_forced_renewal_during_a_sweep(
    emulator: Emulator, service: Service, worlds: tuple[App, App]
) -> None:
    one, other = worlds
    few = {"edge-01", "edge-02", "edge-03"}
    emulator.azure.latency = 0.005
    late = replace(other, clock=lambda: datetime.now(UTC) - timedelta(minutes=3))
    whole, part = await asyncio.gather(
        sweep(one), sweep(late, Only(lambda ref: ref.gateway in few), complete=False)
    )
    assert set(part.counts) <= WELL
    assert part.total == 2 * len(few)
    await assert_consistent(one, service, [whole])
    assert (await one.sweeps.load()).troubles == {}
