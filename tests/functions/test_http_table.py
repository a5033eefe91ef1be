"""The design's HTTP table, a test for every row and every promise in its cells.

`POST services/{service}/gateways/{gatewayId}/generateToken`, `GET services/{service}/gateways`, `GET health`,
and what is said of all of them.
"""

import json
import logging
import re
from datetime import UTC, datetime, timedelta

import pytest

from emulator.faults import Fault
from emulator.server import Emulator
from gateway_tokens.tokens import CLOCK_MARGIN, GatewayToken
from tests import estate
from tests.callers import SIGN_IN_MODE, rule
from tests.estate import Opens
from tests.front_door import (
    Answer,
    document,
    generate_token,
    health,
    list_gateways,
    text,
)

pytestmark = pytest.mark.usefixtures("app")
STAMP = "%Y-%m-%dT%H:%M:%SZ"


def minute(ahead: timedelta) -> datetime:
    return (datetime.now(UTC) + ahead).replace(second=0, microsecond=0)


def about(ahead: timedelta) -> set[str]:
    """That long from now, to the minute, for a call that may have begun a minute ago."""
    return {(minute(ahead) - timedelta(minutes=late)).strftime(STAMP) for late in (0, 1)}


def signed_by(emulator: Emulator, token: str, gateway: str = "edge-01") -> str:
    """Which key signed the token."""
    contoso = estate.CONTOSO
    service = emulator.azure.services[contoso.subscription_id, contoso.resource_group, contoso.name]
    found = service.gateway(gateway)
    assert found is not None
    read = GatewayToken.parse(token)
    return next(kind for kind in found.keys if found.token(kind, read.expiry) == token)


# POST generateToken


async def test_generate_token_issues_a_token_that_the_gateway_can_sign_in_with(emulator: Emulator) -> None:
    answer = await generate_token()
    assert answer.status_code == 200
    assert signed_by(emulator, document(answer)["value"]) == "primary"


async def test_the_answer_is_a_superset_of_gateway_token_contract() -> None:
    answer = await generate_token(body={"lifetime": "P1D"})
    body = document(answer)
    assert answer.mimetype == "application/json"
    assert set(body) >= {"value", "gatewayId", "keyType", "expiry"}
    token = GatewayToken.parse(body["value"])
    assert (body["gatewayId"], body["keyType"]) == ("edge-01", "primary")
    assert body["expiry"] == token.expiry.strftime(STAMP)


@pytest.mark.parametrize("body", [None, {}, b"", b"  \n", {"keyType": None, "expiry": None}])
async def test_both_fields_of_the_body_are_optional(body: object) -> None:
    answer = await generate_token(body=body)
    assert answer.status_code == 200
    assert document(answer)["expiry"] in about(timedelta(days=30) - CLOCK_MARGIN)


@pytest.mark.parametrize("key_type", ["primary", "secondary"])
async def test_key_type_chooses_the_key_that_signs(emulator: Emulator, key_type: str) -> None:
    body = document(await generate_token(body={"keyType": key_type}))
    assert body["keyType"] == key_type
    assert signed_by(emulator, body["value"]) == key_type


async def test_expiry_is_when_the_token_ends_cut_to_the_minute() -> None:
    wanted = minute(timedelta(days=3))
    answer = await generate_token(body={"expiry": wanted.replace(second=59).strftime(STAMP)})
    assert document(answer)["expiry"] == wanted.strftime(STAMP)


async def test_lifetime_may_stand_instead_of_expiry() -> None:
    answer = await generate_token(body={"lifetime": "PT12H"})
    assert document(answer)["expiry"] in about(timedelta(hours=12))


async def test_left_out_the_gateways_own_rule_decides(emulator: Emulator) -> None:
    body = document(await generate_token("edge-02"))
    assert body["keyType"] == signed_by(emulator, body["value"], "edge-02") == "secondary"
    assert body["expiry"] in about(timedelta(days=7))


async def test_a_request_written_for_arm_itself_is_understood() -> None:
    # The reference's own sample has a fraction of seven digits.
    wanted = minute(timedelta(days=3))
    body = {"keyType": "primary", "expiry": f"{wanted:%Y-%m-%dT%H:%M}:24.2845269Z"}
    assert document(await generate_token(body=body))["expiry"] == wanted.strftime(STAMP)


