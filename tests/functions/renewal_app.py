"""The app's renewal routes over an emulated estate: what is configured, what is called, what came back."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import azure.functions as func
import pytest

import function_app
from emulator.host_invocation import Out, queue_message
from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from gateway_tokens.stored import Ownership
from gateway_tokens.tokens import KeyType, Secret
from tests.renewal_estate import CONTOSO, FABRIKAM

READ, WRITE = frozenset({"GET", "HEAD"}), frozenset({"PUT", "POST", "PATCH", "DELETE"})
ALL = ({"caller": {"functionKey": True}, "gateways": ["*/*"], "allow": ["issue", "read", "renew"]},)


class RenewalApp:
    """Two services: contoso with edge-01, edge-02 and lab-01 (left alone), fabrikam with plant-a."""

    def __init__(self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
        self.emulator, self._monkeypatch = emulator, monkeypatch
        self.services = {}
        self.estate: dict[str, Any] = {}  # of the settings document, beside services and access
        for name, service, gateways in (
            ("contoso", CONTOSO, ("edge-01", "edge-02", "lab-01")),
            ("fabrikam", FABRIKAM, ("plant-a",)),
        ):
            made = emulator.azure.add_service(service.subscription_id, service.resource_group, service.name)
            self.services[name] = made
            for gateway in gateways:
                made.add_gateway(gateway)

    def configure(self, access: Sequence[Mapping[str, Any]] = ALL, **more: str) -> None:
        """Set every setting of the app, from the next app on."""
        document = {
            "services": {
                "contoso": {
                    "resourceId": str(CONTOSO),
                    "gateways": {"*": self._vault("contoso"), "lab-*": {"renew": False}},
                },
                "fabrikam": {"resourceId": str(FABRIKAM), "gateways": {"plant-*": self._vault("fabrikam")}},
            },
            "access": list(access),
            **self.estate,
        }
        settings = {
            "GATEWAY_TOKENS": json.dumps(document),
            "RENEWAL_SCHEDULE": "0 0 * * * *",
            "ALLOW_FUNCTION_KEYS": "true",
        }
        for name in ("SIGN_IN", "AZURE_CREDENTIAL", "AZURE_CLIENT_ID"):
            self._monkeypatch.delenv(name, raising=False)
        for name, value in {**self.emulator.settings(), **settings, **more}.items():
            self._monkeypatch.setenv(name, value)

    def hold(self, gateway: str, expires_in: timedelta, service: str = "contoso") -> str:
        """Put this app's own token into the gateway's secret."""
        expiry = (datetime.now(UTC) + expires_in).replace(second=0, microsecond=0)
        kept = self.services[service].gateway(gateway)
        assert kept is not None
        value = "GatewayKey " + kept.token("primary", expiry)
        self.emulator.azure.vault(service).set(
            f"{gateway}-token",
            value,
            datetime.now(UTC),
            tags=Ownership(
                f"{service}-apim/{gateway}", KeyType.PRIMARY, datetime(2026, 1, 1, tzinfo=UTC), expiry
            )
            .of(Secret(value))
            .tags(),
        )
        return value

    def stored(self, gateway: str, service: str = "contoso") -> str:
        """What the gateway's secret holds; empty while there is none."""
        secret = self.emulator.azure.vault(service).secret(f"{gateway}-token")
        return secret.latest.value if secret else ""

    def put(
        self, name: str, metadata: Mapping[str, str] | None = None, *, created: datetime | None = None
    ) -> None:
        """Leave a blob as a run would have, begun at that time."""
        now = datetime.now(UTC)
        self.emulator.azure.blobs.put("gateway-tokens", name, b"{}", now, metadata=dict(metadata or {}))
        self.emulator.azure.blobs.containers["gateway-tokens"][name].created = created or now

    def report(self, service: str = "contoso") -> dict[str, Any]:
        """A service's report; empty while there is none."""
        blob = self.emulator.azure.blobs.containers["gateway-tokens"].get(f"reports/{service}.json")
        return dict(json.loads(blob.content)) if blob else {}

    def writes(self) -> list[str]:
        """Every call that changed anything in Azure or asked for a token."""
        return [
            f"{call.method} {call.path}"
            for call in self.emulator.azure.calls
            if call.host != "identity" and call.method in WRITE
        ]

    def _vault(self, name: str) -> dict[str, Any]:
        return {"destinations": [{"kind": "keyVault", "vault": self.emulator.vault_url(name)}]}


@asynccontextmanager
async def renewal_app(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RenewalApp]:
    """The app over its estate, configured; closed afterwards."""
    made = RenewalApp(emulator, monkeypatch)
    made.configure()
    await gateway_app.forget()
    yield made
    await gateway_app.forget()


def asked(method: str, path: str, headers: Mapping[str, str] | None = None, **route: str) -> func.HttpRequest:
    """A request as the worker makes it."""
    url = f"https://app.example/api/{path.format(**route)}"
    return func.HttpRequest(method, url, headers=dict(headers or {}), route_params=route, body=b"")


async def list_gateways(
    service: str = "contoso", headers: Mapping[str, str] | None = None
) -> func.HttpResponse:
    """`GET services/{service}/gateways`."""
    return await _call(
        function_app.list_gateways, asked("GET", "services/{service}/gateways", headers, service=service)
    )


async def renew(
    gateway: str = "edge-01", service: str = "contoso", headers: Mapping[str, str] | None = None
) -> func.HttpResponse:
    """`POST services/{service}/gateways/{gatewayId}/renew`."""
    path = "services/{service}/gateways/{gatewayId}/renew"
    request = asked("POST", path, headers, service=service, gatewayId=gateway)
    return await _call(function_app.renew_gateway, request)


async def plan(headers: Mapping[str, str] | None = None) -> func.HttpResponse:
    """`GET renewals`."""
    return await _call(function_app.plan_renewals, asked("GET", "renewals", headers))


async def show_run(run: str, headers: Mapping[str, str] | None = None) -> func.HttpResponse:
    """`GET renewals/{run}`."""
    return await _call(function_app.show_run, asked("GET", "renewals/{run}", headers, run=run))


async def ask(
    headers: Mapping[str, str] | None = None, body: object = None
) -> tuple[func.HttpResponse, list[str]]:
    """`POST renewals`: the answer, and the messages that it left in the queue."""
    out, content = Out(), b"" if body is None else json.dumps(body).encode()
    request = func.HttpRequest(
        "POST", "https://app.example/api/renewals", headers=dict(headers or {}), body=content
    )
    function: Any = function_app.run_renewals
    answer: func.HttpResponse = await function(request, out)
    return answer, out.messages()


async def carry_out(messages: Sequence[str]) -> None:
    """What the queue brings to the app."""
    function: Any = function_app.reconcile_subscription
    for number, message in enumerate(messages):
        await function(queue_message(message, str(number), 1))


async def run(headers: Mapping[str, str] | None = None) -> func.HttpResponse:
    """`POST renewals`, and the run that it asks for."""
    answer, messages = await ask(headers)
    await carry_out(messages)
    return answer


async def health(headers: Mapping[str, str] | None = None) -> func.HttpResponse:
    """`GET health`."""
    return await _call(function_app.health, asked("GET", "health", headers))


def document(answer: func.HttpResponse) -> Any:  # noqa: ANN401 - JSON may be anything
    """The answer's JSON."""
    return json.loads(answer.get_body())


async def _call(function: Any, request: func.HttpRequest) -> func.HttpResponse:  # noqa: ANN401 - the SDK's builders are open
    answer: func.HttpResponse = await function(request)
    return answer
