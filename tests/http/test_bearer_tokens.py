"""Bearer tokens as callers send them; the tests of callers have every claim."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from emulator.directory import signing_key
from emulator.faults import Fault
from emulator.server import Emulator
from tests.callers import OBJECT_ID, SIGN_IN_MODE, authorization, bearer, rule
from tests.http.renewal_app import ALL, RenewalApp
from tests.http_calls import code_of, document, generate_token, list_gateways

ISSUER = rule("*/*", allow=("issue",), appRole="Issuer")
KID = {"kid": "emulator-1"}
REFUSED = (401, "sign_in_required")


@pytest.fixture(autouse=True)
def _beside_function_keys(estate: RenewalApp) -> None:
    """A bearer token that is not good is never taken for a function key."""
    estate.configure(ISSUER, ALL)


def signed(emulator: Emulator, key_id: str = "emulator-1", **header: object) -> str:
    """A good token's claims, signed with this key under this header."""
    token = emulator.azure.directory.access_token(emulator.azure.clock(), roles=["Issuer"])
    claims = jwt.decode(token, options={"verify_signature": False})
    return signing_key(key_id).sign(claims, **header)


def by_hand(emulator: Emulator, header: Mapping[str, object]) -> str:
    """A good token's claims under a header that no library would write, with an HMAC whose secret is the public key."""
    public = signing_key("emulator-1").private.public_key()
    secret = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    start = f"{head}.{signed(emulator).split('.')[1]}"
    signature = hmac.digest(secret, start.encode(), hashlib.sha256)
    return f"{start}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


FORGED: dict[str, Callable[[Emulator], str]] = {
    "with another key under Entra's id": lambda e: signed(e, "other", **KID),
    "with a key of its own": lambda e: signed(e, "other", **KID, jwk=signing_key("other").published()),
    "with an extension that must be understood": lambda e: signed(e, crit=["exp"], exp=1),
    "HMAC": lambda e: by_hand(e, {"alg": "HS256", **KID}),
    "HMAC that says RS256": lambda e: by_hand(e, {"alg": "RS256", **KID}),
    "RS256 without a key id": lambda e: by_hand(e, {"alg": "RS256"}),
    "with a key id that is not text": lambda e: by_hand(e, {"alg": "RS256", "kid": ["emulator-1"]}),
    "changed after it was signed": lambda e: signed(e)[:-12] + "A" * 12,
    "two headers": lambda e: f"{signed(e)}, Bearer {signed(e)}",
    "expired": lambda e: bearer(e, "Issuer", exp=int(time.time()) - 120)["Authorization"][7:],
    "JSON nested deeply": lambda _: base64.urlsafe_b64encode(b"[" * 60_000).decode() + ".e30.e30",
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
async def test_a_forged_token_is_a_401(emulator: Emulator, forge: Callable[[Emulator], str]) -> None:
    token = forge(emulator)
    answer = await generate_token(headers=authorization(token))
    assert code_of(answer) == REFUSED
    assert token not in document(answer)["detail"]
    assert emulator.azure.called("arm") == []


async def test_a_bearer_token_is_a_503_while_the_signing_keys_cannot_be_fetched(emulator: Emulator) -> None:
    emulator.azure.faults.add(Fault(host="login", times=None, status=500))
    answer = await generate_token(headers=bearer(emulator, "Issuer"))
    assert code_of(answer) == (503, "signing_keys_unavailable")
    assert int(answer.headers["Retry-After"]) >= 30


async def test_a_bearer_token_beside_the_key_decides_who_is_calling(
    estate: RenewalApp, emulator: Emulator
) -> None:
    estate.configure(rule("*/*", allow=("issue",), objectId=OBJECT_ID), rule("*/*"))
    for headers, codes in (({}, (403, 200)), (bearer(emulator), (200, 403))):
        answers = await generate_token(headers=headers), await list_gateways(headers=headers)
        assert tuple(answer.status_code for answer in answers) == codes


async def test_a_bearer_token_is_refused_where_the_settings_name_no_tenant(
    estate: RenewalApp, emulator: Emulator
) -> None:
    estate.configure(SIGN_IN_TENANT="", SIGN_IN_AUDIENCES="", SIGN_IN_APPLICATIONS="")
    assert code_of(await generate_token(headers=bearer(emulator))) == REFUSED
    assert (await generate_token()).status_code == 200


async def test_the_headers_of_app_services_own_sign_in_are_not_read(
    estate: RenewalApp, emulator: Emulator
) -> None:
    estate.configure(ISSUER, **SIGN_IN_MODE, WEBSITE_AUTH_ENABLED="True")
    roles = json.dumps({"auth_typ": "aad", "claims": [{"typ": "roles", "val": "Issuer"}]})
    principal = base64.b64encode(roles.encode()).decode()
    forged = {"X-MS-CLIENT-PRINCIPAL": principal, "X-MS-CLIENT-PRINCIPAL-ID": OBJECT_ID}
    assert code_of(await generate_token(headers=forged)) == REFUSED
    answer = await generate_token(headers={**forged, **bearer(emulator, "Reader")})
    assert code_of(answer) == (403, "access_denied")
