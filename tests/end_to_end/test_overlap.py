"""Two runs at once, on two instances: one value in each location, and nothing half done."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emulator.gateways import Service
from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from gateway_tokens.estate.app_settings import read_settings
from gateway_tokens.parts import App
from gateway_tokens.renewal import run
from gateway_tokens.renewal.run import RunRequest, Runs, run_requests
from gateway_tokens.renewal.service import load_report
from gateway_tokens.tokens import GatewayRef

GATEWAYS = [f"edge-{number:02}" for number in range(8)]
WELL = {"fresh", "renewed", "unchanged"}


@pytest.fixture
def service(emulator: Emulator) -> Service:
    made = emulator.azure.add_service("11111111-1111-1111-1111-111111111111", "rg", "contoso-apim")
    for name in GATEWAYS:
        made.add_gateway(name)
    return made


@pytest.fixture
async def apps(
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
    (one, its), (other, others) = (gateway_app.put_together(read_settings(os.environ)) for _ in range(2))
    yield one, other
    await its.close()
    await others.close()


async def at_once(emulator: Emulator, *runs: tuple[App, RunRequest]) -> None:
    """Runs that really interleave: every call takes a moment."""
    emulator.azure.latency = 0.005
    await asyncio.gather(*(Runs().reconcile(app, request) for app, request in runs))


def a_request(app: App, **more: Any) -> RunRequest:  # noqa: ANN401 - the request's own
    (request,) = run_requests(app.settings.estate, app.clock(), **more)
    return request


async def assert_consistent(app: App, service: Service) -> None:
    report = await load_report(app, "contoso")
    assert {str(row.outcome) for row in report.rows.values()} <= WELL
    assert len(report.rows) == 2 * len(GATEWAYS)
    now = datetime.now(UTC)
    (rule,) = app.settings.estate.services["contoso"].gateways.values()
    for name in GATEWAYS:
        values = set()
        for spec in rule.destinations:
            stored = await app.destination(spec, GatewayRef("contoso", name)).read()
            assert stored is not None
            assert stored.token is not None
            assert stored.ownership is not None
            assert stored.ownership.owner == f"contoso-apim/{name}"
            assert service.gateways[name].accepts(stored.token.value.reveal(), now + timedelta(days=29))
            values.add(stored.token.value)
        assert len(values) == 1


def versions(emulator: Emulator) -> int:
    secrets = [
        emulator.azure.vault(v).secret(f"{g}-token") for v in ("contoso", "fabrikam") for g in GATEWAYS
    ]
    return sum(len(secret.versions) for secret in secrets if secret)


async def test_of_two_runs_that_cannot_know_of_each_other_one_value_remains(
    emulator: Emulator, service: Service, apps: tuple[App, App], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the record of runs nothing saves the doubled work, and the result is the same."""

    async def not_covered(*_: object) -> str:
        return ""

    monkeypatch.setattr(run, "_covered_by", not_covered)
    one, other = apps
    await at_once(emulator, (one, a_request(one, run="one")), (other, a_request(one, run="two")))
    issues = [call.path for call in emulator.azure.called("arm", "POST")]
    # Each issued tokens for the same gateways: none came too late to be in the other's way.
    assert len(issues) > len(set(issues))
    await assert_consistent(one, service)
    # A vault cannot guard a write: two runs may add the same value twice, never two values.
    assert versions(emulator) <= 4 * len(GATEWAYS)


async def test_twenty_requests_on_two_instances_issue_each_token_once_or_twice(
    emulator: Emulator, service: Service, apps: tuple[App, App]
) -> None:
    one, other = apps
    requests = [a_request(one, run=f"run-{number}", force=True) for number in range(20)]
    instances = (Runs(), Runs())
    emulator.azure.latency = 0.005
    await asyncio.gather(
        *(instances[n % 2].reconcile((one, other)[n % 2], request) for n, request in enumerate(requests))
    )
    assert len(emulator.azure.called("arm", "POST")) <= 2 * len(GATEWAYS)
    await assert_consistent(one, service)


async def test_a_later_run_finds_everything_fresh(
    emulator: Emulator, service: Service, apps: tuple[App, App]
) -> None:
    one, other = apps
    await at_once(emulator, (one, a_request(one, run="one")), (other, a_request(one, run="two")))
    before = versions(emulator)
    later = replace(one, clock=lambda: datetime.now(UTC) + timedelta(minutes=3))
    await at_once(emulator, (later, a_request(later)))
    assert versions(emulator) == before
    await assert_consistent(one, service)


async def test_a_forced_run_of_some_gateways_during_another(
    emulator: Emulator, service: Service, apps: tuple[App, App]
) -> None:
    one, other = apps
    few = ("contoso/edge-01", "contoso/edge-02")
    await at_once(
        emulator,
        (one, a_request(one, run="one")),
        (other, a_request(other, run="two", gateways=few, force=True)),
    )
    await assert_consistent(one, service)
