"""The nouns at their boundaries: service ids, secrets that stay secret, tokens taken apart."""

import base64
import copy
import json
import pickle
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_tokens.tokens import HEADER_PREFIX, GatewayRef, GatewayToken, KeyType, Secret, ServiceId
from tests.unit.samples import SERVICE, SIGNATURE, SUBSCRIPTION

VALUE = "edge-01&202603311155&top-secret"


def signature_of(size: int) -> str:
    return base64.b64encode(bytes(size)).decode()


def test_the_two_keys_are_called_as_azure_calls_them() -> None:
    assert [str(key) for key in KeyType] == ["primary", "secondary"]


@pytest.mark.parametrize("unknown", ["PRIMARY", "tertiary", "", "primary "])
def test_any_other_key_name_is_refused(unknown: str) -> None:
    with pytest.raises(ValueError, match="is not a valid KeyType"):
        KeyType(unknown)


def test_a_service_id_is_taken_apart_and_put_together_again() -> None:
    service = ServiceId.parse(SERVICE)
    assert (service.subscription_id, service.resource_group, service.name) == (
        SUBSCRIPTION,
        "apim-rg",
        "contoso-apim",
    )
    assert str(service) == SERVICE


def test_a_service_id_ignores_case_and_keeps_the_names_as_written() -> None:
    service = ServiceId.parse(SERVICE.upper())
    assert (service.subscription_id, service.resource_group) == (SUBSCRIPTION, "APIM-RG")


@pytest.mark.parametrize(
    "broken",
    [
        "",
        SERVICE.removeprefix("/"),
        SERVICE + "/",
        SERVICE + "\n",
        SERVICE + "/gateways/edge-01",
        SERVICE.replace(SUBSCRIPTION, SUBSCRIPTION[:-1]),
        SERVICE.replace(SUBSCRIPTION, SUBSCRIPTION + "0"),
        SERVICE.replace(SUBSCRIPTION, "g" + SUBSCRIPTION[1:]),
        SERVICE.replace("apim-rg", ""),
        SERVICE.replace("apim-rg", "r" * 91),
        SERVICE.replace("apim-rg", "a/b"),
        SERVICE.replace("contoso-apim", ""),
        SERVICE.replace("contoso-apim", "1contoso"),
        SERVICE.replace("contoso-apim", "contoso-"),
        SERVICE.replace("contoso-apim", "c" * 51),
        SERVICE.replace("Microsoft.ApiManagement", "MicrosoftXApiManagement"),
        SERVICE.replace("Microsoft.ApiManagement/service", "Microsoft.Web/sites"),
    ],
)
def test_anything_but_an_api_management_service_is_refused(broken: str) -> None:
    with pytest.raises(ValueError, match=r"must be /subscriptions/"):
        ServiceId.parse(broken)


@pytest.mark.parametrize("name", ["c", "c" * 50, "Contoso-1"])
def test_a_service_name_of_one_to_fifty_characters_is_read(name: str) -> None:
    assert ServiceId.parse(SERVICE.replace("contoso-apim", name)).name == name


def test_a_gateway_is_written_as_service_and_gateway() -> None:
    assert str(GatewayRef("contoso", "edge-01")) == "contoso/edge-01"


@pytest.mark.parametrize(
    "show",
    [str, repr, "{}".format, "{:>40}".format, lambda s: f"{s}", lambda s: f"{s!r:>40}", lambda s: f"{[s]}"],
)
def test_a_secret_shows_its_fingerprint_only(show: object) -> None:
    assert callable(show)
    shown = show(Secret(VALUE))
    assert "top-secret" not in shown
    assert Secret(VALUE).fingerprint in shown


def test_a_secret_does_not_pickle() -> None:
    with pytest.raises(TypeError, match="does not pickle"):
        pickle.dumps(Secret(VALUE))


def test_a_secret_does_not_copy() -> None:
    with pytest.raises(TypeError, match="does not pickle"):
        copy.copy(Secret(VALUE))


def test_a_secret_does_not_become_json() -> None:
    with pytest.raises(TypeError):
        json.dumps({"value": Secret(VALUE)})


def test_a_secret_has_no_attributes_to_dump() -> None:
    with pytest.raises(TypeError, match="__dict__"):
        vars(Secret(VALUE))


def test_a_secret_is_revealed_only_when_asked() -> None:
    assert Secret(VALUE).reveal() == VALUE


def test_secrets_compare_by_value_and_with_secrets_only() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_a_fingerprint_is_twelve_digits_of_the_sha256() -> None:
    assert Secret("abc").fingerprint == "ba7816bf8f01"


def test_a_token_is_read_into_gateway_and_expiry() -> None:
    token = GatewayToken.parse(f"edge-01&202603311155&{SIGNATURE}")
    assert (token.gateway_id, token.expiry) == ("edge-01", datetime(2026, 3, 31, 11, 55, tzinfo=UTC))
    assert token.value.reveal() == f"edge-01&202603311155&{SIGNATURE}"


