"""What callers may ask: every fault of path, query and body at once, checked before Azure is called."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import azure.functions as func
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_tokens.errors import RequestInvalid
from gateway_tokens.http.requests import (
    MAX_BODY_BYTES,
    SECRET_NAMES,
    read_path,
    read_token_request,
)
from gateway_tokens.issuing import SecretName, TokenFormat, TokenRequest
from gateway_tokens.tokens import GatewayRef, KeyType
from tests.http_calls import request
from tests.unit.samples import NO_DURATION, NOW

ROUTE = {"service": "contoso", "gatewayId": "edge-01"}
NO_TIMESTAMP = "must be a date and time with its zone, yyyy-MM-ddTHH:mm:ssZ"
NO_KEY_TYPE = "must be 'primary' or 'secondary'"
TWO_ENDS = b'{"expiry": "2026-03-02T12:00:00Z", "lifetime": "P1D"}'
PAST = "is in the past, or less than a minute ahead: tokens are cut to the minute"
SECOND = timedelta(seconds=1)


def in_form(form: str) -> dict[str, str]:
    return {**ROUTE, "format": form}


MANIFEST = in_form(TokenFormat.KUBERNETES)


def read(
    body: object = b"", query: dict[str, str] | None = None, route: dict[str, str] | None = None
) -> TokenRequest:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_token_request(asked(ROUTE if route is None else route, query, sent), NOW)


def asked(
    route: Mapping[str, str], query: Mapping[str, str] | None = None, body: bytes = b""
) -> func.HttpRequest:
    return request("POST", "", route, body, query=query)


def refusal(call: Callable[[], object]) -> list[tuple[str, str]]:
    with pytest.raises(RequestInvalid) as refused:
        call()
    return [(fault.path, fault.message) for fault in refused.value.faults]


def faults_of(*wanted: Any, **more: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - passed on as they are
    return refusal(partial(read, *wanted, **more))


def paths_of(**wanted: Any) -> list[str]:  # noqa: ANN401 - the same
    return [path for path, _ in faults_of(**wanted)]


def stamp(ahead: timedelta) -> str:
    return (NOW + ahead).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_body_that_asks_for_nothing_leaves_everything_to_the_gateways_rule() -> None:
    for body in (
        b"",
        b" \r\n\t",
        b"{}",
        b'{"keyType": null, "expiry": null, "lifetime": null, "stable": null}',
    ):
        assert read(body) == TokenRequest(
            GatewayRef("contoso", "edge-01"), None, None, None, None, SecretName()
        )


def test_key_and_expiry_are_read() -> None:
    wanted = read({"keyType": "secondary", "expiry": "2026-03-02T12:00:00Z"})
    assert (wanted.key_type, wanted.expiry) == (KeyType.SECONDARY, NOW + timedelta(days=1))


@pytest.mark.parametrize(
    ("name", "sound", "faulty"),
    [
        (
            "service",
            ["a", "A1", "a-b", "a" * 50],
            ["", "a" * 51, "1a", "-a", "a-", "a_b", "a.b", "..", "*", "ó"],
        ),
        ("service", [], ["a b", "a/b", "a%2fb", "a\n", "a\x00"]),
        (
            "gatewayId",
            ["a", "1", "E_0.u~x-", "...", ".a", "a" * 80],
            ["", "a" * 81, ".", "..", "../edge", "é"],
        ),
        ("gatewayId", [], ["a/b", "a\\b", "a%2fb", "a b", "*", "a?b", "a#b", "a&b", "a\n", "a\x00"]),
        ("gatewayId", ["managed1", "amanaged"], ["managed", "MANAGED", "mAnAgEd", "managed\n"]),
    ],
)
def test_a_name_in_the_path_follows_azures_pattern(name: str, sound: list[str], faulty: list[str]) -> None:
    for value in sound:
        assert value in read_path(asked({**ROUTE, name: value}), *ROUTE)
    for value in faulty:
        assert paths_of(route={**ROUTE, name: value}) == [name]
        [(path, said)] = refusal(partial(read_path, asked({**ROUTE, name: value}), *ROUTE))
        assert path == name
        assert ("at most 50 characters" if name == "service" else "1 to 80 letters") in said


def test_a_path_without_its_names_is_refused() -> None:
    assert paths_of(route={}) == ["service", "gatewayId"]


def test_a_refused_name_is_not_repeated() -> None:
    assert "tok-3n" not in str(faults_of(route={"service": "tok-3n/", "gatewayId": "tok-3n/"}))
    for name in ("edge-01&202612011200&" + "A" * 9, "a" * 101):
        assert paths_of(query={name: ""}) == ["(a name withheld)"]


def test_a_form_is_one_of_three() -> None:
    for form in TokenFormat:
        assert read(route=in_form(form)).format is form
    for name in ("", "json", "envfile", "envFile "):
        said = "must be one of headerValue, envFile, kubernetesSecret"
        assert faults_of(route=in_form(name)) == [("format", said)]


def test_parameters_that_belong_elsewhere_are_refused_in_the_query_and_the_place_is_named() -> None:
    for route in (ROUTE, in_form(TokenFormat.ENV_FILE)):
        for name in ("keyType", "expiry", "lifetime", "stable"):
            assert faults_of(query={name: "PT1H"}, route=route) == [(name, "belongs in the body")]
        for form in ("json", "envFile", ""):
            [(path, message)] = faults_of(query={"format": form}, route=route)
            assert path == "format"
            assert "services/{service}/gateways/{gatewayId}/generateToken/{format}" in message


def test_an_api_version_is_taken_by_azures_own_operation_only() -> None:
    assert read(query={"api-version": "2024-05-01"}).format is None
    for form in TokenFormat:
        assert paths_of(query={"api-version": "2024-05-01"}, route=in_form(form)) == ["api-version"]


def test_the_names_of_a_secret_are_refused_without_its_form() -> None:
    for route in (ROUTE, in_form(TokenFormat.HEADER), in_form(TokenFormat.ENV_FILE)):
        for name in SECRET_NAMES:
            assert faults_of(query={name: ""}, route=route) == [(name, "unknown query parameter")]


@pytest.mark.parametrize("name", ["fromat", "secretname", "", "é"])
def test_any_other_query_parameter_is_refused_by_name(name: str) -> None:
    calls: list[Callable[[], object]] = [
        partial(read, query={name: ""}),
        *(partial(read, query={name: "x"}, route=in_form(form)) for form in TokenFormat),
        partial(read_path, asked(ROUTE, {name: "x"}), *ROUTE),
        partial(read_path, asked({}, {name: "x"})),
    ]
    for call in calls:
        assert refusal(call) == [(name or "query", "unknown query parameter")]


def test_a_secrets_names_are_read() -> None:
    names = {"secretName": "mine", "secretKey": "value", "namespace": "apim"}
    assert read(query=names, route=MANIFEST).secret == SecretName("mine", "value", "apim")


@pytest.mark.parametrize(
    ("name", "sound", "faulty"),
    [
        ("secretName", ["a", "a.b-c", "a" * 253], ["", "A", "a-", "-a", "a/b", "a\n", "a" * 254]),
        ("secretName", [], ["a..b", "a.-b", "a-.b", ".a"]),
        ("secretKey", ["_-.A", ".a", "a..b", "a" * 253], ["", ".", "..", "..a", "a b", "a\n", "a" * 254]),
        ("namespace", ["a", "a" * 63], ["", "a.b", "a-", "a\n", "a" * 64]),
    ],
)
def test_a_name_of_a_secret_follows_kubernetes(name: str, sound: list[str], faulty: list[str]) -> None:
    for value in sound:
        secret = read(query={name: value}, route=MANIFEST).secret
        assert value in {secret.name, secret.key, secret.namespace}
    for value in faulty:
        assert paths_of(query={name: value}, route=MANIFEST) == [name]


def test_a_body_has_at_most_16_kibibytes() -> None:
    assert MAX_BODY_BYTES == 16_384
    assert read(b" " * (MAX_BODY_BYTES - 2) + b"{}").key_type is None
    for filler in (b" ", b"x"):
        assert faults_of(filler * (MAX_BODY_BYTES - 1) + b"{}") == [("body", "is larger than 16384 bytes")]


@pytest.mark.parametrize(
    ("body", "path", "said"),
    [
        (b"null", "(document)", "must be an object"),
        (b"keyType=primary", "body", "is not JSON: Expecting value at line 1 column 1"),
        (b"\xff", "body", "is not UTF-8 text"),
        (b'{"keyType": "primary", "keyType": "primary"}', "body", "'keyType' is given twice"),
        (b'{"keytype": "primary"}', "keytype", "unknown field. Did you mean 'keyType'?"),
        (b'{"key_type": 5}', "key_type", NO_KEY_TYPE),
        (TWO_ENDS, "(document)", "give either expiry or lifetime, not both"),
    ],
)
def test_a_faulty_body_is_told(body: bytes, path: str, said: str) -> None:
    assert faults_of(body) == [(path, said)]


def test_nothing_but_primary_and_secondary_is_a_key_type() -> None:
    for key_type in ("", "Primary", "tertiary", "primary ", 1, ["primary"]):
        assert faults_of({"keyType": key_type}) == [("keyType", NO_KEY_TYPE)]


def test_an_expiry_is_a_date_and_time_with_its_zone() -> None:
    incomplete = ["2026-03-02T12:00:00", "2026-03-02", "2026-03-02T12:00Z", "26-03-02T12:00:00Z", ""]
    spelled = ["2026-03-02 12:00:00Z", "2026-03-02T12:00:00z", "2026-03-02T12:00:00+0100", "20260302T120000Z"]
    fractions = ["2026-03-02T12:00:00.Z", "2026-03-02T12:00:00.12345678Z"]
    others = [1_772_452_800, 1.5, True, ["2026-03-02T12:00:00Z"], {}, " 2026-03-02T12:00:00Z"]
    for expiry in (*incomplete, *spelled, *fractions, *others):
        assert faults_of({"expiry": expiry}) == [("expiry", NO_TIMESTAMP)]
    for end in ("\n", " "):
        assert paths_of(body={"expiry": stamp(timedelta(days=1)) + end}) == ["expiry"]


def test_an_expiry_that_no_calendar_has_is_refused() -> None:
    no_day = ["2026-02-29T12:00:00Z", "2026-13-01T12:00:00Z", "0000-03-02T12:00:00Z"]
    no_time = ["2026-03-02T25:00:00Z", "2026-03-02T12:00:60Z", "2026-03-02T12:00:00+25:00"]
    not_in_utc = ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"]
    for expiry in (*no_day, *no_time, *not_in_utc):
        assert faults_of({"expiry": expiry}) == [("expiry", "is not a date and time")]


def test_an_expiry_is_read_in_utc_from_any_zone_and_fraction() -> None:
    for expiry, utc in {
        "2026-03-02T12:00:00+02:00": datetime(2026, 3, 2, 10, tzinfo=UTC),
        "2026-03-02T12:00:00-00:30": datetime(2026, 3, 2, 12, 30, tzinfo=UTC),
        "2026-03-02T12:00:00.5Z": datetime(2026, 3, 2, 12, 0, 0, 500_000, tzinfo=UTC),
        "2026-03-02T12:00:00.284526Z": datetime(2026, 3, 2, 12, 0, 0, 284_526, tzinfo=UTC),
    }.items():
        read_expiry = read({"expiry": expiry}).expiry
        assert read_expiry == utc
        assert read_expiry.tzinfo is UTC


def test_the_example_of_the_reference_is_read_on_a_day_when_its_expiry_lay_ahead() -> None:
    """https://learn.microsoft.com/rest/api/apimanagement/gateway/generate-token (api-version 2022-08-01)."""
    body = b'{"keyType": "primary", "expiry": "2020-04-21T00:44:24.2845269Z"}'
    wanted = read_token_request(asked(ROUTE, body=body), datetime(2020, 4, 1, tzinfo=UTC))
    assert wanted.key_type is KeyType.PRIMARY
    assert wanted.expiry == datetime(2020, 4, 21, 0, 44, 24, 284_526, tzinfo=UTC)


