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
from gateway_tokens.formats import SecretName, TokenFormat
from gateway_tokens.http.requests import (
    FORMS,
    MAX_BODY_BYTES,
    SECRET_NAMES,
    RevocationBody,
    TokenRequest,
    read_body,
    read_path,
    read_token_request,
)
from gateway_tokens.tokens import GatewayRef, KeyType
from tests import http_calls
from tests.samples import NO_DURATION, NOW

ROUTE = {"service": "contoso", "gatewayId": "edge-01"}
MANIFEST = {**ROUTE, "format": TokenFormat.KUBERNETES}
NO_TIMESTAMP = "must be a date and time with its zone, yyyy-MM-ddTHH:mm:ssZ"
NO_KEY_TYPE = "must be 'primary' or 'secondary'"
PAST = "is in the past, or less than a minute ahead: tokens are cut to the minute"
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
Texts = Mapping[str, str]
Faults = list[tuple[str, str]]


def request(route: Texts, query: Texts | None = None, body: bytes = b"") -> func.HttpRequest:
    return http_calls.request("health", body, query=query, **dict[str, Any](route))


def read(body: object = b"", query: Texts | None = None, route: Texts = ROUTE) -> TokenRequest:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_token_request(request(route, query, sent), NOW)


def refusal(call: Callable[[], object]) -> Faults:
    with pytest.raises(RequestInvalid) as refused:
        call()
    return [(fault.path, fault.message) for fault in refused.value.faults]


def faults_of(*wanted: Any, **more: Any) -> Faults:  # noqa: ANN401 - passed on as they are
    return refusal(partial(read, *wanted, **more))


def stamp(ahead: timedelta) -> str:
    return (NOW + ahead).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_body_that_asks_for_nothing_leaves_everything_to_the_gateways_rule() -> None:
    nulls = dict.fromkeys(("keyType", "expiry", "lifetime", "stable"))
    for body in (b"", b" \r\n\t", {}, nulls):
        assert read(body) == TokenRequest(GatewayRef("contoso", "edge-01"), None, None, None)


def test_what_is_asked_for_is_read() -> None:
    wanted = read({"keyType": "secondary", "expiry": stamp(DAY)}, {"api-version": "2024-05-01"})
    assert (wanted.key_type, wanted.expiry) == (KeyType.SECONDARY, NOW + DAY)
    names = {"secretName": "mine", "secretKey": "value", "namespace": "apim"}
    assert read(query=names, route=MANIFEST).secret == SecretName("mine", "value", "apim")
    assert [read(route={**ROUTE, "format": name}).format for name in TokenFormat] == list(TokenFormat)


@pytest.mark.parametrize(
    ("name", "sound", "faulty"),
    [
        (
            "service",
            ["a", "A1", "a-b", "a" * 50],
            ["a" * 51, "1a", "-a", "a-", "a_b", "a.b", "*", "ó", "a\n"],
        ),
        ("gatewayId", ["1", "E_0.u~x-", "...", ".a", "a" * 80], ["a" * 81, ".", "..", "../edge", "é", "a\n"]),
        ("gatewayId", ["managed1", "amanaged"], ["a%2fb", "a b", "*", "a&b", "mAnAgEd", "managed\n"]),
        ("run", ["a", "_.-A9", "a" * 64], ["a" * 65, "a b", "a/b", "é", "a\n"]),
        (
            "secretName",
            ["a", "a.b-c", "a" * 253],
            ["A", "a-", "-a", "a/b", "a\n", "a" * 254, "a..b", "a.-b", ".a"],
        ),
        ("secretKey", ["_-.A", ".a", "a..b", "a" * 253], [".", "..", "..a", "a b", "a\n", "a" * 254]),
        ("namespace", ["a", "a" * 63], ["a.b", "a-", "a\n", "a" * 64]),
    ],
)
def test_a_name_follows_the_pattern_of_azure_or_of_kubernetes(
    name: str, sound: list[str], faulty: list[str]
) -> None:
    for value in (*sound, "", *faulty):
        calls: list[Callable[[], object]] = []
        if name in SECRET_NAMES:
            calls.append(partial(read, query={name: value}, route=MANIFEST))
        else:
            calls.append(partial(read_path, request({name: value}), name))
        if name in ROUTE:
            calls.append(partial(read, route={**ROUTE, name: value}))
        for call in calls:
            if value in sound:
                assert value in str(call())
            else:
                assert refusal(call) == [(name, FORMS[name][1])]


