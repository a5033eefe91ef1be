"""Query parameters, on every route: an unknown one is refused by its name, and `code` is the host's."""

from typing import Any, NamedTuple

import pytest

import function_app
from emulator.host_invocation import Out
from gateway_tokens.formats import TokenFormat
from tests.callers import OBJECT_ID, SIGN_IN_MODE, rule
from tests.http_calls import GATEWAYS, GENERATE, Answer, call, code_of, document
from tests.served_estate import Opens

pytestmark = pytest.mark.usefixtures("app")
GATEWAY = {"service": "contoso", "gatewayId": "edge-01"}
LEAK = {"keyType": "primary", "reason": "a leak"}


class Route(NamedTuple):
    """One route, with what is in its path and in its body."""

    function: Any
    path: str
    named: dict[str, str]
    body: object = None

    async def __call__(self, **query: str) -> Answer:
        return await call(self.function, f"POST {self.path}", self.named, self.body, query=query)


ROUTES = [
    Route(function_app.generate_token, GENERATE, GATEWAY),
    *(
        Route(
            function_app.generate_token_in_format,
            f"{GENERATE}/{{format}}",
            {**GATEWAY, "format": token_format},
        )
        for token_format in TokenFormat
    ),
    Route(function_app.list_gateways, GATEWAYS, {"service": "contoso"}),
    Route(function_app.renew_gateway, f"{GATEWAYS}/{{gatewayId}}/renew", GATEWAY),
    Route(function_app.revoke_key, f"{GATEWAYS}/{{gatewayId}}/revoke", GATEWAY, LEAK),
    Route(function_app.plan_renewals, "renewals", {}),
    Route(function_app.show_run, "renewals/{run}", {"run": "one"}),
    Route(lambda req: function_app.run_renewals(req, Out()), "renewals", {}),
    Route(function_app.health, "health", {}),
]


async def test_an_unknown_query_parameter_is_refused_by_its_name() -> None:
    for route in ROUTES:
        for value in ("envFile", ""):
            answer = await route(fromat=value)
            assert code_of(answer) == (400, "request_invalid")
            assert document(answer)["faults"] == [{"path": "fromat", "message": "unknown query parameter"}]


async def test_a_function_key_may_come_in_the_query_as_the_host_takes_it() -> None:
    for route in ROUTES:
        status = (await route()).status_code
        assert status != 400
        for name in ("code", "Code"):
            assert (await route(**{name: "sample-key"})).status_code == status


async def test_whoever_has_not_signed_in_is_not_told_what_a_call_takes(app: Opens) -> None:
    app([rule({"objectId": OBJECT_ID})], **SIGN_IN_MODE)
    for route in ROUTES:
        expected = 400 if route.function is function_app.health else 401
        assert (await route(fromat="x")).status_code == expected
