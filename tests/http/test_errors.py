"""What callers and operators are told when something is wrong."""

import asyncio
import json
from typing import Any, ClassVar

import pytest

from emulator.faults import Fault
from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from gateway_tokens.http import answers as http_answers
from tests.http.renewal_app import RenewalApp
from tests.http_calls import Answer, code_of, document, generate_token, health, list_gateways, text
from tests.renewal_estate import lines

pytestmark = pytest.mark.usefixtures("estate")
DETAILS = [{"code": "TooLate", "target": "expiry", "message": "At most 30 days."}]
ODD = {"error": {"code": "ValidationError", "message": "Azure's own words", "details": DETAILS}}
OTHERS = {"value": f"edge-02&203001010000&{'A' * 86}=="}
LATER = {"Retry-After": "3600"}


def arm(status: int, body: object = ODD, **headers: str) -> Fault:
    """ARM answers so from now on."""
    headers = {"Content-Type": "application/json", **headers}
    return Fault("arm", times=None, status=status, body=json.dumps(body), headers=headers)


async def test_a_bad_request_gets_400_with_every_fault_and_azure_is_not_asked(emulator: Emulator) -> None:
    body = {"keyType": 1, "x": 1}
    answer = await generate_token("managed", body, service="-", form="x", query={"namespace": "-"})
    assert code_of(answer) == (400, "request_invalid")
    paths = ["service", "gatewayId", "format", "namespace", "keyType", "x"]
    assert [fault["path"] for fault in document(answer)["faults"]] == paths
    assert emulator.azure.called("arm") == []


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (arm(403), 502, "azure_error"),
        (arm(404), 404, "not_found"),
        (arm(404, {"error": {"code": "SubscriptionNotFound"}}), 502, "azure_not_found"),
        (arm(418), 502, "azure_error"),
        (arm(429, **LATER), 503, "azure_throttled"),
        (arm(502), 503, "azure_unavailable"),
        (Fault("arm", times=None, kind="drop"), 503, "azure_unavailable"),
        (Fault("identity", times=None, status=403, body="no"), 503, "identity_unavailable"),
        (arm(200, OTHERS), 502, "token_unusable"),
        (arm(200, {"value": ""}), 502, "token_unusable"),
    ],
)
async def test_what_azure_answers_is_told_by_status_and_code_and_never_in_its_own_words(
    emulator: Emulator, fault: Fault, status: int, code: str
) -> None:
    emulator.azure.faults.add(fault)
    answer = await generate_token()
    assert code_of(answer) == (status, code)
    assert not any(words in text(answer) for words in ("Azure's own words", "At most", "TooLate"))
    assert ("Retry-After" in answer.headers) == bool(fault.headers.get("Retry-After"))
    assert int(answer.headers.get("Retry-After", 3600)) >= 3600


async def test_arms_400_is_a_400_that_carries_its_code_message_and_details(emulator: Emulator) -> None:
    emulator.azure.faults.add(arm(400))
    answer = await generate_token()
    assert code_of(answer) == (400, "azure_rejected")
    azure = document(answer)["azure"]
    assert (azure["status"], azure["code"], azure["message"]) == (400, "ValidationError", "Azure's own words")
    assert azure["details"] == [{"path": "expiry", "message": "TooLate: At most 30 days."}]


async def test_arms_403_is_a_502_that_names_the_action_that_the_identity_lacks(emulator: Emulator) -> None:
    emulator.azure.granted = set()
    for answer, action in ((await generate_token(), "generateToken"), (await list_gateways(), "read")):
        assert code_of(answer) == (502, "azure_forbidden")
        assert f"service/gateways/{action}" in document(answer)["detail"]


async def test_the_log_alone_lists_the_faults_of_broken_settings_and_repaired_ones_work_at_once(
    estate: RenewalApp, caplog: pytest.LogCaptureFixture
) -> None:
    estate.configure(GATEWAY_TOKENS='{"services": {}, "secret-plan": 1}', ALLOW_FUNCTION_KEYS="secret-plan")
    answers = [await health(), await generate_token(), await list_gateways()]
    assert (answers[0].status_code, document(answers[0])["problems"]) == (503, [{"code": "settings_invalid"}])
    for answer in answers[1:]:
        assert code_of(answer) == (500, "settings_invalid")
        told = "The app's settings are invalid. The app's log lists the faults."
        assert document(answer)["detail"] == told
    for name in ("ALLOW_FUNCTION_KEYS", "secret-plan"):
        assert all(name in line["error"] for line in lines(caplog, "request.failed"))
        assert not any(name in text(answer) for answer in answers)
    estate.configure()
    assert (await generate_token()).status_code == (await list_gateways()).status_code == 200


class BrokenRequest:
    """A request that fails where nothing should."""

    headers: ClassVar[dict[str, str]] = {}
    url = ""

    @property
    def route_params(self) -> dict[str, str]:
        raise ZeroDivisionError("a secret in an unforeseen text")


async def test_an_unforeseen_failure_is_a_500_without_its_text_or_stack_trace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    request: Any = BrokenRequest()
    answer: Answer = await gateway_app.tokens().generate_token(request)
    assert code_of(answer) == (500, "internal_error")
    assert document(answer)["detail"] == "Something unexpected failed."
    assert not any(words in text(answer) for words in ("ZeroDivisionError", "Traceback", "unforeseen"))
    # The operator finds where it was raised in the log, by the correlation id; never its text.
    (line,) = lines(caplog, "unexpected_failure")
    assert (line["correlationId"], line["level"]) == (document(answer)["correlationId"], "ERROR")
    assert line["error"] == "ZeroDivisionError"
    assert "unforeseen text" not in caplog.text


async def test_a_caller_is_answered_before_the_platform_cuts_the_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert http_answers.LONGEST_ANSWER < 230
    never: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    async with asyncio.timeout(5):
        answer = await http_answers._answer(never, within=0)
    assert code_of(answer) == (503, "azure_unavailable")
    assert [line["code"] for line in lines(caplog, "request.failed")] == ["azure_unavailable"]