def test_a_refused_name_is_not_repeated() -> None:
    assert "tok-3n" not in str(faults_of(route={"service": "tok-3n/", "gatewayId": "tok-3n/"}))
    for name in ("edge-01&202612011200&" + "A" * 9, "a" * 101):
        assert faults_of(query={name: ""}) == [("(a name withheld)", "unknown query parameter")]


@pytest.mark.parametrize("name", ["", "json", "envfile", "envFile "])
def test_another_format_is_refused(name: str) -> None:
    message = "must be one of headerValue, envFile, kubernetesSecret"
    assert faults_of(route={**ROUTE, "format": name}) == [("format", message)]


def test_parameters_that_belong_elsewhere_are_refused_in_the_query_and_the_place_is_named() -> None:
    for route in (ROUTE, MANIFEST):
        for name in ("keyType", "expiry", "lifetime", "stable"):
            assert faults_of(query={name: "PT1H"}, route=route) == [(name, "belongs in the body")]
        [(path, message)] = faults_of(query={"format": ""}, route=route)
        assert path == "format"
        assert "services/{service}/gateways/{gatewayId}/generateToken/{format}" in message


@pytest.mark.parametrize(
    ("route", "known"),
    [(ROUTE, ("api-version",)), ({**ROUTE, "format": TokenFormat.ENV_FILE}, ()), (MANIFEST, SECRET_NAMES)],
)
def test_any_other_query_parameter_is_refused_by_name(route: Texts, known: tuple[str, ...]) -> None:
    for name in {"secretname", "", "é", "api-version", *SECRET_NAMES} - {*known}:
        assert faults_of(query={name: ""}, route=route) == [(name or "query", "unknown query parameter")]


def test_a_body_has_at_most_16_kibibytes() -> None:
    assert read(b" " * (16_384 - 2) + b"{}").key_type is None
    assert faults_of(b" " * (MAX_BODY_BYTES - 1) + b"{}") == [("body", "is larger than 16384 bytes")]


@pytest.mark.parametrize(
    ("body", "path", "message"),
    [
        (b"null", "(document)", "must be an object"),
        (b"keyType=primary", "body", "is not JSON: Expecting value at line 1 column 1"),
        (b'{"keytype": "primary"}', "keytype", "unknown field. Did you mean 'keyType'?"),
        (b'{"key_type": "primary"}', "key_type", "unknown field. Did you mean 'keyType'?"),
        (b'{"keytype": null}', "keytype", "unknown field. Did you mean 'keyType'?"),
        (b'{"": null}', "(document)", "unknown field"),
        (b'{"keyType": "Primary"}', "keyType", NO_KEY_TYPE),
        ({"expiry": stamp(DAY), "lifetime": "P1D"}, "(document)", "give either expiry or lifetime, not both"),
        ({"lifetime": "PT59S"}, "lifetime", "is shorter than one minute (PT1M)"),
        ({"lifetime": "P30DT1S"}, "lifetime", "is longer than 30 days (P30D)"),
        ({"lifetime": "P1M"}, "lifetime", NO_DURATION),
        ({"expiry": stamp(-SECOND)}, "expiry", PAST),
        ({"expiry": stamp(MINUTE - SECOND)}, "expiry", PAST),
        ({"expiry": stamp(30 * DAY + SECOND)}, "expiry", "is more than 30 days ahead"),
        *(({"stable": value}, "stable", "must be true or false") for value in ("true", 1)),
    ],
)
def test_a_faulty_body_is_told(body: object, path: str, message: str) -> None:
    assert faults_of(body) == [(path, message)]