async def test_the_query_of_a_caller_of_arm_is_let_pass() -> None:
    answer = await generate_token(query={"api-version": "2022-08-01"})
    assert answer.status_code == 200


async def test_names_are_found_in_any_case() -> None:
    answer = await generate_token("EDGE-01", service="Contoso")
    assert answer.status_code == 200
    assert document(answer)["gatewayId"] == "edge-01"


async def test_format_header_value_gives_the_gateway_key_header() -> None:
    answer = await generate_token(form="headerValue")
    assert answer.mimetype == "text/plain"
    assert re.fullmatch(r"GatewayKey edge-01&[0-9]{12}&[A-Za-z0-9+/]+={0,2}", text(answer))


async def test_format_env_file_gives_a_line_for_docker() -> None:
    answer = await generate_token(form="envFile")
    assert answer.mimetype == "text/plain"
    name, _, value = text(answer).partition("=")
    assert name == "config.service.auth"
    assert value.startswith("GatewayKey edge-01&")
    assert value.count("\n") == 1
    assert value.endswith("\n")


async def test_format_kubernetes_secret_suits_the_helm_chart() -> None:
    answer = await generate_token(form="kubernetesSecret")
    manifest = document(answer)
    assert (answer.mimetype, manifest["apiVersion"], manifest["kind"]) == ("application/json", "v1", "Secret")
    assert manifest["metadata"]["name"] == "edge-01-token"
    assert "namespace" not in manifest["metadata"]
    [(key, value)] = manifest["stringData"].items()
    assert key == "gateway-key"
    assert value.startswith("GatewayKey edge-01&")


async def test_format_kubernetes_secret_takes_its_names_from_the_query() -> None:
    answer = await generate_token(
        form="kubernetesSecret", secretName="apim", secretKey="value", namespace="gateways"
    )
    manifest = document(answer)
    assert (manifest["metadata"]["name"], manifest["metadata"]["namespace"]) == ("apim", "gateways")
    assert list(manifest["stringData"]) == ["value"]


async def test_an_unknown_format_is_refused_and_the_known_ones_named() -> None:
    answer = await generate_token(form="yaml")
    assert answer.status_code == 400
    [fault] = document(answer)["faults"]
    assert fault["path"] == "format"
    assert "headerValue" in fault["message"]


# GET services/{service}/gateways


async def test_list_gateways_shows_what_azure_has_now(emulator: Emulator) -> None:
    answer = await list_gateways()
    assert answer.status_code == 200
    assert document(answer)["service"] == "contoso"
    assert shown(answer) == {"edge-01", "edge-02", "lab-01"}
    contoso = estate.CONTOSO
    service = emulator.azure.services[contoso.subscription_id, contoso.resource_group, contoso.name]
    service.add_gateway("edge-03")
    service.remove_gateway("edge-01")
    assert shown(await list_gateways()) == {"edge-02", "edge-03", "lab-01"}


async def test_list_gateways_shows_only_what_the_caller_may_read() -> None:
    # short-01 may be issued, not read.
    assert "short-01" not in shown(await list_gateways())


async def test_list_gateways_reads_all_pages(emulator: Emulator) -> None:
    emulator.azure.page_size = 1
    assert shown(await list_gateways()) == {"edge-01", "edge-02", "lab-01"}


async def test_list_gateways_calls_the_service_by_its_declared_name() -> None:
    assert document(await list_gateways("CONTOSO"))["service"] == "contoso"


def shown(answer: Answer) -> set[str]:
    return {gateway["gatewayId"] for gateway in document(answer)["gateways"]}


# GET health


async def test_health_says_that_the_app_can_do_its_job() -> None:
    answer = await health()
    assert (answer.status_code, document(answer)["status"]) == (200, "healthy")


async def test_an_estate_that_delivers_nothing_needs_no_storage(app: Opens) -> None:
    app(STATE_CONTAINER_URL="")
    answers = [await health(), await list_gateways(), await generate_token()]
    assert [answer.status_code for answer in answers] == [200, 200, 200]


async def test_the_sdk_does_not_write_every_request_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        await generate_token()
    assert {record.name for record in caplog.records} == {"gateway_tokens"}


