"""The audit trail: one line for every token issued or refused, with these fields and never the value.

The lines of tokens that Azure refuses are checked in test_errors.py.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emulator.server import Emulator
from gateway_tokens.formats import TokenFormat
from gateway_tokens.tokens import written
from tests.callers import CLIENT_ID, OBJECT_ID, SIGN_IN_MODE, bearer, rule
from tests.http_calls import document, generate_token
from tests.renewal_estate import lines
from tests.served_estate import Opens

pytestmark = pytest.mark.usefixtures("app")
ID = {"x-correlation-id": "run-17"}


def only(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The one line in the audit trail."""
    [line] = [line for line in lines(caplog) if line["event"].startswith("token.")]
    return line


async def test_an_issued_token_leaves_a_line_with_exactly_these_fields(
    caplog: pytest.LogCaptureFixture,
) -> None:
    body = document(await generate_token("edge-02", headers=ID))
    assert only(caplog) == {
        "event": "token.issued",
        "level": "INFO",
        "correlationId": "run-17",
        "caller": "function-key",
        "service": "contoso",
        "gateway": "edge-02",
        "keyType": "secondary",
        "expiry": body["expiry"],
        "fingerprint": hashlib.sha256(body["value"].encode()).hexdigest()[:12],
    }


async def test_the_value_is_not_logged_in_whatever_form_it_is_given(caplog: pytest.LogCaptureFixture) -> None:
    value = document(await generate_token(body={"lifetime": "P1D"}))["value"]
    for form in TokenFormat:
        await generate_token(body={"lifetime": "P1D"}, form=form)
    assert len(lines(caplog, "token.issued")) == 1 + len(TokenFormat)
    assert value.split("&")[2] not in caplog.text


async def test_the_line_names_the_caller_by_its_ids_the_service_as_declared_and_the_gateway_as_azure_does(
    app: Opens, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    app([rule({"objectId": OBJECT_ID})], **SIGN_IN_MODE)
    await generate_token("EDGE-01", service="CONTOSO", headers=bearer(emulator))
    line = only(caplog)
    assert line["caller"] == f"client:{CLIENT_ID} object:{OBJECT_ID}"
    assert (line["service"], line["gateway"]) == ("contoso", "edge-01")


@pytest.mark.parametrize("asks", [True, False], ids=["key type and expiry", "nothing"])
async def test_a_refused_token_leaves_a_line_with_what_was_asked_for(
    caplog: pytest.LogCaptureFixture,
    asks: bool,  # noqa: FBT001 - a table's column
) -> None:
    soon = written(datetime.now(UTC) + timedelta(days=2))
    asked = {"keyType": "secondary", "expiry": soon} if asks else {}
    await generate_token("lab-01", asked, headers=ID)
    assert only(caplog) == {
        "event": "token.refused",
        "level": "WARNING",
        "correlationId": "run-17",
        "caller": "function-key",
        "service": "contoso",
        "gateway": "lab-01",
        "code": "access_denied",
        **asked,
    }


async def test_a_request_that_cannot_be_read_leaves_a_line_without_its_content(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await generate_token('x"}\n{"event": "token.issued"', {"keyType": "tertiary"}, headers=ID)
    assert only(caplog) == {
        "event": "token.refused",
        "level": "WARNING",
        "correlationId": "run-17",
        "caller": "function-key",
        "code": "request_invalid",
    }
    assert all("\n" not in record.getMessage() for record in caplog.records)


async def test_a_caller_who_has_not_signed_in_leaves_a_line(
    app: Opens, caplog: pytest.LogCaptureFixture
) -> None:
    app([], **SIGN_IN_MODE)
    await generate_token(headers=ID)
    assert only(caplog)["event"] == "token.refused"
    assert (only(caplog)["caller"], only(caplog)["code"]) == ("nobody", "sign_in_required")
