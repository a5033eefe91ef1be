"""Who is calling: the platform's principal header, trusted only while the platform guards it."""

import base64
import json
from typing import Any

import pytest

from gateway_tokens.access import Caller
from gateway_tokens.callers import PRINCIPAL_HEADER, who_is_calling
from gateway_tokens.errors import SignInRequired
from gateway_tokens.sign_in import SignIn

SCHEMAS = "http://schemas.microsoft.com"
CLAIMS = [("oid", "o-1"), ("azp", "c-1"), ("roles", "Issue"), ("roles", "Read"), ("name", "Ann")]


def claims(*pairs: tuple[str, object]) -> list[dict[str, object]]:
    return [{"typ": name, "val": value} for name, value in pairs]


def header(principal: object) -> dict[str, str]:
    return {PRINCIPAL_HEADER: base64.b64encode(json.dumps(principal).encode()).decode()}


def principal(*pairs: tuple[str, object], **more: object) -> dict[str, Any]:
    return {"auth_typ": "aad", "claims": claims(*pairs), "role_typ": "roles", **more}


def signed_in(headers: dict[str, str], mode: SignIn = SignIn.ENTRA) -> Caller:
    return who_is_calling(headers, mode, signed_in_by_platform=True)


def refusal(headers: dict[str, str], mode: SignIn = SignIn.ENTRA, *, platform: bool = True) -> str:
    with pytest.raises(SignInRequired) as refused:
        who_is_calling(headers, mode, signed_in_by_platform=platform)
    return str(refused.value)


def test_claims_become_ids_and_roles() -> None:
    assert signed_in(header(principal(*CLAIMS))) == Caller("o-1", "c-1", frozenset({"Issue", "Read"}))


def test_claims_are_read_under_the_addresses_that_the_platform_maps_them_to() -> None:
    mapped = principal(
        (f"{SCHEMAS}/identity/claims/objectidentifier", "o-1"),
        ("appid", "c-1"),
        (f"{SCHEMAS}/ws/2008/06/identity/claims/role", "Issue"),
    )
    assert signed_in(header(mapped)) == Caller("o-1", "c-1", frozenset({"Issue"}))


def test_roles_are_read_under_the_name_that_the_principal_itself_gives() -> None:
    named = principal(("my_role", "Issue"), ("other", "Admin"), role_typ="my_role")
    assert signed_in(header(named)).app_roles == {"Issue"}


@pytest.mark.parametrize("role_typ", ["", None, 5, ["roles"]])
def test_a_role_name_that_says_nothing_leaves_the_usual_ones(role_typ: object) -> None:
    assert signed_in(header(principal(("roles", "Issue"), role_typ=role_typ))).app_roles == {"Issue"}


def test_a_principal_without_claims_we_know_is_somebody_without_traits() -> None:
    assert signed_in(header(principal(("name", "Ann")))) == Caller()


def test_the_first_of_several_ids_counts() -> None:
    assert signed_in(header(principal(("oid", "o-1"), ("oid", "o-2")))).object_id == "o-1"


@pytest.mark.parametrize(
    "odd",
    [
        [5],
        ["oid"],
        [None],
        [[]],
        [{}],
        [{"typ": "oid"}],
        [{"val": "o-1"}],
        [{"typ": "oid", "val": 5}],
        [{"typ": "oid", "val": ["o-1"]}],
        [{"typ": ["oid"], "val": "o-1"}],
        [{"typ": {"oid": 1}, "val": "o-1"}],
        [{"typ": None, "val": "o-1"}],
        [{"typ": "OID", "val": "o-1"}],
    ],
)
def test_a_claim_of_another_shape_says_nothing(odd: list[object]) -> None:
    both = {"auth_typ": "aad", "claims": [*odd, *claims(("roles", "Issue"))]}
    assert signed_in(header(both)) == Caller(app_roles=frozenset({"Issue"}))


@pytest.mark.parametrize("mode", [SignIn.ENTRA, SignIn.BOTH])
def test_the_header_is_worth_nothing_while_the_platform_does_not_guard_it(mode: SignIn) -> None:
    said = refusal(header(principal(*CLAIMS)), mode, platform=False)
    assert said == "App Service authentication is switched off, so nobody can sign in. Switch it on."


@pytest.mark.parametrize("platform", [True, False])
def test_with_function_keys_alone_the_header_is_never_looked_at(platform: bool) -> None:  # noqa: FBT001
    caller = who_is_calling(header(principal(*CLAIMS)), SignIn.FUNCTION_KEY, signed_in_by_platform=platform)
    assert caller == Caller(function_key=True)


def test_with_both_the_caller_has_the_key_and_the_principal() -> None:
    caller = signed_in(header(principal(*CLAIMS)), SignIn.BOTH)
    assert caller == Caller("o-1", "c-1", frozenset({"Issue", "Read"}), function_key=True)


def test_with_both_a_key_alone_is_not_enough() -> None:
    assert refusal({}, SignIn.BOTH).startswith("Sign in with Microsoft Entra")


def test_with_entra_alone_no_caller_counts_as_holding_a_key() -> None:
    assert not signed_in(header(principal(*CLAIMS))).function_key


@pytest.mark.parametrize("name", ["Ann", "Anna", "Annal", "Annale"])
def test_the_header_is_read_with_and_without_padding(name: str) -> None:
    sent = header(principal(("oid", name)))
    bare = {PRINCIPAL_HEADER: sent[PRINCIPAL_HEADER].rstrip("=")}
    assert signed_in(sent) == signed_in(bare) == Caller(object_id=name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not base64!",
        "é",
        "a",
        base64.b64encode(b"{").decode(),
        base64.b64encode(b"\xff\xfe\xfd").decode(),
        base64.b64encode(b"[" * 40_000).decode(),
        base64.b64encode(b'{"auth_typ": "aad", "claims": []} and more').decode(),
    ],
    ids=range(8),
)
def test_a_header_that_is_no_json_in_base64_is_nobodys(text: str) -> None:
    assert refusal({PRINCIPAL_HEADER: text}).startswith("Sign in with Microsoft Entra")


@pytest.mark.parametrize(
    "other",
    [
        None,
        [],
        "aad",
        {},
        {"auth_typ": "aad"},
        {"auth_typ": "aad", "claims": None},
        {"auth_typ": "aad", "claims": {"typ": "oid", "val": "o-1"}},
        {"claims": claims(*CLAIMS)},
        {"auth_typ": "AAD", "claims": claims(*CLAIMS)},
        {"auth_typ": "github", "claims": claims(*CLAIMS)},
        {"auth_typ": ["aad"], "claims": claims(*CLAIMS)},
    ],
)
def test_anything_but_an_entra_principal_with_claims_is_nobody(other: object) -> None:
    assert refusal(header(other)).startswith("Sign in with Microsoft Entra")


def sized(length: int) -> dict[str, str]:
    """A good principal whose header has exactly this length, a multiple of four."""
    empty = len(json.dumps(principal(("oid", "o-1"), filler="")).encode())
    filled = header(principal(("oid", "o-1"), filler="x" * (length // 4 * 3 - empty)))
    assert len(filled[PRINCIPAL_HEADER]) == length
    return filled


def test_a_header_of_64_kibibytes_is_read() -> None:
    assert signed_in(sized(64 * 1024)).object_id == "o-1"


def test_a_longer_header_is_nobodys() -> None:
    refusal(sized(64 * 1024 + 4))


def test_a_refusal_does_not_repeat_the_header() -> None:
    assert "o-1" not in refusal(header({"auth_typ": "github", "claims": claims(*CLAIMS)}))
