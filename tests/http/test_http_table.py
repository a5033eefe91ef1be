"""Issuing tokens, listing gateways, health, and what holds for every answer."""

import logging
import re
from datetime import UTC, datetime, timedelta

import pytest

from emulator.faults import Fault
from emulator.gateways import Service
from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from gateway_tokens import errors
from gateway_tokens.http.answers import problem
from gateway_tokens.tokens import CLOCK_MARGIN, GatewayToken
from tests.callers import SIGN_IN_MODE, rule
from tests.http_calls import Answer, document, generate_token, health, list_gateways, text
from tests.renewal_estate import lines
from tests.served_estate import CONTOSO, KEY_HOLDER, Opens

pytestmark = pytest.mark.usefixtures("app")
STAMP = "%Y-%m-%dT%H:%M:%SZ"


def minute(ahead: timedelta) -> datetime:
    return (datetime.now(UTC) + ahead).replace(second=0, microsecond=0)


def about(ahead: timedelta) -> set[str]:
    """That long from now, to the minute, for a call that may have begun a minute ago."""
    return {(minute(ahead) - timedelta(minutes=late)).strftime(STAMP) for late in (0, 1)}


def contoso(emulator: Emulator) -> Service:
    return emulator.azure.services[CONTOSO.subscription_id, CONTOSO.resource_group, CONTOSO.name]


def signed_by(emulator: Emulator, token: str, gateway: str = "edge-01") -> str:
    """Which key signed the token."""
    found = contoso(emulator).gateway(gateway)
    assert found is not None
    read = GatewayToken.parse(token)
    return next(kind for kind in found.keys if found.token(kind, read.expiry) == token)


# POST generateToken


async def test_the_answer_is_a_superset_of_gateway_token_contract(emulator: Emulator) -> None:
    wanted = minute(timedelta(days=3))
    # The expiry has seven digits of a second, as in the reference's own sample.
    asked = {"keyType": "secondary", "expiry": f"{wanted:%Y-%m-%dT%H:%M}:24.2845269Z"}
    answer = await generate_token(body=asked)
    body = document(answer)
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert set(body) >= {"value", "gatewayId", "keyType", "expiry"}
    assert re.fullmatch(r"edge-01&[0-9]{12}&[A-Za-z0-9+/]{86}==", body["value"])
    assert (body["gatewayId"], body["expiry"]) == ("edge-01", wanted.strftime(STAMP))
    assert GatewayToken.parse(body["value"]).expiry == wanted
    assert body["keyType"] == signed_by(emulator, body["value"]) == "secondary"


@pytest.mark.parametrize(
    ("gateway", "asked", "key_type", "lifetime"),
    [
        ("edge-01", None, "primary", timedelta(days=30) - CLOCK_MARGIN),
        ("edge-01", {"keyType": None, "expiry": None}, "primary", timedelta(days=30) - CLOCK_MARGIN),
        ("edge-01", {"lifetime": "PT12H"}, "primary", timedelta(hours=12)),
        ("edge-02", {}, "secondary", timedelta(days=7)),
        ("edge-02", {"keyType": "primary", "lifetime": "P1D"}, "primary", timedelta(days=1)),
    ],
    ids=["no body", "nulls", "a lifetime", "the gateway's rule", "more than the gateway's rule"],
)
async def test_what_the_body_leaves_out_is_decided_by_the_gateways_rule_or_a_default(
    emulator: Emulator, gateway: str, asked: object, key_type: str, lifetime: timedelta
) -> None:
    body = document(await generate_token(gateway, asked))
    assert body["keyType"] == signed_by(emulator, body["value"], gateway) == key_type
    assert body["expiry"] in about(lifetime)


