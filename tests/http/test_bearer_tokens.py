"""Bearer tokens as callers send them: good ones, and everything that is not one."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from emulator.directory import API_ID, signing_key
from emulator.faults import Fault
from emulator.server import Emulator
from tests.callers import SIGN_IN_MODE, authorization, bearer, rule
from tests.http_calls import code_of, document, generate_token
from tests.served_estate import Opens

STRANGER = "99999999-9999-4999-8999-999999999999"


@pytest.fixture(autouse=True, params=["sign-in", "function keys"])
def _mode(request: pytest.FixtureRequest, app: Opens) -> None:
    """Both modes: a bearer token that is not good is never taken for a function key."""
    if request.param == "sign-in":
        app([rule({"appRole": "Issuer"})], **SIGN_IN_MODE)
    else:
        app([rule({"appRole": "Issuer"}), rule({"functionKey": True})])


def signed(emulator: Emulator, key_id: str = "emulator-1", header: dict[str, Any] | None = None) -> str:
    """A good token's claims, signed with this key under this header."""
    token = emulator.azure.directory.access_token(emulator.azure.clock(), roles=["Issuer"])
    claims = jwt.decode(token, options={"verify_signature": False})
    return signing_key(key_id).sign(claims, **(header or {}))


def by_hand(emulator: Emulator, secret: bytes | None, **header: object) -> str:
    """A good token's claims under a header that no library would write, with an HMAC or without a signature."""
    payload = signed(emulator).split(".")[1]
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    signature = b"" if secret is None else hmac.digest(secret, f"{head}.{payload}".encode(), hashlib.sha256)
    return f"{head}.{payload}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def public_pem() -> bytes:
    public = signing_key("emulator-1").private.public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


async def test_a_good_token_of_an_application_or_a_user_is_accepted(emulator: Emulator) -> None:
    good: tuple[dict[str, Any], ...] = (
        {},
        {"version": 1},
        {"aud": f"api://{API_ID}"},
        {"scp": "user_impersonation", "idtyp": "user"},
    )
    for claims in good:
        assert code_of(await generate_token(headers=bearer(emulator, "Issuer", **claims))) == (200, "")


async def test_a_token_with_a_wrong_claim_is_a_401_that_says_which(emulator: Emulator) -> None:
    wrong: tuple[tuple[str, object, str], ...] = (
        ("exp", int(time.time()) - 120, "it has expired"),
        ("aud", "https://graph.microsoft.com", "its audience is not"),
        ("iss", f"https://sts.windows.net/{STRANGER}/", "its issuer is not"),
    )
    for claim, value, reason in wrong:
        answer = await generate_token(headers=bearer(emulator, "Issuer", **{claim: value}))
        assert code_of(answer) == (401, "sign_in_required")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert reason in document(answer)["detail"]
    for header in ("Basic YTpi", "Bearer", "token"):
        answer = await generate_token(headers={"Authorization": header})
        assert code_of(answer) == (401, "sign_in_required")
    assert emulator.azure.called("arm") == []


FORGED: dict[str, Callable[[Emulator], str]] = {
    "signed with another key under Entra's id": lambda e: signed(e, "other", {"kid": "emulator-1"}),
    "signed with a key that Entra does not have": lambda e: signed(e, "other"),
    "unsigned": lambda e: by_hand(e, None, alg="none", typ="JWT", kid="emulator-1"),
    "without a signature": lambda e: by_hand(e, None, alg="RS256", typ="JWT", kid="emulator-1"),
    "HMAC with the public key as secret": lambda e: by_hand(e, public_pem(), alg="HS256", kid="emulator-1"),
    "HMAC that says RS256": lambda e: by_hand(e, public_pem(), alg="RS256", kid="emulator-1"),
    "without an algorithm": lambda e: by_hand(e, public_pem(), kid="emulator-1"),
    "with algorithms in a list": lambda e: by_hand(e, public_pem(), alg=["RS256"], kid="emulator-1"),
    "RS256 without a key id": lambda e: by_hand(e, b"", alg="RS256"),
    "with a key id that is not text": lambda e: by_hand(e, b"", alg="RS256", kid=["emulator-1"]),
    "with a key of its own": lambda e: signed(
        e, "other", {"kid": "emulator-1", "jwk": signing_key("other").published()}
    ),
    "with the address of its own key": lambda e: signed(e, "other", {"jku": "https://keys.example/keys"}),
    "with an extension that must be understood": lambda e: signed(e, header={"crit": ["exp"], "exp": 1}),
    "changed after it was signed": lambda e: signed(e)[:-12] + "A" * 12,
    "cut off": lambda e: signed(e)[:-1],
    "two tokens": lambda e: f"{signed(e)} {signed(e)}",
    "two headers": lambda e: f"{signed(e)}, Bearer {signed(e)}",
    "nothing": lambda _: "",
    "JSON nested deeply": lambda _: base64.urlsafe_b64encode(b"[" * 60_000).decode() + ".e30.e30",
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
async def test_a_forged_token_is_a_401(emulator: Emulator, forge: Callable[[Emulator], str]) -> None:
    token = forge(emulator)
    answer = await generate_token(headers=authorization(token))
    assert code_of(answer) == (401, "sign_in_required")
    assert not token or token not in document(answer)["detail"]
    assert emulator.azure.called("arm") == []


async def test_a_token_for_an_application_that_may_not_call_is_a_403(emulator: Emulator) -> None:
    for claims in ({"azp": STRANGER}, {"azp": None}, {"version": 1, "appid": STRANGER}):
        answer = await generate_token(headers=bearer(emulator, "Issuer", **claims))
        assert code_of(answer) == (403, "access_denied")
        assert emulator.azure.called("arm") == []


async def test_tokens_of_every_published_key_are_accepted(emulator: Emulator) -> None:
    directory = emulator.azure.directory
    directory.key_ids = ["emulator-2", "emulator-1"]
    assert code_of(await generate_token(headers=bearer(emulator, "Issuer"))) == (200, "")
    assert code_of(await generate_token(headers=authorization(signed(emulator, "emulator-1")))) == (200, "")
    assert len(emulator.azure.called("login")) == 1


async def test_a_bearer_token_is_a_503_while_the_signing_keys_cannot_be_fetched(emulator: Emulator) -> None:
    emulator.azure.faults.add(Fault(host="login", times=None, status=500))
    answer = await generate_token(headers=bearer(emulator, "Issuer"))
    assert code_of(answer) == (503, "signing_keys_unavailable")
    assert int(answer.headers["Retry-After"]) >= 30