@pytest.mark.parametrize("before", ["", HEADER_PREFIX, f"  {HEADER_PREFIX}", "\n"])
@pytest.mark.parametrize("after", ["", "\n", " "])
def test_the_prefix_and_white_space_around_a_token_are_not_part_of_it(before: str, after: str) -> None:
    token = GatewayToken.parse(f"{before}edge-01&202603311155&{SIGNATURE}{after}")
    assert token.value.reveal() == f"edge-01&202603311155&{SIGNATURE}"


def test_a_token_behind_two_prefixes_is_no_gateways_token() -> None:
    doubled = HEADER_PREFIX * 2 + f"edge-01&202603311155&{SIGNATURE}"
    assert not GatewayToken.parse(doubled).is_for("edge-01")


def test_the_header_value_has_the_prefix_once() -> None:
    token = GatewayToken.parse(f"{HEADER_PREFIX}edge-01&202603311155&{SIGNATURE}")
    assert token.header_value().reveal() == f"GatewayKey edge-01&202603311155&{SIGNATURE}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "three parts"),
        (HEADER_PREFIX, "three parts"),
        (f"202603311155&{SIGNATURE}", "three parts"),
        (f"edge-01&202603311155&{SIGNATURE}&", "three parts"),
        (f"edge-01&202603311155&{SIGNATURE}&more", "three parts"),
        (f"&202603311155&{SIGNATURE}", "three parts"),
        (f"edge-01&&{SIGNATURE}", "three parts"),
        ("edge-01&202603311155&", "three parts"),
        (f"edge-01&20260331115&{SIGNATURE}", "not yyyyMMddHHmm"),
        (f"edge-01&2026033111550&{SIGNATURE}", "not yyyyMMddHHmm"),
        (f"edge-01&2026-03-31T1&{SIGNATURE}", "not yyyyMMddHHmm"),
        (f"edge-01&２02603311155&{SIGNATURE}", "not yyyyMMddHHmm"),  # noqa: RUF001 - a wide digit is no digit here
        (f"edge-01&202602290000&{SIGNATURE}", "not a date"),
        (f"edge-01&202603312400&{SIGNATURE}", "not a date"),
        (f"edge-01&202603311160&{SIGNATURE}", "not a date"),
        (f"edge-01&000003311155&{SIGNATURE}", "not a date"),
        ("edge-01&202603311155&" + "*" * 88, "not base64"),
        (f"edge-01&202603311155&{SIGNATURE[:-1]}", "not base64"),
        (f"edge-01&202603311155&{SIGNATURE[:40]}\n{SIGNATURE[40:]}", "not base64"),
        ("edge-01&202603311155&" + "é" * 88, "not base64"),
        (f"edge-01&202603311155&{signature_of(31)}", "unlikely length"),
        (f"edge-01&202603311155&{signature_of(385)}", "unlikely length"),
    ],
)
def test_what_is_no_token_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        GatewayToken.parse(text)


@pytest.mark.parametrize("size", [32, 64, 384])
def test_a_signature_from_32_bytes_to_512_characters_is_taken(size: int) -> None:
    assert GatewayToken.parse(f"g&202603311155&{signature_of(size)}").gateway_id == "g"


@pytest.mark.parametrize("stamp", ["202602282359", "202402290000"])
def test_the_last_minute_of_a_day_and_a_leap_day_are_dates(stamp: str) -> None:
    assert GatewayToken.parse(f"g&{stamp}&{SIGNATURE}").expiry.strftime("%Y%m%d%H%M") == stamp


@given(st.text(max_size=60))
def test_a_refusal_never_quotes_the_text(text: str) -> None:
    marked = f"leak{text}leak"
    try:
        GatewayToken.parse(marked)
    except ValueError as error:
        assert "leak" not in str(error)  # noqa: PT017 - most texts are refused, none need be
        assert error.__cause__ is None  # noqa: PT017 - the same


def test_a_refusal_chains_no_cause_that_quotes_the_text() -> None:
    with pytest.raises(ValueError, match="not a date") as refused:
        GatewayToken.parse(f"edge-01&202699991155&{SIGNATURE}")
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_a_token_is_for_its_gateway_whatever_the_case() -> None:
    token = GatewayToken.parse(f"Edge-01&202603311155&{SIGNATURE}")
    assert token.is_for("edge-01")
    assert token.is_for("EDGE-01")
    assert not token.is_for("edge-0")
    assert not token.is_for("edge-011")


def test_a_token_prints_without_its_signature() -> None:
    token = GatewayToken.parse(f"edge-01&202603311155&{SIGNATURE}")
    assert SIGNATURE not in f"{token} {token!r} {token.header_value()}"
    assert token.fingerprint in repr(token)
