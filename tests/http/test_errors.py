"""What callers and operators are told when something is wrong."""

import asyncio
import json
from typing import Any, ClassVar

import pytest

from emulator.faults import Fault
from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from gateway_tokens.azure.api_management import ISSUE_ACTION, READ_ACTION
from gateway_tokens.http import answers as http_answers
from gateway_tokens.http.requests import MAX_BODY_BYTES
from tests import served_estate
from tests.http_calls import Answer, document, generate_token, health, list_gateways, text
from tests.renewal_estate import lines
from tests.served_estate import Opens

pytestmark = pytest.mark.usefixtures("app")
JSON = {"Content-Type": "application/json"}


def arm(status: int, body: object = "", **headers: str) -> Fault:
    """ARM answers so from now on."""
    return Fault("arm", times=None, status=status, body=json.dumps(body), headers={**JSON, **headers})


# Bad input


async def test_a_bad_request_gets_400_with_every_fault_and_azure_is_not_asked(emulator: Emulator) -> None:
    """The tests of requests have every fault that a request can have."""
    for answer, paths in (
        (await generate_token(body=b"[" * 8000), {"body"}),
        (await generate_token(body=b'{"lifetime": NaN}'), {"body"}),
        (await generate_token(body=b"{}" + b" " * MAX_BODY_BYTES), {"body"}),
        (
            await generate_token("managed", {"keyType": 1, "x": 1}, service="-", form="x", namespace="-"),
            {"service", "gatewayId", "format", "namespace", "keyType", "x"},
        ),
        (await list_gateways("1contoso"), {"service"}),
    ):
        assert (answer.status_code, document(answer)["code"]) == (400, "request_invalid")
        assert {fault["path"] for fault in document(answer)["faults"]} == paths
    assert emulator.azure.called("arm") == []


# Azure's own refusals

UNUSABLE: tuple[object, ...] = ("", {}, {"value": ""}, {"value": "edge-01&1&x"}, [], "edge-01")
OTHERS = {"value": f"edge-02&203001010000&{'A' * 86}=="}


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (arm(502), 503, "azure_unavailable"),
        (Fault("arm", times=None, kind="drop"), 503, "azure_unavailable"),
        (Fault("identity", times=None, status=403, body="no"), 503, "identity_unavailable"),
        *((arm(200, body), 502, "token_unusable") for body in (*UNUSABLE, OTHERS)),
    ],
)
async def test_what_is_azures_failure_is_a_5xx(
    emulator: Emulator, fault: Fault, status: int, code: str
) -> None:
    emulator.azure.faults.add(fault)
    answer = await generate_token()
    assert (answer.status_code, document(answer)["code"]) == (status, code)


async def test_arms_400_is_a_400_that_carries_its_code_message_and_details(emulator: Emulator) -> None:
    detail = {"code": "ValidationError", "target": "expiry", "message": "At most 30 days."}
    emulator.azure.faults.add(
        arm(400, {"error": {"code": "ValidationError", "message": "Incorrect:", "details": [detail]}})
    )
    answer = await generate_token()
    body = document(answer)
    assert (answer.status_code, body["code"]) == (400, "azure_rejected")
    assert (body["azure"]["code"], body["azure"]["message"]) == ("ValidationError", "Incorrect:")
    assert body["azure"]["details"] == [{"path": "expiry", "message": "ValidationError: At most 30 days."}]


async def test_arms_403_is_a_502_that_names_the_action_and_scope_that_the_identity_lacks(
    emulator: Emulator,
) -> None:
    emulator.azure.granted = set()
    for answer, action in ((await generate_token(), ISSUE_ACTION), (await list_gateways(), READ_ACTION)):
        body = document(answer)
        assert (answer.status_code, body["code"]) == (502, "azure_forbidden")
        assert action in body["detail"]
        assert str(served_estate.CONTOSO) in body["detail"]


async def test_arms_404_is_a_404_for_a_caller_who_may_know() -> None:
    answer = await generate_token("edge-99")
    assert (answer.status_code, document(answer)["code"]) == (404, "not_found")


async def test_arms_429_is_a_503_that_says_when_to_come_back(emulator: Emulator) -> None:
    emulator.azure.faults.add(arm(429, **{"Retry-After": "3600"}))
    answer = await generate_token()
    assert (answer.status_code, document(answer)["code"]) == (503, "azure_throttled")
    assert int(answer.headers["Retry-After"]) >= 3600


