"""Who is calling: what a bearer token must hold, at the second, and what is read from it."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jwt import PyJWK

from emulator.directory import signing_key
from gateway_tokens.access import LEEWAY, Caller, bearer_token, key_id_of, verified_caller
from gateway_tokens.errors import AccessDenied, GatewayTokensError, SignInRequired
from gateway_tokens.sign_in import SignIn

TENANT, API, APPLICATION, OBJECT = (f"{digit * 8}-1111-4111-8111-111111111111" for digit in "1234")
PUBLIC = SignIn("https://login.microsoftonline.com", TENANT, (API, f"api://{API}"), frozenset({APPLICATION}))
KEY = signing_key("unit")
PUBLISHED = PyJWK(KEY.published())
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND = int(NOW.timestamp())
V2: dict[str, Any] = {
    "aud": API,
    "iss": f"https://login.microsoftonline.com/{TENANT}/v2.0",
    "iat": SECOND,
    "nbf": SECOND,
    "exp": SECOND + 3600,
    "azp": APPLICATION,
    "oid": OBJECT,
    "roles": ["Issuer", "Reader"],
    "sub": OBJECT,
    "tid": TENANT,
    "ver": "2.0",
}
V1 = {
    **{name: value for name, value in V2.items() if name != "azp"},
    "aud": f"api://{API}",
    "iss": f"https://sts.windows.net/{TENANT}/",
    "appid": APPLICATION,
    "ver": "1.0",
}
EXPECTED = Caller(OBJECT, APPLICATION, frozenset({"Issuer", "Reader"}))


def read(claims: dict[str, Any] | None = None, sign_in: SignIn = PUBLIC, now: datetime = NOW) -> Caller:
    """The caller whom a token with these claims brings, besides those of a good one."""
    return verified_caller(KEY.sign({**V2, **(claims or {})}), PUBLISHED, sign_in, now)


def refusal(claims: dict[str, Any], now: datetime = NOW) -> str:
    with pytest.raises(SignInRequired) as refused:
        read(claims, now=now)
    return str(refused.value)


def test_the_tokens_of_both_versions_tell_ids_and_roles() -> None:
    assert read() == EXPECTED
    assert verified_caller(KEY.sign(V1), PUBLISHED, PUBLIC, NOW) == EXPECTED


IN_CHINA = ("https://login.partner.microsoftonline.cn/{}/v2.0", "https://sts.chinacloudapi.cn/{}/")
CLOUDS = {
    "https://login.microsoftonline.us": (
        "https://login.microsoftonline.us/{}/v2.0",
        "https://sts.windows.net/{}/",
    ),
    "https://login.partner.microsoftonline.cn": IN_CHINA,
    "https://login.chinacloudapi.cn": IN_CHINA,  # as Bicep spells it
}


@pytest.mark.parametrize("endpoint", CLOUDS)
def test_each_cloud_has_issuers_of_its_own(endpoint: str) -> None:
    there = replace(PUBLIC, endpoint=endpoint)
    assert there.keys_address == f"{endpoint}/{TENANT}/discovery/v2.0/keys"
    for issuer in CLOUDS[endpoint]:
        assert read({"iss": issuer.format(TENANT)}, there) == EXPECTED
    with pytest.raises(SignInRequired, match="issuer"):
        read({}, there)


def test_an_issuer_must_be_one_of_the_two_to_the_letter() -> None:
    v1, v2 = f"https://sts.windows.net/{TENANT}/", f"https://login.microsoftonline.com/{TENANT}/v2.0"
    in_china, of_another_tenant = IN_CHINA[1].format(TENANT), v1.replace(TENANT, OBJECT)
    for issuer in (v2 + "/", v1[:-1], v1.replace("https", "http"), of_another_tenant, in_china, "", [v1]):
        assert "its issuer is not Microsoft Entra for this tenant" in refusal({"iss": issuer})


def test_a_token_may_be_a_minute_early_and_have_expired_by_less_than_a_minute() -> None:
    assert LEEWAY == 60
    early, late = NOW - timedelta(seconds=60), NOW + timedelta(hours=1, seconds=59)
    assert read({"iat": 4_000_000_000}, now=early) == read(now=late) == EXPECTED  # when it was issued is open
    assert "it is not valid yet" in refusal({}, early - timedelta(seconds=1))
    assert "it has expired" in refusal({}, late + timedelta(seconds=1))


def test_an_audience_must_be_one_of_those_set() -> None:
    assert read({"aud": [OBJECT, API]}) == EXPECTED
    for audience in (OBJECT, f"api://{OBJECT}", f"api://{API}/more", [OBJECT]):
        assert f"its audience is not {API} or api://{API}" in refusal({"aud": audience})
    assert "is missing" in refusal({"aud": ""})


@pytest.mark.parametrize(
    ("claims", "values", "message"),
    [
        (("exp", "nbf"), ("1", [], {}), "its times are not numbers"),
        (("exp", "nbf"), (float("nan"),), ""),
        (("exp", "nbf", "iss", "aud"), (None,), "is missing"),
        (("tid",), (OBJECT, "", None, 5, [TENANT]), "it is from another tenant"),  # than its issuer
    ],
)
def test_a_claim_that_decides_must_be_there_and_sound(
    claims: tuple[str, ...], values: tuple[object, ...], message: str
) -> None:
    for claim, value in product(claims, values):
        assert message in refusal({claim: value})


def test_roles_come_as_a_list_or_as_text() -> None:
    given: tuple[object, ...] = ("Issuer", ["Issuer", 5, None, ["Reader"]])
    for roles in given:
        assert read({"roles": roles}).app_roles == {"Issuer"}
    assert read({"roles": None}).app_roles == read({"roles": {"Issuer": True}}).app_roles == set()
    assert [read({"oid": oid}).object_id for oid in (None, 5, ["x"])] == ["", "", ""]


def test_an_application_that_is_not_listed_may_not_call() -> None:
    for application in (OBJECT, "", None, 5, [APPLICATION]):
        with pytest.raises(AccessDenied, match="may not call"):
            read({"azp": application})
    with pytest.raises(AccessDenied, match=f"'{OBJECT}' may not call"):
        verified_caller(KEY.sign({**V1, "appid": OBJECT}), PUBLISHED, PUBLIC, NOW)
    assert read({"azp": APPLICATION.upper(), "tid": TENANT.upper()}).object_id == OBJECT


def test_a_token_is_verified_by_the_published_key_that_it_names() -> None:
    for_another_algorithm = PyJWK({**KEY.published(), "alg": "RS512"})
    for signer, key, message in (
        (signing_key("other"), PUBLISHED, "its signature is not valid"),
        (KEY, for_another_algorithm, "its signature is not valid"),
        (KEY, None, "its signing key is not one of Microsoft Entra's"),
    ):
        with pytest.raises(SignInRequired, match=message):
            verified_caller(signer.sign(V2), key, PUBLIC, NOW)


@pytest.mark.parametrize("algorithm", ["HS256", "RS384", "RS512", "PS256", "ES256", "none"])
def test_only_one_algorithm_is_accepted(algorithm: str) -> None:
    _, payload, signature = KEY.sign(V2).split(".")
    header = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "kid": "unit"}).encode()).decode()
    with pytest.raises(SignInRequired, match="it is not signed with RS256"):
        key_id_of(f"{header.rstrip('=')}.{payload}.{signature}")


def test_the_token_is_what_follows_the_scheme_and_no_other_scheme_is_taken() -> None:
    for header in ("Bearer a.b.c", "bearer  a.b.c "):
        assert bearer_token({"authorization": header}) == "a.b.c"
    for headers in ({}, {"authorization": "  "}, {"x-functions-key": "key"}):
        assert bearer_token(headers) is None
    for header in ("Bearer", "Bearer ", "Basic YTpi", "a.b.c", "Bearer:a.b.c"):
        with pytest.raises(SignInRequired, match="must be 'Bearer <token>'"):
            bearer_token({"authorization": header})


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True))
def test_any_text_that_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(SignInRequired, match="The bearer token is refused"):
        key_id_of(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.sampled_from(sorted({*V2, *V1, "jti", "nonce"})), json_values)
def test_a_caller_is_known_or_refused_by_any_value_of_a_claim(claim: str, value: object) -> None:
    claims = json.loads(json.dumps({**V2, claim: value}))
    try:
        caller = verified_caller(KEY.sign(claims), PUBLISHED, PUBLIC, NOW)
    except GatewayTokensError:
        return
    assert caller.client_id == APPLICATION