async def test_health_says_when_the_identity_gives_no_token(emulator: Emulator) -> None:
    emulator.azure.faults.add(Fault(host="identity", times=None, status=403, body="no"))
    answer = await health()
    assert answer.status_code == 503
    assert [problem["code"] for problem in document(answer)["problems"]] == ["identity_unavailable"]


async def test_health_says_what_is_wrong_with_the_settings(app: Opens) -> None:
    app(RENEWAL_SCHEDULE="never", ARM_ENDPOINT="http://arm", CA_FILE="absent.pem")
    answer = await health()
    assert answer.status_code == 503
    body = document(answer)
    assert (body["status"], body["problems"][0]["code"]) == ("unhealthy", "settings_invalid")
    assert {problem["path"] for problem in body["problems"]} >= {
        "RENEWAL_SCHEDULE",
        "ARM_ENDPOINT",
        "CA_FILE",
    }


async def test_health_needs_no_caller(app: Opens) -> None:
    app([rule({"appRole": "Issuer"})], **SIGN_IN_MODE)
    assert (await health()).status_code == 200


# Of all of them


async def every_kind_of_answer(emulator: Emulator) -> list[tuple[int, Answer]]:
    """Answers of every status the routes give, with the status expected."""
    fault = emulator.azure.faults.add(Fault(host="arm", times=None, status=418))
    failed = await generate_token()
    emulator.azure.faults.remove(fault)
    return [
        (200, await generate_token()),
        (200, await generate_token(form="headerValue")),
        (200, await generate_token(form="envFile")),
        (200, await generate_token(form="kubernetesSecret")),
        (200, await list_gateways()),
        (200, await health()),
        (400, await generate_token(body=b"{")),
        (403, await generate_token("lab-01")),
        (403, await list_gateways("fabrikam")),
        (404, await generate_token("edge-99")),
        (502, failed),
    ]


async def test_every_answer_forbids_caches_to_keep_it(emulator: Emulator) -> None:
    for status, answer in await every_kind_of_answer(emulator):
        assert (answer.status_code, answer.headers["Cache-Control"]) == (status, "no-store")


async def test_every_answer_carries_a_correlation_id(emulator: Emulator) -> None:
    answers = await every_kind_of_answer(emulator)
    ids = {answer.headers["x-correlation-id"] for _, answer in answers}
    assert len(ids) == len(answers)


async def test_the_callers_own_correlation_id_is_kept() -> None:
    answer = await generate_token("lab-01", headers={"X-Correlation-Id": "run-17.a_B"})
    assert answer.headers["x-correlation-id"] == "run-17.a_B"
    assert document(answer)["correlationId"] == "run-17.a_B"


@pytest.mark.parametrize(
    "nasty", ["", " ", "a b", "a\r\nSet-Cookie: b=c", "é", '{"event": "token.issued"}', "a" * 65, "<script>"]
)
async def test_a_correlation_id_that_is_not_harmless_is_replaced(nasty: str) -> None:
    answer = await health(headers={"x-correlation-id": nasty})
    given = answer.headers["x-correlation-id"]
    assert given != nasty
    assert re.fullmatch(r"[0-9a-f-]{36}", given)


async def test_every_error_is_a_problem_document_of_rfc_9457(emulator: Emulator) -> None:
    problems = [(s, a) for s, a in await every_kind_of_answer(emulator) if s >= 400]
    assert {status for status, _ in problems} == {400, 403, 404, 502}
    for status, answer in problems:
        body = document(answer)
        assert answer.mimetype == "application/problem+json"
        assert body["status"] == status
        assert all(isinstance(body[member], str) and body[member] for member in ("type", "title", "detail"))
        # `type` is an address of the kind of problem, the same for the same code.
        assert re.fullmatch(r"[a-z][a-z0-9+.-]*:[^\s]+", body["type"])
        assert body["type"].endswith(body["code"])
        assert re.fullmatch(r"[a-z_]+", body["code"])
        assert body["correlationId"] == answer.headers["x-correlation-id"]


async def test_every_json_answer_is_utf_8_and_parses(emulator: Emulator) -> None:
    for _, answer in await every_kind_of_answer(emulator):
        if "json" in (answer.mimetype or ""):
            json.loads(answer.get_body().decode())
