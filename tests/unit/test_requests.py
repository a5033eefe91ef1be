"""What callers may ask: every fault of path, query and body at once, checked before Azure is called."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_tokens.errors import RequestInvalid
from gateway_tokens.formats import SecretName, TokenFormat
from gateway_tokens.http.requests import (
    MAX_BODY_BYTES,
    SECRET_NAMES,
    read_gateway,
    read_service,
    read_token_request,
    require_no_query,
)
from gateway_tokens.issuing import TokenRequest
from gateway_tokens.tokens import GatewayRef, KeyType
from tests.unit.samples import NOW

ROUTE = {"service": "contoso", "gatewayId": "edge-01"}
NO_TIMESTAMP = "must be a date and time with its zone, yyyy-MM-ddTHH:mm:ssZ"
NO_DURATION = "must be an ISO 8601 duration of weeks, days, hours, minutes and seconds, such as P30D"
PAST = "is in the past, or less than a minute ahead: tokens are cut to the minute"
SECOND = timedelta(seconds=1)


def in_form(form: str) -> dict[str, str]:
    return {**ROUTE, "format": form}


MANIFEST = in_form(TokenFormat.KUBERNETES)


def read(
    body: object = b"", query: dict[str, str] | None = None, route: dict[str, str] | None = None
) -> TokenRequest:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_token_request(ROUTE if route is None else route, query or {}, sent, NOW)


def faults_of(
    body: object = b"", query: dict[str, str] | None = None, route: dict[str, str] | None = None
) -> list[tuple[str, str]]:
    with pytest.raises(RequestInvalid) as refused:
        read(body, query, route)
    return [(fault.path, fault.message) for fault in refused.value.faults]


def paths_of(**asked: Any) -> list[str]:  # noqa: ANN401 - passed on as it is
    return [path for path, _ in faults_of(**asked)]


def stamp(ahead: timedelta) -> str:
    return (NOW + ahead).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(
    "body", [b"", b" \r\n\t", b"{}", b'{"keyType": null, "expiry": null, "lifetime": null}']
)
def test_a_body_that_asks_for_nothing_leaves_everything_to_the_gateways_rule(body: bytes) -> None:
    assert read(body) == TokenRequest(GatewayRef("contoso", "edge-01"), None, None, None, None, SecretName())


def test_key_and_expiry_are_read() -> None:
    asked = read({"keyType": "secondary", "expiry": "2026-03-02T12:00:00Z"})
    assert (asked.key_type, asked.expiry) == (KeyType.SECONDARY, NOW + timedelta(days=1))


def test_a_lifetime_is_read() -> None:
    asked = read({"lifetime": "PT12H"})
    assert (asked.expiry, asked.lifetime) == (None, timedelta(hours=12))


@pytest.mark.parametrize("service", ["a", "A1", "contoso-apim", "a" * 50])
def test_a_service_name_within_azures_pattern_is_read(service: str) -> None:
    assert read_service({"service": service}, {}) == service


@pytest.mark.parametrize(
    "service",
    [
        "",
        "a" * 51,
        "1a",
        "-a",
        "a-",
        "a_b",
        "a.b",
        "a b",
        "a/b",
        "..",
        "contoso\n",
        "contosó",
        "a%2fb",
        "*",
        "a\x00",
    ],
)
def test_a_service_name_outside_azures_pattern_is_refused(service: str) -> None:
    with pytest.raises(RequestInvalid) as refused:
        read_service({"service": service}, {})
    assert [fault.path for fault in refused.value.faults] == ["service"]
    assert "at most 50 characters" in refused.value.faults[0].message


@pytest.mark.parametrize(
    "gateway", ["a", "1", "Edge_01.eu~x-", "...", ".a", "a" * 80, "managed1", "amanaged"]
)
def test_a_gateway_id_that_azure_could_have_is_read(gateway: str) -> None:
    assert read_gateway({"service": "contoso", "gatewayId": gateway}, {}).gateway == gateway


@pytest.mark.parametrize(
    "gateway",
    [
        "",
        "a" * 81,
        ".",
        "..",
        "../edge",
        "a/b",
        "a\\b",
        "a%2fb",
        "a b",
        "edge-01\n",
        "edge\x00",
        "edgé",
        "*",
        "a?b",
        "a#b",
        "a&b",
        "managed",
        "Managed",
        "MANAGED",
        "mAnAgEd",
        "managed\n",
    ],
)
def test_a_gateway_id_that_plays_tricks_or_is_azures_own_is_refused(gateway: str) -> None:
    route = {"service": "contoso", "gatewayId": gateway}
    assert paths_of(route=route) == ["gatewayId"]
    with pytest.raises(RequestInvalid):
        read_gateway(route, {})


def test_a_path_without_its_names_is_refused() -> None:
    assert paths_of(route={}) == ["service", "gatewayId"]


def test_a_refused_name_is_not_repeated() -> None:
    assert "tok-3n" not in str(faults_of(route={"service": "tok-3n/", "gatewayId": "tok-3n/"}))


@pytest.mark.parametrize("form", TokenFormat)
def test_each_form_may_be_asked_for(form: TokenFormat) -> None:
    assert read(route=in_form(form)).format is form


@pytest.mark.parametrize("form", ["", "json", "envfile", "yaml", "envFile "])
def test_any_other_form_is_refused(form: str) -> None:
    assert faults_of(route=in_form(form)) == [
        ("format", "must be one of headerValue, envFile, kubernetesSecret")
    ]


@pytest.mark.parametrize("form", ["json", "envFile", ""])
@pytest.mark.parametrize("route", [ROUTE, in_form(TokenFormat.ENV_FILE)])
def test_a_form_in_the_query_is_refused_and_the_path_for_it_is_named(
    form: str, route: dict[str, str]
) -> None:
    [(path, message)] = faults_of(query={"format": form}, route=route)
    assert path == "format"
    assert "services/{service}/gateways/{gatewayId}/generateToken/{format}" in message


@pytest.mark.parametrize("name", ["keyType", "expiry", "lifetime"])
def test_a_field_of_the_body_is_refused_in_the_query(name: str) -> None:
    for route in (ROUTE, in_form(TokenFormat.HEADER)):
        assert faults_of(query={name: "PT1H"}, route=route) == [(name, "belongs in the body")]


def test_the_version_that_azures_own_operation_demands_is_taken_with_it_only() -> None:
    assert read(query={"api-version": "2024-05-01"}).format is None
    for form in TokenFormat:
        assert paths_of(query={"api-version": "2024-05-01"}, route=in_form(form)) == ["api-version"]


@pytest.mark.parametrize("name", SECRET_NAMES)
@pytest.mark.parametrize("route", [ROUTE, in_form(TokenFormat.HEADER), in_form(TokenFormat.ENV_FILE)])
def test_the_names_of_a_secret_are_taken_with_that_form_only(name: str, route: dict[str, str]) -> None:
    assert faults_of(query={name: "a"}, route=route) == [(name, "unknown query parameter")]


@pytest.mark.parametrize("name", ["fromat", "secretname", "", "a b", "é"])
def test_any_other_query_parameter_is_refused_by_name(name: str) -> None:
    fault = (name or "query", "unknown query parameter")
    assert faults_of(query={name: ""}) == [fault]
    for form in TokenFormat:
        assert faults_of(query={name: "x"}, route=in_form(form)) == [fault]
    for call in (
        lambda: read_gateway(ROUTE, {name: "x"}),
        lambda: read_service(ROUTE, {name: "x"}),
        lambda: require_no_query({name: "x"}),
    ):
        with pytest.raises(RequestInvalid) as refused:
            call()
        assert [(found.path, found.message) for found in refused.value.faults] == [fault]


def test_an_empty_query_is_no_fault() -> None:
    require_no_query({})


@pytest.mark.parametrize("name", ["edge-01&202612011200&" + "A" * 9, "a" * 101])
def test_a_query_parameter_whose_name_may_be_a_token_is_not_repeated(name: str) -> None:
    assert paths_of(query={name: ""}) == ["(a name withheld)"]


def test_a_secrets_names_are_read() -> None:
    asked = read(query={"secretName": "mine", "secretKey": "value", "namespace": "apim"}, route=MANIFEST)
    assert asked.secret == SecretName("mine", "value", "apim")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("secretName", "a"),
        ("secretName", "a.b-c"),
        ("secretName", "a" * 253),
        ("secretKey", "config.service.auth.key"),
        ("secretKey", "_-.A"),
        ("secretKey", ".a"),
        ("secretKey", "a..b"),
        ("secretKey", "a" * 253),
        ("namespace", "a"),
        ("namespace", "a" * 63),
    ],
)
def test_a_secrets_name_at_the_boundary_of_kubernetes_is_read(name: str, value: str) -> None:
    asked = read(query={name: value}, route=MANIFEST).secret
    assert value in {asked.name, asked.key, asked.namespace}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("secretName", ""),
        ("secretName", "A"),
        ("secretName", "a-"),
        ("secretName", "-a"),
        ("secretName", "a/b"),
        ("secretName", "a\n"),
        ("secretName", "a..b"),
        ("secretName", "a.-b"),
        ("secretName", "a-.b"),
        ("secretName", ".a"),
        ("secretName", "a" * 254),
        ("secretKey", ""),
        ("secretKey", "."),
        ("secretKey", ".."),
        ("secretKey", "..a"),
        ("secretKey", "a b"),
        ("secretKey", "a\n"),
        ("secretKey", "a" * 254),
        ("namespace", ""),
        ("namespace", "a.b"),
        ("namespace", "a-"),
        ("namespace", "a\n"),
        ("namespace", "a" * 64),
    ],
)
def test_a_secrets_name_that_kubernetes_would_refuse_is_refused(name: str, value: str) -> None:
    assert paths_of(query={name: value}, route=MANIFEST) == [name]


def test_a_body_of_16_kibibytes_is_read() -> None:
    assert read(b" " * (MAX_BODY_BYTES - 2) + b"{}").key_type is None
    assert MAX_BODY_BYTES == 16_384


@pytest.mark.parametrize("filler", [b" ", b"x"])
def test_a_body_one_byte_larger_is_refused(filler: bytes) -> None:
    assert faults_of(filler * (MAX_BODY_BYTES - 1) + b"{}") == [("body", "is larger than 16384 bytes")]


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"null", ("(document)", "must be an object")),
        (b"[]", ("(document)", "must be an object")),
        (b'"primary"', ("(document)", "must be an object")),
        (b"{", ("body", "is not JSON: Expecting property name enclosed in double quotes at line 1 column 2")),
        (b"keyType=primary", ("body", "is not JSON: Expecting value at line 1 column 1")),
        (b"\xff", ("body", "is not UTF-8 text")),
        (b'{"keyType": NaN}', ("body", "is not JSON: it holds a number that JSON does not know")),
        (b'{"keyType": "primary", "keyType": "secondary"}', ("body", "'keyType' is given twice")),
        (b"[" * 16_384, ("body", "is nested too deeply")),
        (b'{"gateway": "edge-01"}', ("gateway", "unknown field")),
        (b'{"keytype": "primary"}', ("keytype", "unknown field")),
        (b'{"key_type": 5}', ("key_type", "input should be 'primary' or 'secondary'")),
        (
            b'{"expiry": "2026-03-02T12:00:00Z", "lifetime": "P1D"}',
            ("(document)", "give either expiry or lifetime, not both"),
        ),
    ],
    ids=range(13),
)
def test_a_faulty_body_is_told(body: bytes, fault: tuple[str, str]) -> None:
    assert faults_of(body) == [fault]


@pytest.mark.parametrize(
    "key_type", ["", "Primary", "PRIMARY", "tertiary", "primary ", 1, True, ["primary"], {}]
)
def test_nonsense_is_no_key_type(key_type: object) -> None:
    assert faults_of({"keyType": key_type}) == [("keyType", "input should be 'primary' or 'secondary'")]


@pytest.mark.parametrize(
    "expiry",
    [
        "2026-03-02T12:00:00",
        "2026-03-02",
        "2026-03-02 12:00:00Z",
        "2026-03-02T12:00Z",
        "2026-03-02T12:00:00z",
        "2026-03-02T12:00:00+0100",
        "2026-03-02T12:00:00.Z",
        "2026-03-02T12:00:00.12345678Z",
        "26-03-02T12:00:00Z",
        " 2026-03-02T12:00:00Z",
        "20260302T120000Z",
        "tomorrow",
        "",
        1_772_452_800,
        1.5,
        True,
        ["2026-03-02T12:00:00Z"],
        {},
    ],
)
def test_an_expiry_is_a_date_and_time_with_its_zone(expiry: object) -> None:
    assert faults_of({"expiry": expiry}) == [("expiry", NO_TIMESTAMP)]


@pytest.mark.parametrize(
    "expiry",
    [
        "2026-02-29T12:00:00Z",
        "2026-13-01T12:00:00Z",
        "2026-03-02T25:00:00Z",
        "2026-03-02T12:60:00Z",
        "2026-03-02T12:00:60Z",
        "2026-03-02T12:00:00+25:00",
        "0000-03-02T12:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
    ],
)
def test_an_expiry_that_no_calendar_has_is_refused(expiry: str) -> None:
    assert faults_of({"expiry": expiry}) == [("expiry", "is not a date and time")]


@pytest.mark.parametrize("end", ["\n", " "])
def test_nothing_follows_an_expiry(end: str) -> None:
    assert paths_of(body={"expiry": stamp(timedelta(days=1)) + end}) == ["expiry"]


@pytest.mark.parametrize(
    ("expiry", "utc"),
    [
        ("2026-03-02T12:00:00Z", datetime(2026, 3, 2, 12, tzinfo=UTC)),
        ("2026-03-02T12:00:00+02:00", datetime(2026, 3, 2, 10, tzinfo=UTC)),
        ("2026-03-02T12:00:00-00:30", datetime(2026, 3, 2, 12, 30, tzinfo=UTC)),
        ("2026-03-02T12:00:00.5Z", datetime(2026, 3, 2, 12, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-03-02T12:00:00.284526Z", datetime(2026, 3, 2, 12, 0, 0, 284_526, tzinfo=UTC)),
        ("2026-03-02T12:00:00.2845269Z", datetime(2026, 3, 2, 12, 0, 0, 284_526, tzinfo=UTC)),
    ],
)
def test_an_expiry_is_read_in_utc_from_any_zone_and_fraction(expiry: str, utc: datetime) -> None:
    asked = read({"expiry": expiry})
    assert asked.expiry == utc
    assert asked.expiry.tzinfo is UTC


def test_the_official_examples_expiry_has_a_form_that_is_read() -> None:
    # Its day has passed, so only that may be wrong with it.
    assert faults_of({"keyType": "primary", "expiry": "2020-04-21T00:44:24.2845269Z"}) == [("expiry", PAST)]


@pytest.mark.parametrize(
    ("ahead", "said"),
    [
        (timedelta(0), PAST),
        (-SECOND, PAST),
        (timedelta(minutes=1) - SECOND, PAST),
        (timedelta(days=30) + SECOND, "is more than 30 days ahead"),
    ],
)
def test_an_expiry_in_the_past_or_too_distant_is_refused(ahead: timedelta, said: str) -> None:
    assert faults_of({"expiry": stamp(ahead)}) == [("expiry", said)]


@pytest.mark.parametrize("ahead", [timedelta(minutes=1), timedelta(days=30) - SECOND, timedelta(days=30)])
def test_an_expiry_from_the_next_minute_to_thirty_days_is_read(ahead: timedelta) -> None:
    assert read({"expiry": stamp(ahead)}).expiry == NOW + ahead


@pytest.mark.parametrize(
    ("lifetime", "said"),
    [
        ("PT59S", "is shorter than one minute (PT1M)"),
        ("P0D", "is shorter than one minute (PT1M)"),
        ("P30DT1S", "is longer than 30 days (P30D)"),
        ("P1M", NO_DURATION),
        ("P1Y", NO_DURATION),
        ("1 day", NO_DURATION),
        (86_400, NO_DURATION),
    ],
)
def test_a_lifetime_out_of_bounds_or_without_a_fixed_length_is_refused(lifetime: object, said: str) -> None:
    assert faults_of({"lifetime": lifetime}) == [("lifetime", said)]


@pytest.mark.parametrize("lifetime", ["PT1M", "PT60S", "P30D", "P4W2D"])
def test_a_lifetime_at_its_bounds_is_read(lifetime: str) -> None:
    assert read({"lifetime": lifetime}).lifetime is not None


def test_every_fault_of_path_query_and_body_is_told_at_once() -> None:
    found = paths_of(
        route={"service": "1", "gatewayId": "managed", "format": "x"},
        query={"secretName": "X", "secretKey": "", "namespace": "a.b", "more": "x"},
        body={"keyType": "x", "expiry": "x", "lifetime": "x", "more": 1},
    )
    assert found == [
        "service",
        "gatewayId",
        "format",
        "more",
        "secretName",
        "secretKey",
        "namespace",
        "keyType",
        "expiry",
        "lifetime",
        "more",
    ]


@given(st.binary(max_size=200), st.text(max_size=10), st.text(max_size=10), st.text(max_size=10))
def test_nothing_that_is_sent_is_more_than_a_fault(body: bytes, gateway: str, form: str, name: str) -> None:
    try:
        read(body, {name: ""}, {"service": "contoso", "gatewayId": gateway, "format": form})
    except RequestInvalid as error:
        assert error.faults  # noqa: PT017 - most of these are refused, none need be
