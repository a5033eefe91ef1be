"""Issuing over HTTP: the answer, the audit trail, which never has the value, and what is told when something is wrong."""

import asyncio
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from emulator.faults import Fault
from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from gateway_tokens.http import answers as http_answers
from gateway_tokens.tokens import written
from tests.callers import CLIENT_ID, OBJECT_ID, SIGN_IN_MODE, bearer, rule
from tests.http.renewal_app import RenewalApp
from tests.http_calls import Answer, code_of, document, generate_token, health, list_gateways, text
from tests.renewal_estate import lines

pytestmark = pytest.mark.usefixtures("estate")
ID = {"x-correlation-id": "run-17"}


def trail(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The one line in the audit trail."""
    [line] = [line for line in lines(caplog) if line["event"].startswith("token.")]
    return line


async def test_the_answer_is_a_superset_of_gateway_token_contract(estate: RenewalApp) -> None:
    wanted = (datetime.now(UTC) + timedelta(days=3)).replace(second=0, microsecond=0)
    # The expiry has seven digits of a second, as in the reference's own sample.
    body = {"keyType": "secondary", "expiry": f"{wanted:%Y-%m-%dT%H:%M}:24.2845269Z"}
    answer = await generate_token(body=body)
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert document(answer) == {
        "value": estate.gateways["edge-01"].token("secondary", wanted),
        "gatewayId": "edge-01",
        "keyType": "secondary",
        "expiry": written(wanted),
    }


async def test_an_estate_that_delivers_nothing_needs_no_storage(estate: RenewalApp) -> None:
    estate.rules = estate.elsewhere = {}
    estate.configure(STATE_CONTAINER_URL="")
    answers = [await health(), await list_gateways(), await generate_token()]
    assert [answer.status_code for answer in answers] == [200, 200, 200]


async def test_an_issued_token_leaves_a_line_with_exactly_these_fields(
    estate: RenewalApp, caplog: pytest.LogCaptureFixture
) -> None:
    estate.configure(rule("*/*", allow=("issue",), objectId=OBJECT_ID), **SIGN_IN_MODE)
    headers = bearer(estate.emulator) | ID
    body = document(await generate_token("EDGE-01", service="CONTOSO", headers=headers))
    assert trail(caplog) == {
        "event": "token.issued",
        "level": "INFO",
        "correlationId": "run-17",
        "caller": f"client:{CLIENT_ID} object:{OBJECT_ID}",
        "service": "contoso",
        "gateway": "edge-01",
        "keyType": "primary",
        "expiry": body["expiry"],
        "fingerprint": hashlib.sha256(body["value"].encode()).hexdigest()[:12],
    }
    # The SDK does not log requests.
    assert {record.name for record in caplog.records} == {"gateway_tokens"}


SOON = {"keyType": "secondary", "expiry": written(datetime.now(UTC) + timedelta(days=2))}
HIDDEN = {"service": "fabrikam", "gateway": "plant-a", "code": "access_denied"}


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ({}, HIDDEN),
        ({"body": SOON}, HIDDEN | SOON),
        ({"gateway": 'x"}\n{"event": "token.issued"', "body": {"keyType": "x"}}, {"code": "request_invalid"}),
        ({"headers": ID | {"authorization": "Basic"}}, {"caller": "nobody", "code": "sign_in_required"}),
    ],
    ids=["asks for nothing", "asks for key type and expiry", "cannot be read", "has not signed in"],
)
async def test_a_request_that_is_refused_leaves_a_line_with_what_was_asked_for_if_it_could_be_read(
    estate: RenewalApp, caplog: pytest.LogCaptureFixture, body: dict[str, Any], line: dict[str, str]
) -> None:
    estate.configure(rule("contoso/*"))
    await generate_token(**{"headers": ID, "gateway": "plant-a", "service": "fabrikam"} | body)
    refused = {"event": "token.refused", "level": "WARNING", "correlationId": "run-17"}
    assert trail(caplog) == refused | {"caller": "function-key"} | line
    assert all("\n" not in record.getMessage() for record in caplog.records)


DETAILS = [{"code": "TooLate", "target": "expiry", "message": "At most 30 days."}]
ODD = {"error": {"code": "ValidationError", "message": "Azure's own words", "details": DETAILS}}
OTHERS = {"value": f"edge-02&203001010000&{'A' * 86}=="}
LATER = {"Retry-After": "3600"}


def arm(status: int, body: object = ODD, **headers: str) -> Fault:
    """ARM answers so from now on."""
    headers = {"Content-Type": "application/json", **headers}
    return Fault("arm", times=None, status=status, body=json.dumps(body), headers=headers)


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (arm(403, {"error": {"code": "AuthorizationFailed"}}), 502, "azure_forbidden"),
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
    emulator: Emulator, caplog: pytest.LogCaptureFixture, fault: Fault, status: int, code: str
) -> None:
    emulator.azure.faults.add(fault)
    answer = await generate_token()
    assert code_of(answer) == (status, code)
    # A caller can mend a name that is wrong, and nothing else.
    line = trail(caplog)
    assert (line["event"], line["code"]) == ("token.refused", code)
    assert line["level"] == ("WARNING" if code == "not_found" else "ERROR")
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


async def test_the_log_alone_lists_the_faults_of_broken_settings_and_repaired_ones_work_at_once(
    estate: RenewalApp, caplog: pytest.LogCaptureFixture
) -> None:
    estate.configure(GATEWAY_TOKENS='{"services": {}, "secret-plan": 1}', ALLOW_FUNCTION_KEYS="secret-plan")
    answers = [await health(headers=bearer(estate.emulator)), await generate_token(), await list_gateways()]
    assert (answers[0].status_code, document(answers[0])["problems"]) == (503, [{"code": "settings_invalid"}])
    for answer in answers[1:]:
        assert code_of(answer) == (500, "settings_invalid")
        detail = "The app's settings are invalid. The app's log lists the faults."
        assert document(answer)["detail"] == detail
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
