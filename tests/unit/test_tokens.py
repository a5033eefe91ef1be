"""Names that compare as Azure compares them, values that cannot print a secret, tokens taken apart."""

import base64
import copy
import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_tokens.tokens import HEADER_PREFIX, GatewayRef, GatewayToken, Secret, ServiceId
from tests.samples import SERVICE, SIGNATURE, SUBSCRIPTION

TOKEN = f"edge-01&202603311155&{SIGNATURE}"


def signature_of(size: int) -> str:
    return base64.b64encode(bytes(size)).decode()


def test_a_service_id_is_read_in_any_case_and_keeps_the_names_as_written() -> None:
    assert ServiceId.parse(SERVICE) == ServiceId(SUBSCRIPTION, "apim-rg", "contoso-apim")
    assert ServiceId.parse(SERVICE.upper()) == ServiceId(SUBSCRIPTION, "APIM-RG", "CONTOSO-APIM")


@pytest.mark.parametrize(
    ("part", "sound", "faulty"),
    [
        (SUBSCRIPTION, [], ["", SUBSCRIPTION[:-1], SUBSCRIPTION + "0", "g" + SUBSCRIPTION[1:]]),
        ("apim-rg", ["r" * 90, "_.(r)-"], ["", "r" * 91, "a/b"]),
        ("contoso-apim", ["c", "c" * 50, "Contoso-1"], ["", "1contoso", "contoso-", "c" * 51]),
        ("Microsoft.ApiManagement/service", [], ["MicrosoftXApiManagement/service", "Microsoft.Web/sites"]),
        (SERVICE, [], ["", SERVICE[1:], SERVICE + "/", SERVICE + "\n", SERVICE + "/gateways/edge-01"]),
    ],
    ids=["subscription", "resource group", "name", "provider", "the whole"],
)
def test_a_service_id_is_that_of_an_api_management_service(
    part: str, sound: list[str], faulty: list[str]
) -> None:
    for other in sound:
        assert str(ServiceId.parse(SERVICE.replace(part, other))) == SERVICE.replace(part, other)
    for other in faulty:
        with pytest.raises(ValueError, match=r"must be /subscriptions/"):
            ServiceId.parse(SERVICE.replace(part, other))


def test_a_gateway_is_written_as_service_and_gateway_and_compares_in_any_case() -> None:
    ref = GatewayRef("contoso", "edge-01")
    assert str(ref) == "contoso/edge-01"
    assert {ref, GatewayRef("CONTOSO", "Edge-01")} == {ref}
    assert ref not in {GatewayRef("contoso", "edge-02"), "contoso/edge-01"}


def test_a_secret_shows_twelve_digits_of_its_sha256_only() -> None:
    secret = Secret("abc")
    for shown in (str(secret), repr(secret), f"{secret}", f"{secret:>40}", f"{secret!r}"):
        assert shown == "Secret(ba7816bf8f01)"
    assert f"{[secret]}" == "[Secret(ba7816bf8f01)]"


@pytest.mark.parametrize("dump", [pickle.dumps, copy.copy, json.dumps, vars])
def test_a_secret_cannot_be_dumped(dump: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match=r"does not pickle|not JSON serializable|__dict__"):
        dump(Secret("abc"))


def test_secrets_compare_by_value_and_with_secrets_only() -> None:
    assert Secret("a") != "a"
    assert {Secret("a"), Secret("a"), Secret("b")} == {Secret("a"), Secret("b")}


def test_a_token_is_read_into_gateway_and_expiry_and_so_is_the_example_of_the_reference() -> None:
    """https://learn.microsoft.com/rest/api/apimanagement/gateway/generate-token (api-version 2022-08-01)."""
    # Its signature has a run of x where a real one was; its length and alphabet are real.
    example = "gw1&201904210044&9A1GR1f5WIhFvFmzQG+xxxxxxxxxxx/kBeu87DWad3tkasUXuvPL+MgzlwUHyg=="
    for text, gateway, expiry in (
        (TOKEN, "edge-01", datetime(2026, 3, 31, 11, 55, tzinfo=UTC)),
        (example, "gw1", datetime(2019, 4, 21, 0, 44, tzinfo=UTC)),
    ):
        token = GatewayToken.parse(text)
        assert (token.gateway_id, token.expiry) == (gateway, expiry)


def test_the_prefix_and_white_space_around_a_token_are_not_part_of_it() -> None:
    for before in ("", HEADER_PREFIX, f"  {HEADER_PREFIX}", "\n"):
        for after in ("", "\n", " "):
            token = GatewayToken.parse(before + TOKEN + after)
            assert token.value.reveal() == TOKEN
            assert token.header_value().reveal() == f"GatewayKey {TOKEN}"
    assert not GatewayToken.parse(HEADER_PREFIX * 2 + TOKEN).is_for("edge-01")


def stamped(*stamps: str) -> list[str]:
    return [f"g&{stamp}&{SIGNATURE}" for stamp in stamps]


def signed(*signatures: str) -> list[str]:
    return [f"g&202603311155&{signature}" for signature in signatures]


@pytest.mark.parametrize(
    ("reason", "texts"),
    [
        ("three parts", ["", HEADER_PREFIX, f"202603311155&{SIGNATURE}", f"{TOKEN}&", f"{TOKEN}&more"]),
        ("three parts", [f"&202603311155&{SIGNATURE}", *stamped(""), *signed("")]),
        ("not yyyyMMddHHmm", stamped("20260331115", "2026033111550", "2026-03-31T1")),
        ("not yyyyMMddHHmm", stamped("２02603311155")),  # noqa: RUF001 - a wide digit is no digit here
        ("not a date", stamped("202602290000", "202603312400", "202603311160", "000003311155")),
        ("not a likely date", stamped("199903311155", "900003311155")),
        ("not base64", signed("*" * 88, "é" * 88, SIGNATURE[:-1], f"{SIGNATURE[:40]}\n{SIGNATURE[40:]}")),
        ("unlikely length", signed(signature_of(31), signature_of(385))),
    ],
)
def test_text_that_is_not_a_token_is_refused_with_its_reason(reason: str, texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(ValueError, match=reason) as refused:
            GatewayToken.parse(text)
        assert refused.value.__context__ is None or refused.value.__suppress_context__


def test_a_token_at_the_boundaries_of_its_parts_is_read() -> None:
    for text in signed(signature_of(32), signature_of(384)):
        assert GatewayToken.parse(text).gateway_id == "g"
    for stamp in ("202602282359", "202402290000", "200003311155", "899903311155"):
        assert f"{GatewayToken.parse(*stamped(stamp)).expiry:%Y%m%d%H%M}" == stamp


@given(st.text(max_size=60))
def test_a_refusal_never_quotes_the_text(text: str) -> None:
    try:
        GatewayToken.parse(f"leak{text}leak")
    except ValueError as error:
        assert "leak" not in str(error)  # noqa: PT017 - most texts are refused, none need be


def test_a_token_is_for_its_gateway_in_any_case() -> None:
    token = GatewayToken.parse(f"Edge-01&202603311155&{SIGNATURE}")
    names = ["edge-01", "EDGE-01", "edge-0", "edge-011"]
    assert [name for name in names if token.is_for(name)] == names[:2]


def test_a_token_prints_without_its_signature() -> None:
    token = GatewayToken.parse(TOKEN)
    assert SIGNATURE not in f"{token} {token!r} {token.header_value()}"
    assert token.fingerprint in repr(token)