async def test_a_stable_token_is_the_same_until_its_window_begins(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    emulator.azure.clock = lambda: asked_at
    monkeypatch.setattr(gateway_app, "_clock", emulator.azure.clock)

    async def value(gateway: str = "edge-01", **asked: object) -> object:
        return document(await generate_token(gateway, {"stable": True, **asked}))["value"]

    first = await value()
    another = await value(keyType="secondary")
    asked_at += timedelta(days=1)
    assert [await value(), await value(keyType="secondary")] == [first, another]
    assert len({first, another, await value("edge-02"), await value(lifetime="P20D")}) == 4
    contoso(emulator).gateways["edge-01"].regenerate("primary")
    assert await value() != first
    asked_at += timedelta(days=20)
    assert await value(keyType="secondary") != another


async def test_a_refusal_is_a_warning_in_the_log_where_the_caller_can_mend_it_and_an_error_elsewhere(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    for gateway in ("lab-01", "edge-99", "managed"):
        await generate_token(gateway)
    emulator.azure.faults.add(Fault(host="arm", times=None, status=418))
    await generate_token()
    levels = [line["level"] for line in lines(caplog, "token.refused")]
    assert levels == ["WARNING", "WARNING", "WARNING", "ERROR"]


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


# GET services/{service}/gateways


def shown(answer: Answer) -> set[str]:
    return {gateway["gatewayId"] for gateway in document(answer)["gateways"]}


async def test_list_gateways_shows_what_azure_has_now_on_every_page(emulator: Emulator) -> None:
    # short-01 may be issued, not read.
    assert shown(await list_gateways()) == {"edge-01", "edge-02", "lab-01"}
    emulator.azure.page_size = 1
    contoso(emulator).add_gateway("edge-03")
    contoso(emulator).remove_gateway("edge-01")
    assert shown(await list_gateways()) == {"edge-02", "edge-03", "lab-01"}


async def test_list_gateways_gives_the_service_its_declared_name() -> None:
    assert document(await list_gateways("CONTOSO"))["service"] == "contoso"


# GET health


async def test_health_is_green_when_the_app_can_do_its_job_and_needs_no_caller(app: Opens) -> None:
    for access, settings in ((KEY_HOLDER, {}), ([rule({"appRole": "Issuer"})], SIGN_IN_MODE)):
        app(access, **settings)
        answer = await health()
        assert (answer.status_code, document(answer)["status"]) == (200, "healthy")


async def test_an_estate_that_delivers_nothing_needs_no_storage(app: Opens) -> None:
    app(STATE_CONTAINER_URL="")
    answers = [await health(), await list_gateways(), await generate_token()]
    assert [answer.status_code for answer in answers] == [200, 200, 200]


# Every answer


async def test_every_answer_forbids_caching_and_every_error_is_a_problem_document_of_rfc_9457(
    emulator: Emulator,
) -> None:
    fault = emulator.azure.faults.add(Fault(host="arm", times=None, status=418))
    failed = await generate_token()
    emulator.azure.faults.remove(fault)
    answers = [
        (200, await generate_token()),
        *[(200, await generate_token(form=form)) for form in ("headerValue", "envFile", "kubernetesSecret")],
        (200, await list_gateways()),
        (200, await health()),
        (400, await generate_token(body=b"{")),
        (403, await generate_token("lab-01")),
        (403, await list_gateways("fabrikam")),
        (404, await generate_token("edge-99")),
        (502, failed),
    ]
    for status, answer in answers:
        assert (answer.status_code, answer.headers["Cache-Control"]) == (status, "no-store")
        assert "json" not in (answer.mimetype or "") or document(answer)
        if status >= 400:
            body = document(answer)
            assert (answer.mimetype, body["status"]) == ("application/problem+json", status)
            assert all(isinstance(body[name], str) and body[name] for name in ("type", "title", "detail"))
            # `type` is an address of the kind of problem, the same for the same code.
            assert re.fullmatch(r"[a-z][a-z0-9+.-]*:[^\s]+", body["type"])
            assert body["type"].endswith(body["code"])
            assert re.fullmatch(r"[a-z_]+", body["code"])
            assert body["correlationId"] == answer.headers["x-correlation-id"]
    assert len({answer.headers["x-correlation-id"] for _, answer in answers}) == len(answers)


async def test_azures_own_words_are_told_of_a_request_that_it_found_invalid_and_of_no_other() -> None:
    facts = errors.AzureFacts(400, "Odd", "its words", (errors.Fault("expiry", "its words"),))
    for kind in (errors.AzureRejected, errors.AzureError, errors.AzureBlocked, errors.AzureUnavailable):
        told = document(problem(kind("Issuing", facts)))["azure"]
        assert told["code"] == "Odd"
        assert ("its words" in str(told)) == (kind is errors.AzureRejected)


async def test_the_callers_own_correlation_id_is_kept() -> None:
    for given in ("run-17.a_B", "a" * 64):
        answer = await generate_token("lab-01", headers={"X-Correlation-Id": given})
        assert answer.headers["x-correlation-id"] == document(answer)["correlationId"] == given


async def test_a_correlation_id_that_may_harm_the_log_is_replaced() -> None:
    for harmful in ("", " ", "a b", "a\r\nSet-Cookie: b=c", "é", '{"event": "x"}', "a" * 65, "<script>"):
        answer = await health(headers={"x-correlation-id": harmful})
        assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-correlation-id"])


async def test_the_sdk_does_not_log_requests(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await generate_token()
    assert {record.name for record in caplog.records} == {"gateway_tokens"}
