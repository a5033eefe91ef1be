"""Who is calling: what a bearer token must hold, at the second, and what is read from it."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jwt import PyJWK

from emulator.directory import signing_key
from gateway_tokens.access import LEEWAY, Caller, bearer_token, key_id_of, verified_caller
from gateway_tokens.errors import AccessDenied, GatewayTokensError, SignInRequired
from gateway_tokens.estate.sign_in import SignIn

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


def test_a_v2_token_tells_ids_and_roles() -> None:
    assert read() == EXPECTED


def test_a_v1_token_tells_the_same() -> None:
    assert verified_caller(KEY.sign(V1), PUBLISHED, PUBLIC, NOW) == EXPECTED


CLOUDS = {
    "US Government": (
        "https://login.microsoftonline.us",
        "https://login.microsoftonline.us/{}/v2.0",
        "https://sts.windows.net/{}/",
    ),
    "China": (
        "https://login.partner.microsoftonline.cn",
        "https://login.partner.microsoftonline.cn/{}/v2.0",
        "https://sts.chinacloudapi.cn/{}/",
    ),
    "China, as Bicep spells it": (
        "https://login.chinacloudapi.cn",
        "https://login.partner.microsoftonline.cn/{}/v2.0",
        "https://sts.chinacloudapi.cn/{}/",
    ),
}


@pytest.mark.parametrize(("endpoint", "v2", "v1"), CLOUDS.values(), ids=CLOUDS)
def test_each_cloud_has_issuers_of_its_own(endpoint: str, v2: str, v1: str) -> None:
    there = SignIn(endpoint, TENANT, PUBLIC.audiences, PUBLIC.applications)
    assert there.keys_address == f"{endpoint}/{TENANT}/discovery/v2.0/keys"
    for issuer in (v2, v1):
        assert read({"iss": issuer.format(TENANT)}, there) == EXPECTED
    with pytest.raises(SignInRequired, match="issuer"):
        read({}, there)


@pytest.mark.parametrize(
    "issuer",
    [
        f"https://login.microsoftonline.com/{TENANT}/v2.0/",
        f"https://login.microsoftonline.com/{TENANT}",
        f"https://sts.windows.net/{TENANT}",
        f"http://sts.windows.net/{TENANT}/",
        f"https://sts.windows.net/{OBJECT}/",
        f"https://sts.chinacloudapi.cn/{TENANT}/",
        "",
    ],
)
def test_an_issuer_must_be_one_of_the_two_to_the_letter(issuer: str) -> None:
    assert "its issuer is not Microsoft Entra for this tenant" in refusal({"iss": issuer})


@pytest.mark.parametrize(("late", "good"), [(LEEWAY - 1, True), (LEEWAY, False)])
def test_a_token_may_have_expired_by_less_than_a_minute(late: int, good: bool) -> None:  # noqa: FBT001 - a table's column
    assert LEEWAY == 60
    now = NOW + timedelta(hours=1, seconds=late)
    if good:
        assert read(now=now) == EXPECTED
    else:
        assert "it has expired" in refusal({}, now)


@pytest.mark.parametrize(("early", "good"), [(LEEWAY, True), (LEEWAY + 1, False)])
def test_a_token_may_be_a_minute_early(early: int, good: bool) -> None:  # noqa: FBT001 - a table's column
    now = NOW - timedelta(seconds=early)
    if good:
        assert read(now=now) == EXPECTED
    else:
        assert "it is not valid yet" in refusal({}, now)


def test_when_a_token_was_issued_is_not_asked() -> None:
    assert read({"iat": SECOND + 9999}) == EXPECTED


@pytest.mark.parametrize("claim", ["exp", "nbf"])
@pytest.mark.parametrize("value", ["1", [], {}, float("nan")])
def test_times_are_numbers(claim: str, value: object) -> None:
    refusal({claim: value})


@pytest.mark.parametrize("claim", ["exp", "nbf", "iss", "aud"])
def test_no_claim_that_decides_may_be_missing(claim: str) -> None:
    assert f"the claim '{claim}' is missing" in refusal({claim: None})


@pytest.mark.parametrize("tenant", [OBJECT, "", None, 5, [TENANT]])
def test_the_tenant_must_be_that_of_the_issuer(tenant: object) -> None:
    assert "it is from another tenant" in refusal({"tid": tenant})


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (["Issuer"], {"Issuer"}),
        ("Issuer", {"Issuer"}),
        (["Issuer", 5, None, ["Reader"]], {"Issuer"}),
        ([], set()),
        (None, set()),
        ({"Issuer": True}, set()),
    ],
    ids=str,
)
def test_roles_come_as_a_list_or_as_text(roles: object, expected: set[str]) -> None:
    assert read({"roles": roles}).app_roles == expected


@pytest.mark.parametrize("oid", [None, 5, ["x"]])
def test_an_object_id_that_is_not_text_is_none(oid: object) -> None:
    assert read({"oid": oid}).object_id == ""


@pytest.mark.parametrize("application", [OBJECT, "", None, 5, [APPLICATION]])
def test_an_application_that_is_not_listed_may_not_call(application: object) -> None:
    with pytest.raises(AccessDenied, match="may not call"):
        read({"azp": application})


def test_the_application_of_a_v1_token_must_be_listed_as_well() -> None:
    with pytest.raises(AccessDenied, match=f"'{OBJECT}' may not call"):
        verified_caller(KEY.sign({**V1, "appid": OBJECT}), PUBLISHED, PUBLIC, NOW)


def test_an_id_token_is_not_an_access_token() -> None:
    id_token = {name: value for name, value in V2.items() if name != "azp"}
    with pytest.raises(AccessDenied):
        verified_caller(KEY.sign(id_token), PUBLISHED, PUBLIC, NOW)


def test_a_signature_of_another_key_does_not_hold() -> None:
    with pytest.raises(SignInRequired, match="its signature does not hold"):
        verified_caller(signing_key("other").sign(V2), PUBLISHED, PUBLIC, NOW)


def test_a_key_for_another_algorithm_verifies_nothing() -> None:
    strict = PyJWK({**KEY.published(), "alg": "RS512"})
    with pytest.raises(SignInRequired, match="its signature does not hold"):
        verified_caller(KEY.sign(V2), strict, PUBLIC, NOW)


def test_without_a_key_nothing_is_verified() -> None:
    with pytest.raises(SignInRequired, match="its signing key is not one of Microsoft Entra's"):
        verified_caller(KEY.sign(V2), None, PUBLIC, NOW)


def test_the_key_id_is_read_from_the_header() -> None:
    assert key_id_of(KEY.sign(V2)) == "unit"


@pytest.mark.parametrize("algorithm", ["HS256", "RS384", "RS512", "PS256", "ES256", "none"])
def test_only_one_algorithm_is_accepted(algorithm: str) -> None:
    _, payload, signature = KEY.sign(V2).split(".")
    header = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "kid": "unit"}).encode()).decode()
    with pytest.raises(SignInRequired, match="it is not signed with RS256"):
        key_id_of(f"{header.rstrip('=')}.{payload}.{signature}")


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ({}, None),
        ({"authorization": ""}, None),
        ({"authorization": "  "}, None),
        ({"x-functions-key": "key"}, None),
        ({"authorization": "Bearer a.b.c"}, "a.b.c"),
        ({"authorization": "bearer  a.b.c "}, "a.b.c"),
    ],
)
def test_the_token_is_what_follows_the_scheme(headers: dict[str, str], token: str | None) -> None:
    assert bearer_token(headers) == token


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic YTpi", "a.b.c", "Bearer:a.b.c"])
def test_another_authorization_is_refused_and_not_passed_over(header: str) -> None:
    with pytest.raises(SignInRequired, match="must be 'Bearer <token>'"):
        bearer_token({"authorization": header})


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True))
def test_whatever_the_text_it_is_refused_in_words(text: str) -> None:
    with pytest.raises(SignInRequired, match="The bearer token is refused"):
        key_id_of(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.sampled_from(sorted({*V2, *V1, "jti", "nonce"})), json_values)
def test_whatever_a_claim_holds_the_caller_is_known_or_refused(claim: str, value: object) -> None:
    claims = json.loads(json.dumps({**V2, claim: value}))
    try:
        caller = verified_caller(KEY.sign(claims), PUBLISHED, PUBLIC, NOW)
    except GatewayTokensError:
        return
    assert caller.client_id == APPLICATION
