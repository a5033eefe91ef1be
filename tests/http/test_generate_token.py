"""Issuing over HTTP: the answer in each form, and the audit trail, which never has the value."""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emulator.faults import Fault
from emulator.server import Emulator
from gateway_tokens.tokens import written
from tests.callers import CLIENT_ID, OBJECT_ID, SIGN_IN_MODE, bearer, rule
from tests.http.renewal_app import RenewalApp
from tests.http_calls import document, generate_token, health, list_gateways, text
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
    asked = {"keyType": "secondary", "expiry": f"{wanted:%Y-%m-%dT%H:%M}:24.2845269Z"}
    answer = await generate_token(body=asked)
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert document(answer) == {
        "value": estate.gateways["edge-01"].token("secondary", wanted),
        "gatewayId": "edge-01",
        "keyType": "secondary",
        "expiry": written(wanted),
    }


NAMES = {"secretName": "apim", "secretKey": "value", "namespace": "gateways"}


@pytest.mark.parametrize(
    ("form", "query", "mimetype", "pattern"),
    [
        ("headerValue", {}, "text/plain", r"GatewayKey edge-01&[0-9]{12}&[A-Za-z0-9+/]+={0,2}"),
        ("envFile", {}, "text/plain", r"config\.service\.auth=GatewayKey edge-01&\S+\n"),
        ("kubernetesSecret", {}, "application/json", r'.*"edge-01-token".*"gateway-key": "GatewayKey .*'),
        ("kubernetesSecret", NAMES, "application/json", r'.*"apim".*"gateways".*"value": "GatewayKey .*'),
    ],
)
async def test_each_form_has_its_own_type_and_text(
    form: str, query: dict[str, str], mimetype: str, pattern: str
) -> None:
    answer = await generate_token(form=form, query=query)
    assert (answer.status_code, answer.mimetype) == (200, mimetype)
    assert re.fullmatch(pattern, text(answer), re.DOTALL)


async def test_an_estate_that_delivers_nothing_needs_no_storage(
    estate: RenewalApp,
) -> None:
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
    ("asked", "line"),
    [
        ({}, HIDDEN),
        ({"body": SOON}, HIDDEN | SOON),
        ({"gateway": 'x"}\n{"event": "token.issued"', "body": {"keyType": "x"}}, {"code": "request_invalid"}),
        ({"headers": ID | {"authorization": "Basic"}}, {"caller": "nobody", "code": "sign_in_required"}),
    ],
    ids=["asks for nothing", "asks for key type and expiry", "cannot be read", "has not signed in"],
)
async def test_a_request_that_is_refused_leaves_a_line_with_what_was_asked_for_if_it_could_be_read(
    estate: RenewalApp, caplog: pytest.LogCaptureFixture, asked: dict[str, Any], line: dict[str, str]
) -> None:
    estate.configure(rule("contoso/*"))
    await generate_token(**{"headers": ID, "gateway": "plant-a", "service": "fabrikam"} | asked)
    refused = {"event": "token.refused", "level": "WARNING", "correlationId": "run-17"}
    assert trail(caplog) == refused | {"caller": "function-key"} | line
    assert all("\n" not in record.getMessage() for record in caplog.records)


async def test_a_refusal_is_a_warning_in_the_log_where_the_caller_can_mend_it_and_an_error_elsewhere(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    await generate_token("edge-99")
    emulator.azure.faults.add(Fault(host="arm", times=None, status=418))
    await generate_token()
    assert [line["level"] for line in lines(caplog, "token.refused")] == ["WARNING", "ERROR"]