def test_an_expiry_lies_between_the_next_minute_and_thirty_days() -> None:
    for ahead in (timedelta(minutes=1), timedelta(days=30) - SECOND, timedelta(days=30)):
        assert read({"expiry": stamp(ahead)}).expiry == NOW + ahead
    for ahead in (-SECOND, timedelta(0), timedelta(minutes=1) - SECOND):
        assert faults_of({"expiry": stamp(ahead)}) == [("expiry", PAST)]
    too_far = stamp(timedelta(days=30) + SECOND)
    assert faults_of({"expiry": too_far}) == [("expiry", "is more than 30 days ahead")]


def test_a_lifetime_lies_between_a_minute_and_thirty_days() -> None:
    assert read({"lifetime": "PT1M"}).lifetime == timedelta(minutes=1)
    assert read({"lifetime": "P4W2D"}).lifetime == timedelta(days=30)
    assert faults_of({"lifetime": "PT59S"}) == [("lifetime", "is shorter than one minute (PT1M)")]
    assert faults_of({"lifetime": "P30DT1S"}) == [("lifetime", "is longer than 30 days (P30D)")]
    assert faults_of({"lifetime": "P1M"}) == [("lifetime", NO_DURATION)]


def test_a_stable_token_is_asked_for_with_a_lifetime_or_nothing_and_never_with_an_expiry() -> None:
    assert read({"stable": True}).stable
    assert read({"stable": True, "lifetime": "P7D"}).stable
    assert not read({"stable": False, "expiry": stamp(timedelta(days=1))}).stable
    for stable in ("true", 1, [True]):
        assert faults_of({"stable": stable}) == [("stable", "must be true or false")]
    [(path, said)] = faults_of({"stable": True, "expiry": stamp(timedelta(days=1))})
    assert (path, said.partition(":")[0]) == ("stable", "goes with a lifetime, not with an expiry")


def test_every_fault_of_path_query_and_body_is_told_at_once() -> None:
    found = paths_of(
        route={"service": "1", "gatewayId": "managed", "format": "x"},
        query={"secretName": "X", "secretKey": "", "namespace": "a.b", "more": "x"},
        body={"keyType": "x", "expiry": "x", "lifetime": "x", "more": 1},
    )
    path, query = ["service", "gatewayId", "format"], ["more", "secretName", "secretKey", "namespace"]
    assert found == [*path, *query, "keyType", "expiry", "lifetime", "more"]


@given(st.binary(max_size=200), st.text(max_size=10), st.text(max_size=10), st.text(max_size=10))
def test_any_request_is_read_or_refused_with_its_faults(
    body: bytes, gateway: str, form: str, name: str
) -> None:
    try:
        read(body, {name: ""}, {"service": "contoso", "gatewayId": gateway, "format": form})
    except RequestInvalid as error:
        assert error.faults  # noqa: PT017 - most of these are refused, none need be