async def test_callers_who_use_up_their_share_of_arms_budget_get_a_429_that_says_when_to_come_back() -> None:
    calls = [asyncio.create_task(generate_token()) for _ in range(51)]
    done, waits = await asyncio.wait(calls, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
    while not (refused := [call for call in done if call.result().status_code == 429]):
        done, waits = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    answer = refused[0].result()
    assert document(answer)["code"] == "too_many_requests"
    assert 5 <= int(answer.headers["Retry-After"]) <= 6
    for call in waits:
        call.cancel()


async def test_nothing_of_arms_message_is_passed_on_but_what_mends_the_request(emulator: Emulator) -> None:
    error = {
        "code": "Odd",
        "message": "quoting-a-secret",
        "details": [{"code": "c", "message": "quoting-a-secret"}],
    }
    for status in (403, 404, 418, 429, 500):
        emulator.azure.faults.clear()
        emulator.azure.faults.add(arm(status, {"error": error}, **{"Retry-After": "3600"}))
        answer = await generate_token()
        assert answer.status_code >= 404
        assert "quoting-a-secret" not in text(answer)


# Settings that are broken

BROKEN: dict[str, dict[str, str]] = {
    "document missing": {"GATEWAY_TOKENS": ""},
    "document malformed": {"GATEWAY_TOKENS": "{"},
    "document faulty": {"GATEWAY_TOKENS": '{"services": {}, "secret-plan": 1}'},
    "schedule faulty": {"RENEWAL_SCHEDULE": "secret-plan"},
    "sign-in half set": {"SIGN_IN_TENANT": ""},
    "function keys neither allowed nor not": {"ALLOW_FUNCTION_KEYS": "secret-plan"},
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
async def test_the_log_alone_lists_the_faults_of_broken_settings_and_repaired_ones_work_at_once(
    app: Opens, caplog: pytest.LogCaptureFixture, broken: dict[str, str]
) -> None:
    app(**broken)
    answers = [await health(), await generate_token(), await list_gateways()]
    assert answers[0].status_code == 503
    assert document(answers[0])["problems"] == [{"code": "settings_invalid"}]
    for answer in answers[1:]:
        body = document(answer)
        assert (answer.status_code, body["code"]) == (500, "settings_invalid")
        assert body["detail"] == "The app's settings are invalid. The app's log lists the faults."
    logged = {line["error"] for line in lines(caplog, "request.failed")}
    assert any(name in line for line in logged for name in (*broken, "secret-plan"))
    assert not any(name in text(answer) for answer in answers for name in (*broken, "secret-plan"))
    app()
    assert (await generate_token()).status_code == (await health()).status_code == 200


# What nobody foresaw


class BrokenRequest:
    """A request that fails where nothing should."""

    headers: ClassVar[dict[str, str]] = {}
    url = ""

    @property
    def route_params(self) -> dict[str, str]:
        raise ZeroDivisionError("a secret in an unforeseen text")

    params = route_params


async def test_an_unforeseen_failure_is_a_500_without_its_text_or_stack_trace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    request: Any = BrokenRequest()
    answer: Answer = await gateway_app.tokens().generate_token(request)
    body = document(answer)
    assert (answer.status_code, body["code"]) == (500, "internal_error")
    assert not {"ZeroDivisionError", "Traceback", "unforeseen text"} & set(text(answer).split())
    assert "unforeseen" not in text(answer).replace("Something unexpected failed.", "")
    assert answer.headers["Cache-Control"] == "no-store"
    # The operator finds where it was raised in the log, by the correlation id; never its text.
    (line,) = lines(caplog, "unexpected_failure")
    assert (line["correlationId"], line["level"]) == (body["correlationId"], "ERROR")
    assert line["error"] == "ZeroDivisionError"
    assert "unforeseen text" not in caplog.text


async def test_health_answers_whatever_is_in_the_headers() -> None:
    assert (await health(headers={"authorization": " ", "x-correlation-id": "\x00"})).status_code == 200


async def test_a_caller_is_answered_before_the_platform_cuts_the_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert http_answers.LONGEST_ANSWER < 230
    never: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    async with asyncio.timeout(5):
        answer = await http_answers._answer(never, within=0)
    assert (answer.status_code, document(answer)["code"]) == (503, "azure_unavailable")
    assert [line["code"] for line in lines(caplog, "request.failed")] == ["azure_unavailable"]
