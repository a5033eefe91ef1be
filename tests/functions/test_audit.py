"""The audit trail: one line for every token issued or refused, with these fields and never the value."""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emulator.faults import Fault
from emulator.server import Emulator
from gateway_tokens.formats import TokenFormat
from gateway_tokens.tokens import written
from tests.callers import CLIENT_ID, OBJECT_ID, SIGN_IN_MODE, bearer, rule
from tests.estate import Opens
from tests.front_door import document, generate_token

pytestmark = pytest.mark.usefixtures("app")
ID = {"x-correlation-id": "run-17"}


@pytest.fixture
def trail(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """The audit lines so far: each record's whole message is one JSON object."""
    caplog.set_level("INFO", logger="gateway_tokens")

    def lines() -> list[dict[str, Any]]:
        said = [
            json.loads(record.getMessage()) for record in caplog.records if record.name == "gateway_tokens"
        ]
        return [line for line in said if line["event"].startswith("token.")]

    return lines


Trail = Callable[[], list[dict[str, Any]]]


async def test_an_issued_token_leaves_a_line_with_exactly_these_fields(trail: Trail) -> None:
    body = document(await generate_token("edge-02", headers=ID))
    assert trail() == [
        {
            "event": "token.issued",
            "correlationId": "run-17",
            "caller": "function-key",
            "service": "contoso",
            "gateway": "edge-02",
            "keyType": "secondary",
            "expiry": body["expiry"],
            "fingerprint": hashlib.sha256(body["value"].encode()).hexdigest()[:12],
        }
    ]


@pytest.mark.parametrize("form", [None, *TokenFormat])
async def test_the_line_never_has_the_value_in_whatever_form_it_was_given(
    trail: Trail, caplog: pytest.LogCaptureFixture, form: str | None
) -> None:
    value = document(await generate_token(body={"lifetime": "P1D"}))["value"]
    await generate_token(body={"lifetime": "P1D"}, form=form)
    assert [line["event"] for line in trail()] == ["token.issued"] * 2
    assert value not in caplog.text
    assert value.split("&")[2] not in caplog.text


async def test_the_line_says_who_signed_in(app: Opens, emulator: Emulator, trail: Trail) -> None:
    app([rule({"objectId": OBJECT_ID})], **SIGN_IN_MODE)
    await generate_token(headers=bearer(emulator))
    [line] = trail()
    assert line["caller"] == f"client:{CLIENT_ID} object:{OBJECT_ID}"


async def test_the_line_names_service_and_gateway_as_declared_and_as_azure_has_it(trail: Trail) -> None:
    await generate_token("EDGE-01", service="CONTOSO")
    [line] = trail()
    assert (line["service"], line["gateway"]) == ("contoso", "edge-01")


async def test_a_refused_token_leaves_a_line_with_exactly_these_fields(trail: Trail) -> None:
    await generate_token("lab-01", headers=ID)
    assert trail() == [
        {
            "event": "token.refused",
            "correlationId": "run-17",
            "caller": "function-key",
            "service": "contoso",
            "gateway": "lab-01",
            "code": "access_denied",
        }
    ]


async def test_a_refused_token_leaves_what_was_asked_for(trail: Trail) -> None:
    soon = written(datetime.now(UTC) + timedelta(days=2))
    await generate_token("lab-01", body={"keyType": "secondary", "expiry": soon})
    [line] = trail()
    assert (line["keyType"], line["expiry"]) == ("secondary", soon)


async def test_a_request_that_cannot_be_read_leaves_a_line_without_what_it_said(trail: Trail) -> None:
    await generate_token("lab-01", body={"keyType": "tertiary", "expiry": "2099-01-01T00:00:00Z"})
    [line] = trail()
    assert (line["caller"], line["code"]) == ("function-key", "request_invalid")
    assert not {"keyType", "expiry", "gateway"} & line.keys()


async def test_a_caller_who_is_nobody_leaves_a_line(app: Opens, trail: Trail) -> None:
    app([], **SIGN_IN_MODE)
    await generate_token(headers=ID)
    [line] = trail()
    assert (line["event"], line["caller"], line["code"]) == ("token.refused", "nobody", "sign_in_required")


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"status": 403}, "azure_forbidden"),
        ({"status": 418}, "azure_error"),
        ({"status": 429, "headers": {"Retry-After": "3600"}}, "azure_throttled"),
        ({"status": 200, "body": ""}, "token_unusable"),
        ({"status": 404}, "not_found"),
    ],
)
async def test_a_token_that_azure_does_not_give_leaves_one_line_with_the_reason(
    emulator: Emulator, trail: Trail, fault: dict[str, Any], code: str
) -> None:
    emulator.azure.faults.add(Fault(host="arm", times=None, **fault))
    await generate_token()
    [line] = trail()
    assert (line["event"], line["code"]) == ("token.refused", code)


async def test_a_name_from_the_caller_cannot_forge_a_line(
    trail: Trail, caplog: pytest.LogCaptureFixture
) -> None:
    await generate_token('x"}\n{"event": "token.issued"', service="contoso")
    assert not [line for line in trail() if line["event"] == "token.issued"]
    assert all("\n" not in record.getMessage() for record in caplog.records)
