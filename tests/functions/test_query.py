"""Query parameters, on every route: an unknown one is refused by its name, and `code` is the host's."""

from typing import Any, NamedTuple

import pytest

import function_app
from emulator.host_invocation import Out
from gateway_tokens.issuing import TokenFormat
from tests.callers import OBJECT_ID, SIGN_IN_MODE, rule
from tests.estate import Opens
from tests.http_calls import GENERATE, Answer, document, request

pytestmark = pytest.mark.usefixtures("app")
GATEWAY = {"service": "contoso", "gatewayId": "edge-01"}
IN_FORM = f"{GENERATE}/{{format}}"
RENEW = "services/{service}/gateways/{gatewayId}/renew"


class Call(NamedTuple):
    """A call of one route."""

    function: Any
    path: str
    route: dict[str, str]

    async def __call__(self, **query: str) -> Answer:
        answer: Answer = await self.function(request("POST", self.path, self.route, query=query))
        return answer


CALLS = [
    Call(function_app.generate_token, GENERATE, GATEWAY),
    *(
        Call(function_app.generate_token_in_format, IN_FORM, {**GATEWAY, "format": form})
        for form in TokenFormat
    ),
    Call(function_app.list_gateways, "services/{service}/gateways", {"service": "contoso"}),
    Call(function_app.renew_gateway, RENEW, GATEWAY),
    Call(function_app.plan_renewals, "renewals", {}),
    Call(function_app.show_run, "renewals/{run}", {"run": "one"}),
    Call(lambda req: function_app.run_renewals(req, Out()), "renewals", {}),
    Call(function_app.health, "health", {}),
]
calls = pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.path} {call.route.get('format', '')}")


@calls
@pytest.mark.parametrize("value", ["envFile", ""])
async def test_an_unknown_query_parameter_is_refused_by_its_name(call: Call, value: str) -> None:
    answer = await call(fromat=value)
    assert (answer.status_code, document(answer)["code"]) == (400, "request_invalid")
    assert document(answer)["faults"] == [{"path": "fromat", "message": "unknown query parameter"}]


@calls
@pytest.mark.parametrize("name", ["code", "Code"])
async def test_a_function_key_may_come_in_the_query_as_the_host_takes_it(call: Call, name: str) -> None:
    answer = await call(**{name: "sample-key"})
    assert answer.status_code == (await call()).status_code != 400


@calls
async def test_whoever_has_not_signed_in_is_not_told_what_a_call_takes(call: Call, app: Opens) -> None:
    app([rule({"objectId": OBJECT_ID})], **SIGN_IN_MODE)
    assert (await call(fromat="x")).status_code == (400 if call.function is function_app.health else 401)