def test_an_expiry_is_a_date_and_time_with_its_zone_that_a_calendar_has() -> None:
    incomplete = ["2026-03-02T12:00:00", "2026-03-02", "2026-03-02T12:00Z", "26-03-02T12:00:00Z", ""]
    spelled = ["2026-03-02 12:00:00Z", "2026-03-02T12:00:00z", "2026-03-02T12:00:00+0100", "20260302T120000Z"]
    fractions = ["2026-03-02T12:00:00.Z", "2026-03-02T12:00:00.12345678Z"]
    for expiry in (*incomplete, *spelled, *fractions, 1_772_452_800, True, " 2026-03-02T12:00:00Z"):
        assert faults_of({"expiry": expiry}) == [("expiry", NO_TIMESTAMP)]
    no_day = ["2026-02-29T12:00:00Z", "2026-13-01T12:00:00Z", "0000-03-02T12:00:00Z", stamp(DAY) + "\n"]
    no_time = ["2026-03-02T25:00:00Z", "2026-03-02T12:00:60Z", "2026-03-02T12:00:00+25:00"]
    for expiry in (*no_day, *no_time, "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"):
        assert faults_of({"expiry": expiry}) == [("expiry", "is not a date and time")]


@pytest.mark.parametrize(
    ("expiry", "utc"),
    [
        ("2026-03-02T12:00:00+02:00", datetime(2026, 3, 2, 10, tzinfo=UTC)),
        ("2026-03-02T12:00:00-00:30", datetime(2026, 3, 2, 12, 30, tzinfo=UTC)),
        # The fraction of the reference's own example (api-version 2022-08-01).
        ("2026-03-02T12:00:00.2845269Z", datetime(2026, 3, 2, 12, 0, 0, 284_526, tzinfo=UTC)),
        (stamp(MINUTE), NOW + MINUTE),
        (stamp(30 * DAY), NOW + 30 * DAY),
    ],
)
def test_an_expiry_is_read_in_utc_from_any_zone_and_fraction(expiry: str, utc: datetime) -> None:
    read_expiry = read({"expiry": expiry}).expiry
    assert read_expiry == utc
    assert read_expiry.tzinfo is UTC


def test_a_stable_token_is_asked_for_with_a_lifetime_or_nothing_and_never_with_an_expiry() -> None:
    for lifetime, span in {"PT1M": MINUTE, "P4W2D": 30 * DAY}.items():
        wanted = read({"stable": True, "lifetime": lifetime})
        assert (wanted.stable, wanted.lifetime) == (True, span)
    assert not read({"stable": False, "expiry": stamp(DAY)}).stable
    [(path, message)] = faults_of({"stable": True, "expiry": stamp(DAY)})
    assert (path, message.partition(":")[0]) == ("stable", "goes with a lifetime, not with an expiry")


def test_every_fault_of_path_query_and_body_is_told_at_once() -> None:
    faults = faults_of(
        route={"service": "1", "gatewayId": "managed", "format": "x"},
        query={"secretName": "X", "secretKey": "", "namespace": "a.b", "more": "x"},
        body={"keyType": "x", "expiry": "x", "lifetime": "x", "more": 1},
    )
    assert [path for path, _ in faults_of(route={})] == ["service", "gatewayId"]
    path, query = ["service", "gatewayId", "format"], ["more", "secretName", "secretKey", "namespace"]
    assert [path for path, _ in faults] == [*path, *query, "keyType", "expiry", "lifetime", "more"]
    faulty = request({"service": "1", "gatewayId": "managed"}, {"more": "x"}, b"{}")
    faults = refusal(partial(read_body, faulty, RevocationBody, *ROUTE))
    assert [path for path, _ in faults] == ["service", "gatewayId", "more", "keyType", "reason"]


@given(st.binary(max_size=200), st.text(max_size=10), st.text(max_size=10), st.text(max_size=10))
def test_any_request_is_read_or_refused_with_its_faults(
    body: bytes, gateway: str, form: str, name: str
) -> None:
    try:
        read(body, {name: ""}, {"service": "contoso", "gatewayId": gateway, "format": form})
    except RequestInvalid as error:
        assert error.faults  # noqa: PT017 - most of these are refused, none need be
